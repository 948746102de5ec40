//! One session's records: numbers them densely (I-02), encrypts and encodes them in the session's own task, and hands
//! them to the tap in the order of the socket (I-03).

use schemas::Record as _;
use schemas::v1::{Direction, Facts, FrameKind, Label, Protocol, RawFrame, Session, SessionContent, Uuid};

use crate::encrypt::{EncryptError, SessionCipher};
use crate::protocol::postgres::facts::{Command, FrameHead, Observed, encode_command, encode_message};
use crate::protocol::postgres::observe::Sink;
use crate::tap::{SessionTap, TapError};

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

/// Makes and hands in the records of one session. A [`Sink`] of the observer.
#[derive(Debug)]
pub struct Records {
    session_id: Uuid,
    cipher: SessionCipher,
    tap: SessionTap,
    sequence: i64,
    now_us: i64,
    batch: Vec<Vec<u8>>,
    payload: Vec<u8>,
    plain: Vec<u8>,
    failed: Option<EncryptError>,
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
            batch: Vec::new(),
            payload: Vec::new(),
            plain: Vec::new(),
            failed: None,
        }
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
        self.batch.push(self.tap.raw(|out| record.encode(out)));
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
            event_id: Uuid::now_v7(),
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
        self.tap.record(&self.batch).await?;
        self.batch.clear();
        Ok(())
    }

    /// Hands in and waits until it is as durable as the guarantee says (I-01).
    ///
    /// # Errors
    /// [`RecordError`]; what was observed must not be forwarded.
    pub async fn settle(&mut self) -> Result<(), RecordError> {
        self.hand_in().await?;
        Ok(self.tap.settle().await?)
    }
}

impl Sink for Records {
    fn message(&mut self, observed: &Observed<'_>) {
        let head = self.seal(FrameKind::Message, observed.content.bytes());
        self.batch.push(self.tap.raw(|out| encode_message(&head, observed, &self.payload, out)));
    }

    fn command(&mut self, command: &Command<'_>) {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        command.content.put(&mut plain);
        let head = self.seal(FrameKind::Command, &plain);
        self.batch.push(self.tap.raw(|out| encode_command(&head, command, &self.payload, out)));
        self.plain = plain;
    }
}
