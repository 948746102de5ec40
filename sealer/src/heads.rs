//! Where every stream's chain ends, and the HEADS entries that say so (a function of the log before them alone, I-12).

use std::collections::HashMap;

use schemas::entry::{ENTRY_BYTES_MAX, EntryBody as _};
use schemas::v1::{HeadsBody, SealBody, StreamHead, StreamId};
use tlog::Hash;

use crate::entry::hash32;

/// Room for the fields of a part before its list, bytes: an origin and a vkey of 255 bytes of name each, and numbers.
const FIELDS_BYTES_MAX: usize = 1024;
/// Longest encoding of one stream's head, bytes: 16 + 32 fixed, five longs of 10, an int of 5, a long of 10.
const HEAD_BYTES_MAX: usize = 16 + 32 + 6 * 10 + 5;
/// Streams of one part.
const PART_STREAMS_MAX: usize = (ENTRY_BYTES_MAX - FIELDS_BYTES_MAX) / HEAD_BYTES_MAX;

/// Where a stream's chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the newest seal.
    pub seal_seq: i64,
    /// Its log leaf hash.
    pub seal_hash: Hash,
    /// Number of the next event.
    pub next_seq: i64,
    /// Newest sealed offset; -1 before the first.
    pub last_offset: i64,
    /// When the newest seal was closed.
    pub closed_at: i64,
    /// Newest anchor named.
    pub anchor_size: i64,
    /// Why the newest seal was closed.
    pub reason: i32,
}

impl Head {
    /// The head after `seal`, whose entry has leaf hash `seal_hash`.
    #[must_use]
    pub fn after(previous: Option<&Self>, seal: &SealBody, seal_hash: Hash) -> Self {
        let last_offset = if seal.count == 0 { previous.map_or(-1, |head| head.last_offset) } else { seal.last_offset };
        Self {
            seal_seq: seal.seal_seq,
            seal_hash,
            next_seq: seal.first_seq.saturating_add(seal.count),
            last_offset,
            closed_at: seal.closed_at,
            anchor_size: seal.anchor_size,
            reason: seal.reason,
        }
    }

    fn from_entry(head: &StreamHead) -> Self {
        Self {
            seal_seq: head.seal_seq,
            seal_hash: Hash::new(head.seal_hash.0),
            next_seq: head.next_seq,
            last_offset: head.last_offset,
            closed_at: head.closed_at,
            anchor_size: head.anchor_size,
            reason: head.reason,
        }
    }
}

/// Every stream's head, and the first seal of each that no receipt covers (0 when it lacks).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    /// Heads.
    pub heads: HashMap<StreamId, Head>,
    /// First seals without a receipt.
    pub receipted: HashMap<StreamId, i64>,
}

impl Heads {
    /// The HEADS entries; `fields` holds what all parts say alike. There is at least one, also without streams.
    #[must_use]
    pub fn to_entries(&self, fields: &HeadsBody) -> Vec<Vec<u8>> {
        let mut streams: Vec<(&StreamId, &Head)> = self.heads.iter().collect();
        streams.sort_unstable_by_key(|(id, _)| id.0);
        let list: Vec<StreamHead> = streams
            .into_iter()
            .map(|(id, head)| StreamHead {
                stream_id: *id,
                seal_seq: head.seal_seq,
                seal_hash: hash32(head.seal_hash),
                next_seq: head.next_seq,
                last_offset: head.last_offset,
                closed_at: head.closed_at,
                anchor_size: head.anchor_size,
                reason: head.reason,
                next_receipt: self.receipted.get(id).copied().unwrap_or(0),
            })
            .collect();
        let parts = list.len().div_ceil(PART_STREAMS_MAX).max(1);
        let part = |number: usize| HeadsBody {
            part: i32::try_from(number).unwrap_or(i32::MAX),
            parts: i32::try_from(parts).unwrap_or(i32::MAX),
            heads: list.iter().skip(number * PART_STREAMS_MAX).take(PART_STREAMS_MAX).cloned().collect(),
            ..fields.clone()
        };
        (0..parts).map(|number| part(number).to_entry()).collect()
    }

    /// Takes the heads of one part.
    pub fn restore(&mut self, part: &HeadsBody) {
        for head in &part.heads {
            self.heads.insert(head.stream_id, Head::from_entry(head));
            self.receipted.insert(head.stream_id, head.next_receipt);
        }
    }
}
