//! A message that comes in chunks, masked as its chunks come.
//!
//! Statements and rows are followed: what a chunk cuts is held back ([`Stream`]) and comes out with the next one.
//! Messages of other types are masked whole, and so is every chunk that does not follow the one before it.
//!
//! What differs from a message that came whole, always towards more masking: of a statement every constant and every
//! comment is masked, because what it is for may stand in another chunk; and a value that is cut keeps the length that
//! it had in front of it, because the new one is not known when the length is written.

pub mod row;
pub mod text;

use schemas::v1::{Facts, RawFrame};

use self::row::RowFlow;
use self::text::TextFlow;
use crate::engine::{Engine, Tally};
use crate::structure::value::is_secret_name;

/// Most messages that are followed at once in a session.
pub const FLOWS_MAX: usize = 8;

/// What masking a chunk needs beside it.
#[derive(Debug, Clone, Copy)]
pub struct Guide<'a> {
    /// Patterns.
    pub engine: &'a Engine,
    /// Secret names.
    pub secret: &'a [String],
    /// Facts of the message.
    pub facts: Option<&'a Facts>,
}

impl Guide<'_> {
    /// True when the column or parameter `at` has a secret name.
    fn is_secret(&self, parameter: bool, at: usize) -> bool {
        let Some(facts) = self.facts else { return false };
        let name = if parameter {
            facts.parameters.get(at).map(|fact| fact.name.as_str())
        } else {
            facts.columns.get(at).map(|column| column.name.as_str())
        };
        name.is_some_and(|name| is_secret_name(name, self.secret))
    }
}

/// What a message ends with: a count of two bytes, and as many numbers. Nothing else is passed on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Trailer {
    unit: usize,
    count: Vec<u8>,
    left: Option<usize>,
}

impl Trailer {
    /// Numbers of `unit` bytes each.
    fn new(unit: usize) -> Self {
        Self { unit, count: Vec::new(), left: None }
    }

    /// Passes on what is of it; false when there is more.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in bytes {
            match &mut self.left {
                Some(0) => return false,
                Some(left) => *left -= 1,
                None => {
                    self.count.push(byte);
                    let count = self.count.first_chunk::<2>().map(|two| usize::from(u16::from_be_bytes(*two)));
                    self.left = count.map(|count| count * self.unit);
                }
            }
            out.push(byte);
        }
        true
    }

    /// True when nothing is missing.
    fn ends(&self) -> bool {
        self.left == Some(0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Body {
    Row(RowFlow),
    Text(TextFlow),
}

/// A message of which some chunks have come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Flow {
    connection: i32,
    direction: i32,
    message: i64,
    next: i32,
    body: Body,
}

impl Flow {
    /// The flow of a message whose first chunk is `raw`; `None` for a type that is not followed.
    #[must_use]
    pub fn begin(raw: &RawFrame) -> Option<Self> {
        let body = match raw.message_type.as_str() {
            "Query" => Body::Text(TextFlow::query()),
            "Parse" => Body::Text(TextFlow::parse()),
            "DataRow" => Body::Row(RowFlow::data_row()),
            "Bind" => Body::Row(RowFlow::bind()),
            _ => return None,
        };
        let (connection, direction) = (raw.connection, raw.direction.index());
        Some(Self { connection, direction, message: raw.message_id, next: 0, body })
    }

    /// True when `raw` is the next chunk of it.
    #[must_use]
    pub fn continues(&self, raw: &RawFrame) -> bool {
        self.shares(raw) && self.message == raw.message_id && self.next == raw.chunk
    }

    /// True when `raw` goes the same way on the same connection.
    #[must_use]
    pub fn shares(&self, raw: &RawFrame) -> bool {
        self.connection == raw.connection && self.direction == raw.direction.index()
    }

    /// Masks the next chunk. Bytes that wait come out with a later one; `last`: none comes. False: the message is not
    /// of its type, and what of it is not out yet is masked.
    pub fn feed(&mut self, guide: Guide<'_>, chunk: &[u8], last: bool, tally: &mut Tally) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(chunk.len());
        self.next = self.next.saturating_add(1);
        let fits = match &mut self.body {
            Body::Row(row) => row.feed(guide, chunk, last, &mut out, tally),
            Body::Text(text) => text.feed(guide, chunk, last, &mut out, tally),
        };
        (out, fits)
    }

    /// Bytes that came and are not out.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.body {
            Body::Row(row) => row.held(),
            Body::Text(text) => text.held(),
        }
    }
}
