//! Sealed records as Arrow columns, and back to the same bytes. No I/O, no Parquet, no hashing.
//!
//! Writer and reader of the archive share this crate, so that a row read back gives exactly the leaf input that was
//! sealed (I-08). Going back is strict: a text that is no lower-case UUID, an unknown symbol, a null where the schema
//! has none, a flag that disagrees with its column are errors, never repaired.

mod builder;
mod error;
pub mod footer;
mod kind;
mod nested;
mod rows;
mod tables;

pub use builder::{Builder, RowMeta, schema};
pub use error::ColumnsError;
pub use footer::{Footer, FooterBatch, FooterError};
pub use rows::Rows;
