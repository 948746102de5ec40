//! Keys in files of mode 0600: `<key file>` for epoch 0, `<key file>.<epoch>` for each later one.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use rand::TryRngCore as _;
use tlog::VerifierKey;
use zeroize::Zeroizing;

use super::{Keyring, Signer, SignerError, named};

/// Longest key file read, bytes.
const FILE_BYTES_MAX: u64 = 256;

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
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SignerError::Missing(path.display().to_string()));
            }
            opened => opened.map_err(read)?,
        };
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
        let verifier = named(origin, &key.verifying_key().to_bytes())?;
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
        file.write_all(text.as_bytes()).map_err(write)?;
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

/// A key file per epoch, in the folder of the first.
#[derive(Debug, Clone)]
pub struct FileKeyring {
    first: PathBuf,
    origin: String,
}

impl FileKeyring {
    /// The keys beside `first`, the file of epoch 0.
    #[must_use]
    pub fn new(first: &Path, origin: &str) -> Self {
        Self { first: first.to_owned(), origin: origin.to_owned() }
    }

    /// The file of an epoch.
    #[must_use]
    pub fn path(&self, epoch: i64) -> PathBuf {
        if epoch == 0 {
            return self.first.clone();
        }
        let mut name = self.first.clone().into_os_string();
        name.push(format!(".{epoch}"));
        name.into()
    }
}

impl Keyring for FileKeyring {
    fn open(&self, epoch: i64) -> Result<Box<dyn Signer>, SignerError> {
        Ok(Box::new(FileSigner::open(&self.path(epoch), &self.origin)?))
    }

    fn make(&self, epoch: i64) -> Result<Box<dyn Signer>, SignerError> {
        let path = self.path(epoch);
        match self.open(epoch) {
            Err(SignerError::Missing(_)) => {}
            found => return found,
        }
        let mut seed = Zeroizing::new([0; 32]);
        rand::rngs::OsRng.try_fill_bytes(seed.as_mut()).map_err(|_| SignerError::Random)?;
        // a crash in the middle leaves the unfinished file under another name, never half a key under this one
        let unfinished = path.with_extension("unfinished");
        erase(&unfinished)?;
        let signer = FileSigner::create(&unfinished, &seed, &self.origin)?;
        let write = |source| SignerError::Write { path: path.clone(), source };
        std::fs::hard_link(&unfinished, &path).and_then(|()| std::fs::remove_file(&unfinished)).map_err(write)?;
        sync_folder(&path).map_err(write)?;
        Ok(Box::new(signer))
    }

    fn erase(&self, epoch: i64) -> Result<(), SignerError> {
        erase(&self.path(epoch))
    }
}

/// Overwrites a key file with zeros, flushes that to disk, and removes it. A disk that copies on write may keep the old
/// blocks: docs/operating/keys.md says what to do about it.
fn erase(path: &Path) -> Result<(), SignerError> {
    let write = |source| SignerError::Write { path: path.to_owned(), source };
    let mut file = match std::fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(write)?,
    };
    let length = file.metadata().map_err(write)?.len().min(FILE_BYTES_MAX);
    file.rewind().map_err(write)?;
    file.write_all(&vec![0; usize::try_from(length).unwrap_or(0)]).map_err(write)?;
    file.sync_all().map_err(write)?;
    std::fs::remove_file(path).map_err(write)?;
    sync_folder(path).map_err(write)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}
