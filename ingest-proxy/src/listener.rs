//! Accepts connections and reads what opens them; every connection is its own task, so a slow one stops nobody (I-11).
//!
//! The accepting loop does no handshake. Limits: sessions of the process, handshakes under way (of too many the oldest
//! goes), time until a principal is verified, sizes of everything read before that (I-10).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stage::Level;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::config::ProxyConfig;
use crate::encrypt::MaskerKey;
use crate::handshakes::{Handshake, Handshakes};
use crate::identity::Verifier;
use crate::link::{self, Link};
use crate::metrics::Metrics;
use crate::protocol::postgres::auth::{self, Visit};
use crate::protocol::postgres::cancel::Cancels;
use crate::protocol::postgres::message::MessageError;
use crate::protocol::postgres::message::build::{self, Report};
use crate::protocol::postgres::message::startup::Startup;
use crate::tap::Tap;
use crate::target::Dialer;
use crate::workers::Places;

/// First byte of a TLS record that holds a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Requests for encryption a connection may send before its start-up packet: one of each kind.
const REQUESTS_MAX: usize = 3;
/// Pause after the system refuses to accept (no file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for evicted handshakes to leave.
const EVICTION_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for sessions to end after a stop.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// What all connections of a process share.
pub(crate) struct Shared {
    /// Configuration.
    pub(crate) config: ProxyConfig,
    /// Verifies tokens.
    pub(crate) verifier: Verifier,
    /// Key that session keys are wrapped to.
    pub(crate) masker: MaskerKey,
    /// Records.
    pub(crate) tap: Arc<Tap>,
    /// TLS towards clients.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Targets by name.
    pub(crate) dialers: HashMap<String, Dialer>,
    /// Keys handed out.
    pub(crate) cancels: Arc<Cancels>,
    /// Sessions by principal.
    pub(crate) principals: Arc<Mutex<HashMap<String, usize>>>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Stable name of this process.
    pub(crate) instance: String,
    /// Connections whose principal is not verified yet.
    pub(crate) handshakes: Arc<Handshakes>,
    /// A permit for each session there may be.
    pub(crate) sessions: Arc<Semaphore>,
    /// Where sessions run.
    pub(crate) workers: Places,
}

/// Accepts until asked to drain, then waits for the sessions. Sessions see `level` themselves.
pub(crate) async fn listen(listener: TcpListener, shared: Arc<Shared>, mut level: watch::Receiver<Level>) {
    // What is evicted takes a moment to leave: until then twice as many handshakes may be there.
    let connections_max = shared.config.sessions_max + 2 * shared.config.handshakes_max;
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = level.wait_for(|level| *level > Level::Run) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        shared.metrics.connections();
        let (handshake, evicted) = shared.handshakes.enter();
        if evicted {
            shared.metrics.handshakes_evicted();
        }
        // Those evicted leave by themselves and at once; only when they do not, a connection is turned away.
        let Ok(Ok(place)) = timeout(EVICTION_WAIT, Arc::clone(&places).acquire_owned()).await else {
            shared.metrics.connections_refused();
            turn_away(&stream);
            continue;
        };
        // Taken out of this runtime's poller and put into the worker's own: from here on no other thread wakes for it.
        let Ok(stream) = stream.into_std() else { continue };
        let (serving, level) = (Arc::clone(&shared), level.clone());
        shared.workers.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => connection(&serving, stream, peer, level, handshake).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let stopped = async {
        let asked = level.wait_for(|level| *level >= Level::Stop).await.is_ok();
        tracing::debug!(asked, "waiting for sessions to end");
        tokio::time::sleep(STOP_WAIT).await;
    };
    tokio::select! {
        ended = places.acquire_many(all) => tracing::info!(all = ended.is_ok(), "sessions have ended"),
        () = stopped => tracing::warn!("sessions were still open when the proxy stopped"),
    }
}

/// Tells a connection above the limit why; never waits for it.
fn turn_away(stream: &TcpStream) {
    let told = stream.try_write(&fatal("53300", "sealtrail: too many connections", ""));
    tracing::warn!(told = told.is_ok(), "a connection was turned away: the limit of sessions is reached");
}

/// A FATAL `ErrorResponse`.
pub(crate) fn fatal(sqlstate: &str, message: &str, detail: &str) -> Vec<u8> {
    let mut out = Vec::new();
    build::error_response(&mut out, &Report { severity: "FATAL", sqlstate, message, detail, hint: "" });
    out
}

/// What the first packets of a connection came to.
enum Opening {
    /// A start-up or cancel packet, read over this link.
    Packet { link: Link, packet: Vec<u8>, tls: bool },
    /// The peer left without a word.
    Left,
}

async fn connection(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    level: watch::Receiver<Level>,
    mut handshake: Handshake,
) {
    let deadline = Instant::now() + Duration::from_millis(shared.config.handshake_timeout_ms);
    let opened = tokio::select! {
        opened = timeout_at(deadline, open(shared, stream)) => opened,
        () = handshake.evicted() => {
            return tracing::info!(%peer, "a connection said nothing while many others waited");
        }
    };
    let opening = match opened {
        Ok(Ok(opening)) => opening,
        Ok(Err(error)) => {
            shared.metrics.malformed();
            return tracing::info!(%error, %peer, "a connection was not opened");
        }
        Err(_) => {
            shared.metrics.malformed();
            return tracing::info!(%peer, "a connection said nothing in time");
        }
    };
    let Opening::Packet { link, packet, tls } = opening else { return };
    match Startup::read(&packet) {
        Ok(Startup::Cancel { process, key }) => cancel(shared, process, key, packet.len()).await,
        Ok(Startup::Session(startup)) => {
            let size_bytes = u64::try_from(packet.len()).unwrap_or(u64::MAX);
            let visit = Visit { peer, tls, deadline, size_bytes, level };
            auth::serve(shared, visit, handshake, link, &startup).await;
        }
        Ok(Startup::SslRequest | Startup::GssEncRequest) => {
            shared.metrics.malformed();
            link.farewell(&fatal("08P01", "sealtrail: encryption was asked for twice", "")).await;
        }
        Err(error) => {
            shared.metrics.malformed();
            tracing::info!(%error, %peer, "a start-up packet is malformed");
            let sqlstate = if matches!(error, MessageError::Version { .. }) { "0A000" } else { "08P01" };
            link.farewell(&fatal(sqlstate, &format!("sealtrail: invalid start-up packet: {error}"), "")).await;
        }
    }
}

/// Reads up to the first packet that is no request for encryption.
async fn open(shared: &Arc<Shared>, mut stream: TcpStream) -> io::Result<Opening> {
    stream.set_nodelay(true)?;
    let mut first = [0u8; 1];
    if stream.peek(&mut first).await? == 0 {
        return Ok(Opening::Left);
    }
    if first == [TLS_HANDSHAKE] {
        return secure(shared, stream, true).await;
    }
    for _ in 0..REQUESTS_MAX {
        let packet = match link::packet(&mut stream).await {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(Opening::Left),
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    Link::new(stream).farewell(&fatal("08P01", &format!("sealtrail: {error}"), "")).await;
                }
                return Err(error);
            }
        };
        match Startup::read(&packet) {
            Ok(Startup::SslRequest) if shared.acceptor.is_some() => {
                // Bytes behind the request came in clear, whoever wrote them; they are not to be taken for TLS's.
                if matches!(timeout(Duration::ZERO, stream.peek(&mut first)).await, Ok(Ok(bytes)) if bytes > 0) {
                    let words = fatal("08P01", "sealtrail: received unencrypted data after the request for tls", "");
                    Link::new(stream).farewell(&words).await;
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "unencrypted data after the request for tls",
                    ));
                }
                stream.write_all(b"S").await?;
                return secure(shared, stream, false).await;
            }
            Ok(Startup::SslRequest | Startup::GssEncRequest) => stream.write_all(b"N").await?,
            _ => return Ok(Opening::Packet { link: Link::new(stream), packet, tls: false }),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "encryption was asked for too often"))
}

/// Ends TLS and reads the packet inside. Without `SSLRequest` (`direct`) the client must have named the protocol.
async fn secure(shared: &Arc<Shared>, stream: TcpStream, direct: bool) -> io::Result<Opening> {
    let unsupported = |reason: &str| io::Error::new(io::ErrorKind::Unsupported, reason.to_owned());
    let acceptor = shared.acceptor.as_ref().ok_or_else(|| unsupported("tls is not configured"))?;
    let stream = acceptor.accept(stream).await?;
    if direct && stream.get_ref().1.alpn_protocol() != Some(crate::start::ALPN) {
        return Err(unsupported("direct tls without the protocol's name"));
    }
    let mut link = Link::new(stream);
    match link::packet(&mut link).await {
        Ok(Some(packet)) => Ok(Opening::Packet { link, packet, tls: true }),
        Ok(None) => Ok(Opening::Left),
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                link.farewell(&fatal("08P01", &format!("sealtrail: {error}"), "")).await;
            }
            Err(error)
        }
    }
}

/// Forwards a cancel to the target of the session it names. The client is told nothing, as by the server.
async fn cancel(shared: &Arc<Shared>, process: i32, key: &[u8], packet_bytes: usize) {
    let Some(entry) = shared.cancels.find(process, key) else {
        return tracing::info!("a cancel request names no session");
    };
    let Some(dialer) = shared.dialers.get(&entry.target).filter(|_| !entry.key.is_empty()) else { return };
    let recorded = timeout(dialer.timeout, entry.record(u64::try_from(packet_bytes).unwrap_or(u64::MAX)));
    if !matches!(recorded.await, Ok(true)) {
        return tracing::warn!(target_name = dialer.name, "a cancel request was not recorded and not forwarded");
    }
    let mut packet = Vec::new();
    build::cancel_request(&mut packet, entry.process, &entry.key);
    match dialer.dial().await {
        Ok(link) => {
            shared.metrics.cancels();
            // Waits until the target closes, so that the client's own wait means what it means without a proxy.
            link.farewell(&packet).await;
        }
        Err(error) => tracing::warn!(%error, "a cancel request could not be forwarded"),
    }
}
