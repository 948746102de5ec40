//! Log entries: a tag byte, then an Avro body.

use schemas::v1::{Hash32, SealBody};
use schemas::{DecodeError, Record as _};
use tlog::Hash;

/// Tag of a seal.
pub const TAG_SEAL: u8 = 0x01;

/// Why bytes are no log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No byte at all.
    #[error("log entry is empty")]
    Empty,
    /// A tag this version does not write.
    #[error("log entry has unknown tag {0}")]
    Tag(u8),
    /// The body is not canonical.
    #[error("log entry body is not canonical")]
    Body(#[source] DecodeError),
}

/// Encodes a seal as a log entry.
#[must_use]
pub fn encode_seal(seal: &SealBody) -> Vec<u8> {
    let mut out = vec![TAG_SEAL];
    seal.encode(&mut out);
    out
}

/// Decodes a log entry that must be a seal.
///
/// # Errors
/// [`EntryError`].
pub fn decode_seal(entry: &[u8]) -> Result<SealBody, EntryError> {
    match entry.split_first() {
        None => Err(EntryError::Empty),
        Some((&TAG_SEAL, body)) => SealBody::from_body(body).map_err(EntryError::Body),
        Some((&tag, _)) => Err(EntryError::Tag(tag)),
    }
}

/// A tree hash as the schema's type.
#[must_use]
pub fn hash32(hash: Hash) -> Hash32 {
    Hash32(*hash.as_bytes())
}
