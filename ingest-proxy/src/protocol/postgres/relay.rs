//! Carries bytes between client and target after login; the only async file of the protocol.
//!
//! A request goes on only after its record is durable (I-01): a read burst is decoded, observed, recorded, settled, and
//! then written at once. A direction is read only while nothing of it waits to be written, so memory is bounded and a
//! peer that does not read stops nobody but itself (I-10, I-11). Both directions move in one task without waiting on
//! each other's socket, so a client that pipelines without reading cannot lock the session.

use std::time::Duration;

use stage::Level;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::cancel::Notice;
use super::codec::{BUFFER_BYTES_MIN, CodecError, Decoder, Limits, Step};
use super::message::{Side, build};
use super::observe::{ObserveError, Observer};
use crate::session::{RecordError, Records};

/// Why a relay ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The client said goodbye.
    #[error("client terminated")]
    Terminated,
    /// The client's connection ended without it.
    #[error("client connection ended")]
    ClientGone,
    /// The target's connection ended.
    #[error("target connection ended")]
    TargetGone,
    /// The proxy was asked to stop.
    #[error("the proxy shuts down")]
    Drained,
    /// The token expired (I-06).
    #[error("token expired")]
    Expired,
    /// A statement passes the limit that can be judged (P10).
    #[error("statement is longer than the limit")]
    StatementTooLong,
    /// A side does not speak the protocol.
    #[error("protocol violation")]
    Codec(#[from] CodecError),
    /// The session passes a limit of the observer.
    #[error("session limit")]
    Observe(#[from] ObserveError),
    /// The session can not be recorded.
    #[error("session cannot be recorded")]
    Record(#[from] RecordError),
}

impl End {
    /// Stable reason code of SESSION_CLOSED.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::ClientGone => "client_gone",
            Self::TargetGone => "target_gone",
            Self::Drained => "proxy_shutdown",
            Self::Expired => "token_expired",
            Self::StatementTooLong => "statement_too_long",
            Self::Codec(error) => error.kind(),
            Self::Observe(error) => error.kind(),
            Self::Record(error) => error.kind(),
        }
    }

    /// SQLSTATE for the client; `None` when there is nobody to tell.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&'static str> {
        match self {
            Self::Terminated | Self::ClientGone => None,
            Self::TargetGone => Some("08006"),
            Self::Drained | Self::Expired => Some("57P01"),
            Self::StatementTooLong => Some("54000"),
            Self::Codec(error) => Some(error.sqlstate()),
            Self::Observe(error) => Some(error.sqlstate()),
            Self::Record(error) => Some(error.sqlstate()),
        }
    }
}

/// Longest time for the last bytes to a peer that may not read any more.
const LAST_WRITE: Duration = crate::link::FAREWELL;

/// What can end or interrupt a session from outside.
#[derive(Debug)]
pub struct Control<'a> {
    /// When the token ends, microseconds since epoch UTC.
    pub expires_at_us: i64,
    /// What the process was asked to do: `Drain` ends the session when it is idle outside a transaction, `Stop` at once.
    pub level: watch::Receiver<Level>,
    /// Longest time a session that is not idle goes on after `Drain`.
    pub drain: Duration,
    /// Cancels of this session.
    pub cancels: &'a mut mpsc::Receiver<Notice>,
}

/// One direction: bytes read and not decoded, bytes cleared and not written.
struct Lane {
    decoder: Decoder,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
}

impl Lane {
    fn new(side: Side) -> Self {
        Self { decoder: Decoder::new(side, Limits::default()), input: Vec::new(), output: Vec::new(), written: 0 }
    }

    /// Moves the first `bytes` of input to output; without a copy when that is all, as it mostly is.
    fn pass(&mut self, bytes: usize) {
        if self.output.is_empty() && bytes == self.input.len() {
            std::mem::swap(&mut self.input, &mut self.output);
        } else {
            self.output.extend(self.input.drain(..bytes));
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }
}

/// What is cleared and not written. Takes the fields, so that the lane's input stays free to be read into.
fn waiting(output: &[u8], written: usize) -> &[u8] {
    output.get(written..).unwrap_or_default()
}

/// Relays until one side ends, then writes SESSION_CLOSED and tells the client why. `now` gives microseconds since
/// epoch UTC. Both sides are past login, and the target has said ReadyForQuery.
pub async fn relay<C, T>(
    records: &mut Records,
    observer: &mut Observer,
    client: C,
    target: T,
    control: Control<'_>,
    now: fn() -> i64,
) -> End
where
    C: AsyncRead + AsyncWrite,
    T: AsyncRead + AsyncWrite,
{
    let (client_in, client_out) = tokio::io::split(client);
    let (target_in, target_out) = tokio::io::split(target);
    tokio::pin!(client_in, client_out, target_in, target_out);
    let (mut requests, mut responses) = (Lane::new(Side::Client), Lane::new(Side::Target));
    let Control { expires_at_us, mut level, drain, cancels } = control;
    // Kept over all rounds, since to register and leave at each would cost a lock shared by all sessions.
    let mut asked = *level.borrow_and_update();
    let change = changed(Some(level));
    let left = u64::try_from(expires_at_us.saturating_sub(now())).unwrap_or(0);
    let expiry = sleep(Duration::from_micros(left));
    let mut drained_at = None;
    let mut ready = true; // outside a transaction, as the target last said
    tokio::pin!(expiry, change);
    let end = loop {
        let (to_target, to_client) = (!requests.output.is_empty(), !responses.output.is_empty());
        if asked >= Level::Drain {
            let until = *drained_at.get_or_insert_with(|| Instant::now() + drain);
            let idle = ready && observer.outstanding() == 0 && !to_target && !to_client && requests.input.is_empty();
            if idle || asked >= Level::Stop || Instant::now() >= until {
                break End::Drained;
            }
        }
        requests.input.reserve(BUFFER_BYTES_MIN);
        responses.input.reserve(BUFFER_BYTES_MIN);
        let step = tokio::select! {
            () = &mut expiry => Err(End::Expired),
            level = &mut change => {
                asked = level.as_ref().map_or(asked, |level| *level.borrow());
                change.set(changed(level));
                Ok(())
            }
            () = until(drained_at), if drained_at.is_some() => Ok(()),
            Some(notice) = cancels.recv() => cancelled(notice, observer, records, now()).await,
            done = target_out.write(waiting(&requests.output, requests.written)), if to_target => match done {
                Ok(bytes) if bytes > 0 => { requests.wrote(bytes); Ok(()) }
                _ => Err(End::TargetGone),
            },
            done = client_out.write(waiting(&responses.output, responses.written)), if to_client => match done {
                Ok(bytes) if bytes > 0 => { responses.wrote(bytes); Ok(()) }
                _ => Err(End::ClientGone),
            },
            read = client_in.read_buf(&mut requests.input), if !to_target => match read {
                Ok(bytes) if bytes > 0 => take_requests(&mut requests, observer, records, now()).await,
                _ => Err(End::ClientGone),
            },
            read = target_in.read_buf(&mut responses.input), if !to_client => match read {
                Ok(bytes) if bytes > 0 => take_responses(&mut responses, &mut ready, observer, records, now()).await,
                _ => Err(End::TargetGone),
            },
        };
        if let Err(end) = step {
            break end;
        }
    };
    // What was cleared before the end (a Terminate, or requests before a refused one) still goes on, for a bounded time.
    let rest = async {
        target_out.write_all(waiting(&requests.output, requests.written)).await?;
        target_out.flush().await
    };
    let sent = timeout(LAST_WRITE, rest).await;
    tracing::debug!(sent = matches!(sent, Ok(Ok(()))), "last requests forwarded");
    records.at(now());
    observer.close(now(), records);
    if let Err(error) = records.close(end.kind(), observer.message_count()).await {
        tracing::error!(kind = error.kind(), "the end of a session could not be recorded");
    }
    if let Some(sqlstate) = end.sqlstate() {
        let mut out = waiting(&responses.output, responses.written).to_vec();
        // A target that dies says so itself just before; two FATALs would hide the first.
        let message = format!("sealtrail: {end}");
        let report = build::Report { severity: "FATAL", sqlstate, message: &message, detail: end.kind(), hint: "" };
        build::error_response(&mut out, &report);
        let told = timeout(LAST_WRITE, last_words(&mut client_in, &mut client_out, &out)).await;
        tracing::debug!(told = matches!(told, Ok(Ok(()))), reason = end.kind(), "session ended");
    }
    end
}

/// Waits until the level changes and gives its receiver back; for ever when nobody can change it any more.
async fn changed(level: Option<watch::Receiver<Level>>) -> Option<watch::Receiver<Level>> {
    match level {
        Some(mut level) => level.changed().await.is_ok().then_some(level),
        None => std::future::pending().await,
    }
}

/// Sleeps until `at`; for ever without it.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Writes `words` and closes; reads on, since closing over unread bytes would reset the connection and drop them.
async fn last_words(
    client_in: &mut (impl AsyncRead + Unpin),
    client_out: &mut (impl AsyncWrite + Unpin),
    words: &[u8],
) -> std::io::Result<()> {
    client_out.write_all(words).await?;
    client_out.shutdown().await?;
    let (mut rest, mut left) = ([0u8; 4096], crate::link::FAREWELL_BYTES_MAX);
    while left > 0 {
        match client_in.read(&mut rest).await? {
            0 => break,
            bytes => left = left.saturating_sub(bytes),
        }
    }
    Ok(())
}

/// Records a cancel of this session; whoever brought it forwards it then (I-01).
async fn cancelled(notice: Notice, observer: &mut Observer, records: &mut Records, now_us: i64) -> Result<(), End> {
    records.at(now_us);
    observer.handshake(Side::Client, "CancelRequest", notice.size_bytes, records);
    records.settle().await?;
    if notice.recorded.send(()).is_err() {
        tracing::debug!("a cancel was recorded after its connection had gone");
    }
    Ok(())
}

async fn take_requests(
    lane: &mut Lane,
    observer: &mut Observer,
    records: &mut Records,
    now_us: i64,
) -> Result<(), End> {
    records.at(now_us);
    let (mut used, mut refused) = (0, None);
    while let Step::Piece(piece) = lane.decoder.next(lane.input.get(used..).unwrap_or_default())? {
        let observed = observer.request(&piece, now_us, records);
        if piece.over_limit {
            refused = Some(End::StatementTooLong);
        } else if let Err(error) = observed {
            refused = Some(error.into());
        } else if piece.message_type == b'X' {
            refused = Some(End::Terminated);
        }
        // A refused request stays behind; what came before it, and a Terminate, goes on.
        if matches!(refused, None | Some(End::Terminated)) {
            used += piece.wire_len;
        }
        if refused.is_some() {
            break;
        }
    }
    records.settle().await?;
    lane.pass(used);
    refused.map_or(Ok(()), Err)
}

async fn take_responses(
    lane: &mut Lane,
    ready: &mut bool,
    observer: &mut Observer,
    records: &mut Records,
    now_us: i64,
) -> Result<(), End> {
    records.at(now_us);
    let mut used = 0;
    while let Step::Piece(piece) = lane.decoder.next(lane.input.get(used..).unwrap_or_default())? {
        observer.response(&piece, now_us, records);
        if piece.message_type == b'Z' {
            *ready = piece.body == b"I";
        }
        used += piece.wire_len;
    }
    records.hand_in().await?;
    lane.pass(used);
    Ok(())
}
