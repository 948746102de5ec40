//! What can go wrong in the object store, and what the caller must do.

/// What a failed call asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Call again later.
    Retriable,
    /// The credentials do not allow it.
    Denied,
    /// The bucket or folder does not exist.
    Missing,
    /// The configuration or the name is wrong.
    Config,
    /// The disk is full.
    Full,
}

impl StoreErrorKind {
    /// Stable name, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retriable => "retriable",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Config => "config",
            Self::Full => "full",
        }
    }
}

/// A failed call of the object store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} `{name}` in the object store: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// Object, or URL of the store.
    pub name: String,
    /// What the caller must do.
    pub kind: StoreErrorKind,
    /// Cause, in the store's words.
    pub reason: String,
}

impl StoreError {
    pub(super) fn new(operation: &'static str, name: &str, error: &object_store::Error) -> Self {
        use object_store::Error;
        let kind = match error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreErrorKind::Denied,
            Error::NotFound { .. } => StoreErrorKind::Missing,
            Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. } => StoreErrorKind::Config,
            error => from_io(error),
        };
        Self { operation, name: name.to_owned(), kind, reason: text(error) }
    }

    pub(super) fn config(name: &str, reason: String) -> Self {
        Self { operation: "open", name: name.to_owned(), kind: StoreErrorKind::Config, reason }
    }

    pub(super) fn retriable(operation: &'static str, name: &str, reason: &str) -> Self {
        Self { operation, name: name.to_owned(), kind: StoreErrorKind::Retriable, reason: reason.to_owned() }
    }

    pub(super) fn full_or_retry(operation: &'static str, name: &str, error: &std::io::Error) -> Self {
        Self { operation, name: name.to_owned(), kind: io_kind(error), reason: error.to_string() }
    }

    /// Stable name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    /// True when the same call may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Retriable | StoreErrorKind::Full)
    }
}

fn from_io(error: &object_store::Error) -> StoreErrorKind {
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io_kind(io);
        }
        source = cause.source();
    }
    StoreErrorKind::Retriable
}

fn io_kind(error: &std::io::Error) -> StoreErrorKind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Denied,
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename => StoreErrorKind::Config,
        _ => StoreErrorKind::Retriable,
    }
}

/// The error and its causes that add something.
fn text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
