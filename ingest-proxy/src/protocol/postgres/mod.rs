//! Postgres, protocol 3.0 and 3.2: messages, and what they mean for the audit.
//!
//! `codec` cuts the byte stream, `message` reads and builds single messages, `scram` logs in at the target,
//! `observe` turns messages into frames and commands, `facts` is the head it writes. All pure.

pub mod auth;
pub mod cancel;
pub mod codec;
pub mod facts;
pub mod message;
pub mod observe;
pub mod relay;
pub mod scram;
pub mod statement;
