//! audit.raw to audit.enriched: principal, target, network context.
//!
//! Input: `RawFrame`s keyed by session. Output: `EnrichedFrame`s with the same key, on the same partition number, in the
//! same order, the raw bytes copied as they are; holds no key that opens content. A repeat (sequence at or below the last
//! one written, as a journal replay makes) is dropped: it is in the output already. A gap is counted and passed on, never
//! closed. A record whose session is unknown waits a bounded time for `audit.sessions`, then goes on unattributed, never
//! guessed. A record that is no canonical `RawFrame` goes to `audit.dlq`.

pub mod config;
pub mod error;
pub mod start;
pub mod transform;

pub use config::EnricherConfig;
