//! The `[enricher]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the enricher. All fields need a restart.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnricherConfig {
    /// Milliseconds a record waits for its session before it goes on unattributed; 0 to 600,000.
    pub session_wait_ms: u32,
    /// Sessions remembered per partition; 1,000 to 10,000,000. Beyond it the longest closed are
    /// forgotten first, then the longest silent: those go on unattributed if they speak again.
    pub sessions_max: usize,
}

impl Default for EnricherConfig {
    fn default() -> Self {
        Self { session_wait_ms: 5_000, sessions_max: 100_000 }
    }
}

impl EnricherConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// Field name and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        if self.session_wait_ms > 600_000 {
            return Err(format!("enricher.session_wait_ms is {}, must be 0 to 600000", self.session_wait_ms));
        }
        if !(1_000..=10_000_000).contains(&self.sessions_max) {
            return Err(format!("enricher.sessions_max is {}, must be 1000 to 10000000", self.sessions_max));
        }
        Ok(())
    }
}
