//! The head of a Postgres record, written straight into its Avro body.
//!
//! A result of a million rows has one column list, so lists are encoded once ([`Columns`], [`Relations`],
//! [`Parameters`]) and each row's record copies those bytes: no allocation and no string handling per row.
//! [`encode_message`] and [`encode_command`] give exactly the bytes of `schemas::v1::RawFrame::encode`
//! (property test), so nothing downstream can tell the difference.

use std::sync::Arc;

use schemas::Record as _;
use schemas::codec::{Cursor, put_bytes, put_len, put_long};
use schemas::v1::{self, CommandContent, Direction, FrameKind, Protocol, Uuid};

/// Most parameters in one facts list; a longer list is cut there and the record says `facts_cut`.
pub const PARAMETERS_MAX: usize = 8192;
/// Most relations in one facts list.
pub const RELATIONS_MAX: usize = 256;

/// One column, borrowed. Fields as in `schemas::v1::Column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Column name or alias; bytes that are not UTF-8 are replaced.
    pub name: &'a [u8],
    /// Type OID; 0 unknown.
    pub type_oid: u32,
    /// OID of its table; 0 for a derived column.
    pub table_oid: u32,
    /// Attribute number in that table; 0 for a derived column.
    pub attribute: i16,
    /// 0 text, 1 binary.
    pub format: i16,
}

/// An Avro array, encoded once: count, items, end mark; a lone end mark when empty.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Array(Arc<[u8]>);

impl Array {
    fn new<T>(items: impl ExactSizeIterator<Item = T>, mut put: impl FnMut(T, &mut Vec<u8>)) -> Self {
        let mut out = Vec::with_capacity(2 + items.len() * 24);
        if items.len() > 0 {
            put_len(&mut out, items.len());
            items.for_each(|item| put(item, &mut out));
        }
        out.push(0);
        Self(out.into())
    }
}

macro_rules! list {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            bytes: Array,
            count: usize,
        }

        impl $name {
            /// Items in the list.
            #[must_use]
            pub fn count(&self) -> usize {
                self.count
            }

            /// Bytes of memory the list holds.
            #[must_use]
            pub fn bytes(&self) -> usize {
                self.bytes.0.len()
            }
        }
    };
}
list! {
    /// The columns of a result or of COPY data, encoded once and shared by all its rows.
    Columns
}
list! {
    /// The parameters of a statement or Bind, encoded.
    Parameters
}
list! {
    /// The relations a statement names, encoded.
    Relations
}

impl Columns {
    /// Encodes `columns`.
    #[must_use]
    pub fn new<'a>(columns: impl ExactSizeIterator<Item = Column<'a>>) -> Self {
        let count = columns.len();
        let bytes = Array::new(columns, |column, out| {
            put_text(out, column.name);
            put_long(out, i64::from(column.type_oid));
            put_long(out, i64::from(column.table_oid));
            put_long(out, i64::from(column.attribute));
            put_long(out, i64::from(column.format));
        });
        Self { bytes, count }
    }
}

impl Parameters {
    /// Encodes (name, type OID, format) of each parameter, at most [`PARAMETERS_MAX`].
    #[must_use]
    pub fn new<'a>(count: usize, parameter: impl FnMut(usize) -> (&'a str, u32, i16)) -> Self {
        let count = count.min(PARAMETERS_MAX);
        let bytes = Array::new((0..count).map(parameter), |(name, type_oid, format), out| {
            put_bytes(out, name.as_bytes());
            put_long(out, i64::from(type_oid));
            put_long(out, i64::from(format));
        });
        Self { bytes, count }
    }
}

impl Relations {
    /// Encodes `names`, at most [`RELATIONS_MAX`].
    #[must_use]
    pub fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let names = names.get(..RELATIONS_MAX).unwrap_or(names);
        let bytes = Array::new(names.iter(), |name, out| put_bytes(out, name.as_ref().as_bytes()));
        Self { bytes, count: names.len() }
    }
}

/// Appends a string; what is not UTF-8 becomes U+FFFD, because an Avro string must be.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_bytes(out, String::from_utf8_lossy(text).as_bytes());
}

/// Facts of one record, borrowed; fields and units as in `schemas::v1::Facts`.
#[derive(Debug, Clone, Copy)]
pub struct FactsRef<'a> {
    /// Number of the prepared statement in its session; -1 none.
    pub statement_id: i64,
    /// Command tag word such as SELECT; empty unknown.
    pub command_kind: &'a str,
    /// Columns of the row, description or COPY data.
    pub columns: Option<&'a Columns>,
    /// Parameters of the statement or Bind.
    pub parameters: Option<&'a Parameters>,
    /// Relations the statement names.
    pub relations: Option<&'a Relations>,
    /// text, csv or binary for COPY data; empty otherwise.
    pub copy_format: &'a str,
    /// Rows returned or affected.
    pub rows: Option<i64>,
    /// Wire bytes towards the target.
    pub bytes_to_target: i64,
    /// Wire bytes towards the client.
    pub bytes_to_client: i64,
    /// First request byte to end of response, microseconds.
    pub duration_us: Option<i64>,
    /// SQLSTATE; empty for success.
    pub error_code: &'a str,
    /// I, T or E; empty unknown.
    pub transaction_status: &'a str,
    /// SESSION_CLOSED: messages seen.
    pub message_count: Option<i64>,
    /// SESSION_CLOSED: records of the session.
    pub record_count: Option<i64>,
    /// Stable code; empty otherwise.
    pub reason_code: &'a str,
}

impl Default for FactsRef<'_> {
    fn default() -> Self {
        Self {
            statement_id: -1,
            command_kind: "",
            columns: None,
            parameters: None,
            relations: None,
            copy_format: "",
            rows: None,
            bytes_to_target: 0,
            bytes_to_client: 0,
            duration_us: None,
            error_code: "",
            transaction_status: "",
            message_count: None,
            record_count: None,
            reason_code: "",
        }
    }
}

impl FactsRef<'_> {
    /// Appends the Avro body, field for field as `schemas::v1::Facts::put`.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.statement_id);
        put_bytes(out, self.command_kind.as_bytes());
        put_array(out, self.columns.map(|list| &list.bytes));
        put_array(out, self.parameters.map(|list| &list.bytes));
        put_array(out, self.relations.map(|list| &list.bytes));
        put_bytes(out, self.copy_format.as_bytes());
        put_option(out, self.rows);
        put_long(out, self.bytes_to_target);
        put_long(out, self.bytes_to_client);
        put_option(out, self.duration_us);
        put_bytes(out, self.error_code.as_bytes());
        put_bytes(out, self.transaction_status.as_bytes());
        put_option(out, self.message_count);
        put_option(out, self.record_count);
        put_bytes(out, self.reason_code.as_bytes());
    }

    /// The same facts as an owned value.
    #[must_use]
    pub fn to_owned(&self) -> v1::Facts {
        let mut body = Vec::new();
        self.put(&mut body);
        let mut facts = v1::Facts::default();
        // Cannot fail: the property test holds `put` against this decoder.
        facts.take(&mut Cursor::new(&body)).map_or_else(|_| v1::Facts::default(), |()| facts)
    }
}

#[inline]
fn put_array(out: &mut Vec<u8>, array: Option<&Array>) {
    match array {
        Some(array) => out.extend_from_slice(&array.0),
        None => out.push(0),
    }
}

#[inline]
fn put_option(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        Some(value) => {
            out.push(2);
            put_long(out, value);
        }
        None => out.push(0),
    }
}

/// Content of a message's record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Body bytes of this chunk, to be encrypted.
    Bytes(&'a [u8]),
    /// A credential: it never leaves the proxy; the record has no payload and the facts say `credential`.
    Credential,
    /// The message has no body.
    None,
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} hidden)", bytes.len()),
            Self::Credential => f.write_str("Credential"),
            Self::None => f.write_str("None"),
        }
    }
}

impl<'a> Content<'a> {
    /// The bytes to encrypt; empty when there are none.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Credential | Self::None => &[],
        }
    }
}

/// One message, or one chunk of a long one, as a record will say it.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// Number of the message in its session, both directions, from 0.
    pub message_id: i64,
    /// Chunk of the message, from 0.
    pub chunk: i32,
    /// True on the only or last chunk.
    pub last: bool,
    /// The protocol chapter's name.
    pub message_type: &'static str,
    /// Wire bytes of the whole message on the last chunk; 0 before it.
    pub size_bytes: i64,
    /// Command it belongs to; -1 none.
    pub command_id: i64,
    /// Facts, if any.
    pub facts: Option<FactsRef<'a>>,
    /// Content.
    pub content: Content<'a>,
}

/// Content of a command record, borrowed; bounds as in `schemas::v1::CommandContent`.
#[derive(Clone, Copy)]
pub struct CommandContentRef<'a> {
    /// Statement text, cut at 256 KiB.
    pub statement: &'a [u8],
    /// Its length before cutting.
    pub statement_bytes: i64,
    /// Avro array of the bound values, encoded.
    pub(super) parameters: &'a [u8],
    /// Primary error text.
    pub error_message: &'a [u8],
    /// Detail, hint and context joined by newlines.
    pub error_detail: &'a [u8],
}

impl std::fmt::Debug for CommandContentRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandContentRef(hidden)")
    }
}

impl CommandContentRef<'_> {
    /// Appends the Avro body of `schemas::v1::CommandContent`: the plaintext to encrypt.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.reserve(
            self.statement.len() + self.parameters.len() + self.error_message.len() + self.error_detail.len() + 32,
        );
        put_bytes(out, self.statement);
        put_long(out, self.statement_bytes);
        out.extend_from_slice(self.parameters);
        put_bytes(out, self.error_message);
        put_bytes(out, self.error_detail);
    }

    /// The same content as an owned value.
    #[must_use]
    pub fn to_owned(&self) -> CommandContent {
        let mut body = Vec::new();
        self.put(&mut body);
        CommandContent::from_body(&body).unwrap_or_default()
    }
}

/// One command that completed, failed or was skipped.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// Number of the command in its session, from 0; numbers of commands that never ran are not reused.
    pub command_id: i64,
    /// Facts of the whole command.
    pub facts: FactsRef<'a>,
    /// Text, values and error.
    pub content: CommandContentRef<'a>,
}

/// What the session knows of a record and `observe` does not.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead {
    /// UUIDv7 of the record.
    pub event_id: Uuid,
    /// Session.
    pub session_id: Uuid,
    /// Dense per session from 0.
    pub sequence: i64,
    /// Microseconds since epoch UTC.
    pub observed_at_us: i64,
    /// Transport link inside the session, from 0.
    pub connection: i32,
}

/// Appends the Avro body of a MESSAGE record. `payload` is ciphertext and tag, or empty.
pub fn encode_message(head: &FrameHead, observed: &Observed<'_>, payload: &[u8], out: &mut Vec<u8>) {
    // A head is small; the column list of a row is the one part that is not.
    let columns = observed.facts.and_then(|facts| facts.columns).map_or(0, Columns::bytes);
    out.reserve(payload.len() + columns + 160);
    put_head(head, FrameKind::Message, observed.direction, out);
    put_long(out, observed.message_id);
    put_long(out, i64::from(observed.chunk));
    out.push(u8::from(observed.last));
    put_bytes(out, observed.message_type.as_bytes());
    put_long(out, observed.size_bytes);
    put_long(out, observed.command_id);
    match (&observed.facts, observed.content) {
        (Some(facts), _) => {
            out.push(2);
            facts.put(out);
        }
        (None, Content::Credential) => {
            out.push(2);
            FactsRef { reason_code: "credential", ..FactsRef::default() }.put(out);
        }
        (None, _) => out.push(0),
    }
    put_bytes(out, payload);
}

/// Appends the Avro body of a COMMAND record. `payload` is the encrypted [`CommandContentRef::put`].
pub fn encode_command(head: &FrameHead, command: &Command<'_>, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + command.facts.columns.map_or(0, Columns::bytes) + 256);
    put_head(head, FrameKind::Command, Direction::None, out);
    put_long(out, -1);
    put_long(out, 0);
    out.push(1);
    put_bytes(out, b"");
    put_long(out, 0);
    put_long(out, command.command_id);
    out.push(2);
    command.facts.put(out);
    put_bytes(out, payload);
}

#[inline]
fn put_head(head: &FrameHead, kind: FrameKind, direction: Direction, out: &mut Vec<u8>) {
    out.extend_from_slice(&head.event_id.0);
    out.extend_from_slice(&head.session_id.0);
    put_long(out, head.sequence);
    put_long(out, i64::from(kind.index()));
    put_long(out, head.observed_at_us);
    put_long(out, i64::from(Protocol::Postgres.index()));
    put_long(out, i64::from(direction.index()));
    put_long(out, i64::from(head.connection));
}
