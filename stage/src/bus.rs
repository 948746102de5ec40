//! The bus: ordered, partitioned, durable records with transactions. Two adapters, one suite.
//!
//! Calls block; each reader and writer belongs to one thread. Offsets grow within a partition but may have
//! gaps: completeness is proved by session sequence (I-02), never by offset arithmetic.

pub mod embedded;
pub mod kafka;
pub mod suite;

use std::time::Duration;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Full topic name, prefix included.
    pub topic: String,
    /// Partition number, from 0.
    pub partition: i32,
}

/// Where a reader goes on: topic, partition and the **next** offset to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Topic and partition.
    pub topic_partition: TopicPartition,
    /// Next offset to read, never the last one read.
    pub next_offset: i64,
}

/// What a topic must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full topic name, prefix included.
    pub name: String,
    /// Number of partitions; fixed for the topic's life.
    pub partitions: i32,
    /// How old records go.
    pub cleanup: Cleanup,
}

/// How old records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Records older than this many milliseconds may go.
    Delete {
        /// Retention in milliseconds; -1 keeps for ever.
        retention_ms: i64,
    },
    /// Only the newest record of a key is kept; a null value deletes the key.
    Compact,
}

/// What a topic is; stable for its life. Part of every leaf's `stream_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Cluster id (Kafka) or the id made once by the embedded bus.
    pub cluster_id: String,
    /// Topic UUID in text form, lower case with hyphens.
    pub topic_id: String,
    /// Number of partitions.
    pub partitions: i32,
}

/// One record as read, borrowed from its [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Index into [`ReaderSpec::topics`].
    pub topic: usize,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since epoch.
    pub timestamp_ms: i64,
    /// True when the bus set the timestamp, false when the writer did.
    pub log_append_time: bool,
    /// Key; `None` when null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` when null (tombstone).
    pub value: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy)]
struct Meta {
    topic: usize,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    log_append_time: bool,
    key: Option<usize>,
    value: Option<usize>,
    start: usize,
}

/// Records read by one poll, in one allocation that is reused.
#[derive(Debug, Default)]
pub struct Batch {
    arena: Vec<u8>,
    records: Vec<Meta>,
}

impl Batch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Copies a record in; adapters call this.
    pub fn push(&mut self, record: RecordRef<'_>) {
        let start = self.arena.len();
        if let Some(key) = record.key {
            self.arena.extend_from_slice(key);
        }
        if let Some(value) = record.value {
            self.arena.extend_from_slice(value);
        }
        self.records.push(Meta {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            log_append_time: record.log_append_time,
            key: record.key.map(<[u8]>::len),
            value: record.value.map(<[u8]>::len),
            start,
        });
    }

    /// The record at `index`, in the order read; `None` past the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        let meta = self.records.get(index)?;
        let key_end = meta.start + meta.key.unwrap_or(0);
        let value_end = key_end + meta.value.unwrap_or(0);
        Some(RecordRef {
            topic: meta.topic,
            partition: meta.partition,
            offset: meta.offset,
            timestamp_ms: meta.timestamp_ms,
            log_append_time: meta.log_append_time,
            key: meta.key.and(self.arena.get(meta.start..key_end)),
            value: meta.value.and(self.arena.get(key_end..value_end)),
        })
    }

    /// All records in the order read.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// How a reader gets its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assign {
    /// By the named consumer group; positions start at the group's committed offsets, else at the earliest.
    Group(String),
    /// Exactly these positions; no group, nothing committed.
    Manual(Vec<Position>),
}

/// What to read and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSpec {
    /// Full topic names. [`RecordRef::topic`] is an index into this list.
    pub topics: Vec<String>,
    /// Group or manual.
    pub assign: Assign,
    /// Stable name of this instance inside its group (static membership).
    pub instance: String,
}

/// Bounds of one poll.
#[derive(Debug, Clone, Copy)]
pub struct PollLimit {
    /// At most this many records.
    pub records: usize,
    /// Stops after this many bytes; one record may pass it.
    pub bytes: usize,
    /// Waits at most this long for the first record.
    pub wait: Duration,
}

/// What changed in a reader's assignment during a poll, before the records it returned.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// Partitions taken away; drop their state.
    pub revoked: Vec<TopicPartition>,
    /// Partitions given; build their state.
    pub assigned: Vec<TopicPartition>,
}

/// What a failed bus call asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusErrorKind {
    /// Call again; nothing was changed.
    Retriable,
    /// Abort the transaction, rewind the reader to the committed positions, begin again.
    Abort,
    /// A newer writer of this name exists: stop this instance.
    Fenced,
    /// The store or broker refuses for a lasting reason; leave the process.
    Fatal,
    /// The topic, partition or offset asked for does not exist.
    Missing,
    /// The disk is full or the writer is over its limit: wait and call again.
    Full,
    /// The record is larger than the bus takes, now and later. Refused by `send`, nothing was queued and the writer goes
    /// on; refused by `commit`, abort.
    TooLarge,
}

/// A failed bus call.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {reason}")]
pub struct BusError {
    /// What was tried, with the name of the thing.
    pub operation: String,
    /// Why it failed, in the adapter's words.
    pub reason: String,
    /// What the caller must do.
    pub kind: BusErrorKind,
}

impl BusError {
    /// Makes an error.
    #[must_use]
    pub fn new(kind: BusErrorKind, operation: impl Into<String>, reason: impl ToString) -> Self {
        Self { operation: operation.into(), reason: reason.to_string(), kind }
    }
}

/// Reads committed records in order per partition.
pub trait Reader: Send {
    /// Clears `batch`, waits for records, copies them in. Positions move past what is returned.
    ///
    /// # Errors
    /// [`BusError`]; on `Missing` a position is gone (retention) and the caller must stop and alarm.
    fn poll(&mut self, batch: &mut Batch, limit: PollLimit) -> Result<Rebalance, BusError>;

    /// Sets the next offset to read. Used after an abort, and to wait on a record.
    ///
    /// # Errors
    /// `Missing` when the partition is not assigned.
    fn seek(&mut self, position: &Position) -> Result<(), BusError>;

    /// Stops (`true`) or resumes (`false`) delivery of a partition; polling keeps the group alive.
    ///
    /// # Errors
    /// `Missing` when the partition is not assigned.
    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError>;

    /// The partitions held now.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// The group's committed position of each held partition; the earliest offset when none is committed.
    ///
    /// # Errors
    /// [`BusError`].
    fn committed(&mut self) -> Result<Vec<Position>, BusError>;

    /// What a writer needs in order to commit positions in this reader's name.
    ///
    /// # Errors
    /// [`BusError`] for a reader without a group.
    fn membership(&self) -> Result<Membership, BusError>;
}

/// Proof of group membership, taken afresh at each commit (KIP-447 metadata on Kafka).
pub struct Membership {
    /// Group name.
    pub group: String,
    /// Adapter's own token.
    pub token: Box<dyn std::any::Any + Send>,
}

/// How a writer makes records visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Records and positions of a transaction appear together or not at all; an older writer of the same name is fenced.
    Transactional,
    /// Records are idempotent per process and appear when acknowledged; `commit` waits for all of them.
    Idempotent,
}

/// Who writes and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSpec {
    /// Stable name: the transactional id.
    pub name: String,
    /// Transactions or acknowledgements.
    pub mode: WriteMode,
}

/// Writes records.
pub trait Writer: Send {
    /// Begins a transaction (or a group of acknowledged records).
    ///
    /// # Errors
    /// [`BusError`].
    fn begin(&mut self) -> Result<(), BusError>;

    /// Queues one record; the writer's memory is bounded and the call blocks at the bound.
    ///
    /// # Errors
    /// [`BusError`].
    fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError>;

    /// Most bytes of key and value together that [`Writer::send`] takes in one record.
    fn record_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Makes all records since `begin` durable and visible together with the reader's positions.
    ///
    /// # Errors
    /// [`BusError`]; on `Abort` nothing of the transaction is visible and `abort` must be called.
    fn commit(&mut self, positions: Option<(&Membership, &[Position])>) -> Result<(), BusError>;

    /// Drops all records since `begin`.
    ///
    /// # Errors
    /// [`BusError`].
    fn abort(&mut self) -> Result<(), BusError>;
}

/// The bus.
pub trait Bus: Send + Sync {
    /// Creates the topics that lack; checks partition count and cleanup of those that exist.
    ///
    /// # Errors
    /// `Fatal` when an existing topic differs: the reason names it and what differs.
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError>;

    /// Describes a topic.
    ///
    /// # Errors
    /// `Missing` when it does not exist.
    fn describe(&self, topic: &str) -> Result<TopicInfo, BusError>;

    /// Earliest offset, and the offset after the last committed record.
    ///
    /// # Errors
    /// `Missing` when it does not exist.
    fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64), BusError>;

    /// Opens a reader.
    ///
    /// # Errors
    /// [`BusError`].
    fn reader(&self, spec: &ReaderSpec) -> Result<Box<dyn Reader>, BusError>;

    /// Opens a writer and fences older ones of the same name.
    ///
    /// # Errors
    /// [`BusError`].
    fn writer(&self, spec: &WriterSpec) -> Result<Box<dyn Writer>, BusError>;
}
