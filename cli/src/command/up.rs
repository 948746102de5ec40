//! `sealtrail up`, and one stage alone: start, wait for a signal, drain, stop.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stage::Level;

use crate::args::ConfigArg;
use crate::compose::{Line, Stage, open_bus};
use crate::config::Config;

pub(super) fn run(arg: &ConfigArg, which: &[Stage]) -> Result<ExitCode> {
    let config = Config::load(arg)?;
    crate::admin::log_to_stderr();
    if which.len() > 1 {
        tracing::warn!("all stages share this process, so the split of keys between processes is given up");
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listen for signals")?;
    let bus = open_bus(&config)?;
    let mut line = Line::start(&config, &bus, which)?;
    let admin = crate::admin::Admin::start(&config.admin.listen)?;
    if let Some(address) = line.proxy {
        tracing::info!(%address, "proxy listens");
    }
    tracing::info!("ready");
    loop {
        if signals.pending().next().is_some() {
            break;
        }
        if let Some(name) = line.ended() {
            tracing::error!(stage = name, "a stage ended by itself; stopping the others");
            admin.not_ready();
            let name = name.to_owned();
            line.stop(Level::Stop)?;
            bail!("stage {name} ended");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    tracing::info!("draining; a second signal stops at once");
    admin.not_ready();
    let second = signals.handle();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(1);
        }
    });
    let stopped = line.stop(Level::Drain);
    second.close();
    stopped?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
