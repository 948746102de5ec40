//! Log entries: a tag byte, then an Avro body.

pub use schemas::entry::{TAG_ARCHIVE, TAG_SEAL};
use schemas::v1::{ArchiveBody, Hash32, SealBody};
use schemas::{DecodeError, Record as _};
use tlog::Hash;

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

/// A log entry of this version.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// One batch of one stream.
    Seal(SealBody),
    /// The receipt of one archived object.
    Archive(ArchiveBody),
}

impl Entry {
    /// Decodes a log entry, strictly.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(entry: &[u8]) -> Result<Self, EntryError> {
        match entry.split_first() {
            None => Err(EntryError::Empty),
            Some((&TAG_SEAL, body)) => SealBody::from_body(body).map(Self::Seal).map_err(EntryError::Body),
            Some((&TAG_ARCHIVE, body)) => ArchiveBody::from_body(body).map(Self::Archive).map_err(EntryError::Body),
            Some((&tag, _)) => Err(EntryError::Tag(tag)),
        }
    }
}

/// Encodes the receipt of an archived object as a log entry.
#[must_use]
pub fn encode_archive(receipt: &ArchiveBody) -> Vec<u8> {
    let mut out = vec![TAG_ARCHIVE];
    receipt.encode(&mut out);
    out
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
    match Entry::decode(entry)? {
        Entry::Seal(seal) => Ok(seal),
        Entry::Archive(_) => Err(EntryError::Tag(TAG_ARCHIVE)),
    }
}

/// A tree hash as the schema's type.
#[must_use]
pub fn hash32(hash: Hash) -> Hash32 {
    Hash32(*hash.as_bytes())
}
