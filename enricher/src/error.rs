//! Rejection codes, stable; listed in the reference.

/// The value has no schema prefix, or is null.
pub const NO_PREFIX: &str = "E-001";
/// The value is not a canonical `RawFrame` of a known version.
pub const NOT_RAW: &str = "E-002";
/// The record key is not the session id.
pub const WRONG_KEY: &str = "E-003";
/// The sequence is negative.
pub const WRONG_SEQUENCE: &str = "E-004";
