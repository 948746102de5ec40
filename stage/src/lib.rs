//! The skeleton shared by every stage: transform, runner, bus, telemetry. No domain rule inside.
//!
//! A stage reads one topic, applies a pure [`transform::Transform`] and writes its outputs together with
//! its input positions, all or none (I-04). The [`bus::Bus`] trait has two adapters with one conformance
//! suite: Kafka for production, embedded for one node.

pub mod bus;
pub mod chain;
pub mod clock;
pub mod config;
pub mod dlq;
pub mod env;
pub mod health;
pub mod metrics;
pub mod registry;
pub mod runner;
pub mod shutdown;
pub mod store;
pub mod transform;

pub use env::{Env, Running, StageFailure};
pub use shutdown::{Level, Shutdown};
