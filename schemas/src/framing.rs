//! The prefix before an Avro body on the bus: Confluent wire format with a registry, single-object without one.
//!
//! Readers tell them by the first byte: `00` + 4-byte big-endian schema id (Confluent), or `C3 01` + 8-byte
//! little-endian CRC-64-AVRO (Avro 1.12, "Single-object encoding").

use crate::Record;

/// How values of one topic are prefixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `C3 01` and the fingerprint.
    SingleObject(u64),
    /// `00` and the registry's id.
    Confluent(u32),
}

impl Framing {
    /// Single-object framing of `R`.
    #[must_use]
    pub fn single_object<R: Record>() -> Self {
        Self::SingleObject(R::FINGERPRINT)
    }

    /// Appends the prefix.
    pub fn prefix(&self, out: &mut Vec<u8>) {
        match self {
            Self::SingleObject(fingerprint) => {
                out.extend_from_slice(&[0xc3, 0x01]);
                out.extend_from_slice(&fingerprint.to_le_bytes());
            }
            Self::Confluent(id) => {
                out.push(0);
                out.extend_from_slice(&id.to_be_bytes());
            }
        }
    }
}

/// Why a value has no readable prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Neither Confluent nor single-object.
    #[error("value starts with neither the Confluent nor the single-object mark")]
    Unknown,
    /// Shorter than its prefix.
    #[error("value is shorter than its schema prefix")]
    Short,
}

/// Splits a value into its prefix and its body.
///
/// # Errors
/// [`FramingError`].
pub fn split(value: &[u8]) -> Result<(Framing, &[u8]), FramingError> {
    match value.first() {
        Some(0) => {
            let rest = value.get(1..).ok_or(FramingError::Short)?;
            let (id, body) = rest.split_first_chunk::<4>().ok_or(FramingError::Short)?;
            Ok((Framing::Confluent(u32::from_be_bytes(*id)), body))
        }
        Some(0xc3) if value.get(1) == Some(&1) => {
            let rest = value.get(2..).ok_or(FramingError::Short)?;
            let (fingerprint, body) = rest.split_first_chunk::<8>().ok_or(FramingError::Short)?;
            Ok((Framing::SingleObject(u64::from_le_bytes(*fingerprint)), body))
        }
        Some(0xc3) if value.len() < 2 => Err(FramingError::Short),
        None => Err(FramingError::Short),
        Some(_) => Err(FramingError::Unknown),
    }
}
