//! Why the masker cannot start.

use crate::decrypt::KeyError;

/// Why the masker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MaskerError {
    /// A key is not usable.
    #[error("load key of the masker")]
    Key(#[from] KeyError),
    /// A disabled rule does not exist.
    #[error("disabled rule {0} does not exist")]
    UnknownRule(String),
}

impl MaskerError {
    /// Stable code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(source) => source.kind(),
            Self::UnknownRule(_) => "unknown_rule",
        }
    }
}
