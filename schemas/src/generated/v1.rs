//! Schema version v1, made by `cargo xtask gen`.

use crate::Record;
use crate::codec::{Cursor, DecodeError, put_bytes, put_len, put_long};

/// First 16 bytes of the stream's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub [u8; 16]);
impl Default for StreamId {
    fn default() -> Self {
        Self([0; 16])
    }
}

/// SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash32(pub [u8; 32]);
impl Default for Hash32 {
    fn default() -> Self {
        Self([0; 32])
    }
}

/// The receipt of one archived object: its bytes for ever. Log entry tag 04.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArchiveBody {
    /// 1
    pub version: i32,
    /// Log origin.
    pub origin: String,
    /// Stream whose seals the object holds.
    pub stream_id: StreamId,
    /// Name in the object store.
    pub object: String,
    /// SHA-256 of the stored bytes, all of them.
    pub object_sha256: Hash32,
    /// Size of the object, at least 1.
    pub bytes: i64,
    /// seal_seq of the first seal inside.
    pub first_seal: i64,
    /// seal_seq of the last seal inside; an object holds every seal between.
    pub last_seal: i64,
}

impl ArchiveBody {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.version));
        put_bytes(out, self.origin.as_bytes());
        out.extend_from_slice(&(self.stream_id).0);
        put_bytes(out, self.object.as_bytes());
        out.extend_from_slice(&(self.object_sha256).0);
        put_long(out, self.bytes);
        put_long(out, self.first_seal);
        put_long(out, self.last_seal);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.version = cursor.int()?;
        {
            let text = cursor.string()?;
            self.origin.clear();
            self.origin.push_str(text);
        }
        self.stream_id = StreamId(cursor.fixed()?);
        {
            let text = cursor.string()?;
            self.object.clear();
            self.object.push_str(text);
        }
        self.object_sha256 = Hash32(cursor.fixed()?);
        self.bytes = cursor.long()?;
        self.first_seal = cursor.long()?;
        self.last_seal = cursor.long()?;
        Ok(())
    }
}

/// One bound value.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ParameterValue {
    /// Type OID; 0 unknown.
    pub type_oid: i64,
    /// 0 text, 1 binary.
    pub format: i32,
    /// Wire bytes, cut at 64 KiB; null for SQL NULL.
    pub value: Option<Vec<u8>>,
}

impl std::fmt::Debug for ParameterValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ParameterValue(hidden)")
    }
}

impl ParameterValue {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.type_oid);
        put_long(out, i64::from(self.format));
        match &self.value {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, &value);
            }
        }
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.type_oid = cursor.long()?;
        self.format = cursor.int()?;
        if cursor.some()? {
            let value = self.value.get_or_insert_with(Default::default);
            {
                let bytes = cursor.bytes()?;
                value.clear();
                value.extend_from_slice(bytes);
            }
        } else {
            self.value = None;
        }
        Ok(())
    }
}

/// Plaintext content of a COMMAND frame; lies on the bus only as ciphertext.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CommandContent {
    /// Statement text as sent, cut at 256 KiB.
    pub statement: Vec<u8>,
    /// Length before cutting.
    pub statement_bytes: i64,
    /// Bound values in order.
    pub parameters: Vec<ParameterValue>,
    /// Primary error text; empty for success.
    pub error_message: Vec<u8>,
    /// Detail, hint and context joined by newlines; may be empty.
    pub error_detail: Vec<u8>,
}

impl std::fmt::Debug for CommandContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandContent(hidden)")
    }
}

impl CommandContent {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.statement);
        put_long(out, self.statement_bytes);
        if !self.parameters.is_empty() {
            put_len(out, self.parameters.len());
            for item in &self.parameters {
                item.put(out);
            }
        }
        out.push(0);
        put_bytes(out, &self.error_message);
        put_bytes(out, &self.error_detail);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let bytes = cursor.bytes()?;
            self.statement.clear();
            self.statement.extend_from_slice(bytes);
        }
        self.statement_bytes = cursor.long()?;
        {
            let count = cursor.array(3)?;
            self.parameters.truncate(count);
            self.parameters.resize_with(count, Default::default);
            for item in &mut self.parameters {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let bytes = cursor.bytes()?;
            self.error_message.clear();
            self.error_message.extend_from_slice(bytes);
        }
        {
            let bytes = cursor.bytes()?;
            self.error_detail.clear();
            self.error_detail.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// An input that a stage could not take, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetter {
    /// Stage that refused it.
    pub stage: String,
    /// Stable rejection code.
    pub code: String,
    /// Reason without content.
    pub detail: String,
    /// Origin topic.
    pub topic: String,
    /// Origin partition.
    pub partition: i32,
    /// Origin offset.
    pub offset: i64,
    /// Origin timestamp.
    pub timestamp_ms: i64,
    /// Origin key.
    pub key: Option<Vec<u8>>,
    /// Origin value, still encrypted before the masker.
    pub value: Option<Vec<u8>>,
}

impl DeadLetter {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.stage.as_bytes());
        put_bytes(out, self.code.as_bytes());
        put_bytes(out, self.detail.as_bytes());
        put_bytes(out, self.topic.as_bytes());
        put_long(out, i64::from(self.partition));
        put_long(out, self.offset);
        put_long(out, self.timestamp_ms);
        match &self.key {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, &value);
            }
        }
        match &self.value {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, &value);
            }
        }
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.stage.clear();
            self.stage.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.code.clear();
            self.code.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.detail.clear();
            self.detail.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.topic.clear();
            self.topic.push_str(text);
        }
        self.partition = cursor.int()?;
        self.offset = cursor.long()?;
        self.timestamp_ms = cursor.long()?;
        if cursor.some()? {
            let value = self.key.get_or_insert_with(Default::default);
            {
                let bytes = cursor.bytes()?;
                value.clear();
                value.extend_from_slice(bytes);
            }
        } else {
            self.key = None;
        }
        if cursor.some()? {
            let value = self.value.get_or_insert_with(Default::default);
            {
                let bytes = cursor.bytes()?;
                value.clear();
                value.extend_from_slice(bytes);
            }
        } else {
            self.value = None;
        }
        Ok(())
    }
}

/// UUID, RFC 9562, big-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);
impl Default for Uuid {
    fn default() -> Self {
        Self([0; 16])
    }
}

/// What a raw record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum FrameKind {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `MESSAGE`.
    Message,
    /// `COMMAND`.
    Command,
    /// `SESSION_OPENED`.
    SessionOpened,
    /// `SESSION_CLOSED`.
    SessionClosed,
    /// `SESSION_REFUSED`.
    SessionRefused,
    /// `DECISION`.
    Decision,
    /// `APPROVAL`.
    Approval,
    /// `FINDING`.
    Finding,
}
impl FrameKind {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Message,
        Self::Command,
        Self::SessionOpened,
        Self::SessionClosed,
        Self::SessionRefused,
        Self::Decision,
        Self::Approval,
        Self::Finding,
    ];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Message => 1,
            Self::Command => 2,
            Self::SessionOpened => 3,
            Self::SessionClosed => 4,
            Self::SessionRefused => 5,
            Self::Decision => 6,
            Self::Approval => 7,
            Self::Finding => 8,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Message => "MESSAGE",
            Self::Command => "COMMAND",
            Self::SessionOpened => "SESSION_OPENED",
            Self::SessionClosed => "SESSION_CLOSED",
            Self::SessionRefused => "SESSION_REFUSED",
            Self::Decision => "DECISION",
            Self::Approval => "APPROVAL",
            Self::Finding => "FINDING",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// Wire protocol spoken with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Protocol {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `POSTGRES`.
    Postgres,
    /// `SSH`.
    Ssh,
    /// `HTTP`.
    Http,
    /// `KUBERNETES`.
    Kubernetes,
    /// `MYSQL`.
    Mysql,
}
impl Protocol {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 6] = [Self::Unknown, Self::Postgres, Self::Ssh, Self::Http, Self::Kubernetes, Self::Mysql];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Postgres => 1,
            Self::Ssh => 2,
            Self::Http => 3,
            Self::Kubernetes => 4,
            Self::Mysql => 5,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Postgres => "POSTGRES",
            Self::Ssh => "SSH",
            Self::Http => "HTTP",
            Self::Kubernetes => "KUBERNETES",
            Self::Mysql => "MYSQL",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// Which way a message went; NONE for a record that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Direction {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `NONE`.
    None,
    /// `TO_TARGET`.
    ToTarget,
    /// `TO_CLIENT`.
    ToClient,
}
impl Direction {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::None, Self::ToTarget, Self::ToClient];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::None => 1,
            Self::ToTarget => 2,
            Self::ToClient => 3,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::None => "NONE",
            Self::ToTarget => "TO_TARGET",
            Self::ToClient => "TO_CLIENT",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// One column of a result or of COPY data, as the server described it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    /// Column name or alias.
    pub name: String,
    /// Type OID; 0 unknown.
    pub type_oid: i64,
    /// OID of the table it comes from; 0 for a derived column.
    pub table_oid: i64,
    /// Attribute number in that table; 0 for a derived column.
    pub attribute: i32,
    /// 0 text, 1 binary.
    pub format: i32,
}

impl Column {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_long(out, self.type_oid);
        put_long(out, self.table_oid);
        put_long(out, i64::from(self.attribute));
        put_long(out, i64::from(self.format));
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.name.clear();
            self.name.push_str(text);
        }
        self.type_oid = cursor.long()?;
        self.table_oid = cursor.long()?;
        self.attribute = cursor.int()?;
        self.format = cursor.int()?;
        Ok(())
    }
}

/// What is known of one statement parameter without its value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParameterFact {
    /// Column or argument it is for, inferred from the statement; empty when unknown.
    pub name: String,
    /// Type OID; 0 unknown.
    pub type_oid: i64,
    /// 0 text, 1 binary.
    pub format: i32,
}

impl ParameterFact {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_long(out, self.type_oid);
        put_long(out, i64::from(self.format));
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.name.clear();
            self.name.push_str(text);
        }
        self.type_oid = cursor.long()?;
        self.format = cursor.int()?;
        Ok(())
    }
}

/// What observe decoded; never content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Number of the prepared statement in its session; -1 none.
    pub statement_id: i64,
    /// Command tag word such as SELECT; empty unknown.
    pub command_kind: String,
    /// Columns of the row, description or COPY data in this record.
    pub columns: Vec<Column>,
    /// Parameters of the statement or Bind in this record.
    pub parameters: Vec<ParameterFact>,
    /// Relations the statement names.
    pub relations: Vec<String>,
    /// text, csv or binary for COPY data; empty otherwise.
    pub copy_format: String,
    /// Rows returned or affected.
    pub rows: Option<i64>,
    /// Wire bytes of the command towards the target.
    pub bytes_to_target: i64,
    /// Wire bytes of the command towards the client.
    pub bytes_to_client: i64,
    /// From the first request byte to the end of the response, microseconds.
    pub duration_us: Option<i64>,
    /// SQLSTATE or protocol error code; empty for success.
    pub error_code: String,
    /// I, T or E after the command; empty unknown.
    pub transaction_status: String,
    /// SESSION_CLOSED: protocol messages seen at the sockets of the session.
    pub message_count: Option<i64>,
    /// SESSION_CLOSED: records of the session, this one included.
    pub record_count: Option<i64>,
    /// Stable code of a refusal, close or decision; empty otherwise.
    pub reason_code: String,
}

impl Facts {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.statement_id);
        put_bytes(out, self.command_kind.as_bytes());
        if !self.columns.is_empty() {
            put_len(out, self.columns.len());
            for item in &self.columns {
                item.put(out);
            }
        }
        out.push(0);
        if !self.parameters.is_empty() {
            put_len(out, self.parameters.len());
            for item in &self.parameters {
                item.put(out);
            }
        }
        out.push(0);
        if !self.relations.is_empty() {
            put_len(out, self.relations.len());
            for item in &self.relations {
                put_bytes(out, item.as_bytes());
            }
        }
        out.push(0);
        put_bytes(out, self.copy_format.as_bytes());
        match &self.rows {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        put_long(out, self.bytes_to_target);
        put_long(out, self.bytes_to_client);
        match &self.duration_us {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        put_bytes(out, self.error_code.as_bytes());
        put_bytes(out, self.transaction_status.as_bytes());
        match &self.message_count {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        match &self.record_count {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        put_bytes(out, self.reason_code.as_bytes());
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.statement_id = cursor.long()?;
        {
            let text = cursor.string()?;
            self.command_kind.clear();
            self.command_kind.push_str(text);
        }
        {
            let count = cursor.array(5)?;
            self.columns.truncate(count);
            self.columns.resize_with(count, Default::default);
            for item in &mut self.columns {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let count = cursor.array(3)?;
            self.parameters.truncate(count);
            self.parameters.resize_with(count, Default::default);
            for item in &mut self.parameters {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let count = cursor.array(1)?;
            self.relations.truncate(count);
            self.relations.resize_with(count, Default::default);
            for item in &mut self.relations {
                {
                    let text = cursor.string()?;
                    item.clear();
                    item.push_str(text);
                }
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let text = cursor.string()?;
            self.copy_format.clear();
            self.copy_format.push_str(text);
        }
        if cursor.some()? {
            let value = self.rows.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.rows = None;
        }
        self.bytes_to_target = cursor.long()?;
        self.bytes_to_client = cursor.long()?;
        if cursor.some()? {
            let value = self.duration_us.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.duration_us = None;
        }
        {
            let text = cursor.string()?;
            self.error_code.clear();
            self.error_code.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.transaction_status.clear();
            self.transaction_status.push_str(text);
        }
        if cursor.some()? {
            let value = self.message_count.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.message_count = None;
        }
        if cursor.some()? {
            let value = self.record_count.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.record_count = None;
        }
        {
            let text = cursor.string()?;
            self.reason_code.clear();
            self.reason_code.push_str(text);
        }
        Ok(())
    }
}

/// One protocol message, chunk of one, or happening, as the proxy saw it. Content is ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawFrame {
    /// UUIDv7 of this record, made once.
    pub event_id: Uuid,
    /// Session; also the record key.
    pub session_id: Uuid,
    /// Dense per session from 0.
    pub sequence: i64,
    /// What this record holds.
    pub kind: FrameKind,
    /// When the proxy saw it, microseconds since epoch UTC.
    pub observed_at_us: i64,
    /// Wire protocol.
    pub protocol: Protocol,
    /// Which way.
    pub direction: Direction,
    /// Transport link inside the session, from 0.
    pub connection: i32,
    /// Number of the message in its session, from 0; -1 when no message.
    pub message_id: i64,
    /// Chunk of the message, from 0.
    pub chunk: i32,
    /// True on the only or last chunk.
    pub last: bool,
    /// Protocol's own name of the message type; empty when no message.
    pub message_type: String,
    /// Wire bytes of the whole message, header included, on the last chunk; 0 before it.
    pub size_bytes: i64,
    /// Command of the session this belongs to, from 0; -1 none.
    pub command_id: i64,
    /// Decoded facts; null when there are none.
    pub facts: Option<Facts>,
    /// AES-256-GCM ciphertext and tag; empty when there is no content.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.event_id).0);
        out.extend_from_slice(&(self.session_id).0);
        put_long(out, self.sequence);
        put_long(out, i64::from((self.kind).index()));
        put_long(out, self.observed_at_us);
        put_long(out, i64::from((self.protocol).index()));
        put_long(out, i64::from((self.direction).index()));
        put_long(out, i64::from(self.connection));
        put_long(out, self.message_id);
        put_long(out, i64::from(self.chunk));
        out.push(u8::from(self.last));
        put_bytes(out, self.message_type.as_bytes());
        put_long(out, self.size_bytes);
        put_long(out, self.command_id);
        match &self.facts {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                value.put(out);
            }
        }
        put_bytes(out, &self.payload);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.event_id = Uuid(cursor.fixed()?);
        self.session_id = Uuid(cursor.fixed()?);
        self.sequence = cursor.long()?;
        self.kind = FrameKind::from_index(cursor.int()?)?;
        self.observed_at_us = cursor.long()?;
        self.protocol = Protocol::from_index(cursor.int()?)?;
        self.direction = Direction::from_index(cursor.int()?)?;
        self.connection = cursor.int()?;
        self.message_id = cursor.long()?;
        self.chunk = cursor.int()?;
        self.last = cursor.boolean()?;
        {
            let text = cursor.string()?;
            self.message_type.clear();
            self.message_type.push_str(text);
        }
        self.size_bytes = cursor.long()?;
        self.command_id = cursor.long()?;
        if cursor.some()? {
            let value = self.facts.get_or_insert_with(Default::default);
            value.take(cursor)?;
        } else {
            self.facts = None;
        }
        {
            let bytes = cursor.bytes()?;
            self.payload.clear();
            self.payload.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// Whether the session record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Attribution {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `ATTRIBUTED`.
    Attributed,
    /// `UNATTRIBUTED`.
    Unattributed,
}
impl Attribution {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Attributed, Self::Unattributed];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Attributed => 1,
            Self::Unattributed => 2,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Attributed => "ATTRIBUTED",
            Self::Unattributed => "UNATTRIBUTED",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// The verified person, script or agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal {
    /// OIDC issuer.
    pub issuer: String,
    /// OIDC subject.
    pub subject: String,
    /// E-mail, may be empty.
    pub email: String,
    /// Display name, may be empty.
    pub name: String,
    /// Groups, sorted.
    pub groups: Vec<String>,
    /// When the token says the person signed in.
    pub authenticated_at_us: i64,
    /// How the proxy was convinced, such as oidc-jwt.
    pub method: String,
}

impl Principal {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.issuer.as_bytes());
        put_bytes(out, self.subject.as_bytes());
        put_bytes(out, self.email.as_bytes());
        put_bytes(out, self.name.as_bytes());
        if !self.groups.is_empty() {
            put_len(out, self.groups.len());
            for item in &self.groups {
                put_bytes(out, item.as_bytes());
            }
        }
        out.push(0);
        put_long(out, self.authenticated_at_us);
        put_bytes(out, self.method.as_bytes());
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.issuer.clear();
            self.issuer.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.subject.clear();
            self.subject.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.email.clear();
            self.email.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.name.clear();
            self.name.push_str(text);
        }
        {
            let count = cursor.array(1)?;
            self.groups.truncate(count);
            self.groups.resize_with(count, Default::default);
            for item in &mut self.groups {
                {
                    let text = cursor.string()?;
                    item.clear();
                    item.push_str(text);
                }
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        self.authenticated_at_us = cursor.long()?;
        {
            let text = cursor.string()?;
            self.method.clear();
            self.method.push_str(text);
        }
        Ok(())
    }
}

/// Key and value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Label {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

impl Label {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.key.as_bytes());
        put_bytes(out, self.value.as_bytes());
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.key.clear();
            self.key.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.value.clear();
            self.value.push_str(text);
        }
        Ok(())
    }
}

/// The service reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Configured name.
    pub name: String,
    /// Such as prod; may be empty.
    pub environment: String,
    /// Owning team; may be empty.
    pub owner: String,
    /// Labels, sorted by key.
    pub labels: Vec<Label>,
}

impl Target {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.environment.as_bytes());
        put_bytes(out, self.owner.as_bytes());
        if !self.labels.is_empty() {
            put_len(out, self.labels.len());
            for item in &self.labels {
                item.put(out);
            }
        }
        out.push(0);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.name.clear();
            self.name.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.environment.clear();
            self.environment.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.owner.clear();
            self.owner.push_str(text);
        }
        {
            let count = cursor.array(2)?;
            self.labels.truncate(count);
            self.labels.resize_with(count, Default::default);
            for item in &mut self.labels {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        Ok(())
    }
}

/// Who, where and under which key: constant for a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionContext {
    /// Who acts.
    pub principal: Principal,
    /// What is reached.
    pub target: Target,
    /// Address of the client.
    pub client_ip: String,
    /// Port of the client.
    pub client_port: i32,
    /// Which proxy process.
    pub proxy_instance: String,
    /// Account used at the target.
    pub target_user: String,
    /// Database or namespace; may be empty.
    pub database: String,
    /// Application name the client gave, cut at 64 bytes; may be empty.
    pub application: String,
    /// acked, journaled or buffered.
    pub capture_guarantee: String,
    /// Id of the masker key that the session key is wrapped to.
    pub key_id: String,
    /// HPKE encapsulation (32 bytes) and sealed session key (48 bytes).
    pub wrapped_key: Vec<u8>,
}

impl SessionContext {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.principal.put(out);
        self.target.put(out);
        put_bytes(out, self.client_ip.as_bytes());
        put_long(out, i64::from(self.client_port));
        put_bytes(out, self.proxy_instance.as_bytes());
        put_bytes(out, self.target_user.as_bytes());
        put_bytes(out, self.database.as_bytes());
        put_bytes(out, self.application.as_bytes());
        put_bytes(out, self.capture_guarantee.as_bytes());
        put_bytes(out, self.key_id.as_bytes());
        put_bytes(out, &self.wrapped_key);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.principal.take(cursor)?;
        self.target.take(cursor)?;
        {
            let text = cursor.string()?;
            self.client_ip.clear();
            self.client_ip.push_str(text);
        }
        self.client_port = cursor.int()?;
        {
            let text = cursor.string()?;
            self.proxy_instance.clear();
            self.proxy_instance.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.target_user.clear();
            self.target_user.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.database.clear();
            self.database.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.application.clear();
            self.application.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.capture_guarantee.clear();
            self.capture_guarantee.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.key_id.clear();
            self.key_id.push_str(text);
        }
        {
            let bytes = cursor.bytes()?;
            self.wrapped_key.clear();
            self.wrapped_key.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// A raw frame with its session's context; content is still ciphertext. The raw frame comes first, so that its bytes can be copied as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnrichedFrame {
    /// The frame as the proxy wrote it.
    pub raw: RawFrame,
    /// Whether the session was known.
    pub attribution: Attribution,
    /// True when a replay could not be told from a repeat.
    pub possible_duplicate: bool,
    /// The session's context; empty when unattributed.
    pub context: SessionContext,
}

impl EnrichedFrame {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.raw.put(out);
        put_long(out, i64::from((self.attribution).index()));
        out.push(u8::from(self.possible_duplicate));
        self.context.put(out);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.raw.take(cursor)?;
        self.attribution = Attribution::from_index(cursor.int()?)?;
        self.possible_duplicate = cursor.boolean()?;
        self.context.take(cursor)?;
        Ok(())
    }
}

/// What the enricher must know of a session to go on after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnricherState {
    /// Highest sequence written.
    pub last_sequence: i64,
}

impl EnricherState {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.last_sequence);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.last_sequence = cursor.long()?;
        Ok(())
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum EventKind {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `COMMAND`.
    Command,
    /// `SESSION_OPENED`.
    SessionOpened,
    /// `SESSION_CLOSED`.
    SessionClosed,
    /// `SESSION_REFUSED`.
    SessionRefused,
    /// `DECISION`.
    Decision,
    /// `APPROVAL`.
    Approval,
    /// `FINDING`.
    Finding,
    /// `UNATTRIBUTED`.
    Unattributed,
}
impl EventKind {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Command,
        Self::SessionOpened,
        Self::SessionClosed,
        Self::SessionRefused,
        Self::Decision,
        Self::Approval,
        Self::Finding,
        Self::Unattributed,
    ];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Command => 1,
            Self::SessionOpened => 2,
            Self::SessionClosed => 3,
            Self::SessionRefused => 4,
            Self::Decision => 5,
            Self::Approval => 6,
            Self::Finding => 7,
            Self::Unattributed => 8,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Command => "COMMAND",
            Self::SessionOpened => "SESSION_OPENED",
            Self::SessionClosed => "SESSION_CLOSED",
            Self::SessionRefused => "SESSION_REFUSED",
            Self::Decision => "DECISION",
            Self::Approval => "APPROVAL",
            Self::Finding => "FINDING",
            Self::Unattributed => "UNATTRIBUTED",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// One parameter, decoded by type and masked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventParameter {
    /// Column or argument it is for; may be empty.
    pub name: String,
    /// Type OID; 0 unknown.
    pub type_oid: i64,
    /// Text form, masked; null for SQL NULL.
    pub value: Option<String>,
}

impl EventParameter {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_long(out, self.type_oid);
        match &self.value {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, value.as_bytes());
            }
        }
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.name.clear();
            self.name.push_str(text);
        }
        self.type_oid = cursor.long()?;
        if cursor.some()? {
            let value = self.value.get_or_insert_with(Default::default);
            {
                let text = cursor.string()?;
                value.clear();
                value.push_str(text);
            }
        } else {
            self.value = None;
        }
        Ok(())
    }
}

/// What masking did to the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum PayloadState {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `EMPTY`.
    Empty,
    /// `CLEAR`.
    Clear,
    /// `MASKED`.
    Masked,
    /// `MASKED_WHOLE`.
    MaskedWhole,
    /// `DROPPED`.
    Dropped,
}
impl PayloadState {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 6] =
        [Self::Unknown, Self::Empty, Self::Clear, Self::Masked, Self::MaskedWhole, Self::Dropped];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Empty => 1,
            Self::Clear => 2,
            Self::Masked => 3,
            Self::MaskedWhole => 4,
            Self::Dropped => 5,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Empty => "EMPTY",
            Self::Clear => "CLEAR",
            Self::Masked => "MASKED",
            Self::MaskedWhole => "MASKED_WHOLE",
            Self::Dropped => "DROPPED",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// One thing that happened, masked: what a search finds and a SOC consumes. Class and activity numbers are OCSF's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// As in the raw frame.
    pub event_id: Uuid,
    /// Session.
    pub session_id: Uuid,
    /// Dense per session over frames and events together.
    pub sequence: i64,
    /// When the proxy saw it.
    pub observed_at_us: i64,
    /// What happened.
    pub kind: EventKind,
    /// OCSF class.
    pub class_uid: i32,
    /// OCSF activity.
    pub activity_id: i32,
    /// OCSF severity: 1 informational to 6 fatal.
    pub severity_id: i32,
    /// OCSF status: 1 success, 2 failure.
    pub status_id: i32,
    /// Wire protocol.
    pub protocol: Protocol,
    /// Whether the session was known.
    pub attribution: Attribution,
    /// A replay could not be told from a repeat.
    pub possible_duplicate: bool,
    /// OIDC issuer.
    pub principal_issuer: String,
    /// OIDC subject.
    pub principal_subject: String,
    /// E-mail.
    pub principal_email: String,
    /// Display name.
    pub principal_name: String,
    /// Groups.
    pub principal_groups: Vec<String>,
    /// How the proxy was convinced.
    pub auth_method: String,
    /// When the person signed in.
    pub authenticated_at_us: i64,
    /// Target.
    pub target_name: String,
    /// Environment.
    pub target_environment: String,
    /// Owner.
    pub target_owner: String,
    /// Labels.
    pub target_labels: Vec<Label>,
    /// Account used at the target.
    pub target_user: String,
    /// Database or namespace.
    pub database: String,
    /// Address of the client.
    pub client_ip: String,
    /// Port of the client.
    pub client_port: i32,
    /// Application name the client gave, masked.
    pub application: String,
    /// Which proxy process.
    pub proxy_instance: String,
    /// acked, journaled or buffered.
    pub capture_guarantee: String,
    /// Number of the command in its session; -1 none.
    pub command_id: i64,
    /// Command tag word such as SELECT.
    pub command_kind: String,
    /// Statement text, masked; bytes that are no UTF-8 become U+FFFD; null when there is none.
    pub statement: Option<String>,
    /// Bytes of the statement before cutting and masking.
    pub statement_bytes: i64,
    /// True when the text here is cut; frames hold all of it.
    pub statement_truncated: bool,
    /// Parameters in order.
    pub parameters: Vec<EventParameter>,
    /// Relations the statement names.
    pub relations: Vec<String>,
    /// Rows returned or affected.
    pub rows: Option<i64>,
    /// Wire bytes towards the target.
    pub bytes_to_target: i64,
    /// Wire bytes towards the client.
    pub bytes_to_client: i64,
    /// Microseconds.
    pub duration_us: Option<i64>,
    /// SQLSTATE or protocol error code; null for success.
    pub error_code: Option<String>,
    /// Error text, masked.
    pub error_message: Option<String>,
    /// I, T or E after the command.
    pub transaction_status: String,
    /// SESSION_CLOSED: messages seen at the sockets.
    pub message_count: Option<i64>,
    /// SESSION_CLOSED: records of the session, this one included.
    pub record_count: Option<i64>,
    /// Stable code of a refusal, close, decision or finding.
    pub reason_code: String,
    /// The same in words, masked.
    pub reason: String,
    /// What masking did.
    pub payload_state: PayloadState,
    /// Why content is masked whole or dropped.
    pub mask_reason: String,
    /// Ids of the rules that fired, sorted.
    pub mask_rules: Vec<String>,
    /// Version of the rule set.
    pub mask_version: String,
    /// Bytes replaced.
    pub masked_bytes: i64,
}

impl Event {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.event_id).0);
        out.extend_from_slice(&(self.session_id).0);
        put_long(out, self.sequence);
        put_long(out, self.observed_at_us);
        put_long(out, i64::from((self.kind).index()));
        put_long(out, i64::from(self.class_uid));
        put_long(out, i64::from(self.activity_id));
        put_long(out, i64::from(self.severity_id));
        put_long(out, i64::from(self.status_id));
        put_long(out, i64::from((self.protocol).index()));
        put_long(out, i64::from((self.attribution).index()));
        out.push(u8::from(self.possible_duplicate));
        put_bytes(out, self.principal_issuer.as_bytes());
        put_bytes(out, self.principal_subject.as_bytes());
        put_bytes(out, self.principal_email.as_bytes());
        put_bytes(out, self.principal_name.as_bytes());
        if !self.principal_groups.is_empty() {
            put_len(out, self.principal_groups.len());
            for item in &self.principal_groups {
                put_bytes(out, item.as_bytes());
            }
        }
        out.push(0);
        put_bytes(out, self.auth_method.as_bytes());
        put_long(out, self.authenticated_at_us);
        put_bytes(out, self.target_name.as_bytes());
        put_bytes(out, self.target_environment.as_bytes());
        put_bytes(out, self.target_owner.as_bytes());
        if !self.target_labels.is_empty() {
            put_len(out, self.target_labels.len());
            for item in &self.target_labels {
                item.put(out);
            }
        }
        out.push(0);
        put_bytes(out, self.target_user.as_bytes());
        put_bytes(out, self.database.as_bytes());
        put_bytes(out, self.client_ip.as_bytes());
        put_long(out, i64::from(self.client_port));
        put_bytes(out, self.application.as_bytes());
        put_bytes(out, self.proxy_instance.as_bytes());
        put_bytes(out, self.capture_guarantee.as_bytes());
        put_long(out, self.command_id);
        put_bytes(out, self.command_kind.as_bytes());
        match &self.statement {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, value.as_bytes());
            }
        }
        put_long(out, self.statement_bytes);
        out.push(u8::from(self.statement_truncated));
        if !self.parameters.is_empty() {
            put_len(out, self.parameters.len());
            for item in &self.parameters {
                item.put(out);
            }
        }
        out.push(0);
        if !self.relations.is_empty() {
            put_len(out, self.relations.len());
            for item in &self.relations {
                put_bytes(out, item.as_bytes());
            }
        }
        out.push(0);
        match &self.rows {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        put_long(out, self.bytes_to_target);
        put_long(out, self.bytes_to_client);
        match &self.duration_us {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        match &self.error_code {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, value.as_bytes());
            }
        }
        match &self.error_message {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_bytes(out, value.as_bytes());
            }
        }
        put_bytes(out, self.transaction_status.as_bytes());
        match &self.message_count {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        match &self.record_count {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                put_long(out, *value);
            }
        }
        put_bytes(out, self.reason_code.as_bytes());
        put_bytes(out, self.reason.as_bytes());
        put_long(out, i64::from((self.payload_state).index()));
        put_bytes(out, self.mask_reason.as_bytes());
        if !self.mask_rules.is_empty() {
            put_len(out, self.mask_rules.len());
            for item in &self.mask_rules {
                put_bytes(out, item.as_bytes());
            }
        }
        out.push(0);
        put_bytes(out, self.mask_version.as_bytes());
        put_long(out, self.masked_bytes);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.event_id = Uuid(cursor.fixed()?);
        self.session_id = Uuid(cursor.fixed()?);
        self.sequence = cursor.long()?;
        self.observed_at_us = cursor.long()?;
        self.kind = EventKind::from_index(cursor.int()?)?;
        self.class_uid = cursor.int()?;
        self.activity_id = cursor.int()?;
        self.severity_id = cursor.int()?;
        self.status_id = cursor.int()?;
        self.protocol = Protocol::from_index(cursor.int()?)?;
        self.attribution = Attribution::from_index(cursor.int()?)?;
        self.possible_duplicate = cursor.boolean()?;
        {
            let text = cursor.string()?;
            self.principal_issuer.clear();
            self.principal_issuer.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.principal_subject.clear();
            self.principal_subject.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.principal_email.clear();
            self.principal_email.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.principal_name.clear();
            self.principal_name.push_str(text);
        }
        {
            let count = cursor.array(1)?;
            self.principal_groups.truncate(count);
            self.principal_groups.resize_with(count, Default::default);
            for item in &mut self.principal_groups {
                {
                    let text = cursor.string()?;
                    item.clear();
                    item.push_str(text);
                }
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let text = cursor.string()?;
            self.auth_method.clear();
            self.auth_method.push_str(text);
        }
        self.authenticated_at_us = cursor.long()?;
        {
            let text = cursor.string()?;
            self.target_name.clear();
            self.target_name.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.target_environment.clear();
            self.target_environment.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.target_owner.clear();
            self.target_owner.push_str(text);
        }
        {
            let count = cursor.array(2)?;
            self.target_labels.truncate(count);
            self.target_labels.resize_with(count, Default::default);
            for item in &mut self.target_labels {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let text = cursor.string()?;
            self.target_user.clear();
            self.target_user.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.database.clear();
            self.database.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.client_ip.clear();
            self.client_ip.push_str(text);
        }
        self.client_port = cursor.int()?;
        {
            let text = cursor.string()?;
            self.application.clear();
            self.application.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.proxy_instance.clear();
            self.proxy_instance.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.capture_guarantee.clear();
            self.capture_guarantee.push_str(text);
        }
        self.command_id = cursor.long()?;
        {
            let text = cursor.string()?;
            self.command_kind.clear();
            self.command_kind.push_str(text);
        }
        if cursor.some()? {
            let value = self.statement.get_or_insert_with(Default::default);
            {
                let text = cursor.string()?;
                value.clear();
                value.push_str(text);
            }
        } else {
            self.statement = None;
        }
        self.statement_bytes = cursor.long()?;
        self.statement_truncated = cursor.boolean()?;
        {
            let count = cursor.array(3)?;
            self.parameters.truncate(count);
            self.parameters.resize_with(count, Default::default);
            for item in &mut self.parameters {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let count = cursor.array(1)?;
            self.relations.truncate(count);
            self.relations.resize_with(count, Default::default);
            for item in &mut self.relations {
                {
                    let text = cursor.string()?;
                    item.clear();
                    item.push_str(text);
                }
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        if cursor.some()? {
            let value = self.rows.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.rows = None;
        }
        self.bytes_to_target = cursor.long()?;
        self.bytes_to_client = cursor.long()?;
        if cursor.some()? {
            let value = self.duration_us.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.duration_us = None;
        }
        if cursor.some()? {
            let value = self.error_code.get_or_insert_with(Default::default);
            {
                let text = cursor.string()?;
                value.clear();
                value.push_str(text);
            }
        } else {
            self.error_code = None;
        }
        if cursor.some()? {
            let value = self.error_message.get_or_insert_with(Default::default);
            {
                let text = cursor.string()?;
                value.clear();
                value.push_str(text);
            }
        } else {
            self.error_message = None;
        }
        {
            let text = cursor.string()?;
            self.transaction_status.clear();
            self.transaction_status.push_str(text);
        }
        if cursor.some()? {
            let value = self.message_count.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.message_count = None;
        }
        if cursor.some()? {
            let value = self.record_count.get_or_insert_with(Default::default);
            *value = cursor.long()?;
        } else {
            self.record_count = None;
        }
        {
            let text = cursor.string()?;
            self.reason_code.clear();
            self.reason_code.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.reason.clear();
            self.reason.push_str(text);
        }
        self.payload_state = PayloadState::from_index(cursor.int()?)?;
        {
            let text = cursor.string()?;
            self.mask_reason.clear();
            self.mask_reason.push_str(text);
        }
        {
            let count = cursor.array(1)?;
            self.mask_rules.truncate(count);
            self.mask_rules.resize_with(count, Default::default);
            for item in &mut self.mask_rules {
                {
                    let text = cursor.string()?;
                    item.clear();
                    item.push_str(text);
                }
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let text = cursor.string()?;
            self.mask_version.clear();
            self.mask_version.push_str(text);
        }
        self.masked_bytes = cursor.long()?;
        Ok(())
    }
}

/// One masked protocol message, or chunk of one: what a replay shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// As in the raw frame.
    pub event_id: Uuid,
    /// Session.
    pub session_id: Uuid,
    /// Dense per session over frames and events together.
    pub sequence: i64,
    /// When the proxy saw it.
    pub observed_at_us: i64,
    /// Wire protocol.
    pub protocol: Protocol,
    /// Which way.
    pub direction: Direction,
    /// Transport link inside the session.
    pub connection: i32,
    /// Number of the message in its session.
    pub message_id: i64,
    /// Chunk of the message.
    pub chunk: i32,
    /// True on the only or last chunk.
    pub last: bool,
    /// Protocol's own name of the message type.
    pub message_type: String,
    /// Wire bytes of the whole message before masking, on the last chunk.
    pub size_bytes: i64,
    /// Command it belongs to; -1 none.
    pub command_id: i64,
    /// Prepared statement; -1 none.
    pub statement_id: i64,
    /// Whether the session was known.
    pub attribution: Attribution,
    /// A replay could not be told from a repeat.
    pub possible_duplicate: bool,
    /// OIDC issuer.
    pub principal_issuer: String,
    /// OIDC subject.
    pub principal_subject: String,
    /// Target.
    pub target_name: String,
    /// Message body after masking, in the protocol's own format.
    pub payload: Vec<u8>,
    /// What masking did.
    pub payload_state: PayloadState,
    /// Code of why content is masked whole or dropped; empty otherwise.
    pub mask_reason: String,
    /// Ids of the rules that fired, sorted.
    pub mask_rules: Vec<String>,
    /// Version of the rule set.
    pub mask_version: String,
    /// Bytes replaced.
    pub masked_bytes: i64,
}

impl Frame {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.event_id).0);
        out.extend_from_slice(&(self.session_id).0);
        put_long(out, self.sequence);
        put_long(out, self.observed_at_us);
        put_long(out, i64::from((self.protocol).index()));
        put_long(out, i64::from((self.direction).index()));
        put_long(out, i64::from(self.connection));
        put_long(out, self.message_id);
        put_long(out, i64::from(self.chunk));
        out.push(u8::from(self.last));
        put_bytes(out, self.message_type.as_bytes());
        put_long(out, self.size_bytes);
        put_long(out, self.command_id);
        put_long(out, self.statement_id);
        put_long(out, i64::from((self.attribution).index()));
        out.push(u8::from(self.possible_duplicate));
        put_bytes(out, self.principal_issuer.as_bytes());
        put_bytes(out, self.principal_subject.as_bytes());
        put_bytes(out, self.target_name.as_bytes());
        put_bytes(out, &self.payload);
        put_long(out, i64::from((self.payload_state).index()));
        put_bytes(out, self.mask_reason.as_bytes());
        if !self.mask_rules.is_empty() {
            put_len(out, self.mask_rules.len());
            for item in &self.mask_rules {
                put_bytes(out, item.as_bytes());
            }
        }
        out.push(0);
        put_bytes(out, self.mask_version.as_bytes());
        put_long(out, self.masked_bytes);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.event_id = Uuid(cursor.fixed()?);
        self.session_id = Uuid(cursor.fixed()?);
        self.sequence = cursor.long()?;
        self.observed_at_us = cursor.long()?;
        self.protocol = Protocol::from_index(cursor.int()?)?;
        self.direction = Direction::from_index(cursor.int()?)?;
        self.connection = cursor.int()?;
        self.message_id = cursor.long()?;
        self.chunk = cursor.int()?;
        self.last = cursor.boolean()?;
        {
            let text = cursor.string()?;
            self.message_type.clear();
            self.message_type.push_str(text);
        }
        self.size_bytes = cursor.long()?;
        self.command_id = cursor.long()?;
        self.statement_id = cursor.long()?;
        self.attribution = Attribution::from_index(cursor.int()?)?;
        self.possible_duplicate = cursor.boolean()?;
        {
            let text = cursor.string()?;
            self.principal_issuer.clear();
            self.principal_issuer.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.principal_subject.clear();
            self.principal_subject.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.target_name.clear();
            self.target_name.push_str(text);
        }
        {
            let bytes = cursor.bytes()?;
            self.payload.clear();
            self.payload.extend_from_slice(bytes);
        }
        self.payload_state = PayloadState::from_index(cursor.int()?)?;
        {
            let text = cursor.string()?;
            self.mask_reason.clear();
            self.mask_reason.push_str(text);
        }
        {
            let count = cursor.array(1)?;
            self.mask_rules.truncate(count);
            self.mask_rules.resize_with(count, Default::default);
            for item in &mut self.mask_rules {
                {
                    let text = cursor.string()?;
                    item.clear();
                    item.push_str(text);
                }
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        {
            let text = cursor.string()?;
            self.mask_version.clear();
            self.mask_version.push_str(text);
        }
        self.masked_bytes = cursor.long()?;
        Ok(())
    }
}

/// Where one stream's chain ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamHead {
    /// Stream.
    pub stream_id: StreamId,
    /// Number of its newest seal.
    pub seal_seq: i64,
    /// Log leaf hash of that seal.
    pub seal_hash: Hash32,
    /// Number of its next event.
    pub next_seq: i64,
    /// Newest sealed offset; -1 before the first.
    pub last_offset: i64,
    /// When the newest seal was closed, milliseconds.
    pub closed_at: i64,
    /// Newest anchor the stream named.
    pub anchor_size: i64,
    /// Why the newest seal was closed.
    pub reason: i32,
    /// seal_seq of the first seal that no receipt covers.
    pub next_receipt: i64,
}

impl StreamHead {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.stream_id).0);
        put_long(out, self.seal_seq);
        out.extend_from_slice(&(self.seal_hash).0);
        put_long(out, self.next_seq);
        put_long(out, self.last_offset);
        put_long(out, self.closed_at);
        put_long(out, self.anchor_size);
        put_long(out, i64::from(self.reason));
        put_long(out, self.next_receipt);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.stream_id = StreamId(cursor.fixed()?);
        self.seal_seq = cursor.long()?;
        self.seal_hash = Hash32(cursor.fixed()?);
        self.next_seq = cursor.long()?;
        self.last_offset = cursor.long()?;
        self.closed_at = cursor.long()?;
        self.anchor_size = cursor.long()?;
        self.reason = cursor.int()?;
        self.next_receipt = cursor.long()?;
        Ok(())
    }
}

/// The heads of all streams before this entry, after every 1,024 other entries: a tail is provable, and a notary starts, without all seals. Log entry tag 03.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeadsBody {
    /// 1
    pub version: i32,
    /// Log origin.
    pub origin: String,
    /// Log index of part 0.
    pub index: i64,
    /// Number of this part from 0.
    pub part: i32,
    /// Parts; they are consecutive entries.
    pub parts: i32,
    /// Key epoch.
    pub epoch: i64,
    /// Its verifier key.
    pub vkey: String,
    /// INCIDENT entries so far.
    pub incidents: i64,
    /// Streams that have a seal, sorted by stream_id over all parts.
    pub heads: Vec<StreamHead>,
}

impl HeadsBody {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.version));
        put_bytes(out, self.origin.as_bytes());
        put_long(out, self.index);
        put_long(out, i64::from(self.part));
        put_long(out, i64::from(self.parts));
        put_long(out, self.epoch);
        put_bytes(out, self.vkey.as_bytes());
        put_long(out, self.incidents);
        if !self.heads.is_empty() {
            put_len(out, self.heads.len());
            for item in &self.heads {
                item.put(out);
            }
        }
        out.push(0);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.version = cursor.int()?;
        {
            let text = cursor.string()?;
            self.origin.clear();
            self.origin.push_str(text);
        }
        self.index = cursor.long()?;
        self.part = cursor.int()?;
        self.parts = cursor.int()?;
        self.epoch = cursor.long()?;
        {
            let text = cursor.string()?;
            self.vkey.clear();
            self.vkey.push_str(text);
        }
        self.incidents = cursor.long()?;
        {
            let count = cursor.array(55)?;
            self.heads.truncate(count);
            self.heads.resize_with(count, Default::default);
            for item in &mut self.heads {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        Ok(())
    }
}

/// Signed-note key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);
impl Default for KeyId {
    fn default() -> Self {
        Self([0; 4])
    }
}

/// Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature64(pub [u8; 64]);
impl Default for Signature64 {
    fn default() -> Self {
        Self([0; 64])
    }
}

/// What went wrong, said by the holder of the root key. Log entry tag 05.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncidentBody {
    /// 1
    pub version: i32,
    /// Log origin.
    pub origin: String,
    /// Dense per log from 0.
    pub number: i64,
    /// Size of the log that the writer of the incident saw.
    pub log_size: i64,
    /// Stream; zeros for the whole log.
    pub stream_id: StreamId,
    /// First offset concerned; -1 when none.
    pub first_offset: i64,
    /// Last offset concerned; -1 when none.
    pub last_offset: i64,
    /// Offset at which the notary goes on in the proposals topic; -1 when that does not change.
    pub resume_offset: i64,
    /// What happened and what was done.
    pub text: String,
    /// Root key that signed.
    pub key_id: KeyId,
    /// Over audit-incident/v1, origin, number, log_size, stream_id in hexadecimal, first_offset, last_offset, resume_offset, text, a line each.
    pub signature: Signature64,
}

impl IncidentBody {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.version));
        put_bytes(out, self.origin.as_bytes());
        put_long(out, self.number);
        put_long(out, self.log_size);
        out.extend_from_slice(&(self.stream_id).0);
        put_long(out, self.first_offset);
        put_long(out, self.last_offset);
        put_long(out, self.resume_offset);
        put_bytes(out, self.text.as_bytes());
        out.extend_from_slice(&(self.key_id).0);
        out.extend_from_slice(&(self.signature).0);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.version = cursor.int()?;
        {
            let text = cursor.string()?;
            self.origin.clear();
            self.origin.push_str(text);
        }
        self.number = cursor.long()?;
        self.log_size = cursor.long()?;
        self.stream_id = StreamId(cursor.fixed()?);
        self.first_offset = cursor.long()?;
        self.last_offset = cursor.long()?;
        self.resume_offset = cursor.long()?;
        {
            let text = cursor.string()?;
            self.text.clear();
            self.text.push_str(text);
        }
        self.key_id = KeyId(cursor.fixed()?);
        self.signature = Signature64(cursor.fixed()?);
        Ok(())
    }
}

/// The beginning of a key epoch: heads of a size above this entry's index are signed by the new key. Log entry tag 02.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyBody {
    /// 1
    pub version: i32,
    /// Log origin.
    pub origin: String,
    /// `rotate`: the key of the epoch before signed. `recover`: a recovery key of the root-signed policy did.
    pub action: String,
    /// Number of the epoch that begins; the one before is retired. The first epoch, 0, has no entry.
    pub epoch: i64,
    /// Verifier key of the new epoch; its name is the origin, its type 01.
    pub vkey: String,
    /// Key that signed.
    pub key_id: KeyId,
    /// Over audit-key/v1, origin, action, epoch, vkey, a line each.
    pub signature: Signature64,
}

impl KeyBody {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.version));
        put_bytes(out, self.origin.as_bytes());
        put_bytes(out, self.action.as_bytes());
        put_long(out, self.epoch);
        put_bytes(out, self.vkey.as_bytes());
        out.extend_from_slice(&(self.key_id).0);
        out.extend_from_slice(&(self.signature).0);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.version = cursor.int()?;
        {
            let text = cursor.string()?;
            self.origin.clear();
            self.origin.push_str(text);
        }
        {
            let text = cursor.string()?;
            self.action.clear();
            self.action.push_str(text);
        }
        self.epoch = cursor.long()?;
        {
            let text = cursor.string()?;
            self.vkey.clear();
            self.vkey.push_str(text);
        }
        self.key_id = KeyId(cursor.fixed()?);
        self.signature = Signature64(cursor.fixed()?);
        Ok(())
    }
}

/// What the masker must know of a session to go on after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaskerState {
    /// Sequence of the last record written.
    pub last_sequence: i64,
    /// Id of the masker key that the state is sealed with.
    pub key_id: String,
    /// Nonce of 12 bytes and AES-256-GCM ciphertext of the held bytes and the masked values.
    pub sealed: Vec<u8>,
}

impl MaskerState {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.last_sequence);
        put_bytes(out, self.key_id.as_bytes());
        put_bytes(out, &self.sealed);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.last_sequence = cursor.long()?;
        {
            let text = cursor.string()?;
            self.key_id.clear();
            self.key_id.push_str(text);
        }
        {
            let bytes = cursor.bytes()?;
            self.sealed.clear();
            self.sealed.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// The record about one batch of one stream. Log entry tag 01.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealBody {
    /// 1
    pub version: i32,
    /// Log origin.
    pub origin: String,
    /// Stream.
    pub stream_id: StreamId,
    /// Readable topic.
    pub topic: String,
    /// Readable partition.
    pub partition: i32,
    /// Dense per stream from 0.
    pub seal_seq: i64,
    /// Log leaf hash of this stream's previous entry; zeros for seal 0.
    pub prev_seal_hash: Hash32,
    /// First event number.
    pub first_seq: i64,
    /// Events; 0 is a heartbeat.
    pub count: i64,
    /// -1 for a heartbeat.
    pub first_offset: i64,
    /// -1 for a heartbeat.
    pub last_offset: i64,
    /// 0 for a heartbeat.
    pub min_ts: i64,
    /// 0 for a heartbeat.
    pub max_ts: i64,
    /// RFC 6962 root of the batch.
    pub batch_root: Hash32,
    /// SHA-256 of the writer schema's full JSON bytes.
    pub schema_hash: Hash32,
    /// Sealer clock, milliseconds, never less than the one before.
    pub closed_at: i64,
    /// Newest log head the sealer knew.
    pub anchor_size: i64,
    /// Its root.
    pub anchor_root: Hash32,
    /// 0 count, 1 bytes, 2 age, 3 schema, 4 key epoch, 5 heartbeat, 6 shutdown.
    pub reason: i32,
}

impl SealBody {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.version));
        put_bytes(out, self.origin.as_bytes());
        out.extend_from_slice(&(self.stream_id).0);
        put_bytes(out, self.topic.as_bytes());
        put_long(out, i64::from(self.partition));
        put_long(out, self.seal_seq);
        out.extend_from_slice(&(self.prev_seal_hash).0);
        put_long(out, self.first_seq);
        put_long(out, self.count);
        put_long(out, self.first_offset);
        put_long(out, self.last_offset);
        put_long(out, self.min_ts);
        put_long(out, self.max_ts);
        out.extend_from_slice(&(self.batch_root).0);
        out.extend_from_slice(&(self.schema_hash).0);
        put_long(out, self.closed_at);
        put_long(out, self.anchor_size);
        out.extend_from_slice(&(self.anchor_root).0);
        put_long(out, i64::from(self.reason));
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.version = cursor.int()?;
        {
            let text = cursor.string()?;
            self.origin.clear();
            self.origin.push_str(text);
        }
        self.stream_id = StreamId(cursor.fixed()?);
        {
            let text = cursor.string()?;
            self.topic.clear();
            self.topic.push_str(text);
        }
        self.partition = cursor.int()?;
        self.seal_seq = cursor.long()?;
        self.prev_seal_hash = Hash32(cursor.fixed()?);
        self.first_seq = cursor.long()?;
        self.count = cursor.long()?;
        self.first_offset = cursor.long()?;
        self.last_offset = cursor.long()?;
        self.min_ts = cursor.long()?;
        self.max_ts = cursor.long()?;
        self.batch_root = Hash32(cursor.fixed()?);
        self.schema_hash = Hash32(cursor.fixed()?);
        self.closed_at = cursor.long()?;
        self.anchor_size = cursor.long()?;
        self.anchor_root = Hash32(cursor.fixed()?);
        self.reason = cursor.int()?;
        Ok(())
    }
}

/// A seal with its place in the log and its stand-alone signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealEnvelope {
    /// Log entry: tag byte and body.
    pub entry: Vec<u8>,
    /// Index in the log.
    pub log_index: i64,
    /// Size of the published log that holds it.
    pub tree_size: i64,
    /// Signing key.
    pub key_id: KeyId,
    /// Over audit-seal/v1, newline, entry leaf hash.
    pub signature: Signature64,
}

impl SealEnvelope {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.entry);
        put_long(out, self.log_index);
        put_long(out, self.tree_size);
        out.extend_from_slice(&(self.key_id).0);
        out.extend_from_slice(&(self.signature).0);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let bytes = cursor.bytes()?;
            self.entry.clear();
            self.entry.extend_from_slice(bytes);
        }
        self.log_index = cursor.long()?;
        self.tree_size = cursor.long()?;
        self.key_id = KeyId(cursor.fixed()?);
        self.signature = Signature64(cursor.fixed()?);
        Ok(())
    }
}

/// Life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum SessionState {
    #[default]
    /// `UNKNOWN`.
    Unknown,
    /// `OPEN`.
    Open,
    /// `CLOSED`.
    Closed,
    /// `REFUSED`.
    Refused,
}
impl SessionState {
    /// Every symbol, in schema order.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Open, Self::Closed, Self::Refused];
    /// Index in the schema.
    #[must_use]
    pub const fn index(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Open => 1,
            Self::Closed => 2,
            Self::Refused => 3,
        }
    }
    /// Symbol in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Open => "OPEN",
            Self::Closed => "CLOSED",
            Self::Refused => "REFUSED",
        }
    }
    /// The value with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == symbol)
    }
    fn from_index(index: i32) -> Result<Self, DecodeError> {
        usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol)
    }
}

/// Identity and context of a session, written before its first raw record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// Session; also the record key.
    pub session_id: Uuid,
    /// Life.
    pub state: SessionState,
    /// Wire protocol.
    pub protocol: Protocol,
    /// When identity was verified, or refused.
    pub opened_at_us: i64,
    /// When the token, and so the session, ends.
    pub expires_at_us: i64,
    /// Who, where, which key.
    pub context: SessionContext,
}

impl Session {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.session_id).0);
        put_long(out, i64::from((self.state).index()));
        put_long(out, i64::from((self.protocol).index()));
        put_long(out, self.opened_at_us);
        put_long(out, self.expires_at_us);
        self.context.put(out);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        self.session_id = Uuid(cursor.fixed()?);
        self.state = SessionState::from_index(cursor.int()?)?;
        self.protocol = Protocol::from_index(cursor.int()?)?;
        self.opened_at_us = cursor.long()?;
        self.expires_at_us = cursor.long()?;
        self.context.take(cursor)?;
        Ok(())
    }
}

/// Plaintext content of a SESSION, DECISION, APPROVAL or FINDING frame; lies on the bus only as ciphertext.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SessionContent {
    /// Reason in words.
    pub reason: String,
    /// Start-up parameters the client sent, credentials left out.
    pub parameters: Vec<Label>,
}

impl std::fmt::Debug for SessionContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionContent(hidden)")
    }
}

impl SessionContent {
    /// Appends the Avro body.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.reason.as_bytes());
        if !self.parameters.is_empty() {
            put_len(out, self.parameters.len());
            for item in &self.parameters {
                item.put(out);
            }
        }
        out.push(0);
    }
    /// Takes the Avro body off the cursor into `self`.
    /// # Errors
    /// [`DecodeError`].
    pub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        {
            let text = cursor.string()?;
            self.reason.clear();
            self.reason.push_str(text);
        }
        {
            let count = cursor.array(2)?;
            self.parameters.truncate(count);
            self.parameters.resize_with(count, Default::default);
            for item in &mut self.parameters {
                item.take(cursor)?;
            }
            if count > 0 {
                cursor.array_end()?;
            }
        }
        Ok(())
    }
}

impl Record for ArchiveBody {
    const NAME: &'static str = "audit.v1.ArchiveBody";
    const SCHEMA: &'static str = include_str!("../../avro/v1/archive_body.avsc");
    const FINGERPRINT: u64 = 0x6f4b6e79804d94a2;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for CommandContent {
    const NAME: &'static str = "audit.v1.CommandContent";
    const SCHEMA: &'static str = include_str!("../../avro/v1/command_content.avsc");
    const FINGERPRINT: u64 = 0x3663f269f39daf0d;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for DeadLetter {
    const NAME: &'static str = "audit.v1.DeadLetter";
    const SCHEMA: &'static str = include_str!("../../avro/v1/dead_letter.avsc");
    const FINGERPRINT: u64 = 0x16f3a56593e48736;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for EnrichedFrame {
    const NAME: &'static str = "audit.v1.EnrichedFrame";
    const SCHEMA: &'static str = include_str!("../../avro/v1/enriched_frame.avsc");
    const FINGERPRINT: u64 = 0x2dac8cb184dff0cb;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for EnricherState {
    const NAME: &'static str = "audit.v1.EnricherState";
    const SCHEMA: &'static str = include_str!("../../avro/v1/enricher_state.avsc");
    const FINGERPRINT: u64 = 0xd72ee3b787c805eb;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for Event {
    const NAME: &'static str = "audit.v1.Event";
    const SCHEMA: &'static str = include_str!("../../avro/v1/event.avsc");
    const FINGERPRINT: u64 = 0x2a04cc7c2ccf0b6a;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for Frame {
    const NAME: &'static str = "audit.v1.Frame";
    const SCHEMA: &'static str = include_str!("../../avro/v1/frame.avsc");
    const FINGERPRINT: u64 = 0x827fba41902380d0;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for HeadsBody {
    const NAME: &'static str = "audit.v1.HeadsBody";
    const SCHEMA: &'static str = include_str!("../../avro/v1/heads_body.avsc");
    const FINGERPRINT: u64 = 0xffb9bf30fb21deb5;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for IncidentBody {
    const NAME: &'static str = "audit.v1.IncidentBody";
    const SCHEMA: &'static str = include_str!("../../avro/v1/incident_body.avsc");
    const FINGERPRINT: u64 = 0xf89cfa00db0d1bcd;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for KeyBody {
    const NAME: &'static str = "audit.v1.KeyBody";
    const SCHEMA: &'static str = include_str!("../../avro/v1/key_body.avsc");
    const FINGERPRINT: u64 = 0xec016ba39e5c1923;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for MaskerState {
    const NAME: &'static str = "audit.v1.MaskerState";
    const SCHEMA: &'static str = include_str!("../../avro/v1/masker_state.avsc");
    const FINGERPRINT: u64 = 0x92e13a151990d101;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for RawFrame {
    const NAME: &'static str = "audit.v1.RawFrame";
    const SCHEMA: &'static str = include_str!("../../avro/v1/raw_frame.avsc");
    const FINGERPRINT: u64 = 0x8426624d7fafef76;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for SealBody {
    const NAME: &'static str = "audit.v1.SealBody";
    const SCHEMA: &'static str = include_str!("../../avro/v1/seal_body.avsc");
    const FINGERPRINT: u64 = 0xef2bbdc4c0f6b1e0;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for SealEnvelope {
    const NAME: &'static str = "audit.v1.SealEnvelope";
    const SCHEMA: &'static str = include_str!("../../avro/v1/seal_envelope.avsc");
    const FINGERPRINT: u64 = 0xe473fc1edc0915ef;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for Session {
    const NAME: &'static str = "audit.v1.Session";
    const SCHEMA: &'static str = include_str!("../../avro/v1/session.avsc");
    const FINGERPRINT: u64 = 0xac166d3096d6a151;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}

impl Record for SessionContent {
    const NAME: &'static str = "audit.v1.SessionContent";
    const SCHEMA: &'static str = include_str!("../../avro/v1/session_content.avsc");
    const FINGERPRINT: u64 = 0x06695be5eda2d3e1;
    fn encode(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
    fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body);
        self.take(&mut cursor)?;
        cursor.finish()
    }
}
