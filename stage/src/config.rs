//! Shared configuration: secrets, the bus, topics, the registry, and how a file is read.
//!
//! One TOML file, one table per stage; unknown keys are errors. `SEALTRAIL__TABLE__FIELD=value` overrides a field.
//! A secret never stands in the file: only the path of a file, or the name of a variable, that holds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Prefix of overriding variables.
pub const VARIABLE_PREFIX: &str = "SEALTRAIL__";
/// Longest secret read, bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A secret value. It has no `Display` and its `Debug` hides it; the memory is wiped when dropped.
///
/// ```compile_fail
/// let secret = stage::config::Secret::new("hunter2".into());
/// println!("{secret}");
/// ```
#[derive(Clone)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(zeroize::Zeroizing::new(value))
    }

    /// The value; never print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// A file that holds it; one newline at its end is left out.
    File(PathBuf),
    /// A variable of the environment that holds it.
    Env(String),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`ConfigError::Secret`], naming the source, never the value.
    pub fn read(&self) -> Result<Secret, ConfigError> {
        match self {
            Self::File(path) => {
                let failed = |source: std::io::Error| ConfigError::Secret {
                    place: format!("file `{}`", path.display()),
                    reason: source.to_string(),
                };
                let file = std::fs::File::open(path).map_err(failed)?;
                let mut text = String::new();
                std::io::Read::read_to_string(&mut std::io::Read::take(file, SECRET_BYTES_MAX), &mut text)
                    .map_err(failed)?;
                Ok(Secret::new(text.strip_suffix('\n').map_or(text.clone(), str::to_owned)))
            }
            Self::Env(name) => std::env::var(name).map(Secret::new).map_err(|error| ConfigError::Secret {
                place: format!("variable `{name}`"),
                reason: error.to_string(),
            }),
        }
    }
}

/// A configuration that cannot be used; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration `{path}`")]
    Read {
        /// Path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The text is no configuration; the reason names key and line.
    #[error("configuration `{path}` is wrong: {reason}")]
    Syntax {
        /// Path.
        path: PathBuf,
        /// Key, line and what is wrong.
        reason: String,
    },
    /// A variable overrides something that cannot be.
    #[error("variable `{name}`: {reason}")]
    Variable {
        /// Variable.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A secret cannot be read.
    #[error("read secret from {place}: {reason}")]
    Secret {
        /// File or variable.
        place: String,
        /// Cause.
        reason: String,
    },
}

/// Reads a configuration: defaults, then the file, then the variables.
///
/// # Errors
/// [`ConfigError`].
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let shown = path.map_or_else(|| PathBuf::from("(none)"), Path::to_path_buf);
    let text = match path {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?
        }
        None => String::new(),
    };
    let wrong = |error: toml::de::Error| ConfigError::Syntax {
        path: shown.clone(),
        reason: error.to_string().trim_end().to_owned(),
    };
    let variables: BTreeMap<String, String> =
        variables.into_iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
    if variables.is_empty() {
        // straight from the text, so that an error shows its line
        return toml::from_str(&text).map_err(wrong);
    }
    toml::from_str::<serde::de::IgnoredAny>(&text).map_err(wrong)?;
    let mut table: toml::Table = toml::from_str(&text).map_err(wrong)?;
    for (name, value) in &variables {
        overlay(&mut table, name, value)?;
    }
    toml::Value::Table(table).try_into().map_err(wrong)
}

fn overlay(table: &mut toml::Table, name: &str, value: &str) -> Result<(), ConfigError> {
    let path: Vec<String> = name.trim_start_matches(VARIABLE_PREFIX).split("__").map(str::to_lowercase).collect();
    let wrong = |reason: &str| ConfigError::Variable { name: name.to_owned(), reason: reason.to_owned() };
    let (field, tables) =
        path.split_last().filter(|(field, _)| !field.is_empty()).ok_or_else(|| wrong("names no field"))?;
    let mut place = table;
    for part in tables {
        let next = place.entry(part.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(|| wrong("names a field inside a value that is no table"))?;
    }
    // a number, boolean, list or table as TOML writes it; anything else is a string
    let parsed =
        toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut table| table.remove("value"));
    place.insert(field.clone(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

/// Which bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BusKind {
    /// In this process, durable, single node.
    #[default]
    Embedded,
    /// Apache Kafka.
    Kafka,
}

/// The `[bus]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// Adapter.
    pub kind: BusKind,
    /// Embedded: folder of the store.
    pub folder: PathBuf,
    /// Kafka: `host:port` of some brokers, separated by commas.
    pub bootstrap: String,
    /// Kafka: further client settings, such as `security.protocol`; none may hold a secret.
    pub properties: BTreeMap<String, String>,
    /// Kafka: client settings that are secrets, such as `sasl.password`.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Kafka: replicas of topics made by `topics create`; -1 leaves it to the broker.
    pub replication: i32,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            kind: BusKind::Embedded,
            folder: "sealtrail-bus".into(),
            bootstrap: String::new(),
            properties: BTreeMap::new(),
            secrets: BTreeMap::new(),
            replication: -1,
        }
    }
}

/// The `[topics]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopicsConfig {
    /// Prefix of every topic, ending in a dot.
    pub prefix: String,
    /// Partitions of the keyed topics, 1 to 1,000; fixed for the topics' life.
    pub partitions: i32,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self { prefix: "audit.".into(), partitions: schemas::topics::PARTITIONS_DEFAULT }
    }
}

/// The `[registry]` table.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Base URL of a registry with the Confluent API; empty goes without.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Whole {
        bus: BusConfig,
        topics: TopicsConfig,
    }

    #[test]
    fn variables_override_the_file_and_unknown_keys_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealtrail.toml");
        std::fs::write(&path, "[topics]\npartitions = 3\n").unwrap();
        let variables = [
            ("SEALTRAIL__TOPICS__PREFIX".to_owned(), "prod.".to_owned()),
            ("SEALTRAIL__BUS__REPLICATION".into(), "3".into()),
        ];
        let whole: Whole = load(Some(&path), variables).unwrap();
        assert_eq!((whole.topics.partitions, whole.topics.prefix.as_str(), whole.bus.replication), (3, "prod.", 3));
        std::fs::write(&path, "[topics]\npartition = 3\n").unwrap();
        let error = load::<Whole>(Some(&path), []).unwrap_err().to_string();
        assert!(error.contains("partition") && error.contains("line 2"), "{error}");
        let error =
            load::<Whole>(None, [("SEALTRAIL__TOPICS__X__Y".to_owned(), "1".to_owned())]).unwrap_err().to_string();
        assert!(error.contains('x'), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = SecretSource::File(path.clone()).read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
        let error = SecretSource::Env("SEALTRAIL_NO_SUCH".into()).read().unwrap_err().to_string();
        assert!(error.contains("SEALTRAIL_NO_SUCH"), "{error}");
    }
}
