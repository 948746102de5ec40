//! Table `[proxy]` of `sealtrail.toml`. Everything here needs a restart to change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stage::config::SecretSource;

use crate::error::StartError;
use crate::tap::Guarantee;

/// The proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Address of the Postgres listener. Default `127.0.0.1:6432`.
    pub listen: SocketAddr,
    /// Certificate chain shown to clients, PEM; without it no TLS is offered.
    pub tls_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Take tokens over connections without TLS. Default false.
    pub allow_cleartext_password: bool,
    /// The masker's public key, 32 bytes as 64 hexadecimal digits, in a file.
    pub masker_public_key: PathBuf,
    /// Target used when the client's `database` names none.
    pub default_target: Option<String>,
    /// Threads that serve sessions, at most 256; a session stays on one. 0, the default, is half of the processors, at
    /// least one: the journal, the bus and what else runs on the machine have the other half.
    pub threads: usize,
    /// Sessions of this process. Default 1000.
    pub sessions_max: usize,
    /// Connections at once whose principal is not verified yet, 1 to 100,000; of more, the one that has waited longest is
    /// closed. Default 1,000.
    pub handshakes_max: usize,
    /// Sessions of one principal. Default 100.
    pub sessions_per_principal_max: usize,
    /// Longest time from connection to a verified principal, milliseconds. Default 10 000.
    pub handshake_timeout_ms: u64,
    /// Longest time a busy session goes on after the proxy was asked to drain, milliseconds. Default 10 000.
    pub drain_ms: u64,
    /// Identity provider.
    pub identity: IdentityConfig,
    /// Local journal.
    pub journal: JournalConfig,
    /// Capture, unless a target says otherwise.
    pub capture: CaptureConfig,
    /// Targets by name.
    pub targets: BTreeMap<String, TargetConfig>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 6432)),
            tls_certificate: None,
            tls_key: None,
            allow_cleartext_password: false,
            masker_public_key: PathBuf::from("keys/masker.pub"),
            default_target: None,
            threads: 0,
            sessions_max: 1000,
            handshakes_max: 1000,
            sessions_per_principal_max: 100,
            handshake_timeout_ms: 10_000,
            drain_ms: 10_000,
            identity: IdentityConfig::default(),
            journal: JournalConfig::default(),
            capture: CaptureConfig::default(),
            targets: BTreeMap::new(),
        }
    }
}

/// Which tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Issuer, exactly as in the token.
    pub issuer: String,
    /// Audience a token must name. Default `sealtrail`.
    pub audience: String,
    /// Claim that holds the groups. Default `groups`.
    pub groups_claim: String,
    /// Clock difference allowed, seconds, at most 300. Default 30.
    pub skew_s: i64,
    /// Age until which cached keys are used while the issuer does not answer, seconds. Default 86 400.
    pub jwks_max_age_s: i64,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: "sealtrail".into(),
            groups_claim: "groups".into(),
            skew_s: 30,
            jwks_max_age_s: 86_400,
        }
    }
}

/// The local journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// Folder, on a disk that survives a restart. Default `data/journal`.
    pub folder: PathBuf,
    /// Bytes of records the bus has not taken; beyond it requests are refused. Default 1 GiB.
    pub bytes_max: u64,
    /// Bytes of a segment. Default 16 MiB.
    pub segment_bytes: usize,
    /// Start on a folder that does not outlive a restart too; session records then say so. Default false.
    pub allow_ephemeral: bool,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("data/journal"),
            bytes_max: 1 << 30,
            segment_bytes: 16 << 20,
            allow_ephemeral: false,
        }
    }
}

/// What is durable when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// When a request is forwarded. Default `journaled`.
    pub guarantee: Guarantee,
    /// Bytes of recorded responses that may be ahead of what is durable, per session. Default 1 MiB.
    pub window_bytes: usize,
    /// Longest wait for room or an acknowledgement before a refusal, milliseconds. Default 10 000.
    pub wait_ms_max: u64,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self { guarantee: Guarantee::default(), window_bytes: 1 << 20, wait_ms_max: 10_000 }
    }
}

/// How TLS is used towards a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetTls {
    /// Never.
    Disable,
    /// Always, certificate not checked.
    Require,
    /// Always, chain and name checked.
    #[default]
    VerifyFull,
}

/// A service that is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetConfig {
    /// `host:port`.
    pub address: String,
    /// Database, when the client's `database` is the target's name alone.
    pub database: String,
    /// Account used at the target.
    pub user: String,
    /// Its password.
    pub password: Option<SecretSource>,
    /// TLS mode. Default `verify-full`.
    pub tls: TargetTls,
    /// Authorities trusted, PEM; the system's when absent.
    pub tls_authority: Option<PathBuf>,
    /// Such as prod; may be empty.
    pub environment: String,
    /// Owning team; may be empty.
    pub owner: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Longest time to connect, and then to log in, milliseconds each. Default 10 000.
    pub timeout_ms: u64,
    /// Answer MD5, or send the password in clear without TLS, when the target asks for it. Default false.
    pub allow_weak_password: bool,
    /// Groups that may use it; `*` is everyone. Default none.
    pub allowed_groups: Vec<String>,
    /// Capture of this target alone.
    pub capture: Option<CaptureConfig>,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:5432".into(),
            database: "postgres".into(),
            user: "postgres".into(),
            password: None,
            tls: TargetTls::default(),
            tls_authority: None,
            environment: String::new(),
            owner: String::new(),
            labels: BTreeMap::new(),
            timeout_ms: 10_000,
            allow_weak_password: false,
            allowed_groups: Vec::new(),
            capture: None,
        }
    }
}

/// Most sessions of a process that can be configured.
const SESSIONS_MAX: usize = 100_000;
/// Most threads for sessions that can be configured.
const THREADS_MAX: usize = 256;
/// Longest time that can be configured, milliseconds: an hour.
const TIME_MS_MAX: u64 = 3_600_000;

/// A client asked for a target that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such target")]
pub struct UnknownTarget;

impl ProxyConfig {
    /// The target and the database at it, for the client's start-up parameter `database`: `<target>`,
    /// `<target>/<database>`, or the name of a database at the default target.
    ///
    /// # Errors
    /// [`UnknownTarget`] (SQLSTATE 3D000).
    pub fn route<'a>(&'a self, database: &'a str) -> Result<(&'a str, &'a TargetConfig, &'a str), UnknownTarget> {
        let (name, inner) = database.split_once('/').unwrap_or((database, ""));
        if let Some((name, target)) = self.targets.get_key_value(name) {
            let inner = if inner.is_empty() { target.database.as_str() } else { inner };
            return Ok((name, target, inner));
        }
        let default = self.default_target.as_ref().ok_or(UnknownTarget)?;
        let (name, target) = self.targets.get_key_value(default).ok_or(UnknownTarget)?;
        Ok((name, target, if database.is_empty() { target.database.as_str() } else { database }))
    }

    /// Checks what types alone cannot: bounds, and settings that need each other.
    ///
    /// # Errors
    /// [`StartError::Setting`], naming the field.
    pub fn check(&self) -> Result<(), StartError> {
        let need = |field: &str, good: bool, reason: &str| {
            if good { Ok(()) } else { Err(StartError::Setting { field: field.into(), reason: reason.into() }) }
        };
        let time = |ms: u64| (1..=TIME_MS_MAX).contains(&ms);
        need("sessions_max", (1..=SESSIONS_MAX).contains(&self.sessions_max), "must be 1 to 100000")?;
        need("handshakes_max", (1..=SESSIONS_MAX).contains(&self.handshakes_max), "must be 1 to 100000")?;
        need("threads", self.threads <= THREADS_MAX, "must be at most 256")?;
        need("sessions_per_principal_max", self.sessions_per_principal_max > 0, "must be at least 1")?;
        need("handshake_timeout_ms", time(self.handshake_timeout_ms), "must be 1 to 3600000")?;
        need("drain_ms", self.drain_ms <= TIME_MS_MAX, "must be at most 3600000")?;
        need("identity.issuer", !self.identity.issuer.is_empty(), "must be set")?;
        need("identity.skew_s", (0..=300).contains(&self.identity.skew_s), "must be 0 to 300")?;
        need("identity.jwks_max_age_s", self.identity.jwks_max_age_s > 0, "must be at least 1")?;
        let both = self.tls_certificate.is_some() == self.tls_key.is_some();
        need("tls_key", both, "tls_certificate and tls_key belong together")?;
        let usable = self.tls_certificate.is_some() || self.allow_cleartext_password;
        need("tls_certificate", usable, "must be set, as tokens are taken over TLS only")?;
        let default = self.default_target.as_ref().is_none_or(|name| self.targets.contains_key(name));
        need("default_target", default, "names no target")?;
        need("journal.segment_bytes", self.journal.segment_bytes >= 1 << 20, "must be at least 1048576")?;
        for (name, target) in &self.targets {
            let field = |field: &str| format!("targets.{name}.{field}");
            need(&field("name"), !name.is_empty() && !name.contains('/'), "a target's name has no slash")?;
            need(&field("timeout_ms"), time(target.timeout_ms), "must be 1 to 3600000")?;
            let capture = self.capture(target);
            need(&field("capture.wait_ms_max"), time(capture.wait_ms_max), "must be 1 to 3600000")?;
            need(&field("capture.window_bytes"), capture.window_bytes > 0, "must be at least 1")?;
        }
        Ok(())
    }

    /// Capture of `target`.
    #[must_use]
    pub fn capture<'a>(&'a self, target: &'a TargetConfig) -> &'a CaptureConfig {
        target.capture.as_ref().unwrap_or(&self.capture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_parameter_chooses_the_target() {
        let mut config = ProxyConfig::default();
        config.targets.insert("crm".into(), TargetConfig { database: "main".into(), ..TargetConfig::default() });
        let named = |config: &ProxyConfig, database: &str| {
            config.route(database).map(|(name, _, inner)| (name.to_owned(), inner.to_owned()))
        };
        assert_eq!(named(&config, "crm"), Ok(("crm".into(), "main".into())));
        assert_eq!(named(&config, "crm/other"), Ok(("crm".into(), "other".into())));
        assert_eq!(named(&config, "hr"), Err(UnknownTarget));
        config.default_target = Some("crm".into());
        assert_eq!(named(&config, "hr"), Ok(("crm".into(), "hr".into())));
        assert_eq!(named(&config, ""), Ok(("crm".into(), "main".into())));
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let good = ProxyConfig {
            allow_cleartext_password: true,
            identity: IdentityConfig { issuer: "https://id.test".into(), ..IdentityConfig::default() },
            ..ProxyConfig::default()
        };
        assert!(good.check().is_ok());
        type Change = fn(&mut ProxyConfig);
        let cases: [(Change, &str); 8] = [
            (|config| config.sessions_max = 0, "sessions_max"),
            (|config| config.handshakes_max = 0, "handshakes_max"),
            (|config| config.threads = 257, "threads"),
            (|config| config.identity.issuer.clear(), "identity.issuer"),
            (|config| config.tls_key = Some("k.pem".into()), "tls_key"),
            (|config| config.allow_cleartext_password = false, "tls_certificate"),
            (|config| config.default_target = Some("hr".into()), "default_target"),
            (|config| drop(config.targets.insert("a/b".into(), TargetConfig::default())), "targets.a/b"),
        ];
        for (change, field) in cases {
            let mut config = good.clone();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_names_are_kebab_case() {
        assert!(serde_json::from_str::<ProxyConfig>(r#"{"listne": 1}"#).is_err());
        let text = r#"{"targets":{"a":{"tls":"verify-full","capture":{"guarantee":"acked"}}}}"#;
        let config: ProxyConfig = serde_json::from_str(text).unwrap();
        let target = config.targets.get("a").unwrap();
        assert_eq!((target.tls, config.capture(target).guarantee), (TargetTls::VerifyFull, Guarantee::Acked));
    }
}
