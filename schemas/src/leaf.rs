//! The leaf input of a sealed record: a function of the bus record alone (`docs/reference/integrity.md`, event leaf).

use sha2::{Digest, Sha256};

use crate::v1::StreamId;

/// First bytes of every leaf input.
pub const MAGIC: [u8; 4] = *b"AEL1";
/// The timestamp was set by the bus.
pub const TIMESTAMP_LOG_APPEND: u8 = 1;
/// Flag: the key is present.
pub const FLAG_KEY: u8 = 1;
/// Flag: the value is present.
pub const FLAG_VALUE: u8 = 2;
/// Flag: the value failed the canonical gate; its raw bytes, prefix included, follow.
pub const FLAG_OPAQUE: u8 = 4;
/// Bytes before the key length.
pub const HEAD_LEN: usize = 40;

/// The id of a stream: one partition of one sealed topic of one cluster.
#[must_use]
pub fn stream_id(cluster_id: &str, topic: &str, topic_id: &str, partition: i32) -> StreamId {
    let mut hash = Sha256::new();
    hash.update(b"audit-stream/v1\n");
    for part in [cluster_id, topic, topic_id] {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.update(partition.to_string().as_bytes());
    hash.update(b"\n");
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0u8; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    StreamId(id)
}

/// One record of a sealed stream, as its leaf sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafInput<'a> {
    /// Stream.
    pub stream_id: StreamId,
    /// Offset, never negative.
    pub offset: i64,
    /// Bus timestamp, milliseconds.
    pub timestamp_ms: i64,
    /// True when the bus set the timestamp.
    pub log_append_time: bool,
    /// Key; `None` when null.
    pub key: Option<&'a [u8]>,
    /// Canonical Avro body without prefix, or the whole raw value when `opaque`; `None` when null.
    pub value: Option<&'a [u8]>,
    /// The value failed the canonical gate.
    pub opaque: bool,
}

impl LeafInput<'_> {
    /// The flags byte.
    #[must_use]
    pub fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.key.is_some(), FLAG_KEY) | flag(self.value.is_some(), FLAG_VALUE) | flag(self.opaque, FLAG_OPAQUE)
    }

    /// Appends the leaf input's bytes; lengths are big-endian u32 and a null has length 0.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.stream_id.0);
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        out.push(u8::from(self.log_append_time));
        out.push(self.flags());
        out.extend_from_slice(&[0, 0]);
        for part in [self.key, self.value] {
            let part = part.unwrap_or_default();
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_leaf_input() {
        let id = stream_id("lkc-1", "audit.events", "0a1b2c3d-0000-4000-8000-000000000001", 17);
        assert_eq!(id.to_string(), "5fa3990bba6b64aa46826799fa36e639");
        let mut out = Vec::new();
        let leaf = LeafInput {
            stream_id: id,
            offset: 1000,
            timestamp_ms: 1_770_000_000_000,
            log_append_time: false,
            key: Some(b"session-0"),
            value: Some(b"event-0"),
            opaque: false,
        };
        leaf.write(&mut out);
        assert_eq!(
            hex(&out),
            "41454c315fa3990bba6b64aa46826799fa36e63900000000000003e80000019c1c38a4000003000000\
             00000973657373696f6e2d30000000076576656e742d30"
        );
    }
}
