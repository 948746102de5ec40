//! Object store to rows and proofs, read only.
//!
//! Needs nothing but the objects: a plain copy of the archive on a disk is enough. Nothing here writes, signs or asks
//! the bus. Invariants: I-08 (archived rows hash to their leaves), I-13 and I-14 (dense, consistent log), I-10 (every
//! loop and buffer has a limit).
//!
//! - [`open`]: an archive by path, `file://` or `s3://` address;
//! - [`complete`]: gaps in what each session counted;
//! - [`fetch`]: one Parquet object as footer and rows;
//! - [`list`]: sessions, one session, all events;
//! - [`prove`]: proof files for other tools, and their check without the archive;
//! - [`verify`]: the whole check, from the signed checkpoint down to the last row.

pub mod complete;
pub mod error;
pub mod fetch;
pub mod list;
pub mod open;
pub mod prove;
pub mod verify;

pub use complete::{Completeness, completeness};
pub use error::ReadError;
pub use fetch::{ObjectError, ObjectRows};
pub use list::{SessionSummary, events, session, sessions};
pub use open::Archive;
pub use prove::{ProveError, Proven, Wanted, check_proof, prove, prove_consistency};
pub use verify::{Finding, Options, Outcome, Progress, Report, StreamSummary, verify};
