//! Messages in, frames and commands out: what a Postgres connection did, for the audit. Pure (I-12).
//!
//! One [`Observer`] sees both directions of a connection. Requests enter a FIFO; responses are attributed to its
//! front, so pipelined work is told apart, and after an error everything up to the `Sync` counts as skipped, as
//! the server skips it. Each executed statement gives one [`Command`]: every statement of a simple Query, every
//! Execute, also of a statement prepared long before. It reads, and never changes, what is relayed.
//!
//! A message longer than one chunk gives one record per chunk. What must be read whole first (Query, Parse, Bind,
//! responses but rows and COPY data) has its facts, and a request its `command_id`, on the LAST chunk's record
//! only; the chunks before it say -1 and carry content alone. Rows and COPY data say both on every chunk.
//!
//! Statement text is read whole: the statement buffer holds all that the decoder does not mark `over_limit`
//! ([`STATEMENT_MESSAGE_BYTES_MAX`]). What it does mark the relay must not forward; each of its chunks says
//! `statement_too_long`. A relay that goes on gives the refusing ErrorResponse to [`Observer::response`].
//!
//! Limits (I-10), all in [`Limits`]: outstanding requests, prepared statements, portals, and the bytes they hold.
//! At a limit `request` fails with an error that says so and the session is to be closed with its `kind`; nothing
//! is dropped in silence. Content passes whole in frames; only a COMMAND's copy of it is cut.

mod long_bind;
mod request;
mod response;
mod skip;
mod table;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use schemas::v1::Direction;

use super::codec::{Piece, STATEMENT_MESSAGE_BYTES_MAX};
use super::facts::{Columns, Command, Content, FactsRef, Observed, Relations};
use super::message::{self, Side};
use long_bind::LongBind;
use table::{Bound, Portal, Prepared, Request};

/// Receives what was observed, in the order of the session.
pub trait Sink {
    /// A message, or a chunk of one.
    fn message(&mut self, observed: &Observed<'_>);
    /// A command that completed, failed or was skipped.
    fn command(&mut self, command: &Command<'_>);
}

/// Limits of an observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests sent and not yet answered. Default 16 384.
    pub outstanding_max: usize,
    /// Prepared statements of a connection. Default 4096.
    pub statements_max: usize,
    /// Portals of a connection. Default 1024.
    pub portals_max: usize,
    /// Bytes of text and values held for statements, portals and outstanding requests. Default 32 MiB.
    pub held_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { outstanding_max: 16_384, statements_max: 4096, portals_max: 1024, held_bytes_max: 32 << 20 }
    }
}

/// Why a connection cannot be observed any further; it must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// More requests are outstanding than [`Limits::outstanding_max`].
    #[error("more than {0} requests await an answer")]
    Outstanding(usize),
    /// More statements are prepared than [`Limits::statements_max`].
    #[error("more than {0} statements are prepared")]
    Statements(usize),
    /// More portals are open than [`Limits::portals_max`].
    #[error("more than {0} portals are open")]
    Portals(usize),
    /// Statements, portals and requests hold more bytes than [`Limits::held_bytes_max`].
    #[error("statements, portals and requests hold more than {0} bytes")]
    HeldBytes(usize),
    /// A message body is not what its type says.
    #[error("read a {message_type} message")]
    Body {
        /// Name of the message.
        message_type: &'static str,
        /// Cause.
        #[source]
        source: message::MessageError,
    },
}

impl ObserveError {
    /// Stable name, for metrics and reason codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Outstanding(_) => "outstanding_limit",
            Self::Statements(_) => "statements_limit",
            Self::Portals(_) => "portals_limit",
            Self::HeldBytes(_) => "held_bytes_limit",
            Self::Body { .. } => "message_body",
        }
    }

    /// SQLSTATE to close with.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Body { .. } => "08P01",
            _ => "54000",
        }
    }
}

/// A long message while its chunks pass.
#[derive(Default)]
struct Assembly {
    /// First bytes of the body, up to a limit by type.
    body: Vec<u8>,
    /// Finds the result formats of a long Bind, which lie at its end.
    bind: LongBind,
    message_id: i64,
    command_id: i64,
    /// First chunk's time, microseconds.
    started_us: i64,
}

/// Most body bytes kept of a Bind or response that comes in chunks; its frames carry all of it.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Most body bytes kept of a client's message that comes in chunks.
fn kept_max(message_type: u8) -> usize {
    match message_type {
        b'Q' | b'P' => STATEMENT_MESSAGE_BYTES_MAX as usize,
        b'B' => BODY_BYTES_MAX,
        // FunctionCall and unknown types: nothing in them is read.
        _ => 0,
    }
}

/// COPY under way.
struct Copy {
    columns: Option<Arc<Columns>>,
    format: &'static str,
}

/// A finished command that waits for the next response: `ReadyForQuery` tells its transaction status.
struct Finished {
    command_id: i64,
    prepared: Arc<Prepared>,
    statement: std::ops::Range<usize>,
    statement_bytes: i64,
    bound: Option<Arc<Bound>>,
    columns: Option<Arc<Columns>>,
    relations: Relations,
    kind: &'static str,
    rows: Option<i64>,
    to_target: i64,
    to_client: i64,
    duration_us: i64,
    error_code: String,
    error_message: Vec<u8>,
    error_detail: Vec<u8>,
    reason: &'static str,
}

/// Observes one connection, from the end of authentication on.
pub struct Observer {
    limits: Limits,
    messages: i64,
    commands: i64,
    statements_seen: i64,
    held_bytes: usize,
    statements: HashMap<Box<[u8]>, Arc<Prepared>>,
    portals: HashMap<Box<[u8]>, Portal>,
    outstanding: VecDeque<Request>,
    /// The server reads on to the next Sync after an error.
    skipping: bool,
    to_target: Assembly,
    to_client: Assembly,
    copy: Option<Copy>,
    /// The target reads COPY data and ignores Sync.
    copy_in: bool,
    finished: Option<Finished>,
    /// The last Parse until its first Bind, with its wire bytes and time.
    parsed: Option<(Arc<Prepared>, i64, i64)>,
    /// Wire bytes to the client since the last command ended.
    response_bytes: i64,
    /// Rows of data seen for the command that runs.
    rows: i64,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("messages", &self.messages)
            .field("outstanding", &self.outstanding.len())
            .field("held_bytes", &self.held_bytes)
            .finish_non_exhaustive()
    }
}

impl Observer {
    /// An observer of a new connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            messages: 0,
            commands: 0,
            statements_seen: 0,
            held_bytes: 0,
            statements: HashMap::new(),
            portals: HashMap::new(),
            outstanding: VecDeque::new(),
            skipping: false,
            to_target: Assembly::default(),
            to_client: Assembly::default(),
            copy: None,
            copy_in: false,
            finished: None,
            parsed: None,
            response_bytes: 0,
            rows: 0,
        }
    }

    /// Messages seen so far, both directions: `facts.message_count` of SESSION_CLOSED.
    #[must_use]
    pub fn message_count(&self) -> i64 {
        self.messages
    }

    /// Requests the target has not answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Records a message of start-up or authentication, which the proxy reads itself: name and size, no content.
    pub fn handshake(&mut self, side: Side, message_type: &'static str, size_bytes: u64, sink: &mut impl Sink) {
        let message_id = self.next_message();
        sink.message(&Observed {
            direction: direction(side),
            message_id,
            chunk: 0,
            last: true,
            message_type,
            size_bytes: signed(size_bytes),
            command_id: -1,
            facts: None,
            content: Content::Credential,
        });
    }

    fn next_message(&mut self) -> i64 {
        self.messages += 1;
        self.messages - 1
    }

    fn next_command(&mut self) -> i64 {
        self.commands += 1;
        self.commands - 1
    }

    /// Counts bytes that a table now holds.
    fn hold(&mut self, bytes: usize) -> Result<(), ObserveError> {
        self.held_bytes += bytes;
        if self.held_bytes > self.limits.held_bytes_max {
            return Err(ObserveError::HeldBytes(self.limits.held_bytes_max));
        }
        Ok(())
    }

    fn release(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }
}

fn direction(side: Side) -> Direction {
    match side {
        Side::Client => Direction::ToTarget,
        Side::Target => Direction::ToClient,
    }
}

#[inline]
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The record of a piece.
#[inline]
fn record<'a>(
    side: Side,
    piece: &Piece<'a>,
    message_id: i64,
    command_id: i64,
    facts: Option<FactsRef<'a>>,
) -> Observed<'a> {
    Observed {
        direction: direction(side),
        message_id,
        chunk: i32::try_from(piece.chunk).unwrap_or(i32::MAX),
        last: piece.last,
        message_type: message::name(side, piece.message_type),
        size_bytes: if piece.last { signed(piece.size_bytes()) } else { 0 },
        command_id,
        facts,
        content: if piece.body.is_empty() { Content::None } else { Content::Bytes(piece.body) },
    }
}
