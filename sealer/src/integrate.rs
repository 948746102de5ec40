//! The notary's pure function: proposals in topic order in, log entries out (I-09, I-12, I-14).
//!
//! Whether a proposal is accepted follows from the log so far and the proposal alone. So the log is a function of the
//! proposals topic's order, and a notary that starts again, or a second one, comes to the same log.

use std::collections::HashMap;

use schemas::entry::{HEADS_EVERY, KEY_RECOVER, KEY_ROTATE};
use schemas::layout::parse_object_name;
use schemas::v1::{ArchiveBody, HeadsBody, IncidentBody, KeyBody, SealBody, StreamId};
use tlog::note::KeyKind;
use tlog::{EMPTY_ROOT, Hash, LogWriter, TileError, VerifierKey, leaf_hash};

use crate::entry::{Entry, EntryError};
pub use crate::heads::{Head, Heads};

/// Most events of one batch (the integrity specification's bound on `count`).
pub const BATCH_EVENTS_MAX: i64 = 1_048_576;
/// Longest object name of a receipt, bytes; the archiver's names have at most 64.
pub const OBJECT_NAME_MAX: usize = 128;
/// Longest text of an incident, bytes.
pub const INCIDENT_TEXT_MAX: usize = 4096;
/// Highest reason number this version knows.
const REASON_MAX: i32 = 6;

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
    /// The key or incident is not signed by a key that may sign it, or does not continue the epochs or incidents.
    #[error("field `{0}` of the key or incident is not what the log expects")]
    Authority(&'static str),
    /// The log takes no entry now; publish and offer the same proposal again.
    #[error("the log cannot take the entry")]
    Log(#[source] TileError),
    /// The newest entry ends a key epoch: publish its closing checkpoint, and offer the same proposal again.
    #[error("an epoch is closing")]
    Closing,
}

impl Refusal {
    /// True when the proposal is to be offered again after a publication; no other refusal ever changes.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Closing)
    }
}

/// Keys from outside the log that may sign entries.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Root keys: incidents.
    pub roots: Vec<VerifierKey>,
    /// Recovery keys of the policy: an epoch in place of the key before.
    pub recovery: Vec<VerifierKey>,
}

/// The key epoch in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Number from 0.
    pub number: i64,
    /// Key that signs heads.
    pub key: VerifierKey,
}

/// What the newest entry, a KEY, does: heads up to it belong to the epoch before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The key before signs the closing checkpoint too.
    Rotate,
    /// The key before is lost.
    Recover,
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
    trust: Trust,
    state: Heads,
    epoch: Epoch,
    closing: Option<Closing>,
    incidents: i64,
    /// Entries of other tags since the newest HEADS.
    since_heads: u64,
    /// Index of part 0 of HEADS that are not all in the log yet, and how many parts are.
    heads_open: Option<(u64, usize)>,
    log: LogWriter,
}

/// An accepted entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Index in the log.
    pub index: u64,
    /// Stream it belongs to; a key or incident belongs to the log.
    pub stream_id: Option<StreamId>,
    /// Leaf hash of the entry.
    pub leaf: Hash,
}

impl Integrator {
    /// An integrator over `log`, whose entries since a HEADS, or since the start, were given to [`Integrator::replay`] before
    /// the first offer. `first` is the key of epoch 0, or of the epoch of those HEADS.
    #[must_use]
    pub fn new(
        origin: &str,
        streams: HashMap<StreamId, (String, i32)>,
        trust: Trust,
        first: VerifierKey,
        log: LogWriter,
    ) -> Self {
        Self {
            origin: origin.to_owned(),
            streams,
            trust,
            state: Heads::default(),
            epoch: Epoch { number: 0, key: first },
            closing: None,
            incidents: 0,
            since_heads: 0,
            heads_open: None,
            log,
        }
    }

    /// Takes an entry that the log holds already.
    ///
    /// # Errors
    /// [`EntryError`] when it is no entry of this version.
    pub fn replay(&mut self, index: u64, entry: &[u8]) -> Result<(), EntryError> {
        let decoded = Entry::decode(entry)?;
        self.take(index, decoded, leaf_hash(entry));
        Ok(())
    }

    /// What an entry in the log changes.
    fn take(&mut self, index: u64, entry: Entry, leaf: Hash) {
        self.closing = None;
        if let Entry::Heads(part) = entry {
            if part.part == 0 {
                if let Ok(key) = VerifierKey::parse(&part.vkey) {
                    self.epoch = Epoch { number: part.epoch, key };
                }
                self.incidents = part.incidents;
            }
            self.state.restore(&part);
            let done = usize::try_from(part.part).unwrap_or(0) + 1;
            let complete = usize::try_from(part.parts).is_ok_and(|parts| done >= parts);
            let first = index.saturating_sub(u64::try_from(part.part).unwrap_or(0));
            self.heads_open = if complete { None } else { Some((first, done)) };
            self.since_heads = if complete { 0 } else { HEADS_EVERY };
            return;
        }
        self.since_heads += 1;
        match entry {
            Entry::Seal(seal) => {
                let head = Head::after(self.state.heads.get(&seal.stream_id), &seal, leaf);
                self.state.heads.insert(seal.stream_id, head);
            }
            Entry::Archive(receipt) => {
                self.state.receipted.insert(receipt.stream_id, receipt.last_seal.saturating_add(1));
            }
            Entry::Key(key) => {
                if let Ok(verifier) = VerifierKey::parse(&key.vkey) {
                    self.epoch = Epoch { number: key.epoch, key: verifier };
                }
                self.closing = Some(if key.action == KEY_RECOVER { Closing::Recover } else { Closing::Rotate });
            }
            Entry::Incident(_) => self.incidents += 1,
            Entry::Heads(_) => {}
        }
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
        &self.state.heads
    }

    /// The key epoch in force.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Set while the newest entry ends an epoch: its closing checkpoint is the one of the log's present size.
    #[must_use]
    pub fn closing(&self) -> Option<Closing> {
        self.closing
    }

    /// INCIDENT entries so far; the number of the next.
    #[must_use]
    pub fn incidents(&self) -> i64 {
        self.incidents
    }

    /// Keys from outside the log.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where the notary goes on in the proposals topic, if `entry` is an incident that may be accepted as the next entry of
    /// the log as it is and says so.
    #[must_use]
    pub fn resume_offset(&self, entry: &[u8]) -> Option<i64> {
        let Ok(Entry::Incident(incident)) = Entry::decode(entry) else { return None };
        let present = u64::try_from(incident.log_size) == Ok(self.log.size());
        (present && incident.resume_offset >= 0 && self.check_incident(&incident).is_ok())
            .then_some(incident.resume_offset)
    }

    /// The closing checkpoint is published: the next entry may come.
    pub fn closed(&mut self) {
        self.closing = None;
    }

    /// Offers a proposal; accepted ones are in the log when this returns.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then, HEADS that were due excepted.
    pub fn offer(&mut self, proposal: &[u8], roots: &dyn Roots) -> Result<Accepted, Refusal> {
        if self.closing.is_some() {
            return Err(Refusal::Closing);
        }
        let entry = Entry::decode(proposal).map_err(Refusal::Entry)?;
        let stream_id = match &entry {
            Entry::Seal(seal) => {
                self.check_shape(seal)?;
                self.check_chain(seal)?;
                self.check_anchor(seal, roots)?;
                Some(seal.stream_id)
            }
            Entry::Archive(receipt) => {
                self.check_receipt(receipt)?;
                Some(receipt.stream_id)
            }
            Entry::Key(key) => {
                self.check_key(key)?;
                None
            }
            Entry::Incident(incident) => {
                self.check_incident(incident)?;
                None
            }
            // the notary alone makes them
            Entry::Heads(_) => return Err(Refusal::Shape("tag")),
        };
        self.append_heads()?;
        let index = self.log.size();
        let leaf = self.log.append(proposal).map_err(Refusal::Log)?;
        self.take(index, entry, leaf);
        Ok(Accepted { index, stream_id, leaf })
    }

    /// Appends the HEADS that are due, or the parts of them that a full log did not take before.
    fn append_heads(&mut self) -> Result<(), Refusal> {
        if self.since_heads < HEADS_EVERY {
            return Ok(());
        }
        let (index, done) = self.heads_open.unwrap_or((self.log.size(), 0));
        let fields = HeadsBody {
            version: 1,
            origin: self.origin.clone(),
            index: i64::try_from(index).unwrap_or(i64::MAX),
            epoch: self.epoch.number,
            vkey: self.epoch.key.to_string(),
            incidents: self.incidents,
            ..HeadsBody::default()
        };
        let entries = self.state.to_entries(&fields);
        for (number, entry) in entries.iter().enumerate().skip(done) {
            self.log.append(entry).map_err(Refusal::Log)?;
            self.heads_open = Some((index, number + 1));
        }
        self.heads_open = None;
        self.since_heads = 0;
        Ok(())
    }

    fn check_anchor(&self, seal: &SealBody, roots: &dyn Roots) -> Result<(), Refusal> {
        let anchor_size = u64::try_from(seal.anchor_size).map_err(|_| Refusal::Shape("anchor_size"))?;
        let own = if anchor_size == 0 { Some(EMPTY_ROOT) } else { roots.root_at(anchor_size) };
        if anchor_size > self.log.size() || own.is_none_or(|root| root.as_bytes() != &seal.anchor_root.0) {
            return Err(Refusal::Anchor);
        }
        Ok(())
    }

    /// A key continues the epochs by one, and the key before, or a recovery key, has signed it.
    fn check_key(&self, key: &KeyBody) -> Result<(), Refusal> {
        let verifier = VerifierKey::parse(&key.vkey).map_err(|_| Refusal::Shape("vkey"))?;
        let authority: &[VerifierKey] = match key.action.as_str() {
            KEY_ROTATE => std::slice::from_ref(&self.epoch.key),
            KEY_RECOVER => &self.trust.recovery,
            _ => return Err(Refusal::Shape("action")),
        };
        let recovery = self.trust.recovery.iter().any(|one| one.public() == verifier.public());
        let checks = [
            ("version", key.version == 1),
            ("origin", key.origin == self.origin),
            ("vkey", verifier.kind() == KeyKind::Ed25519 && verifier.name() == self.origin && !recovery),
        ];
        if let Some((field, _)) = checks.iter().find(|(_, good)| !good) {
            return Err(Refusal::Shape(field));
        }
        if Some(key.epoch) != self.epoch.number.checked_add(1) {
            return Err(Refusal::Authority("epoch"));
        }
        if verifier.public() == self.epoch.key.public() {
            return Err(Refusal::Authority("vkey"));
        }
        signed_by(authority, key.key_id.0, &key.signed_bytes(), &key.signature.0)
    }

    /// An incident is the next one, and a root key has signed it.
    fn check_incident(&self, incident: &IncidentBody) -> Result<(), Refusal> {
        let text = &incident.text;
        let size = u64::try_from(incident.log_size).unwrap_or(u64::MAX);
        let offsets = (incident.first_offset, incident.last_offset);
        let checks = [
            ("version", incident.version == 1),
            ("origin", incident.origin == self.origin),
            ("text", !text.is_empty() && text.len() <= INCIDENT_TEXT_MAX && !text.contains(char::is_control)),
            ("first_offset", offsets == (-1, -1) || (offsets.0 >= 0 && offsets.1 >= offsets.0)),
            ("resume_offset", incident.resume_offset >= -1),
        ];
        if let Some((field, _)) = checks.iter().find(|(_, good)| !good) {
            return Err(Refusal::Shape(field));
        }
        if incident.stream_id != StreamId::default() && !self.streams.contains_key(&incident.stream_id) {
            return Err(Refusal::Stream);
        }
        if incident.number != self.incidents {
            return Err(Refusal::Authority("number"));
        }
        if size > self.log.size() {
            return Err(Refusal::Authority("log_size"));
        }
        signed_by(&self.trust.roots, incident.key_id.0, &incident.signed_bytes(), &incident.signature.0)
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
        if receipt.first_seal != self.state.receipted.get(&receipt.stream_id).copied().unwrap_or(0) {
            return Err(Refusal::Receipt("first_seal"));
        }
        if self.state.heads.get(&receipt.stream_id).is_none_or(|head| receipt.last_seal > head.seal_seq) {
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
        let head = self.state.heads.get(&seal.stream_id);
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

/// True to form when one of `keys` has this id and made this signature.
fn signed_by(keys: &[VerifierKey], id: [u8; 4], message: &[u8], signature: &[u8; 64]) -> Result<(), Refusal> {
    let mut named = keys.iter().filter(|key| key.id().to_be_bytes() == id).peekable();
    if named.peek().is_none() {
        return Err(Refusal::Authority("key_id"));
    }
    if named.any(|key| key.verify_message(message, signature)) { Ok(()) } else { Err(Refusal::Authority("signature")) }
}
