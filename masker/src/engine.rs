//! The matcher: an Aho-Corasick prefilter over the rules' anchors, then one hand matcher per shape.
//!
//! Time is linear in the text but for `Email` and `Url`, whose look-around is bounded. Masking masked text
//! changes nothing: placeholders are recognised exactly, so that a value cannot pose as one.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::rule::{Action, RULES, Rule, Shape};

/// Version of the rule set and engine; part of every record.
pub const MASK_VERSION: &str = "1";
/// How far a mailbox or userinfo may reach from its anchor.
const REACH_MAX: usize = 1024;

/// A span to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Bytes replaced.
    pub span: Range<usize>,
    /// What stands there instead.
    pub with: String,
    /// Id of the rule that asked for it.
    pub rule: &'static str,
}

/// What masking did to one record, summed over its parts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rules that fired.
    pub rules: BTreeSet<&'static str>,
    /// Bytes replaced.
    pub bytes: usize,
    /// Values masked exactly, for the echo dictionary.
    pub values: Vec<Vec<u8>>,
}

/// The compiled rules.
#[derive(Debug)]
pub struct Engine {
    prefilter: Option<AhoCorasick>,
    owners: Vec<&'static Rule>,
    cards: Option<&'static Rule>,
    pseudonym: hmac_key::Key,
}

mod hmac_key {
    /// HMAC key, hidden.
    pub(crate) struct Key(pub(crate) zeroize::Zeroizing<Vec<u8>>);
    impl std::fmt::Debug for Key {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Key(hidden)")
        }
    }
}

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
fn is_placeholder(text: &[u8]) -> bool {
    let Some(inner) = text.strip_prefix(b"<").and_then(|text| text.strip_suffix(b">")) else { return false };
    if let Some(hex) = inner.strip_prefix(b"email:") {
        return hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit);
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
pub const KINDS: &[&str] = &["literal", "column", "parameter", "comment", "echo", "whole", "quoted"];

/// Spans of the placeholders in `text`, ascending.
fn placeholders(text: &[u8]) -> Vec<Range<usize>> {
    let spans = memchr::memchr_iter(b'<', text).filter_map(|start| {
        let end = memchr::memchr(b'>', text.get(start..(start + 64).min(text.len()))?)? + start + 1;
        is_placeholder(text.get(start..end)?).then_some(start..end)
    });
    spans.collect()
}

impl Engine {
    /// Compiles every rule but `disabled`; `pseudonym` is the HMAC key.
    #[must_use]
    pub fn new(disabled: &[String], pseudonym: &[u8]) -> Self {
        let active = || RULES.iter().copied().filter(|rule| !disabled.iter().any(|id| id == rule.id));
        let pairs: Vec<(&str, &'static Rule)> =
            active().flat_map(|rule| rule.anchors.iter().map(move |anchor| (*anchor, rule))).collect();
        let prefilter = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(pairs.iter().map(|(anchor, _)| anchor));
        Self {
            prefilter: prefilter.ok(),
            owners: pairs.iter().map(|(_, rule)| *rule).collect(),
            cards: active().find(|rule| rule.shape == Shape::Card),
            pseudonym: hmac_key::Key(zeroize::Zeroizing::new(pseudonym.to_vec())),
        }
    }

    /// Adds an edit for every match in `text`. False when the matcher is missing: then mask whole.
    pub fn find(&self, text: &[u8], edits: &mut Vec<Edit>) -> bool {
        let Some(prefilter) = &self.prefilter else { return false };
        let written = placeholders(text);
        for hit in prefilter.find_overlapping_iter(text) {
            // A placeholder holds words such as `secret:`; what is inside one is not content.
            let before = written.partition_point(|span| span.start <= hit.start());
            let holder = before.checked_sub(1).and_then(|at| written.get(at));
            if holder.is_some_and(|span| hit.start() < span.end) {
                continue;
            }
            let Some(rule) = self.owners.get(hit.pattern().as_usize()) else { continue };
            // Inside a longer match of the same rule: its bytes are covered, and looking again would be quadratic.
            let greedy = matches!(rule.shape, Shape::Token { .. } | Shape::Pem);
            if greedy && edits.last().is_some_and(|last| last.rule == rule.id && hit.start() < last.span.end) {
                continue;
            }
            let Some(span) = candidate(rule.shape, text, hit.range()) else { continue };
            self.edit(rule, text, span, edits);
        }
        if let Some(rule) = self.cards {
            cards(text, |span| self.edit(rule, text, span, edits));
        }
        true
    }

    fn edit(&self, rule: &'static Rule, text: &[u8], span: Range<usize>, edits: &mut Vec<Edit>) {
        let found = text.get(span.clone()).unwrap_or_default();
        if found.is_empty() || is_placeholder(found) || rule.validator.is_some_and(|valid| !valid(found)) {
            return;
        }
        let with = match rule.action {
            Action::Replace => placeholder(rule.id, found.len()),
            Action::KeepLast4 => {
                let digits: Vec<u8> = found.iter().copied().filter(u8::is_ascii_digit).collect();
                let last = digits.get(digits.len().saturating_sub(4)..).unwrap_or_default();
                format!("<secret:{}:{}>", rule.id, String::from_utf8_lossy(last))
            }
            Action::Pseudonym => self.pseudonym(found),
        };
        edits.push(Edit { span, with, rule: rule.id });
    }

    fn pseudonym(&self, value: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.pseudonym.0) else { return placeholder("email", 0) };
        mac.update(b"sealtrail/v1/pseudonym/email\0");
        mac.update(&value.to_ascii_lowercase());
        let tag = mac.finalize().into_bytes();
        format!("<email:{}>", hex::encode(tag.get(..16).unwrap_or_default()))
    }

    /// `text` with every match replaced; `None` when nothing matched.
    #[must_use]
    pub fn mask(&self, text: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
        let mut edits = Vec::new();
        if !self.find(text, &mut edits) {
            return Some(whole("whole", text, tally));
        }
        apply(text, edits, tally)
    }
}

/// A placeholder for all of `text`, counted.
pub fn whole(kind: &'static str, text: &[u8], tally: &mut Tally) -> Vec<u8> {
    if text.is_empty() || is_placeholder(text) {
        return text.to_vec();
    }
    tally.rules.insert(kind);
    tally.bytes += text.len();
    tally.values.push(text.to_vec());
    placeholder(kind, text.len()).into_bytes()
}

/// Applies edits; overlapping ones become one span with the first one's replacement.
pub fn apply(text: &[u8], mut edits: Vec<Edit>, tally: &mut Tally) -> Option<Vec<u8>> {
    if edits.is_empty() {
        return None;
    }
    edits.sort_by(|a, b| a.span.start.cmp(&b.span.start).then(b.span.end.cmp(&a.span.end)));
    let mut merged: Vec<Edit> = Vec::with_capacity(edits.len());
    for edit in edits {
        tally.rules.insert(edit.rule);
        match merged.last_mut() {
            Some(last) if edit.span.start < last.span.end => last.span.end = last.span.end.max(edit.span.end),
            _ => merged.push(edit),
        }
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for edit in merged {
        out.extend_from_slice(text.get(at..edit.span.start).unwrap_or_default());
        out.extend_from_slice(edit.with.as_bytes());
        tally.bytes += edit.span.len();
        tally.values.push(text.get(edit.span.clone()).unwrap_or_default().to_vec());
        at = edit.span.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Some(out)
}

fn run(text: &[u8], from: usize, test: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !test(byte)).unwrap_or(rest.len())
}

fn candidate(shape: Shape, text: &[u8], anchor: Range<usize>) -> Option<Range<usize>> {
    let before = anchor.start.checked_sub(1).and_then(|at| text.get(at)).copied();
    match shape {
        Shape::Token { class, min, max } => {
            if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            let window = text.get(..(anchor.end + max + 1).min(text.len()))?;
            let end = run(window, anchor.end, |byte| class.holds(byte));
            let next_alnum = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
            ((min..=max).contains(&(end - anchor.end)) && !next_alnum).then_some(anchor.start..end)
        }
        Shape::Following { class, min } => {
            let end = run(text, anchor.end, |byte| class.holds(byte));
            (end - anchor.end >= min).then_some(anchor.end..end)
        }
        Shape::Assignment => assignment(text, anchor.end),
        Shape::Pem => {
            let rest = text.get(anchor.end..)?;
            let label = rest.get(..rest.len().min(64))?;
            let close = memchr::memmem::find(label, b"-----").unwrap_or(label.len());
            memchr::memmem::find(label.get(..close)?, b"PRIVATE KEY")?;
            let end = memchr::memmem::find(rest, b"-----END").map(|at| run(rest, at + 8, |byte| byte != b'\n'));
            Some(anchor.start..end.map_or(text.len(), |end| anchor.end + end))
        }
        Shape::Url => {
            before.filter(u8::is_ascii_alphanumeric)?;
            let stop = (anchor.end + REACH_MAX).min(text.len());
            let authority = text.get(anchor.end..stop)?;
            let end = authority.iter().position(|byte| byte.is_ascii_whitespace() || b"/?#'\"<>\0".contains(byte));
            let authority = authority.get(..end.unwrap_or(authority.len()))?;
            let at = memchr::memrchr(b'@', authority)?;
            let colon = memchr::memchr(b':', authority.get(..at)?)?;
            (colon + 1 < at).then_some(anchor.end + colon + 1..anchor.end + at)
        }
        Shape::Email => {
            let local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte);
            let low = anchor.start.saturating_sub(REACH_MAX);
            let left = text.get(low..anchor.start)?;
            let start = anchor.start - left.iter().rev().take_while(|&&byte| local(byte)).count();
            let end = run(text, anchor.end, |byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
            let domain = text.get(anchor.end..end)?;
            let trimmed = domain.len() - domain.iter().rev().take_while(|&&byte| byte == b'.' || byte == b'-').count();
            let domain = domain.get(..trimmed)?;
            let dot = memchr::memrchr(b'.', domain)?;
            (start < anchor.start && dot > 0 && domain.len() - dot > 2).then_some(start..anchor.end + trimmed)
        }
        Shape::Card => None,
    }
}

/// The value after a key that ends at `from`.
fn assignment(text: &[u8], from: usize) -> Option<Range<usize>> {
    let space = |byte: u8| byte == b' ' || byte == b'\t';
    let mut at = run(text, from, |byte| matches!(byte, b'"' | b'\'' | b'\\' | b']'));
    at = run(text, at, space);
    let sign = run(text, at, |byte| matches!(byte, b'=' | b':' | b'>'));
    if sign == at || sign - at > 2 || text.get(at) == Some(&b'>') || text.get(at..sign) == Some(b"::") {
        return None;
    }
    at = run(text, sign, space);
    at = run(text, at, |byte| byte == b'\\');
    let quote = text.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    if let Some(quote) = quote {
        let start = at + 1;
        let mut end = start;
        while let Some(&byte) = text.get(end) {
            if byte == b'\\' && text.get(end + 1) == Some(&quote) || byte == quote && text.get(end + 1) == Some(&quote)
            {
                end += 2;
            } else if byte == quote {
                break;
            } else {
                end += 1;
            }
        }
        return Some(start..end.min(text.len())).filter(|span| !span.is_empty());
    }
    let mut end = run(text, at, |byte| !byte.is_ascii_whitespace() && !b",;&'\"()}]\0".contains(&byte));
    // A placeholder written before ends at its own bracket.
    if text.get(at) == Some(&b'<')
        && let Some(close) = memchr::memchr(b'>', text.get(at..end).unwrap_or_default())
        && is_placeholder(text.get(at..=at + close).unwrap_or_default())
    {
        return (at + close + 1 < end).then_some(at + close + 1..end);
    }
    let value = text.get(at..end)?;
    if value.strip_prefix(b"$").is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)) {
        end = at;
    }
    (end > at).then_some(at..end)
}

fn cards(text: &[u8], mut found: impl FnMut(Range<usize>)) {
    let mut at = 0;
    while at < text.len() {
        let Some(start) =
            text.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)).map(|skip| at + skip)
        else {
            return;
        };
        let (mut end, mut digits, mut cursor) = (start, 0usize, start);
        while let Some(&byte) = text.get(cursor) {
            if byte.is_ascii_digit() {
                (digits, end) = (digits + 1, cursor + 1);
            } else if !(matches!(byte, b' ' | b'-') && text.get(cursor + 1).is_some_and(u8::is_ascii_digit)) {
                break;
            }
            cursor += 1;
        }
        if (13..=19).contains(&digits) {
            found(start..end);
        } else if digits > 19 {
            grouped(text, start..end, &mut found);
        }
        at = end.max(start + 1);
    }
}

/// Cards among numbers set apart by one separator: every row of groups of 3 digits or more with 13 to 19 in all.
fn grouped(text: &[u8], run: Range<usize>, found: &mut impl FnMut(Range<usize>)) {
    let mut open: VecDeque<(usize, usize)> = VecDeque::new();
    let mut at = run.start;
    for group in text.get(run).unwrap_or_default().split(|byte| !byte.is_ascii_digit()) {
        if group.len() < 3 {
            open.clear();
        } else {
            open.iter_mut().for_each(|(_, digits)| *digits += group.len());
            open.push_back((at, group.len()));
            open.retain(|(_, digits)| *digits <= 19);
            for (start, digits) in &open {
                if *digits >= 13 {
                    found(*start..at + group.len());
                }
            }
        }
        at += group.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_rule_matches_its_examples_and_not_its_counter_examples() {
        for rule in RULES {
            let others: Vec<String> = RULES.iter().map(|r| r.id.to_owned()).filter(|id| id != rule.id).collect();
            let engine = Engine::new(&others, b"key");
            assert!(!rule.examples.is_empty() && !rule.counter_examples.is_empty(), "{}", rule.id);
            for text in rule.examples {
                assert!(engine.mask(text.as_bytes(), &mut Tally::default()).is_some(), "{}: {text}", rule.id);
            }
            for text in rule.counter_examples {
                let masked = engine.mask(text.as_bytes(), &mut Tally::default());
                assert!(masked.is_none(), "{}: {text}", rule.id);
            }
        }
    }

    #[test]
    fn what_is_replaced_is_exact() {
        let engine = Engine::new(&[], b"key");
        let mask = |text: &str| {
            let masked = engine.mask(text.as_bytes(), &mut Tally::default()).unwrap_or(text.as_bytes().to_vec());
            String::from_utf8(masked).unwrap()
        };
        assert_eq!(mask("x password=hunter2, y"), "x password=<secret:assignment:s>, y");
        assert_eq!(
            mask("postgresql://u:p%40ss@[2001:db8::1]/d"),
            "postgresql://u:<secret:url-password:s>@[2001:db8::1]/d"
        );
        assert_eq!(mask("card 4111 1111 1111 1111."), "card <secret:card:1111>.");
        assert_eq!(mask("ada@example.com"), mask("ADA@example.com"));
        assert!(!mask("password=<secret:hunter2").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn masking_twice_changes_nothing(text in "(password=|token: |a |secret=b,|AKIAQ7RZ2LMX5KTWPN3V |ada@example.com |4111111111111111 |://u:p@h |x://u:p@h ){0,12}") {
            let engine = Engine::new(&[], b"key");
            let once = engine.mask(text.as_bytes(), &mut Tally::default()).unwrap_or(text.into_bytes());
            let twice = engine.mask(&once, &mut Tally::default()).unwrap_or(once.clone());
            prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
        }

        #[test]
        fn any_bytes_are_scanned(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let engine = Engine::new(&[], b"key");
            let mut edits = Vec::new();
            prop_assert!(engine.find(&text, &mut edits));
            prop_assert!(edits.iter().all(|edit| edit.span.end <= text.len() && edit.span.start < edit.span.end));
        }
    }
}
