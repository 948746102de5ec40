//! What one client's bad manners cost its neighbour: `cargo xtask bench isolation` (I-10, I-11).
//!
//! One well-behaved client sends `SELECT 1` without pause, first alone and then beside each bully, in the same run and
//! against the same proxy (`journaled`, capture of everything). Printed: its median and p99 alone and beside, and the
//! most memory of the proxy meanwhile. Nothing is asserted about time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testkit::line::{Line, Surroundings, TARGET};
use testkit::oidc::{Oidc, Options as OidcOptions};
use testkit::pgbouncer::{Options as PgBouncerOptions, PgBouncer};
use testkit::pgwire::Client;
use testkit::postgres::{Options as PostgresOptions, PASSWORD, Postgres, USER as SERVER_USER};

const USER: &str = "alice";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let seconds = Duration::from_secs(number("--seconds", 5));
    let idle = usize::try_from(number("--idle", 9000))?;
    let hba = vec![format!("host {DIRECT} all 127.0.0.1/32 password")];
    let postgres = Postgres::start(&PostgresOptions { hba, ..PostgresOptions::bench() })?;
    let oidc = Oidc::start(&OidcOptions { ttl_seconds: 7200, ..OidcOptions::default() })?;
    let token = oidc.login(USER)?.access;
    let plain = || Surroundings { tls: false, proxy_alone: true, ..Surroundings::embedded(&postgres, &oidc) };
    {
        let line = Line::start(&Surroundings { sessions_max: Some(90), ..plain() })?;
        let place = Place { line: &line, token: &token, postgres: &postgres };
        println!("microseconds of a SELECT 1 through the proxy and directly, alone and beside a bully of the proxy");
        println!(
            "{:30} {:>7} {:>7} {:>9} {:>9} {:>16} {:>16} {:>9}",
            "beside", "p50", "beside", "p99", "beside", "direct p99", "direct beside", "MiB most"
        );
        place.bully(seconds, "1,000 silent connections", |_| silent(place.line, 1000))?;
        place.bully(seconds, "20 clients that read nothing", |_| stalled(&place, 20))?;
        place.bully(seconds, "a value of 768 MiB", |stop| repeat(&place, 1, ROW, stop))?;
        place.bully(seconds, "2 results without end", |stop| repeat(&place, 2, ROWS, stop))?;
        place.bully(seconds, "10 clients that never pause", |stop| repeat(&place, 10, "SELECT 1", stop))?;
    }
    sessions(&postgres, plain(), &token, idle, seconds)
}

/// One value of 768 MiB: the server's limit for a message is 1 GiB.
const ROW: &str = "SELECT repeat('x', 805306368)";
/// Rows that cost the server little.
const ROWS: &str = "SELECT repeat('x', 100) FROM generate_series(1, 200000)";
/// More than all buffers between server and client hold, at little cost to the server.
const STALL: &str = "SELECT repeat('x', 1000) FROM generate_series(1, 100000)";
/// The database that a client may reach with a clear-text password, to measure beside the proxy.
const DIRECT: &str = "template1";

/// Many sessions that do nothing, through a pooler so that the target can hold them.
fn sessions(
    postgres: &Postgres,
    plain: Surroundings<'_>,
    token: &str,
    idle: usize,
    seconds: Duration,
) -> anyhow::Result<()> {
    let pool = PgBouncerOptions { pool_mode: "transaction".into(), clients_max: 20_000, ..PgBouncerOptions::default() };
    let bouncer = PgBouncer::start(postgres, &pool)?;
    let around = Surroundings { sessions_max: Some(idle + 10), target: Some(bouncer.addr()), ..plain };
    let line = Line::start(&around)?;
    let place = Place { line: &line, token, postgres };
    let before = memory(&line, "VmRSS")?;
    let began = Instant::now();
    place.bully(seconds, &format!("{idle} idle sessions"), |_| {
        let clients = (0..idle).map(|_| place.client()).collect::<anyhow::Result<Vec<_>>>()?;
        let after = memory(&line, "VmRSS")?;
        println!(
            "{idle} sessions opened in {:.0} s; {:.1} KiB of the proxy each",
            began.elapsed().as_secs_f64(),
            (after - before) * 1024.0 / idle as f64
        );
        Ok(Bully { _held: Box::new(clients), threads: Vec::new() })
    })
}

/// What a bully holds, and its threads.
struct Bully {
    _held: Box<dyn std::any::Any>,
    threads: Vec<JoinHandle<()>>,
}

struct Place<'a> {
    line: &'a Line,
    token: &'a str,
    postgres: &'a Postgres,
}

impl Place<'_> {
    fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.line.addr(), USER, TARGET, self.token)
    }

    /// Measures alone, then beside, and prints the line.
    fn bully(
        &self,
        seconds: Duration,
        name: &str,
        start: impl FnOnce(&Arc<AtomicBool>) -> anyhow::Result<Bully>,
    ) -> anyhow::Result<()> {
        let direct = || Client::connect(self.postgres.addr(), SERVER_USER, DIRECT, PASSWORD);
        let alone = (neighbour(self.client()?, seconds)?, neighbour(direct()?, seconds)?);
        let stop = Arc::new(AtomicBool::new(false));
        let bully = start(&stop).with_context(|| format!("start {name}"))?;
        std::thread::sleep(Duration::from_millis(500));
        let watched = Arc::new(AtomicU64::new(0));
        let watcher = self.watch(&stop, &watched)?;
        let beside = (neighbour(self.client()?, seconds)?, neighbour(direct()?, seconds)?);
        stop.store(true, Ordering::Release);
        drop(bully._held);
        for thread in bully.threads.into_iter().chain([watcher]) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        }
        println!(
            "{name:30} {:>7.0} {:>7.0} {:>9.0} {:>9.0} {:>16.0} {:>16.0} {:>9.0}",
            alone.0.0,
            beside.0.0,
            alone.0.1,
            beside.0.1,
            alone.1.1,
            beside.1.1,
            watched.load(Ordering::Acquire) as f64 / 1024.0
        );
        Ok(())
    }

    /// Notes the proxy's largest resident size, KiB.
    fn watch(&self, stop: &Arc<AtomicBool>, most: &Arc<AtomicU64>) -> anyhow::Result<JoinHandle<()>> {
        let pid = self.line.pid().context("the proxy does not run")?;
        let (stop, most) = (stop.clone(), most.clone());
        Ok(std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                most.fetch_max(status(pid, "VmRSS").unwrap_or(0), Ordering::AcqRel);
                std::thread::sleep(Duration::from_millis(20));
            }
        }))
    }
}

/// Median and p99 of a `SELECT 1`, microseconds.
fn neighbour(mut client: Client, seconds: Duration) -> anyhow::Result<(f64, f64)> {
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < seconds {
        let one = Instant::now();
        client.query("SELECT 1")?;
        took.push(one.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(f64::NAN);
    Ok((at(50), at(99)))
}

fn silent(line: &Line, count: usize) -> anyhow::Result<Bully> {
    let connections = (0..count).map(|_| TcpStream::connect(line.addr())).collect::<Result<Vec<_>, _>>()?;
    Ok(Bully { _held: Box::new(connections), threads: Vec::new() })
}

fn stalled(place: &Place<'_>, count: usize) -> anyhow::Result<Bully> {
    let mut clients = (0..count).map(|_| place.client()).collect::<anyhow::Result<Vec<_>>>()?;
    clients.iter_mut().try_for_each(|client| client.start(STALL))?;
    Ok(Bully { _held: Box::new(clients), threads: Vec::new() })
}

/// `count` clients that send `sql` again and again and read all of it.
fn repeat(place: &Place<'_>, count: usize, sql: &'static str, stop: &Arc<AtomicBool>) -> anyhow::Result<Bully> {
    let clients = (0..count).map(|_| place.client()).collect::<anyhow::Result<Vec<_>>>()?;
    let thread = |mut client: Client| {
        let stop = stop.clone();
        std::thread::spawn(move || while !stop.load(Ordering::Acquire) && client.query(sql).is_ok() {})
    };
    Ok(Bully { _held: Box::new(()), threads: clients.into_iter().map(thread).collect() })
}

fn status(pid: u32, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().nth(1)?.parse().ok())
}

/// MiB.
fn memory(line: &Line, key: &str) -> anyhow::Result<f64> {
    let kib = status(line.pid().context("the proxy does not run")?, key).context("read the proxy's memory")?;
    Ok(kib as f64 / 1024.0)
}
