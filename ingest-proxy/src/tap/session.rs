//! A session's end of the tap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemas::Record as _;
use schemas::v1::{Session, Uuid};

use super::ledger::{ABORTED, Owed, Peek};
use super::{Guarantee, HEAD, TO_RAW, TO_SESSIONS, Tap, TapError, head};

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

/// A session's end of the tap. Used by one task; holds no lock across a wait (I-11). Dropped without an end recorded,
/// it leaves one to be written in its name.
#[derive(Debug)]
pub struct SessionTap {
    tap: Arc<Tap>,
    session_id: Uuid,
    guarantee: Guarantee,
    window_bytes: usize,
    wait: Duration,
    /// Journal index and bytes of what is recorded and not known to be durable, oldest first.
    ahead: VecDeque<(u64, usize)>,
    ahead_bytes: usize,
    /// Records made and not yet counted.
    made: AtomicU64,
    /// Records counted and not yet taken by the journal.
    held: u64,
    /// Index of the newest record taken.
    last: Option<u64>,
    /// The session itself while the journal has not taken it.
    opening: Option<Vec<u8>>,
    /// Its last record is taken.
    ended: bool,
    /// Why it can be recorded no further: nothing is forwarded after it, and nothing waits again.
    failed: Option<TapError>,
}

impl SessionTap {
    pub(super) fn new(tap: Arc<Tap>, session_id: Uuid, guarantee: Guarantee, window_bytes: usize) -> Self {
        let wait = tap.options.wait_max;
        Self {
            tap,
            session_id,
            guarantee,
            window_bytes,
            wait,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            made: AtomicU64::new(0),
            held: 0,
            last: None,
            opening: None,
            ended: false,
            failed: None,
        }
    }

    /// Waits at most this long instead of [`super::Options::wait_max`].
    #[must_use]
    pub fn waiting(mut self, wait_max: Duration) -> Self {
        self.wait = wait_max;
        self
    }

    /// A journal record for the Avro body that `write` appends: made in the session's task, before any lock.
    #[must_use]
    pub fn raw(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + 256);
        out.extend_from_slice(&head(TO_RAW, self.guarantee, self.session_id));
        write(&mut out);
        self.made.fetch_add(1, Ordering::Relaxed);
        out
    }

    /// Records the session itself; comes before its first raw record.
    ///
    /// # Errors
    /// As [`SessionTap::record`].
    pub async fn session(&mut self, session: &Session) -> Result<(), TapError> {
        let mut out = head(TO_SESSIONS, self.guarantee, self.session_id).to_vec();
        session.encode(&mut out);
        self.made.fetch_add(1, Ordering::Relaxed);
        self.opening = out.get(HEAD..).map(<[u8]>::to_vec);
        self.record(&[out]).await?;
        self.opening = None;
        Ok(())
    }

    /// Adds a record as [`SessionTap::raw`] makes it to a batch.
    pub fn put(&self, batch: &mut Batch, write: impl FnOnce(&mut Vec<u8>)) {
        batch.bytes.extend_from_slice(&head(TO_RAW, self.guarantee, self.session_id));
        write(&mut batch.bytes);
        batch.ends.push(batch.bytes.len());
        self.made.fetch_add(1, Ordering::Relaxed);
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
        let Some(last) = records.clone().last() else { return Ok(()) };
        let count = records.len() as u64;
        self.count();
        let mut tries = 0u32;
        let step = Duration::from_millis(5);
        // After a failure only what there is room for at once: the end, mostly.
        let wait = if self.failed.is_some() { Duration::ZERO } else { self.wait };
        let index = loop {
            match self.tap.journal.append_all(records.clone()) {
                Ok(index) => break index,
                Err(error) if error.may_pass() && step * tries < wait => {
                    tries += 1;
                    tokio::time::sleep(step).await;
                }
                Err(error) => return Err(self.refused(TapError::Journal(error))),
            }
        };
        self.tap.counters.journaled(self.guarantee, count);
        self.held = self.held.saturating_sub(count);
        self.last = Some(index);
        self.ended |= Peek::of_record(last).is_some_and(|peek| peek.is_end());
        let bytes = records.map(<[u8]>::len).sum();
        self.ahead.push_back((index, bytes));
        self.ahead_bytes += bytes;
        self.forget_durable();
        while self.ahead_bytes > self.window_bytes && self.failed.is_none() {
            let Some((oldest, _)) = self.ahead.front().copied() else { break };
            if self.wait_for(oldest).await.is_err() {
                return Err(self.refused(TapError::Window));
            }
            self.forget_durable();
        }
        Ok(())
    }

    /// Waits until everything recorded so far is as durable as the guarantee says. Only then may a request go on (I-01).
    ///
    /// # Errors
    /// [`TapError`]; the request must not be forwarded. After a first one every further call fails at once, except
    /// behind the session's end, after which there is nothing to forward.
    pub async fn settle(&mut self) -> Result<(), TapError> {
        if let Some(failed) = &self.failed {
            return if self.ended { Ok(()) } else { Err(failed.again()) };
        }
        let Some((last, _)) = self.ahead.back().copied() else { return Ok(()) };
        if self.guarantee == Guarantee::Buffered {
            return Ok(());
        }
        if let Err(error) = self.wait_for(last).await {
            return Err(self.refused(error));
        }
        self.forget_durable();
        Ok(())
    }

    /// Waits until the record at `index` is as durable as the guarantee says.
    async fn wait_for(&self, index: u64) -> Result<(), TapError> {
        if self.guarantee != Guarantee::Acked {
            return self.tap.journal.durable_within(index, Some(self.wait)).await.map_err(TapError::Journal);
        }
        self.tap.journal.hurry(index);
        let _waiting = Waiting::new(&self.tap);
        let mut committed = self.tap.committed.subscribe();
        let wait = tokio::time::timeout(self.wait, committed.wait_for(|next| *next > index));
        if matches!(wait.await, Ok(Ok(_))) { Ok(()) } else { Err(TapError::BusDown) }
    }

    /// Counts what was made since.
    fn count(&mut self) {
        let made = std::mem::take(self.made.get_mut());
        self.held += made;
        self.tap.counters.seen(self.guarantee, made);
    }

    fn refused(&mut self, error: TapError) -> TapError {
        if self.failed.is_none() {
            self.tap.counters.refused.fetch_add(1, Ordering::Relaxed);
            self.failed = Some(error.again());
        }
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

/// A session that waits for the bus, while it does.
struct Waiting<'a>(&'a Tap);

impl<'a> Waiting<'a> {
    fn new(tap: &'a Tap) -> Self {
        if tap.acked_waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            tap.hurry();
        }
        Self(tap)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.acked_waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for SessionTap {
    fn drop(&mut self) {
        self.count();
        self.tap.counters.dropped(self.held, self.failed.is_some());
        let begun = self.last.is_some() || self.opening.is_some();
        if begun && !self.ended {
            self.tap.owe(Owed {
                session_id: self.session_id,
                guarantee: self.guarantee,
                reason: self.failed.as_ref().map_or(ABORTED, TapError::kind),
                after: self.last,
                session: self.opening.take(),
                refused: self.last.is_none(),
                next_sequence: 0,
                messages: 0,
            });
        }
    }
}
