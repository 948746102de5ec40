//! Postgres messages, as the facts of the frame describe them; no protocol state.
//!
//! A message that does not parse to its last byte is masked whole with reason `parse`. A chunk of a longer message
//! that is not followed ([`crate::flow`]) is masked whole with reason `chunk`: a pattern cannot see a secret that the
//! edge cuts (I-05).

use schemas::v1::Facts;

use super::{copy, sql, value};
use crate::config::Literals;
use crate::engine::{Engine, Tally, whole};
use crate::reason;

/// What masking needs beside the message.
#[derive(Debug)]
pub struct Scope<'a> {
    /// Patterns.
    pub engine: &'a Engine,
    /// Which string constants.
    pub literals: Literals,
    /// Secret names.
    pub secret: &'a [String],
    /// Values masked earlier in the session; `None` when some may be unknown.
    pub echoes: Option<&'a [Vec<u8>]>,
    /// Where the session's COPY data goes on.
    pub place: copy::Place,
}

/// Shortest value that is looked for in what the server says.
pub const ECHO_BYTES_MIN: usize = 4;

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    fn count(&mut self) -> Option<usize> {
        self.take(2)?.try_into().ok().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    /// `Some(None)` is SQL NULL.
    fn value(&mut self) -> Option<Option<&'a [u8]>> {
        let len = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        match usize::try_from(len) {
            Ok(len) => self.take(len).map(Some),
            Err(_) if len == -1 => Some(None),
            Err(_) => None,
        }
    }
}

fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(value) => {
            out.extend_from_slice(&i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend_from_slice(value);
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

/// The body after masking, and the reason when it is masked whole.
#[must_use]
pub fn mask(
    scope: &Scope<'_>,
    kind: &str,
    partial: bool,
    facts: Option<&Facts>,
    body: &[u8],
    tally: &mut Tally,
) -> (Vec<u8>, &'static str) {
    let patterns = |tally: &mut Tally| scope.engine.mask(body, tally).unwrap_or_else(|| body.to_vec());
    if partial {
        return (whole("whole", body, tally), reason::CHUNK);
    }
    let masked = match kind {
        "Query" => query(scope, body, tally),
        "Parse" => parse(scope, body, tally),
        "Bind" => bind(scope, facts, body, tally),
        "DataRow" => row(scope, facts, body, tally),
        "CopyData" => {
            let (masked, reason) = copy::mask(scope, facts, body, tally);
            return budgeted(masked, reason, body, tally);
        }
        "ErrorResponse" | "NoticeResponse" => error(scope, body, tally),
        "NotificationResponse"
        | "ParameterStatus"
        | "RowDescription"
        | "CommandComplete"
        | "Describe"
        | "Execute"
        | "Close"
        | "CopyFail" => Some(patterns(tally)),
        "Sync"
        | "Flush"
        | "CopyDone"
        | "Terminate"
        | "ReadyForQuery"
        | "ParseComplete"
        | "BindComplete"
        | "CloseComplete"
        | "NoData"
        | "ParameterDescription"
        | "CopyInResponse"
        | "CopyOutResponse"
        | "CopyBothResponse"
        | "EmptyQueryResponse"
        | "PortalSuspended" => Some(patterns(tally)),
        _ => return (whole("whole", body, tally), reason::UNKNOWN_MESSAGE),
    };
    let (masked, reason) = masked.map_or_else(|| (whole("whole", body, tally), reason::PARSE), |masked| (masked, ""));
    budgeted(masked, reason, body, tally)
}

/// Once a text of a message ran out of its budget, all of the message is masked.
fn budgeted(masked: Vec<u8>, reason: &'static str, body: &[u8], tally: &mut Tally) -> (Vec<u8>, &'static str) {
    if tally.exhausted { (whole("budget", body, tally), reason::BUDGET) } else { (masked, reason) }
}

fn statement(scope: &Scope<'_>, text: &[u8], tally: &mut Tally) -> Vec<u8> {
    sql::mask(scope.engine, scope.literals, scope.secret, text, tally).unwrap_or_else(|| text.to_vec())
}

fn query(scope: &Scope<'_>, body: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let text = body.strip_suffix(b"\0")?;
    let mut out = statement(scope, text, tally);
    out.push(0);
    Some(out)
}

fn parse(scope: &Scope<'_>, body: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut cursor = Cursor(body);
    let (name, text) = (cursor.text()?, cursor.text()?);
    let mut out = Vec::with_capacity(body.len());
    put_text(&mut out, &value::mask(scope.engine, false, name, tally));
    put_text(&mut out, &statement(scope, text, tally));
    out.extend_from_slice(cursor.0);
    let count = cursor.count()?;
    (cursor.0.len() == count * 4).then_some(out)
}

fn bind(scope: &Scope<'_>, facts: Option<&Facts>, body: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut cursor = Cursor(body);
    let mut out = Vec::with_capacity(body.len());
    put_text(&mut out, &value::mask(scope.engine, false, cursor.text()?, tally));
    put_text(&mut out, &value::mask(scope.engine, false, cursor.text()?, tally));
    let formats = cursor.count()?;
    out.extend_from_slice(&u16::try_from(formats).ok()?.to_be_bytes());
    out.extend_from_slice(cursor.take(formats * 2)?);
    let count = cursor.count()?;
    out.extend_from_slice(&u16::try_from(count).ok()?.to_be_bytes());
    for at in 0..count {
        let name = facts.and_then(|facts| facts.parameters.get(at)).map_or("", |fact| fact.name.as_str());
        let secret = value::is_secret_name(name, scope.secret);
        let masked = cursor.value()?.map(|bytes| value::mask(scope.engine, secret, bytes, tally));
        put_value(&mut out, masked.as_deref());
    }
    out.extend_from_slice(cursor.0);
    let results = cursor.count()?;
    (cursor.0.len() == results * 2).then_some(out)
}

fn row(scope: &Scope<'_>, facts: Option<&Facts>, body: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut cursor = Cursor(body);
    let count = cursor.count()?;
    let columns = facts.map_or(&[][..], |facts| facts.columns.as_slice());
    let mut out = Vec::with_capacity(body.len());
    out.extend_from_slice(&u16::try_from(count).ok()?.to_be_bytes());
    for at in 0..count {
        let secret = columns.get(at).is_some_and(|column| value::is_secret_name(&column.name, scope.secret));
        let masked = cursor.value()?.map(|bytes| value::mask(scope.engine, secret, bytes, tally));
        put_value(&mut out, masked.as_deref());
    }
    cursor.0.is_empty().then_some(out)
}

fn error(scope: &Scope<'_>, body: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut cursor = Cursor(body);
    let mut out = Vec::with_capacity(body.len());
    loop {
        let code = cursor.take(1)?.first().copied()?;
        out.push(code);
        if code == 0 {
            return cursor.0.is_empty().then_some(out);
        }
        let field = cursor.text()?;
        let masked = match code {
            // Severity, SQLSTATE, positions and places in the server's source.
            b'S' | b'V' | b'C' | b'P' | b'p' | b'F' | b'L' | b'R' => field.to_vec(),
            // Names the server itself gave.
            b's' | b't' | b'c' | b'n' | b'd' => value::mask(scope.engine, false, field, tally),
            // M, D, H, W, q and any other: words of the server that may quote data.
            _ => echoed(scope, field, tally),
        };
        put_text(&mut out, &masked);
    }
}

/// Text of the server that may quote data: message, detail, hint, context, inner query alike.
///
/// Patterns, and every value masked before in the session. Whole when those values are not known (a restart, or
/// more of them than are kept), when it names a secret column beside its value, or when it shows a row.
#[must_use]
pub fn echoed(scope: &Scope<'_>, text: &[u8], tally: &mut Tally) -> Vec<u8> {
    let named = memchr::memmem::find(text, b")=(").is_some() && is_secret_text(text, scope.secret)
        || memchr::memmem::find(text, b"row contains").is_some();
    let Some(echoes) = scope.echoes.filter(|_| !named) else { return whole("whole", text, tally) };
    let mut out = text.to_vec();
    for echo in echoes.iter().filter(|echo| echo.len() >= ECHO_BYTES_MIN) {
        out = replace(&out, echo, tally);
    }
    scope.engine.mask(&out, tally).unwrap_or(out)
}

fn is_secret_text(text: &[u8], secret: &[String]) -> bool {
    value::is_secret_name(&String::from_utf8_lossy(text), secret)
}

fn replace(text: &[u8], echo: &[u8], tally: &mut Tally) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in memchr::memmem::find_iter(text, echo) {
        out.extend_from_slice(text.get(at..found).unwrap_or_default());
        out.extend_from_slice(&whole("echo", echo, tally));
        at = found + echo.len();
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}
