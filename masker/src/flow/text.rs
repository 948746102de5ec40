//! Statements in chunks: constants and comments are masked as they are read, the rest by patterns.

use super::{Guide, Trailer};
use crate::engine::{Stream, Tally, placeholder};

/// Longest tag of a dollar quote that is followed; the server's identifiers have at most 63 bytes.
const TAG_MAX: usize = 64;
/// Deepest nesting of comments that is followed.
const DEPTH_MAX: u32 = 10_000;

/// Where in the statement the next byte stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum At {
    /// Outside of everything; the byte before.
    Plain(u8),
    /// In a word or name.
    Word,
    /// In a number.
    Number,
    /// In a parameter, after its dollar sign.
    Parameter,
    /// In a constant between quotes. `escapes`: a backslash takes the next byte with it. `last`: the byte before.
    Quoted { escapes: bool, last: u8 },
    /// After a quote that may end a constant.
    Closing { escapes: bool },
    /// In what may be the first tag of a dollar quote.
    Tag(Vec<u8>),
    /// In a dollar quote: its tag with both dollar signs, and how much of it was just seen.
    Dollar { tag: Vec<u8>, seen: usize },
    /// In a comment up to the end of the line.
    Line,
    /// In a comment of so many levels; the byte before.
    Block { depth: u32, last: u8 },
    /// In a name between double quotes.
    Name,
    /// After a quote of which a setting says whether it ends a constant: all that follows is masked.
    Doubt,
}

/// What stands in the message around the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Stage {
    /// The name of a prepared statement.
    Name,
    /// The statement.
    Statement,
    /// Numbers after it.
    Rest,
}

/// A `Query` or `Parse` of which some chunks have come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TextFlow {
    stage: Stage,
    query: bool,
    at: At,
    /// The last byte of a word, and its length so far: the word `E` before a constant makes backslashes escapes.
    prefix: u8,
    word: usize,
    /// Bytes of the constant or comment so far.
    hidden: usize,
    stream: Stream,
    /// Types of the parameters after a Parse.
    trailer: Trailer,
}

impl TextFlow {
    /// A simple query.
    #[must_use]
    pub fn query() -> Self {
        Self::new(Stage::Statement, true)
    }

    /// A statement to prepare.
    #[must_use]
    pub fn parse() -> Self {
        Self::new(Stage::Name, false)
    }

    fn new(stage: Stage, query: bool) -> Self {
        Self {
            stage,
            query,
            at: At::Plain(b' '),
            prefix: b' ',
            word: 0,
            hidden: 0,
            stream: Stream::default(),
            trailer: Trailer::new(4),
        }
    }

    /// Bytes that came and are not out.
    #[must_use]
    pub fn held(&self) -> usize {
        self.stream.held()
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
        while !rest.is_empty() && self.stage != Stage::Rest {
            let end = memchr::memchr(0, rest);
            let (text, tail) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, b""));
            if self.stage == Stage::Name {
                self.stream.feed(guide.engine, text, end.is_some(), out, tally);
            } else {
                let mut shown = Vec::with_capacity(text.len());
                text.iter().for_each(|byte| self.byte(*byte, &mut shown, tally));
                if end.is_some() {
                    self.close(&mut shown, tally);
                }
                self.stream.feed(guide.engine, &shown, end.is_some(), out, tally);
            }
            rest = tail.strip_prefix(b"\0").unwrap_or(tail);
            if end.is_some() {
                out.push(0);
                self.stage = if self.stage == Stage::Name { Stage::Statement } else { Stage::Rest };
            }
        }
        let mut fits = rest.is_empty() || !self.query;
        if fits && !rest.is_empty() {
            let mut types = Vec::with_capacity(rest.len());
            fits = self.trailer.feed(rest, &mut types);
            self.stream.feed(guide.engine, &types, self.trailer.ends(), out, tally);
        }
        fits &= !last || self.stage == Stage::Rest && (self.query || self.trailer.ends());
        if !fits {
            self.stream.lose(out, tally);
        }
        fits
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>, tally: &mut Tally) {
        match std::mem::replace(&mut self.at, At::Plain(byte)) {
            At::Quoted { escapes, last } => self.quoted(byte, escapes, last),
            At::Closing { escapes } if byte == b'\'' => {
                self.hidden += 2;
                self.at = At::Quoted { escapes, last: b' ' };
            }
            At::Closing { .. } => {
                self.reveal("literal", b"'", out, tally);
                self.plain(byte, b'\'', out);
            }
            At::Doubt => {
                self.hidden += 1;
                self.at = At::Doubt;
            }
            At::Tag(tag) => self.tag(byte, tag, out),
            At::Dollar { tag, seen } => self.dollar(byte, tag, seen, out, tally),
            At::Line if byte == b'\n' => {
                self.reveal("comment", b"\n", out, tally);
            }
            At::Line => {
                self.hidden += 1;
                self.at = At::Line;
            }
            At::Block { depth, last } => self.block(byte, depth, last, out, tally),
            At::Name => {
                out.push(byte);
                self.at = if byte == b'"' { At::Plain(byte) } else { At::Name };
            }
            At::Number if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') => {
                self.hidden += 1;
                self.at = At::Number;
            }
            At::Number => {
                self.reveal("literal", b"", out, tally);
                self.plain(byte, b'0', out);
            }
            At::Parameter if byte.is_ascii_digit() => {
                out.push(byte);
                self.at = At::Parameter;
            }
            At::Word if is_word(byte) => {
                (self.prefix, self.word, self.at) = (byte, self.word + 1, At::Word);
                out.push(byte);
            }
            At::Word => self.plain(byte, self.prefix, out),
            At::Parameter => self.plain(byte, b'0', out),
            At::Plain(last) => self.plain(byte, last, out),
        }
    }

    /// A byte outside of everything.
    fn plain(&mut self, byte: u8, last: u8, out: &mut Vec<u8>) {
        let escapes = self.word == 1 && matches!(last, b'e' | b'E');
        self.word = 0;
        self.at = match (last, byte) {
            (_, b'\'') => At::Quoted { escapes, last: b' ' },
            (_, b'"') => At::Name,
            (b'-', b'-') => At::Line,
            (b'/', b'*') => At::Block { depth: 1, last: b' ' },
            (_, b'$') => {
                self.at = At::Tag(vec![b'$']);
                return;
            }
            (_, b'0'..=b'9') => {
                self.hidden = 1;
                self.at = At::Number;
                return;
            }
            _ if is_word(byte) => {
                (self.prefix, self.word) = (byte, 1);
                At::Word
            }
            _ => At::Plain(byte),
        };
        self.hidden = 0;
        out.push(byte);
    }

    fn quoted(&mut self, byte: u8, escapes: bool, last: u8) {
        self.hidden += 1;
        self.at = match byte {
            b'\'' if last == b'\\' && escapes => At::Quoted { escapes, last: b' ' },
            // Whether this backslash escapes is a setting that is not known here.
            b'\'' if last == b'\\' => At::Doubt,
            b'\'' => {
                self.hidden -= 1;
                At::Closing { escapes }
            }
            b'\\' if escapes && last == b'\\' => At::Quoted { escapes, last: b' ' },
            _ => At::Quoted { escapes, last: byte },
        };
    }

    fn tag(&mut self, byte: u8, mut tag: Vec<u8>, out: &mut Vec<u8>) {
        if byte == b'$' {
            tag.push(byte);
            out.extend_from_slice(&tag);
            (self.hidden, self.at) = (0, At::Dollar { tag, seen: 0 });
        } else if tag.len() == 1 && byte.is_ascii_digit() {
            out.extend_from_slice(&[b'$', byte]);
            self.at = At::Parameter;
        } else if is_word(byte) && tag.len() < TAG_MAX {
            tag.push(byte);
            self.at = At::Tag(tag);
        } else {
            out.extend_from_slice(&tag);
            self.plain(byte, b'$', out);
        }
    }

    fn dollar(&mut self, byte: u8, tag: Vec<u8>, seen: usize, out: &mut Vec<u8>, tally: &mut Tally) {
        self.hidden += 1;
        let seen = match tag.get(seen) {
            Some(next) if *next == byte => seen + 1,
            // A tag holds no dollar sign but its first and last: only that byte can begin another one.
            _ => usize::from(byte == b'$'),
        };
        if seen == tag.len() {
            self.hidden -= tag.len();
            self.reveal("literal", &tag, out, tally);
            self.at = At::Plain(b'$');
        } else {
            self.at = At::Dollar { tag, seen };
        }
    }

    fn block(&mut self, byte: u8, depth: u32, last: u8, out: &mut Vec<u8>, tally: &mut Tally) {
        self.hidden += 1;
        self.at = match (last, byte) {
            (b'*', b'/') if depth == 1 => {
                self.hidden -= 2;
                self.reveal("comment", b"*/", out, tally);
                At::Plain(b' ')
            }
            (b'*', b'/') => At::Block { depth: depth - 1, last: b' ' },
            (b'/', b'*') => At::Block { depth: (depth + 1).min(DEPTH_MAX), last: b' ' },
            _ => At::Block { depth, last: byte },
        };
    }

    /// What was hidden ends, before `end`.
    fn reveal(&mut self, kind: &'static str, end: &[u8], out: &mut Vec<u8>, tally: &mut Tally) {
        if self.hidden > 0 {
            out.extend_from_slice(placeholder(kind, self.hidden).as_bytes());
            tally.rules.insert(kind);
            tally.bytes += self.hidden;
            // The values are not kept: the server may quote any of them.
            tally.unknown_values |= kind == "literal";
        }
        self.hidden = 0;
        out.extend_from_slice(end);
    }

    /// The statement ends where it is.
    fn close(&mut self, out: &mut Vec<u8>, tally: &mut Tally) {
        match std::mem::replace(&mut self.at, At::Plain(b' ')) {
            At::Quoted { .. } | At::Doubt | At::Dollar { .. } | At::Number => self.reveal("literal", b"", out, tally),
            At::Closing { .. } => self.reveal("literal", b"'", out, tally),
            At::Line | At::Block { .. } => self.reveal("comment", b"", out, tally),
            At::Tag(tag) => out.extend_from_slice(&tag),
            At::Plain(_) | At::Word | At::Parameter | At::Name => {}
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
