//! One enriched frame to one frame or one event. Pure: no clock, no random, no I/O (I-12).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use schemas::v1::{
    Attribution, CommandContent, EnrichedFrame, Event, EventParameter, Facts, FrameKind, MaskerState, PayloadState,
    Protocol, RawFrame, SessionContent, Uuid,
};
use schemas::{Record, framing};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};

use crate::config::{Literals, MaskerConfig};
use crate::decrypt::{Keys, MaskerKey, SESSIONS_MAX, StateKey};
use crate::engine::{Engine, Tally, whole};
use crate::flow::Guide;
use crate::head::{event_head, frame_head};
use crate::metrics::Counters;
use crate::reason;
use crate::session::{Known, ROW_HELD_MAX};
use crate::structure::copy::{self, Place};
use crate::structure::postgres::{self, Scope};
use crate::structure::{sql, value};

/// Output slot of `audit.frames`.
pub const FRAMES: usize = 0;
/// Output slot of `audit.events`.
pub const EVENTS: usize = 1;
/// Output slot of `audit.masker.state`.
pub const STATE: usize = 2;

/// Fewest bytes masked at the end of a truncated statement: longer than any number with separators.
const CUT_BYTES: usize = 64;

struct Shared {
    key: MaskerKey,
    engine: Engine,
    literals: Literals,
    secret: Vec<String>,
    state: Option<StateKey>,
}

/// Makes one [`Masker`] per partition; the key and the rules are shared.
pub struct MaskerFactory(Arc<Shared>);

impl std::fmt::Debug for MaskerFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskerFactory")
    }
}

impl MaskerFactory {
    /// Compiles the rules; `pseudonym` is the HMAC key of pseudonyms.
    #[must_use]
    pub fn new(key: MaskerKey, pseudonym: &[u8], config: &MaskerConfig) -> Self {
        let engine = Engine::configured(config, pseudonym).unwrap_or_else(|_| Engine::masking_all());
        let state = StateKey::of(&key);
        Self(Arc::new(Shared { key, engine, literals: config.literals, secret: config.secret_columns.clone(), state }))
    }
}

impl Factory for MaskerFactory {
    type Transform = Masker;

    fn make(&self, _partition: i32) -> Masker {
        Masker {
            shared: Arc::clone(&self.0),
            keys: Keys::default(),
            sessions: HashMap::new(),
            order: VecDeque::new(),
            touched: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            input: EnrichedFrame::default(),
            counters: Counters::default(),
        }
    }
}

/// The masker of one partition.
pub struct Masker {
    shared: Arc<Shared>,
    keys: Keys,
    sessions: HashMap<[u8; 16], Known>,
    order: VecDeque<[u8; 16]>,
    /// Sessions whose state changed since the last flush, and those that have none any more.
    touched: BTreeSet<[u8; 16]>,
    forgotten: BTreeSet<[u8; 16]>,
    input: EnrichedFrame,
    counters: Counters,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Masker {
    fn open(&mut self, input: &EnrichedFrame) -> Result<Vec<u8>, &'static str> {
        let raw = &input.raw;
        if raw.payload.is_empty() {
            return Ok(Vec::new());
        }
        if input.attribution != Attribution::Attributed {
            return Err(reason::UNATTRIBUTED);
        }
        let key = self.keys.get(&self.shared.key, &raw.session_id.0, &input.context.wrapped_key);
        let opened = key.and_then(|key| key.open(&raw.session_id.0, raw.sequence, raw.kind.index(), &raw.payload));
        opened.map_err(crate::decrypt::DecryptError::kind)
    }

    /// Starts, or starts anew, what is known of a session.
    fn learn(&mut self, session: [u8; 16], known: Known) {
        if self.sessions.insert(session, known).is_none() {
            self.order.push_back(session);
        }
        while self.order.len() > SESSIONS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.sessions.remove(&oldest);
                self.forgotten.insert(oldest);
            }
        }
    }

    fn closed(&mut self, session: &[u8; 16]) {
        self.keys.forget(session);
        if self.sessions.remove(session).is_some() {
            self.order.retain(|known| known != session);
            self.forgotten.insert(*session);
        }
    }

    /// What the record has to do with the session before its content is read.
    fn enter(&mut self, raw: &RawFrame, tally: &mut Tally) {
        if matches!(raw.message_type.as_str(), "CopyInResponse" | "CopyOutResponse")
            && !self.sessions.contains_key(&raw.session_id.0)
        {
            self.learn(raw.session_id.0, Known::new(false, raw.sequence.saturating_add(1)));
        }
        let Some(known) = self.sessions.get_mut(&raw.session_id.0) else { return };
        let ends = raw.kind != FrameKind::Message
            || !matches!(
                raw.message_type.as_str(),
                "CopyData" | "NoticeResponse" | "NotificationResponse" | "ParameterStatus" | "Flush" | "Sync"
            );
        // A command record stands behind its messages and ends nothing but by what it says.
        if ends && raw.kind != FrameKind::Command {
            known.drop_row();
        }
        known.settle(tally);
        if !known.echoes.is_empty() {
            tally.known = Some(Arc::clone(&known.echoes));
        }
    }

    fn frame(&mut self, input: &EnrichedFrame, out: &mut Out) {
        let raw = &input.raw;
        let mut frame = frame_head(input);
        let mut tally = Tally::default();
        self.enter(raw, &mut tally);
        let mut dropped = tally.bytes;
        (frame.payload, frame.mask_reason) = match self.open(input) {
            Err(reason) => {
                if let Some(known) = self.sessions.get_mut(&raw.session_id.0) {
                    known.unread(raw);
                }
                (Vec::new(), reason.to_owned())
            }
            Ok(content) if content.is_empty() => (Vec::new(), String::new()),
            Ok(content) if raw.protocol == Protocol::Postgres => {
                let shared = Arc::clone(&self.shared);
                let (body, reason) =
                    message(&shared, self.sessions.get_mut(&raw.session_id.0), raw, content, &mut tally);
                (body, reason.to_owned())
            }
            Ok(content) => (whole("whole", &content, &mut tally), reason::PROTOCOL.to_owned()),
        };
        if let Some(known) = self.sessions.get_mut(&raw.session_id.0) {
            let before = tally.bytes;
            known.settle(&mut tally);
            dropped += tally.bytes - before;
        }
        let credential = raw.facts.as_ref().is_some_and(|facts| facts.reason_code == reason::CREDENTIAL);
        frame.payload_state = if raw.payload.is_empty() && credential {
            frame.mask_reason = reason::CREDENTIAL.to_owned();
            PayloadState::Dropped
        } else {
            state(raw, &frame.mask_reason, &tally)
        };
        frame.mask_rules = rules(&tally);
        frame.masked_bytes = masked_bytes(raw, &frame.mask_reason, &tally, dropped);
        self.count(frame.payload_state, frame.masked_bytes);
        self.counters.frames += 1;
        if let Some(known) = self.sessions.get_mut(&raw.session_id.0) {
            known.remember(&mut tally);
        }
        out.record(FRAMES, raw.session_id.to_text().as_bytes(), &frame);
    }

    fn event(&mut self, input: &EnrichedFrame, out: &mut Out) {
        let raw = &input.raw;
        let mut event = event_head(input);
        let mut tally = Tally::default();
        self.enter(raw, &mut tally);
        let dropped = tally.bytes;
        let shared = Arc::clone(&self.shared);
        event.application = masked_text(&shared.engine, input.context.application.as_bytes(), &mut tally);
        let mut reason = "";
        match self.open(input) {
            Err(code) => reason = code,
            Ok(content) if content.is_empty() => {}
            Ok(content) if raw.kind == FrameKind::Command => match CommandContent::from_body(&content) {
                Ok(command) => {
                    command_content(&shared, raw.facts.as_ref(), &command, &mut event, &mut tally);
                    if let Some(known) = self.sessions.get_mut(&raw.session_id.0) {
                        known.remember(&mut tally);
                    }
                    let scope = scope(&shared, self.sessions.get(&raw.session_id.0));
                    event.error_message = error_text(&scope, &command, &mut tally);
                }
                Err(_) => reason = reason::CONTENT,
            },
            Ok(content) => match SessionContent::from_body(&content) {
                Ok(session) => event.reason = masked_text(&shared.engine, session.reason.as_bytes(), &mut tally),
                Err(_) => reason = reason::CONTENT,
            },
        }
        if tally.exhausted && reason.is_empty() {
            reason = reason::BUDGET;
            hide(&mut event);
        }
        event.payload_state = state(raw, reason, &tally);
        event.mask_reason = reason.to_owned();
        event.mask_rules = rules(&tally);
        event.masked_bytes = masked_bytes(raw, reason, &tally, dropped);
        self.count(event.payload_state, event.masked_bytes);
        self.counters.events += 1;
        out.record(EVENTS, raw.session_id.to_text().as_bytes(), &event);
    }

    fn count(&mut self, state: PayloadState, masked: i64) {
        self.counters.masked_whole += u64::from(state == PayloadState::MaskedWhole);
        self.counters.masked_bytes += u64::try_from(masked).unwrap_or(0);
    }
}

impl Transform for Masker {
    fn apply(&mut self, _ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let value = input.value.ok_or_else(|| Rejection::new("M-001", "no value"))?;
        let (_, body) = framing::split(value).map_err(|error| Rejection::new("M-001", error.to_string()))?;
        let mut frame = std::mem::take(&mut self.input);
        frame.decode(body).map_err(|error| Rejection::new("M-002", error.to_string()))?;
        if frame.raw.kind == FrameKind::SessionOpened && frame.raw.sequence == 0 {
            self.learn(frame.raw.session_id.0, Known::new(true, 0));
        }
        if let Some(known) = self.sessions.get_mut(&frame.raw.session_id.0) {
            known.follow(frame.raw.sequence);
        }
        if frame.raw.kind == FrameKind::Message {
            self.frame(&frame, out);
        } else {
            self.event(&frame, out);
        }
        if matches!(frame.raw.kind, FrameKind::SessionClosed | FrameKind::SessionRefused) {
            self.closed(&frame.raw.session_id.0);
        }
        self.touched.insert(frame.raw.session_id.0);
        self.input = frame;
        Ok(Verdict::Done)
    }

    /// Once per transaction and session: what the next one must know.
    fn flush(&mut self, _ctx: &Context, out: &mut Out) {
        // Deletions first: a session forgotten and heard again in one transaction keeps its state.
        for id in std::mem::take(&mut self.forgotten) {
            out.tombstone(STATE, Uuid(id).to_text().as_bytes());
        }
        for id in std::mem::take(&mut self.touched) {
            let (Some(known), Some(key)) = (self.sessions.get(&id), &self.shared.state) else { continue };
            let last_sequence = known.next.saturating_sub(1);
            let sealed = key.seal(&id, last_sequence, &known.save());
            let state = MaskerState { last_sequence, key_id: key.id().to_owned(), sealed };
            out.record(STATE, Uuid(id).to_text().as_bytes(), &state);
        }
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(id) = std::str::from_utf8(key).ok().and_then(|text| text.parse::<Uuid>().ok()) else { return };
        let state =
            value.and_then(|value| framing::split(value).ok()).and_then(|(_, body)| MaskerState::from_body(body).ok());
        match state {
            Some(state) => {
                let own = self.shared.state.as_ref();
                let clear = own.and_then(|own| own.open(&id.0, state.last_sequence, &state.sealed));
                let next = state.last_sequence.saturating_add(1);
                self.learn(id.0, Known::load(clear.as_ref().map(|clear| clear.as_slice()), next));
            }
            None => self.closed(&id.0),
        }
        // What was read is written already.
        self.forgotten.clear();
    }

    fn counters(&self, show: &mut dyn FnMut(&'static str, u64)) {
        let Counters { frames, events, masked_whole, masked_bytes } = self.counters;
        show("frame_records", frames);
        show("event_records", events);
        show("masked_whole_records", masked_whole);
        show("masked_bytes", masked_bytes);
    }
}

fn scope<'a>(shared: &'a Shared, known: Option<&'a Known>) -> Scope<'a> {
    Scope {
        engine: &shared.engine,
        literals: shared.literals,
        secret: &shared.secret,
        echoes: known.and_then(|known| known.echoes.all()),
        place: known.map_or_else(Place::default, |known| known.place),
    }
}

/// A message's content after masking, and the reason when it is masked whole.
fn message(
    shared: &Shared,
    mut known: Option<&mut Known>,
    raw: &RawFrame,
    content: Vec<u8>,
    tally: &mut Tally,
) -> (Vec<u8>, &'static str) {
    let facts = raw.facts.as_ref();
    let kind = raw.message_type.as_str();
    if let Some(known) = known.as_deref_mut() {
        match kind {
            "CopyInResponse" | "CopyOutResponse" => known.place = Place::START,
            "CopyData" => return copy_data(shared, known, facts, content, tally),
            _ if raw.chunk > 0 || !raw.last => {
                let guide = Guide { engine: &shared.engine, secret: &shared.secret, facts };
                if let Some((body, fits)) = known.chunk(guide, raw, &content, tally) {
                    return (body, if fits { "" } else { reason::PARSE });
                }
            }
            _ => {}
        }
    }
    let partial = raw.chunk > 0 || !raw.last;
    postgres::mask(&scope(shared, known.as_deref()), kind, partial, facts, &content, tally)
}

/// COPY data goes out by whole rows: the beginning of one whose end has not come waits for the next message.
fn copy_data(
    shared: &Shared,
    known: &mut Known,
    facts: Option<&Facts>,
    content: Vec<u8>,
    tally: &mut Tally,
) -> (Vec<u8>, &'static str) {
    let mut body = std::mem::take(&mut known.row);
    if body.is_empty() {
        body = content;
    } else {
        tally.rules.insert("carried");
        body.extend_from_slice(&content);
    }
    let end = copy::last_row_end(known.place, facts, &body).filter(|end| body.len() - end <= ROW_HELD_MAX);
    if let Some(end) = end.filter(|end| *end < body.len()) {
        known.row = body.split_off(end);
        tally.rules.insert("held");
    }
    if body.is_empty() {
        return (body, "");
    }
    let masked = postgres::mask(&scope(shared, Some(known)), "CopyData", false, facts, &body, tally);
    known.place = copy::after(known.place, facts, true, &body);
    masked
}

/// Hides every text of an event one of whose texts could not be searched to its end.
fn hide(event: &mut Event) {
    let whole = |text: &mut String| *text = crate::engine::placeholder("budget", text.len());
    event.parameters.iter_mut().filter_map(|parameter| parameter.value.as_mut()).for_each(whole);
    [&mut event.application, &mut event.reason].into_iter().filter(|text| !text.is_empty()).for_each(whole);
    event.statement.iter_mut().chain(event.error_message.iter_mut()).for_each(whole);
}

fn masked_text(engine: &Engine, text: &[u8], tally: &mut Tally) -> String {
    let masked = engine.mask(text, tally);
    String::from_utf8_lossy(masked.as_deref().unwrap_or(text)).into_owned()
}

fn state(raw: &RawFrame, reason: &str, tally: &Tally) -> PayloadState {
    if raw.payload.is_empty() && tally.rules.is_empty() {
        PayloadState::Empty
    } else if !reason.is_empty() {
        PayloadState::MaskedWhole
    } else if tally.rules.is_empty() {
        PayloadState::Clear
    } else {
        PayloadState::Masked
    }
}

fn rules(tally: &Tally) -> Vec<String> {
    tally.rules.iter().map(|rule| (*rule).to_owned()).collect()
}

/// `dropped`: bytes of earlier records among those counted.
fn masked_bytes(raw: &RawFrame, reason: &str, tally: &Tally, dropped: usize) -> i64 {
    let unopened = tally.bytes == dropped && !reason.is_empty();
    let own = if unopened { raw.payload.len().saturating_sub(schemas::payload::TAG_LEN) } else { 0 };
    let hidden = tally.bytes + own;
    i64::try_from(hidden).unwrap_or(i64::MAX)
}

/// Fills statement and parameters.
fn command_content(
    shared: &Shared,
    facts: Option<&Facts>,
    command: &CommandContent,
    event: &mut Event,
    tally: &mut Tally,
) {
    let kept = i64::try_from(command.statement.len()).unwrap_or(i64::MAX);
    event.statement_truncated = command.statement_bytes > kept;
    event.statement_bytes = command.statement_bytes;
    let (head, tail) = if event.statement_truncated {
        cut(&command.statement)
    } else {
        (command.statement.as_slice(), b"".as_slice())
    };
    let masked = sql::mask(&shared.engine, shared.literals, &shared.secret, head, tally);
    let mut text = String::from_utf8_lossy(masked.as_deref().unwrap_or(head)).into_owned();
    text.push_str(&String::from_utf8_lossy(&whole("whole", tail, tally)));
    event.statement = Some(text);
    for (at, bound) in command.parameters.iter().enumerate() {
        let fact = facts.and_then(|facts| facts.parameters.get(at));
        let name = fact.map_or("", |fact| fact.name.as_str());
        let secret = value::is_secret_name(name, &shared.secret);
        let text = bound.value.as_deref().map(|bytes| {
            let decoded = value::text(bound.type_oid, bound.format, bytes);
            if secret {
                tally.values.push(bytes.to_vec());
            }
            // Patterns see the bytes as well: hex of unknown binary would hide a secret from them.
            let hit = !secret && shared.engine.mask(bytes, &mut Tally::default()).is_some();
            let opaque = hit && shared.engine.mask(decoded.as_bytes(), &mut Tally::default()).is_none();
            let masked = value::mask(&shared.engine, secret || opaque, decoded.as_bytes(), tally);
            String::from_utf8_lossy(&masked).into_owned()
        });
        event.parameters.push(EventParameter { name: name.to_owned(), type_oid: bound.type_oid, value: text });
    }
}

/// The last words of a truncated statement set apart: what the cut left of a secret would match no pattern.
fn cut(statement: &[u8]) -> (&[u8], &[u8]) {
    let before = statement.get(..statement.len().saturating_sub(CUT_BYTES)).unwrap_or_default();
    let word = before.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
    statement.split_at_checked(word).unwrap_or((b"", statement))
}

fn error_text(scope: &Scope<'_>, command: &CommandContent, tally: &mut Tally) -> Option<String> {
    if command.error_message.is_empty() && command.error_detail.is_empty() {
        return None;
    }
    let mut text = postgres::echoed(scope, &command.error_message, tally);
    if !command.error_detail.is_empty() {
        text.push(b'\n');
        text.extend_from_slice(&postgres::echoed(scope, &command.error_detail, tally));
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}
