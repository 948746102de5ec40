//! The chain of seals of each stream, checked element by element against the tree (I-13, I-14).
//!
//! One pass in log order; what is kept per seal is what the rows must be compared with later.

use std::collections::BTreeMap;

use schemas::v1::{SealBody, StreamId};
use tlog::{EMPTY_ROOT, Hash};

use super::report::{Findings, StreamSummary, grouped};

/// Most events of one seal.
pub const SEAL_EVENTS_MAX: i64 = 1_048_576;
/// Highest reason number known.
const REASON_MAX: i32 = 6;

/// What is kept of a seal: about 200 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Seal {
    pub(crate) index: u64,
    pub(crate) seal_seq: i64,
    pub(crate) first_seq: i64,
    pub(crate) count: i64,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) root: Hash,
    pub(crate) schema_hash: [u8; 32],
    pub(crate) closed_at: i64,
}

/// One stream: its seals in log order and the head of its chain.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// In log order; sorted by `seal_seq` unless the chain is broken.
    pub(crate) seals: Vec<Seal>,
    head: Head,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) hash: Hash,
    pub(crate) next_seal: i64,
    pub(crate) next_seq: i64,
    pub(crate) last_offset: i64,
    pub(crate) closed_at: i64,
    pub(crate) anchor_size: i64,
}

impl Stream {
    /// Where its chain ends.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// `audit.events/17`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    /// The seal of this number; the first one, should a broken chain hold two.
    pub(crate) fn seal(&self, seal_seq: i64) -> Option<&Seal> {
        let dense = usize::try_from(seal_seq).ok().and_then(|index| self.seals.get(index));
        dense
            .filter(|seal| seal.seal_seq == seal_seq)
            .or_else(|| self.seals.iter().find(|seal| seal.seal_seq == seal_seq))
    }

    /// The seal that covers an offset.
    pub(crate) fn covering(&self, offset: i64) -> Option<&Seal> {
        self.seals.iter().find(|seal| seal.count > 0 && (seal.first_offset..=seal.last_offset).contains(&offset))
    }

    pub(crate) fn summary(&self, id: &StreamId, waiting_seals: i64) -> StreamSummary {
        let sealed = || self.seals.iter().filter(|seal| seal.count > 0);
        let events = sealed().map(|seal| seal.count).sum::<i64>();
        let first_offset = sealed().map(|seal| seal.first_offset).min().unwrap_or(-1);
        let last_offset = sealed().map(|seal| seal.last_offset).max().unwrap_or(-1);
        let span = if first_offset < 0 { 0 } else { last_offset.saturating_sub(first_offset).saturating_add(1) };
        StreamSummary {
            stream_id: id.to_string(),
            topic: self.topic.clone(),
            partition: self.partition,
            seals: i64::try_from(self.seals.len()).unwrap_or(i64::MAX),
            events,
            first_offset,
            last_offset,
            empty_offsets: span.saturating_sub(events),
            waiting_seals,
        }
    }
}

/// Every stream of a log.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    pub(crate) streams: BTreeMap<StreamKey, Stream>,
    pub(crate) newest_closed_at: Option<i64>,
}

/// A stream id that sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey(pub(crate) [u8; 16]);

impl Chains {
    pub(crate) fn get(&self, id: &StreamId) -> Option<&Stream> {
        self.streams.get(&StreamKey(id.0))
    }

    /// Takes the seal at log index `index`; `roots[n]` is the log's root at size n, for every n up to `index`.
    pub(crate) fn take(
        &mut self,
        index: u64,
        leaf: Hash,
        seal: &SealBody,
        origin: &str,
        roots: &[Hash],
        findings: &mut Findings,
    ) {
        let place = format!("{}/{} seal {}", seal.topic, seal.partition, grouped(seal.seal_seq));
        if let Some(field) = misshapen(seal) {
            let text = format!("entry not canonical: field {field} has a value no seal may have (log entry {index})");
            findings.add("T09", place.clone(), text);
        }
        if seal.origin != origin {
            findings.add(
                "T12",
                place.clone(),
                format!("wrong origin: seal is of `{}` (log entry {index})", seal.origin),
            );
        }
        check_anchor(index, seal, roots, &place, findings);
        let stream = self.streams.entry(StreamKey(seal.stream_id.0)).or_insert_with(|| Stream {
            topic: seal.topic.clone(),
            partition: seal.partition,
            seals: Vec::new(),
            head: Head {
                hash: Hash::ZERO,
                next_seal: 0,
                next_seq: 0,
                last_offset: -1,
                closed_at: i64::MIN,
                anchor_size: 0,
            },
        });
        check_link(stream, seal, &place, findings);
        self.newest_closed_at = self.newest_closed_at.max(Some(seal.closed_at));
        stream.head = Head {
            hash: leaf,
            next_seal: seal.seal_seq.saturating_add(1),
            next_seq: seal.first_seq.saturating_add(seal.count),
            last_offset: if seal.count == 0 { stream.head.last_offset } else { seal.last_offset },
            closed_at: seal.closed_at,
            anchor_size: seal.anchor_size,
        };
        stream.seals.push(Seal {
            index,
            seal_seq: seal.seal_seq,
            first_seq: seal.first_seq,
            count: seal.count,
            first_offset: seal.first_offset,
            last_offset: seal.last_offset,
            root: Hash::new(seal.batch_root.0),
            schema_hash: seal.schema_hash.0,
            closed_at: seal.closed_at,
        });
    }
}

/// The anchor must be an earlier head of this very log.
fn check_anchor(index: u64, seal: &SealBody, roots: &[Hash], place: &str, findings: &mut Findings) {
    let size = u64::try_from(seal.anchor_size).ok().filter(|size| *size <= index);
    let Some(size) = size else {
        let text = format!("time outside anchor window: anchor of size {} at log entry {index}", seal.anchor_size);
        findings.add("T20", place, text);
        return;
    };
    let own = usize::try_from(size).ok().and_then(|size| roots.get(size));
    // After a missing bundle the roots are unknown; T10 has said so.
    if own.is_some_and(|own| own.as_bytes() != &seal.anchor_root.0) {
        findings.add("T20", place, format!("time outside anchor window: this log had another root at size {size}"));
    }
}

/// The seal must continue its stream's head.
fn check_link(stream: &Stream, seal: &SealBody, place: &str, findings: &mut Findings) {
    let head = &stream.head;
    if stream.topic != seal.topic || stream.partition != seal.partition {
        findings.add("T07", place, format!("chain broken: the stream was {} before", stream.name()));
    }
    if seal.seal_seq > head.next_seal {
        let (first, last) = (grouped(head.next_seal), grouped(seal.seal_seq - 1));
        findings.add("T08", place, format!("seal missing: no seal {first}-{last} before it"));
    } else if seal.seal_seq < head.next_seal {
        findings.add("T08", place, format!("seal out of order: number {} is next", grouped(head.next_seal)));
    }
    if &seal.prev_seal_hash.0 != head.hash.as_bytes() {
        findings.add("T07", place, "chain broken: prev_seal_hash is not the hash of the stream's entry before");
    }
    if seal.first_seq > head.next_seq {
        let (first, last) = (grouped(head.next_seq), grouped(seal.first_seq - 1));
        findings.add("T02", place, format!("events missing: {first}-{last} are in no seal"));
    } else if seal.first_seq < head.next_seq {
        findings.add("T27", place, format!("event twice: {} and later are sealed already", grouped(seal.first_seq)));
    }
    if seal.count > 0 && seal.first_offset <= head.last_offset {
        findings.add("T27", place, format!("event twice: offset {} is sealed already", grouped(seal.first_offset)));
    }
    if seal.closed_at < head.closed_at {
        findings.add("T20", place, "time goes back: closed_at is before that of the stream's seal before");
    }
    if seal.anchor_size < head.anchor_size {
        findings.add("T20", place, "time goes back: anchor is older than that of the stream's seal before");
    }
}

/// The first field with a value no seal may have.
fn misshapen(seal: &SealBody) -> Option<&'static str> {
    let heartbeat = seal.count == 0;
    let span = seal.last_offset.saturating_sub(seal.first_offset).saturating_add(1);
    let checks = [
        ("version", seal.version == 1),
        ("seal_seq", seal.seal_seq >= 0),
        ("first_seq", seal.first_seq >= 0),
        ("count", (0..=SEAL_EVENTS_MAX).contains(&seal.count) && (heartbeat || seal.count <= span)),
        ("reason", (0..=REASON_MAX).contains(&seal.reason)),
        ("first_offset", if heartbeat { seal.first_offset == -1 } else { seal.first_offset >= 0 }),
        ("last_offset", if heartbeat { seal.last_offset == -1 } else { seal.last_offset >= seal.first_offset }),
        ("min_ts", !heartbeat || seal.min_ts == 0),
        ("max_ts", if heartbeat { seal.max_ts == 0 } else { seal.max_ts >= seal.min_ts }),
        ("batch_root", !heartbeat || seal.batch_root.0 == *EMPTY_ROOT.as_bytes()),
    ];
    checks.iter().find(|(_, good)| !good).map(|(field, _)| *field)
}
