//! The root-signed policy note: checked at start, stored beside the log.

use std::path::Path;
use std::time::Duration;

use tlog::{POLICY_PATH, Policy, VerifierKey, WitnessPolicy, policy_path};

use crate::config::SealerConfig;
use crate::error::NotaryError;
use crate::integrate::{Epoch, Trust};
use crate::store::{LogStore, Put};
use crate::witness::client::{Patience, Witnesses};
use crate::witness::{Cosigner, NoWitness};

/// Largest policy note or root key file read, bytes; a note's own limit is lower.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the root's holder says about this log.
#[derive(Debug, Default)]
pub(crate) struct Rooted {
    /// Root and recovery keys.
    pub(crate) trust: Trust,
    /// The policy and its note, if one is configured.
    policy: Option<(Policy, Vec<u8>)>,
}

impl Rooted {
    /// Reads root keys and policy.
    ///
    /// # Errors
    /// [`NotaryError::Policy`].
    pub(crate) fn read(config: &SealerConfig) -> Result<Self, NotaryError> {
        let mut rooted = Self::default();
        if config.root_vkey_file.as_os_str().is_empty() {
            return Ok(rooted);
        }
        let path = &config.root_vkey_file;
        let text = String::from_utf8(read(path)?).map_err(|_| wrong(path, "not UTF-8"))?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            rooted.trust.roots.push(VerifierKey::parse(line.trim()).map_err(|error| wrong(path, error))?);
        }
        if config.policy_file.as_os_str().is_empty() {
            return Ok(rooted);
        }
        let path = &config.policy_file;
        let note = read(path)?;
        let policy = Policy::open(&note, &rooted.trust.roots).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            wrong(path, format!("{error}{cause}"))
        })?;
        if policy.origin != config.origin {
            return Err(wrong(path, format!("it is of `{}`, not of `{}`", policy.origin, config.origin)));
        }
        rooted.trust.recovery.clone_from(&policy.recovery);
        rooted.policy = Some((policy, note));
        Ok(rooted)
    }

    /// The policy.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().map(|(policy, _)| policy)
    }

    /// The witnesses to ask.
    ///
    /// # Errors
    /// [`NotaryError::Policy`].
    pub(crate) fn cosigner(&self, config: &SealerConfig) -> Result<Box<dyn Cosigner>, NotaryError> {
        let path = &config.witness.file;
        let witnesses = if path.as_os_str().is_empty() {
            self.policy().map(|policy| policy.witnesses.clone()).unwrap_or_default()
        } else {
            let text = String::from_utf8(read(path)?).map_err(|_| wrong(path, "not UTF-8"))?;
            WitnessPolicy::parse(&text).map_err(|error| wrong(path, error))?
        };
        if witnesses.quorum.is_none() && witnesses.witnesses.is_empty() {
            return Ok(Box::new(NoWitness));
        }
        let patience = Patience {
            timeout: Duration::from_millis(config.witness.timeout_ms.into()),
            extra: Duration::from_millis(config.witness.extra_wait_ms.into()),
            required: config.witness.required,
        };
        Ok(Box::new(Witnesses::new(witnesses, patience)))
    }

    /// The key in force must be the policy's first one in epoch 0, and may not be revoked.
    ///
    /// # Errors
    /// [`NotaryError::Policy`].
    pub(crate) fn check(&self, config: &SealerConfig, epoch: &Epoch) -> Result<(), NotaryError> {
        let Some(policy) = self.policy() else { return Ok(()) };
        if epoch.number == 0 && epoch.key != policy.first_key {
            return Err(wrong(&config.policy_file, "its first_key is not the key of epoch 0"));
        }
        if let Some(size) = policy.last_good_size(&epoch.key) {
            let what =
                format!("the key in force is revoked above size {size}; begin an epoch with `sealtrail keys recover`");
            return Err(wrong(&config.policy_file, what));
        }
        Ok(())
    }

    /// Stores the note under its number, and as the one in force.
    ///
    /// # Errors
    /// [`NotaryError::Policy`] when the store holds a newer one, or another of this number; [`NotaryError::Store`].
    pub(crate) fn store(&self, config: &SealerConfig, store: &dyn LogStore) -> Result<(), NotaryError> {
        let Some((policy, note)) = &self.policy else { return Ok(()) };
        let stored = store.read(POLICY_PATH)?;
        let newer = stored.as_deref().and_then(|stored| Policy::open(stored, &self.trust.roots).ok());
        if newer.is_some_and(|newer| newer.number > policy.number) {
            return Err(wrong(&config.policy_file, "the store holds a policy of a higher number"));
        }
        let path = policy_path(policy.number);
        if store.create(&path, note, true)? == Put::Exists && store.read(&path)?.as_deref() != Some(note.as_slice()) {
            return Err(wrong(&config.policy_file, format!("`{path}` in the store is another policy of this number")));
        }
        if stored.as_deref() == Some(note.as_slice()) { Ok(()) } else { store.replace(POLICY_PATH, note) }
    }
}

fn wrong(path: &Path, reason: impl ToString) -> NotaryError {
    NotaryError::Policy { path: path.to_owned(), reason: reason.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, NotaryError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(path, error))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| wrong(path, error))?;
    Ok(bytes)
}
