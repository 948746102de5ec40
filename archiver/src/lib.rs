//! Sealed records to Parquet in the object store.
//!
//! Input: audit.seals, and the records they cover on audit.frames and audit.events. Output: one object per run of whole
//! sealed batches of one stream, put create-only, locked. Order: a stream's seals are dense, each is in exactly one
//! object. File boundaries, names and bytes are functions of the seals alone, never of a clock or of polls (I-04, I-12).
//! Nothing is put before it was read back and its leaves hashed to the seals (I-08). The SHA-256 of each object goes to
//! audit.seal.proposals as its receipt before its stream goes on. The archive is its own position:
//! on start each stream goes on after its newest object.

pub mod archive;
pub mod collect;
pub mod config;
pub mod error;
mod metrics;
pub mod readback;
pub mod receipt;
pub mod resume;
pub mod rolling;
pub mod seal;
pub mod start;

pub use archive::Archive;
pub use config::ArchiverConfig;
pub use error::ArchiveError;
pub use start::start;
