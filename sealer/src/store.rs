//! The log's files in the object store, under [`schemas::layout::LOG_PREFIX`].

use std::sync::Arc;

use schemas::layout::LOG_PREFIX;
use stage::store::{PutOutcome, Store, StoreError};

use crate::error::NotaryError;

/// What a create-only put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Created,
    /// There was one already.
    Exists,
}

/// The object store under the log's prefix.
pub trait LogStore: Send {
    /// Stores an object that never changes; `locked` says whether Object Lock applies.
    ///
    /// # Errors
    /// [`NotaryError::Store`].
    fn create(&self, path: &str, bytes: &[u8], locked: bool) -> Result<Put, NotaryError>;
    /// Replaces an object that only points at others.
    ///
    /// # Errors
    /// [`NotaryError::Store`].
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), NotaryError>;
    /// The object, or `None`.
    ///
    /// # Errors
    /// [`NotaryError::Store`].
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, NotaryError>;
}

/// A log store over the shared object store.
#[derive(Debug, Clone)]
pub struct StoreLog(Arc<Store>);

impl StoreLog {
    /// The log of `store`.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self(store)
    }
}

fn name(path: &str) -> String {
    format!("{LOG_PREFIX}/{path}")
}

fn failed(error: StoreError) -> NotaryError {
    let retriable = error.is_retriable();
    NotaryError::Store { operation: error.operation, path: error.name, reason: error.reason, retriable }
}

impl LogStore for StoreLog {
    fn create(&self, path: &str, bytes: &[u8], locked: bool) -> Result<Put, NotaryError> {
        match self.0.put_create(&name(path), bytes, locked).map_err(failed)? {
            PutOutcome::Created => Ok(Put::Created),
            PutOutcome::Exists => Ok(Put::Exists),
        }
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), NotaryError> {
        self.0.put_replace(&name(path), bytes).map_err(failed)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, NotaryError> {
        self.0.get(&name(path)).map_err(failed)
    }
}
