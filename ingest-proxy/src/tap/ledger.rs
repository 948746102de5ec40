//! Which sessions are open, how far each has come, and the ends written in the name of those that could not (I-02; P21).
//!
//! The carrying thread shows every journal record here once, in order. Before segments are deleted the state is written
//! beside them (`sessions.checkpoint`), so after a crash checkpoint and journal together know every session that has no
//! end, its next sequence and its number of messages. Ends are journal records like any other: a restart that is itself
//! killed finds those it has written and writes only the rest, so each session gets exactly one.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use schemas::Record as _;
use schemas::codec::{Cursor, DecodeError};
use schemas::topics::partition_for;
use schemas::v1::{Direction, Facts, FrameKind, Protocol, RawFrame, Session, SessionState, Uuid};

use super::{Guarantee, HEAD, TO_RAW, TO_SESSIONS, head, marks};
use crate::journal::{Chunk, Journal, JournalError};

/// Reason of the end of a session whose process died.
pub(super) const RESTARTED: &str = "proxy_restarted";
/// Reason of the end of a session whose task ended without one: cut off when the proxy stopped, or by a defect.
pub(super) const ABORTED: &str = "session_aborted";

/// What the ledger reads of a raw record, without a copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peek {
    sequence: i64,
    kind: i32,
    last: bool,
}

impl Peek {
    /// Of a journal record; none when it is no raw record.
    pub(super) fn of_record(record: &[u8]) -> Option<Self> {
        let (first, rest) = record.split_first()?;
        let body = rest.get(HEAD - 1..)?;
        if marks(*first).0 != TO_RAW {
            return None;
        }
        Self::of_body(body).ok()
    }

    fn of_body(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        cursor.take(32)?; // event and session
        let sequence = cursor.long()?;
        let kind = cursor.int()?;
        cursor.long()?; // observed at
        cursor.int()?; // protocol
        cursor.int()?; // direction
        cursor.int()?; // connection
        cursor.long()?; // message
        cursor.int()?; // chunk
        Ok(Self { sequence, kind, last: cursor.boolean()? })
    }

    /// Whether no record of its session comes after it.
    pub(super) fn is_end(self) -> bool {
        self.kind == FrameKind::SessionClosed.index() || self.kind == FrameKind::SessionRefused.index()
    }

    fn is_message(self) -> bool {
        self.last && self.kind == FrameKind::Message.index()
    }
}

/// A session without an end.
#[derive(Debug, Clone)]
struct Open {
    partition: i32,
    guarantee: Guarantee,
    /// Body of its `Session`; empty when that was lost.
    session: Vec<u8>,
    next_sequence: i64,
    messages: i64,
}

/// An end to be written in a session's name.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    pub(super) session_id: Uuid,
    pub(super) guarantee: Guarantee,
    pub(super) reason: &'static str,
    /// Its newest record; the ledger must have seen it. None when the journal has nothing of it, or all is known.
    pub(super) after: Option<u64>,
    /// Body of its `Session`.
    pub(super) session: Option<Vec<u8>>,
    /// The journal has nothing of it: it was refused before it began.
    pub(super) refused: bool,
    pub(super) next_sequence: i64,
    pub(super) messages: i64,
}

impl Owed {
    /// Its journal records. The session's key is gone, so they have no content: facts alone say what happened.
    pub(super) fn records(&self, now_us: i64) -> Vec<Vec<u8>> {
        let session = self.session.as_deref().and_then(|body| Session::from_body(body).ok());
        let protocol = session.as_ref().map_or(Protocol::Unknown, |session| session.protocol);
        let (kind, messages, records) = if self.refused {
            (FrameKind::SessionRefused, None, None)
        } else {
            (FrameKind::SessionClosed, Some(self.messages), Some(self.next_sequence + 1))
        };
        let facts = Facts {
            reason_code: self.reason.to_owned(),
            statement_id: -1,
            message_count: messages,
            record_count: records,
            ..Facts::default()
        };
        let frame = RawFrame {
            event_id: Uuid::now_v7(),
            session_id: self.session_id,
            sequence: self.next_sequence,
            kind,
            observed_at_us: now_us,
            protocol,
            direction: Direction::None,
            message_id: -1,
            last: true,
            command_id: -1,
            facts: Some(facts),
            ..RawFrame::default()
        };
        let mut end = head(TO_RAW, self.guarantee, self.session_id).to_vec();
        frame.encode(&mut end);
        let Some(session) = session.filter(|_| self.refused) else { return vec![end] };
        let mut refused = head(TO_SESSIONS, self.guarantee, self.session_id).to_vec();
        Session { state: SessionState::Refused, ..session }.encode(&mut refused);
        vec![refused, end]
    }
}

/// The open sessions as of a journal index.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    path: PathBuf,
    partitions: i32,
    open: HashMap<[u8; 16], Open>,
    /// Index after the last record shown.
    seen: u64,
    /// Closed `Session`s to be sent behind the record at their index, until the bus has it.
    closing: BTreeMap<u64, Vec<u8>>,
}

/// Name of the checkpoint in the journal's folder.
const NAME: &str = "sessions.checkpoint";
/// First bytes of a checkpoint.
const MAGIC: [u8; 8] = *b"SEALSES1";

impl Ledger {
    /// Reads the checkpoint beside a journal that holds the indexes from `first` to before `next`. A checkpoint that is
    /// missing, damaged or of another journal is an empty one.
    pub(super) fn load(folder: &Path, first: u64, next: u64, partitions: i32) -> Self {
        let path = folder.join(NAME);
        let mut ledger = Self { path, partitions, open: HashMap::new(), seen: first, closing: BTreeMap::new() };
        match fs::read(&ledger.path) {
            Ok(bytes) => match read_checkpoint(&bytes, partitions) {
                Some((seen, open)) => {
                    ledger.open = open;
                    ledger.seen = if seen > next { first } else { seen.max(first) };
                }
                None => tracing::error!(path = %ledger.path.display(), "the checkpoint of open sessions is damaged"),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the checkpoint of open sessions cannot be read"),
        }
        ledger
    }

    /// Index after the last record shown.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Partition of a session's records.
    pub(super) fn partition(&self, id: &[u8; 16], key: &[u8]) -> i32 {
        self.open.get(id).map_or_else(|| partition_for(key, self.partitions), |open| open.partition)
    }

    /// Takes in the record at `index`; one that was shown before changes nothing.
    pub(super) fn see(&mut self, index: u64, record: &[u8]) {
        if index < self.seen {
            return;
        }
        self.seen = index + 1;
        let Some((&[first, ref id @ ..], body)) = record.split_first_chunk::<HEAD>() else { return };
        let (topic, guarantee) = marks(first);
        if topic == TO_RAW {
            return self.see_raw(index, id, guarantee, body);
        }
        let mut cursor = Cursor::new(body);
        let state = cursor.take(16).and_then(|_| cursor.int());
        if state.is_ok_and(|state| state == SessionState::Open.index()) {
            let partition = partition_for(Uuid(*id).to_text().as_bytes(), self.partitions);
            let known = self.open.entry(*id).or_insert(Open {
                partition,
                guarantee,
                session: Vec::new(),
                next_sequence: 0,
                messages: 0,
            });
            known.session = body.to_vec();
        } else {
            self.open.remove(id);
        }
    }

    fn see_raw(&mut self, index: u64, id: &[u8; 16], guarantee: Guarantee, body: &[u8]) {
        let Ok(peek) = Peek::of_body(body) else { return };
        if peek.is_end() {
            let session = self.open.remove(id).and_then(|open| Session::from_body(&open.session).ok());
            if let Some(session) = session {
                let mut closed = Vec::new();
                Session { state: SessionState::Closed, ..session }.encode(&mut closed);
                self.closing.insert(index, closed);
            }
            return;
        }
        let open = self.open.entry(*id).or_insert_with(|| Open {
            partition: partition_for(Uuid(*id).to_text().as_bytes(), self.partitions),
            guarantee,
            session: Vec::new(),
            next_sequence: 0,
            messages: 0,
        });
        open.next_sequence = open.next_sequence.max(peek.sequence + 1);
        open.messages += i64::from(peek.is_message());
    }

    /// The closed `Session` to send behind the record at `index`.
    pub(super) fn closed_by(&self, index: u64) -> Option<&[u8]> {
        self.closing.get(&index).map(Vec::as_slice)
    }

    /// The bus has everything before `next`.
    pub(super) fn committed(&mut self, next: u64) {
        while self.closing.first_key_value().is_some_and(|(index, _)| *index < next) {
            self.closing.pop_first();
        }
    }

    /// Completes an end: true when it can be written; none when its session has one or nothing is known of it.
    pub(super) fn complete(&self, owed: &mut Owed) -> Option<bool> {
        let Some(after) = owed.after else { return Some(true) };
        if self.seen <= after {
            return Some(false);
        }
        let open = self.open.get(&owed.session_id.0)?;
        (owed.next_sequence, owed.messages) = (open.next_sequence, open.messages);
        owed.session = Some(open.session.clone());
        Some(true)
    }

    /// Makes the state durable; must come before a segment with records shown is deleted.
    pub(super) fn save(&self) -> std::io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.seen.to_be_bytes());
        bytes.extend_from_slice(&(self.open.len() as u64).to_be_bytes());
        for (id, open) in &self.open {
            bytes.extend_from_slice(id);
            bytes.push(u8::try_from(open.guarantee.place()).unwrap_or(0));
            bytes.extend_from_slice(&open.next_sequence.to_be_bytes());
            bytes.extend_from_slice(&open.messages.to_be_bytes());
            bytes.extend_from_slice(&(open.session.len() as u64).to_be_bytes());
            bytes.extend_from_slice(&open.session);
        }
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

fn read_checkpoint(bytes: &[u8], partitions: i32) -> Option<(u64, HashMap<[u8; 16], Open>)> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut rest = body.strip_prefix(&MAGIC)?;
    let seen = u64::from_be_bytes(take(&mut rest)?);
    let count = u64::from_be_bytes(take(&mut rest)?);
    let mut open = HashMap::new();
    for _ in 0..count {
        let id: [u8; 16] = take(&mut rest)?;
        let [place] = take(&mut rest)?;
        let next_sequence = i64::from_be_bytes(take(&mut rest)?);
        let messages = i64::from_be_bytes(take(&mut rest)?);
        let len = usize::try_from(u64::from_be_bytes(take(&mut rest)?)).ok()?;
        let (session, after) = rest.split_at_checked(len)?;
        rest = after;
        let partition = partition_for(Uuid(id).to_text().as_bytes(), partitions);
        let guarantee = Guarantee::ALL.get(usize::from(place)).copied().unwrap_or_default();
        open.insert(id, Open { partition, guarantee, session: session.to_vec(), next_sequence, messages });
    }
    rest.is_empty().then_some((seen, open))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// Bytes of the journal read at a time.
const READ_BYTES: usize = 1 << 20;

/// The ends of all sessions that are open after what the journal holds: nobody is connected yet.
pub(super) fn left_open(ledger: &Ledger, journal: &Journal) -> Result<Vec<Owed>, JournalError> {
    let mut all = ledger.clone();
    let (_, next) = journal.bounds();
    let mut chunk = Chunk::default();
    while all.seen < next {
        journal.read_into(all.seen, READ_BYTES, &mut chunk)?;
        if chunk.is_empty() {
            break; // the rest is damaged
        }
        for (index, record) in chunk.iter() {
            all.see(index, record);
        }
        all.closing.clear();
    }
    let ends = all.open.into_iter().map(|(id, open)| Owed {
        session_id: Uuid(id),
        guarantee: open.guarantee,
        reason: RESTARTED,
        after: None,
        session: Some(open.session),
        refused: false,
        next_sequence: open.next_sequence,
        messages: open.messages,
    });
    Ok(ends.collect())
}
