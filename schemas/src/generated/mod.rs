//! Types made from `avro/` by `cargo xtask gen`; never edited by hand.

#[allow(missing_docs, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod v1;
