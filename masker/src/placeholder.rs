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
    if !inner.starts_with(b"secret:") {
        return is_pseudonym(inner);
    }
    let mut parts = inner.split(|&byte| byte == b':');
    let (Some(b"secret"), Some(kind), Some(bucket), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    is_kind(kind)
        && (matches!(bucket, b"s" | b"m" | b"l" | b"xl")
            || bucket.len() == 4 && bucket.iter().all(u8::is_ascii_alphanumeric))
}

/// True for the id of a rule, built in or of the configuration, and for what structure gives.
fn is_kind(kind: &[u8]) -> bool {
    let built_in = RULES.iter().map(|rule| rule.id).chain(KINDS.iter().copied()).any(|id| id.as_bytes() == kind);
    built_in || crate::user_rule::is_user_id(kind)
}

/// `kind:eN.KEY:hex` as the pseudonym writes it.
fn is_pseudonym(inner: &[u8]) -> bool {
    let mut parts = inner.split(|&byte| byte == b':');
    let (Some(kind), Some(made), Some(digest), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let mut made = made.split(|&byte| byte == b'.');
    let (epoch, key) = (made.next().unwrap_or_default(), made.next().unwrap_or_default());
    let epoch = epoch.strip_prefix(b"e").unwrap_or_default();
    let hex = |text: &[u8], len: usize| text.len() == len && text.iter().all(u8::is_ascii_hexdigit);
    is_kind(kind)
        && made.next().is_none()
        && (1..=10).contains(&epoch.len())
        && epoch.iter().all(u8::is_ascii_digit)
        && hex(key, 8)
        && hex(digest, 32)
}

/// Kinds of placeholder that structure gives, beside the rules' ids.
pub const KINDS: &[&str] = &["literal", "column", "parameter", "comment", "echo", "whole", "quoted", "budget"];

/// Spans of the placeholders in `text`, ascending.
pub(crate) fn placeholders(text: &[u8]) -> Vec<Range<usize>> {
    let spans = memchr::memchr_iter(b'<', text).filter_map(|start| {
        let end = memchr::memchr(b'>', text.get(start..(start + 128).min(text.len()))?)? + start + 1;
        is_placeholder(text.get(start..end)?).then_some(start..end)
    });
    spans.collect()
}
