//! What is known of a session between two of its records, and how it is put aside.
//!
//! It is written to `audit.masker.state` in the transaction of the records it follows from, so that a masker that goes
//! on elsewhere writes the same bytes (I-12). It holds content, so it is sealed with a key that only the masker has
//! (I-05). What does not open, or is of another version of the rules, counts as unknown: then more is masked.

use std::sync::Arc;

use schemas::v1::RawFrame;

use crate::engine::{Echoes, MASK_VERSION, Tally};
use crate::flow::{FLOWS_MAX, Flow, Guide};
use crate::structure::copy::Place;

/// Most bytes of a COPY row that wait for the rest of it.
pub(crate) const ROW_HELD_MAX: usize = 1024;

/// What is known of a session.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Values masked in it.
    pub(crate) echoes: Arc<Echoes>,
    /// Where its next COPY data begins, or the row that is held.
    pub(crate) place: Place,
    /// Beginning of a COPY row whose end has not come.
    pub(crate) row: Vec<u8>,
    /// Messages of which some chunks have come.
    pub(crate) flows: Vec<Flow>,
    /// Bytes that were held and will never come out, to be counted with the next record.
    pub(crate) dropped: usize,
    /// Sequence of its next record.
    pub(crate) next: i64,
}

impl Known {
    /// A session of which everything is known (`complete`), or nothing of what was before `next`.
    pub(crate) fn new(complete: bool, next: i64) -> Self {
        let echoes = Arc::new(if complete { Echoes::default() } else { Echoes::incomplete() });
        Self { echoes, place: Place::default(), row: Vec::new(), flows: Vec::new(), dropped: 0, next }
    }

    /// A record that never came may have held values, and the end or the beginning of a row or message.
    pub(crate) fn follow(&mut self, sequence: i64) {
        if sequence != self.next {
            Arc::make_mut(&mut self.echoes).lose();
            self.place = Place::default();
            self.drop_row();
            self.dropped += self.flows.drain(..).map(|flow| flow.held()).sum::<usize>();
        }
        self.next = sequence.saturating_add(1);
    }

    /// The row that is held will not be completed.
    pub(crate) fn drop_row(&mut self) {
        self.dropped += self.row.len();
        self.row.clear();
    }

    /// Counts what was dropped with the record at hand.
    pub(crate) fn settle(&mut self, tally: &mut Tally) {
        if self.dropped > 0 {
            tally.rules.insert("held");
            tally.bytes += std::mem::take(&mut self.dropped);
            tally.unknown_values = true;
        }
    }

    /// Keeps what was masked.
    pub(crate) fn remember(&mut self, tally: &mut Tally) {
        // The record's own hold on the values goes first, so that they need no copy.
        tally.known = None;
        let values = std::mem::take(&mut tally.values);
        if values.iter().any(|value| self.echoes.is_news(value)) {
            let echoes = Arc::make_mut(&mut self.echoes);
            for value in values {
                if let Some(plain) = unescaped(&value) {
                    echoes.learn(&plain);
                }
                echoes.learn(&value);
            }
        }
        if tally.unknown_values && self.echoes.all().is_some() {
            Arc::make_mut(&mut self.echoes).lose();
        }
    }

    /// The record's content cannot be read: what goes on in it is not known.
    pub(crate) fn unread(&mut self, raw: &RawFrame) {
        if raw.message_type == "CopyData" {
            self.drop_row();
            self.place = Place::default();
        }
        let (gone, kept): (Vec<Flow>, Vec<Flow>) = self.flows.drain(..).partition(|flow| flow.shares(raw));
        self.flows = kept;
        self.dropped += gone.iter().map(Flow::held).sum::<usize>();
    }

    /// Masks a chunk of a message that is followed; `None` when it is not, or no longer. The flag: it fits its type.
    pub(crate) fn chunk(
        &mut self,
        guide: Guide<'_>,
        raw: &RawFrame,
        content: &[u8],
        tally: &mut Tally,
    ) -> Option<(Vec<u8>, bool)> {
        let open = self.flows.iter().position(|flow| flow.continues(raw));
        if open.is_none() {
            // Another message of the same way: the one before it ended without its last chunk.
            self.unread(raw);
        }
        let mut flow = match open {
            Some(at) => self.flows.remove(at),
            None if raw.chunk == 0 => Flow::begin(raw)?,
            None => return None,
        };
        let carried = flow.held() > 0;
        let (body, fits) = flow.feed(guide, content, raw.last, tally);
        if carried {
            tally.rules.insert("carried");
        }
        if flow.held() > 0 {
            tally.rules.insert("held");
        }
        if !raw.last && fits {
            self.push_flow(flow);
        }
        Some((body, fits))
    }

    /// Adds a flow; the oldest goes when there are too many.
    pub(crate) fn push_flow(&mut self, flow: Flow) {
        if self.flows.len() >= FLOWS_MAX {
            self.dropped += self.flows.remove(0).held();
        }
        self.flows.push(flow);
    }
}

/// The value behind doubled quotes and backslash escapes, as the server would echo it.
fn unescaped(value: &[u8]) -> Option<Vec<u8>> {
    if !value.contains(&b'\\') && memchr::memmem::find(value, b"''").is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek().copied()) {
            (b'\'', Some(b'\'')) => {
                bytes.next();
                out.push(b'\'');
            }
            (b'\\', Some(next)) if !next.is_ascii_alphanumeric() => {
                bytes.next();
                out.push(next);
            }
            _ => out.push(byte),
        }
    }
    Some(out)
}

/// The form that is put aside.
#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    version: String,
    complete: bool,
    #[serde(with = "list")]
    values: Vec<Vec<u8>>,
    place: Place,
    #[serde(with = "bytes")]
    row: Vec<u8>,
    flows: Vec<Flow>,
    dropped: usize,
}

impl Known {
    /// Everything but the next sequence, in clear.
    pub(crate) fn save(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let saved = Saved {
            version: MASK_VERSION.to_owned(),
            complete: self.echoes.all().is_some(),
            values: self.echoes.values().to_vec(),
            place: self.place,
            row: self.row.clone(),
            flows: self.flows.clone(),
            dropped: self.dropped,
        };
        zeroize::Zeroizing::new(serde_json::to_vec(&saved).unwrap_or_default())
    }

    /// The session whose state is `clear`; of one that does not read back nothing is known.
    pub(crate) fn load(clear: Option<&[u8]>, next: i64) -> Self {
        let saved = clear.and_then(|clear| serde_json::from_slice::<Saved>(clear).ok());
        let Some(saved) = saved.filter(|saved| saved.version == MASK_VERSION) else { return Self::new(false, next) };
        let mut echoes = Echoes::default();
        saved.values.iter().for_each(|value| echoes.learn(value));
        if !saved.complete {
            echoes.lose();
        }
        let Saved { place, row, flows, dropped, .. } = saved;
        Self { echoes: Arc::new(echoes), place, row, flows, dropped, next }
    }
}

/// Bytes as base64 text.
pub(crate) mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))
    }
}

/// The same for a list.
mod list {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| STANDARD.encode(value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))).collect()
    }
}
