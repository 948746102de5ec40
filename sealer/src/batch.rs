//! The open batch of one stream, and the rules that close it.

use schemas::v1::{Hash32, SealBody, StreamId};
use tlog::{EMPTY_ROOT, Frontier, Hash};

use crate::entry::hash32;
use crate::integrate::Head;

/// Why a batch was closed; the numbers are those of the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Enough events.
    Count = 0,
    /// Enough bytes.
    Bytes = 1,
    /// Old enough.
    Age = 2,
    /// Idle stream: nothing happened, and that is sealed.
    Heartbeat = 5,
    /// The sealer stops.
    Shutdown = 6,
}

/// When a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: i64,
    /// Bytes of keys and values.
    pub bytes: usize,
    /// Milliseconds since the first event was read.
    pub age_ms: i64,
}

/// Constant facts of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Log origin.
    pub origin: String,
    /// Id.
    pub id: StreamId,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// SHA-256 of the writer schema's text.
    pub schema_hash: Hash32,
}

/// The open batch of one stream: a frontier of at most 21 hashes and a few numbers, whatever its size.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    frontier: Frontier,
    bytes: usize,
    first_offset: i64,
    last_offset: i64,
    min_ts: i64,
    max_ts: i64,
    opened_ms: i64,
}

impl Batch {
    /// Events so far.
    #[must_use]
    pub fn count(&self) -> i64 {
        i64::try_from(self.frontier.size()).unwrap_or(i64::MAX)
    }

    /// Offset of the first event; meaningless while empty.
    #[must_use]
    pub fn first_offset(&self) -> i64 {
        self.first_offset
    }

    /// Offset of the newest event; meaningless while empty.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.last_offset
    }

    /// Root over the events so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Adds an event.
    pub fn push(&mut self, leaf: Hash, offset: i64, timestamp_ms: i64, bytes: usize, now_ms: i64) {
        if self.frontier.size() == 0 {
            (self.first_offset, self.min_ts, self.max_ts, self.opened_ms) =
                (offset, timestamp_ms, timestamp_ms, now_ms);
        }
        self.frontier.append(leaf);
        self.last_offset = offset;
        self.min_ts = self.min_ts.min(timestamp_ms);
        self.max_ts = self.max_ts.max(timestamp_ms);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The rule that closes the batch now, if any.
    #[must_use]
    pub fn due(&self, limits: &Limits, now_ms: i64) -> Option<Reason> {
        if self.count() == 0 {
            None
        } else if self.count() >= limits.events {
            Some(Reason::Count)
        } else if self.bytes >= limits.bytes {
            Some(Reason::Bytes)
        } else if now_ms.saturating_sub(self.opened_ms) >= limits.age_ms {
            Some(Reason::Age)
        } else {
            None
        }
    }

    /// The seal of this batch (a heartbeat when it is empty) as the next of the stream's chain.
    #[must_use]
    pub fn seal(
        &self,
        stream: &Stream,
        head: Option<&Head>,
        anchor: (i64, Hash),
        now_ms: i64,
        reason: Reason,
    ) -> SealBody {
        let empty = self.count() == 0;
        let number = |value: i64, none: i64| if empty { none } else { value };
        SealBody {
            version: 1,
            origin: stream.origin.clone(),
            stream_id: stream.id,
            topic: stream.topic.clone(),
            partition: stream.partition,
            seal_seq: head.map_or(0, |head| head.seal_seq + 1),
            prev_seal_hash: hash32(head.map_or(Hash::ZERO, |head| head.seal_hash)),
            first_seq: head.map_or(0, |head| head.next_seq),
            count: self.count(),
            first_offset: number(self.first_offset, -1),
            last_offset: number(self.last_offset, -1),
            min_ts: number(self.min_ts, 0),
            max_ts: number(self.max_ts, 0),
            batch_root: hash32(if empty { EMPTY_ROOT } else { self.root() }),
            schema_hash: stream.schema_hash,
            // a clock that was set back must not make the chain go back
            closed_at: head.map_or(now_ms, |head| now_ms.max(head.closed_at)),
            anchor_size: head.map_or(anchor.0, |head| anchor.0.max(head.anchor_size)),
            anchor_root: hash32(anchor.1),
            reason: reason as i32,
        }
    }
}
