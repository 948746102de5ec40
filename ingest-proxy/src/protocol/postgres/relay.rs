//! Carries bytes between client and target after login; the only async file of the protocol.
//!
//! A request goes on only after its record is durable (I-01): a read burst is decoded, observed, recorded, settled, and
//! then written at once. A direction is read only while nothing of it waits to be written, so memory is bounded and a
//! peer that does not read stops nobody but itself (I-10, I-11). Both directions move in one task without waiting on
//! each other's socket, so a client that pipelines without reading cannot lock the session.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
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
    /// Written bytes may still lie in the link itself, as TLS records do.
    unflushed: bool,
}

/// The peer of a lane took or gave its last byte.
struct Gone;

impl Lane {
    fn new(side: Side) -> Self {
        let decoder = Decoder::new(side, Limits::default());
        Self { decoder, input: Vec::new(), output: Vec::new(), written: 0, unflushed: false }
    }

    /// Moves the first `bytes` of input to output; without a copy when that is all, as it mostly is.
    fn pass(&mut self, bytes: usize) {
        if self.output.is_empty() && bytes == self.input.len() {
            std::mem::swap(&mut self.input, &mut self.output);
        } else {
            self.output.extend(self.input.drain(..bytes));
        }
    }

    /// What is cleared and not written.
    fn waiting(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// True when all that was cleared has left; only then more is read.
    fn is_clear(&self) -> bool {
        self.output.is_empty() && !self.unflushed
    }

    /// Writes what is cleared, as much as `link` takes now.
    fn poll_out(&mut self, link: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Result<(), Gone> {
        while !self.waiting().is_empty() {
            match Pin::new(&mut *link).poll_write(cx, self.waiting()) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.written += bytes;
                    self.unflushed = true;
                }
                Poll::Ready(_) => return Err(Gone),
                Poll::Pending => return Ok(()),
            }
        }
        self.output.clear();
        self.written = 0;
        if self.unflushed {
            match Pin::new(link).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Gone),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Reads what `link` has, at most a message's worth; nothing while cleared bytes wait.
    fn poll_in(&mut self, link: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if !self.is_clear() {
            return Poll::Pending;
        }
        self.input.reserve(BUFFER_BYTES_MIN);
        match pin!(link.read_buf(&mut self.input)).poll(cx) {
            Poll::Ready(Ok(bytes)) if bytes > 0 => Poll::Ready(Ok(())),
            Poll::Ready(_) => Poll::Ready(Err(Gone)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a session goes on with.
enum Event {
    /// The client sent something.
    Asked,
    /// The target did.
    Answered,
    /// What was asked of the process changed; for ever unchanged without a receiver.
    Level(Option<watch::Receiver<Level>>),
    /// Someone cancels this session.
    Cancel(Notice),
    /// The drain's time is over.
    Late,
    /// It is over.
    Over(End),
}

/// Both links and what is between them.
struct Pair<C, T> {
    client: C,
    target: T,
    requests: Lane,
    responses: Lane,
    /// The client was read last, so the target is looked at first: neither side starves the other.
    target_first: bool,
}

impl<C, T> Pair<C, T>
where
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.requests.poll_out(&mut self.target, cx).is_err() {
            return Poll::Ready(Event::Over(End::TargetGone));
        }
        if self.responses.poll_out(&mut self.client, cx).is_err() {
            return Poll::Ready(Event::Over(End::ClientGone));
        }
        if std::mem::take(&mut self.target_first)
            && let Poll::Ready(event) = self.poll_target(cx)
        {
            return Poll::Ready(event);
        }
        match self.requests.poll_in(&mut self.client, cx) {
            Poll::Ready(Ok(())) => {
                self.target_first = true;
                Poll::Ready(Event::Asked)
            }
            Poll::Ready(Err(Gone)) => Poll::Ready(Event::Over(End::ClientGone)),
            Poll::Pending => self.poll_target(cx),
        }
    }

    fn poll_target(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.responses.poll_in(&mut self.target, cx).map(|read| match read {
            Ok(()) => Event::Answered,
            Err(Gone) => Event::Over(End::TargetGone),
        })
    }
}

/// Bursts after which a busy session looks at what may end it from outside, as an idle one always does.
const BURSTS_MAX: u32 = 16;

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
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (requests, responses) = (Lane::new(Side::Client), Lane::new(Side::Target));
    let mut pair = Pair { client, target, requests, responses, target_first: false };
    let end = run(&mut pair, records, observer, control, now).await;
    let Pair { mut client, mut target, requests, responses, .. } = pair;
    // What was cleared before the end (a Terminate, or requests before a refused one) still goes on, for a bounded time.
    let rest = async {
        target.write_all(requests.waiting()).await?;
        target.flush().await
    };
    let sent = timeout(LAST_WRITE, rest).await;
    tracing::debug!(sent = matches!(sent, Ok(Ok(()))), "last requests forwarded");
    records.at(now());
    observer.close(now(), records);
    if let Err(error) = records.close(end.kind(), observer.message_count()).await {
        tracing::error!(kind = error.kind(), "the end of a session could not be recorded");
    }
    if let Some(sqlstate) = end.sqlstate() {
        let mut out = responses.waiting().to_vec();
        // A target that dies says so itself just before; two FATALs would hide the first.
        let message = format!("sealtrail: {end}");
        let report = build::Report { severity: "FATAL", sqlstate, message: &message, detail: end.kind(), hint: "" };
        build::error_response(&mut out, &report);
        let told = timeout(LAST_WRITE, last_words(&mut client, &out)).await;
        tracing::debug!(told = matches!(told, Ok(Ok(()))), reason = end.kind(), "session ended");
    }
    end
}

/// Relays until something ends the session.
async fn run<C, T>(
    pair: &mut Pair<C, T>,
    records: &mut Records,
    observer: &mut Observer,
    control: Control<'_>,
    now: fn() -> i64,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Control { expires_at_us, mut level, drain, cancels } = control;
    // Kept over all rounds, since to register and leave at each would cost a lock shared by all sessions.
    let mut asked = *level.borrow_and_update();
    let left = u64::try_from(expires_at_us.saturating_sub(now())).unwrap_or(0);
    let (mut change, mut expiry) = (pin!(changed(Some(level))), pin!(sleep(Duration::from_micros(left))));
    let (mut late, mut drained_at) = (pin!(until(None)), None);
    let mut ready = true; // outside a transaction, as the target last said
    let mut bursts = 0;
    loop {
        if asked >= Level::Drain {
            let until_at = *drained_at.get_or_insert_with(|| {
                let at = Instant::now() + drain;
                late.set(until(Some(at)));
                at
            });
            let moving = !pair.requests.is_clear() || !pair.responses.is_clear() || !pair.requests.input.is_empty();
            let idle = ready && observer.outstanding() == 0 && !moving;
            if idle || asked >= Level::Stop || Instant::now() >= until_at {
                return End::Drained;
            }
        }
        let event = poll_fn(|cx| {
            if bursts < BURSTS_MAX
                && let Poll::Ready(event) = pair.poll(cx)
            {
                bursts += 1;
                return Poll::Ready(event);
            }
            let busy = std::mem::take(&mut bursts) >= BURSTS_MAX;
            if expiry.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Over(End::Expired));
            }
            if let Poll::Ready(level) = change.as_mut().poll(cx) {
                return Poll::Ready(Event::Level(level));
            }
            if late.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Late);
            }
            if let Poll::Ready(Some(notice)) = cancels.poll_recv(cx) {
                return Poll::Ready(Event::Cancel(notice));
            }
            if busy { pair.poll(cx) } else { Poll::Pending }
        });
        let step = match event.await {
            Event::Asked => take_requests(&mut pair.requests, observer, records, now()).await,
            Event::Answered => take_responses(&mut pair.responses, &mut ready, observer, records, now()).await,
            Event::Level(level) => {
                asked = level.as_ref().map_or(asked, |level| *level.borrow());
                change.set(changed(level));
                Ok(())
            }
            Event::Cancel(notice) => cancelled(notice, observer, records, now()).await,
            Event::Late => {
                late.set(until(None));
                Ok(())
            }
            Event::Over(end) => Err(end),
        };
        if let Err(end) = step {
            return end;
        }
    }
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
async fn last_words(client: &mut (impl AsyncRead + AsyncWrite + Unpin), words: &[u8]) -> std::io::Result<()> {
    client.write_all(words).await?;
    client.shutdown().await?;
    let (mut rest, mut left) = ([0u8; 4096], crate::link::FAREWELL_BYTES_MAX);
    while left > 0 {
        match client.read(&mut rest).await? {
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
