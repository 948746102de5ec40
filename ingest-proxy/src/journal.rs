//! The local journal: what makes a record durable before its request is forwarded (I-01).
//!
//! One thread writes and fdatasyncs for all sessions (group commit); an append is one copy under a short lock, never
//! held across I/O (I-11). Segments are zero-filled beforehand, so a sync writes data and no file metadata. Records go to
//! the bus from here, and a segment is deleted only after the bus acknowledged all of it; replay after a restart is at
//! least once (the enricher drops what it saw). Limits (I-10): at `bytes_max` an append says `Full`. After a failed
//! write or sync nothing is trusted any more: every append and wait fails until the process starts anew.
//! A damaged segment gives its whole records before the damage and is set aside, never deleted, as `*.quarantined`.

mod format;
mod recover;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

pub use format::BODY_BYTES_MAX;
pub use recover::{Damage, Recovery};
use segment::{Active, Segment};

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
}

impl Options {
    /// 1 GiB in segments of 16 MiB, 8 MiB waiting.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.into(), bytes_max: 1 << 30, segment_bytes: 16 << 20, pending_bytes_max: 8 << 20 }
    }
}

/// A failed journal call.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Unacknowledged records fill `bytes_max`; room comes when the bus takes records.
    #[error("journal is full")]
    Full,
    /// The disk is behind by `pending_bytes_max`; call again.
    #[error("journal is busy")]
    Busy,
    /// A record is empty or above [`BODY_BYTES_MAX`].
    #[error("record of {0} bytes cannot be journaled")]
    Size(usize),
    /// Another process holds the folder.
    #[error("journal folder is in use by another process")]
    Locked,
    /// A write or sync failed earlier, or the journal was closed: nothing is taken any more.
    #[error("journal has failed: {0}")]
    Failed(String),
    /// The system refused.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl JournalError {
    /// Stable name, for metrics and reason codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Full => "journal_full",
            Self::Busy => "journal_busy",
            Self::Size(_) => "record_size",
            Self::Locked => "journal_locked",
            Self::Failed(_) => "journal_failed",
            Self::Io { .. } => "journal_io",
        }
    }

    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}

/// One record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index in the journal.
    pub index: u64,
    /// The bytes appended.
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct State {
    pending: Vec<u8>,
    spare: Vec<u8>,
    next: u64,
    in_flight: u64,
    segments: VecDeque<Segment>,
    failed: Option<String>,
    closing: bool,
}

#[derive(Debug, Clone)]
struct Progress {
    /// First index that is not durable.
    durable: u64,
    failed: Option<String>,
}

/// The journal of one process.
#[derive(Debug)]
pub struct Journal {
    options: Options,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
    progress: watch::Sender<Progress>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        let active = Active::create(&folder, next, options.segment_bytes)?;
        let mut segments: VecDeque<Segment> = segments.into();
        segments.push_back(active.segment());
        let state = State {
            pending: Vec::new(),
            spare: Vec::new(),
            next,
            in_flight: 0,
            segments,
            failed: None,
            closing: false,
        };
        let journal = Arc::new(Self {
            options,
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            progress: watch::Sender::new(Progress { durable: next, failed: None }),
            thread: Mutex::new(None),
            _lock: lock,
        });
        let writer = Arc::clone(&journal);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.write_loop(active));
        *journal.thread.lock() = Some(thread.map_err(JournalError::io("start the journal's thread"))?);
        Ok((journal, recovery))
    }

    /// Takes records in order; returns the index of the last. Not yet durable: see [`Journal::durable`].
    ///
    /// # Errors
    /// `Full`, `Busy`, `Size`, `Failed`; then none was taken.
    pub fn append<B: AsRef<[u8]>>(&self, bodies: &[B]) -> Result<u64, JournalError> {
        let mut bytes = 0usize;
        for body in bodies {
            let len = body.as_ref().len();
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
        // One batch larger than the bound is taken alone, so that it is not refused for ever.
        if !state.pending.is_empty() && state.pending.len() + bytes > self.options.pending_bytes_max {
            return Err(JournalError::Busy);
        }
        if state.used() + u64::try_from(bytes).unwrap_or(u64::MAX) > self.options.bytes_max {
            return Err(JournalError::Full);
        }
        for body in bodies {
            let index = state.next;
            format::put_record(&mut state.pending, index, body.as_ref());
            state.next = index + 1;
        }
        let last = state.next.saturating_sub(1);
        drop(state);
        self.work.notify_one();
        Ok(last)
    }

    /// Waits until the record at `index` is on the disk.
    ///
    /// # Errors
    /// `Failed` when it never will be; its request must not be forwarded.
    pub async fn durable(&self, index: u64) -> Result<(), JournalError> {
        let mut progress = self.progress.subscribe();
        let seen = progress.wait_for(|progress| progress.durable > index || progress.failed.is_some()).await;
        match seen.map(|progress| (progress.durable > index, progress.failed.clone())) {
            Ok((true, _)) => Ok(()),
            Ok((false, reason)) => Err(JournalError::Failed(reason.unwrap_or_default())),
            Err(_) => Err(JournalError::Failed("closed".into())),
        }
    }

    /// First index that is not durable.
    #[must_use]
    pub fn durable_end(&self) -> u64 {
        self.progress.borrow().durable
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
        let durable = self.durable_end();
        let mut segments = {
            let state = self.state.lock();
            state.segments.iter().filter(|segment| segment.next > index).cloned().collect::<Vec<_>>().into_iter()
        };
        segments.next().map_or(Ok(Vec::new()), |segment| segment.read(index, durable, bytes_max))
    }

    /// Says that the bus acknowledged everything before `index`: segments wholly before it are deleted.
    ///
    /// # Errors
    /// `Io`; nothing is lost, the segment stays.
    pub fn trim(&self, index: u64) -> Result<(), JournalError> {
        let mut gone = Vec::new();
        {
            let mut state = self.state.lock();
            while state.segments.len() > 1 && state.segments.front().is_some_and(|segment| segment.next <= index) {
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

    /// Index of the oldest record held, and the index the next append gets.
    #[must_use]
    pub fn bounds(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.segments.front().map_or(state.next, |segment| segment.first), state.next)
    }

    /// Writes what is pending, then ends the thread.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread ended by a panic");
        }
    }

    fn write_loop(&self, mut active: Active) {
        loop {
            let Some((batch, next)) = self.take() else { return };
            match active.write(&batch, next, &self.options) {
                Ok(sealed) => self.written(&active, sealed, next, batch),
                Err(error) => {
                    tracing::error!(%error, "the journal failed; requests are refused until the process starts anew");
                    let reason = error.to_string();
                    self.state.lock().failed = Some(reason.clone());
                    self.progress.send_modify(|progress| progress.failed = Some(reason));
                    self.done.notify_all();
                    return;
                }
            }
        }
    }

    fn take(&self) -> Option<(Vec<u8>, u64)> {
        let mut state = self.state.lock();
        while state.pending.is_empty() {
            if state.closing {
                return None;
            }
            self.work.wait(&mut state);
        }
        let spare = std::mem::take(&mut state.spare);
        let batch = std::mem::replace(&mut state.pending, spare);
        state.in_flight = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        Some((batch, state.next))
    }

    fn written(&self, active: &Active, sealed: bool, next: u64, mut batch: Vec<u8>) {
        batch.clear();
        {
            let mut state = self.state.lock();
            if sealed {
                state.segments.push_back(active.segment());
            } else if let Some(last) = state.segments.back_mut() {
                *last = Segment { acknowledged: last.acknowledged, ..active.segment() };
            }
            state.in_flight = 0;
            state.spare = batch;
            // Under the lock, so that `wait_durable` cannot miss it.
            self.progress.send_modify(|progress| progress.durable = next);
        }
        self.done.notify_all();
    }
}

impl State {
    fn used(&self) -> u64 {
        let pending = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        // A segment that holds nothing unacknowledged counts nothing, or an idle journal could never become empty.
        let held = |segment: &Segment| if segment.acknowledged >= segment.next { 0 } else { segment.end };
        self.segments.iter().map(held).sum::<u64>() + self.in_flight + pending
    }
}
