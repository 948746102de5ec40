//! What can go wrong in the archiver.

use columns::{ColumnsError, FooterError};
use parquet::errors::ParquetError;
use stage::bus::{BusError, BusErrorKind};
use stage::store::StoreError;

use crate::readback::ReadbackError;

/// A failed archiver, or a stream that it must not go on with.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bus failed.
    #[error("use the bus")]
    Bus(#[from] BusError),
    /// The object store failed.
    #[error("use the object store")]
    Store(#[from] StoreError),
    /// A configuration value is out of its bounds.
    #[error("configuration: {0}")]
    Config(String),
    /// An envelope on the seals topic is no envelope of a seal.
    #[error("seal at offset {offset} of the seals topic is unreadable: {reason}")]
    Seal {
        /// Offset.
        offset: i64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A seal does not follow the one before.
    #[error(
        "stream {topic}/{partition}: seal {found} does not follow the archive, which ends before seal {expected}: {reason}"
    )]
    Chain {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Next seal wanted.
        expected: i64,
        /// Seal found.
        found: i64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The bus no longer has records that were sealed.
    #[error(
        "stream {topic}/{partition}: records from offset {first_offset} were removed before they were archived; the topic begins at {earliest}"
    )]
    Removed {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// First offset of the batch.
        first_offset: i64,
        /// Earliest offset there is.
        earliest: i64,
    },
    /// The bus does not give sealed records, which must be there.
    #[error("stream {topic}/{partition}: the bus does not give the records of seal {seal_seq}")]
    Late {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Seal.
        seal_seq: i64,
    },
    /// The records on the bus are not those that were sealed.
    #[error("stream {topic}/{partition}: the records of seal {seal_seq} are not those that were sealed: {reason}")]
    Mismatch {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Seal.
        seal_seq: i64,
        /// What differs.
        reason: &'static str,
    },
    /// Columns cannot be built.
    #[error("build columns")]
    Columns(#[from] ColumnsError),
    /// Parquet cannot be written.
    #[error("write Parquet for `{name}`")]
    Parquet {
        /// Object.
        name: String,
        /// Cause.
        #[source]
        source: ParquetError,
    },
    /// A file just written does not read back to what was sealed; nothing was put.
    #[error("read back `{name}` before it is put; nothing was put")]
    Readback {
        /// Object.
        name: String,
        /// Cause.
        #[source]
        source: ReadbackError,
    },
    /// An object of this name exists and is not ours.
    #[error("object `{name}` exists and does not hold what was sealed; nothing was changed, find out who wrote it")]
    Conflict {
        /// Object.
        name: String,
        /// Cause.
        #[source]
        source: ReadbackError,
    },
    /// The newest object of a stream cannot be read.
    #[error("read the footer of `{name}`, the newest object of its stream")]
    Resume {
        /// Object.
        name: String,
        /// Cause.
        #[source]
        source: ReadbackError,
    },
    /// Asked to stop in the middle of a batch; nothing is lost.
    #[error("asked to stop in the middle of a batch")]
    Stopped,
}

impl ArchiveError {
    /// Stable name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bus(_) => "bus",
            Self::Store(_) => "store",
            Self::Config(_) => "config",
            Self::Seal { .. } => "seal",
            Self::Chain { .. } => "chain",
            Self::Removed { .. } => "removed",
            Self::Late { .. } => "late",
            Self::Mismatch { .. } => "mismatch",
            Self::Columns(_) => "columns",
            Self::Parquet { .. } => "parquet",
            Self::Readback { .. } => "readback",
            Self::Conflict { .. } => "conflict",
            Self::Resume { .. } => "resume",
            Self::Stopped => "stopped",
        }
    }

    /// True when the same call may succeed later and nothing was half done.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Bus(error) => matches!(error.kind, BusErrorKind::Retriable | BusErrorKind::Full),
            Self::Store(error) => error.is_retriable(),
            Self::Late { .. } => true,
            _ => false,
        }
    }

    /// True when it concerns one stream, and the others may go on.
    #[must_use]
    pub fn is_of_one_stream(&self) -> bool {
        !self.is_retriable() && !matches!(self, Self::Bus(_) | Self::Store(_) | Self::Config(_) | Self::Stopped)
    }
}

impl From<FooterError> for ReadbackError {
    fn from(error: FooterError) -> Self {
        Self::Footer(error)
    }
}
