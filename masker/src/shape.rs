//! How each shape of rule is matched around an anchor, and how far it looks.
//!
//! Every decision is local, so that a text may come in parts ([`crate::engine::Stream`]): whether an anchor begins a
//! match follows from at most [`BEFORE_MAX`] bytes before it and the [`AFTER_MAX`] bytes from its first one on. A match
//! may be longer than that only where its shape is open: then more bytes can make it longer, and nothing else. For
//! that reason no length, boundary or validator speaks against a match of more than [`LONG`] bytes.

use std::ops::Range;

use crate::placeholder::is_placeholder;
use crate::rule::{Class, Rule, Shape};

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
pub(crate) const REACH_MAX: usize = AFTER_MAX - ANCHOR_MAX - 2;

/// Longest name between a vendor's word and the sign of assignment.
const NAME_MAX: usize = 40;
/// Longest host name of a `.pgpass` line (RFC 1035).
const HOST_MAX: usize = 253;

/// Bytes that may still be looked at.
#[derive(Debug)]
pub(crate) struct Work(pub(crate) usize);

impl Work {
    pub(crate) fn take(&mut self, bytes: usize) {
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
        Shape::Phone => after(25),
        Shape::Ipv4 => after(17),
        Shape::Ipv6 => Extent::Bounded { before: 42, after: 48 },
        Shape::Around { before, after, .. } => Extent::Bounded { before: before.1 + 1, after: anchor + after.1 + 1 },
        Shape::Named { max, .. } => after(NAME_MAX + 3 * GAP_MAX + max + 1),
        Shape::UserPassword | Shape::Netrc | Shape::Manifest => after(REACH_MAX),
        Shape::PgPass => Extent::Bounded { before: HOST_MAX + 2, after: anchor + REACH_MAX },
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
            let run_end = run(text.get(..stop)?, anchor.end, |byte| class.holds(byte));
            work.take(run_end - anchor.end);
            // A sentence's dot after a token is no part of it.
            let dots = text.get(anchor.end..run_end)?.iter().rev().take_while(|byte| **byte == b'.').count();
            let end = run_end - if open { 0 } else { dots };
            let next_alnum = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
            let long = open && end - anchor.start > LONG;
            (long || (min..=max).contains(&(end - anchor.end)) && !next_alnum).then_some(anchor.start..end)
        }
        Shape::Following { class, min } => {
            let end = run(text, anchor.end, |byte| class.holds(byte));
            work.take(end - anchor.end);
            (end - anchor.end >= min).then_some(anchor.end..end)
        }
        Shape::Around { class, before: (low, high), after } => {
            let left = back(text, anchor.start, high, |byte| class.holds(byte));
            work.take(left);
            if !(low..=high).contains(&left) {
                return None;
            }
            Some(anchor.start - left..body(text, anchor.end, class, after, work)?)
        }
        Shape::Named { class, min, max } => named(text, anchor.end, class, (min, max), work),
        Shape::UserPassword => user_password(text, anchor.end, before, work),
        Shape::PgPass => pg_pass(text, anchor, work),
        Shape::Netrc => netrc(text, anchor.end, before, work),
        Shape::Manifest => crate::manifest::members(text, anchor, work),
        Shape::Ipv6 => ipv6(text, anchor, work),
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
        Shape::Card | Shape::Iban | Shape::Ssn | Shape::Phone | Shape::Ipv4 => None,
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
    // `token = read(..)` is code.
    let code = end - at <= LABEL_MAX
        && value.first().is_some_and(u8::is_ascii_alphabetic)
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    if code && text.get(end) == Some(&b'(') {
        end = at;
    }
    (end > at).then_some(at..end)
}

/// Bytes before `at` that pass, counted backwards, at most `most + 1`.
fn back(text: &[u8], at: usize, most: usize, test: impl Fn(u8) -> bool) -> usize {
    let low = at.saturating_sub(most + 1);
    text.get(low..at).unwrap_or_default().iter().rev().take_while(|&&byte| test(byte)).count()
}

/// End of `min..=max` bytes of `class`, no letter or digit after them; `=` that pads base64 may follow and is in it.
fn body(text: &[u8], from: usize, class: Class, (min, max): (usize, usize), work: &mut Work) -> Option<usize> {
    let window = text.get(..(from + max + 1).min(text.len()))?;
    let end = run(window, from, |byte| class.holds(byte));
    work.take(end - from);
    let next_alnum = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
    if next_alnum || end - from < min {
        return None;
    }
    // A sentence's dot after a token is no part of it.
    let trimmed = end - window.get(from..end)?.iter().rev().take_while(|byte| matches!(byte, b'.')).count();
    (trimmed - from <= max && trimmed - from >= min).then_some(trimmed)
}

/// End of the quotes, spaces and sign of assignment at `from`; `plain` allows those that only follow a vendor's name.
fn sign(text: &[u8], from: usize, plain: bool) -> Option<usize> {
    let quote = |byte: u8| matches!(byte, b'"' | b'\'' | b'\\' | b']' | b'`' | b' ' | b'\t');
    let near = |at: usize| text.get(..(at + GAP_MAX).min(text.len())).unwrap_or(text);
    let at = run(near(from), from, quote);
    let end = run(near(at), at, |byte| matches!(byte, b'=' | b':' | b'>' | b'?' | b'|') || plain && byte == b',');
    let sign = text.get(at..end)?;
    let known = matches!(sign, b"=" | b":" | b":=" | b"=>" | b"::=" | b"?=" | b"==")
        || plain && matches!(sign, b"," | b">" | b"||");
    known.then_some(end)
}

fn named(text: &[u8], from: usize, class: Class, lens: (usize, usize), work: &mut Work) -> Option<Range<usize>> {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' ' | b'\t');
    let window = text.get(..(from + NAME_MAX).min(text.len()))?;
    let at = run(window, from, name);
    work.take(at - from);
    let at = sign(text, at, true)?;
    let open = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'=' | b'\\');
    let window = text.get(..(at + 8).min(text.len()))?;
    let start = run(window, at, open);
    Some(start..body(text, start, class, lens, work)?)
}

/// `user:password` after an option, quoted or not; no path, no port and no drive.
fn user_password(text: &[u8], from: usize, before: Option<u8>, work: &mut Work) -> Option<Range<usize>> {
    before.filter(u8::is_ascii_whitespace)?;
    let near = text.get(..(from + GAP_MAX).min(text.len()))?;
    let at = run(near, from, |byte| matches!(byte, b' ' | b'\t' | b'='));
    let quote = text.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let start = at + usize::from(quote.is_some());
    let window = text.get(..(from + REACH_MAX).min(text.len()))?;
    let end = match quote {
        Some(quote) => run(window, start, |byte| byte != quote && byte != b'\n'),
        None => run(window, start, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'')),
    };
    work.take(end - from);
    let colon = start + memchr::memchr(b':', window.get(start..end)?)?;
    let password = window.get(colon + 1..end)?;
    let user = window.get(start..colon)?;
    let fits = password.len() >= 3 && !password.starts_with(b"/") && !user.iter().any(|byte| b"/\\".contains(byte));
    (fits && !password.iter().all(u8::is_ascii_digit) && !password.starts_with(b"$")).then_some(colon + 1..end)
}

/// `host:port:database:user:password` around `:port:`; `\:` and `\\` are data.
fn pg_pass(text: &[u8], anchor: Range<usize>, work: &mut Work) -> Option<Range<usize>> {
    let host =
        back(text, anchor.start, HOST_MAX, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b':' | b'"' | b'\''));
    let start = anchor.start - host;
    let line_start = start
        .checked_sub(1)
        .and_then(|at| text.get(at))
        .is_none_or(|byte| matches!(byte, b'\n' | b'\r' | b'"' | b'\'' | b'\t' | b' '));
    let window = text.get(anchor.end..(anchor.end + REACH_MAX).min(text.len()))?;
    let line = window.get(..run(window, 0, |byte| !matches!(byte, b'\n' | b'\r' | b'"' | b'\'' | b'\t')))?;
    work.take(line.len() + host);
    let (mut fields, mut at) = (0, 0);
    while fields < 2 {
        at = run(line, at, |byte| byte != b':' && byte != b'\\');
        match line.get(at)? {
            b'\\' => at += 2,
            _ => (fields, at) = (fields + 1, at + 1),
        }
    }
    let password = line.get(at..)?;
    (host > 0 && line_start && !password.is_empty() && !password.starts_with(b"/"))
        .then_some(anchor.end + at..anchor.end + line.len())
}

/// The word after `password` among the pairs of words after `machine` or `default`.
fn netrc(text: &[u8], from: usize, before: Option<u8>, work: &mut Work) -> Option<Range<usize>> {
    if before.is_some_and(|byte| !byte.is_ascii_whitespace() && byte != b'"') {
        return None;
    }
    let window = text.get(..(from + REACH_MAX).min(text.len()))?;
    let (mut at, mut login) = (from, false);
    for _ in 0..16 {
        let start = run(window, at, |byte| byte.is_ascii_whitespace());
        let end = run(window, start, |byte| !byte.is_ascii_whitespace());
        work.take(end - at);
        match window.get(start..end)? {
            b"" => return None,
            b"login" | b"account" => login = true,
            b"password" if login => {
                let start = run(window, end, |byte| byte.is_ascii_whitespace());
                let end = run(window, start, |byte| !byte.is_ascii_whitespace() && byte != b'"');
                return (end > start && start > at).then_some(start..end);
            }
            _ => {}
        }
        at = end;
    }
    None
}

/// Seven groups and more or `::`, around a `:` between hex digits.
fn ipv6(text: &[u8], anchor: Range<usize>, work: &mut Work) -> Option<Range<usize>> {
    let part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
    let start = anchor.start - back(text, anchor.start, 40, part);
    let window = text.get(..(start + 46).min(text.len()))?;
    let end = run(window, start, |byte| part(byte) || byte == b'.');
    work.take(end - start);
    let text = window.get(start..end)?;
    let text = text.strip_suffix(b".").unwrap_or(text);
    let address: std::net::Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    let digits = text.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    (digits >= 4 && !address.is_unspecified()).then_some(start..start + text.len())
}
