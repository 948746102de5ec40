//! One value of a row, Bind or command: masked by its name, else by patterns; and its text form by type.

use super::binary;
use crate::engine::{Engine, Tally, whole};

/// True when `name` holds one of `secret` (lower case).
#[must_use]
pub fn is_secret_name(name: &str, secret: &[String]) -> bool {
    let name = name.to_lowercase();
    secret.iter().any(|part| !part.is_empty() && name.contains(part.as_str()))
}

/// The value after masking. A masked value of a binary type is the placeholder's text, not that type.
#[must_use]
pub fn mask(engine: &Engine, secret: bool, value: &[u8], tally: &mut Tally) -> Vec<u8> {
    if secret {
        return whole("column", value, tally);
    }
    engine.mask(value, tally).unwrap_or_else(|| value.to_vec())
}

/// Text of a value: binary int, bool, float, numeric, date, timestamp and uuid by type; text and JSON types as UTF-8; others in hex.
#[must_use]
pub fn text(type_oid: i64, format: i32, value: &[u8]) -> String {
    if format == 0 {
        return String::from_utf8_lossy(value).into_owned();
    }
    let decoded = match (type_oid, value.len()) {
        (16, 1) => Some((value != [0]).to_string()),
        (21, 2) => value.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
        (23, 4) => value.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
        (26, 4) => value.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).to_string()),
        (20, 8) => value.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
        (700, 4) => value.try_into().ok().map(|bytes| f32::from_be_bytes(bytes).to_string()),
        (701, 8) => value.try_into().ok().map(|bytes| f64::from_be_bytes(bytes).to_string()),
        (2950, 16) => value.try_into().ok().map(|bytes| schemas::v1::Uuid(bytes).to_string()),
        (1082, _) => binary::date(value),
        (1114, _) => binary::timestamp(value, ""),
        (1184, _) => binary::timestamp(value, "+00"),
        (1700, _) => binary::numeric(value),
        (25 | 1043 | 1042 | 114 | 19 | 18 | 705 | 0, _) => std::str::from_utf8(value).ok().map(str::to_owned),
        (3802, _) => value.get(1..).and_then(|json| std::str::from_utf8(json).ok()).map(str::to_owned),
        _ => None,
    };
    decoded.unwrap_or_else(|| hex::encode(value))
}
