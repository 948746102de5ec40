//! Counters of one masker partition, plain numbers: the runner exports them as `masker_<name>_total`.

/// Counters since the partition was assigned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames written.
    pub frames: u64,
    /// Events written.
    pub events: u64,
    /// Records whose content was masked whole.
    pub masked_whole: u64,
    /// Bytes replaced.
    pub masked_bytes: u64,
}
