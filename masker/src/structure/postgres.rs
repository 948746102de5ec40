//! Postgres messages, as the facts of the frame describe them; no protocol state.
//!
//! A message that does not parse to its last byte is masked whole with reason `parse`. A chunk of a longer
//! message, of any type, is masked whole with reason `chunk`: a pattern cannot see a secret that the edge cuts,
//! and no state is kept from one chunk to the next (I-05).

use schemas::v1::Facts;

use super::{sql, value};
use crate::config::Literals;
use crate::engine::{Engine, Tally, whole};

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
        return (whole("whole", body, tally), "chunk");
    }
    let masked = match kind {
        "Query" => query(scope, body, tally),
        "Parse" => parse(scope, body, tally),
        "Bind" => bind(scope, facts, body, tally),
        "DataRow" => row(scope, facts, body, tally),
        "CopyData" => return copy(scope, partial, facts, body, tally),
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
        _ => return (whole("whole", body, tally), "unknown_message"),
    };
    masked.map_or_else(|| (whole("whole", body, tally), "parse"), |masked| (masked, ""))
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

/// COPY data: cut at arbitrary places, so a secret-named column is masked field by field only in whole lines.
fn copy(
    scope: &Scope<'_>,
    partial: bool,
    facts: Option<&Facts>,
    body: &[u8],
    tally: &mut Tally,
) -> (Vec<u8>, &'static str) {
    let columns = facts.map_or(&[][..], |facts| facts.columns.as_slice());
    let secret: Vec<bool> = columns.iter().map(|column| value::is_secret_name(&column.name, scope.secret)).collect();
    let format = facts.map_or("", |facts| facts.copy_format.as_str());
    if !secret.contains(&true) {
        if partial || (format != "binary" && !body.ends_with(b"\n")) {
            return (whole("whole", body, tally), "copy_boundary");
        }
        return (scope.engine.mask(body, tally).unwrap_or_else(|| body.to_vec()), "");
    }
    if partial || format != "text" || !body.ends_with(b"\n") {
        return (whole("whole", body, tally), "copy_boundary");
    }
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
        if fields.len() != columns.len() && line != b"\\." {
            out.extend_from_slice(&whole("whole", line, tally));
        } else {
            for (at, field) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b'\t');
                }
                let hidden = secret.get(at) == Some(&true) && *field != b"\\N";
                out.extend_from_slice(&value::mask(scope.engine, hidden, field, tally));
            }
        }
        out.push(b'\n');
    }
    (out, "")
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
            // D: row and key values; q: a statement of the server's own functions; W: quoted data.
            b'D' | b'q' | b'W' => detail(scope, field, tally),
            _ => message(scope, field, tally),
        };
        put_text(&mut out, &masked);
    }
}

/// Text that quotes data: whole when the session's masked values are not known, or when it names a secret column.
#[must_use]
pub fn detail(scope: &Scope<'_>, text: &[u8], tally: &mut Tally) -> Vec<u8> {
    let named = memchr::memmem::find(text, b")=(").is_some() && is_secret_text(text, scope.secret)
        || memchr::memmem::find(text, b"row contains").is_some();
    if scope.echoes.is_none() || named {
        return whole("whole", text, tally);
    }
    message(scope, text, tally)
}

fn is_secret_text(text: &[u8], secret: &[String]) -> bool {
    value::is_secret_name(&String::from_utf8_lossy(text), secret)
}

/// Text of the server: patterns, and every value masked before in the session.
#[must_use]
pub fn message(scope: &Scope<'_>, text: &[u8], tally: &mut Tally) -> Vec<u8> {
    let mut out = text.to_vec();
    match scope.echoes {
        None => out = quoted(&out, tally),
        Some(echoes) => {
            for echo in echoes.iter().filter(|echo| echo.len() >= ECHO_BYTES_MIN) {
                out = replace(&out, echo, tally);
            }
        }
    }
    scope.engine.mask(&out, tally).unwrap_or(out)
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

/// Everything from the first quote to the last.
fn quoted(text: &[u8], tally: &mut Tally) -> Vec<u8> {
    let quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'(');
    let (Some(first), Some(last)) =
        (text.iter().position(quote), text.iter().rposition(|byte| quote(byte) || *byte == b')'))
    else {
        return text.to_vec();
    };
    let mut out = text.get(..=first).unwrap_or_default().to_vec();
    let inside = text.get(first + 1..last.max(first + 1)).unwrap_or_default();
    out.extend_from_slice(&whole("quoted", inside, tally));
    out.extend_from_slice(text.get(last.max(first + 1)..).unwrap_or_default());
    out
}
