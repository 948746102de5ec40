//! Placeholders: written for what is masked, and recognised exactly, so that no value can pose as one.

use std::ops::Range;

use crate::rule::RULES;

/// A typed placeholder; the length is given as a bucket, never exactly.
#[must_use]
pub fn placeholder(kind: &str, len: usize) -> String {
    let bucket = match len {
        0..8 => "s",
        8..32 => "m",
        32..128 => "l",
        _ => "xl",
    };
    format!("<secret:{kind}:{bucket}>")
}

/// True for exactly what [`placeholder`] and the pseudonym write.
pub(crate) fn is_placeholder(text: &[u8]) -> bool {
    let Some(inner) = text.strip_prefix(b"<").and_then(|text| text.strip_suffix(b">")) else { return false };
    if let Some(rest) = inner.strip_prefix(b"email:") {
        let mut parts = rest.split(|&byte| byte == b':');
        let (epoch, hex) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return parts.next().is_none()
            && (2..=11).contains(&epoch.len())
            && epoch.strip_prefix(b"e").is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
            && hex.len() == 32
            && hex.iter().all(u8::is_ascii_hexdigit);
    }
    let mut parts = inner.split(|&byte| byte == b':');
    let (Some(b"secret"), Some(kind), Some(bucket), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let known =
        |kind: &[u8]| RULES.iter().map(|rule| rule.id).chain(KINDS.iter().copied()).any(|id| id.as_bytes() == kind);
    known(kind)
        && (matches!(bucket, b"s" | b"m" | b"l" | b"xl")
            || kind == b"card" && bucket.len() == 4 && bucket.iter().all(u8::is_ascii_digit))
}

/// Kinds of placeholder that structure gives, beside the rules' ids.
pub const KINDS: &[&str] = &["literal", "column", "parameter", "comment", "echo", "whole", "quoted", "budget"];

/// Spans of the placeholders in `text`, ascending.
pub(crate) fn placeholders(text: &[u8]) -> Vec<Range<usize>> {
    let spans = memchr::memchr_iter(b'<', text).filter_map(|start| {
        let end = memchr::memchr(b'>', text.get(start..(start + 64).min(text.len()))?)? + start + 1;
        is_placeholder(text.get(start..end)?).then_some(start..end)
    });
    spans.collect()
}
