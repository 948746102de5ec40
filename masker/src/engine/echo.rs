//! The values that were masked in a session, in every form in which they may come back.
//!
//! A server repeats what it was told: in errors, in notices, and in rows of `pg_stat_activity`. Each value is looked
//! for as it is, with quotes doubled, as a JSON string, percent-encoded, in hex, and in base64 at its three alignments.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Most values kept; a session with more counts as incomplete.
pub const VALUES_MAX: usize = 64;
/// Most bytes of values kept.
const BYTES_MAX: usize = 8192;
/// Shortest value kept.
pub const VALUE_MIN: usize = 4;
/// Longest form looked for; of a longer one this much, and all that follows it is masked.
pub const NEEDLE_MAX: usize = 512;
/// Shortest value that is looked for in any text, and shortest encoded form.
const PLAIN_MIN: usize = 6;
const ENCODED_MIN: usize = 8;
/// Bits of the table of beginnings.
const BITS: u32 = 15;

struct Needle {
    bytes: Zeroizing<Vec<u8>>,
    /// The form is longer than this: what follows belongs to it.
    open: bool,
}

/// The values of one session.
pub struct Echoes {
    values: Vec<Vec<u8>>,
    bytes: usize,
    complete: bool,
    needles: Vec<Needle>,
    /// Needles by their first four bytes.
    by: HashMap<u32, Vec<usize>>,
    /// One bit per hash of four bytes: most places are told from any needle's beginning by this alone.
    table: Vec<u64>,
}

impl Default for Echoes {
    /// No value, and none is missing.
    fn default() -> Self {
        Self::new(true)
    }
}

impl Clone for Echoes {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        self.values.iter().for_each(|value| clone.learn(value));
        clone.complete = self.complete;
        clone
    }
}

impl std::fmt::Debug for Echoes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Echoes").field("values", &self.values.len()).field("complete", &self.complete).finish()
    }
}

impl Drop for Echoes {
    fn drop(&mut self) {
        self.values.iter_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

impl Echoes {
    fn new(complete: bool) -> Self {
        let (values, needles, table) = (Vec::new(), Vec::new(), Vec::new());
        Self { values, bytes: 0, complete, needles, by: HashMap::new(), table }
    }

    /// Values of which some are not known.
    #[must_use]
    pub fn incomplete() -> Self {
        Self::new(false)
    }

    /// Every value masked so far, unless some are not known.
    #[must_use]
    pub fn all(&self) -> Option<&[Vec<u8>]> {
        self.complete.then_some(self.values.as_slice())
    }

    /// The values that are known.
    #[must_use]
    pub fn values(&self) -> &[Vec<u8>] {
        &self.values
    }

    /// True when none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// From now on some are not known.
    pub fn lose(&mut self) {
        self.complete = false;
    }

    /// True when [`Echoes::learn`] would change something.
    #[must_use]
    pub fn is_news(&self, value: &[u8]) -> bool {
        value.len() >= VALUE_MIN
            && !self.values.iter().any(|known| known == value)
            && (self.complete || self.fits(value))
    }

    fn fits(&self, value: &[u8]) -> bool {
        self.values.len() < VALUES_MAX && self.bytes + value.len().min(NEEDLE_MAX) <= BYTES_MAX
    }

    /// Keeps a value; when there are too many, it is not, and the values are incomplete from then on. Of a long value
    /// the beginning is kept; what follows a beginning is masked to the end of its text.
    pub fn learn(&mut self, value: &[u8]) {
        if !self.is_news(value) {
            return;
        }
        if !self.fits(value) {
            self.complete = false;
            return;
        }
        if value.len() > NEEDLE_MAX {
            // errors are compared with whole values
            self.complete = false;
        }
        let value = value.get(..NEEDLE_MAX).unwrap_or(value);
        if self.values.iter().any(|known| known == value) {
            return;
        }
        if self.table.is_empty() {
            self.table = vec![0; 1 << (BITS - 6)];
        }
        self.bytes += value.len();
        self.values.push(value.to_vec());
        let cut = value.len() == NEEDLE_MAX;
        if value.len() >= PLAIN_MIN {
            self.needle(value.to_vec(), cut);
        }
        for form in forms(value) {
            if form.len() >= ENCODED_MIN && form != value {
                self.needle(form, cut);
            }
        }
    }

    fn needle(&mut self, mut bytes: Vec<u8>, cut: bool) {
        let open = cut || bytes.len() > NEEDLE_MAX;
        bytes.truncate(NEEDLE_MAX);
        let Some(first) = bytes.first_chunk::<4>().map(|four| u32::from_le_bytes(*four)) else { return };
        let same = self.by.entry(first).or_default();
        if same.iter().any(|at| self.needles.get(*at).is_some_and(|needle| *needle.bytes == bytes)) {
            return;
        }
        same.push(self.needles.len());
        self.needles.push(Needle { bytes: Zeroizing::new(bytes), open });
        let (word, bit) = slot(first);
        if let Some(word) = self.table.get_mut(word) {
            *word |= bit;
        }
    }

    /// Calls `found` with every place of `text`, beginning in `from`, where a value stands in any form.
    pub fn find(&self, text: &[u8], from: Range<usize>, mut found: impl FnMut(Range<usize>)) {
        if self.needles.is_empty() {
            return;
        }
        let windows = text.get(from.start.min(text.len())..).unwrap_or_default().windows(4).take(from.len());
        for (at, window) in windows.enumerate() {
            let Some(first) = window.first_chunk::<4>().map(|four| u32::from_le_bytes(*four)) else { continue };
            let (word, bit) = slot(first);
            if self.table.get(word).is_none_or(|word| word & bit == 0) {
                continue;
            }
            let start = from.start + at;
            let rest = text.get(start..).unwrap_or_default();
            let same = self.by.get(&first).map_or(&[][..], Vec::as_slice);
            for needle in same.iter().filter_map(|at| self.needles.get(*at)) {
                if rest.starts_with(&needle.bytes) {
                    found(start..if needle.open { text.len() } else { start + needle.bytes.len() });
                }
            }
        }
    }
}

fn slot(first: u32) -> (usize, u64) {
    let hash = first.wrapping_mul(0x9E37_79B1) >> (32 - BITS);
    (usize::try_from(hash >> 6).unwrap_or(0), 1 << (hash & 63))
}

/// Every form but the value itself.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::with_capacity(16);
    for shift in 0..3usize {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(value);
        // A character that holds bits of a neighbour is left out at either side.
        let (first, last) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.extend(text.as_bytes().get(first..last).map(<[u8]>::to_vec));
        }
    }
    forms.push(hex::encode(value).into_bytes());
    forms.push(hex::encode_upper(value).into_bytes());
    forms.push(each(value, |byte, out| match byte {
        b'\'' => out.extend_from_slice(b"''"),
        _ => out.push(byte),
    }));
    forms.push(each(value, |byte, out| match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        _ => out.push(byte),
    }));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let percent = |upper: bool| {
        each(value, |byte, out| {
            if plain(byte) {
                out.push(byte);
            } else {
                let text = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
                out.extend_from_slice(text.as_bytes());
            }
        })
    };
    forms.extend([percent(true), percent(false)]);
    forms
}

fn each(value: &[u8], mut put: impl FnMut(u8, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 8);
    value.iter().for_each(|byte| put(*byte, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(echoes: &Echoes, text: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        echoes.find(text, 0..text.len(), |span| spans.push(span));
        spans
    }

    #[test]
    fn too_many_values_are_incomplete_and_the_known_ones_still_found() {
        let mut echoes = Echoes::default();
        (0..100).for_each(|at| echoes.learn(format!("value number {at:03}").as_bytes()));
        assert_eq!((echoes.values().len(), echoes.all()), (VALUES_MAX, None));
        assert_eq!(spans(&echoes, b"it was value number 007").len(), 1);
        let mut echoes = Echoes::default();
        echoes.learn(&[b'x'; 2000]);
        assert_eq!((echoes.values()[0].len(), echoes.all()), (NEEDLE_MAX, None));
        let text = [b"a ".as_slice(), &[b'x'; 2000], b" end"].concat();
        assert!(spans(&echoes, &text).contains(&(2..text.len())));
    }

    proptest! {
        #[test]
        fn every_form_is_found(value in proptest::collection::vec(any::<u8>(), 8..60), before in proptest::collection::vec(any::<u8>(), 0..7), after in proptest::collection::vec(any::<u8>(), 0..7)) {
            let mut echoes = Echoes::default();
            echoes.learn(&value);
            let whole = [before.clone(), value.clone(), after].concat();
            for text in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole), hex::encode(&whole), hex::encode_upper(&whole)] {
                prop_assert!(!spans(&echoes, text.as_bytes()).is_empty());
            }
            prop_assert!(!spans(&echoes, &whole).is_empty());
            if let Ok(text) = std::str::from_utf8(&value) {
                let json = serde_json::to_string(text).unwrap();
                prop_assert!(!spans(&echoes, json.as_bytes()).is_empty());
            }
        }
    }
}
