//! COPY data: each field by the name of its column, as far as rows can be told apart.
//!
//! CopyData messages may be cut anywhere, psql cuts at about 8 KiB. Rows that lie whole in a message are masked by
//! field; the parts of rows at its beginning and end are masked whole, because what is left of a value cut in two
//! would match no pattern (I-05). Which bytes are which follows from where the message before left off ([`Place`]);
//! while that is not known, messages are masked whole. Source: PostgreSQL documentation, "COPY", file formats; the
//! default delimiter, quote and escape are taken, because the facts name no others: data with others does not have
//! the columns' number of fields, and its rows are masked whole.

use std::borrow::Cow;

use schemas::v1::Facts;

use super::postgres::Scope;
use super::value;
use crate::engine::{Tally, whole};
use crate::reason;

/// Longest label of a PEM line that is looked at.
const LABEL_MAX: usize = 64;

/// Where in the rows the next byte of COPY data stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum At {
    /// Nobody knows; the masker was started inside the COPY, or the data is not of the format.
    #[default]
    Unknown,
    /// At the beginning of a row.
    Row,
    /// At the beginning of another field (csv).
    Field,
    /// Inside a row, outside quotes.
    Plain,
    /// After a backslash (text).
    Escape,
    /// Inside quotes (csv).
    Quoted,
    /// After a quote inside quotes, which ends them or is doubled (csv).
    Quote,
    /// After a carriage return (csv).
    Return,
}

impl At {
    /// What `byte` leads to in the text format.
    fn text(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Escape, _) => Self::Plain,
            (_, b'\\') => Self::Escape,
            (_, b'\n') => Self::Row,
            _ => Self::Plain,
        }
    }

    /// The same in the CSV format; `Unknown` for what no row holds.
    fn csv(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Unknown, _) => Self::Unknown,
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Quoted, _) | (Self::Row | Self::Field | Self::Quote, b'"') => Self::Quoted,
            (_, b'\n') => Self::Row,
            (Self::Return, _) | (Self::Plain, b'"') => Self::Unknown,
            (_, b',') => Self::Field,
            (_, b'\r') => Self::Return,
            (Self::Quote, _) => Self::Unknown,
            _ => Self::Plain,
        }
    }
}

/// What a session's COPY data so far says of its next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Where it begins.
    pub at: At,
    /// It may begin inside a private key of several rows.
    pub key: bool,
}

impl Place {
    /// Where COPY data begins.
    pub const START: Self = Self { at: At::Row, key: false };
}

/// The rows of one message.
struct Rows {
    /// End of what is left of a row that began before.
    head: usize,
    /// Beginning of a row that ends later.
    tail: usize,
    /// Where the message ends.
    at: At,
}

fn rows(begin: At, csv: bool, body: &[u8]) -> Rows {
    let (mut at, mut first, mut last) = (begin, None, None);
    for (place, &byte) in body.iter().enumerate() {
        at = if csv { at.csv(byte) } else { at.text(byte) };
        if at == At::Row {
            first.get_or_insert(place + 1);
            last = Some(place + 1);
        }
    }
    let head = if begin == At::Row { 0 } else { first.unwrap_or(body.len()) };
    Rows { head, tail: last.unwrap_or(0).max(head), at }
}

/// Where the last row that ends in `body` ends; `None` when that is not known, or a private key may be open.
#[must_use]
pub fn last_row_end(place: Place, facts: Option<&Facts>, body: &[u8]) -> Option<usize> {
    let csv = match facts.map_or("", |facts| facts.copy_format.as_str()) {
        "text" => false,
        "csv" => true,
        _ => return None,
    };
    let rows = rows(place.at, csv, body);
    (place.at != At::Unknown && rows.at != At::Unknown && !place.key).then_some(rows.tail)
}

/// True when columns have no names: patterns are all there is.
fn unnamed(facts: Option<&Facts>) -> bool {
    facts.is_none_or(|facts| facts.columns.iter().all(|column| column.name.is_empty()))
}

/// Bytes of a CopyData message after masking, and the reason when it is masked whole.
#[must_use]
pub fn mask(scope: &Scope<'_>, facts: Option<&Facts>, body: &[u8], tally: &mut Tally) -> (Vec<u8>, &'static str) {
    let csv_format = match facts.map_or("", |facts| facts.copy_format.as_str()) {
        "text" => false,
        "csv" => true,
        "binary" => return (whole("whole", body, tally), reason::COPY_BINARY),
        _ => return (whole("whole", body, tally), reason::COPY_ROW),
    };
    if scope.place.at == At::Unknown || scope.place.key {
        return (whole("whole", body, tally), reason::COPY_BOUNDARY);
    }
    let rows = rows(scope.place.at, csv_format, body);
    if rows.at == At::Unknown {
        return (whole("whole", body, tally), reason::COPY_ROW);
    }
    let (head, rest) = body.split_at_checked(rows.head).unwrap_or((body, b""));
    let (middle, tail) = rest.split_at_checked(rows.tail - rows.head).unwrap_or((b"", rest));
    let unnamed = unnamed(facts);
    // What follows a torn first line of a private key is the key.
    if middle.is_empty() || unnamed && memchr::memmem::find(head, b"PRIVATE KEY").is_some() {
        return (whole("whole", body, tally), reason::COPY_BOUNDARY);
    }
    let columns = facts.map_or(&[][..], |facts| facts.columns.as_slice());
    let secret: Vec<bool> = columns.iter().map(|column| value::is_secret_name(&column.name, scope.secret)).collect();
    let masked = if unnamed {
        // Over all rows, so that a key of many lines is one match.
        Some(scope.engine.mask(middle, tally).unwrap_or_else(|| middle.to_vec()))
    } else if csv_format {
        csv(scope, &secret, middle, tally)
    } else {
        Some(text(scope, &secret, middle, tally))
    };
    let Some(masked) = masked else { return (whole("whole", body, tally), reason::COPY_ROW) };
    if head.is_empty() && tail.is_empty() {
        return (masked, "");
    }
    let mut out = Vec::with_capacity(body.len());
    if let Some(torn) = head.strip_suffix(b"\n") {
        out.extend_from_slice(&whole("whole", torn, tally));
        out.push(b'\n');
    }
    out.extend_from_slice(&masked);
    out.extend_from_slice(&whole("whole", tail, tally));
    (out, "")
}

/// Where the message after this one begins. `read`: this one's bytes are known.
#[must_use]
pub fn after(place: Place, facts: Option<&Facts>, read: bool, body: &[u8]) -> Place {
    if !read {
        return Place::default();
    }
    let at = match facts.map_or("", |facts| facts.copy_format.as_str()) {
        "text" if place.at == At::Unknown => found_again(body),
        "text" => rows(place.at, false, body).at,
        // A line end may stand inside quotes, so once it is lost, the beginning is not found again.
        "csv" => rows(place.at, true, body).at,
        _ => At::Unknown,
    };
    Place { at, key: unnamed(facts) && in_key(place.key, body) }
}

/// In the text format a line end is a row end, whatever came before, unless a backslash makes it data; of one that
/// only backslashes precede, that is not known.
fn found_again(body: &[u8]) -> At {
    let Some(line) = body.strip_suffix(b"\n") else { return At::Unknown };
    let escapes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
    if escapes.is_multiple_of(2) && escapes < line.len() { At::Row } else { At::Unknown }
}

/// True when a private key is open at the end of `body`, or may be: its first line may be cut.
fn in_key(before: bool, body: &[u8]) -> bool {
    let end = memchr::memmem::rfind(body, b"-----END");
    let rest = body.get(end.unwrap_or(0)..).unwrap_or_default();
    if let Some(begin) = memchr::memmem::rfind(rest, b"-----BEGIN") {
        let label = rest.get(begin..).unwrap_or_default();
        let near = label.get(..LABEL_MAX).unwrap_or(label);
        return label.len() < LABEL_MAX || memchr::memmem::find(near, b"PRIVATE KEY").is_some();
    }
    end.is_none() && (before || memchr::memmem::find(body, b"PRIVATE KEY-----").is_some())
}

/// Rows of the text format: fields between tabs, `\N` for NULL, `\.` for the end. `body` ends at a row's end.
fn text(scope: &Scope<'_>, secret: &[bool], body: &[u8], tally: &mut Tally) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let (mut at, mut from) = (At::Row, 0);
    for (place, &byte) in body.iter().enumerate() {
        at = at.text(byte);
        if at == At::Row {
            let row = body.get(from..place).unwrap_or_default();
            text_row(scope, secret, row, tally, &mut out);
            out.push(b'\n');
            from = place + 1;
        }
    }
    out
}

fn text_row(scope: &Scope<'_>, secret: &[bool], row: &[u8], tally: &mut Tally, out: &mut Vec<u8>) {
    if row == b"\\." {
        out.extend_from_slice(row);
        return;
    }
    let fields: Vec<&[u8]> = row.split(|&byte| byte == b'\t').collect();
    // A backslash before a tab or a line end makes it data: fields are not where they seem to be.
    let odd = |field: &&[u8]| !field.iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2);
    let escaped = fields.iter().any(odd) || row.contains(&b'\n');
    if fields.len() != secret.len() || escaped {
        out.extend_from_slice(&whole("whole", row, tally));
        return;
    }
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b'\t');
        }
        let hidden = secret.get(at) == Some(&true) && *field != b"\\N";
        out.extend_from_slice(&value::mask(scope.engine, hidden, field, tally));
    }
}

/// One field of a CSV row.
struct Field<'a> {
    /// As written, quotes included.
    raw: &'a [u8],
    /// What it says.
    value: Cow<'a, [u8]>,
    quoted: bool,
}

/// Rows of the CSV format; `None` when the message ends inside quotes or text follows a closing quote.
fn csv(scope: &Scope<'_>, secret: &[bool], body: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(secret.len());
    while !rest.is_empty() {
        fields.clear();
        let row = rest;
        let end = loop {
            let (field, after) = field(rest)?;
            fields.push(field);
            match after {
                [b',', tail @ ..] => rest = tail,
                [b'\r', b'\n', tail @ ..] => {
                    rest = tail;
                    break b"\r\n".as_slice();
                }
                [b'\n', tail @ ..] => {
                    rest = tail;
                    break b"\n".as_slice();
                }
                _ => return None,
            }
        };
        let row = row.get(..row.len() - rest.len() - end.len())?;
        if row == b"\\." {
            out.extend_from_slice(row);
        } else if fields.len() != secret.len() {
            out.extend_from_slice(&whole("whole", row, tally));
        } else {
            for (at, field) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put(&mut out, field, &value::mask(scope.engine, secret.get(at) == Some(&true), &field.value, tally));
            }
        }
        out.extend_from_slice(end);
    }
    Some(out)
}

/// The field that `rest` begins with, and what follows it.
fn field(rest: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let Some(inner) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'\n' | b'\r'))?;
        let (raw, after) = rest.split_at_checked(end)?;
        // A quote inside begins a quoted part for the server; such a field is not read here.
        return (!raw.contains(&b'"')).then_some((Field { raw, value: Cow::Borrowed(raw), quoted: false }, after));
    };
    let (mut at, mut doubled) = (0, false);
    loop {
        at += memchr::memchr(b'"', inner.get(at..)?)?;
        if inner.get(at + 1) != Some(&b'"') {
            break;
        }
        (at, doubled) = (at + 2, true);
    }
    let value = inner.get(..at)?;
    let (raw, after) = rest.split_at_checked(at + 2)?;
    let value = if doubled { Cow::Owned(undoubled(value)) } else { Cow::Borrowed(value) };
    Some((Field { raw, value, quoted: true }, after))
}

fn undoubled(value: &[u8]) -> Vec<u8> {
    let mut quote = false;
    let kept = value.iter().copied().filter(|&byte| {
        quote = byte == b'"' && !quote;
        byte != b'"' || quote
    });
    kept.collect()
}

/// The field as it was, or its masked value in the same dress.
fn put(out: &mut Vec<u8>, field: &Field<'_>, masked: &[u8]) {
    if masked == field.value.as_ref() {
        out.extend_from_slice(field.raw);
    } else if field.quoted {
        out.push(b'"');
        for &byte in masked {
            out.extend(std::iter::repeat_n(byte, if byte == b'"' { 2 } else { 1 }));
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(masked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_ends_where_the_server_ends_it() {
        let end = |begin, csv, body: &str| rows(begin, csv, body.as_bytes()).at;
        for (body, at) in [
            ("a\n", At::Row),
            ("a", At::Plain),
            ("", At::Row),
            ("a\\\n", At::Plain),
            ("a\\", At::Escape),
            ("a\\\\\n", At::Row),
            ("a\n\\.\n", At::Row),
        ] {
            assert_eq!(end(At::Row, false, body), at, "{body:?}");
        }
        assert_eq!(end(At::Escape, false, "\n"), At::Plain);
        for (begin, body, at) in [
            (At::Row, "a,\"b\n", At::Quoted),
            (At::Quoted, "\"\",\n", At::Quoted),
            (At::Quote, "\"x", At::Quoted),
            (At::Quote, "\r\n", At::Row),
            (At::Row, "a,\"b\"c", At::Unknown),
            (At::Plain, "a\"", At::Unknown),
            (At::Field, "\"", At::Quoted),
            (At::Return, "x", At::Unknown),
            (At::Unknown, "a\n", At::Unknown),
        ] {
            assert_eq!(end(begin, true, body), at, "{body:?}");
        }
    }

    #[test]
    fn where_the_next_message_begins() {
        let facts = |format: &str| Some(Facts { copy_format: format.to_owned(), ..Facts::default() });
        let next = |place, format: &str, body: &str| after(place, facts(format).as_ref(), true, body.as_bytes());
        assert_eq!(next(Place::default(), "text", "x\n"), Place::START);
        for lost in ["x", "\n", "\\\\\n", "x\\\n"] {
            assert_ne!(next(Place::default(), "text", lost).at, At::Row, "{lost:?}");
        }
        assert_eq!(next(Place::default(), "csv", "x\n"), Place::default());
        assert_eq!(after(Place::START, facts("text").as_ref(), false, b""), Place::default());
        assert_eq!(next(Place::START, "", "x\n"), Place::default());
        assert!(next(Place::START, "text", "-----BEGIN RSA PRIVATE KEY-----\nMII\n").key);
        assert!(next(Place::START, "text", "x\n-----BEGIN RSA").key);
        assert!(next(Place::START, "text", "GIN RSA PRIVATE KEY-----\nMII\n").key);
        assert!(!next(Place { at: At::Row, key: true }, "text", "MII\n-----END RSA PRIVATE KEY-----\n").key);
        assert!(next(Place { at: At::Row, key: true }, "text", "MII\n").key);
    }

    proptest! {
        #[test]
        fn fields_read_back(value in "[a\",\n]{0,12}") {
            let written = format!("\"{}\",", value.replace('"', "\"\""));
            let (field, after) = field(written.as_bytes()).unwrap();
            prop_assert_eq!((field.value.as_ref(), after), (value.as_bytes(), b",".as_slice()));
            let mut out = Vec::new();
            put(&mut out, &Field { raw: b"", value: Cow::Borrowed(b"other"), quoted: true }, value.as_bytes());
            prop_assert_eq!(out, written.strip_suffix(',').unwrap().as_bytes());
        }
    }
}
