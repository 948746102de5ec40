//! The long run of the fault harness: `cargo xtask fault --kills 1000 [--seed N] [--brokers 1|3] [--workers N]`.
//!
//! The last line is for machines; the exit code is 0 only when all its figures are 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use testkit::fault::{Options, run};

#[path = "../tests/fault/evidence.rs"]
#[allow(dead_code)] // the short run uses more of it
mod evidence;

fn options() -> Result<Options> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut options = Options { seed: u64::try_from(now % 1_000_000)?, kills: 1000, brokers: 3, workers: 4 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--kills" => options.kills = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--brokers" => options.brokers = value.parse()?,
            "--workers" => options.workers = value.parse()?,
            _ => bail!("fault knows --kills, --seed, --brokers and --workers, not {name}"),
        }
    }
    Ok(options)
}

fn main() -> Result<ExitCode> {
    let outcome = run(&options()?, &evidence::Collector, &|text| println!("{text}"))?;
    print!("{}{}", outcome.account.explain(), outcome.table());
    println!("{}", outcome.line());
    Ok(if outcome.account.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
