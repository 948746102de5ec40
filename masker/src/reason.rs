//! Reasons for masking a content whole, stable: what `mask_reason` of frames and events says. Listed in the
//! reference of codes, which is held to this file.

/// No session is known for the record, so no key is.
pub const UNATTRIBUTED: &str = "unattributed";
/// The session's context has no wrapped key, or one of the wrong length.
pub const NO_KEY: &str = "no_key";
/// The wrapped key does not open: it is for another masker key, or was changed.
pub const KEY_UNWRAP: &str = "key_unwrap";
/// The content does not authenticate under the session's key.
pub const DECRYPT: &str = "decrypt";
/// The message carried a credential; the proxy never recorded its content.
pub const CREDENTIAL: &str = "credential";
/// The opened content of a command or session record does not decode.
pub const CONTENT: &str = "content";
/// The message is of a protocol without a reader.
pub const PROTOCOL: &str = "protocol";
/// A chunk of a message whose type is not followed, or that does not follow the one before it.
pub const CHUNK: &str = "chunk";
/// The message does not parse to its last byte.
pub const PARSE: &str = "parse";
/// A message type whose body no reader knows.
pub const UNKNOWN_MESSAGE: &str = "unknown_message";
/// The search for patterns would cost more than it may.
pub const BUDGET: &str = "budget";
/// COPY in the binary format.
pub const COPY_BINARY: &str = "copy_binary";
/// COPY data with a long cut row and no whole one, or of which it is not known where rows begin.
pub const COPY_BOUNDARY: &str = "copy_boundary";
/// COPY data that is not of its format, or of a format that is not known.
pub const COPY_ROW: &str = "copy_row";
