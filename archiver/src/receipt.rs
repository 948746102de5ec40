//! Receipts: the SHA-256 of each object as it is stored, proposed to the log (I-08).
//!
//! Seals cover rows; a receipt covers every byte, so that page headers, statistics and filters, which decide what a query
//! engine reads, cannot be changed unseen. A receipt is proposed after the put and before the stream goes on, so at most a
//! stream's newest object lacks one after a crash; a start proposes it again, and the notary refuses repeats.

use bytes::Bytes;
use columns::Footer;
use schemas::entry::EntryBody as _;
use schemas::v1::{ArchiveBody, Hash32};
use sha2::Digest as _;
use stage::Env;
use stage::bus::{WriteMode, Writer, WriterSpec};
use stage::store::Store;

use crate::error::ArchiveError;
use crate::readback::{self, ReadbackError, seal_of};

/// Proposes receipts.
pub struct Receipts {
    writer: Box<dyn Writer>,
    topic: String,
}

impl Receipts {
    /// A writer of the proposals topic.
    ///
    /// # Errors
    /// [`ArchiveError::Bus`].
    pub fn open(env: &Env) -> Result<Self, ArchiveError> {
        let spec = WriterSpec { name: format!("{}-archive-receipts", env.instance), mode: WriteMode::Idempotent };
        Ok(Self { writer: env.bus.writer(&spec)?, topic: env.topics.seal_proposals.clone() })
    }

    /// Proposes the receipt of the object `name`, which is stored with `bytes` and holds what `footer` says. A repeat does
    /// no harm.
    ///
    /// # Errors
    /// [`ArchiveError::Bus`]: propose it again before the stream goes on. [`ArchiveError::Resume`] for a footer without
    /// seals.
    pub fn propose(&mut self, name: &str, bytes: &Bytes, footer: &Footer) -> Result<(), ArchiveError> {
        let receipt =
            receipt_of(name, bytes, footer).map_err(|source| ArchiveError::Resume { name: name.to_owned(), source })?;
        let entry = receipt.to_entry();
        self.writer.begin()?;
        self.writer.send(&self.topic, 0, Some(receipt.stream_id.to_string().as_bytes()), Some(&entry))?;
        Ok(self.writer.commit(None)?)
    }

    /// Proposes the receipt of an object that an earlier run put, once its rows were found to be what was sealed. One that
    /// holds something else gets none, and the archive goes on: `verify` reports it either way.
    ///
    /// # Errors
    /// As [`Receipts::propose`]; [`ArchiveError::Store`].
    pub fn propose_stored(&mut self, store: &Store, name: &str) -> Result<(), ArchiveError> {
        let Some(bytes) = store.get(name)?.map(Bytes::from) else { return Ok(()) };
        match readback::verify(&bytes) {
            Ok(footer) => self.propose(name, &bytes, &footer),
            Err(error) => {
                tracing::error!(object = %name, %error, "a stored object does not hold what was sealed; it gets no receipt");
                Ok(())
            }
        }
    }
}

/// The receipt of an object; its origin is that of the seals inside.
fn receipt_of(name: &str, bytes: &Bytes, footer: &Footer) -> Result<ArchiveBody, ReadbackError> {
    const EMPTY: ReadbackError = ReadbackError::Whole("it holds no batch");
    let (first, last) = (footer.batches.first().ok_or(EMPTY)?, footer.batches.last().ok_or(EMPTY)?);
    Ok(ArchiveBody {
        version: 1,
        origin: seal_of(footer, last)?.body.origin,
        stream_id: footer.stream_id,
        object: name.to_owned(),
        object_sha256: Hash32(sha2::Sha256::digest(bytes).into()),
        bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        first_seal: first.seal_seq,
        last_seal: last.seal_seq,
    })
}
