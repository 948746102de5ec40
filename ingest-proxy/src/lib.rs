//! Sockets to audit.raw: terminates, authenticates, relays and observes.

pub mod config;
pub mod encrypt;
pub mod error;
mod handshakes;
pub mod identity;
pub mod journal;
mod link;
mod listener;
pub mod metrics;
pub mod policy;
pub mod protocol;
pub mod session;
pub mod start;
pub mod tap;
pub mod target;
mod workers;

pub use start::{ProxyRunning, start};
