//! One pass over a text: anchors, numbers and known values, each to the match around it.

use std::cmp::Ordering;
use std::ops::Range;

use aho_corasick::Input;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::edit::weight;
use super::{Echoes, Edit, Engine, Gap, placeholder};
use crate::numbers;
use crate::placeholder::{is_placeholder, placeholders};
use crate::rule::{Action, Rule, Shape};
use crate::shape::{ANCHOR_MAX, LONG, Work, candidate};
use crate::validate::Verdict;

/// Bytes that candidates of one text may look at, per byte of it; ordinary text takes less than two.
pub const WORK_PER_BYTE: usize = 16;
/// The same for a text of any length, so that short texts never run out.
pub const WORK_MIN: usize = 16_384;

/// What a text that was searched holds beside its matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// A secret name may stand in the text; false only when none does.
    pub names: bool,
}

/// A match, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What to replace.
    pub(super) edit: Edit,
    /// The anchor.
    pub(super) hit: Range<usize>,
    /// Its place in the order of rules; known values come last.
    pub(super) rank: usize,
}

impl Found {
    /// Leftmost first, of those the longest, of those by rule.
    pub(super) fn order(one: &Self, other: &Self) -> Ordering {
        let key = |found: &Self| (found.edit.span.start, weight(&found.edit.span), found.rank);
        key(one).cmp(&key(other))
    }
}

impl Engine {
    /// Adds every match whose anchor begins in `from`. Whether it is one may follow from any byte of `text`.
    pub(super) fn scan(
        &self,
        text: &[u8],
        from: Range<usize>,
        known: Option<&Echoes>,
        found: &mut Vec<Found>,
    ) -> Result<Seen, Gap> {
        let Some(prefilter) = &self.prefilter else { return Err(Gap::Matcher) };
        let written = placeholders(text);
        // A placeholder holds words such as `secret:`; what is inside one is not content.
        let inside = |at: usize| {
            let before = written.partition_point(|span| span.start <= at);
            before.checked_sub(1).and_then(|last| written.get(last)).is_some_and(|span| at < span.end)
        };
        // Names are compared in Unicode's lower case: beyond ASCII the prefilter cannot speak for them.
        let mut seen = Seen { names: !text.is_ascii() };
        let mut work = Work(text.len().saturating_mul(WORK_PER_BYTE).max(WORK_MIN));
        let stop = from.end.saturating_add(ANCHOR_MAX).min(text.len());
        for hit in prefilter.find_overlapping_iter(Input::new(text).range(from.start.min(stop)..stop)) {
            let Some((rank, rule)) = self.owners.get(hit.pattern().as_usize()) else {
                seen.names = true;
                continue;
            };
            if hit.start() >= from.end || inside(hit.start()) {
                continue;
            }
            let own = |anchor: &&str| text.get(hit.range()) == Some(anchor.as_bytes());
            if rule.exact() && !rule.anchors.iter().any(own) {
                continue;
            }
            // Inside a longer match of the same rule: its bytes are covered.
            let greedy = matches!(rule.shape, Shape::Token { .. } | Shape::Pem);
            let last = found.last().filter(|_| greedy);
            if last.is_some_and(|last| last.edit.rule == rule.id && hit.start() < last.edit.span.end) {
                continue;
            }
            let span = candidate(rule.shape, text, hit.range(), &mut work);
            if work.spent() {
                return Err(Gap::Budget);
            }
            if let Some(edit) = span.and_then(|span| self.edit(rule, text, span)) {
                found.push(Found { edit, hit: hit.range(), rank: *rank });
            }
        }
        if !self.numbers.is_empty() {
            numbers::scan(text, |shape, span| {
                if !from.contains(&span.start) {
                    return;
                }
                for (rank, rule) in self.numbers.iter().filter(|(_, rule)| rule.shape == shape) {
                    if let Some(edit) = self.edit(rule, text, span.clone()) {
                        found.push(Found { edit, hit: span.start..span.start, rank: *rank });
                    }
                }
            });
        }
        if let Some(known) = known {
            known.find(text, from, |span| {
                if !inside(span.start) {
                    let with = placeholder("echo", span.len());
                    let hit = span.start..span.start;
                    found.push(Found { edit: Edit { span, with, rule: "echo" }, hit, rank: usize::MAX });
                }
            });
        }
        Ok(seen)
    }

    /// What `rule` makes of `span`; `None` when it is no match after all.
    ///
    /// Of more than [`LONG`] bytes it makes a placeholder without asking the validator: their end may not be here
    /// yet, and then it would answer otherwise.
    fn edit(&self, rule: &'static Rule, text: &[u8], span: Range<usize>) -> Option<Edit> {
        let found = text.get(span.clone()).filter(|found| !found.is_empty() && !is_placeholder(found))?;
        let long = found.len() > LONG;
        if !long && rule.verdict(found) == Verdict::Refused {
            return None;
        }
        let with = match rule.action {
            _ if long => placeholder(rule.id, found.len()),
            Action::Redact | Action::Off => placeholder(rule.id, found.len()),
            Action::Partial => partial(rule.id, found),
            Action::Pseudonym => self.pseudonym(rule.id, found),
        };
        Some(Edit { span, with, rule: rule.id })
    }

    /// `<kind:eN.KEY:hex>`: equal values of one kind, key and epoch N, equal pseudonyms; nothing joins across either.
    fn pseudonym(&self, kind: &str, value: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.pseudonym.0) else { return placeholder(kind, 0) };
        mac.update(b"sealtrail/v1/pseudonym\0");
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(&self.epoch.to_be_bytes());
        mac.update(&value.to_ascii_lowercase());
        let tag = mac.finalize().into_bytes();
        format!(
            "<{kind}:e{}.{}:{}>",
            self.epoch,
            key_id(&self.pseudonym.0),
            hex::encode(tag.get(..16).unwrap_or_default())
        )
    }
}

/// Id of a pseudonym key, eight hex digits: shown in each pseudonym, so that one made with another key is told apart.
fn key_id(key: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = Sha256::new().chain_update(b"sealtrail/v1/pseudonym-key-id\0").chain_update(key).finalize();
    hex::encode(digest.get(..4).unwrap_or_default())
}

/// A placeholder that keeps the last four letters and digits, of values that have eight or more.
fn partial(kind: &str, found: &[u8]) -> String {
    let kept: Vec<u8> = found.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    match kept.len().checked_sub(4).filter(|at| *at >= 4).and_then(|at| kept.get(at..)) {
        Some(last) => format!("<secret:{kind}:{}>", String::from_utf8_lossy(last)),
        None => placeholder(kind, found.len()),
    }
}
