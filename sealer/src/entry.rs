//! Log entries as the sealer writes them; their form is the contract's, [`schemas::entry`].

pub use schemas::entry::{Entry, EntryBody, EntryError, TAG_SEAL};
use schemas::v1::{ArchiveBody, Hash32, SealBody};
use tlog::Hash;

/// Encodes the receipt of an archived object as a log entry.
#[must_use]
pub fn encode_archive(receipt: &ArchiveBody) -> Vec<u8> {
    receipt.to_entry()
}

/// Encodes a seal as a log entry.
#[must_use]
pub fn encode_seal(seal: &SealBody) -> Vec<u8> {
    seal.to_entry()
}

/// Decodes a log entry that must be a seal.
///
/// # Errors
/// [`EntryError`].
pub fn decode_seal(entry: &[u8]) -> Result<SealBody, EntryError> {
    match Entry::decode(entry)? {
        Entry::Seal(seal) => Ok(seal),
        other => Err(EntryError::Tag(other.tag())),
    }
}

/// A tree hash as the schema's type.
#[must_use]
pub fn hash32(hash: Hash) -> Hash32 {
    Hash32(*hash.as_bytes())
}
