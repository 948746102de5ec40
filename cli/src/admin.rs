//! Logs, and the admin server of this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use stage::{Level, Shutdown};
use tracing_subscriber::EnvFilter;

use crate::exit::Usage;

/// Sends logs to standard error: JSON lines when SEALTRAIL_LOG_FORMAT=json, filtered by RUST_LOG (default `info`).
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var_os("SEALTRAIL_LOG_FORMAT").is_some_and(|format| format == "json");
    // a second call finds the first one's subscriber and leaves it
    let set = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    drop(set);
}

/// `/metrics`, `/healthz` and `/readyz`; ends when dropped.
pub(crate) struct Admin {
    ready: Arc<AtomicBool>,
    shutdown: Shutdown,
}

impl Admin {
    /// Listens on `listen`; an empty address opens no port.
    pub(crate) fn start(listen: &str) -> Result<Self> {
        let admin = Self { ready: Arc::new(AtomicBool::new(true)), shutdown: Shutdown::new() };
        if !listen.is_empty() {
            let address: SocketAddr = listen
                .parse()
                .map_err(|_| Usage(format!("admin.listen `{listen}` is not an address such as 127.0.0.1:9464")))?;
            let ready = admin.ready.clone();
            let answer = move || if ready.load(Ordering::Relaxed) { Ok(()) } else { Err("stopping".to_owned()) };
            let server =
                stage::health::start(address, Arc::new(answer), &admin.shutdown).map_err(|error| anyhow!(error))?;
            tracing::info!(address = %server.address, "admin listens");
        }
        Ok(admin)
    }

    /// `/readyz` says no from now on.
    pub(crate) fn not_ready(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.shutdown.raise(Level::Stop);
    }
}
