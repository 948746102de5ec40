//! audit.enriched to audit.frames (slot 0) and audit.events (slot 1): decrypts and redacts.
//!
//! Key: the session id; order: as the input. A MESSAGE becomes a frame, everything else an event; nothing is
//! lost: what cannot be opened or parsed goes out masked whole with a reason code. Only a record that does not
//! decode at all is rejected (`M-001`, `M-002`). Keeps I-05 (no value that a rule matches leaves in clear) and
//! I-12 (pure). Statements, Binds, rows and COPY data are followed from record to record: what a cut leaves open is
//! held back, and moves into the next record of its message or COPY ([`flow`]). What the masker knows of a session is
//! written to `audit.masker.state` (slot 2) with its output, sealed.
//! Known limit: of a secret in two other messages, and of a private key in many rows of a named column, patterns see
//! each part alone.

pub mod config;
pub mod decrypt;
pub mod engine;
pub mod error;
pub mod flow;
mod head;
mod iban;
mod manifest;
pub mod metrics;
mod numbers;
mod placeholder;
pub mod reason;
pub mod rule;
pub mod sample;
mod session;
pub mod shape;
pub mod start;
pub mod structure;
pub mod transform;
pub mod user_rule;
pub mod validate;

pub use config::MaskerConfig;
pub use decrypt::MaskerKey;
pub use error::MaskerError;
pub use transform::{Masker, MaskerFactory};
