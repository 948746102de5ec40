//! Who signs: one trait over a key file, a transit engine or a recorded key service, and the keyring that holds a key per
//! epoch. With the witness, the only place that touches a signing key (I-15).

pub mod file;
pub mod transit;

use std::path::PathBuf;

use tlog::note::KeyKind;
use tlog::{NoteError, VerifierKey};

use crate::config::{SealerConfig, SignerKind};

pub use file::{FileKeyring, FileSigner};
pub use transit::TransitKeyring;

/// Signs what the notary has committed to.
pub trait Signer: Send {
    /// The public key, named as the log's origin.
    fn verifier_key(&self) -> &VerifierKey;

    /// An Ed25519 signature over `message` (RFC 8032).
    ///
    /// # Errors
    /// [`SignerError`]; nothing was signed.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
}

/// One key per epoch: opened, made before the epoch begins, erased when it is over.
pub trait Keyring: Send {
    /// The key of an epoch.
    ///
    /// # Errors
    /// [`SignerError::Missing`] when there is none (any more).
    fn open(&self, epoch: i64) -> Result<Box<dyn Signer>, SignerError>;
    /// The key of an epoch that is to begin; a repeat gives the same key.
    ///
    /// # Errors
    /// [`SignerError`].
    fn make(&self, epoch: i64) -> Result<Box<dyn Signer>, SignerError>;
    /// Destroys the secret of an epoch; a repeat does nothing.
    ///
    /// # Errors
    /// [`SignerError`]: the secret may still be there.
    fn erase(&self, epoch: i64) -> Result<(), SignerError>;
}

/// The keyring of a configuration. Nothing is opened yet.
#[must_use]
pub fn keyring(config: &SealerConfig) -> Box<dyn Keyring> {
    let signer = &config.signer;
    match signer.kind {
        SignerKind::File => Box::new(FileKeyring::new(&config.key_file, &config.origin)),
        SignerKind::Transit => {
            let manage = Some(signer.manage_token_file.clone()).filter(|path| !path.as_os_str().is_empty());
            let token = signer.token_file.clone();
            Box::new(TransitKeyring::new(&signer.address, &signer.mount, &signer.key, &config.origin, token, manage))
        }
    }
}

/// Names an Ed25519 public key.
pub(crate) fn named(origin: &str, public: &[u8; 32]) -> Result<VerifierKey, SignerError> {
    VerifierKey::new(origin, KeyKind::Ed25519, public).map_err(|source| SignerError::Origin(origin.to_owned(), source))
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// There is no such key.
    #[error("signing key `{0}` does not exist; `sealtrail keys init` makes the first one")]
    Missing(String),
    /// The key file cannot be read.
    #[error("read signing key `{path}`; `sealtrail keys init` makes one")]
    Read {
        /// Path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The key file cannot be written.
    #[error("write signing key `{path}`")]
    Write {
        /// Path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Others may read the key file.
    #[error("signing key `{path}` may be read by others (mode {mode:o}); run chmod 600 on it")]
    Permissions {
        /// Path.
        path: PathBuf,
        /// Mode found.
        mode: u32,
    },
    /// The key file is no 32-byte seed in base64.
    #[error("signing key `{0}` is not one line of base64 with 32 bytes; make one with `sealtrail keys init`")]
    Malformed(PathBuf),
    /// The origin cannot name a key.
    #[error("origin `{0}` cannot name a key")]
    Origin(String, #[source] NoteError),
    /// The operating system gave no random bytes.
    #[error("no random bytes for a new key")]
    Random,
    /// The key is not the one that the log names.
    #[error("the key of epoch {epoch} is not the one that the log names; another notary has begun that epoch")]
    Mismatch {
        /// Epoch.
        epoch: i64,
    },
    /// The key service failed or refused.
    #[error("{operation} at the key service `{address}`: {reason}")]
    Service {
        /// What was tried.
        operation: &'static str,
        /// Its address.
        address: String,
        /// Cause, without any token.
        reason: String,
        /// True when the same call may succeed later.
        retriable: bool,
    },
}

impl SignerError {
    /// True when the same call may succeed later.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::Service { retriable: true, .. })
    }
}
