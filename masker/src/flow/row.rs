//! Rows and Binds in chunks: value by value, each a text of its own.

use super::{Guide, Trailer};
use crate::engine::{Stream, Tally, placeholder};

/// Where in the message the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Stage {
    /// In one of so many names that end in a zero byte.
    Names(u8),
    /// In the number of format codes.
    Formats,
    /// In so many bytes of format codes.
    Pass(usize),
    /// In the number of values.
    Count,
    /// In the length of a value.
    Length,
    /// In a value.
    Value,
    /// After the last value.
    Rest,
    /// It is no such message.
    Wrong,
}

/// A `DataRow` or `Bind` of which some chunks have come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowFlow {
    bind: bool,
    stage: Stage,
    /// Bytes of a number that is cut.
    #[serde(with = "crate::session::bytes")]
    number: Vec<u8>,
    index: usize,
    count: usize,
    left: usize,
    secret: bool,
    stream: Stream,
    /// Format codes of the results after a Bind.
    trailer: Trailer,
}

impl RowFlow {
    /// A row.
    #[must_use]
    pub fn data_row() -> Self {
        Self::new(false, Stage::Count)
    }

    /// A Bind.
    #[must_use]
    pub fn bind() -> Self {
        Self::new(true, Stage::Names(2))
    }

    fn new(bind: bool, stage: Stage) -> Self {
        let (number, stream) = (Vec::new(), Stream::default());
        Self { bind, stage, number, index: 0, count: 0, left: 0, secret: false, stream, trailer: Trailer::new(2) }
    }

    /// Bytes that came and are not out.
    #[must_use]
    pub fn held(&self) -> usize {
        self.stream.held() + self.number.len()
    }

    /// A number of `N` bytes, once it is complete.
    fn number<const N: usize>(&mut self, rest: &mut &[u8]) -> Option<[u8; N]> {
        let wanted = (N - self.number.len().min(N)).min(rest.len());
        let (head, tail) = rest.split_at_checked(wanted)?;
        *rest = tail;
        self.number.extend_from_slice(head);
        let number = self.number.first_chunk::<N>().copied()?;
        self.number.clear();
        Some(number)
    }

    pub(super) fn feed(
        &mut self,
        guide: Guide<'_>,
        chunk: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> bool {
        let mut rest = chunk;
        while !rest.is_empty() && self.stage != Stage::Wrong {
            self.step(guide, &mut rest, out, tally);
        }
        let ended = self.stage == Stage::Rest && (!self.bind || self.trailer.ends());
        if self.stage == Stage::Wrong || last && !ended {
            self.stage = Stage::Wrong;
            self.stream.lose(out, tally);
            return false;
        }
        true
    }

    fn step(&mut self, guide: Guide<'_>, rest: &mut &[u8], out: &mut Vec<u8>, tally: &mut Tally) {
        match self.stage {
            Stage::Names(names) => {
                let end = memchr::memchr(0, rest);
                let (name, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, b""));
                self.stream.feed(guide.engine, name, end.is_some(), out, tally);
                *rest = tail.strip_prefix(b"\0").unwrap_or(tail);
                if end.is_some() {
                    out.push(0);
                    self.stage = if names > 1 { Stage::Names(names - 1) } else { Stage::Formats };
                }
            }
            Stage::Formats => {
                if let Some(count) = self.number::<2>(rest) {
                    out.extend_from_slice(&count);
                    self.left = usize::from(u16::from_be_bytes(count)) * 2;
                    self.stage = if self.left > 0 { Stage::Pass(self.left) } else { Stage::Count };
                }
            }
            Stage::Pass(left) => {
                let (head, tail) = rest.split_at_checked(left.min(rest.len())).unwrap_or((rest, b""));
                // A format code is 0 or 1; nothing else is passed on unread.
                let code = |(at, byte): (usize, &u8)| *byte <= u8::from((left - at) % 2 == 1);
                if !head.iter().enumerate().all(code) {
                    self.stage = Stage::Wrong;
                    return;
                }
                out.extend_from_slice(head);
                *rest = tail;
                self.stage = if head.len() < left { Stage::Pass(left - head.len()) } else { Stage::Count };
            }
            Stage::Count => {
                if let Some(count) = self.number::<2>(rest) {
                    out.extend_from_slice(&count);
                    self.count = usize::from(u16::from_be_bytes(count));
                    self.stage = if self.count > 0 { Stage::Length } else { Stage::Rest };
                }
            }
            Stage::Length => {
                if let Some(length) = self.number::<4>(rest) {
                    self.value(guide, i32::from_be_bytes(length), rest, out, tally);
                }
            }
            Stage::Value => self.part(guide, rest, out, tally),
            Stage::Rest if self.bind => {
                let mut codes = Vec::with_capacity(rest.len());
                let fits = self.trailer.feed(rest, &mut codes);
                self.stream.feed(guide.engine, &codes, self.trailer.ends(), out, tally);
                *rest = b"";
                if !fits {
                    self.stage = Stage::Wrong;
                }
            }
            Stage::Rest => self.stage = Stage::Wrong,
            Stage::Wrong => {}
        }
    }

    /// A value begins, `length` bytes long.
    fn value(&mut self, guide: Guide<'_>, length: i32, rest: &mut &[u8], out: &mut Vec<u8>, tally: &mut Tally) {
        self.secret = guide.is_secret(self.bind, self.index);
        match usize::try_from(length) {
            Err(_) if length == -1 => {
                out.extend_from_slice(&length.to_be_bytes());
                self.next();
            }
            Err(_) => self.stage = Stage::Wrong,
            // It is here whole: its length can be told anew.
            Ok(length) if length <= rest.len() => {
                let Some((value, tail)) = rest.split_at_checked(length) else { return };
                *rest = tail;
                let masked = crate::structure::value::mask(guide.engine, self.secret, value, tally);
                out.extend_from_slice(&i32::try_from(masked.len()).unwrap_or(i32::MAX).to_be_bytes());
                out.extend_from_slice(&masked);
                self.next();
            }
            Ok(length) => {
                out.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
                (self.left, self.stage) = (length, Stage::Value);
                if self.secret {
                    out.extend_from_slice(placeholder("column", length).as_bytes());
                    tally.rules.insert("column");
                    tally.unknown_values = true;
                }
            }
        }
    }

    fn part(&mut self, guide: Guide<'_>, rest: &mut &[u8], out: &mut Vec<u8>, tally: &mut Tally) {
        let (head, tail) = rest.split_at_checked(self.left.min(rest.len())).unwrap_or((rest, b""));
        *rest = tail;
        self.left -= head.len();
        if self.secret {
            tally.bytes += head.len();
        } else {
            self.stream.feed(guide.engine, head, self.left == 0, out, tally);
        }
        if self.left == 0 {
            self.next();
        }
    }

    fn next(&mut self) {
        self.index += 1;
        self.stage = if self.index < self.count { Stage::Length } else { Stage::Rest };
    }
}
