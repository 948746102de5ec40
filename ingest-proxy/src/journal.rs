//! The local journal: what makes a record durable before its request is forwarded (I-01).
//!
//! Two threads take turns to write and fdatasync for all sessions (group commit): while one sync runs, what came
//! meanwhile is written and its own sync begins, so nobody waits for two. Durable is only what has all before it durable.
//! A batch that nobody waits for lingers for some milliseconds, so that responses cost no sync of their own. An append is
//! one copy under a short lock, never held across I/O (I-11). Segments are zero-filled beforehand, the next one in the
//! background, so a sync writes data and no file metadata. Records go to
//! the bus from here, and a segment is deleted only after the bus acknowledged all of it; replay after a restart is at
//! least once (the enricher drops what it saw). Limits (I-10): at `bytes_max` an append says `Full`. After a failed
//! write or sync the segment is not trusted any more: what is not durable is written into a new one and counts when that
//! one is synced; after three failures in a row every append and wait fails until the process starts anew. A full disk is
//! waited for, and appends say `NoSpace` meanwhile.
//! A damaged segment gives its whole records before the damage and is set aside, never deleted, as `*.quarantined`.

mod chunk;
mod disk;
mod ephemeral;
mod error;
mod format;
mod recover;
mod segment;
mod writer;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

pub use chunk::{Chunk, Entry};
pub use disk::{Disk, System};
pub use ephemeral::{ephemeral, ephemeral_here};
pub use error::JournalError;
pub use format::BODY_BYTES_MAX;
pub use recover::{Damage, Recovery};
use segment::{Active, Cursor, Segment};

/// Size and place of a journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder; made when it lacks. One process at a time.
    pub folder: PathBuf,
    /// Bytes of records not yet acknowledged by the bus; at this bound appends say `Full`.
    pub bytes_max: u64,
    /// Bytes of one segment.
    pub segment_bytes: usize,
    /// Bytes waiting for the writing thread; at this bound appends say `Busy`.
    pub pending_bytes_max: usize,
    /// Writes and syncs.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// 1 GiB in segments of 16 MiB, 8 MiB waiting.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: 1 << 30,
            segment_bytes: 16 << 20,
            pending_bytes_max: 8 << 20,
            disk: Arc::new(System),
        }
    }
}

/// Threads that write and sync, one batch each at a time.
pub(crate) const WRITERS: usize = 2;
/// Longest time records wait in memory that no request waits for.
const LINGER: Duration = Duration::from_millis(2);
/// Bytes at which they wait no longer.
const LINGER_BYTES_MAX: usize = 256 << 10;
/// How long the writers look by themselves after the last batch, so that an append needs to wake nobody.
const AWAKE: Duration = Duration::from_millis(20);

/// A batch that is written and not yet known to be durable.
#[derive(Debug)]
struct Flight {
    /// Index after its last record.
    next: u64,
    /// Byte after it in its segment.
    end: u64,
    /// Kept until durable, to be written once more when the disk fails.
    bytes: Arc<Vec<u8>>,
    /// How many wait for it.
    waiters: usize,
    synced: bool,
}

/// What someone who waits for the disk is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Durable,
    /// The disk did not answer in time; it may still become durable.
    TooLate,
    Never,
}

/// Someone who waits until the record at `index` is durable, for no longer than `until`.
#[derive(Debug)]
struct Waiter {
    index: u64,
    until: Option<Instant>,
    told: oneshot::Sender<Told>,
}

#[derive(Debug)]
struct State {
    pending: Vec<u8>,
    /// Emptied buffers, at most one per writer.
    spare: Vec<Vec<u8>>,
    next: u64,
    /// Index of the first record in `pending`.
    pending_first: u64,
    /// Someone waits for what is in `pending`.
    wanted: bool,
    /// How many requests do.
    pending_waiters: usize,
    /// A writer sleeps until it is woken.
    asleep: bool,
    worked: Instant,
    flights: VecDeque<Flight>,
    waiters: Vec<Waiter>,
    segments: VecDeque<Segment>,
    /// The segment being written is not trusted any more.
    broken: bool,
    /// The disk has no room.
    no_space: bool,
    /// Segments left for a failure.
    generation: u64,
    failed: Option<String>,
    closing: bool,
}

/// The journal of one process.
#[derive(Debug)]
pub struct Journal {
    options: Options,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
    /// First index that is not durable.
    durable: AtomicU64,
    active: Mutex<Active>,
    /// Where the last read ended.
    cursor: Mutex<Option<Cursor>>,
    /// Segments left for a failure.
    repairs: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: File,
}

impl Journal {
    /// Locks the folder, reads what is there, starts the writing thread.
    ///
    /// # Errors
    /// `Locked`, `Io`. Damage is no error: it is in the [`Recovery`].
    pub fn open(options: Options) -> Result<(Arc<Self>, Recovery), JournalError> {
        let folder = options.folder.clone();
        fs::create_dir_all(&folder).map_err(JournalError::io(format!("make journal folder `{}`", folder.display())))?;
        let lock = File::create(folder.join("lock")).map_err(JournalError::io("open the journal's lock file"))?;
        lock.try_lock().map_err(|_| JournalError::Locked)?;
        let (segments, recovery) = recover::recover(&folder)?;
        let next = recovery.next;
        let active = Active::create(&folder, next, options.segment_bytes, &options.disk)?;
        let mut segments: VecDeque<Segment> = segments.into();
        segments.push_back(active.segment());
        let state = State {
            pending: Vec::new(),
            spare: Vec::new(),
            next,
            pending_first: next,
            wanted: false,
            pending_waiters: 0,
            asleep: false,
            worked: Instant::now(),
            flights: VecDeque::new(),
            waiters: Vec::new(),
            segments,
            broken: false,
            no_space: false,
            generation: 0,
            failed: None,
            closing: false,
        };
        let journal = Arc::new(Self {
            options,
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            durable: AtomicU64::new(next),
            active: Mutex::new(active),
            cursor: Mutex::new(None),
            repairs: AtomicU64::new(0),
            threads: Mutex::new(Vec::new()),
            _lock: lock,
        });
        for number in 0..WRITERS {
            let writer = Arc::clone(&journal);
            let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.write_loop(number));
            match thread {
                Ok(thread) => journal.threads.lock().push(thread),
                Err(error) => {
                    journal.close();
                    return Err(JournalError::io("start the journal's threads")(error));
                }
            }
        }
        Ok((journal, recovery))
    }

    /// Takes records in order; returns the index of the last. Not yet durable: see [`Journal::durable`].
    ///
    /// # Errors
    /// `Full`, `Busy`, `NoSpace`, `Size`, `Failed`; then none was taken.
    pub fn append<B: AsRef<[u8]>>(&self, bodies: &[B]) -> Result<u64, JournalError> {
        self.append_all(bodies.iter().map(AsRef::as_ref))
    }

    /// As [`Journal::append`], for records that lie wherever the caller keeps them.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_all<'a>(&self, bodies: impl Iterator<Item = &'a [u8]> + Clone) -> Result<u64, JournalError> {
        let mut bytes = 0usize;
        for body in bodies.clone() {
            let len = body.len();
            if len == 0 || len > BODY_BYTES_MAX {
                return Err(JournalError::Size(len));
            }
            bytes = bytes.saturating_add(len + format::RECORD_HEADER);
        }
        let mut state = self.state.lock();
        if let Some(reason) = &state.failed {
            return Err(JournalError::Failed(reason.clone()));
        }
        if state.closing {
            return Err(JournalError::Failed("closed".into()));
        }
        if state.no_space {
            return Err(JournalError::NoSpace);
        }
        // One batch larger than the bound is taken alone, so that it is not refused for ever.
        if !state.pending.is_empty() && state.pending.len() + bytes > self.options.pending_bytes_max {
            return Err(JournalError::Busy);
        }
        if state.used() + u64::try_from(bytes).unwrap_or(u64::MAX) > self.options.bytes_max {
            return Err(JournalError::Full);
        }
        for body in bodies {
            let index = state.next;
            format::put_record(&mut state.pending, index, body);
            state.next = index + 1;
        }
        let last = state.next.saturating_sub(1);
        let wake = std::mem::take(&mut state.asleep) || state.pending.len() >= LINGER_BYTES_MAX;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(last)
    }

    /// Waits until the record at `index` is on the disk; without delay, as a request waits behind it.
    ///
    /// # Errors
    /// `Failed` when it never will be; its request must not be forwarded.
    pub async fn durable(&self, index: u64) -> Result<(), JournalError> {
        self.durable_within(index, None).await
    }

    /// As [`Journal::durable`], for no longer than `wait`; someone must call [`Journal::expire`] all along.
    ///
    /// # Errors
    /// `Stalled` when the disk did not answer in time; `Failed`.
    pub async fn durable_within(&self, index: u64, wait: Option<Duration>) -> Result<(), JournalError> {
        if self.durable_end() > index {
            return Ok(());
        }
        let Some(told) = self.wait_for(index, wait)? else { return Ok(()) };
        match told.await {
            Ok(Told::Durable) => Ok(()),
            Ok(Told::TooLate) => Err(JournalError::Stalled),
            _ => Err(JournalError::Failed(self.state.lock().failed.clone().unwrap_or_else(|| "closed".into()))),
        }
    }

    /// Tells those whose time is over.
    pub fn expire(&self) {
        let mut late = Vec::new();
        {
            let mut state = self.state.lock();
            if state.waiters.is_empty() {
                return;
            }
            let now = Instant::now();
            late.extend(state.waiters.extract_if(.., |waiter| waiter.until.is_some_and(|until| until <= now)));
        }
        for waiter in late {
            let _gone = waiter.told.send(Told::TooLate);
        }
    }

    fn wait_for(&self, index: u64, wait: Option<Duration>) -> Result<Option<oneshot::Receiver<Told>>, JournalError> {
        let mut state = self.state.lock();
        if self.durable_end() > index {
            return Ok(None);
        }
        if let Some(reason) = &state.failed {
            return Err(JournalError::Failed(reason.clone()));
        }
        if state.closing && index >= state.next {
            return Err(JournalError::Failed("closed".into()));
        }
        let (told, waits) = oneshot::channel();
        state.waiters.push(Waiter { index, until: wait.map(|wait| Instant::now() + wait), told });
        state.pending_waiters += usize::from(index >= state.pending_first);
        let wake = self.want(&mut state, index);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Some(waits))
    }

    /// Lets the record at `index` linger no longer.
    pub fn hurry(&self, index: u64) {
        let wake = self.want(&mut self.state.lock(), index);
        if wake {
            self.work.notify_one();
        }
    }

    /// True when a writer must be woken for it.
    #[allow(clippy::unused_self)] // reads better beside its callers
    fn want(&self, state: &mut State, index: u64) -> bool {
        let here = index >= state.pending_first && !state.pending.is_empty();
        let first = here && !state.wanted;
        state.wanted |= here;
        // Later ones wake it when they are what the batch was still too small for.
        here && state.is_due() && (first || state.pending_waiters == state.flying_waiters())
    }

    /// First index that is not durable.
    #[must_use]
    pub fn durable_end(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Waits on this thread until something at or after `index` is durable, or `timeout` passed; true when it is.
    pub fn wait_durable(&self, index: u64, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        if self.durable_end() <= index {
            self.done.wait_for(&mut state, timeout);
        }
        self.durable_end() > index
    }

    /// Durable records from `index` on, in order, up to about `bytes_max` bytes and at least one if there is one.
    /// Indexes lost to damage are skipped.
    ///
    /// # Errors
    /// `Io`; `Failed` when a record of this process cannot be read back.
    pub fn read(&self, index: u64, bytes_max: usize) -> Result<Vec<Entry>, JournalError> {
        let mut chunk = Chunk::default();
        self.read_into(index, bytes_max, &mut chunk)?;
        Ok(chunk.iter().map(|(index, body)| Entry { index, body: body.to_vec() }).collect())
    }

    /// As [`Journal::read`], into memory that is used again.
    ///
    /// # Errors
    /// As [`Journal::read`]; `chunk` is then empty.
    pub fn read_into(&self, index: u64, bytes_max: usize, chunk: &mut Chunk) -> Result<(), JournalError> {
        chunk.records.clear();
        let durable = self.durable_end();
        let segment = self.state.lock().segments.iter().find(|segment| segment.next > index).cloned();
        let Some(segment) = segment else { return Ok(()) };
        segment.read(&mut self.cursor.lock(), index, durable, bytes_max, chunk)
    }

    /// Folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Whether [`Journal::trim`] to `index` would free a segment.
    #[must_use]
    pub fn would_remove(&self, index: u64) -> bool {
        let state = self.state.lock();
        (state.segments.len() > 1 || state.broken)
            && state.segments.front().is_some_and(|segment| segment.next <= index && segment.next > segment.first)
    }

    /// Says that the bus acknowledged everything before `index`: segments wholly before it are deleted.
    ///
    /// # Errors
    /// `Io`; nothing is lost, the segment stays.
    pub fn trim(&self, index: u64) -> Result<(), JournalError> {
        let mut gone = Vec::new();
        {
            let mut state = self.state.lock();
            while (state.segments.len() > 1 || state.broken)
                && state.segments.front().is_some_and(|segment| segment.next <= index && segment.next > segment.first)
            {
                gone.extend(state.segments.pop_front());
            }
            if let Some(front) = state.segments.front_mut() {
                front.acknowledged = front.acknowledged.max(index);
            }
        }
        gone.iter().try_for_each(Segment::remove)
    }

    /// Bytes of records that the bus has not acknowledged, counted by whole segments.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used()
    }

    /// Segments left because a write or sync failed.
    #[must_use]
    pub fn repairs(&self) -> u64 {
        self.repairs.load(Ordering::Relaxed)
    }

    /// Bytes at which it is full.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.options.bytes_max
    }

    /// Index of the oldest record held, and the index the next append gets.
    #[must_use]
    pub fn bounds(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.segments.front().map_or(state.next, |segment| segment.first), state.next)
    }

    /// Writes what is pending, then ends the threads.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal ended by a panic");
            }
        }
        self.state.lock().waiters.clear();
    }
}

impl State {
    /// How many wait for the newest batch that is being synced.
    fn flying_waiters(&self) -> usize {
        self.flights.back().filter(|flight| !flight.synced).map_or(0, |flight| flight.waiters)
    }

    /// Whether what is pending is to be written now. While another sync runs, only when as many wait for this one: few
    /// sessions never wait, and many share a sync instead of spending the processor on a sync for each.
    fn is_due(&self) -> bool {
        self.wanted && self.pending_waiters >= self.flying_waiters()
    }

    fn used(&self) -> u64 {
        let pending = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        let flying: u64 = self.flights.iter().map(|flight| flight.bytes.len() as u64).sum();
        // A segment that holds nothing unacknowledged counts nothing, or an idle journal could never become empty.
        let held = |segment: &Segment| if segment.acknowledged >= segment.next { 0 } else { segment.end };
        self.segments.iter().map(held).sum::<u64>() + flying + pending
    }
}
