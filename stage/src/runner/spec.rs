//! What a stage reads and writes, its bounds, and how it fails.

use schemas::framing::Framing;

use crate::bus::BusError;

/// What a stage reads and writes.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Stage name, also the group's and the writer's.
    pub name: String,
    /// Input topic.
    pub input: String,
    /// Output topics; a transform's slot is an index here.
    pub outputs: Vec<String>,
    /// Framing per output.
    pub framings: Vec<Framing>,
    /// Compacted topic whose records `Transform::table` gets.
    pub table: Option<String>,
    /// Slot of the output that is the stage's own state topic.
    pub state_slot: Option<usize>,
    /// Dead letters.
    pub dlq: String,
    /// Framing of dead letters.
    pub dlq_framing: Framing,
    /// Stable name of this instance.
    pub instance: String,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of one transaction and of waiting.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records per transaction.
    pub records: usize,
    /// Bytes per transaction.
    pub bytes: usize,
    /// Longest wait for input, milliseconds.
    pub poll_ms: u64,
    /// Longest wait for a table record, milliseconds.
    pub wait_ms: u64,
    /// Most rebuilds after an abort in a row before giving up.
    pub retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 10_000, bytes: 8 << 20, poll_ms: 100, wait_ms: 5_000, retries: 20 }
    }
}

/// A stage that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The bus refuses for good.
    #[error("stage {stage} stops")]
    Bus {
        /// Stage.
        stage: String,
        /// Cause.
        #[source]
        source: BusError,
    },
    /// A newer instance of the same name runs.
    #[error("stage {stage} was fenced: a newer instance `{instance}` runs; give each instance its own name")]
    Fenced {
        /// Stage.
        stage: String,
        /// Instance.
        instance: String,
        /// What the bus said.
        #[source]
        source: BusError,
    },
}
