//! The transform.
//!
//! | input | output |
//! |---|---|
//! | the whole raw body | `raw`, byte for byte |
//! | session in the table | `attribution` ATTRIBUTED, `context` from `audit.sessions` |
//! | session not in the table after the wait | `attribution` UNATTRIBUTED, empty `context` |
//! | sequence above the last one written | the record; else nothing: it is a repeat |
//! | first record seen of a session is not sequence 0 | `possible_duplicate` true until the state says otherwise |

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

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
    /// Its place in [`Enrich::order`].
    turn: u64,
}

/// The enricher's work on one partition.
#[derive(Debug, Default)]
pub struct Enrich {
    sessions_max: usize,
    sessions: HashMap<[u8; 16], Known>,
    touched: BTreeSet<[u8; 16]>,
    /// Every session by when it was last heard of, the longest silent first.
    order: BTreeMap<u64, [u8; 16]>,
    turns: u64,
    /// Closed sessions, oldest first: forgotten first when there are too many.
    closed: VecDeque<[u8; 16]>,
    /// Sessions forgotten since the last flush, whose state goes with them: no more than have a state.
    forgotten: Vec<[u8; 16]>,
    empty_context: Vec<u8>,
    raw: RawFrame,
    session: Session,
    /// Sequence numbers missing so far, over all sessions.
    pub gaps: u64,
    /// Repeats dropped so far.
    pub repeats: u64,
    /// Records that went on unattributed so far.
    pub unattributed: u64,
    /// Open sessions forgotten at the limit so far.
    pub evicted: u64,
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

    /// Keeps the table within `sessions_max`: closed sessions go first, then the longest silent one.
    ///
    /// A session that speaks again after it was forgotten is unknown: it waits, goes on unattributed, and its first record
    /// says `possible_duplicate`. Nothing is dropped on a guess.
    fn forget(&mut self) {
        while self.sessions.len() > self.sessions_max {
            let id = match self.closed.pop_front() {
                Some(id) if self.sessions.get(&id).is_some_and(|known| known.closed) => id,
                Some(_) => continue,
                None => match self.order.first_key_value() {
                    Some((_, id)) => *id,
                    None => return,
                },
            };
            let Some(gone) = self.sessions.remove(&id) else { return };
            self.order.remove(&gone.turn);
            self.touched.remove(&id);
            self.evicted += u64::from(!gone.closed);
            if gone.last_sequence.is_some() {
                self.forgotten.push(id);
            }
        }
    }

    /// Makes `id` the session heard of last.
    fn heard(&mut self, id: [u8; 16]) -> &mut Known {
        self.turns += 1;
        let known = self.sessions.entry(id).or_default();
        self.order.remove(&known.turn);
        known.turn = self.turns;
        self.order.insert(known.turn, id);
        known
    }
}

impl Transform for Enrich {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let body = self.decode(&input)?;
        let (id, sequence) = (self.raw.session_id.0, self.raw.sequence);
        if self.sessions.get(&id).is_none_or(|known| known.context.is_none() && !known.waited) {
            if !ctx.wait_over {
                return Ok(Verdict::Wait);
            }
            self.heard(id).waited = true;
        }
        let known = self.sessions.entry(id).or_default();
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
        self.unattributed += u64::from(known.context.is_none());
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
        // once per transaction and session, not once per record
        for id in self.touched.clone() {
            self.heard(id);
        }
        self.forget();
        // deletions first: a session forgotten and heard again in one transaction keeps its state
        for id in self.forgotten.drain(..) {
            out.tombstone(STATE, Uuid(id).to_text().as_bytes());
        }
        for id in std::mem::take(&mut self.touched) {
            if let Some(last_sequence) = self.sessions.get(&id).and_then(|known| known.last_sequence) {
                out.record(STATE, Uuid(id).to_text().as_bytes(), &EnricherState { last_sequence });
            }
        }
    }

    fn table(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            // the session record is gone: what still comes is not attributed by what nobody can look up
            if let Some(known) = session_of(key).and_then(|id| self.sessions.get_mut(&id)) {
                known.context = None;
            }
            return;
        };
        // what is no session record attributes nothing: its frames will go on unattributed, and say so
        let Ok((_, body)) = framing::split(value) else { return };
        if self.session.decode(body).is_err() {
            return;
        }
        let mut context = Vec::new();
        self.session.context.put(&mut context);
        let id = self.session.session_id.0;
        self.heard(id).context = Some(context);
        self.forget();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(id) = session_of(key) else { return };
        let state = value
            .and_then(|value| framing::split(value).ok())
            .and_then(|(_, body)| EnricherState::from_body(body).ok());
        match state {
            Some(state) => {
                self.heard(id).last_sequence = Some(state.last_sequence);
                self.forget();
            }
            None => {
                if let Some(gone) = self.sessions.remove(&id) {
                    self.order.remove(&gone.turn);
                }
            }
        }
    }

    fn counters(&self, show: &mut dyn FnMut(&'static str, u64)) {
        show("missing_records", self.gaps);
        show("repeated_records", self.repeats);
        show("unattributed_records", self.unattributed);
        show("evicted_sessions", self.evicted);
    }
}

fn session_of(key: &[u8]) -> Option<[u8; 16]> {
    std::str::from_utf8(key).ok()?.parse::<Uuid>().ok().map(|id| id.0)
}
