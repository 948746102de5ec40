//! Carries bytes between client and target after login; the only async file of the protocol.
//!
//! A request goes on only after its record is durable (I-01): a read burst is decoded, observed, recorded, settled, and
//! then written at once. A direction is read only while nothing of it waits to be written, so memory is bounded and a
//! peer that does not read stops nobody but itself (I-10, I-11). Both directions move in one task without waiting on
//! each other's socket, so a client that pipelines without reading cannot lock the session.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

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
            Self::Expired => Some("57P01"),
            Self::StatementTooLong => Some("54000"),
            Self::Codec(error) => Some(error.sqlstate()),
            Self::Observe(error) => Some(error.sqlstate()),
            Self::Record(error) => Some(error.sqlstate()),
        }
    }
}

/// Longest time for the last bytes to a peer that may not read any more.
const LAST_WRITE: std::time::Duration = std::time::Duration::from_secs(1);

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
/// epoch UTC. Client and target bytes read during login but not used are to be chained in front of the streams.
pub async fn relay<C, T>(
    records: &mut Records,
    observer: &mut Observer,
    client: C,
    target: T,
    expires_at_us: i64,
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
    let left = u64::try_from(expires_at_us.saturating_sub(now())).unwrap_or(0);
    let expiry = tokio::time::sleep(std::time::Duration::from_micros(left));
    tokio::pin!(expiry);
    let end = loop {
        let (to_target, to_client) = (!requests.output.is_empty(), !responses.output.is_empty());
        requests.input.reserve(BUFFER_BYTES_MIN);
        responses.input.reserve(BUFFER_BYTES_MIN);
        let step = tokio::select! {
            () = &mut expiry => Err(End::Expired),
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
                Ok(bytes) if bytes > 0 => take_responses(&mut responses, observer, records, now()).await,
                _ => Err(End::TargetGone),
            },
        };
        if let Err(end) = step {
            break end;
        }
    };
    // What was cleared before the end (a Terminate, or requests before a refused one) still goes on, for a bounded time.
    let rest = target_out.write_all(waiting(&requests.output, requests.written));
    let sent = tokio::time::timeout(LAST_WRITE, rest).await;
    tracing::debug!(sent = matches!(sent, Ok(Ok(()))), "last requests forwarded");
    records.at(now());
    observer.close(now(), records);
    if let Err(error) = records.close(end.kind(), observer.message_count()).await {
        tracing::error!(kind = error.kind(), "the end of a session could not be recorded");
    }
    if let Some(sqlstate) = end.sqlstate() {
        let mut out = waiting(&responses.output, responses.written).to_vec();
        let message = format!("sealtrail: {end}");
        let report = build::Report { severity: "FATAL", sqlstate, message: &message, detail: end.kind(), hint: "" };
        build::error_response(&mut out, &report);
        let told = tokio::time::timeout(LAST_WRITE, client_out.write_all(&out)).await;
        tracing::debug!(told = matches!(told, Ok(Ok(()))), reason = end.kind(), "session ended");
    }
    end
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
    lane.output.extend(lane.input.drain(..used));
    refused.map_or(Ok(()), Err)
}

async fn take_responses(
    lane: &mut Lane,
    observer: &mut Observer,
    records: &mut Records,
    now_us: i64,
) -> Result<(), End> {
    records.at(now_us);
    let mut used = 0;
    while let Step::Piece(piece) = lane.decoder.next(lane.input.get(used..).unwrap_or_default())? {
        observer.response(&piece, now_us, records);
        used += piece.wire_len;
    }
    records.hand_in().await?;
    lane.output.extend(lane.input.drain(..used));
    Ok(())
}
