//! Bytes to Postgres messages, streaming and bounded (I-10), for either direction after start-up.
//!
//! The decoder owns no buffer: the caller keeps one and calls [`Decoder::next`] with its unread bytes. A message
//! whose body fits [`CHUNK_BYTES_MAX`] comes whole; a longer one comes in pieces of exactly that many body bytes
//! (the last may be shorter), so that a gigabyte row needs 64 KiB of memory and every split of the stream gives
//! the same pieces. Between pieces only a header is kept.
//! Source: PostgreSQL documentation, "Message Flow" and "Message Formats" (protocol 3.0 and 3.2).

use schemas::payload::CHUNK_BYTES_MAX;

use super::message::{self, Side};

/// Bytes of a message header: type, then length.
pub const HEADER_LEN: usize = 5;
/// A caller's buffer of this many bytes can always make progress.
pub const BUFFER_BYTES_MIN: usize = HEADER_LEN + CHUNK_BYTES_MAX;

/// Most bytes a `Query` or `Parse` may declare and still be judged and observed whole: 1 MiB. The one limit of
/// decoder and observer: what a decoder does not mark as over it, the observer's statement buffer holds.
pub const STATEMENT_MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// Text to refuse a statement over the limit with (P10).
pub const STATEMENT_TOO_LONG: &str = "statement is longer than the audit limit";
/// SQLSTATE to refuse it with: `program_limit_exceeded`.
pub const STATEMENT_TOO_LONG_SQLSTATE: &str = "54000";

/// Limits of a decoder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest declared length of a message that may carry content. Default 1 GiB - 1, the server's own limit.
    pub message_bytes_max: u32,
    /// Largest declared length of `Query`, `Parse` and `FunctionCall` that can be judged. A longer one still
    /// decodes, but its pieces say [`Piece::over_limit`]: forward none of them and refuse it in the protocol's
    /// words ([`STATEMENT_TOO_LONG`]). Default and most: [`STATEMENT_MESSAGE_BYTES_MAX`]; more counts as that.
    pub statement_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 0x3fff_ffff, statement_bytes_max: STATEMENT_MESSAGE_BYTES_MAX }
    }
}

/// A stream that is not the Postgres protocol. The connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The length field is below four or negative.
    #[error("message type 0x{message_type:02x} declares impossible length {declared_len}")]
    Length {
        /// Type byte.
        message_type: u8,
        /// Length field as a signed number, as the server reads it.
        declared_len: i32,
    },
    /// The length field passes the limit of its type.
    #[error("message type 0x{message_type:02x} declares {declared_len} bytes, limit {limit}")]
    TooLong {
        /// Type byte.
        message_type: u8,
        /// Length field.
        declared_len: u32,
        /// The limit.
        limit: u32,
    },
    /// A message of fixed size has another size.
    #[error("message type 0x{message_type:02x} declares {declared_len} bytes, expected {expected}")]
    FixedLength {
        /// Type byte.
        message_type: u8,
        /// Length field.
        declared_len: u32,
        /// The only legal length.
        expected: u32,
    },
}

impl CodecError {
    /// Stable name, for metrics and reason codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Length { .. } => "message_length",
            Self::TooLong { .. } => "message_too_long",
            Self::FixedLength { .. } => "message_fixed_length",
        }
    }

    /// SQLSTATE to refuse with: protocol violation.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        "08P01"
    }
}

/// A whole message or one chunk of a long one. `body` borrows the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Type byte.
    pub message_type: u8,
    /// Length field: body bytes of the whole message plus four.
    pub declared_len: u32,
    /// Number of this piece in its message, from 0.
    pub chunk: u32,
    /// Body bytes of the message before this piece.
    pub offset: u32,
    /// True on the only or last piece.
    pub last: bool,
    /// True when the message passes [`Limits::statement_bytes_max`].
    pub over_limit: bool,
    /// Body bytes of this piece.
    pub body: &'a [u8],
    /// Bytes of the caller's buffer this piece takes, header included.
    pub wire_len: usize,
}

impl Piece<'_> {
    /// Wire bytes of the whole message, header included.
    #[must_use]
    #[inline]
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.declared_len) + 1
    }

    /// True when the message is this piece alone.
    #[must_use]
    #[inline]
    pub fn whole(&self) -> bool {
        self.last && self.chunk == 0
    }
}

/// What [`Decoder::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing can be said before the buffer holds this many unread bytes; never above [`BUFFER_BYTES_MIN`].
    Need(usize),
    /// A piece; the caller drops its `wire_len` bytes before the next call.
    Piece(Piece<'a>),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    message_type: u8,
    declared_len: u32,
    chunk: u32,
    offset: u32,
    over_limit: bool,
}

/// Streaming decoder of one direction of one connection.
#[derive(Debug, Clone)]
pub struct Decoder {
    side: Side,
    limits: Limits,
    open: Option<Open>,
}

impl Decoder {
    /// A decoder for what `side` sends, from the first byte after start-up.
    #[must_use]
    pub fn new(side: Side, limits: Limits) -> Self {
        let statement_bytes_max = limits.statement_bytes_max.min(STATEMENT_MESSAGE_BYTES_MAX);
        Self { side, limits: Limits { statement_bytes_max, ..limits }, open: None }
    }

    /// True between messages, so that the stream may end here.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.open.is_none()
    }

    /// Takes the next piece off the front of `buf`, the unread bytes of the stream.
    ///
    /// # Errors
    /// [`CodecError`]: the stream is lost and must be closed.
    #[inline]
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Result<Step<'a>, CodecError> {
        if let Some(open) = self.open {
            return Ok(self.continued(open, buf));
        }
        let Some((&[message_type, a, b, c, d], rest)) = buf.split_first_chunk::<HEADER_LEN>() else {
            return Ok(Step::Need(HEADER_LEN));
        };
        let declared_len = u32::from_be_bytes([a, b, c, d]);
        let over_limit = self.check(message_type, declared_len)?;
        let body_len = declared_len as usize - 4;
        if body_len <= CHUNK_BYTES_MAX {
            let Some(body) = rest.get(..body_len) else {
                return Ok(Step::Need(HEADER_LEN + body_len));
            };
            let wire_len = HEADER_LEN + body_len;
            return Ok(Step::Piece(Piece {
                message_type,
                declared_len,
                chunk: 0,
                offset: 0,
                last: true,
                over_limit,
                body,
                wire_len,
            }));
        }
        let Some(body) = rest.get(..CHUNK_BYTES_MAX) else {
            return Ok(Step::Need(BUFFER_BYTES_MIN));
        };
        let chunk_len = u32::try_from(CHUNK_BYTES_MAX).unwrap_or(u32::MAX);
        self.open = Some(Open { message_type, declared_len, chunk: 1, offset: chunk_len, over_limit });
        Ok(Step::Piece(Piece {
            message_type,
            declared_len,
            chunk: 0,
            offset: 0,
            last: false,
            over_limit,
            body,
            wire_len: BUFFER_BYTES_MIN,
        }))
    }

    fn continued<'a>(&mut self, open: Open, buf: &'a [u8]) -> Step<'a> {
        let left = (open.declared_len as usize - 4).saturating_sub(open.offset as usize);
        let want = left.min(CHUNK_BYTES_MAX);
        let Some(body) = buf.get(..want) else {
            return Step::Need(want);
        };
        let last = want == left;
        let taken = u32::try_from(want).unwrap_or(u32::MAX);
        self.open = (!last).then_some(Open { chunk: open.chunk + 1, offset: open.offset + taken, ..open });
        Step::Piece(Piece {
            message_type: open.message_type,
            declared_len: open.declared_len,
            chunk: open.chunk,
            offset: open.offset,
            last,
            over_limit: open.over_limit,
            body,
            wire_len: want,
        })
    }

    /// Checks a header; true when the message passes the statement limit.
    #[inline]
    fn check(&self, message_type: u8, declared_len: u32) -> Result<bool, CodecError> {
        if !(4..=0x7fff_ffff).contains(&declared_len) {
            return Err(CodecError::Length { message_type, declared_len: declared_len.cast_signed() });
        }
        match message::length_rule(self.side, message_type) {
            message::LengthRule::Fixed(expected) if declared_len != expected => {
                Err(CodecError::FixedLength { message_type, declared_len, expected })
            }
            message::LengthRule::Fixed(_) => Ok(false),
            message::LengthRule::Max(limit) if declared_len > limit => {
                Err(CodecError::TooLong { message_type, declared_len, limit })
            }
            message::LengthRule::Max(_) => Ok(false),
            rule if declared_len > self.limits.message_bytes_max => {
                debug_assert!(matches!(rule, message::LengthRule::Content | message::LengthRule::Statement));
                Err(CodecError::TooLong { message_type, declared_len, limit: self.limits.message_bytes_max })
            }
            message::LengthRule::Statement => Ok(declared_len > self.limits.statement_bytes_max),
            message::LengthRule::Content => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pieces of `stream` when it arrives in reads of `step` bytes.
    fn pieces(side: Side, limits: Limits, stream: &[u8], step: usize) -> Vec<(u8, u32, u32, bool, Vec<u8>)> {
        let mut decoder = Decoder::new(side, limits);
        let (mut start, mut end) = (0, 0);
        let mut found = Vec::new();
        loop {
            match decoder.next(&stream[start..end]).unwrap() {
                Step::Need(need) => {
                    assert!(need > end - start && need <= BUFFER_BYTES_MIN);
                    if end == stream.len() {
                        return found;
                    }
                    end = (end + step).min(stream.len());
                }
                Step::Piece(piece) => {
                    start += piece.wire_len;
                    found.push((piece.message_type, piece.chunk, piece.offset, piece.last, piece.body.to_vec()));
                }
            }
        }
    }

    fn wire(message_type: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![message_type];
        out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn long_messages_come_in_chunks_of_exactly_the_limit() {
        let body = vec![7u8; CHUNK_BYTES_MAX * 2 + 3];
        let stream = [wire(b'D', &body), wire(b'Z', b"I")].concat();
        let found = pieces(Side::Target, Limits::default(), &stream, stream.len());
        let shape: Vec<_> = found.iter().map(|p| (p.0, p.1, p.3, p.4.len())).collect();
        assert_eq!(
            shape,
            [
                (b'D', 0, false, CHUNK_BYTES_MAX),
                (b'D', 1, false, CHUNK_BYTES_MAX),
                (b'D', 2, true, 3),
                (b'Z', 0, true, 1)
            ]
        );
        assert_eq!(found[1].2 as usize, CHUNK_BYTES_MAX);
    }

    #[test]
    fn a_body_of_the_chunk_limit_is_whole_and_one_more_byte_is_not() {
        for (extra, count) in [(0, 1), (1, 2)] {
            let stream = wire(b'd', &vec![1; CHUNK_BYTES_MAX + extra]);
            assert_eq!(pieces(Side::Client, Limits::default(), &stream, 9000).len(), count);
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for (len, kind) in [
            (0u32, "message_length"),
            (3, "message_length"),
            (u32::MAX, "message_length"),
            (0x4000_0000, "message_too_long"),
        ] {
            let mut header = vec![b'Q'];
            header.extend_from_slice(&len.to_be_bytes());
            let error = Decoder::new(Side::Client, Limits::default()).next(&header).unwrap_err();
            assert_eq!((error.kind(), error.sqlstate()), (kind, "08P01"));
        }
        for (side, bytes, kind) in [
            (Side::Client, [b'S', 0, 0, 0, 5], "message_fixed_length"),
            (Side::Client, [b'E', 0, 1, 0, 0], "message_too_long"),
            (Side::Target, [b'Z', 0, 0, 0, 4], "message_fixed_length"),
            (Side::Target, [b'K', 0, 0, 2, 0], "message_too_long"),
        ] {
            assert_eq!(Decoder::new(side, Limits::default()).next(&bytes).unwrap_err().kind(), kind);
        }
    }

    /// P10: a statement behind an 8 MiB comment is marked, and the next message decodes.
    #[test]
    fn p10_over_long_statement_is_marked_and_the_stream_stays_in_step() {
        let mut text = vec![b' '; 8 << 20];
        text.extend_from_slice(b"drop table t\0");
        let stream = [wire(b'Q', &text), wire(b'Q', b"select 1\0")].concat();
        let mut decoder = Decoder::new(Side::Client, Limits::default());
        let mut rest = stream.as_slice();
        let (mut over, mut under) = (0, 0);
        while let Step::Piece(piece) = decoder.next(rest).unwrap() {
            if piece.over_limit {
                over += 1
            } else {
                under += 1
            }
            rest = &rest[piece.wire_len..];
        }
        assert_eq!((over, under, rest.len()), (129, 1, 0));
        assert!(decoder.at_boundary());
    }

    #[test]
    fn the_statement_limit_can_be_lowered_and_not_raised() {
        for (asked, len, over) in [
            (u32::MAX, STATEMENT_MESSAGE_BYTES_MAX, false),
            (u32::MAX, STATEMENT_MESSAGE_BYTES_MAX + 1, true),
            (100, 100, false),
            (100, 101, true),
        ] {
            let limits = Limits { statement_bytes_max: asked, ..Limits::default() };
            let stream = wire(b'Q', &vec![b' '; len as usize - 4]);
            let Step::Piece(piece) = Decoder::new(Side::Client, limits).next(&stream).unwrap() else { panic!() };
            assert_eq!(piece.over_limit, over, "{asked} {len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
        #[test]
        fn every_split_gives_the_same_pieces(
            sizes in prop::collection::vec(0usize..200_000, 1..5),
            step in 1usize..70_000,
        ) {
            let stream: Vec<u8> = sizes.iter().flat_map(|size| wire(b'd', &vec![3; *size])).collect();
            let whole = pieces(Side::Client, Limits::default(), &stream, stream.len());
            let joined: usize = whole.iter().map(|piece| piece.4.len()).sum();
            prop_assert_eq!(joined, sizes.iter().sum::<usize>());
            prop_assert_eq!(pieces(Side::Client, Limits::default(), &stream, step.max(500)), whole);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), client in any::<bool>()) {
            let mut decoder = Decoder::new(if client { Side::Client } else { Side::Target }, Limits::default());
            let mut rest = bytes.as_slice();
            while let Ok(Step::Piece(piece)) = decoder.next(rest) {
                prop_assert!(piece.wire_len <= rest.len() && piece.body.len() <= CHUNK_BYTES_MAX);
                rest = &rest[piece.wire_len..];
            }
        }
    }
}
