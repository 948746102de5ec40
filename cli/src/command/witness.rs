//! `sealtrail witness`: a small witness of our own, on another host than the log.

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rand::RngCore as _;
use sealer::signer::FileSigner;
use sealer::witness::server::WitnessServer;
use stage::{Level, Shutdown};
use tlog::VerifierKey;

use crate::args::WitnessArgs;
use crate::exit::Usage;
use crate::output::line;

pub(super) fn run(args: &WitnessArgs) -> Result<ExitCode> {
    if args.init {
        create(&args.key, &args.name)?;
    }
    let server = Arc::new(WitnessServer::open(&args.name, &args.key, &args.state)?);
    for text in &args.log {
        let from_file = std::fs::read_to_string(text).ok();
        let text = from_file.as_deref().unwrap_or(text);
        for text in text.lines().map(str::trim).filter(|text| !text.is_empty()) {
            let key = VerifierKey::parse(text).map_err(|error| Usage(format!("log key `{text}`: {error}")))?;
            server.add_log(&key)?;
        }
    }
    let listener = TcpListener::bind(&args.listen).with_context(|| format!("listen on {}", args.listen))?;
    line(&format!("vkey {}", server.verifier_key()));
    line(&format!("listens on {}", listener.local_addr().context("read the address")?));
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
        .context("listen for signals")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stop.raise(Level::Stop);
        }
    });
    server.serve(&listener, &shutdown)?;
    Ok(ExitCode::SUCCESS)
}

fn create(path: &Path, name: &str) -> Result<()> {
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let made = FileSigner::create(path, &seed, name);
    seed.fill(0);
    made.map(drop).map_err(Into::into)
}
