//! The members of a Kubernetes Secret: values of `data:` (base64) and `stringData:` (plain), in YAML and in JSON.
//!
//! `kind: Secret` may stand before or after them, and far away; so `data:` counts when every value of its block is
//! base64 of at least eight characters, which a ConfigMap's values are not, and `stringData:` counts always. Known limit: of a block only the first [`REACH_MAX`] bytes are read,
//! because that is what a stream waits for; later members are left to the other rules. Source:
//! Kubernetes documentation, "Secrets".

use std::ops::Range;

use crate::shape::{REACH_MAX, Work};

/// Most members of a block that are read.
const MEMBERS_MAX: usize = 64;
/// Deepest indentation of `data:`, bytes.
const INDENT_MAX: usize = 32;

fn is_base64(value: &[u8]) -> bool {
    let body = value.len() - value.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let plain = value.get(..body).unwrap_or_default();
    value.len() >= 8
        && value.len().is_multiple_of(4)
        && plain.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// First value to last of the block that the anchor opens.
pub(crate) fn members(text: &[u8], anchor: Range<usize>, work: &mut Work) -> Option<Range<usize>> {
    let plain = text.get(anchor.clone())?.eq_ignore_ascii_case(b"stringdata");
    let before = anchor.start.checked_sub(1).and_then(|at| text.get(at)).copied();
    let rest = text.get(anchor.end..(anchor.end + REACH_MAX - 2).min(text.len()))?;
    if before == Some(b'"') {
        return json(rest, plain, work).map(|span| anchor.end + span.start..anchor.end + span.end);
    }
    if before.is_some_and(|byte| !byte.is_ascii_whitespace()) || rest.first() != Some(&b':') {
        return None;
    }
    let low = anchor.start.saturating_sub(INDENT_MAX);
    let line = text.get(low..anchor.start)?;
    let start = memchr::memrchr(b'\n', line).map_or(low, |at| low + at + 1);
    let indent = anchor.start - start;
    if !text.get(start..anchor.start)?.iter().all(|byte| *byte == b' ') {
        return None;
    }
    yaml(rest.get(1..)?, indent, plain, work).map(|span| anchor.end + 1 + span.start..anchor.end + 1 + span.end)
}

/// `key: value` lines deeper than `indent`; lines still deeper belong to the value before them (block scalars).
fn yaml(rest: &[u8], indent: usize, plain: bool, work: &mut Work) -> Option<Range<usize>> {
    let first = memchr::memchr(b'\n', rest)?;
    if !rest.get(..first)?.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let (mut at, mut found, mut level): (usize, Option<Range<usize>>, Option<usize>) = (first + 1, None, None);
    for _ in 0..MEMBERS_MAX {
        let line = rest.get(at..)?;
        let line = line.get(..memchr::memchr(b'\n', line).unwrap_or(line.len()))?;
        let trimmed = line.trim_ascii();
        let depth = line.iter().take_while(|byte| **byte == b' ').count();
        if depth <= indent || trimmed.is_empty() {
            break;
        }
        let level = *level.get_or_insert(depth);
        let colon = memchr::memchr(b':', line);
        let (start, end) = match colon.filter(|_| depth == level) {
            Some(colon) => (colon + 1, line.len()),
            None => (depth, line.len()),
        };
        let value = line.get(start..end)?;
        let lead = value.len() - value.trim_ascii_start().len();
        let value = value.trim_ascii();
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        let opens = matches!(value, b"|" | b">" | b"|-" | b">-" | b"|+" | b"");
        if !plain && !opens && !is_base64(bare) {
            return None;
        }
        if !value.is_empty() && !opens {
            let span = at + start + lead..at + start + lead + value.len();
            found = Some(found.map_or(span.clone(), |found| found.start..span.end));
        }
        work.take(line.len());
        at += line.len() + 1;
        if at > rest.len() {
            break;
        }
    }
    found
}

/// `": {"key": "value", ..}`.
fn json(rest: &[u8], plain: bool, work: &mut Work) -> Option<Range<usize>> {
    let skip = |at: usize| {
        at + rest.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count()
    };
    let byte = |at: usize| rest.get(at).copied();
    let mut at = skip(usize::from(byte(0) == Some(b'"')));
    at = skip((byte(at) == Some(b':')).then_some(at + 1)?);
    at = skip((byte(at) == Some(b'{')).then_some(at + 1)?);
    let mut found: Option<Range<usize>> = None;
    let string = |at: usize| -> Option<Range<usize>> {
        (byte(at) == Some(b'"')).then_some(())?;
        let len = memchr::memchr(b'"', rest.get(at + 1..)?)?;
        Some(at + 1..at + 1 + len)
    };
    for _ in 0..MEMBERS_MAX {
        let key = string(at)?;
        at = skip(key.end + 1);
        at = skip((byte(at) == Some(b':')).then_some(at + 1)?);
        let value = string(at)?;
        work.take(value.end - key.start);
        let text = rest.get(value.clone())?;
        if !plain && !is_base64(text) {
            return None;
        }
        if !text.is_empty() {
            found = Some(found.map_or(value.clone(), |found| found.start..value.end));
        }
        at = skip(value.end + 1);
        if byte(at) != Some(b',') {
            break;
        }
        at = skip(at + 1);
    }
    found
}
