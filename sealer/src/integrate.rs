//! The notary's pure function: proposals in topic order in, log entries out (I-09, I-12, I-14).
//!
//! Whether a proposal is accepted follows from the log so far and the proposal alone. So the log is a function of the
//! proposals topic's order, and a notary that starts again, or a second one, comes to the same log.

use std::collections::HashMap;

use schemas::layout::parse_object_name;
use schemas::v1::{ArchiveBody, SealBody, StreamId};
use tlog::{EMPTY_ROOT, Hash, LogWriter, TileError, leaf_hash};

use crate::entry::{Entry, EntryError};

/// Most events of one batch (the integrity specification's bound on `count`).
pub const BATCH_EVENTS_MAX: i64 = 1_048_576;
/// Longest object name of a receipt, bytes; the archiver's names have at most 64.
pub const OBJECT_NAME_MAX: usize = 128;
/// Highest reason number this version knows.
const REASON_MAX: i32 = 6;

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
}

/// Why a proposal is not accepted. A refusal is normal life: a worker that lost a race reads the head again.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not a canonical entry.
    #[error("not a canonical entry")]
    Entry(#[source] EntryError),
    /// A value no seal, or no receipt, may have.
    #[error("field `{0}` has a value no such entry may have")]
    Shape(&'static str),
    /// Topic, partition and stream id are not those of a stream this log seals.
    #[error("stream is not one of this log's")]
    Stream,
    /// The seal does not continue its stream's chain.
    #[error("field `{0}` does not continue the stream's head")]
    Chain(&'static str),
    /// The receipt's seals are not the stream's next ones without a receipt: a repeat, a gap, or seals that are not there.
    #[error("field `{0}` does not continue the receipts of the stream")]
    Receipt(&'static str),
    /// The anchor is not this log's own earlier head.
    #[error("anchor is not an earlier head of this log")]
    Anchor,
    /// The log takes no entry now; nothing was changed and the same proposal is offered again.
    #[error("the log cannot take the entry")]
    Log(#[source] TileError),
}

/// The log's own root at an earlier size.
pub trait Roots {
    /// The root at `size`, or `None` when the log had no published head of that size.
    fn root_at(&self, size: u64) -> Option<Hash>;
}

/// The log with the heads of its streams.
#[derive(Debug)]
pub struct Integrator {
    origin: String,
    streams: HashMap<StreamId, (String, i32)>,
    heads: HashMap<StreamId, Head>,
    /// Each stream's first seal that no receipt covers; 0 when it lacks.
    receipted: HashMap<StreamId, i64>,
    log: LogWriter,
}

/// An accepted entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Index in the log.
    pub index: u64,
    /// Stream it belongs to.
    pub stream_id: StreamId,
    /// Leaf hash of the entry.
    pub leaf: Hash,
}

impl Integrator {
    /// An integrator over `log`, whose entries were given to [`Integrator::replay`] before the first offer.
    #[must_use]
    pub fn new(origin: &str, streams: HashMap<StreamId, (String, i32)>, log: LogWriter) -> Self {
        Self { origin: origin.to_owned(), streams, heads: HashMap::new(), receipted: HashMap::new(), log }
    }

    /// Takes an entry that the log holds already.
    ///
    /// # Errors
    /// [`EntryError`] when it is no entry of this version.
    pub fn replay(&mut self, entry: &[u8]) -> Result<(), EntryError> {
        match Entry::decode(entry)? {
            Entry::Seal(seal) => {
                let head = Head::after(self.heads.get(&seal.stream_id), &seal, leaf_hash(entry));
                self.heads.insert(seal.stream_id, head);
            }
            Entry::Archive(receipt) => {
                self.receipted.insert(receipt.stream_id, receipt.last_seal.saturating_add(1));
            }
            other => return Err(EntryError::Tag(other.tag())),
        }
        Ok(())
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &LogWriter {
        &self.log
    }

    /// The log, to flush it.
    pub fn log_mut(&mut self) -> &mut LogWriter {
        &mut self.log
    }

    /// Every stream's head.
    #[must_use]
    pub fn heads(&self) -> &HashMap<StreamId, Head> {
        &self.heads
    }

    /// Offers a proposal; accepted ones are in the log when this returns.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub fn offer(&mut self, proposal: &[u8], roots: &dyn Roots) -> Result<Accepted, Refusal> {
        match Entry::decode(proposal).map_err(Refusal::Entry)? {
            Entry::Seal(seal) => self.offer_seal(proposal, &seal, roots),
            Entry::Archive(receipt) => {
                self.check_receipt(&receipt)?;
                let index = self.log.size();
                let leaf = self.log.append(proposal).map_err(Refusal::Log)?;
                self.receipted.insert(receipt.stream_id, receipt.last_seal.saturating_add(1));
                Ok(Accepted { index, stream_id: receipt.stream_id, leaf })
            }
            other => Err(Refusal::Entry(EntryError::Tag(other.tag()))),
        }
    }

    fn offer_seal(&mut self, proposal: &[u8], seal: &SealBody, roots: &dyn Roots) -> Result<Accepted, Refusal> {
        self.check_shape(seal)?;
        self.check_chain(seal)?;
        let anchor_size = u64::try_from(seal.anchor_size).map_err(|_| Refusal::Shape("anchor_size"))?;
        let own = if anchor_size == 0 { Some(EMPTY_ROOT) } else { roots.root_at(anchor_size) };
        if anchor_size > self.log.size() || own.is_none_or(|root| root.as_bytes() != &seal.anchor_root.0) {
            return Err(Refusal::Anchor);
        }
        let index = self.log.size();
        let leaf = self.log.append(proposal).map_err(Refusal::Log)?;
        let head = Head::after(self.heads.get(&seal.stream_id), seal, leaf);
        self.heads.insert(seal.stream_id, head);
        Ok(Accepted { index, stream_id: seal.stream_id, leaf })
    }

    /// A receipt must name one of our streams, an object of it, and the stream's next seals without a receipt.
    fn check_receipt(&self, receipt: &ArchiveBody) -> Result<(), Refusal> {
        let (topic, partition) = self.streams.get(&receipt.stream_id).ok_or(Refusal::Stream)?;
        let fits = || {
            parse_object_name(&receipt.object).is_some_and(|name| {
                let file = format!("/p{partition}-{:012}.parquet", receipt.first_seal);
                // the parser is more lenient than the writer about the digits
                topic.ends_with(name.table.as_str()) && receipt.object.ends_with(&file)
            })
        };
        let checks = [
            ("version", receipt.version == 1),
            ("origin", receipt.origin == self.origin),
            ("bytes", receipt.bytes > 0),
            ("first_seal", receipt.first_seal >= 0),
            ("last_seal", receipt.last_seal >= receipt.first_seal),
            ("object", receipt.object.len() <= OBJECT_NAME_MAX && fits()),
        ];
        if let Some((field, _)) = checks.iter().find(|(_, good)| !good) {
            return Err(Refusal::Shape(field));
        }
        if receipt.first_seal != self.receipted.get(&receipt.stream_id).copied().unwrap_or(0) {
            return Err(Refusal::Receipt("first_seal"));
        }
        if self.heads.get(&receipt.stream_id).is_none_or(|head| receipt.last_seal > head.seal_seq) {
            return Err(Refusal::Receipt("last_seal"));
        }
        Ok(())
    }

    fn check_shape(&self, seal: &SealBody) -> Result<(), Refusal> {
        let heartbeat = seal.count == 0;
        let checks = [
            ("version", seal.version == 1),
            ("origin", seal.origin == self.origin),
            ("count", (0..=BATCH_EVENTS_MAX).contains(&seal.count)),
            ("reason", (0..=REASON_MAX).contains(&seal.reason)),
            ("first_offset", if heartbeat { seal.first_offset == -1 } else { seal.first_offset >= 0 }),
            ("last_offset", if heartbeat { seal.last_offset == -1 } else { seal.last_offset >= seal.first_offset }),
            ("min_ts", !heartbeat || seal.min_ts == 0),
            ("max_ts", if heartbeat { seal.max_ts == 0 } else { seal.max_ts >= seal.min_ts }),
            ("batch_root", !heartbeat || seal.batch_root.0 == *EMPTY_ROOT.as_bytes()),
        ];
        if let Some((field, _)) = checks.iter().find(|(_, good)| !good) {
            return Err(Refusal::Shape(field));
        }
        let span = seal.last_offset.saturating_sub(seal.first_offset).saturating_add(1);
        if !heartbeat && seal.count > span {
            return Err(Refusal::Shape("count"));
        }
        let place = self.streams.get(&seal.stream_id).ok_or(Refusal::Stream)?;
        if place.0 != seal.topic || place.1 != seal.partition {
            return Err(Refusal::Stream);
        }
        Ok(())
    }

    fn check_chain(&self, seal: &SealBody) -> Result<(), Refusal> {
        let head = self.heads.get(&seal.stream_id);
        let (seal_seq, prev, next_seq, last_offset) = head.map_or((0, Hash::ZERO, 0, -1), |head| {
            (head.seal_seq + 1, head.seal_hash, head.next_seq, head.last_offset)
        });
        let checks = [
            ("seal_seq", seal.seal_seq == seal_seq),
            ("prev_seal_hash", &seal.prev_seal_hash.0 == prev.as_bytes()),
            ("first_seq", seal.first_seq == next_seq),
            ("first_offset", seal.count == 0 || seal.first_offset > last_offset),
            ("closed_at", head.is_none_or(|head| seal.closed_at >= head.closed_at)),
            ("anchor_size", head.is_none_or(|head| seal.anchor_size >= head.anchor_size)),
        ];
        match checks.iter().find(|(_, good)| !good) {
            Some((field, _)) => Err(Refusal::Chain(field)),
            None => Ok(()),
        }
    }
}
