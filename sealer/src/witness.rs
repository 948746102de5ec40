//! Witnesses: others who have seen that a head extends the one before, and say so with the time (tlog-witness).

pub mod client;
pub mod server;

use tlog::{Checkpoint, Note, NoteSignature};

use crate::error::NotaryError;
use crate::store::LogStore;

/// Gets cosignatures for a head before it is published.
pub trait Cosigner: Send {
    /// Signature lines of witnesses over `checkpoint`, to follow those of `note`, which the log has signed. Tiles of that
    /// size are in `store`.
    ///
    /// # Errors
    /// [`NotaryError::ForkGuard`] when a witness knows another or a longer log; [`NotaryError::Quorum`] when there are too few
    /// and the configuration says to wait.
    fn cosign(
        &mut self,
        checkpoint: &Checkpoint,
        note: &Note,
        store: &dyn LogStore,
    ) -> Result<Vec<NoteSignature>, NotaryError>;

    /// The log's next key, in its KEY entry, for witnesses that take it from there. Nobody need hear of it.
    fn new_key(&mut self, _entry: &[u8]) {}
}

/// How asking a witness ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It cosigned.
    Cosigned,
    /// It does not accept the head.
    Refused,
    /// It could not be reached, or did not answer in time.
    Failed,
}

/// No witness at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWitness;

impl Cosigner for NoWitness {
    fn cosign(&mut self, _: &Checkpoint, _: &Note, _: &dyn LogStore) -> Result<Vec<NoteSignature>, NotaryError> {
        Ok(Vec::new())
    }
}
