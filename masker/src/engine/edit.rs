//! What masking does to a text: spans to replace, and the sum of it over a record.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::Echoes;
use crate::placeholder::{is_placeholder, placeholder};
use crate::shape::LONG;

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
    /// True when a value was masked of which only a part is known.
    pub unknown_values: bool,
    /// Values of the session, which are masked wherever they stand.
    pub known: Option<Arc<Echoes>>,
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

/// Orders spans of one beginning, the longest first; of long ones all are alike, because where they end may not be
/// known when the first byte is written.
pub(super) fn weight(span: &Range<usize>) -> Reverse<usize> {
    Reverse(span.len().min(LONG + 1))
}

/// Applies edits; overlapping ones become one span with the first one's replacement.
pub fn apply(text: &[u8], mut edits: Vec<Edit>, tally: &mut Tally) -> Option<Vec<u8>> {
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|edit| (edit.span.start, weight(&edit.span)));
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
