//! audit.frames and audit.events to audit.seals: leaves, batches, seals, the log.
//!
//! Input: bus records of the sealed topics, undecoded but for the canonical gate. Output: log entries under `log/` in the
//! object store, signed checkpoints, and one envelope per seal on audit.seals (at least once; readers tell a repeat by
//! `log_index`). Order: a stream's seals are dense and chained; the log's order is the proposals topic's. Failure: see
//! [`notary`]; nothing signed is ever taken back. The only package that reads a signing key (I-15).

pub mod batch;
pub mod config;
pub mod entry;
pub mod error;
mod heads;
pub mod integrate;
pub mod leaf;
mod lock;
mod metrics;
pub mod notary;
pub mod offline;
pub mod orders;
mod policy;
mod rotate;
pub mod shared;
pub mod signer;
pub mod start;
pub mod store;
mod stored;
pub mod witness;
pub mod worker;

pub use config::SealerConfig;
pub use error::NotaryError;
