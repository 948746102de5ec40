//! Single Postgres messages: names, length rules, views of a body ([`parse`]), start-up ([`startup`]) and the
//! messages the proxy sends itself ([`build`]).
//!
//! Source: PostgreSQL documentation, "Message Formats"; small limits as in the server's `libpq.h`
//! (`PQ_SMALL_MESSAGE_LIMIT` 10 000, authentication token 65 535).

pub mod build;
pub mod parse;
pub mod startup;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client; its messages go to the target.
    Client,
    /// The target; its messages go to the client.
    Target,
}

/// What the length field of a message type may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LengthRule {
    /// Exactly this.
    Fixed(u32),
    /// At most this.
    Max(u32),
    /// Statement text: the general limit, and marked beyond the statement limit.
    Statement,
    /// The general limit.
    Content,
}

const SMALL: u32 = 10_000;
const TOKEN: u32 = 65_535 + 4;

/// The rule of a type byte.
#[inline]
pub(super) fn length_rule(side: Side, message_type: u8) -> LengthRule {
    match (side, message_type) {
        (Side::Client, b'Q' | b'P' | b'F') => LengthRule::Statement,
        (Side::Client, b'S' | b'H' | b'X') | (_, b'c') => LengthRule::Fixed(4),
        (Side::Client, b'E' | b'D' | b'C' | b'f') => LengthRule::Max(SMALL),
        (Side::Client, b'p') => LengthRule::Max(TOKEN),
        (Side::Target, b'1' | b'2' | b'3' | b'n' | b's' | b'I') => LengthRule::Fixed(4),
        (Side::Target, b'Z') => LengthRule::Fixed(5),
        // 256 bytes of key is the most protocol 3.2 allows.
        (Side::Target, b'K') => LengthRule::Max(4 + 4 + 256),
        (Side::Target, b'C') => LengthRule::Max(SMALL),
        (Side::Target, b'R') => LengthRule::Max(TOKEN),
        _ => LengthRule::Content,
    }
}

/// The protocol chapter's name of a message type; `Unknown(0xNN)` for one it does not list.
#[must_use]
#[inline]
pub fn name(side: Side, message_type: u8) -> &'static str {
    match side {
        Side::Client => client_name(message_type),
        Side::Target => target_name(message_type),
    }
}

fn client_name(message_type: u8) -> &'static str {
    match message_type {
        b'B' => "Bind",
        b'C' => "Close",
        b'D' => "Describe",
        b'E' => "Execute",
        b'F' => "FunctionCall",
        b'H' => "Flush",
        b'P' => "Parse",
        b'Q' => "Query",
        b'S' => "Sync",
        b'X' => "Terminate",
        b'c' => "CopyDone",
        b'd' => "CopyData",
        b'f' => "CopyFail",
        b'p' => "PasswordMessage",
        other => unknown(other),
    }
}

fn target_name(message_type: u8) -> &'static str {
    match message_type {
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b'A' => "NotificationResponse",
        b'C' => "CommandComplete",
        b'D' => "DataRow",
        b'E' => "ErrorResponse",
        b'G' => "CopyInResponse",
        b'H' => "CopyOutResponse",
        b'I' => "EmptyQueryResponse",
        b'K' => "BackendKeyData",
        b'N' => "NoticeResponse",
        b'R' => "Authentication",
        b'S' => "ParameterStatus",
        b'T' => "RowDescription",
        b'V' => "FunctionCallResponse",
        b'W' => "CopyBothResponse",
        b'Z' => "ReadyForQuery",
        b'c' => "CopyDone",
        b'd' => "CopyData",
        b'n' => "NoData",
        b's' => "PortalSuspended",
        b't' => "ParameterDescription",
        b'v' => "NegotiateProtocolVersion",
        other => unknown(other),
    }
}

/// `Unknown(0x00)` to `Unknown(0xFF)`, made at compile time so that a name is always `'static`.
static UNKNOWN: [[u8; 13]; 256] = unknown_names();

const fn unknown_names() -> [[u8; 13]; 256] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut names = [*b"Unknown(0x00)"; 256];
    let mut at = 0;
    #[allow(clippy::indexing_slicing)] // Evaluated by the compiler: a wrong index fails the build.
    while at < 256 {
        names[at][10] = HEX[at / 16];
        names[at][11] = HEX[at % 16];
        at += 1;
    }
    names
}

fn unknown(message_type: u8) -> &'static str {
    UNKNOWN.get(usize::from(message_type)).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or("Unknown")
}

/// A message body that is not what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The body ends inside a field.
    #[error("message body ends inside a field")]
    Short,
    /// Bytes follow the last field.
    #[error("bytes follow the last field of a message")]
    Trailing,
    /// A count or length is negative where none may be.
    #[error("count or length in a message is out of range")]
    Range,
    /// A start-up packet declares a size outside its bounds.
    #[error("start-up packet size is out of bounds")]
    StartupSize,
    /// A start-up packet asks for a protocol the proxy does not know.
    #[error("start-up packet asks for protocol {major}.{minor}")]
    Version {
        /// Major number.
        major: u16,
        /// Minor number.
        minor: u16,
    },
    /// A start-up parameter is not UTF-8.
    #[error("start-up parameter is not UTF-8")]
    Utf8,
    /// Too many start-up parameters.
    #[error("too many start-up parameters")]
    Parameters,
}

impl MessageError {
    /// Stable name, for metrics and reason codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Short => "body_short",
            Self::Trailing => "body_trailing",
            Self::Range => "body_range",
            Self::StartupSize => "startup_size",
            Self::Version { .. } => "startup_version",
            Self::Utf8 => "startup_utf8",
            Self::Parameters => "startup_parameters",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_the_sender_and_unknown_types_have_one() {
        assert_eq!((name(Side::Client, b'D'), name(Side::Target, b'D')), ("Describe", "DataRow"));
        assert_eq!((name(Side::Client, b'S'), name(Side::Target, b'S')), ("Sync", "ParameterStatus"));
        assert_eq!((name(Side::Client, 0xfe), name(Side::Target, 0)), ("Unknown(0xFE)", "Unknown(0x00)"));
    }
}
