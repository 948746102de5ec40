//! How each shape of rule is matched around an anchor, and how far it looks.
//!
//! Every decision is local, so that a text may come in parts ([`crate::engine::Stream`]): whether an anchor begins a
//! match follows from at most [`BEFORE_MAX`] bytes before it and the [`AFTER_MAX`] bytes from its first one on. A match
//! may be longer than that only where its shape is open: then more bytes can make it longer, and nothing else. For
//! that reason no length, boundary or validator speaks against a match of more than [`LONG`] bytes.

use std::ops::Range;

use crate::placeholder::is_placeholder;
use crate::rule::{Rule, Shape};

/// Most bytes that a decision takes from an anchor's first byte on.
pub const AFTER_MAX: usize = 640;
/// Most bytes before its anchor that belong to a match.
pub const BEFORE_MAX: usize = 256;
/// Longest match that a boundary or validator may refuse: shorter than what is here of one whose end is not, when
/// [`AFTER_MAX`] bytes from its anchor on are.
pub const LONG: usize = 320;
/// Most bytes of white space, brackets and quotes between a key and its value.
const GAP_MAX: usize = 32;
/// Most bytes of a label in a PEM line, and of the END line after its first dashes.
pub const LABEL_MAX: usize = 64;
/// Longest anchor.
pub const ANCHOR_MAX: usize = 64;
/// Most bytes from a `://` or `@` to the end of the authority or domain.
const REACH_MAX: usize = AFTER_MAX - ANCHOR_MAX - 2;

/// Bytes that may still be looked at.
#[derive(Debug)]
pub(crate) struct Work(pub(crate) usize);

impl Work {
    fn take(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }

    pub(crate) fn spent(&self) -> bool {
        self.0 == 0
    }
}

/// How far a rule's matches go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// At most so many bytes before the anchor, and from its first byte on.
    Bounded {
        /// Before the anchor.
        before: usize,
        /// From its first byte on, with those that the decision looks at.
        after: usize,
    },
    /// After `least` bytes from the anchor's first one it is a match, whose body goes on until a byte that ends it.
    Open {
        /// Bytes that decide.
        least: usize,
    },
}

/// How far the matches of `rule` go.
#[must_use]
pub fn extent(rule: &Rule) -> Extent {
    let anchor = rule.anchors.iter().map(|anchor| anchor.len()).max().unwrap_or(0);
    let after = |after| Extent::Bounded { before: 1, after: anchor + after };
    match rule.shape {
        Shape::Token { max, .. } if anchor + max < AFTER_MAX => after(max + 1),
        Shape::Token { min, .. } => Extent::Open { least: anchor + min },
        Shape::Following { min, .. } => Extent::Open { least: anchor + min },
        Shape::Assignment => Extent::Open { least: anchor + 5 * GAP_MAX },
        Shape::Pem => Extent::Open { least: anchor + LABEL_MAX },
        Shape::Url => after(REACH_MAX),
        Shape::Email => Extent::Bounded { before: BEFORE_MAX, after: anchor + REACH_MAX },
        Shape::Card => after(38),
        Shape::Iban => after(70),
        Shape::Ssn => after(12),
    }
}

fn run(text: &[u8], from: usize, test: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !test(byte)).unwrap_or(rest.len())
}

/// The match around `anchor`, if there is one.
pub(crate) fn candidate(shape: Shape, text: &[u8], anchor: Range<usize>, work: &mut Work) -> Option<Range<usize>> {
    let before = anchor.start.checked_sub(1).and_then(|at| text.get(at)).copied();
    match shape {
        Shape::Token { class, min, max } => {
            if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            let open = anchor.len() + max >= AFTER_MAX;
            let stop = if open { text.len() } else { (anchor.end + max + 1).min(text.len()) };
            let end = run(text.get(..stop)?, anchor.end, |byte| class.holds(byte));
            work.take(end - anchor.end);
            let next_alnum = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
            let long = open && end - anchor.start > LONG;
            (long || (min..=max).contains(&(end - anchor.end)) && !next_alnum).then_some(anchor.start..end)
        }
        Shape::Following { class, min } => {
            let end = run(text, anchor.end, |byte| class.holds(byte));
            work.take(end - anchor.end);
            (end - anchor.end >= min).then_some(anchor.end..end)
        }
        Shape::Assignment => assignment(text, anchor.end, work),
        Shape::Pem => {
            let rest = text.get(anchor.end..)?;
            let label = rest.get(..rest.len().min(LABEL_MAX))?;
            let close = memchr::memmem::find(label, b"-----").unwrap_or(label.len());
            memchr::memmem::find(label.get(..close)?, b"PRIVATE KEY")?;
            let end = memchr::memmem::find(rest, b"-----END").map(|at| {
                let line = rest.get(..(at + LABEL_MAX).min(rest.len())).unwrap_or(rest);
                run(line, at + 8, |byte| byte != b'\n')
            });
            let end = end.map_or(text.len(), |end| anchor.end + end);
            work.take(end - anchor.start);
            Some(anchor.start..end)
        }
        Shape::Url => {
            before.filter(u8::is_ascii_alphanumeric)?;
            let stop = (anchor.end + REACH_MAX).min(text.len());
            let authority = text.get(anchor.end..stop)?;
            let end = authority.iter().position(|byte| byte.is_ascii_whitespace() || b"/?#'\"<>\0".contains(byte));
            let authority = authority.get(..end.unwrap_or(authority.len()))?;
            work.take(authority.len());
            let at = memchr::memrchr(b'@', authority)?;
            let colon = memchr::memchr(b':', authority.get(..at)?)?;
            (colon + 1 < at).then_some(anchor.end + colon + 1..anchor.end + at)
        }
        Shape::Email => {
            let local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte);
            let low = anchor.start.saturating_sub(BEFORE_MAX);
            let left = text.get(low..anchor.start)?;
            let start = anchor.start - left.iter().rev().take_while(|&&byte| local(byte)).count();
            let stop = (anchor.end + REACH_MAX).min(text.len());
            let domain_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
            let end = run(text.get(..stop)?, anchor.end, domain_byte);
            let domain = text.get(anchor.end..end)?;
            work.take(end - start);
            let trimmed = domain.len() - domain.iter().rev().take_while(|&&byte| byte == b'.' || byte == b'-').count();
            let domain = domain.get(..trimmed)?;
            let dot = memchr::memrchr(b'.', domain)?;
            (start < anchor.start && dot > 0 && domain.len() - dot > 2).then_some(start..anchor.end + trimmed)
        }
        Shape::Card | Shape::Iban | Shape::Ssn => None,
    }
}

/// The value after a key that ends at `from`.
fn assignment(text: &[u8], from: usize, work: &mut Work) -> Option<Range<usize>> {
    let space = |byte: u8| byte == b' ' || byte == b'\t';
    let near = |at: usize| text.get(..(at + GAP_MAX).min(text.len())).unwrap_or(text);
    let mut at = run(near(from), from, |byte| matches!(byte, b'"' | b'\'' | b'\\' | b']'));
    at = run(near(at), at, space);
    work.take(at - from);
    let sign = run(near(at), at, |byte| matches!(byte, b'=' | b':' | b'>'));
    if sign == at || sign - at > 2 || text.get(at) == Some(&b'>') || text.get(at..sign) == Some(b"::") {
        return None;
    }
    at = run(near(sign), sign, space);
    at = run(near(at), at, |byte| byte == b'\\');
    work.take(at - sign);
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
        work.take(end - start);
        return Some(start..end.min(text.len())).filter(|span| !span.is_empty());
    }
    let mut end = run(text, at, |byte| !byte.is_ascii_whitespace() && !b",;&'\"()}]\0".contains(&byte));
    work.take(end - at);
    // A placeholder written before ends at its own bracket.
    if text.get(at) == Some(&b'<')
        && let Some(close) = memchr::memchr(b'>', text.get(at..end.min(at + LABEL_MAX)).unwrap_or_default())
        && is_placeholder(text.get(at..=at + close).unwrap_or_default())
    {
        return (at + close + 1 < end).then_some(at + close + 1..end);
    }
    let value = text.get(at..end)?;
    let parameter = value.strip_prefix(b"$").filter(|digits| (1..=8).contains(&digits.len()));
    if parameter.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit)) {
        end = at;
    }
    (end > at).then_some(at..end)
}
