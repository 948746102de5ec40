//! Why the masker cannot start.

use crate::decrypt::KeyError;
use crate::engine::CompileError;

/// Why the masker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MaskerError {
    /// A key is not usable.
    #[error("load key of the masker")]
    Key(#[from] KeyError),
    /// The rules do not compile.
    #[error("compile the masking rules")]
    Rules(#[from] CompileError),
    /// A rule or action of the configuration is wrong.
    #[error(transparent)]
    Rule(#[from] crate::user_rule::UserRuleError),
}

impl MaskerError {
    /// Stable code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(source) => source.kind(),
            Self::Rules(_) => "rules",
            Self::Rule(_) => "rule",
        }
    }
}
