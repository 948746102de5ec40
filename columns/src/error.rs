//! Why columns are not what this crate writes.

/// Columns that do not go back to a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// The batch has not exactly the table's columns.
    #[error("column `{column}` {reason}")]
    Schema {
        /// Column.
        column: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A cell cannot have been written by [`crate::Builder`].
    #[error("column `{column}` of row {row} {reason}")]
    Cell {
        /// Column.
        column: &'static str,
        /// Row in the batch, from 0.
        row: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No such row, or a row of the other table was asked for.
    #[error("row {0} is not in this batch of this table")]
    Row(usize),
    /// Arrow refused to build the batch.
    #[error("build columns: {0}")]
    Build(String),
}

impl ColumnsError {
    /// Stable name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "schema",
            Self::Cell { .. } => "cell",
            Self::Row(_) => "row",
            Self::Build(_) => "build",
        }
    }
}
