//! The fault harness: the whole line as separate processes, a workload whose truth is known, a seeded plan of faults,
//! and an accountant that says what was lost, doubled, unrecorded or unsealed (I-01 to I-04, I-10, I-11).
//!
//! [`plan`] turns a seed into faults, [`plant`] starts everything and does them, [`workload`] speaks to the proxy,
//! [`witness`] reads what Postgres itself says, and [`account`] compares. The testkit depends on no package of the
//! product, so reading the bus and the archive is handed in as [`Evidence`].

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

pub mod account;
pub mod client;
pub mod gate;
pub mod plan;
pub mod plant;
pub mod random;
pub mod relay;
pub mod run;
pub mod witness;
pub mod workload;

pub use account::{Account, Recorded, Row, account};
pub use plan::{Fault, Plan, Step, Target};
pub use plant::Plant;
pub use run::{Options, Outcome, run};

/// Where the evidence of a run lies.
#[derive(Debug, Clone)]
pub struct Places {
    /// Brokers.
    pub bootstrap: String,
    /// Partitions of the keyed topics.
    pub partitions: i32,
    /// The S3 server itself, not the gate before it.
    pub store: SocketAddr,
    /// Bucket and prefix as an address.
    pub archive: String,
    /// Files with access key id and secret key.
    pub keys: (PathBuf, PathBuf),
    /// Region to sign for.
    pub region: String,
}

/// Reads what the line recorded, and writes records twice; implemented by whoever may import the product's packages.
pub trait Evidence {
    /// Every committed record of `audit.raw`, `audit.dlq`, `audit.frames` and `audit.events`, and every archived row.
    ///
    /// # Errors
    /// When bus or store do not answer, or hold what cannot be decoded.
    fn collect(&self, places: &Places) -> Result<Recorded>;

    /// Appends the newest `count` records of a partition of `audit.raw` once more, as late delivery would.
    /// Returns how many it wrote.
    ///
    /// # Errors
    /// When the bus does not answer.
    fn repeat(&self, places: &Places, partition: i32, count: usize) -> Result<usize>;
}
