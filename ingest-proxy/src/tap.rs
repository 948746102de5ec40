//! Bounded, and the only door to the bus: what a session records goes through here, in order.
//!
//! A record is appended to the journal; one thread reads durable records back, sends them to the bus and trims the
//! journal once they are acknowledged. So the journal is the queue: memory is flat, and a restart replays what the bus
//! had not taken (at least once; the enricher drops what it saw). A session waits in [`SessionTap::settle`] before it
//! forwards a request (I-01). At a limit it waits, then is refused with a reason; nothing is dropped (I-10).
//!
//! | guarantee | `settle` returns when the records are | bus down |
//! |---|---|---|
//! | `acked` | committed by the bus | waits `wait_max`, then `bus_down` |
//! | `journaled` | synced in the journal | goes on until the journal is full, waits `wait_max`, then `journal_full` |
//! | `buffered` | in bounded memory in front of the journal | as `journaled` |

use std::collections::{BTreeSet, VecDeque};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::Record as _;
use schemas::framing::Framing;
use schemas::topics::{Topics, partition_for};
use schemas::v1::{Session, Uuid};
use stage::bus::{Bus, BusError, BusErrorKind, WriteMode, Writer, WriterSpec};
use tokio::sync::watch;

use crate::journal::{Entry, Journal, JournalError};

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
    /// The word in configuration and session records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Journaled => "journaled",
            Self::Buffered => "buffered",
        }
    }
}

/// Why a session cannot be recorded; it must end and its request must not be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The bus acknowledged nothing for as long as a request may wait.
    #[error("the audit bus does not acknowledge")]
    BusDown,
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
            Self::Journal(error) => error.kind(),
        }
    }

    /// SQLSTATE to refuse with: `disk_full` for a full journal, `admin_shutdown` for everything else.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Journal(JournalError::Full) => "53100",
            Self::Journal(_) | Self::BusDown => "57P01",
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
    /// Longest wait for room or for an acknowledgement.
    pub wait_max: Duration,
    /// Bytes sent to the bus in one commit.
    pub batch_bytes: usize,
    /// Folder for records that the bus refuses for good; made when needed.
    pub quarantine: PathBuf,
}

/// Counters of a tap; the metrics are read from them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records handed in.
    pub records: AtomicU64,
    /// Records the bus acknowledged, repeats included.
    pub committed: AtomicU64,
    /// Failed attempts at the bus.
    pub bus_errors: AtomicU64,
    /// Records the bus will never take, set aside in files: each is a gap in its session's sequence.
    pub quarantined: AtomicU64,
    /// Sessions refused or ended because they could not be recorded.
    pub refused: AtomicU64,
}

/// The tap of one process.
pub struct Tap {
    journal: Arc<Journal>,
    options: Options,
    committed: watch::Sender<u64>,
    counters: Counters,
    /// A session waits for the bus itself, so nothing is gathered before it is sent.
    eager: AtomicBool,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Which topic a journal record is for: its first byte.
const TO_SESSIONS: u8 = 0;
const TO_RAW: u8 = 1;
/// Bytes before the Avro body of a journal record: topic, session id.
const HEAD: usize = 17;
/// First pause after a failed attempt at the bus; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long records gather before they are sent, unless a session waits for the bus: one commit for many of them.
const GATHER: Duration = Duration::from_millis(20);

/// Times the bus must refuse the same record before it counts as refused for good.
const REFUSALS: u32 = 2;
/// Most records set aside with no record taken between them; more is a broken bus, and everything stays in the journal.
const QUARANTINE_MAX: usize = 16;

/// A failed attempt at the bus; `refused` is the record it did not take, when it is that record's fault.
struct SendError {
    error: BusError,
    refused: Option<u64>,
}

impl From<BusError> for SendError {
    fn from(error: BusError) -> Self {
        Self { error, refused: None }
    }
}

/// Records that the bus refuses, while the rest goes on.
#[derive(Default)]
struct Suspects {
    last: Option<u64>,
    refusals: u32,
    skipped: BTreeSet<u64>,
    /// Set aside since the bus last took a record.
    in_a_row: usize,
}

impl Suspects {
    /// Notes a refusal; true when the record is to be left out from now on.
    fn refused(&mut self, index: u64) -> bool {
        self.refusals = if self.last == Some(index) { self.refusals + 1 } else { 1 };
        self.last = Some(index);
        let skip = self.refusals >= REFUSALS && self.in_a_row + self.skipped.len() < QUARANTINE_MAX;
        if skip {
            self.skipped.insert(index);
        }
        skip
    }
}

impl Tap {
    /// Starts the thread that carries the journal to the bus, beginning with what an earlier process left.
    ///
    /// # Errors
    /// When the thread cannot be started. A bus that is down is no error: it is tried until it answers.
    pub fn start(journal: Arc<Journal>, bus: Arc<dyn Bus>, options: Options) -> std::io::Result<Arc<Self>> {
        let (first, _) = journal.bounds();
        let tap = Arc::new(Self {
            journal,
            options,
            committed: watch::Sender::new(first),
            counters: Counters::default(),
            eager: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let carrier = Arc::clone(&tap);
        let thread =
            std::thread::Builder::new().name("tap".into()).spawn(move || carrier.carry(bus.as_ref(), first))?;
        *tap.thread.lock() = Some(thread);
        Ok(tap)
    }

    /// A session's own end of the tap. `window_bytes`: recorded responses may be ahead of what is durable by this much.
    #[must_use]
    pub fn session(self: &Arc<Self>, session_id: Uuid, guarantee: Guarantee, window_bytes: usize) -> SessionTap {
        if guarantee == Guarantee::Acked {
            self.eager.store(true, Ordering::Relaxed);
        }
        SessionTap {
            tap: Arc::clone(self),
            session_id,
            guarantee,
            window_bytes,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
        }
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

    /// Ends the thread. What the bus has not taken stays in the journal and is replayed at the next start.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the tap's thread ended by a panic");
        }
    }

    fn carry(&self, bus: &dyn Bus, first: u64) {
        let (mut next, mut writer, mut pause) = (first, None, BACKOFF);
        let mut suspects = Suspects::default();
        while !self.stop.load(Ordering::Acquire) {
            if !self.journal.wait_durable(next, Duration::from_millis(50)) {
                continue;
            }
            if !self.eager.load(Ordering::Relaxed) {
                std::thread::sleep(GATHER);
            }
            let entries = match self.journal.read(next, self.options.batch_bytes) {
                Ok(entries) => entries,
                Err(error) => {
                    // Not skipped: an operator must see it, and the records stay in the file.
                    tracing::error!(%error, "the journal cannot be read back; the bus receives nothing");
                    std::thread::sleep(BACKOFF_MAX);
                    continue;
                }
            };
            let Some(last) = entries.last().map(|entry| entry.index) else { continue };
            match self.send(bus, &mut writer, &entries, &suspects.skipped) {
                Ok(()) => {
                    if let Err(error) = self.set_aside(&entries, &mut suspects) {
                        // Not lost: nothing is trimmed, and the batch is sent again (repeats are dropped downstream).
                        tracing::error!(%error, "a record the bus refuses could not be set aside; trying again");
                        std::thread::sleep(BACKOFF_MAX);
                        continue;
                    }
                    (next, pause) = (last + 1, BACKOFF);
                    self.counters.committed.fetch_add(entries.len() as u64, Ordering::Relaxed);
                    self.committed.send_replace(next);
                    if let Err(error) = self.journal.trim(next) {
                        tracing::warn!(%error, "a journal segment could not be removed");
                    }
                }
                Err(SendError { error, refused }) => {
                    self.counters.bus_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "the bus did not take records; they stay in the journal");
                    if let Some(index) = refused
                        && suspects.refused(index)
                    {
                        tracing::error!(index, %error, "the bus refuses a record for good; the rest goes on without it");
                    }
                    self.recover(&mut writer, &error);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Writes the records left out of a batch that the bus took into files of their own.
    fn set_aside(&self, entries: &[Entry], suspects: &mut Suspects) -> std::io::Result<()> {
        let taken = entries.iter().any(|entry| !suspects.skipped.contains(&entry.index));
        suspects.in_a_row = if taken { 0 } else { suspects.in_a_row + suspects.skipped.len() };
        for entry in entries.iter().filter(|entry| suspects.skipped.contains(&entry.index)) {
            std::fs::create_dir_all(&self.options.quarantine)?;
            let path = self.options.quarantine.join(format!("{:020}.record", entry.index));
            let mut file = std::fs::File::create(&path)?;
            file.write_all(&entry.body)?;
            file.sync_all()?;
            self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
            tracing::error!(index = entry.index, path = %path.display(), "a record the bus refuses was set aside");
        }
        suspects.skipped.clear();
        Ok(())
    }

    fn send(
        &self,
        bus: &dyn Bus,
        writer: &mut Option<Box<dyn Writer>>,
        entries: &[Entry],
        skipped: &BTreeSet<u64>,
    ) -> Result<(), SendError> {
        let open = match writer.take() {
            Some(open) => open,
            None => bus.writer(&WriterSpec { name: self.options.instance.clone(), mode: WriteMode::Idempotent })?,
        };
        let open = writer.insert(open);
        open.begin()?;
        let mut value = Vec::new();
        for entry in entries.iter().filter(|entry| !skipped.contains(&entry.index)) {
            let Some((head, body)) = entry.body.split_first_chunk::<HEAD>() else { continue };
            let [topic, id @ ..] = *head;
            let (topic, framing) = match topic {
                TO_SESSIONS => (&self.options.topics.sessions, &self.options.session_framing),
                _ => (&self.options.topics.raw, &self.options.raw_framing),
            };
            value.clear();
            framing.prefix(&mut value);
            value.extend_from_slice(body);
            let key = Uuid(id).to_text();
            let partition = partition_for(key.as_bytes(), self.options.partitions);
            open.send(topic, partition, Some(key.as_bytes()), Some(&value)).map_err(|error| {
                // A lasting refusal of this very call: the record's own fault (its size), as the writer is open.
                let lasting = [BusErrorKind::Fatal, BusErrorKind::TooLarge].contains(&error.kind);
                SendError { error, refused: lasting.then_some(entry.index) }
            })?;
        }
        Ok(open.commit(None)?)
    }

    fn recover(&self, writer: &mut Option<Box<dyn Writer>>, error: &BusError) {
        let keep = matches!(error.kind, BusErrorKind::Retriable | BusErrorKind::Abort | BusErrorKind::Full);
        if let Some(mut open) = writer.take()
            && open.abort().is_ok()
            && keep
        {
            *writer = Some(open);
        }
    }
}

/// Journal records of one session, back to back in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

/// Bytes of a buffer that are kept for the next batch.
const KEPT_BYTES_MAX: usize = 256 << 10;

impl Batch {
    fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let start =
            |number: usize| number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.iter().enumerate().map(move |(number, end)| self.bytes.get(start(number)..*end).unwrap_or_default())
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.ends.clear();
    }
}

/// A session's end of the tap. Used by one task; holds no lock across a wait (I-11).
#[derive(Debug)]
pub struct SessionTap {
    tap: Arc<Tap>,
    session_id: Uuid,
    guarantee: Guarantee,
    window_bytes: usize,
    /// Journal index and bytes of what is recorded and not known to be durable, oldest first.
    ahead: VecDeque<(u64, usize)>,
    ahead_bytes: usize,
}

impl SessionTap {
    /// A journal record for the Avro body that `write` appends: made in the session's task, before any lock.
    #[must_use]
    pub fn raw(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + 256);
        out.push(TO_RAW);
        out.extend_from_slice(&self.session_id.0);
        write(&mut out);
        out
    }

    /// Records the session itself; comes before its first raw record.
    ///
    /// # Errors
    /// As [`SessionTap::record`].
    pub async fn session(&mut self, session: &Session) -> Result<(), TapError> {
        let mut out = vec![TO_SESSIONS];
        out.extend_from_slice(&self.session_id.0);
        session.encode(&mut out);
        self.record(&[out]).await
    }

    /// Adds a record as [`SessionTap::raw`] makes it to a batch.
    pub fn put(&self, batch: &mut Batch, write: impl FnOnce(&mut Vec<u8>)) {
        batch.bytes.push(TO_RAW);
        batch.bytes.extend_from_slice(&self.session_id.0);
        write(&mut batch.bytes);
        batch.ends.push(batch.bytes.len());
    }

    /// Hands in records made by [`SessionTap::raw`], all or none, in order; waits for room, and while responses are
    /// ahead of what is durable by more than the window.
    ///
    /// # Errors
    /// [`TapError`] after the longest wait: nothing was taken by this call, or the window did not drain.
    pub async fn record(&mut self, records: &[Vec<u8>]) -> Result<(), TapError> {
        self.take(records.iter().map(Vec::as_slice)).await
    }

    /// As [`SessionTap::record`], for records made by [`SessionTap::put`].
    ///
    /// # Errors
    /// As [`SessionTap::record`].
    pub async fn record_batch(&mut self, batch: &Batch) -> Result<(), TapError> {
        self.take(batch.iter()).await
    }

    async fn take<'a>(&mut self, records: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Result<(), TapError> {
        if records.len() == 0 {
            return Ok(());
        }
        let mut tries = 0u32;
        let step = Duration::from_millis(5);
        let index = loop {
            match self.tap.journal.append_all(records.clone()) {
                Ok(index) => break index,
                Err(JournalError::Busy | JournalError::Full) if step * tries < self.tap.options.wait_max => {
                    tries += 1;
                    tokio::time::sleep(step).await;
                }
                Err(error) => return Err(self.refused(TapError::Journal(error))),
            }
        };
        self.tap.counters.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        let bytes = records.map(<[u8]>::len).sum();
        self.ahead.push_back((index, bytes));
        self.ahead_bytes += bytes;
        self.forget_durable();
        while self.ahead_bytes > self.window_bytes {
            let Some((oldest, _)) = self.ahead.front().copied() else { break };
            match self.guarantee {
                Guarantee::Acked => self.acked(oldest).await?,
                Guarantee::Journaled | Guarantee::Buffered => self.durable(oldest).await?,
            }
            self.forget_durable();
        }
        Ok(())
    }

    /// Waits until everything recorded so far is as durable as the guarantee says. Only then may a request go on (I-01).
    ///
    /// # Errors
    /// [`TapError`]; the request must not be forwarded.
    pub async fn settle(&mut self) -> Result<(), TapError> {
        let Some((last, _)) = self.ahead.back().copied() else { return Ok(()) };
        match self.guarantee {
            Guarantee::Buffered => return Ok(()),
            Guarantee::Journaled => self.durable(last).await?,
            Guarantee::Acked => self.acked(last).await?,
        }
        self.forget_durable();
        Ok(())
    }

    async fn acked(&self, index: u64) -> Result<(), TapError> {
        self.tap.journal.hurry(index);
        let mut committed = self.tap.committed.subscribe();
        let wait = tokio::time::timeout(self.tap.options.wait_max, committed.wait_for(|next| *next > index));
        if matches!(wait.await, Ok(Ok(_))) { Ok(()) } else { Err(self.refused(TapError::BusDown)) }
    }

    async fn durable(&self, index: u64) -> Result<(), TapError> {
        self.tap.journal.durable(index).await.map_err(|error| self.refused(TapError::Journal(error)))
    }

    fn refused(&self, error: TapError) -> TapError {
        self.tap.counters.refused.fetch_add(1, Ordering::Relaxed);
        error
    }

    fn forget_durable(&mut self) {
        let end = match self.guarantee {
            Guarantee::Acked => self.tap.committed(),
            Guarantee::Journaled | Guarantee::Buffered => self.tap.journal.durable_end(),
        };
        while self.ahead.front().is_some_and(|(index, _)| *index < end) {
            self.ahead_bytes -= self.ahead.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }
}

#[cfg(test)]
mod tests;
