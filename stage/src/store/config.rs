//! The `[store]` table.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::SecretSource;

/// How evidence is locked in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// By the bucket's default retention only.
    None,
    /// Privileged users may shorten it.
    Governance,
    /// Nobody may shorten it.
    #[default]
    Compliance,
}

/// Configuration of the object store. All fields need a restart.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `s3://bucket/prefix`, `file:///folder`, or a folder.
    pub url: String,
    /// S3: endpoint URL; empty takes AWS's own of the region.
    pub endpoint: String,
    /// S3: region to sign for.
    pub region: String,
    /// S3: access key id; none takes the environment's (variables, web identity, instance).
    pub access_key_id: Option<SecretSource>,
    /// S3: secret access key; goes with `access_key_id`.
    pub secret_access_key: Option<SecretSource>,
    /// S3: allow an endpoint without TLS.
    pub allow_http: bool,
    /// S3: PEM file of further authorities to trust, for an endpoint with a certificate of one's own. The system's are
    /// trusted beside them.
    pub ca_file: Option<PathBuf>,
    /// S3: how each object of evidence is locked.
    pub lock_mode: LockMode,
    /// S3: days an object of evidence is locked, to the end of the UTC day; 1 to 36,500.
    pub lock_days: u32,
    /// S3: start although nothing locks the objects; for tests only.
    pub allow_unlocked: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "sealtrail-store".into(),
            endpoint: String::new(),
            region: "us-east-1".into(),
            access_key_id: None,
            secret_access_key: None,
            allow_http: false,
            ca_file: None,
            lock_mode: LockMode::default(),
            lock_days: 365,
            allow_unlocked: false,
        }
    }
}
