//! Sockets to audit.raw: terminates, authenticates, relays and observes.

pub mod encrypt;
pub mod journal;
pub mod protocol;
pub mod tap;
