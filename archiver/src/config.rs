//! The `[archiver]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the archiver. All fields need a restart; the first two change where files end, so change them only
/// while no archiver runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiverConfig {
    /// Bytes of leaf inputs after which a file ends; one batch may pass it. 1 KiB to 1 GiB.
    pub target_bytes: u64,
    /// Rows after which a row group ends; one batch may pass it. 1 to 1,048,576.
    pub row_group_rows: u32,
    /// Records of one poll; 1 to 100,000.
    pub poll_records: u32,
}

impl Default for ArchiverConfig {
    fn default() -> Self {
        Self { target_bytes: 128 << 20, row_group_rows: 250_000, poll_records: 4096 }
    }
}

impl ArchiverConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// Field name and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("archiver.{name} is {value}, must be {low} to {high}"))
            }
        };
        within("target_bytes", self.target_bytes, 1024, 1 << 30)?;
        within("row_group_rows", self.row_group_rows.into(), 1, 1 << 20)?;
        within("poll_records", self.poll_records.into(), 1, 100_000)
    }
}
