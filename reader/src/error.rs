//! Why an archive could not be read. What is wrong *inside* the data is a finding of `verify`, never one of these.

use crate::fetch::ObjectError;

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The address is none this crate knows.
    #[error("open archive `{url}`: {reason}")]
    Address {
        /// Address given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object store could not be set up.
    #[error("connect to the object store of `{url}`")]
    Connect {
        /// Address given.
        url: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed after all retries.
    #[error("read `{name}` from the archive")]
    Store {
        /// Object name or prefix.
        name: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such object.
    #[error("read `{0}` from the archive: no such object")]
    Missing(String),
    /// The object, the listing or the result is beyond a limit of this crate.
    #[error("read `{name}` from the archive: more than {limit} {unit}")]
    TooLarge {
        /// Object name or prefix.
        name: String,
        /// The limit.
        limit: u64,
        /// Its unit.
        unit: &'static str,
    },
    /// A Parquet object cannot be decoded.
    #[error("decode object `{name}`")]
    Object {
        /// Object name.
        name: String,
        /// Cause.
        #[source]
        source: ObjectError,
    },
    /// No session has an id that starts so.
    #[error("find session `{prefix}`: no session has such an id")]
    UnknownSession {
        /// What was asked.
        prefix: String,
    },
    /// Several sessions have an id that starts so.
    #[error("find session `{prefix}`: {} sessions have such an id, among them {}", .candidates.len(), few(.candidates))]
    AmbiguousSession {
        /// What was asked.
        prefix: String,
        /// Full ids, sorted.
        candidates: Vec<String>,
    },
}

/// At most five candidates, for the message.
fn few(candidates: &[String]) -> String {
    candidates.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl ReadError {
    /// Stable label for metrics and exit messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Connect { .. } => "connect",
            Self::Store { .. } => "store",
            Self::Missing(_) => "missing",
            Self::TooLarge { .. } => "too_large",
            Self::Object { .. } => "object",
            Self::UnknownSession { .. } => "unknown_session",
            Self::AmbiguousSession { .. } => "ambiguous_session",
        }
    }
}
