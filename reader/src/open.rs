//! An archive's objects by name, from a folder or from S3.
//!
//! Blocking: a stage or the CLI calls it from plain threads, several at once. S3 is asked through a current-thread
//! runtime of its own. Never writes. Limits (I-10): [`OBJECT_BYTES_MAX`], [`NAMES_MAX`], [`RETRIES_MAX`].

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, RetryConfig};

use crate::ReadError;

/// Largest object read, bytes.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// Most names of one listing.
pub const NAMES_MAX: usize = 10_000_000;
/// Most folders below each other in a local archive.
pub const DEPTH_MAX: usize = 16;
/// Retries of one S3 request.
pub const RETRIES_MAX: usize = 5;
/// All retries of one S3 request together.
pub const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    url: String,
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Local(PathBuf),
    S3 { store: Box<dyn ObjectStore>, runtime: tokio::runtime::Runtime },
}

impl Archive {
    /// Opens a folder by path or `file:///…`, or `s3://bucket/prefix` with credentials, region and endpoint from the
    /// environment (`AWS_*`; plain HTTP only when `AWS_ENDPOINT_URL` says so; `SSL_CERT_FILE` for another authority). Reads nothing yet.
    ///
    /// # Errors
    /// [`ReadError::Address`] for another scheme or a folder that does not exist, [`ReadError::Connect`].
    pub fn open(url: &str) -> Result<Self, ReadError> {
        let address = |reason: &str| ReadError::Address { url: url.to_owned(), reason: reason.to_owned() };
        let backend = if url.starts_with("s3://") {
            open_s3(url)?
        } else {
            let path = if url.starts_with("file://") {
                url::Url::parse(url)
                    .ok()
                    .and_then(|parsed| parsed.to_file_path().ok())
                    .ok_or_else(|| address("not a file address"))?
            } else if url.contains("://") {
                return Err(address("not a path, file:// or s3://"));
            } else {
                PathBuf::from(url)
            };
            if !path.is_dir() {
                return Err(address("no such folder"));
            }
            Backend::Local(path)
        };
        Ok(Self { url: url.to_owned(), backend })
    }

    /// The address as it was given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every object name below the folder `prefix` (no slash at its end; empty for all), sorted.
    ///
    /// # Errors
    /// [`ReadError::Store`], [`ReadError::TooLarge`] above [`NAMES_MAX`].
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, ReadError> {
        let mut names = match &self.backend {
            Backend::Local(root) => list_local(root, prefix)?,
            Backend::S3 { store, runtime } => {
                let folder = (!prefix.is_empty()).then(|| StorePath::from(prefix));
                let listing = async {
                    let mut names = Vec::new();
                    let mut stream = store.list(folder.as_ref());
                    while let Some(meta) = stream.try_next().await.map_err(|error| store_error(prefix, error))? {
                        push_name(&mut names, prefix, meta.location.to_string())?;
                    }
                    Ok::<_, ReadError>(names)
                };
                runtime.block_on(listing)?
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    /// The whole object.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Store`], [`ReadError::TooLarge`] above [`OBJECT_BYTES_MAX`].
    pub fn get(&self, name: &str) -> Result<Bytes, ReadError> {
        self.find(name)?.ok_or_else(|| ReadError::Missing(name.to_owned()))
    }

    /// The whole object, or `None` if there is none of that name.
    ///
    /// # Errors
    /// [`ReadError::Store`], [`ReadError::TooLarge`].
    pub fn find(&self, name: &str) -> Result<Option<Bytes>, ReadError> {
        let Some(size) = self.size(name)? else { return Ok(None) };
        if size > OBJECT_BYTES_MAX {
            return Err(ReadError::TooLarge { name: name.to_owned(), limit: OBJECT_BYTES_MAX, unit: "bytes" });
        }
        match &self.backend {
            Backend::Local(root) => match std::fs::read(local_path(root, name)?) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(store_error(name, error)),
            },
            Backend::S3 { store, runtime } => {
                let path = StorePath::from(name);
                match runtime.block_on(async { store.get(&path).await?.bytes().await }) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(store_error(name, error)),
                }
            }
        }
    }

    /// The object's size in bytes, or `None` if there is none of that name.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub fn size(&self, name: &str) -> Result<Option<u64>, ReadError> {
        match &self.backend {
            Backend::Local(root) => match std::fs::metadata(local_path(root, name)?) {
                Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
                Ok(_) => Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
                Err(error) => Err(store_error(name, error)),
            },
            Backend::S3 { store, runtime } => {
                let path = StorePath::from(name);
                match runtime.block_on(store.head(&path)) {
                    Ok(meta) => Ok(Some(meta.size)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(store_error(name, error)),
                }
            }
        }
    }
}

fn store_error(name: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ReadError {
    ReadError::Store { name: name.to_owned(), source: source.into() }
}

fn push_name(names: &mut Vec<String>, prefix: &str, name: String) -> Result<(), ReadError> {
    if names.len() >= NAMES_MAX {
        let limit = u64::try_from(NAMES_MAX).unwrap_or(u64::MAX);
        return Err(ReadError::TooLarge { name: prefix.to_owned(), limit, unit: "names" });
    }
    names.push(name);
    Ok(())
}

fn open_s3(url: &str) -> Result<Backend, ReadError> {
    let address = |reason: &str| ReadError::Address { url: url.to_owned(), reason: reason.to_owned() };
    let rest = url.strip_prefix("s3://").unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(address("no bucket"));
    }
    let plain = std::env::var("AWS_ENDPOINT_URL").is_ok_and(|endpoint| endpoint.starts_with("http://"));
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let connect = |source: Box<dyn std::error::Error + Send + Sync>| ReadError::Connect { url: url.to_owned(), source };
    // refused when a provider is installed already: then that one serves
    drop(rustls::crypto::ring::default_provider().install_default());
    let s3 = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_allow_http(plain)
        .with_retry(retry)
        .build()
        .map_err(|error| connect(error.into()))?;
    let prefix = StorePath::from(prefix.trim_end_matches('/'));
    let store: Box<dyn ObjectStore> =
        if prefix.as_ref().is_empty() { Box::new(s3) } else { Box::new(PrefixStore::new(s3, prefix)) };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| connect(error.into()))?;
    Ok(Backend::S3 { store, runtime })
}

/// The file of an object name; a name that would leave the archive's folder is refused.
fn local_path(root: &Path, name: &str) -> Result<PathBuf, ReadError> {
    let relative = Path::new(name);
    if relative.components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(root.join(relative))
    } else {
        Err(ReadError::Address { url: name.to_owned(), reason: "not an object name".to_owned() })
    }
}

fn list_local(root: &Path, prefix: &str) -> Result<Vec<String>, ReadError> {
    let mut names = Vec::new();
    let start = if prefix.is_empty() { root.to_owned() } else { local_path(root, prefix)? };
    let mut folders = vec![(start, prefix.to_owned(), 0_usize)];
    while let Some((folder, name, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 && error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(store_error(&name, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| store_error(&name, error))?;
            let base = entry.file_name().to_string_lossy().into_owned();
            let child = if name.is_empty() { base } else { format!("{name}/{base}") };
            let kind = entry.file_type().map_err(|error| store_error(&child, error))?;
            if kind.is_dir() {
                if depth >= DEPTH_MAX {
                    let limit = u64::try_from(DEPTH_MAX).unwrap_or(u64::MAX);
                    return Err(ReadError::TooLarge { name: child, limit, unit: "folders" });
                }
                folders.push((entry.path(), child, depth + 1));
            } else {
                push_name(&mut names, prefix, child)?;
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_sorted_and_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("events/a")).unwrap();
        for name in ["events/b", "events/a/z", "top"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let archive = Archive::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(archive.list("").unwrap(), ["events/a/z", "events/b", "top"]);
        assert_eq!(archive.list("events").unwrap(), ["events/a/z", "events/b"]);
        assert!(archive.list("none").unwrap().is_empty());
        assert_eq!(archive.get("top").unwrap(), Bytes::from("top"));
        assert_eq!(archive.size("events/b").unwrap(), Some(8));
        assert_eq!((archive.size("events").unwrap(), archive.size("top/x").unwrap()), (None, None));
        assert!(matches!(archive.get("missing"), Err(ReadError::Missing(_))));
        assert_eq!(archive.get("../x").unwrap_err().kind(), "address");
        let by_url = Archive::open(url::Url::from_directory_path(dir.path()).unwrap().as_str()).unwrap();
        assert_eq!(by_url.list("events").unwrap().len(), 2);
    }

    #[test]
    fn unknown_addresses_are_refused() {
        for bad in ["ftp://x/y", "/no/such/folder", "s3://", "file://host/x"] {
            assert_eq!(Archive::open(bad).unwrap_err().kind(), "address", "{bad}");
        }
    }
}
