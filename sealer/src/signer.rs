//! Who signs: one trait, one implementation that reads a key file. The only place that touches a signing key (I-15).

use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use tlog::note::KeyKind;
use tlog::{NoteError, VerifierKey};
use zeroize::Zeroizing;

/// Longest key file read, bytes.
const FILE_BYTES_MAX: u64 = 256;

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

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
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
}

/// An Ed25519 key read from a file of mode 0600.
pub struct FileSigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl FileSigner {
    /// Reads the key and names it `origin`.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn open(path: &Path, origin: &str) -> Result<Self, SignerError> {
        let read = |source| SignerError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SignerError::Permissions { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(read)?;
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| SignerError::Malformed(path.to_owned()))?);
        let seed = <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| SignerError::Malformed(path.to_owned()))?;
        Self::from_seed(seed, origin)
    }

    /// A signer from a seed.
    ///
    /// # Errors
    /// [`SignerError::Origin`].
    pub fn from_seed(seed: &[u8; 32], origin: &str) -> Result<Self, SignerError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(origin, KeyKind::Ed25519, &key.verifying_key().to_bytes())
            .map_err(|source| SignerError::Origin(origin.to_owned(), source))?;
        Ok(Self { key, verifier })
    }

    /// Writes a new key file (mode 0600, never over an existing one) from 32 random bytes.
    ///
    /// # Errors
    /// [`SignerError::Write`], also when the file exists.
    pub fn create(path: &Path, seed: &[u8; 32], origin: &str) -> Result<Self, SignerError> {
        let signer = Self::from_seed(seed, origin)?;
        let write = |source| SignerError::Write { path: path.to_owned(), source };
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(write)?;
        let text = Zeroizing::new(STANDARD.encode(seed) + "\n");
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(write)?;
        file.sync_all().map_err(write)?;
        Ok(signer)
    }
}

impl std::fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSigner").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl Signer for FileSigner {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(self.key.sign(message).to_bytes())
    }
}
