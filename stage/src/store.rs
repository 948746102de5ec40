//! The object store, for evidence: objects are made once and never changed. Calls block.
//!
//! Two kinds: a local folder (files become read-only after they are written) and S3 with Object Lock. Every put of
//! evidence is create-only (I-04): of two writers one wins, and the other is told. Evidence is put in one request, never
//! in parts: several completions of one multipart upload can win at once.
//!
//! A lock protects a version, not a name: the bucket's policy must keep writers from deleting and from plain puts.

mod config;
mod error;
mod s3;

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

pub use config::{LockMode, StoreConfig};
pub use error::{StoreError, StoreErrorKind};

/// Tries of one put whose outcome was not clear.
const TRIES: u32 = 4;
/// Wait between them.
const TRY_WAIT: Duration = Duration::from_millis(200);
/// Names one list gives at most.
pub const LIST_MAX: usize = 10_000_000;
/// Object that shows that a local folder can be written.
const PROBE: &str = "zz-writable";

/// What a create-only put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is ours and durable.
    Created,
    /// There was one already; it was not touched.
    Exists,
}

enum Backend {
    Local(LocalFileSystem),
    S3(Box<s3::S3>),
}

/// A store; cheap to share behind an `Arc`. Not to be called from inside an async runtime.
pub struct Store {
    backend: Backend,
    prefix: Path,
    runtime: tokio::runtime::Runtime,
    config: StoreConfig,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("url", &self.config.url).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store. A local folder is made if it is missing; no request is sent to S3.
    ///
    /// # Errors
    /// [`StoreErrorKind::Config`] for a wrong URL or secret.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::config(&config.url, reason);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| wrong(format!("make a runtime: {error}")))?;
        let (backend, prefix) = match config.url.strip_prefix("s3://") {
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
                (Backend::S3(Box::new(s3::S3::open(config, bucket)?)), prefix)
            }
            None => {
                let path = config.url.strip_prefix("file://").unwrap_or(&config.url);
                if path.is_empty() || path.contains("://") {
                    return Err(wrong("is no folder, file:// or s3:// URL".into()));
                }
                std::fs::create_dir_all(path).map_err(|error| wrong(format!("make folder: {error}")))?;
                let local = LocalFileSystem::new_with_prefix(path).map_err(|error| wrong(error.to_string()))?;
                (Backend::Local(local.with_fsync(true)), Path::default())
            }
        };
        Ok(Self { backend, prefix, runtime, config: config.clone() })
    }

    fn plain(&self) -> &dyn ObjectStore {
        match &self.backend {
            Backend::Local(local) => local,
            Backend::S3(s3) => s3.plain(),
        }
    }

    fn path(&self, operation: &'static str, name: &str) -> Result<Path, StoreError> {
        let path = Path::parse(name).map_err(|error| StoreError::new(operation, name, &error.into()))?;
        Ok(self.prefix.parts().chain(path.parts()).collect())
    }

    /// Makes an object that never changes; it is durable when this returns. `locked` says whether Object Lock applies;
    /// on a local folder the file becomes read-only either way.
    ///
    /// # Errors
    /// [`StoreError`]; `Retriable` when it is not known whether the object is there: call again.
    pub fn put_create(&self, name: &str, bytes: &[u8], locked: bool) -> Result<PutOutcome, StoreError> {
        const OPERATION: &str = "create";
        let path = self.path(OPERATION, name)?;
        let payload = PutPayload::from(bytes::Bytes::copy_from_slice(bytes));
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(TRY_WAIT);
            }
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = match &self.backend {
                Backend::S3(s3) if locked && self.config.lock_mode != LockMode::None => {
                    let client = s3.locked(crate::clock::now_ms())?;
                    self.runtime.block_on(client.put_opts(&path, payload.clone(), options))
                }
                _ => self.runtime.block_on(self.plain().put_opts(&path, payload.clone(), options)),
            };
            match put {
                Ok(_) => {
                    if let Backend::Local(local) = &self.backend {
                        read_only(local, &path)
                            .map_err(|reason| StoreError::full_or_retry(OPERATION, name, &reason))?;
                    }
                    return Ok(PutOutcome::Created);
                }
                // two creates in flight may both be told so, and neither be there
                Err(object_store::Error::AlreadyExists { .. }) if self.size(name)?.is_some() => {
                    return Ok(PutOutcome::Exists);
                }
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(StoreError::new(OPERATION, name, &error)),
            }
        }
        Err(StoreError::retriable(OPERATION, name, "the store says that it exists, and that it does not"))
    }

    /// Makes or replaces an object that only points at others; never locked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path("replace", name)?;
        let payload = PutPayload::from(bytes::Bytes::copy_from_slice(bytes));
        let put = self.runtime.block_on(self.plain().put_opts(&path, payload, PutOptions::default()));
        put.map(drop).map_err(|error| StoreError::new("replace", name, &error))
    }

    /// The object, or `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path("read", name)?;
        let read = self.runtime.block_on(async { self.plain().get(&path).await?.bytes().await });
        found(read.map(|bytes| bytes.to_vec())).map_err(|error| StoreError::new("read", name, &error))
    }

    /// Bytes `from..to` of an object that is at least that long, or `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get_range(&self, name: &str, range: std::ops::Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path("read", name)?;
        if range.is_empty() {
            return Ok(self.size(name)?.map(|_| Vec::new()));
        }
        let wanted = range.end - range.start;
        let read = found(self.runtime.block_on(self.plain().get_range(&path, range)));
        let read = read.map_err(|error| StoreError::new("read", name, &error))?;
        match read {
            Some(bytes) if u64::try_from(bytes.len()) != Ok(wanted) => {
                Err(StoreError::retriable("read", name, "gave fewer bytes than asked for"))
            }
            read => Ok(read.map(|bytes| bytes.to_vec())),
        }
    }

    /// Bytes of an object, or `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path("look up", name)?;
        let head = self.runtime.block_on(self.plain().head(&path));
        found(head.map(|meta| meta.size)).map_err(|error| StoreError::new("look up", name, &error))
    }

    /// Names under a folder, sorted; at most [`LIST_MAX`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path("list", folder)?;
        let own = self.prefix.parts().count();
        let mut names = self.runtime.block_on(async {
            let mut names = Vec::new();
            let mut objects = self.plain().list(Some(&path));
            while let Some(meta) = objects.try_next().await? {
                if names.len() >= LIST_MAX {
                    let source = format!("more than {LIST_MAX} objects").into();
                    return Err(object_store::Error::NotSupported { source });
                }
                let name: Path = meta.location.parts().skip(own).collect();
                names.push(name.to_string());
            }
            Ok(names)
        });
        if let Ok(names) = &mut names {
            names.sort_unstable();
        }
        names.map_err(|error| StoreError::new("list", folder, &error))
    }

    /// Checks, before any evidence is written, that the store holds what is put: a local folder can be written; a
    /// bucket has Object Lock, with a default retention when the configuration sets none.
    ///
    /// # Errors
    /// [`StoreErrorKind::Config`] for a bucket without lock, unless `allow_unlocked`; [`StoreError`].
    pub fn check_lock(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Local(_) => self.put_replace(PROBE, b"ok\n"),
            Backend::S3(s3) => self.runtime.block_on(s3.check_lock(&self.config)),
        }
    }

    /// Where this store is, without secrets.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// The same store behind an `Arc`.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

fn found<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_only(local: &LocalFileSystem, path: &Path) -> std::io::Result<()> {
    let file = local.path_to_filesystem(path).map_err(std::io::Error::other)?;
    let mut permissions = std::fs::metadata(&file)?.permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file, permissions)
}
