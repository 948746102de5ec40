//! Clients that speak to the proxy all the time: short sessions, simple and extended queries, errors, rude goodbyes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::client::{Client, Reply};
use super::random::Random;
use super::witness::{letters, mark};

/// Longest wait for an answer: longer than the proxy waits for its bus.
const PATIENCE: Duration = Duration::from_secs(25);

/// Whom a worker speaks to.
#[derive(Debug, Clone)]
pub struct Door {
    /// The proxy.
    pub addr: SocketAddr,
    /// Person.
    pub user: String,
    /// Token.
    pub token: String,
    /// One target per guarantee; workers take them in turn.
    pub targets: Vec<String>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Sessions that logged in.
    pub sessions: AtomicU64,
    /// Statements answered as done.
    pub done: AtomicU64,
    /// Statements answered with an error by intent or by refusal.
    pub refused: AtomicU64,
    /// Statements whose answer never came.
    pub broken: AtomicU64,
}

/// Running workers.
#[derive(Debug)]
pub struct Workload {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    workers: Vec<JoinHandle<(String, u64)>>,
}

impl Workload {
    /// Starts `workers` clients; each needs a row in the table of counters.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(door: &Door, workers: u64, seed: u64) -> Result<Self> {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let mut running = Vec::new();
        for worker in 0..workers {
            let (door, stop, seen) = (door.clone(), stop.clone(), seen.clone());
            let random = Random::apart(seed, worker.wrapping_add(1));
            let thread = std::thread::Builder::new().name(format!("client-{worker}"));
            running.push(thread.spawn(move || {
                let mut client = Worker { door, worker, random, number: 0, acknowledged: 0, seen: &seen };
                while !stop.load(Ordering::Relaxed) {
                    client.session(&stop);
                }
                (letters(worker), client.acknowledged)
            })?);
        }
        Ok(Self { stop, seen, workers: running })
    }

    /// What they saw so far.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }

    /// Stops them all; returns for each worker how many counting statements were answered as done.
    ///
    /// # Errors
    /// When a worker panicked.
    pub fn stop(self) -> Result<BTreeMap<String, u64>> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a client panicked"))).collect()
    }
}

struct Worker<'a> {
    door: Door,
    worker: u64,
    random: Random,
    number: u64,
    acknowledged: u64,
    seen: &'a Seen,
}

impl Worker<'_> {
    fn session(&mut self, stop: &AtomicBool) {
        let targets = u64::try_from(self.door.targets.len()).unwrap_or(1).max(1);
        let place = usize::try_from(self.worker % targets).unwrap_or(0);
        let target = self.door.targets.get(place).cloned().unwrap_or_default();
        let Ok(mut client) = Client::connect(self.door.addr, &self.door.user, &target, &self.door.token, PATIENCE)
        else {
            std::thread::sleep(Duration::from_millis(100));
            return;
        };
        self.seen.sessions.fetch_add(1, Ordering::Relaxed);
        for _ in 0..self.random.within(1, 25) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let counter = match self.statement(&mut client) {
                Ok(Reply::Done) => &self.seen.done,
                Ok(Reply::Refused(_)) => &self.seen.refused,
                Err(_) => {
                    self.seen.broken.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(self.random.within(5, 80)));
        }
        if !self.random.once_in(5) {
            client.close();
        }
    }

    /// One request; each of its marks is sent once and never again.
    fn statement(&mut self, client: &mut Client) -> Result<Reply> {
        let (worker, next) = (letters(self.worker), self.number);
        self.number = self.number.saturating_add(2);
        let (adds, reads) = (mark(true, self.worker, next), mark(false, self.worker, next.saturating_add(1)));
        let update =
            |note: &str| format!("UPDATE fault_counter SET n = n + 1, note = '{note}' WHERE worker = '{worker}'");
        let (reply, counts) = match self.random.within(0, 5) {
            0 | 1 => (client.simple(&update(&adds))?, true),
            2 => {
                let sql = "UPDATE fault_counter SET n = n + 1, note = $1 WHERE worker = $2";
                (client.extended(sql, &[&adds, &worker])?, true)
            }
            3 => (client.simple(&format!("{}; SELECT '{reads}'", update(&adds)))?, true),
            4 => (client.simple(&format!("SELECT '{reads}', g FROM generate_series(1, 20) g"))?, false),
            _ => (client.simple(&format!("SELECT nothing, '{reads}' FROM fault_counter"))?, false),
        };
        self.acknowledged = self.acknowledged.saturating_add(u64::from(counts && reply == Reply::Done));
        Ok(reply)
    }
}
