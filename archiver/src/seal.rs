//! A seal as the archiver takes it from an envelope. Signatures are not looked at here: the archiver holds no key, and
//! `verify` checks them on what was archived.

use schemas::Record as _;
use schemas::entry::{Entry, EntryError};
use schemas::v1::{SealBody, SealEnvelope};
use tlog::{Hash, leaf_hash};

/// Most rows of one batch.
const COUNT_MAX: i64 = 1 << 20;

/// A seal with the envelope it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Seal {
    /// What was sealed.
    pub body: SealBody,
    /// Its log leaf hash: the next seal's `prev_seal_hash`.
    pub leaf: Hash,
    /// Avro body of the envelope.
    pub envelope: Vec<u8>,
    /// Index in the log; equal for a repeat.
    pub log_index: i64,
}

impl Seal {
    /// Reads an envelope's Avro body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(envelope: &[u8]) -> Result<Self, &'static str> {
        let parsed = SealEnvelope::from_body(envelope).map_err(|_| "the envelope is not canonical")?;
        let body = match Entry::decode(&parsed.entry) {
            Ok(Entry::Seal(body)) => body,
            Ok(_) | Err(EntryError::Tag(_)) => return Err("the entry is no seal"),
            Err(EntryError::Empty) => return Err("the entry is empty"),
            Err(EntryError::Long(_) | EntryError::Body(_)) => return Err("the seal is not canonical"),
        };
        if body.version != 1 {
            return Err("the seal has another version");
        }
        if !(0..=COUNT_MAX).contains(&body.count) || body.seal_seq < 0 || body.first_seq < 0 {
            return Err("the seal's numbers are out of range");
        }
        Ok(Self { body, leaf: leaf_hash(&parsed.entry), envelope: envelope.to_vec(), log_index: parsed.log_index })
    }

    /// The seal's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        Hash::new(self.body.batch_root.0)
    }
}
