//! What a message is made of: structure labels spans, the engine finds patterns, both become edits.

pub mod binary;
pub mod copy;
pub mod postgres;
pub mod sql;
pub mod value;
