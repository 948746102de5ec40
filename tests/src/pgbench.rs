//! pgbench -S against several servers in turn: rates and latencies as ratios of one run, never absolute promises.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Folder, run_text};

/// A server to measure.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Name in the table.
    pub name: String,
    /// libpq connection string.
    pub connection: String,
    /// Password or token.
    pub password: String,
    /// Process whose processor time is counted; PostgreSQL's own time is not, so none for it.
    pub pid: Option<u32>,
}

/// One load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// `simple` or `prepared`.
    pub protocol: &'static str,
    /// Client connections.
    pub clients: u32,
    /// Seconds of one round.
    pub seconds: u32,
}

/// One round's figures.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Transactions per second without connection time.
    pub tps: f64,
    /// Median latency, microseconds.
    pub median_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
    /// Processor time of the contender's process per transaction, user and system, all threads, microseconds; with the
    /// connections' logins. NaN without a process.
    pub cpu_us: f64,
}

/// Minimum, median and maximum of some figures; NaN when there are none.
#[must_use]
pub fn spread(figures: &[f64]) -> [f64; 3] {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}

/// Runs one round of select-only transactions.
///
/// # Errors
/// When pgbench fails, with its own words; connection strings hold no password.
pub fn round(pgbench: &Path, contender: &Contender, load: Load) -> Result<Round> {
    let folder = Folder::new("pgbench")?;
    let threads = load.clients.min(2).to_string();
    let mut command = Command::new(pgbench);
    command.args(["-S", "-n", "-M", load.protocol, "-j", &threads]);
    command.args(["-c", &load.clients.to_string(), "-T", &load.seconds.to_string(), "-l", "--sampling-rate", "0.2"]);
    command
        .arg("--log-prefix")
        .arg(folder.join("log"))
        .arg(&contender.connection)
        .env("PGPASSWORD", &contender.password);
    let before = contender.pid.map_or(f64::NAN, cpu_seconds);
    let text = run_text(&mut command).with_context(|| format!("pgbench against {}", contender.name))?;
    let used = contender.pid.map_or(f64::NAN, cpu_seconds) - before;
    let figure = |prefix: &str| -> Result<f64> {
        let found = text.lines().find_map(|line| line.strip_prefix(prefix)?.split([' ', '/']).next()?.parse().ok());
        found.with_context(|| format!("pgbench against {} printed no `{prefix}`", contender.name))
    };
    let tps = figure("tps = ")?;
    let cpu_us = used * 1e6 / figure("number of transactions actually processed: ")?;
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(folder.path())? {
        let log = std::fs::read_to_string(entry?.path())?;
        latencies.extend(log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
    }
    latencies.sort_by(f64::total_cmp);
    let share = |of: usize| latencies.get(latencies.len() * of / 100).copied().unwrap_or(f64::NAN);
    Ok(Round { tps, median_us: share(50), p99_us: share(99), cpu_us })
}

/// Processor time of a process so far, all threads, user and system, seconds (`/proc`, `proc(5)`); NaN when it is gone.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

/// Alternates `rounds` rounds over all contenders and gives each one's figures, in the order given.
///
/// # Errors
/// As [`round`].
pub fn alternate(
    pgbench: &Path,
    contenders: &[Contender],
    load: Load,
    rounds: u32,
    mut say: impl FnMut(&str),
) -> Result<Vec<Vec<Round>>> {
    let mut figures = vec![Vec::new(); contenders.len()];
    for number in 0..rounds {
        for (contender, rounds_of) in contenders.iter().zip(&mut figures) {
            say(&format!("{} {} clients, round {}: {}", load.protocol, load.clients, number + 1, contender.name));
            rounds_of.push(round(pgbench, contender, load)?);
        }
    }
    Ok(figures)
}
