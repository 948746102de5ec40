//! The `[sealer]` table.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the sealer. All fields need a restart.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SealerConfig {
    /// Name of the log: host and path, no scheme, no space, no plus; it stops transplanting between environments.
    pub origin: String,
    /// File with the log's Ed25519 seed, one line of base64, mode 0600. `sealtrail keys init` makes one.
    pub key_file: PathBuf,
    /// Folder on local disk for the high-water mark and the envelope position; must survive restarts.
    pub state_folder: PathBuf,
    /// Events after which a batch closes; 1 to 1,048,576.
    pub batch_events_max: u32,
    /// Bytes of keys and values after which a batch closes; 1 KiB to 1 GiB.
    pub batch_bytes_max: u64,
    /// Milliseconds after its first event at which a batch closes; 10 to 3,600,000.
    pub batch_age_ms: u32,
    /// Milliseconds between heartbeat seals of an idle stream; 100 to 86,400,000.
    pub heartbeat_ms: u32,
    /// Least milliseconds between two checkpoints; 0 to 60,000.
    pub publish_interval_ms: u32,
    /// Read and hash each batch a second time before it is proposed; guards against a flipped bit.
    pub hash_twice: bool,
}

impl Default for SealerConfig {
    fn default() -> Self {
        Self {
            origin: "sealtrail.example/log".into(),
            key_file: "log.key".into(),
            state_folder: "sealer-state".into(),
            batch_events_max: 65_536,
            batch_bytes_max: 64 << 20,
            batch_age_ms: 5_000,
            heartbeat_ms: 60_000,
            publish_interval_ms: 1_000,
            hash_twice: true,
        }
    }
}

impl SealerConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// Field name and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("sealer.{name} is {value}, must be {low} to {high}"))
            }
        };
        within("batch_events_max", self.batch_events_max.into(), 1, 1_048_576)?;
        within("batch_bytes_max", self.batch_bytes_max, 1024, 1 << 30)?;
        within("batch_age_ms", self.batch_age_ms.into(), 10, 3_600_000)?;
        within("heartbeat_ms", self.heartbeat_ms.into(), 100, 86_400_000)?;
        within("publish_interval_ms", self.publish_interval_ms.into(), 0, 60_000)?;
        if !tlog::note::is_key_name(&self.origin) {
            return Err(format!("sealer.origin `{}` is empty, too long, or holds a space or a plus", self.origin));
        }
        Ok(())
    }
}
