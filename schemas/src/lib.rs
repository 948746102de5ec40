//! The contract: what lies on the bus and in the object store. No I/O, no async.
//!
//! The `.avsc` files under `avro/` are the source; [`generated`] holds the Rust types that `cargo xtask gen`
//! makes of them. Decoding is strict: a body decodes only if encoding the value again gives the same bytes
//! (the canonical gate of I-08), and never allocates more than a small multiple of the input.

pub mod codec;
pub mod entry;
pub mod framing;
pub mod generated;
pub mod ids;
pub mod layout;
pub mod leaf;
pub mod payload;
pub mod topics;

pub use codec::DecodeError;
pub use generated::v1;

/// A value with an Avro schema of its own.
pub trait Record: Default {
    /// Full Avro name, such as `audit.v1.RawFrame`.
    const NAME: &'static str;
    /// The schema file's exact text; its SHA-256 is a seal's `schema_hash`.
    const SCHEMA: &'static str;
    /// CRC-64-AVRO of the Parsing Canonical Form (Avro specification, "Schema Fingerprints").
    const FINGERPRINT: u64;

    /// Appends the Avro binary body, canonical form, without any prefix.
    fn encode(&self, out: &mut Vec<u8>);

    /// Replaces `self` by the decoded body; memory of `self` is reused. The whole body must be consumed.
    ///
    /// # Errors
    /// [`DecodeError`]; `self` then holds an unspecified but valid value.
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError>;

    /// Decodes a new value.
    ///
    /// # Errors
    /// As [`Record::decode`].
    fn from_body(body: &[u8]) -> Result<Self, DecodeError> {
        let mut value = Self::default();
        value.decode(body)?;
        Ok(value)
    }

    /// The body in a buffer of its own.
    fn to_body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}
