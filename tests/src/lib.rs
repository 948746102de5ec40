//! The testkit: real servers on free ports, and the journeys through them.
//!
//! Why it exists: a test that talks to an imitation proves little about an audit line, so every test here talks to the
//! real server, which it starts itself. The API is blocking, so a test needs no runtime. Rules kept by every server:
//! loopback only; ports picked freely; one folder per server that goes away with it; readiness by asking, never by
//! sleeping; ended by process id, also when the test process is killed (see [`process`]); the server's own log is part
//! of the error when it does not start. What is not on the machine is installed by [`tools`] into a cache folder.

pub mod certs;
pub mod duckdb;
pub mod fault;
pub mod http;
pub mod kafka;
pub mod line;
pub mod litewitness;
pub mod node;
pub mod oidc;
pub mod openbao;
pub mod pgbench;
pub mod pgbouncer;
pub mod pgwire;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod python;
pub mod registry;
pub mod s3;
pub mod tools;
pub mod wait;

pub use wait::eventually;
