//! What can go wrong in the sealer.

use std::path::PathBuf;

use stage::bus::BusError;
use tlog::{CheckpointError, NoteError, TileError};

use crate::signer::SignerError;

/// A failed sealer.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// Store, lock, mark and topic disagree: signing on could fork the log.
    #[error(
        "FORK-GUARD: {0}; nothing was signed. Find out which copy is right before you start the sealer again (docs/operating/keys.md)"
    )]
    ForkGuard(String),
    /// Another notary committed first.
    #[error("another notary took lock record {number}; only one may run: stop the other, then start this one again")]
    LostLock {
        /// Lock record.
        number: u64,
    },
    /// The object store failed.
    #[error("{operation} `{path}` in the log's store: {reason}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Object.
        path: String,
        /// Cause, in the store's words.
        reason: String,
        /// True when the same call may succeed later.
        retriable: bool,
    },
    /// The high-water mark on local disk failed.
    #[error("keep high-water mark `{path}`")]
    Mark {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The log's files are not consistent.
    #[error("read the log")]
    Log(#[source] TileError),
    /// The origin, size or root make no checkpoint.
    #[error("make a checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// The note cannot be put together.
    #[error("make a signed note")]
    Note(#[source] NoteError),
    /// The policy note is not to be believed, or does not fit this log.
    #[error("use policy note `{path}`: {reason}")]
    Policy {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Too few witnesses cosigned, and the configuration says to wait for them.
    #[error("{have} witnesses cosigned size {size}, the quorum is not met; they are asked again; {said}")]
    Quorum {
        /// Tree size.
        size: u64,
        /// Witnesses that did.
        have: usize,
        /// What the others said.
        said: String,
    },
    /// No signature.
    #[error("sign the checkpoint")]
    Signer(#[from] SignerError),
    /// The bus failed.
    #[error("use the bus")]
    Bus(#[from] BusError),
    /// A batch hashed differently when read again.
    #[error(
        "batch of {topic}/{partition} from offset {first_offset} hashed differently the second time; memory or bus is faulty, nothing was proposed"
    )]
    Unstable {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// First offset.
        first_offset: i64,
    },
}

impl NotaryError {
    /// A fork guard.
    #[must_use]
    pub fn fork(text: impl Into<String>) -> Self {
        Self::ForkGuard(text.into())
    }

    /// Stable name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ForkGuard(_) => "fork_guard",
            Self::LostLock { .. } => "lost_lock",
            Self::Store { .. } => "store",
            Self::Mark { .. } => "mark",
            Self::Log(_) => "log",
            Self::Checkpoint(_) => "checkpoint",
            Self::Note(_) => "note",
            Self::Policy { .. } => "policy",
            Self::Quorum { .. } => "quorum",
            Self::Signer(_) => "signer",
            Self::Bus(_) => "bus",
            Self::Unstable { .. } => "unstable",
        }
    }

    /// True when the same call may succeed later and nothing was half done.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Store { retriable, .. } => *retriable,
            Self::Quorum { .. } => true,
            Self::Signer(error) => error.is_retriable(),
            Self::Bus(error) => {
                matches!(error.kind, stage::bus::BusErrorKind::Retriable | stage::bus::BusErrorKind::Full)
            }
            _ => false,
        }
    }
}
