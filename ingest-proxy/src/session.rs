//! One session's records: numbers them densely (I-02), encrypts and encodes them in the session's own task, and hands
//! them to the tap in the order of the socket (I-03).

use schemas::Record as _;
use schemas::v1::{
    CommandContent, Direction, Facts, FrameKind, Label, Protocol, RawFrame, Session, SessionContent, Uuid,
};

use crate::encrypt::{EncryptError, SessionCipher};
use crate::protocol::postgres::facts::{
    Columns, Command, FactsRef, FrameHead, Observed, Parameters, Relations, encode_command, encode_message,
};
use crate::protocol::postgres::observe::Sink;
use crate::tap::{Batch, SessionTap, TapError};

/// Why a session cannot be recorded any further; nothing more may be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The tap refuses.
    #[error("record the session")]
    Tap(#[from] TapError),
    /// Content could not be encrypted.
    #[error("encrypt the session's content")]
    Encrypt(#[from] EncryptError),
}

impl RecordError {
    /// Stable reason code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tap(error) => error.kind(),
            Self::Encrypt(error) => error.kind(),
        }
    }

    /// SQLSTATE to refuse with.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Tap(error) => error.sqlstate(),
            Self::Encrypt(_) => "58000",
        }
    }
}

/// Longest content of a COMMAND, encoded; with facts and framing the record stays well below the bus's 1 MiB.
pub const COMMAND_BYTES_MAX: usize = 512 * 1024;
/// Most bytes of lists (columns, parameters, relations) in the facts of one record.
pub const FACTS_BYTES_MAX: usize = 384 * 1024;

/// Cuts the content of a command to [`COMMAND_BYTES_MAX`]: values first, the longest of them first, then the statement.
/// The frames of the messages keep all of it.
fn cut_command(plain: &mut Vec<u8>) {
    let mut content = CommandContent::from_body(plain).unwrap_or_default();
    let lengths: Vec<usize> =
        content.parameters.iter().filter_map(|parameter| parameter.value.as_ref().map(Vec::len)).collect();
    let values: usize = lengths.iter().sum();
    // A length prefix does not grow when its value is cut.
    let room = COMMAND_BYTES_MAX.saturating_sub(plain.len().saturating_sub(values));
    let (mut low, mut high) = (0, lengths.iter().copied().max().unwrap_or(0));
    while low < high {
        let level = (low + high).div_ceil(2);
        if lengths.iter().map(|length| level.min(*length)).sum::<usize>() <= room {
            low = level
        } else {
            high = level - 1
        }
    }
    for value in content.parameters.iter_mut().filter_map(|parameter| parameter.value.as_mut()) {
        value.truncate(low);
    }
    plain.clear();
    content.encode(plain);
    let excess = plain.len().saturating_sub(COMMAND_BYTES_MAX);
    if excess > 0 {
        content.statement.truncate(content.statement.len().saturating_sub(excess));
        plain.clear();
        content.encode(plain);
    }
}

/// The same facts without their lists when those are too long for one record; `facts_cut` says so.
fn fit_facts<'a>(facts: &FactsRef<'a>) -> FactsRef<'a> {
    let lists = facts.columns.map_or(0, Columns::bytes)
        + facts.parameters.map_or(0, Parameters::bytes)
        + facts.relations.map_or(0, Relations::bytes);
    if lists <= FACTS_BYTES_MAX {
        return *facts;
    }
    let reason_code = if facts.reason_code.is_empty() { "facts_cut" } else { facts.reason_code };
    FactsRef { columns: None, parameters: None, relations: None, reason_code, ..*facts }
}

/// A UUIDv7 (RFC 9562) for a record observed at `now_us`, microseconds since epoch UTC: its 74 random bits come from the
/// thread's own generator (seeded and reseeded by the system), without a system call per record.
fn event_id(now_us: i64) -> Uuid {
    let [_, _, time @ ..] = (now_us / 1000).to_be_bytes();
    let mut id: [u8; 16] = rand::random();
    let [a, b, c, d, e, f, version, _, variant, ..] = &mut id;
    [*a, *b, *c, *d, *e, *f] = time;
    *version = (*version & 0x0f) | 0x70;
    *variant = (*variant & 0x3f) | 0x80;
    Uuid(id)
}

/// Makes and hands in the records of one session. A [`Sink`] of the observer.
#[derive(Debug)]
pub struct Records {
    session_id: Uuid,
    cipher: SessionCipher,
    tap: SessionTap,
    sequence: i64,
    now_us: i64,
    batch: Batch,
    payload: Vec<u8>,
    plain: Vec<u8>,
    failed: Option<EncryptError>,
    gathers: bool,
}

impl Records {
    /// A session without records yet.
    #[must_use]
    pub fn new(session_id: Uuid, cipher: SessionCipher, tap: SessionTap) -> Self {
        Self {
            session_id,
            cipher,
            tap,
            sequence: 0,
            now_us: 0,
            batch: Batch::default(),
            payload: Vec::new(),
            plain: Vec::new(),
            failed: None,
            gathers: false,
        }
    }

    /// Lets [`Records::settle`] give way once before it waits, so that the sessions of the same thread that have a
    /// request too hand it in first: one sync then serves all of them. For sessions that do wait.
    #[must_use]
    pub fn gathering(self, gathers: bool) -> Self {
        Self { gathers, ..self }
    }

    /// Sets the time of the records that follow, microseconds since epoch UTC.
    pub fn at(&mut self, now_us: i64) {
        self.now_us = now_us;
    }

    /// Records so far: the next sequence.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.sequence
    }

    /// Writes the session itself, with the wrapped key; then its SESSION_OPENED or SESSION_REFUSED; both durable as the
    /// guarantee says when it returns.
    ///
    /// # Errors
    /// [`RecordError`]; the target must see no byte.
    pub async fn open(
        &mut self,
        session: &mut Session,
        reason: &str,
        parameters: Vec<Label>,
    ) -> Result<(), RecordError> {
        session.context.wrapped_key = self.cipher.wrapped().to_vec();
        self.tap.session(session).await?;
        let kind = if reason.is_empty() { FrameKind::SessionOpened } else { FrameKind::SessionRefused };
        self.happened(kind, Facts { reason_code: reason.into(), statement_id: -1, ..Facts::default() }, parameters);
        self.settle().await
    }

    /// Ends the session's sequence: SESSION_CLOSED says how many messages and records there were (I-02).
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn close(&mut self, reason: &str, message_count: i64) -> Result<(), RecordError> {
        let facts = Facts {
            reason_code: reason.into(),
            statement_id: -1,
            message_count: Some(message_count),
            record_count: Some(self.sequence + 1),
            ..Facts::default()
        };
        self.happened(FrameKind::SessionClosed, facts, Vec::new());
        self.settle().await
    }

    fn happened(&mut self, kind: FrameKind, facts: Facts, parameters: Vec<Label>) {
        let content = SessionContent { reason: facts.reason_code.clone(), parameters };
        self.plain.clear();
        content.encode(&mut self.plain);
        let plain = std::mem::take(&mut self.plain);
        let head = self.seal(kind, &plain);
        let record = RawFrame {
            event_id: head.event_id,
            session_id: head.session_id,
            sequence: head.sequence,
            kind,
            observed_at_us: head.observed_at_us,
            protocol: Protocol::Postgres,
            direction: Direction::None,
            message_id: -1,
            last: true,
            command_id: -1,
            facts: Some(facts),
            payload: self.payload.clone(),
            ..RawFrame::default()
        };
        self.tap.put(&mut self.batch, |out| record.encode(out));
        self.plain = plain;
    }

    /// Takes the next sequence and encrypts `plain` into `self.payload`.
    fn seal(&mut self, kind: FrameKind, plain: &[u8]) -> FrameHead {
        let sequence = self.sequence;
        self.sequence += 1;
        if let Err(error) = self.cipher.seal(sequence, kind, plain, &mut self.payload) {
            self.failed.get_or_insert(error);
        }
        FrameHead {
            event_id: event_id(self.now_us),
            session_id: self.session_id,
            sequence,
            observed_at_us: self.now_us,
            connection: 0,
        }
    }

    /// Hands in what was observed; waits only for room and for the window.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn hand_in(&mut self) -> Result<(), RecordError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let taken = self.tap.record_batch(&self.batch).await;
        // Taken also when the window did not drain: they must not come again in front of the session's end.
        if matches!(taken, Ok(()) | Err(TapError::Window)) {
            self.batch.clear();
        }
        Ok(taken?)
    }

    /// Hands in and waits until it is as durable as the guarantee says (I-01).
    ///
    /// # Errors
    /// [`RecordError`]; what was observed must not be forwarded.
    pub async fn settle(&mut self) -> Result<(), RecordError> {
        self.hand_in().await?;
        if self.gathers {
            tokio::task::yield_now().await;
        }
        Ok(self.tap.settle().await?)
    }
}

impl Sink for Records {
    fn message(&mut self, observed: &Observed<'_>) {
        let head = self.seal(FrameKind::Message, observed.content.bytes());
        let observed = Observed { facts: observed.facts.as_ref().map(fit_facts), ..*observed };
        self.tap.put(&mut self.batch, |out| encode_message(&head, &observed, &self.payload, out));
    }

    fn command(&mut self, command: &Command<'_>) {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        command.content.put(&mut plain);
        let mut command = Command { facts: fit_facts(&command.facts), ..*command };
        if plain.len() > COMMAND_BYTES_MAX {
            cut_command(&mut plain);
            if command.facts.reason_code.is_empty() {
                command.facts.reason_code = "content_cut";
            }
        }
        let head = self.seal(FrameKind::Command, &plain);
        self.tap.put(&mut self.batch, |out| encode_command(&head, &command, &self.payload, out));
        self.plain = plain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::v1::ParameterValue;

    fn cut(lengths: &[usize], statement: usize) -> CommandContent {
        let parameter = |length: &usize| ParameterValue { value: Some(vec![7; *length]), ..ParameterValue::default() };
        let content = CommandContent {
            statement: vec![b's'; statement],
            statement_bytes: 1 << 30,
            parameters: lengths.iter().map(parameter).collect(),
            ..CommandContent::default()
        };
        let mut plain = Vec::new();
        content.encode(&mut plain);
        cut_command(&mut plain);
        assert!(plain.len() <= COMMAND_BYTES_MAX && plain.len() > COMMAND_BYTES_MAX - 1024, "{}", plain.len());
        CommandContent::from_body(&plain).unwrap()
    }

    #[test]
    fn the_longest_values_are_cut_first_and_the_statement_last() {
        let content = cut(&[10, 400_000, 60_000, 300_000], 1000);
        let kept: Vec<usize> = content.parameters.iter().map(|p| p.value.as_ref().unwrap().len()).collect();
        assert_eq!((kept[0], kept[2], kept[1]), (10, 60_000, kept[3]));
        assert!(kept[1] > 200_000);
        assert_eq!(content.statement.len(), 1000);
        let content = cut(&vec![3; 60_000], 500_000);
        assert_eq!(content.parameters.len(), 60_000);
        assert!(content.statement.len() < 500_000 && content.statement_bytes == 1 << 30);
    }

    #[test]
    fn event_ids_are_of_version_7_with_their_time_and_differ() {
        let ids: Vec<Uuid> = (0..1000).map(|_| event_id(1_770_000_000_123_456)).collect();
        for id in &ids {
            assert_eq!(id.0[..6], 1_770_000_000_123_u64.to_be_bytes()[2..]);
            assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (7, 2));
        }
        let all: std::collections::HashSet<[u8; 16]> = ids.iter().map(|id| id.0).collect();
        assert_eq!(all.len(), ids.len());
    }

    #[test]
    fn lists_that_are_too_long_are_left_out_and_said_so() {
        let long = Relations::new(&["r".repeat(FACTS_BYTES_MAX)]);
        let facts = fit_facts(&FactsRef { relations: Some(&long), command_kind: "SELECT", ..FactsRef::default() });
        assert_eq!((facts.relations.is_none(), facts.reason_code, facts.command_kind), (true, "facts_cut", "SELECT"));
        let short = Relations::new(&["r"]);
        assert!(fit_facts(&FactsRef { relations: Some(&short), ..FactsRef::default() }).relations.is_some());
    }
}
