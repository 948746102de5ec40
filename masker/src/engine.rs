//! The matcher: an Aho-Corasick prefilter over the rules' anchors, then one hand matcher per shape.
//!
//! Time is linear in the text: what candidates look at is counted, and a text whose candidates look at more than
//! [`WORK_PER_BYTE`] times its length is masked whole (`budget`). Masking masked text changes nothing:
//! placeholders are recognised exactly, so that a value cannot pose as one.

use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::numbers;
pub use crate::placeholder::{KINDS, placeholder};
use crate::placeholder::{is_placeholder, placeholders};
use crate::rule::{Action, RULES, Rule, Shape};

/// Version of the rule set and engine; part of every record.
pub const MASK_VERSION: &str = "1";
/// Bytes that candidates of one text may look at, per byte of it; ordinary text takes less than two.
pub const WORK_PER_BYTE: usize = 16;
/// The same for a text of any length, so that short texts never run out.
pub const WORK_MIN: usize = 16_384;
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
    /// True when a text ran out of its work budget: the whole message is then to be masked.
    pub exhausted: bool,
}

/// Why a text cannot be searched for matches and is masked whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The matcher could not be compiled.
    Matcher,
    /// The work budget ran out.
    Budget,
}

impl Gap {
    /// All of `text` masked, and the reason counted.
    pub fn whole(self, text: &[u8], tally: &mut Tally) -> Vec<u8> {
        tally.exhausted |= self == Self::Budget;
        whole(if self == Self::Budget { "budget" } else { "whole" }, text, tally)
    }
}

/// What a text that was searched holds beside its matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// A secret name may stand in the text; false only when none does.
    pub names: bool,
}

/// The compiled rules.
#[derive(Debug)]
pub struct Engine {
    prefilter: Option<AhoCorasick>,
    /// The rule of each pattern; those after the last are secret names.
    owners: Vec<&'static Rule>,
    numbers: Vec<&'static Rule>,
    epoch: u32,
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

impl Engine {
    /// Compiles every rule but `disabled`; `pseudonym` is the HMAC key. Epoch 0, no secret names.
    #[must_use]
    pub fn new(disabled: &[String], pseudonym: &[u8]) -> Self {
        Self::with(disabled, pseudonym, 0, &[])
    }

    /// Compiles every rule but `disabled`; `pseudonym` is the HMAC key and `epoch` part of what it signs.
    /// `names` are looked for in the same pass, for [`Seen::names`].
    #[must_use]
    pub fn with(disabled: &[String], pseudonym: &[u8], epoch: u32, names: &[String]) -> Self {
        let active = || RULES.iter().copied().filter(|rule| !disabled.iter().any(|id| id == rule.id));
        let pairs: Vec<(&str, &'static Rule)> =
            active().flat_map(|rule| rule.anchors.iter().map(move |anchor| (*anchor, rule))).collect();
        let names = names.iter().map(String::as_str).filter(|name| !name.is_empty());
        let prefilter = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            // Anchors are many and short: what would skip to them finds one of their first bytes at every step.
            .prefilter(false)
            .build(pairs.iter().map(|(anchor, _)| *anchor).chain(names));
        Self {
            prefilter: prefilter.ok(),
            owners: pairs.iter().map(|(_, rule)| *rule).collect(),
            numbers: active().filter(|rule| rule.anchors.is_empty()).collect(),
            epoch,
            pseudonym: hmac_key::Key(zeroize::Zeroizing::new(pseudonym.to_vec())),
        }
    }

    /// Adds an edit for every match in `text`.
    ///
    /// # Errors
    /// The text could not be searched to its end: it is to be masked whole, by [`Gap::whole`].
    pub fn find(&self, text: &[u8], edits: &mut Vec<Edit>) -> Result<Seen, Gap> {
        let Some(prefilter) = &self.prefilter else { return Err(Gap::Matcher) };
        let written = placeholders(text);
        // Names are compared in Unicode's lower case: beyond ASCII the prefilter cannot speak for them.
        let mut seen = Seen { names: !text.is_ascii() };
        let mut work = Work(text.len().saturating_mul(WORK_PER_BYTE).max(WORK_MIN));
        for hit in prefilter.find_overlapping_iter(text) {
            let Some(rule) = self.owners.get(hit.pattern().as_usize()) else {
                seen.names = true;
                continue;
            };
            // A placeholder holds words such as `secret:`; what is inside one is not content.
            let before = written.partition_point(|span| span.start <= hit.start());
            let holder = before.checked_sub(1).and_then(|at| written.get(at));
            if holder.is_some_and(|span| hit.start() < span.end) {
                continue;
            }
            // Inside a longer match of the same rule: its bytes are covered.
            let greedy = matches!(rule.shape, Shape::Token { .. } | Shape::Pem);
            if greedy && edits.last().is_some_and(|last| last.rule == rule.id && hit.start() < last.span.end) {
                continue;
            }
            let span = candidate(rule.shape, text, hit.range(), &mut work);
            if work.spent() {
                return Err(Gap::Budget);
            }
            if let Some(span) = span {
                self.edit(rule, text, span, edits);
            }
        }
        if !self.numbers.is_empty() {
            numbers::scan(text, |shape, span| {
                for rule in self.numbers.iter().filter(|rule| rule.shape == shape) {
                    self.edit(rule, text, span.clone(), edits);
                }
            });
        }
        Ok(seen)
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
            Action::Pseudonym => self.pseudonym(rule.id, found),
        };
        edits.push(Edit { span, with, rule: rule.id });
    }

    /// `<kind:eN:hex>`: equal values of one kind and epoch N, equal pseudonyms; nothing joins across either.
    fn pseudonym(&self, kind: &str, value: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.pseudonym.0) else { return placeholder(kind, 0) };
        mac.update(b"sealtrail/v1/pseudonym\0");
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(&self.epoch.to_be_bytes());
        mac.update(&value.to_ascii_lowercase());
        let tag = mac.finalize().into_bytes();
        format!("<{kind}:e{}:{}>", self.epoch, hex::encode(tag.get(..16).unwrap_or_default()))
    }

    /// `text` with every match replaced; `None` when nothing matched.
    #[must_use]
    pub fn mask(&self, text: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
        let mut edits = Vec::new();
        if let Err(gap) = self.find(text, &mut edits) {
            return Some(gap.whole(text, tally));
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

/// Bytes that may still be looked at.
struct Work(usize);

impl Work {
    fn take(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }

    fn spent(&self) -> bool {
        self.0 == 0
    }
}

fn run(text: &[u8], from: usize, test: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !test(byte)).unwrap_or(rest.len())
}

fn candidate(shape: Shape, text: &[u8], anchor: Range<usize>, work: &mut Work) -> Option<Range<usize>> {
    let before = anchor.start.checked_sub(1).and_then(|at| text.get(at)).copied();
    match shape {
        Shape::Token { class, min, max } => {
            if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            let window = text.get(..(anchor.end + max + 1).min(text.len()))?;
            let end = run(window, anchor.end, |byte| class.holds(byte));
            work.take(end - anchor.end);
            let next_alnum = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
            ((min..=max).contains(&(end - anchor.end)) && !next_alnum).then_some(anchor.start..end)
        }
        Shape::Following { class, min } => {
            let end = run(text, anchor.end, |byte| class.holds(byte));
            work.take(end - anchor.end);
            (end - anchor.end >= min).then_some(anchor.end..end)
        }
        Shape::Assignment => assignment(text, anchor.end, work),
        Shape::Pem => {
            let rest = text.get(anchor.end..)?;
            let label = rest.get(..rest.len().min(64))?;
            let close = memchr::memmem::find(label, b"-----").unwrap_or(label.len());
            memchr::memmem::find(label.get(..close)?, b"PRIVATE KEY")?;
            let end = memchr::memmem::find(rest, b"-----END").map(|at| run(rest, at + 8, |byte| byte != b'\n'));
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
            let low = anchor.start.saturating_sub(REACH_MAX);
            let left = text.get(low..anchor.start)?;
            let start = anchor.start - left.iter().rev().take_while(|&&byte| local(byte)).count();
            let end = run(text, anchor.end, |byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
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
    let mut at = run(text, from, |byte| matches!(byte, b'"' | b'\'' | b'\\' | b']'));
    at = run(text, at, space);
    work.take(at - from);
    let sign = run(text, at, |byte| matches!(byte, b'=' | b':' | b'>'));
    if sign == at || sign - at > 2 || text.get(at) == Some(&b'>') || text.get(at..sign) == Some(b"::") {
        return None;
    }
    at = run(text, sign, space);
    at = run(text, at, |byte| byte == b'\\');
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

    /// Candidates that overlap would each be read to the end: the budget ends that, and nothing passes.
    #[test]
    fn a_text_that_costs_too_much_is_masked_whole() {
        let engine = Engine::new(&[], b"key");
        for part in [".eyJ", "token=", "secret:", "bearer ", "-sk-", "AIza-", "passwd=\\'pwd=\\'", "a@b.", "://a:b@"] {
            let text: String = part.chars().cycle().take(65_536).collect();
            let (start, mut tally) = (std::time::Instant::now(), Tally::default());
            let masked = engine.mask(text.as_bytes(), &mut tally);
            assert!(start.elapsed().as_secs() < 5, "{part}");
            if tally.exhausted {
                assert_eq!(masked.unwrap(), b"<secret:budget:xl>", "{part}");
                assert!(tally.rules.contains("budget"));
            }
        }
        let spent = |part: &str| {
            let mut tally = Tally::default();
            let text: String = part.chars().cycle().take(65_536).collect();
            let masked = engine.mask(text.as_bytes(), &mut tally);
            assert!(masked.is_some());
            tally.exhausted
        };
        assert!(spent(".eyJ") && spent("token="));
        assert!(!spent("password=hunter2, token: abc; ada@example.com {\"secret\": \"x\"}\n"));
    }

    #[test]
    fn pseudonyms_join_within_one_epoch_and_key() {
        let mask = |epoch, key: &[u8], text: &str| {
            let masked = Engine::with(&[], key, epoch, &[]).mask(text.as_bytes(), &mut Tally::default()).unwrap();
            String::from_utf8(masked).unwrap()
        };
        assert_eq!(mask(1, b"k", "ada@example.com"), mask(1, b"k", "Ada@Example.com"));
        assert!(mask(7, b"k", "ada@example.com").starts_with("<email:e7:"));
        let tail = |text: String| text.rsplit(':').next().unwrap().to_owned();
        assert_ne!(tail(mask(1, b"k", "ada@example.com")), tail(mask(2, b"k", "ada@example.com")));
        assert_ne!(tail(mask(1, b"k", "ada@example.com")), tail(mask(1, b"l", "ada@example.com")));
    }

    #[test]
    fn secret_names_are_seen() {
        let engine = Engine::with(&[], b"k", 0, &["dob".to_owned()]);
        let seen = |text: &str| engine.find(text.as_bytes(), &mut Vec::new()).unwrap().names;
        assert!(seen("SELECT DOB") && seen("to\u{212a}en") && !seen("SELECT a, do, b"));
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
            prop_assert!(engine.find(&text, &mut edits).is_ok());
            prop_assert!(edits.iter().all(|edit| edit.span.end <= text.len() && edit.span.start < edit.span.end));
        }
    }
}
