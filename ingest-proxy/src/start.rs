//! Config to running stage; the only file of the crate that opens files and binds.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use schemas::v1::{RawFrame, Session};
use sha2::{Digest as _, Sha256};
use stage::{Env, Level, Running, StageFailure};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::config::ProxyConfig;
use crate::encrypt::MaskerKey;
use crate::error::StartError;
use crate::handshakes::Handshakes;
use crate::identity::{self, Verifier};
use crate::journal::{self, Journal};
use crate::listener::{Shared, listen};
use crate::metrics::{Exporter, Metrics, Snapshot};
use crate::tap::{self, Tap};
use crate::target::{Dialer, provider, system_authorities};
use crate::workers::Workers;

/// Protocol name in TLS (ALPN), as registered for PostgreSQL.
pub(crate) const ALPN: &[u8] = b"postgresql";
/// How often the request to stop is looked at.
const STOP_POLL: Duration = Duration::from_millis(50);
/// Longest wait until the bus has what the sessions recorded, when draining; the rest is replayed at the next start.
const FLUSH_WAIT: Duration = Duration::from_secs(30);
/// Bytes sent to the bus in one commit.
const BATCH_BYTES: usize = 1 << 20;

/// The proxy that runs.
pub struct ProxyRunning {
    running: Running,
    listen: SocketAddr,
    metrics: Arc<Metrics>,
    tap: Arc<Tap>,
}

impl std::fmt::Debug for ProxyRunning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRunning").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl ProxyRunning {
    /// Where it listens; the port that the system chose when the configured one is 0.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Counters of connections and sessions.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.metrics.snapshot()
    }

    /// Counters of records.
    #[must_use]
    pub fn records(&self) -> &tap::Counters {
        self.tap.counters()
    }

    /// True when it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.running.is_finished()
    }

    /// The stage's own handle, for a caller that treats all stages alike.
    #[must_use]
    pub fn into_running(self) -> Running {
        self.running
    }

    /// Asks it to stop and waits. `Drain`: accepts no more, ends idle sessions at once and all after `drain_ms`.
    ///
    /// # Errors
    /// What it failed with.
    pub fn stop(self, level: Level) -> Result<(), StageFailure> {
        self.running.stop(level)
    }
}

/// Starts the proxy: reads keys and certificates, opens the journal, binds, then serves on threads of its own.
///
/// # Errors
/// Wrong configuration, an address in use, a journal in use, or a registry that does not answer. Nothing runs then.
pub fn start(config: &ProxyConfig, env: &Env) -> Result<ProxyRunning, StageFailure> {
    config.check()?;
    let acceptor = acceptor(config)?;
    let masker = masker_key(&config.masker_public_key)?;
    let mut dialers = std::collections::HashMap::new();
    for (name, target) in &config.targets {
        dialers.insert(name.clone(), Dialer::new(name, target)?);
    }
    let verifier = verifier(config)?;
    let topics = &env.topics;
    let options = tap::Options {
        raw_framing: env.framing::<RawFrame>(&topics.raw)?,
        session_framing: env.framing::<Session>(&topics.sessions)?,
        topics: topics.clone(),
        partitions: env.partitions,
        instance: env.instance.clone(),
        wait_max: Duration::from_millis(config.capture.wait_ms_max),
        batch_bytes: BATCH_BYTES,
        quarantine: config.journal.folder.join("quarantine"),
        ephemeral: is_ephemeral(config)?,
    };
    let address = config.listen;
    let socket = std::net::TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })?;
    socket.set_nonblocking(true)?;
    let listen_addr = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let workers = Workers::start(config.threads)?;
    let journal_options = journal::Options {
        bytes_max: config.journal.bytes_max,
        segment_bytes: config.journal.segment_bytes,
        ..journal::Options::at(&config.journal.folder)
    };
    let (journal, recovery) = Journal::open(journal_options)?;
    tracing::info!(?recovery, "journal opened");
    let tap = Tap::start(Arc::clone(&journal), Arc::clone(&env.bus), options)?;
    let metrics = Arc::new(Metrics::default());
    let shared = Arc::new(Shared {
        config: config.clone(),
        verifier,
        masker,
        tap: Arc::clone(&tap),
        acceptor,
        dialers,
        cancels: Arc::default(),
        principals: Arc::default(),
        handshakes: Handshakes::new(config.handshakes_max),
        sessions: Arc::new(Semaphore::new(config.sessions_max)),
        metrics: Arc::clone(&metrics),
        instance: env.instance.clone(),
        workers: workers.places(),
    });
    let (shutdown, carrier) = (env.shutdown.clone(), Arc::clone(&tap));
    let watched = Arc::clone(&journal);
    let stopping = (Arc::clone(&tap), Arc::clone(&journal));
    let running = Running::spawn("proxy", &env.shutdown, move || {
        let served = runtime.block_on(serve(socket, shared, watched, shutdown.clone()));
        workers.stop();
        runtime.shutdown_timeout(Duration::from_secs(1));
        flush(&carrier, &journal, &shutdown);
        carrier.stop();
        journal.close();
        served
    });
    let running = running.inspect_err(|_| {
        let (tap, journal) = &stopping;
        tap.stop();
        journal.close();
    })?;
    tracing::info!(address = %listen_addr, "proxy listens");
    Ok(ProxyRunning { running, listen: listen_addr, metrics, tap })
}

async fn serve(
    socket: std::net::TcpListener,
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    shutdown: stage::Shutdown,
) -> Result<(), StageFailure> {
    let (level, seen) = tokio::sync::watch::channel(shutdown.level());
    let (metrics, tap) = (Arc::clone(&shared.metrics), Arc::clone(&shared.tap));
    let limit = shared.config.journal.bytes_max;
    let watcher = tokio::spawn(async move {
        let mut exporter = Exporter::new(limit);
        loop {
            tap.expire();
            exporter.publish(&metrics, &tap, &journal);
            let now = shutdown.level();
            level.send_if_modified(|level| std::mem::replace(level, now) != now);
            tokio::time::sleep(STOP_POLL).await;
        }
    });
    let listener = tokio::net::TcpListener::from_std(socket)?;
    listen(listener, shared, seen).await;
    watcher.abort();
    Ok(())
}

/// Whether the journal's folder does not outlive a restart (P16).
///
/// # Errors
/// When it does not, a target's guarantee leans on it, and the operator has not allowed that.
fn is_ephemeral(config: &ProxyConfig) -> Result<bool, StartError> {
    let folder = &config.journal.folder;
    let unusable = |source: std::io::Error| StartError::File {
        what: "journal folder",
        path: folder.clone(),
        reason: source.to_string(),
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let Some(reason) = journal::ephemeral_here(folder) else { return Ok(false) };
    if !config.journal.allow_ephemeral {
        return Err(StartError::Setting {
            field: "journal.folder".into(),
            reason: format!(
                "`{}` does not outlive a restart: {reason}; choose a folder on a disk, or set journal.allow_ephemeral, \
                 and every session record says so",
                folder.display()
            ),
        });
    }
    tracing::warn!(folder = %folder.display(), reason, "the journal does not outlive a restart; session records say so");
    Ok(true)
}

/// When draining, waits until the bus has everything; what it does not take stays in the journal.
fn flush(tap: &Tap, journal: &Journal, shutdown: &stage::Shutdown) {
    let until = Instant::now() + FLUSH_WAIT;
    let behind = || tap.owes() || tap.committed() < journal.bounds().1;
    while behind() && shutdown.level() < Level::Stop && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    if behind() {
        tracing::warn!("the bus has not taken all records; they are sent at the next start");
    }
}

fn acceptor(config: &ProxyConfig) -> Result<Option<TlsAcceptor>, StartError> {
    let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else { return Ok(None) };
    let file = |what, path: &Path, reason: String| StartError::File { what, path: path.into(), reason };
    let wrong = |error: rustls::pki_types::pem::Error| file("certificate chain", certificate, error.to_string());
    let chain = CertificateDer::pem_file_iter(certificate).map_err(wrong)?.collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(wrong)?;
    // The error of a key file is not passed on: it could show a part of the key.
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| file("private key", key, "it holds no private key in PEM that can be read".into()))?;
    let tls = |source| StartError::Tls { what: "the listener".into(), source };
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(tls)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

/// Reads the masker's public key; its id is the first 8 bytes of its SHA-256, as the masker names it.
fn masker_key(path: &Path) -> Result<MaskerKey, StartError> {
    let wrong = |reason: String| StartError::File { what: "masker public key", path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let bytes = hex::decode(text.trim()).map_err(|error| wrong(error.to_string()))?;
    let id = hex::encode(Sha256::digest(&bytes).get(..8).unwrap_or_default());
    MaskerKey::new(id, &bytes).map_err(|error| wrong(error.to_string()))
}

fn verifier(config: &ProxyConfig) -> Result<Verifier, StageFailure> {
    let identity = &config.identity;
    let options = identity::Options {
        groups_claim: identity.groups_claim.clone(),
        skew_s: identity.skew_s,
        jwks_max_age_us: identity.jwks_max_age_s.saturating_mul(1_000_000),
        ..identity::Options::new(&identity.issuer, &identity.audience)
    };
    let tls = |source| StartError::Tls { what: "the identity provider".into(), source };
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(system_authorities())
        .with_no_client_auth();
    Ok(Verifier::new(options, client)?)
}
