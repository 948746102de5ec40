//! The untagged packets that open a connection.
//!
//! Source: PostgreSQL documentation, "Message Formats" (StartupMessage, SSLRequest, GSSENCRequest, CancelRequest)
//! and "Protocol Versions"; sizes as in the server's `pqcomm.h` (`MAX_STARTUP_PACKET_LENGTH` 10 000).

use super::MessageError;
use super::parse::Fields;

/// Largest start-up packet.
pub const STARTUP_BYTES_MAX: usize = 10_000;
/// Most start-up parameters.
pub const PARAMETERS_MAX: usize = 256;
/// Newest minor version of protocol 3 that the proxy speaks.
pub const MINOR_MAX: u16 = 2;
/// Version number of protocol 3.0.
pub const VERSION_3_0: u32 = 196_608;
/// Version number of protocol 3.2.
pub const VERSION_3_2: u32 = 196_610;
pub(super) const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
pub(super) const CANCEL_REQUEST: u32 = 80_877_102;

/// A start-up packet. A key is a credential, so there is no `Debug` that would print it.
#[derive(Clone, PartialEq, Eq)]
pub enum Startup<'a> {
    /// TLS asked for: answer `S` or `N`.
    SslRequest,
    /// GSS encryption asked for: answer `N`.
    GssEncRequest,
    /// A running command is to be cancelled.
    Cancel {
        /// Process id of `BackendKeyData`.
        process: i32,
        /// Its key, 4 to 256 bytes.
        key: &'a [u8],
    },
    /// A session is to be opened.
    Session(StartupMessage<'a>),
}

impl std::fmt::Debug for Startup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SslRequest => f.write_str("SslRequest"),
            Self::GssEncRequest => f.write_str("GssEncRequest"),
            Self::Cancel { .. } => f.write_str("Cancel(hidden)"),
            Self::Session(message) => message.fmt(f),
        }
    }
}

/// A `StartupMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// Minor version asked for; above [`MINOR_MAX`] (also when greased) it is negotiated down.
    pub minor: u16,
    /// Parameters in order, `_pq_.` options left out.
    pub parameters: Vec<(&'a str, &'a str)>,
    /// Names of `_pq_.` options; the proxy knows none, so all are to be named in `NegotiateProtocolVersion`.
    pub options: Vec<&'a str>,
}

impl StartupMessage<'_> {
    /// The value of `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// True when `NegotiateProtocolVersion` is due before authentication.
    #[must_use]
    pub fn negotiates(&self) -> bool {
        self.minor > MINOR_MAX || !self.options.is_empty()
    }

    /// The minor version both sides then speak: 2, or 0 for older clients (3.1 was never a version).
    #[must_use]
    pub fn minor_spoken(&self) -> u16 {
        if self.minor >= MINOR_MAX { MINOR_MAX } else { 0 }
    }
}

/// Bytes the packet at the front of `buf` takes, or how many are needed to tell (always 4).
///
/// # Errors
/// [`MessageError::StartupSize`] outside 8 to [`STARTUP_BYTES_MAX`].
pub fn packet_len(buf: &[u8]) -> Result<Option<usize>, MessageError> {
    let Some(bytes) = buf.first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*bytes) as usize;
    if (8..=STARTUP_BYTES_MAX).contains(&len) { Ok(Some(len)) } else { Err(MessageError::StartupSize) }
}

impl<'a> Startup<'a> {
    /// Reads one packet, its length field included; `packet` is exactly [`packet_len`] bytes.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(packet: &'a [u8]) -> Result<Self, MessageError> {
        if packet_len(packet)? != Some(packet.len()) {
            return Err(MessageError::StartupSize);
        }
        let mut fields = Fields::new(packet);
        fields.take(4)?;
        match fields.oid()? {
            SSL_REQUEST => fields.finish().map(|()| Self::SslRequest),
            GSSENC_REQUEST => fields.finish().map(|()| Self::GssEncRequest),
            CANCEL_REQUEST => {
                let process = fields.int32()?;
                let key = fields.rest();
                if (4..=256).contains(&key.len()) {
                    Ok(Self::Cancel { process, key })
                } else {
                    Err(MessageError::Range)
                }
            }
            version => Self::session(version, fields),
        }
    }

    fn session(version: u32, mut fields: Fields<'a>) -> Result<Self, MessageError> {
        let [a, b, c, d] = version.to_be_bytes();
        let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if major != 3 {
            return Err(MessageError::Version { major, minor });
        }
        let mut message = StartupMessage { minor, parameters: Vec::new(), options: Vec::new() };
        loop {
            let name = text(fields.string()?)?;
            if name.is_empty() {
                break;
            }
            let value = text(fields.string()?)?;
            if message.parameters.len() + message.options.len() >= PARAMETERS_MAX {
                return Err(MessageError::Parameters);
            }
            if name.starts_with("_pq_.") {
                message.options.push(name);
            } else {
                message.parameters.push((name, value));
            }
        }
        fields.finish()?;
        Ok(Self::Session(message))
    }
}

fn text(bytes: &[u8]) -> Result<&str, MessageError> {
    std::str::from_utf8(bytes).map_err(|_| MessageError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;
    use proptest::prelude::*;

    fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(rest.len() + 8).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(rest);
        out
    }

    #[test]
    fn requests_and_versions() {
        assert_eq!(Startup::read(&packet(SSL_REQUEST, b"")), Ok(Startup::SslRequest));
        assert_eq!(Startup::read(&packet(GSSENC_REQUEST, b"")), Ok(Startup::GssEncRequest));
        assert_eq!(Startup::read(&packet(SSL_REQUEST, b"x")), Err(MessageError::Trailing));
        assert_eq!(Startup::read(&packet(131_072, b"\0")), Err(MessageError::Version { major: 2, minor: 0 }));
        for bad in [0u32, 7, 10_001, u32::MAX] {
            assert_eq!(packet_len(&bad.to_be_bytes()), Err(MessageError::StartupSize));
        }
        assert_eq!(packet_len(&[0, 0, 0]), Ok(None));
    }

    /// P04: a CancelRequest is a packet of its own, of either protocol version.
    #[test]
    fn p04_cancel_requests_of_both_versions() {
        for key in [&[1u8; 4][..], &[2; 32], &[3; 256]] {
            let mut out = Vec::new();
            build::cancel_request(&mut out, -7, key);
            assert_eq!(Startup::read(&out), Ok(Startup::Cancel { process: -7, key }));
            assert_eq!(format!("{:?}", Startup::read(&out).unwrap()), "Cancel(hidden)");
        }
        assert_eq!(Startup::read(&packet(CANCEL_REQUEST, b"\0\0\0\x01abc")), Err(MessageError::Range));
    }

    #[test]
    fn a_greased_client_is_negotiated_down() {
        let mut rest = b"user\0ada\0_pq_.test_protocol_negotiation\0\0database\0db\0\0".to_vec();
        let greased = packet((3 << 16) | 9999, &rest);
        let Ok(Startup::Session(message)) = Startup::read(&greased) else { panic!("session expected") };
        assert!(message.negotiates());
        assert_eq!((message.minor_spoken(), message.parameter("user")), (2, Some("ada")));
        assert_eq!(message.options, ["_pq_.test_protocol_negotiation"]);
        rest.pop();
        assert_eq!(Startup::read(&packet(VERSION_3_0, &rest)), Err(MessageError::Short));
    }

    #[test]
    fn parameters_have_a_limit() {
        let rest = [b"a\0b\0".repeat(PARAMETERS_MAX + 1), vec![0]].concat();
        assert_eq!(Startup::read(&packet(VERSION_3_2, &rest)), Err(MessageError::Parameters));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn arbitrary_packets_never_panic(
            code in prop_oneof![
                Just(VERSION_3_0), Just(VERSION_3_2), Just(SSL_REQUEST), Just(CANCEL_REQUEST), any::<u32>(),
            ],
            rest in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300),
        ) {
            let bytes = packet(code, &rest);
            if let Ok(Startup::Session(message)) = Startup::read(&bytes) {
                prop_assert!(message.parameters.len() * 3 <= bytes.len());
            }
        }
    }
}
