//! Why a journal call failed.

/// A failed journal call.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Unacknowledged records fill `bytes_max`; room comes when the bus takes records.
    #[error("journal is full")]
    Full,
    /// The disk is behind by `pending_bytes_max`; call again.
    #[error("journal is busy")]
    Busy,
    /// The disk has no room; it comes when segments are freed.
    #[error("no space for the journal")]
    NoSpace,
    /// The disk did not answer for as long as a request may wait.
    #[error("journal's disk does not answer")]
    Stalled,
    /// A record is empty or above [`super::BODY_BYTES_MAX`].
    #[error("record of {0} bytes cannot be journaled")]
    Size(usize),
    /// Another process holds the folder.
    #[error("journal folder is in use by another process")]
    Locked,
    /// A write or sync failed earlier, or the journal was closed: nothing is taken any more.
    #[error("journal has failed: {0}")]
    Failed(String),
    /// The system refused.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl JournalError {
    /// Stable name, for metrics and reason codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Full => "journal_full",
            Self::Busy => "journal_busy",
            Self::NoSpace => "journal_no_space",
            Self::Stalled => "journal_stalled",
            Self::Size(_) => "record_size",
            Self::Locked => "journal_locked",
            Self::Failed(_) => "journal_failed",
            Self::Io { .. } => "journal_io",
        }
    }

    /// Whether calling again may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Full | Self::Busy | Self::NoSpace)
    }

    /// The same error once more.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Busy => Self::Busy,
            Self::NoSpace => Self::NoSpace,
            Self::Stalled => Self::Stalled,
            Self::Size(bytes) => Self::Size(*bytes),
            Self::Locked => Self::Locked,
            Self::Failed(reason) => Self::Failed(reason.clone()),
            Self::Io { operation, source } => Self::Failed(format!("{operation}: {source}")),
        }
    }

    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}
