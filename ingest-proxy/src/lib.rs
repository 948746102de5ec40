//! Sockets to audit.raw: terminates, authenticates, relays and observes.

pub mod protocol;
