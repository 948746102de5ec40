//! Display, parsing and making of ids. The types themselves are generated from their `fixed` schemas.

use std::fmt;
use std::str::FromStr;

use crate::v1::{Hash32, KeyId, Signature64, StreamId, Uuid};

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// A text that is not a lower-case hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lower-case hyphenated UUID")]
pub struct ParseIdError;

impl FromStr for Uuid {
    type Err = ParseIdError;

    /// Accepts exactly what `Display` prints, so that text and bytes map one to one.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let id = Self(uuid::Uuid::try_parse(text).map_err(|_| ParseIdError)?.into_bytes());
        if id.to_text().as_str() == text { Ok(id) } else { Err(ParseIdError) }
    }
}

/// A UUID's text: 36 bytes, no allocation.
#[derive(Debug, Clone, Copy)]
pub struct UuidText([u8; 36]);

impl UuidText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's bytes: the record key of a session.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Uuid {
    /// Lower-case hyphenated text.
    #[must_use]
    pub fn to_text(&self) -> UuidText {
        let mut buffer = [0u8; 36];
        uuid::Uuid::from_bytes(self.0).hyphenated().encode_lower(&mut buffer);
        UuidText(buffer)
    }

    /// A new UUIDv7: 48 bits of time, 74 random bits. Not for use inside a transform.
    #[must_use]
    pub fn now_v7() -> Self {
        Self(uuid::Uuid::now_v7().into_bytes())
    }
}

macro_rules! hex_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    )*};
}
hex_display!(Hash32, KeyId, Signature64, StreamId);
