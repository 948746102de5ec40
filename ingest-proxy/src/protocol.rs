//! The wire protocols the proxy speaks, one folder each.
//!
//! Inside a protocol, modules point down: `codec` (bytes to messages) <- `observe` (messages to frames and
//! commands) <- `relay` (the only async file). `codec` and `observe` are pure: no I/O, no clock, no random.

pub mod postgres;
