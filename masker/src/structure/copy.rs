//! COPY data: each field by the name of its column, as far as rows can be told apart.
//!
//! CopyData messages may be cut anywhere. A message that does not end at the end of a row is masked whole, and so
//! is every one after it until rows are known to begin again ([`tears`]): what is left of a value cut in two would
//! match no pattern (I-05). Source: PostgreSQL documentation, "COPY", file formats; the default delimiter, quote
//! and escape are taken, because the facts name no others: data with others does not have the columns' number of
//! fields, and its rows are masked whole.

use std::borrow::Cow;

use schemas::v1::Facts;

use super::postgres::Scope;
use super::value;
use crate::engine::{Tally, whole};

/// Bytes of a CopyData message after masking, and the reason when it is masked whole.
#[must_use]
pub fn mask(scope: &Scope<'_>, facts: Option<&Facts>, body: &[u8], tally: &mut Tally) -> (Vec<u8>, &'static str) {
    let format = facts.map_or("", |facts| facts.copy_format.as_str());
    if format == "binary" {
        return (whole("whole", body, tally), "copy_binary");
    }
    if scope.torn || !ends_row(body) {
        return (whole("whole", body, tally), "copy_boundary");
    }
    let columns = facts.map_or(&[][..], |facts| facts.columns.as_slice());
    if columns.iter().all(|column| column.name.is_empty()) {
        // Nothing to go by but patterns; over all lines, so that a key of many lines is one match.
        return (scope.engine.mask(body, tally).unwrap_or_else(|| body.to_vec()), "");
    }
    let secret: Vec<bool> = columns.iter().map(|column| value::is_secret_name(&column.name, scope.secret)).collect();
    let masked = match format {
        "text" => Some(text(scope, &secret, body, tally)),
        "csv" => csv(scope, &secret, body, tally),
        _ => None,
    };
    masked.map_or_else(|| (whole("whole", body, tally), "copy_row"), |masked| (masked, ""))
}

/// True when, after this message, the next one may begin inside a row: `torn` before it, masked whole for `reason`.
#[must_use]
pub fn tears(torn: bool, facts: Option<&Facts>, reason: &str, body: &[u8]) -> bool {
    match facts.map_or("", |facts| facts.copy_format.as_str()) {
        // A line end is a row end, whatever came before.
        "text" => !ends_row(body),
        // A line end may stand inside quotes, so once it is lost, the beginning is not found again.
        "csv" => torn || !reason.is_empty(),
        _ => true,
    }
}

/// True at a line end that no backslash makes data.
fn ends_row(body: &[u8]) -> bool {
    let Some(line) = body.strip_suffix(b"\n") else { return false };
    line.iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2) || line.ends_with(b"\n\\.")
}

/// Rows of the text format: fields between tabs, `\N` for NULL, `\.` for the end.
fn text(scope: &Scope<'_>, secret: &[bool], body: &[u8], tally: &mut Tally) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
        if line == b"\\." {
            out.extend_from_slice(line);
        } else if fields.len() != secret.len() || line.ends_with(b"\\") {
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
    out
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
    fn row_ends() {
        for (body, end) in
            [("a\n", true), ("a", false), ("", false), ("a\\\n", false), ("a\\\\\n", true), ("a\n\\.\n", true)]
        {
            assert_eq!(ends_row(body.as_bytes()), end, "{body:?}");
        }
    }

    #[test]
    fn what_tears() {
        let facts = |format: &str| Some(Facts { copy_format: format.to_owned(), ..Facts::default() });
        assert!(!tears(true, facts("text").as_ref(), "copy_boundary", b"x\n"));
        assert!(tears(false, facts("text").as_ref(), "copy_boundary", b"x"));
        assert!(tears(true, facts("csv").as_ref(), "", b"x\n"));
        assert!(!tears(false, facts("csv").as_ref(), "", b"x\n"));
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
