//! The one shape of a stage's work: a pure function with state.
//!
//! `apply` has no async, clock, random, network, disk or log (I-12). What it needs from outside comes in
//! [`Context`]. One instance serves one input partition; the runner makes it when the partition is
//! assigned and drops it when the partition goes or a transaction aborts.

use schemas::Record;
use schemas::framing::Framing;

/// What `apply` may know of the outside world.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The runner's clock when the batch began, microseconds since epoch UTC.
    pub now_us: i64,
    /// True when the record has waited as long as it may: decide now, [`Verdict::Wait`] is refused.
    pub wait_over: bool,
}

/// One input record.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Offset in the partition.
    pub offset: i64,
    /// Bus timestamp, milliseconds.
    pub timestamp_ms: i64,
    /// Record key.
    pub key: Option<&'a [u8]>,
    /// Record value, framing prefix included.
    pub value: Option<&'a [u8]>,
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Taken; go on.
    Done,
    /// Something it needs has not arrived on the table topic yet: nothing was written, ask again.
    Wait,
}

/// A refused input; goes to `audit.dlq` with its bytes, and the stage goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Rejection {
    /// Stable code such as `M-012`, listed in the reference.
    pub code: &'static str,
    /// Reason without content.
    pub detail: String,
}

impl Rejection {
    /// Makes a rejection. `detail` never holds content.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// One output record, borrowed from its [`Out`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutRecord<'a> {
    /// Index into the stage's output topics.
    pub slot: usize,
    /// Record key.
    pub key: &'a [u8],
    /// Framed value; `None` deletes the key of a compacted topic.
    pub value: Option<&'a [u8]>,
}

/// A record that was given up inside a transform made of two, and not as an input of its own.
///
/// The runner sends it to `audit.dlq` with [`Refused::topic`] as its place and offset -1: it never was on that topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Topic the record would have been on.
    pub topic: String,
    /// Record key.
    pub key: Vec<u8>,
    /// Framed value.
    pub value: Option<Vec<u8>>,
    /// Why it was refused.
    pub rejection: Rejection,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    slot: usize,
    start: usize,
    key: usize,
    value: Option<usize>,
}

/// Where a transform writes; one allocation, reused.
#[derive(Debug, Default)]
pub struct Out {
    framings: Vec<Framing>,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    refused: Vec<Refused>,
}

impl Out {
    /// An empty output whose slot `i` is framed by `framings[i]`.
    #[must_use]
    pub fn new(framings: Vec<Framing>) -> Self {
        Self { framings, ..Self::default() }
    }

    /// Writes `record` to output topic `slot`.
    pub fn record<R: Record>(&mut self, slot: usize, key: &[u8], record: &R) {
        self.body_with(slot, key, |out| record.encode(out));
    }

    /// Writes a value whose body `write` appends; the framing prefix is put before it.
    pub fn body_with(&mut self, slot: usize, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        let body = self.arena.len();
        if let Some(framing) = self.framings.get(slot) {
            framing.prefix(&mut self.arena);
        }
        write(&mut self.arena);
        self.entries.push(Entry { slot, start, key: key.len(), value: Some(self.arena.len() - body) });
    }

    /// Copies a record that carries its prefix already to output topic `slot`.
    pub fn framed(&mut self, slot: usize, key: &[u8], value: Option<&[u8]>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value.unwrap_or_default());
        self.entries.push(Entry { slot, start, key: key.len(), value: value.map(<[u8]>::len) });
    }

    /// Gives up a record that is no input by itself; see [`Refused`].
    pub fn refuse(&mut self, refused: Refused) {
        self.refused.push(refused);
    }

    /// Takes what was given up since the last call.
    pub fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// Deletes `key` from the compacted topic `slot`.
    pub fn tombstone(&mut self, slot: usize, key: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        self.entries.push(Entry { slot, start, key: key.len(), value: None });
    }

    /// Number of records written since the last `clear`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops records written after the first `len`, and all given up and not yet taken; the runner calls it when an
    /// input is refused half way.
    pub fn truncate(&mut self, len: usize) {
        self.refused.clear();
        if let Some(entry) = self.entries.get(len) {
            self.arena.truncate(entry.start);
            self.entries.truncate(len);
        }
    }

    /// Keeps, of the records written after the first `from`, those that `keep` likes; the memory of the others goes at
    /// the next `clear`.
    pub fn retain(&mut self, from: usize, keep: impl Fn(&OutRecord<'_>) -> bool) {
        let kept: Vec<bool> = (0..self.len()).map(|at| at < from || self.get(at).is_some_and(|r| keep(&r))).collect();
        let mut kept = kept.into_iter();
        self.entries.retain(|_| kept.next().unwrap_or(true));
    }

    /// Bytes written since the last `clear`, keys and prefixes included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Empties the output and keeps its memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.refused.clear();
    }

    /// The record at `index`, in the order written.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<OutRecord<'_>> {
        let entry = self.entries.get(index)?;
        let key_end = entry.start + entry.key;
        let value = match entry.value {
            Some(len) => Some(self.arena.get(key_end..key_end + len)?),
            None => None,
        };
        Some(OutRecord { slot: entry.slot, key: self.arena.get(entry.start..key_end)?, value })
    }

    /// All records in the order written.
    pub fn iter(&self) -> impl Iterator<Item = OutRecord<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// A stage's work on one partition.
pub trait Transform: Send {
    /// Takes one input and writes what follows from it. Same state, context and input: same bytes (I-12).
    ///
    /// # Errors
    /// [`Rejection`] when the input cannot be taken; the runner drops what was written for it and sends it to `audit.dlq`.
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection>;

    /// Time passed: an open batch or a held suffix may be due. Called at least once a second.
    fn tick(&mut self, _ctx: &Context, _out: &mut Out) {}

    /// The transaction is about to be committed: write what is written once per transaction, such as state records.
    fn flush(&mut self, _ctx: &Context, _out: &mut Out) {}

    /// A record of the stage's table topic (compacted, same partition number); `value` is `None` for a deletion.
    fn table(&mut self, _key: &[u8], _value: Option<&[u8]>) {}

    /// A record of the stage's own state topic, replayed in order before the first `apply`.
    fn restore(&mut self, _key: &[u8], _value: Option<&[u8]>) {}

    /// Shows each counter of its own: a name as `repeats_records`, and its value since the partition came.
    /// The runner exports them after a commit as `<stage>_<name>_total`.
    fn counters(&self, _show: &mut dyn FnMut(&'static str, u64)) {}

    /// Oldest input offset not yet fully written out; the runner commits no further. `None`: all is written.
    fn held_from(&self) -> Option<i64> {
        None
    }
}

/// Makes one transform per partition.
pub trait Factory: Send {
    /// The transform made.
    type Transform: Transform;
    /// Makes the transform of `partition`, without any state.
    fn make(&self, partition: i32) -> Self::Transform;
}
