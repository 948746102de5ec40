//! From a bus record to its leaf: the canonical gate, then one hash.
//!
//! A record that fails the gate is never dropped: it is sealed as opaque, with its raw bytes (I-08).

use schemas::framing;
use schemas::leaf::LeafInput;
use schemas::v1::StreamId;
use schemas::{Record as _, v1};
use stage::bus::RecordRef;
use tlog::{Hash, LeafHasher};

/// What a sealed topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `v1::Frame`.
    Frames,
    /// `v1::Event`.
    Events,
}

impl Kind {
    /// The writer schema's text, whose SHA-256 a seal carries.
    #[must_use]
    pub fn schema(self) -> &'static str {
        match self {
            Self::Frames => v1::Frame::SCHEMA,
            Self::Events => v1::Event::SCHEMA,
        }
    }
}

/// The canonical gate and the leaf hash of one kind of record; buffers are reused.
#[derive(Debug)]
pub struct Gate {
    kind: Kind,
    frame: v1::Frame,
    event: v1::Event,
    scratch: Vec<u8>,
}

impl Gate {
    /// A gate for `kind`.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, frame: v1::Frame::default(), event: v1::Event::default(), scratch: Vec::new() }
    }

    /// The canonical body of a value, or `None` when the value must be sealed as opaque. Strict decoding accepts only
    /// what encodes to the same bytes again, so decoding is the gate.
    fn body<'a>(&mut self, value: &'a [u8]) -> Option<&'a [u8]> {
        let (_, body) = framing::split(value).ok()?;
        match self.kind {
            Kind::Frames => self.frame.decode(body),
            Kind::Events => self.event.decode(body),
        }
        .ok()
        .map(|()| body)
    }

    /// The leaf hash of a record of `stream_id`.
    pub fn leaf(&mut self, stream_id: StreamId, record: &RecordRef<'_>) -> Hash {
        let body = record.value.and_then(|value| self.body(value));
        let input = LeafInput {
            stream_id,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            log_append_time: record.log_append_time,
            key: record.key,
            value: body.or(record.value),
            opaque: record.value.is_some() && body.is_none(),
        };
        self.scratch.clear();
        input.write(&mut self.scratch);
        let mut hasher = LeafHasher::new();
        hasher.update(&self.scratch);
        hasher.finish()
    }
}
