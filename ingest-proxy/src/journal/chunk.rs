//! Records read back.

use std::ops::Range;

/// One record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index in the journal.
    pub index: u64,
    /// The bytes appended.
    pub body: Vec<u8>,
}

/// Records read back, in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Index and place of each body.
    pub(crate) records: Vec<(u64, Range<usize>)>,
}

impl Chunk {
    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Journal index of the record at `number`.
    #[must_use]
    pub fn index(&self, number: usize) -> Option<u64> {
        self.records.get(number).map(|(index, _)| *index)
    }

    /// Index and body of each record, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.records.iter().map(|(index, place)| (*index, self.bytes.get(place.clone()).unwrap_or_default()))
    }
}
