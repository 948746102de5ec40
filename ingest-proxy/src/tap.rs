//! Bounded, and the only door to the bus: what a session records goes through here, in order.
//!
//! A record is appended to the journal; one thread (`carry`) reads durable records back, sends them to the bus and
//! trims the journal once they are acknowledged. So the journal is the queue: memory is flat, and a restart replays
//! what the bus had not taken (at least once; the enricher drops what it saw). A session waits in
//! [`SessionTap::settle`] before it forwards a request (I-01). At a limit it waits, then is refused with a reason;
//! nothing is dropped (I-10), and no guarantee lowers itself. The table with every case and its test is
//! `docs/operating/capture-guarantees.md`.
//!
//! | guarantee | `settle` returns when the records are | bus down |
//! |---|---|---|
//! | `acked` | committed by the bus | waits, then `bus_down` |
//! | `journaled` | synced in the journal | goes on until the journal is full, waits, then `journal_full` |
//! | `buffered` | in bounded memory in front of the journal | as `journaled` |
//!
//! Every session gets an end (I-02): the one it records itself, or one written in its name when it could not
//! (`ledger`), also after a crash. A record that the bus will never take becomes a dead letter with a stand-in in its
//! place (`letter`).

mod account;
mod carry;
mod ledger;
mod letter;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use schemas::framing::Framing;
use schemas::topics::Topics;
use schemas::v1::Uuid;
use stage::bus::Bus;
use tokio::sync::watch;

use crate::journal::{Journal, JournalError};
pub use account::{Accounting, Counters, Flow};
use ledger::{Ledger, Owed};
pub use session::{Batch, SessionTap};

/// When a request may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Guarantee {
    /// After the bus acknowledged its record.
    Acked,
    /// After its record was synced in the local journal.
    #[default]
    Journaled,
    /// After its record is in bounded memory, journal behind it.
    Buffered,
}

impl Guarantee {
    /// Every guarantee, in the order of [`Guarantee::place`].
    pub const ALL: [Self; 3] = [Self::Acked, Self::Journaled, Self::Buffered];

    /// The word in configuration and session records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Journaled => "journaled",
            Self::Buffered => "buffered",
        }
    }

    /// Place in lists by guarantee.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::Acked => 0,
            Self::Journaled => 1,
            Self::Buffered => 2,
        }
    }
}

/// Why a session cannot be recorded; it must end and its request must not be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The bus acknowledged nothing for as long as a request may wait.
    #[error("the audit bus does not acknowledge")]
    BusDown,
    /// Recorded responses stayed ahead of what is durable by more than the window, for as long as a session may wait.
    /// The records of this very call are taken.
    #[error("recorded responses are too far ahead of what is durable")]
    Window,
    /// The journal refused, for as long as a request may wait.
    #[error("the audit journal refuses")]
    Journal(#[source] JournalError),
}

impl TapError {
    /// Stable reason code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BusDown => "bus_down",
            Self::Window => "window_exceeded",
            Self::Journal(error) => error.kind(),
        }
    }

    /// SQLSTATE to refuse with: `disk_full` for a full journal or disk, `admin_shutdown` for everything else.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Journal(JournalError::Full | JournalError::NoSpace) => "53100",
            Self::Journal(_) | Self::BusDown | Self::Window => "57P01",
        }
    }

    /// The same refusal once more, for what is tried after it.
    fn again(&self) -> Self {
        match self {
            Self::BusDown => Self::BusDown,
            Self::Window => Self::Window,
            Self::Journal(error) => Self::Journal(error.again()),
        }
    }
}

/// How a tap is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Topic names.
    pub topics: Topics,
    /// Partitions of `audit.raw` and `audit.sessions`.
    pub partitions: i32,
    /// Prefix of values on `audit.raw`.
    pub raw_framing: Framing,
    /// Prefix of values on `audit.sessions`.
    pub session_framing: Framing,
    /// Stable name of this proxy's writer.
    pub instance: String,
    /// Longest wait for room or for an acknowledgement, unless a session says otherwise.
    pub wait_max: Duration,
    /// Bytes sent to the bus in one commit.
    pub batch_bytes: usize,
    /// Folder for records that the bus refuses for good; made when needed.
    pub quarantine: PathBuf,
    /// The journal's folder does not outlive a restart of the machine, container or pod (P16).
    pub ephemeral: bool,
}

/// The tap of one process.
pub struct Tap {
    journal: Arc<Journal>,
    options: Options,
    /// First journal index that the bus has not acknowledged.
    committed: watch::Sender<u64>,
    counters: Counters,
    /// Sessions that wait for the bus itself.
    acked_waiting: AtomicUsize,
    /// Ends the gathering of records when one begins to wait.
    gather: (Mutex<()>, Condvar),
    /// Ends to be written in the name of sessions that could not.
    owed: Mutex<Vec<Owed>>,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Which topic a journal record is for: the low four bits of its first byte. The high four are the guarantee's place
/// plus one, or 0 in a journal written before they were.
const TO_SESSIONS: u8 = 0;
const TO_RAW: u8 = 1;
/// Bytes before the Avro body of a journal record: topic and guarantee, session id.
const HEAD: usize = 17;

/// First bytes of a journal record.
fn head(topic: u8, guarantee: Guarantee, session_id: Uuid) -> [u8; HEAD] {
    let mut head = [0u8; HEAD];
    let [first, id @ ..] = &mut head;
    *first = topic | u8::try_from((guarantee.place() + 1) << 4).unwrap_or(0);
    *id = session_id.0;
    head
}

/// Topic and guarantee of a journal record's first byte.
fn marks(first: u8) -> (u8, Guarantee) {
    let guarantee = usize::from(first >> 4).checked_sub(1).and_then(|place| Guarantee::ALL.get(place)).copied();
    (first & 0x0f, guarantee.unwrap_or_default())
}

/// Most ends owed at a time; what comes after them is told at the next start, if it was ever recorded.
const OWED_MAX: usize = 10_000;

impl Tap {
    /// Writes the ends of sessions that an earlier process left open, then starts the thread that carries the journal
    /// to the bus, beginning with what that process left.
    ///
    /// # Errors
    /// When the journal cannot be read back, or the thread cannot be started. A bus that is down is no error: it is
    /// tried until it answers.
    pub fn start(journal: Arc<Journal>, bus: Arc<dyn Bus>, options: Options) -> std::io::Result<Arc<Self>> {
        let (first, next) = journal.bounds();
        let ledger = Ledger::load(journal.folder(), first, next, options.partitions);
        let owed = ledger::left_open(&ledger, &journal).map_err(std::io::Error::other)?;
        // The bus has everything before the checkpoint.
        let first = ledger.seen();
        let tap = Arc::new(Self {
            counters: Counters::with_backlog(next.saturating_sub(first)),
            journal,
            options,
            committed: watch::Sender::new(first),
            acked_waiting: AtomicUsize::new(0),
            gather: (Mutex::new(()), Condvar::new()),
            owed: Mutex::new(owed),
            stop: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        // Before anybody connects, unless the journal is full: then as soon as there is room.
        tap.write_restart_ends();
        let carrier = carry::Carrier::new(Arc::clone(&tap), bus, first, ledger);
        let thread = std::thread::Builder::new().name("tap".into()).spawn(move || carrier.run())?;
        *tap.thread.lock() = Some(thread);
        Ok(tap)
    }

    /// A session's own end of the tap. `window_bytes`: recorded responses may be ahead of what is durable by this much.
    #[must_use]
    pub fn session(self: &Arc<Self>, session_id: Uuid, guarantee: Guarantee, window_bytes: usize) -> SessionTap {
        SessionTap::new(Arc::clone(self), session_id, guarantee, window_bytes)
    }

    /// The guarantee as a session record says it: what leans on a journal that does not outlive a restart says so (P16).
    #[must_use]
    pub fn said(&self, guarantee: Guarantee) -> String {
        let leans = guarantee != Guarantee::Acked && self.options.ephemeral;
        format!("{}{}", guarantee.as_str(), if leans { "-ephemeral" } else { "" })
    }

    /// Counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// First journal index that the bus has not acknowledged.
    #[must_use]
    pub fn committed(&self) -> u64 {
        *self.committed.borrow()
    }

    /// What was seen, what became of it, and the difference, which must be 0 (I-02).
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        account::accounting(&self.counters, || self.journal.bounds().1.saturating_sub(self.committed()))
    }

    /// Tells those who waited too long for the disk; called all along.
    pub fn expire(&self) {
        self.journal.expire();
    }

    /// Ends the thread. What the bus has not taken stays in the journal and is replayed at the next start.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.hurry();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the tap's thread ended by a panic");
        }
        let owed = self.owed.lock().len();
        if owed > 0 {
            tracing::warn!(owed, "ends of sessions could not be written; they are at the next start");
        }
    }

    /// Whether ends of sessions wait to be written.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.owed.lock().is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the gathering of records: a session waits for the bus.
    fn hurry(&self) {
        drop(self.gather.0.lock());
        self.gather.1.notify_all();
    }

    /// Notes an end to be written in a session's name.
    fn owe(&self, owed: Owed) {
        let mut all = self.owed.lock();
        if all.len() < OWED_MAX {
            all.push(owed);
        } else {
            self.counters.unreported.fetch_add(1, Ordering::Relaxed);
            tracing::error!("too many ends of sessions wait for room in the journal");
        }
    }

    fn write_restart_ends(&self) {
        let all = std::mem::take(&mut *self.owed.lock());
        let count = all.len();
        let left: Vec<Owed> = all.into_iter().filter(|owed| !self.write_end(owed)).collect();
        if count > 0 {
            tracing::warn!(count, waiting = left.len(), "sessions of an earlier process were open; they are ended");
        }
        self.owed.lock().extend(left);
    }

    /// Appends an end that is ready; false when it must wait for room.
    fn write_end(&self, owed: &Owed) -> bool {
        let records = owed.records(stage::clock::now_us());
        match self.journal.append(&records) {
            Ok(index) => {
                let count = records.len() as u64;
                self.counters.seen(owed.guarantee, count);
                self.counters.journaled(owed.guarantee, count);
                self.counters.ends.fetch_add(1, Ordering::Relaxed);
                self.journal.hurry(index);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
