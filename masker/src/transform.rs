//! One enriched frame to one frame or one event. Pure: no clock, no random, no I/O (I-12).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use schemas::v1::{
    Attribution, CommandContent, EnrichedFrame, Event, EventParameter, Facts, FrameKind, PayloadState, Protocol,
    RawFrame, SessionContent,
};
use schemas::{Record, framing};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};

use crate::config::{Literals, MaskerConfig};
use crate::decrypt::{Keys, MaskerKey, SESSIONS_MAX};
use crate::engine::{Engine, Tally, whole};
use crate::head::{event_head, frame_head};
use crate::metrics::Counters;
use crate::reason;
use crate::structure::copy::{self, Place};
use crate::structure::postgres::{self, ECHO_BYTES_MIN, Scope};
use crate::structure::{sql, value};

/// Output slot of `audit.frames`.
pub const FRAMES: usize = 0;
/// Output slot of `audit.events`.
pub const EVENTS: usize = 1;
/// Masked values kept per session for the echo of the server.
pub const ECHOES_MAX: usize = 64;
/// Longest value kept.
pub const ECHO_BYTES_MAX: usize = 1024;

/// Fewest bytes masked at the end of a truncated statement: longer than any number with separators.
const CUT_BYTES: usize = 64;

struct Shared {
    key: MaskerKey,
    engine: Engine,
    literals: Literals,
    secret: Vec<String>,
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
        let engine = Engine::with(&config.disabled_rules, pseudonym, config.pseudonym_epoch, &config.secret_columns);
        Self(Arc::new(Shared { key, engine, literals: config.literals, secret: config.secret_columns.clone() }))
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
            input: EnrichedFrame::default(),
            counters: Counters::default(),
        }
    }
}

/// What is known of a session.
#[derive(Default)]
struct Known {
    /// Values masked in it; dropped whole, and so unknown, when there are too many.
    echoes: Option<Vec<Vec<u8>>>,
    /// Where its next COPY data begins.
    place: Place,
    /// Sequence of its next record.
    next: i64,
}

impl Known {
    /// A record that never came may have held values, and the end or the beginning of a row.
    fn follow(&mut self, sequence: i64) {
        if sequence != self.next {
            (self.echoes, self.place) = (None, Place::default());
        }
        self.next = sequence.saturating_add(1);
    }
}

/// The masker of one partition.
pub struct Masker {
    shared: Arc<Shared>,
    keys: Keys,
    sessions: HashMap<[u8; 16], Known>,
    order: VecDeque<[u8; 16]>,
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
            }
        }
    }

    fn closed(&mut self, session: &[u8; 16]) {
        self.keys.forget(session);
        if self.sessions.remove(session).is_some() {
            self.order.retain(|known| known != session);
        }
    }

    /// Keeps what was masked; a session with more than fits counts as unknown from then on.
    fn remember(&mut self, session: &[u8; 16], values: Vec<Vec<u8>>) {
        let Some(known) = self.sessions.get_mut(session) else { return };
        let Some(echoes) = known.echoes.as_mut() else { return };
        let mut fits = true;
        for value in values {
            if value.len() < ECHO_BYTES_MIN || echoes.contains(&value) {
                continue;
            }
            fits &= value.len() <= ECHO_BYTES_MAX && echoes.len() < ECHOES_MAX;
            if fits {
                if let Some(plain) = unescaped(&value) {
                    echoes.push(plain);
                }
                echoes.push(value);
            }
        }
        if !fits {
            known.echoes = None;
        }
    }

    /// Follows COPY data: where it starts, a row starts; after it, the next message may start inside one.
    /// `read`: the content could be opened.
    fn follow_copy(&mut self, raw: &RawFrame, read: bool, content: &[u8]) {
        match raw.message_type.as_str() {
            "CopyInResponse" | "CopyOutResponse" => match self.sessions.get_mut(&raw.session_id.0) {
                Some(known) => known.place = Place::START,
                None => self.learn(
                    raw.session_id.0,
                    Known { place: Place::START, next: raw.sequence.saturating_add(1), ..Known::default() },
                ),
            },
            "CopyData" => {
                if let Some(known) = self.sessions.get_mut(&raw.session_id.0) {
                    known.place = copy::after(known.place, raw.facts.as_ref(), read, content);
                }
            }
            _ => {}
        }
    }

    fn frame(&mut self, input: &EnrichedFrame, out: &mut Out) {
        let raw = &input.raw;
        let mut frame = frame_head(input);
        let mut tally = Tally::default();
        (frame.payload, frame.mask_reason) = match self.open(input) {
            Err(reason) => {
                self.follow_copy(raw, false, &[]);
                (Vec::new(), reason.to_owned())
            }
            Ok(content) if content.is_empty() => (Vec::new(), String::new()),
            Ok(content) => {
                let shared = Arc::clone(&self.shared);
                let (body, reason) = if raw.protocol == Protocol::Postgres {
                    let partial = raw.chunk > 0 || !raw.last;
                    let scope = scope(&shared, self.sessions.get(&raw.session_id.0));
                    postgres::mask(&scope, &raw.message_type, partial, raw.facts.as_ref(), &content, &mut tally)
                } else {
                    (whole("whole", &content, &mut tally), reason::PROTOCOL)
                };
                self.follow_copy(raw, true, &content);
                (body, reason.to_owned())
            }
        };
        let credential = raw.facts.as_ref().is_some_and(|facts| facts.reason_code == reason::CREDENTIAL);
        frame.payload_state = if raw.payload.is_empty() && credential {
            frame.mask_reason = reason::CREDENTIAL.to_owned();
            PayloadState::Dropped
        } else {
            state(raw, &frame.mask_reason, &tally)
        };
        frame.mask_rules = rules(&tally);
        frame.masked_bytes = masked_bytes(raw, &frame.mask_reason, &tally);
        self.count(frame.payload_state, frame.masked_bytes);
        self.counters.frames += 1;
        self.remember(&raw.session_id.0, tally.values);
        out.record(FRAMES, raw.session_id.to_text().as_bytes(), &frame);
    }

    fn event(&mut self, input: &EnrichedFrame, out: &mut Out) {
        let raw = &input.raw;
        let mut event = event_head(input);
        let mut tally = Tally::default();
        let shared = Arc::clone(&self.shared);
        event.application = masked_text(&shared.engine, input.context.application.as_bytes(), &mut tally);
        let mut reason = "";
        match self.open(input) {
            Err(code) => reason = code,
            Ok(content) if content.is_empty() => {}
            Ok(content) if raw.kind == FrameKind::Command => match CommandContent::from_body(&content) {
                Ok(command) => {
                    let values = command_content(&shared, raw.facts.as_ref(), &command, &mut event, &mut tally);
                    self.remember(&raw.session_id.0, values);
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
        event.masked_bytes = masked_bytes(raw, reason, &tally);
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
            let known = Known { echoes: Some(Vec::new()), ..Known::default() };
            self.learn(frame.raw.session_id.0, known);
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
        self.input = frame;
        Ok(Verdict::Done)
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
        echoes: known.and_then(|known| known.echoes.as_deref()),
        place: known.map_or_else(Place::default, |known| known.place),
    }
}

/// The value behind doubled quotes and backslash escapes, as the server would echo it.
fn unescaped(value: &[u8]) -> Option<Vec<u8>> {
    if !value.contains(&b'\\') && memchr::memmem::find(value, b"''").is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek().copied()) {
            (b'\'', Some(b'\'')) => {
                bytes.next();
                out.push(b'\'');
            }
            (b'\\', Some(next)) if !next.is_ascii_alphanumeric() => {
                bytes.next();
                out.push(next);
            }
            _ => out.push(byte),
        }
    }
    Some(out)
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

fn masked_bytes(raw: &RawFrame, reason: &str, tally: &Tally) -> i64 {
    let unopened = tally.bytes == 0 && !reason.is_empty();
    let hidden = if unopened { raw.payload.len().saturating_sub(schemas::payload::TAG_LEN) } else { tally.bytes };
    i64::try_from(hidden).unwrap_or(i64::MAX)
}

/// Fills statement and parameters; gives the values masked in them.
fn command_content(
    shared: &Shared,
    facts: Option<&Facts>,
    command: &CommandContent,
    event: &mut Event,
    tally: &mut Tally,
) -> Vec<Vec<u8>> {
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
    std::mem::take(&mut tally.values)
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
