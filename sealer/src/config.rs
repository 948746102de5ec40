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
    /// File with the Ed25519 seed of epoch 0, one line of base64, mode 0600. `sealtrail keys init` makes one. Later epochs
    /// have files beside it, `<key_file>.<epoch>`: the sealer makes and erases them, so it must be able to write there.
    pub key_file: PathBuf,
    /// Keys in a service instead of files.
    pub signer: SignerConfig,
    /// Hours of a key epoch; 0 never rotates by itself, at most 8,760. `sealtrail keys rotate` rotates at once.
    pub epoch_hours: u32,
    /// File with the verifier keys of the root, one a line; empty: no policy, no incident and no recovery is accepted.
    pub root_vkey_file: PathBuf,
    /// The root-signed policy note; it is stored beside the log. Empty: none.
    pub policy_file: PathBuf,
    /// Witnesses.
    pub witness: WitnessConfig,
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

/// Who holds the secrets of the epochs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignerKind {
    /// Files of mode 0600.
    #[default]
    File,
    /// The transit engine of OpenBao or Vault.
    Transit,
}

/// The `[sealer.signer]` table.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignerConfig {
    /// `file` (default) or `transit`.
    pub kind: SignerKind,
    /// With transit: address, such as `https://bao.example:8200`.
    pub address: String,
    /// With transit: path of the engine, such as `transit`.
    pub mount: String,
    /// With transit: name of the keys; epoch n is signed by `<key>-<n>`, of type ed25519.
    pub key: String,
    /// With transit: file with the token that may sign with these keys and read their public halves. Read at each call.
    pub token_file: PathBuf,
    /// With transit: file with the token that may make and delete these keys. Empty: an operator does both, and rotation waits
    /// until the next key is there.
    pub manage_token_file: PathBuf,
}

/// The `[sealer.witness]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WitnessConfig {
    /// A `c2sp.org/tlog-policy` file with witnesses, their URLs and the quorum. Empty: those of `policy_file`.
    pub file: PathBuf,
    /// True publishes nothing without the quorum (fail-closed). False publishes, raises `sealer_quorum_met` 0, and `verify` says
    /// which heads lack it (fail-open).
    pub required: bool,
    /// Longest milliseconds to wait for one witness; 10 to 60,000.
    pub timeout_ms: u32,
    /// Milliseconds to wait for more cosignatures once the quorum is met; 0 to 10,000.
    pub extra_wait_ms: u32,
}

impl Default for WitnessConfig {
    fn default() -> Self {
        Self { file: PathBuf::new(), required: false, timeout_ms: 2000, extra_wait_ms: 200 }
    }
}

impl Default for SealerConfig {
    fn default() -> Self {
        Self {
            origin: "sealtrail.example/log".into(),
            key_file: "log.key".into(),
            signer: SignerConfig::default(),
            epoch_hours: 24,
            root_vkey_file: PathBuf::new(),
            policy_file: PathBuf::new(),
            witness: WitnessConfig::default(),
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
        within("witness.timeout_ms", self.witness.timeout_ms.into(), 10, 60_000)?;
        within("witness.extra_wait_ms", self.witness.extra_wait_ms.into(), 0, 10_000)?;
        within("epoch_hours", self.epoch_hours.into(), 0, 8760)?;
        let transit = &self.signer;
        if transit.kind == SignerKind::Transit
            && (transit.address.is_empty() || transit.mount.is_empty() || transit.key.is_empty())
        {
            return Err("sealer.signer: transit needs address, mount, key and token_file".into());
        }
        if !self.policy_file.as_os_str().is_empty() && self.root_vkey_file.as_os_str().is_empty() {
            return Err("sealer.policy_file needs sealer.root_vkey_file, or nobody says who signed it".into());
        }
        if !tlog::note::is_key_name(&self.origin) {
            return Err(format!("sealer.origin `{}` is empty, too long, or holds a space or a plus", self.origin));
        }
        Ok(())
    }
}
