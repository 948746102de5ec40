//! Schema registry: the three calls we need of the Confluent API, or none at all.
//!
//! Without a registry values carry the single-object prefix and need nobody. With one, each record type is registered
//! under `<topic>-<record full name>` (TopicRecordNameStrategy: `audit.raw` may hold several types one day) when a stage
//! starts; an id once known is never asked again, so an outage later stops nothing.
//!
//! Reading never asks the registry. A stage knows by the topic which record a value must be, takes the prefix off
//! ([`schemas::framing::split`]) and decodes the body strictly: only the canonical bytes of the expected record pass (I-08).
//! So a value decodes whatever its id, also one of another registry (a mirrored cluster, a registry set up anew), or of
//! none. Foreign consumers go by the id alone, as usual. Dead letters too: our tools
//! read them without the registry.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::Record;
use schemas::framing::Framing;

/// Longest answer read, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A failed registry call.
#[derive(Debug, thiserror::Error)]
#[error("{operation} at schema registry {url}: {reason}; {}", self.next_step())]
pub struct RegistryError {
    operation: String,
    url: String,
    reason: String,
    answered: bool,
}

impl RegistryError {
    /// `unreachable` (a later try may help) or `refused`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.answered { "refused" } else { "unreachable" }
    }

    fn next_step(&self) -> &'static str {
        if self.answered {
            "compare the schema with the subject's versions and its compatibility setting, or check [registry] url"
        } else {
            "start it, or remove [registry] to go without"
        }
    }
}

/// The URL without user and password.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    path.map_or_else(|| format!("{scheme}{host}"), |path| format!("{scheme}{host}/{path}"))
}

/// The registry of one installation.
pub struct Registry {
    url: Option<String>,
    agent: ureq::Agent,
    known: Mutex<HashMap<(String, &'static str), u32>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("url", &self.url.as_deref().map(shown)).finish_non_exhaustive()
    }
}

impl Registry {
    /// No registry: single-object framing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(None)
    }

    /// A registry with the Confluent API at `url`.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self::new(Some(url.trim_end_matches('/').to_owned()))
    }

    fn new(url: Option<String>) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).http_status_as_error(false);
        Self { url, agent: config.build().into(), known: Mutex::default() }
    }

    /// The prefix of `R` on `topic`; registers the schema when it is new.
    ///
    /// # Errors
    /// [`RegistryError`] when the registry refuses or does not answer.
    pub fn framing<R: Record>(&self, topic: &str) -> Result<Framing, RegistryError> {
        let Some(url) = &self.url else { return Ok(Framing::single_object::<R>()) };
        let key = (topic.to_owned(), R::NAME);
        if let Some(id) = self.known.lock().get(&key) {
            return Ok(Framing::Confluent(*id));
        }
        let subject = format!("{topic}-{}", R::NAME);
        let failed = |answered: bool, reason: String| RegistryError {
            operation: format!("register subject `{subject}`"),
            url: shown(url),
            reason,
            answered,
        };
        let body = serde_json::json!({ "schemaType": "AVRO", "schema": R::SCHEMA }).to_string();
        let mut answer = self
            .agent
            .post(format!("{url}/subjects/{subject}/versions"))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .send(body)
            .map_err(|error| failed(false, error.to_string()))?;
        let status = answer.status();
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|error| failed(false, error.to_string()))?;
        let id = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|value| value.get("id")?.as_u64());
        let id = id.and_then(|id| u32::try_from(id).ok()).filter(|_| status.is_success());
        let id =
            id.ok_or_else(|| failed(true, format!("status {status}: {}", text.chars().take(300).collect::<String>())))?;
        self.known.lock().insert(key, id);
        Ok(Framing::Confluent(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_not_shown() {
        for (url, expected) in [
            ("https://u:hunter2@registry.example:8081/apis/x@y", "https://registry.example:8081/apis/x@y"),
            ("http://u:hunter2@registry", "http://registry"),
            ("u:hunter2@registry", "registry"),
            ("http://registry/", "http://registry/"),
        ] {
            assert_eq!(shown(url), expected);
        }
        let registry = Registry::at("http://u:hunter2@127.0.0.1:1/");
        let error = registry.framing::<schemas::v1::RawFrame>("audit.raw").unwrap_err();
        assert!(!format!("{registry:?}{error:?}{error}").contains("hunter2"), "{error:?}");
    }
}
