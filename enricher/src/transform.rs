//! The transform.
//!
//! | input | output |
//! |---|---|
//! | the whole raw body | `raw`, byte for byte |
//! | session in the table | `attribution` ATTRIBUTED, `context` from `audit.sessions` |
//! | session not in the table after the wait | `attribution` UNATTRIBUTED, empty `context` |
//! | sequence above the last one written | the record; else nothing: it is a repeat |
//! | first record seen of a session is not sequence 0 | `possible_duplicate` true until the state says otherwise |

use std::collections::{BTreeSet, HashMap};

use schemas::codec::put_long;
use schemas::v1::{Attribution, EnricherState, FrameKind, RawFrame, Session, SessionContext, Uuid};
use schemas::{Record as _, framing};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};

use crate::config::EnricherConfig;
use crate::error::{NO_PREFIX, NOT_RAW, WRONG_KEY, WRONG_SEQUENCE};

/// Slot of `audit.enriched`.
pub const ENRICHED: usize = 0;
/// Slot of `audit.enricher.state`.
pub const STATE: usize = 1;

/// Makes one [`Enrich`] per partition.
#[derive(Debug, Clone)]
pub struct EnrichFactory(pub EnricherConfig);

impl Factory for EnrichFactory {
    type Transform = Enrich;
    fn make(&self, _partition: i32) -> Enrich {
        Enrich { sessions_max: self.0.sessions_max, ..Enrich::default() }
    }
}

#[derive(Debug, Default, Clone)]
struct Known {
    /// Encoded `SessionContext`, once per session.
    context: Option<Vec<u8>>,
    last_sequence: Option<i64>,
    closed: bool,
    /// One record has waited in vain: the session's others do not wait again.
    waited: bool,
}

/// The enricher's work on one partition.
#[derive(Debug, Default)]
pub struct Enrich {
    sessions_max: usize,
    sessions: HashMap<[u8; 16], Known>,
    touched: BTreeSet<[u8; 16]>,
    /// Closed sessions, oldest first: forgotten when there are too many.
    closed: std::collections::VecDeque<[u8; 16]>,
    forgotten: Vec<[u8; 16]>,
    empty_context: Vec<u8>,
    raw: RawFrame,
    session: Session,
    /// Sequence numbers missing so far, over all sessions.
    pub gaps: u64,
    /// Repeats dropped so far.
    pub repeats: u64,
}

impl Enrich {
    fn decode<'a>(&mut self, input: &Input<'a>) -> Result<&'a [u8], Rejection> {
        let value = input.value.ok_or_else(|| Rejection::new(NO_PREFIX, "value is null"))?;
        let (_, body) = framing::split(value).map_err(|error| Rejection::new(NO_PREFIX, error.to_string()))?;
        self.raw.decode(body).map_err(|error| Rejection::new(NOT_RAW, error.to_string()))?;
        if input.key != Some(self.raw.session_id.to_text().as_bytes()) {
            return Err(Rejection::new(WRONG_KEY, "record key is not the session id"));
        }
        if self.raw.sequence < 0 {
            return Err(Rejection::new(WRONG_SEQUENCE, "sequence is negative"));
        }
        Ok(body)
    }

    fn forget(&mut self) {
        while self.sessions.len() > self.sessions_max {
            let Some(oldest) = self.closed.pop_front() else { return };
            if self.sessions.get(&oldest).is_some_and(|known| known.closed) {
                self.sessions.remove(&oldest);
                self.touched.remove(&oldest);
                self.forgotten.push(oldest);
            }
        }
    }
}

impl Transform for Enrich {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let body = self.decode(&input)?;
        let (id, sequence) = (self.raw.session_id.0, self.raw.sequence);
        let known = self.sessions.entry(id).or_default();
        if known.context.is_none() && !known.waited {
            if !ctx.wait_over {
                return Ok(Verdict::Wait);
            }
            known.waited = true;
        }
        let expected = known.last_sequence.map_or(0, |last| last + 1);
        if sequence < expected {
            self.repeats += 1;
            return Ok(Verdict::Done);
        }
        self.gaps += u64::try_from(sequence - expected).unwrap_or(0);
        // a session that starts in the middle: its state is gone, so a replay cannot be told from a first time
        let possible_duplicate = known.last_sequence.is_none() && sequence > 0;
        known.last_sequence = Some(sequence);
        self.touched.insert(id);
        if matches!(self.raw.kind, FrameKind::SessionClosed | FrameKind::SessionRefused) && !known.closed {
            known.closed = true;
            self.closed.push_back(id);
        }
        if self.empty_context.is_empty() {
            SessionContext::default().put(&mut self.empty_context);
        }
        let attribution = if known.context.is_some() { Attribution::Attributed } else { Attribution::Unattributed };
        let context = known.context.as_deref().unwrap_or(&self.empty_context);
        out.body_with(ENRICHED, input.key.unwrap_or_default(), |out| {
            out.extend_from_slice(body);
            put_long(out, i64::from(attribution.index()));
            out.push(u8::from(possible_duplicate));
            out.extend_from_slice(context);
        });
        Ok(Verdict::Done)
    }

    fn flush(&mut self, _ctx: &Context, out: &mut Out) {
        self.forget();
        for id in std::mem::take(&mut self.touched) {
            if let Some(last_sequence) = self.sessions.get(&id).and_then(|known| known.last_sequence) {
                out.record(STATE, Uuid(id).to_text().as_bytes(), &EnricherState { last_sequence });
            }
        }
        for id in self.forgotten.drain(..) {
            out.tombstone(STATE, Uuid(id).to_text().as_bytes());
        }
    }

    fn table(&mut self, _key: &[u8], value: Option<&[u8]>) {
        // what is no session record attributes nothing: its frames will go on unattributed, and say so
        let Some((_, body)) = value.and_then(|value| framing::split(value).ok()) else { return };
        if self.session.decode(body).is_err() {
            return;
        }
        let mut context = Vec::new();
        self.session.context.put(&mut context);
        self.sessions.entry(self.session.session_id.0).or_default().context = Some(context);
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(id) = std::str::from_utf8(key).ok().and_then(|key| key.parse::<Uuid>().ok()) else { return };
        let state = value
            .and_then(|value| framing::split(value).ok())
            .and_then(|(_, body)| EnricherState::from_body(body).ok());
        match state {
            Some(state) => self.sessions.entry(id.0).or_default().last_sequence = Some(state.last_sequence),
            None => drop(self.sessions.remove(&id.0)),
        }
    }
}
