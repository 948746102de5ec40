//! Sockets to audit.raw: terminates, authenticates, relays and observes.

pub mod config;
pub mod encrypt;
pub mod identity;
pub mod journal;
pub mod policy;
pub mod protocol;
pub mod session;
pub mod tap;
