//! One text that comes in parts, masked as if it had come whole.
//!
//! Decisions are local ([`crate::shape`]): whether an anchor begins a match is known once [`AFTER_MAX`] bytes from its
//! first one are here, and no match reaches more than [`BEFORE_MAX`] bytes before its anchor. So of what came, at most
//! the last [`HELD_MAX`] bytes wait for the next part; everything before them is out, and final. A match whose end has
//! not come yet (a private key, a long quoted value) is written when its beginning goes out, and what follows is
//! dropped as it comes: of it only the beginning is kept, which with the last bytes of the body tells where it ends.
//!
//! The parts put together are, byte for byte, what [`Engine::mask`] makes of the whole, with two exceptions that both
//! mask more: a text that costs too much is masked from there on, and so is one with more than [`GROWING_MAX`] open
//! matches at once.

use std::ops::Range;

use super::edit::weight;
use super::scan::Found;
use super::{Engine, Tally, placeholder};
use crate::shape::{AFTER_MAX, BEFORE_MAX, Extent, LABEL_MAX, Work, candidate, extent};

/// Most bytes that wait for the next part.
pub const HELD_MAX: usize = AFTER_MAX + BEFORE_MAX;
/// Bytes kept of what is out already: what stands before an anchor decides as well.
const CONTEXT: usize = 64;
/// Bytes kept of the beginning of a match whose end has not come, what stands before it included.
const HEAD: usize = CONTEXT + 192;
/// Bytes behind its end that a match may look at.
const LOOK: usize = LABEL_MAX + 2;
/// Most of them at once.
const GROWING_MAX: usize = 4;

/// A replacement that is decided and not, or not wholly, out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pending {
    /// Where in the held bytes.
    pub span: Range<usize>,
    /// What stands there instead; empty when it is out already.
    pub with: String,
    /// Place among the rules.
    pub rank: usize,
    /// True when the replacement is out, and only bytes are left to drop.
    pub out: bool,
}

/// A match whose end has not come: it has more bytes than any validator is asked about.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Growing {
    /// Id of the rule; `echo` for a value of the session of which only the beginning is known.
    pub rule: String,
    /// Place among the rules.
    pub rank: usize,
    /// Text from a little before the anchor on, as far as it is out: at most [`HEAD`] bytes.
    #[serde(with = "crate::session::bytes")]
    pub head: Vec<u8>,
    /// Bytes of it before the anchor.
    pub lead: usize,
    /// Length of the anchor.
    pub anchor: usize,
    /// Where in the held bytes the text begins when `head` is empty, else 0.
    pub offset: usize,
    /// True when bytes between `head` and the held ones are left out.
    pub cut: bool,
    /// Where in the held bytes the match begins; 0 when its replacement is out.
    pub start: usize,
    /// True when the replacement is out.
    pub out: bool,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Growing").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// All that a [`Stream`] knows; holds content.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StreamState {
    /// The last bytes that are out.
    #[serde(with = "crate::session::bytes")]
    pub context: Vec<u8>,
    /// The bytes that are not.
    #[serde(with = "crate::session::bytes")]
    pub held: Vec<u8>,
    /// Of how many of them the anchors are decided.
    pub decided: usize,
    /// Replacements in them.
    pub pending: Vec<Pending>,
    /// Open matches.
    pub growing: Vec<Growing>,
    /// Everything is masked to the end of the text.
    pub lost: bool,
}

impl std::fmt::Debug for StreamState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamState").field("held", &self.held.len()).field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// A text that comes in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stream(StreamState);

/// A replacement in the text at hand.
struct Edit {
    pending: Pending,
    /// Its end is not known yet.
    grows: bool,
}

/// A region of overlapping edits.
struct Region {
    span: Range<usize>,
    with: String,
    out: bool,
    grows: bool,
}

impl Stream {
    /// A stream that goes on where `state` was taken.
    #[must_use]
    pub fn from_state(state: StreamState) -> Self {
        Self(state)
    }

    /// What it knows.
    #[must_use]
    pub fn state(&self) -> &StreamState {
        &self.0
    }

    /// Bytes that came and are not out.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.len()
    }

    /// The rest of the text will not come, or is not known: what is held is masked, and so is all that still comes.
    pub fn lose(&mut self, out: &mut Vec<u8>, tally: &mut Tally) {
        let state = std::mem::take(&mut self.0);
        self.0.lost = true;
        if state.lost || state.held.is_empty() {
            return;
        }
        if !state.pending.iter().any(|one| one.out && one.span.end == state.held.len()) {
            out.extend_from_slice(placeholder("whole", state.held.len()).as_bytes());
        }
        tally.rules.insert("whole");
        tally.bytes += state.held.len();
        tally.unknown_values = true;
    }

    /// Takes the next part and appends what can go out; `end`: nothing follows.
    pub fn feed(&mut self, engine: &Engine, part: &[u8], end: bool, out: &mut Vec<u8>, tally: &mut Tally) {
        if self.0.lost {
            tally.bytes += part.len();
        } else if !part.is_empty() || end {
            self.step(engine, part, end, out, tally);
        }
        if end {
            *self = Self::default();
        }
    }

    fn step(&mut self, engine: &Engine, part: &[u8], end: bool, out: &mut Vec<u8>, tally: &mut Tally) {
        let state = std::mem::take(&mut self.0);
        let base = state.context.len();
        let text = [state.context.as_slice(), &state.held, part].concat();
        let decided = base + state.decided;
        let until = if end { text.len() } else { text.len().saturating_sub(AFTER_MAX).max(decided) };
        let cut = if end { text.len() } else { until.saturating_sub(BEFORE_MAX).max(base) };
        let mut edits: Vec<Edit> = state.pending.into_iter().map(|one| one.moved(base)).collect();
        let mut growing = Vec::new();
        for one in state.growing {
            let span = one.span(engine, &text, base);
            let grows = !end && span.end + LOOK > text.len();
            let with = placeholder(&one.rule, AFTER_MAX);
            edits.push(Edit { pending: Pending { span: span.clone(), with, rank: one.rank, out: one.out }, grows });
            if grows {
                growing.push(one.keep(&text, base, cut, span.start));
            }
        }
        let (mut found, known) = (Vec::new(), tally.known.clone());
        let whole = engine.scan(&text, decided..until, known.as_deref(), &mut found).is_ok();
        for one in found {
            tally.rules.insert(one.edit.rule);
            let grows = !end && one.edit.span.end + LOOK > text.len() && is_open(engine, one.edit.rule);
            if grows {
                growing.push(Growing::new(&one).keep(
                    &text,
                    one.hit.start.saturating_sub(CONTEXT),
                    cut,
                    one.edit.span.start,
                ));
            }
            let pending = Pending { span: one.edit.span, with: one.edit.with, rank: one.rank, out: false };
            edits.push(Edit { pending, grows });
        }
        if !whole || growing.len() > GROWING_MAX {
            self.give_up(text.len() - base, &edits, base, out, tally);
            return;
        }
        edits.sort_by_key(|edit| {
            let one = &edit.pending;
            (one.span.start, !one.out, weight(&one.span), one.rank)
        });
        let behind = write(&text, base..cut, &edits, out, tally);
        if end {
            return;
        }
        let covered = behind.map(|end| Pending { span: 0..end - cut, with: String::new(), rank: 0, out: true });
        // What grows is looked at anew with the next part.
        let later = edits.into_iter().filter(|edit| edit.pending.span.start >= cut && !edit.grows).map(|edit| {
            let one = edit.pending;
            Pending { span: one.span.start - cut..one.span.end - cut, ..one }
        });
        self.0 = StreamState {
            context: text.get(cut.saturating_sub(CONTEXT)..cut).unwrap_or_default().to_vec(),
            held: text.get(cut..).unwrap_or_default().to_vec(),
            decided: until - cut,
            pending: covered.into_iter().chain(later).collect(),
            growing,
            lost: false,
        };
    }

    /// Masks what is held, and all that still comes.
    fn give_up(&mut self, held: usize, edits: &[Edit], base: usize, out: &mut Vec<u8>, tally: &mut Tally) {
        if !edits.iter().any(|edit| edit.pending.out && edit.pending.span.start <= base && edit.grows) {
            out.extend_from_slice(placeholder("budget", AFTER_MAX).as_bytes());
        }
        tally.rules.insert("budget");
        tally.bytes += held;
        tally.unknown_values = true;
        self.0.lost = true;
    }
}

impl Pending {
    fn moved(self, by: usize) -> Edit {
        Edit { pending: Self { span: self.span.start + by..self.span.end + by, ..self }, grows: false }
    }
}

/// Writes `range` of the text with its edits; gives the end of a region that goes on behind it.
fn write(text: &[u8], range: Range<usize>, edits: &[Edit], out: &mut Vec<u8>, tally: &mut Tally) -> Option<usize> {
    let mut regions: Vec<Region> = Vec::new();
    for Edit { pending: edit, grows } in edits {
        match regions.last_mut() {
            Some(last) if edit.span.start < last.span.end => {
                last.span.end = last.span.end.max(edit.span.end);
                last.grows |= grows;
            }
            _ if edit.span.start >= range.end => break,
            _ => {
                regions.push(Region { span: edit.span.clone(), with: edit.with.clone(), out: edit.out, grows: *grows });
            }
        }
    }
    let mut at = range.start;
    for region in &regions {
        out.extend_from_slice(text.get(at..region.span.start).unwrap_or_default());
        if !region.out {
            out.extend_from_slice(region.with.as_bytes());
            tally.values.push(text.get(region.span.clone()).unwrap_or_default().to_vec());
            tally.unknown_values |= region.grows;
        }
        at = region.span.end.min(range.end).max(at);
        tally.bytes += at.saturating_sub(region.span.start.max(range.start));
    }
    out.extend_from_slice(text.get(at..range.end).unwrap_or_default());
    regions.pop().map(|last| last.span.end).filter(|end| *end > range.end)
}

fn is_open(engine: &Engine, id: &str) -> bool {
    id == "echo" || engine.rule(id).is_some_and(|rule| matches!(extent(rule), Extent::Open { .. }))
}

impl Growing {
    /// Nothing of it is out: `keep` is to be called with the place that `offset` counts from.
    fn new(found: &Found) -> Self {
        let lead = found.hit.start.min(CONTEXT);
        Self { rule: found.edit.rule.to_owned(), rank: found.rank, lead, anchor: found.hit.len(), ..Self::default() }
    }

    /// The same with the bytes of `text` from `base` (where the held ones began) to `cut` gone out. `start`: where the
    /// match begins.
    fn keep(mut self, text: &[u8], base: usize, cut: usize, start: usize) -> Self {
        let from = base + self.offset;
        if !self.cut {
            self.head.extend_from_slice(text.get(from..cut).unwrap_or_default());
        }
        self.offset = if self.head.is_empty() { from.saturating_sub(cut) } else { 0 };
        if self.head.len() > HEAD {
            self.cut = true;
            self.head.truncate(HEAD);
            // What a cut head ends with says nothing: a quote or backslash would meet what never followed it.
            while self.head.last().is_some_and(|byte| is_pairing(*byte)) && self.head.len() > self.lead + self.anchor {
                self.head.pop();
            }
        }
        self.out |= start < cut;
        self.start = start.saturating_sub(cut);
        self
    }

    /// The span in `text` as far as it is known. One that is no match any more goes on to the end.
    fn span(&self, engine: &Engine, text: &[u8], base: usize) -> Range<usize> {
        let start = base + self.start;
        let Some(rule) = engine.rule(&self.rule) else { return start..text.len() };
        let mut from = base + self.offset;
        let mut whole = self.head.clone();
        if self.cut {
            // Quotes and backslashes belong together: the rest begins where none is.
            let plain = |at: &usize| {
                let near = text.get(at.saturating_sub(1)..(at + 1).min(text.len())).unwrap_or_default();
                !near.iter().any(|byte| is_pairing(*byte))
            };
            let Some(place) = (0..=base).rev().find(plain) else { return start..text.len() };
            from = place;
            whole.push(b'0');
        }
        let head = whole.len();
        whole.extend_from_slice(text.get(from..).unwrap_or_default());
        match candidate(rule.shape, &whole, self.lead..self.lead + self.anchor, &mut Work(usize::MAX)) {
            Some(span) => start..(span.end + from).saturating_sub(head).max(start),
            None => start..text.len(),
        }
    }
}

/// Bytes that mean another thing beside another one of them.
fn is_pairing(byte: u8) -> bool {
    matches!(byte, b'\'' | b'"' | b'\\' | b'-')
}

#[cfg(test)]
mod tests;
