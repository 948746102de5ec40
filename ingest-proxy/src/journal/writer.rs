//! The writing half of the journal: what the two writers do, in turn.
//!
//! After a failed write or sync the segment is not trusted any more: what is not durable yet is written once more, into
//! a new segment, and counts only when that one is synced. A disk without room is waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::disk::is_full;
use super::segment::{Active, quarantine};
use super::{AWAKE, Flight, Journal, JournalError, LINGER, LINGER_BYTES_MAX, State, Told, WRITERS, Waiter};

/// Times a new segment is tried after a failure that is not a lack of room; then the journal has failed.
const REPAIRS_MAX: u32 = 3;
/// Pause between tries.
const REPAIR_PAUSE: Duration = Duration::from_millis(100);

/// What a writer took to write.
struct Batch {
    bytes: Arc<Vec<u8>>,
    /// Index after its last record.
    next: u64,
    /// Repairs before it was taken.
    generation: u64,
}

/// What a writer finds to do.
enum Taken {
    Batch(Batch),
    /// The segment is not trusted: nothing before it is left.
    Broken,
    /// Failed, or closed with nothing left.
    Ended,
}

impl Journal {
    pub(super) fn write_loop(&self, number: usize) {
        // The other writer syncs while this one holds `active`: it waits for records and writes them.
        loop {
            let mut active = self.active.lock();
            let batch = match self.take() {
                Taken::Batch(batch) => batch,
                Taken::Broken => {
                    // The other writer needs `active` to repair.
                    drop(active);
                    let mut state = self.state.lock();
                    while state.broken && state.failed.is_none() {
                        self.done.wait(&mut state);
                    }
                    continue;
                }
                Taken::Ended => return,
            };
            let written = self.write(&mut active, &batch);
            let file = active.file(number);
            drop(active);
            let sync =
                |file: Arc<std::fs::File>| self.options.disk.sync(&file).map_err(JournalError::io("sync the journal"));
            let goes_on = match written.and_then(|()| file.and_then(sync)) {
                Ok(()) => self.synced(batch),
                Err(error) => self.repair(batch, error),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn take(&self) -> Taken {
        let mut state = self.state.lock();
        loop {
            if state.failed.is_some() {
                return Taken::Ended;
            }
            if state.broken {
                return Taken::Broken;
            }
            let waits = !state.pending.is_empty();
            if waits && (state.is_due() || state.closing || state.pending.len() >= LINGER_BYTES_MAX) {
                break;
            }
            if !waits && state.closing {
                return Taken::Ended;
            }
            if !waits && state.worked.elapsed() > AWAKE {
                state.asleep = true;
                self.work.wait(&mut state);
                state.asleep = false;
            } else if self.work.wait_for(&mut state, LINGER).timed_out() && waits {
                break;
            }
        }
        let spare = state.spare.pop().unwrap_or_default();
        let bytes = Arc::new(std::mem::replace(&mut state.pending, spare));
        let next = state.next;
        (state.pending_first, state.wanted, state.worked) = (next, false, Instant::now());
        let waiters = std::mem::take(&mut state.pending_waiters);
        // Known from here on, so that the bytes count and the order is that of the file.
        state.flights.push_back(Flight { next, end: 0, bytes: Arc::clone(&bytes), waiters, synced: false });
        Taken::Batch(Batch { bytes, next, generation: state.generation })
    }

    fn write(&self, active: &mut Active, batch: &Batch) -> Result<(), JournalError> {
        let broken = || JournalError::Failed("the segment is not trusted any more".into());
        if active.is_full(batch.bytes.len()) {
            // Only the newest segment may lack records after a power cut, so the old one is whole before the new one is.
            let mut state = self.state.lock();
            while state.flights.len() > 1 && state.failed.is_none() && !state.broken {
                self.done.wait(&mut state);
            }
            if state.broken {
                return Err(broken());
            }
            drop(state);
            active.rotate(batch.bytes.len(), &self.options)?;
            self.state.lock().segments.push_back(active.segment());
        } else if self.state.lock().broken {
            return Err(broken());
        }
        let end = active.write(&batch.bytes, batch.next, &*self.options.disk)?;
        let mut state = self.state.lock();
        if let Some(flight) = state.flights.back_mut() {
            flight.end = end;
        }
        Ok(())
    }

    /// The batch is on the disk; false when the journal has failed meanwhile.
    fn synced(&self, batch: Batch) -> bool {
        let Batch { bytes, next, generation } = batch;
        drop(bytes);
        let (told, due) = {
            let mut state = self.state.lock();
            if state.failed.is_some() {
                return false;
            }
            if state.broken || state.generation != generation {
                return true; // written once more, with everything else of a segment that is not trusted
            }
            if let Some(flight) = state.flights.iter_mut().find(|flight| flight.next == next) {
                flight.synced = true;
            }
            while let Some(flight) = state.flights.pop_front_if(|flight| flight.synced) {
                if let Some(last) = state.segments.back_mut() {
                    (last.next, last.end) = (flight.next, flight.end);
                }
                // Under the lock, so that `wait_durable` cannot miss it.
                self.durable.store(flight.next, Ordering::Release);
                state.keep(flight.bytes);
            }
            (self.ready(&mut state), state.is_due())
        };
        self.tell(told, Told::Durable, due);
        true
    }

    /// Those whose records are durable.
    fn ready(&self, state: &mut State) -> Vec<Waiter> {
        let durable = self.durable_end();
        state.waiters.extract_if(.., |waiter| waiter.index < durable).collect()
    }

    fn tell(&self, waiters: Vec<Waiter>, what: Told, due: bool) {
        self.done.notify_all();
        if due {
            self.work.notify_one();
        }
        for waiter in waiters {
            // Gone when its session has ended meanwhile.
            let _gone = waiter.told.send(what);
        }
    }

    /// Leaves the segment and writes what is not durable into a new one; false when the journal has failed.
    fn repair(&self, batch: Batch, error: JournalError) -> bool {
        {
            let mut state = self.state.lock();
            if state.generation == batch.generation {
                state.broken = true;
            }
            state.no_space |= lacks_room(&error);
        }
        // The other writer may wait for this batch before it rotates, or for records: both while it holds `active`.
        self.done.notify_all();
        self.work.notify_all();
        let mut active = self.active.lock();
        let (mut error, mut tries) = (error, 0u32);
        loop {
            {
                let state = self.state.lock();
                if state.generation != batch.generation {
                    return state.failed.is_none(); // the other writer did it
                }
                if state.failed.is_some() {
                    return false;
                }
            }
            tracing::error!(%error, reason = ?std::error::Error::source(&error).map(ToString::to_string),
                "the journal leaves its segment and writes what is not durable into a new one");
            match self.replace(&mut active) {
                Ok(()) => return true,
                Err(again) => error = again,
            }
            let full = lacks_room(&error);
            tries += u32::from(!full);
            let mut state = self.state.lock();
            state.no_space = full;
            if tries >= REPAIRS_MAX || state.closing {
                drop(state);
                self.fail(&error);
                return false;
            }
            self.work.wait_for(&mut state, REPAIR_PAUSE);
        }
    }

    fn replace(&self, active: &mut Active) -> Result<(), JournalError> {
        let (first, next, bytes) = {
            let mut state = self.state.lock();
            // Nothing in it is durable: its name is needed for the new one.
            let empty = state.segments.back().is_some_and(|last| last.next <= last.first && last.path == active.path());
            let gone = if empty { state.segments.pop_back() } else { None };
            let bytes: Vec<u8> = state.flights.iter().flat_map(|flight| flight.bytes.iter().copied()).collect();
            let next = state.flights.back().map_or(state.pending_first, |flight| flight.next);
            let first = self.durable_end();
            drop(state);
            if let Some(gone) = gone {
                quarantine(&gone.path)?;
            }
            (first, next, bytes)
        };
        active.replace(first, next, &bytes, &self.options)?;
        let (told, due) = {
            let mut state = self.state.lock();
            state.segments.push_back(active.segment());
            while let Some(flight) = state.flights.pop_front() {
                state.keep(flight.bytes);
            }
            self.durable.store(next, Ordering::Release);
            (state.broken, state.no_space) = (false, false);
            state.generation += 1;
            (self.ready(&mut state), state.is_due())
        };
        self.repairs.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(first, "the journal goes on in a new segment");
        self.tell(told, Told::Durable, due);
        Ok(())
    }

    fn fail(&self, error: &JournalError) {
        tracing::error!(%error, "the journal failed; requests are refused until the process starts anew");
        let waiters = {
            let mut state = self.state.lock();
            state.failed.get_or_insert(error.to_string());
            std::mem::take(&mut state.waiters)
        };
        self.tell(waiters, Told::Never, false);
        self.work.notify_all();
    }
}

fn lacks_room(error: &JournalError) -> bool {
    matches!(error, JournalError::Io { source, .. } if is_full(source))
}

impl State {
    /// Keeps an emptied buffer for the next batch.
    fn keep(&mut self, bytes: Arc<Vec<u8>>) {
        if self.spare.len() < WRITERS
            && let Ok(mut bytes) = Arc::try_unwrap(bytes)
        {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    #[test]
    fn after_a_failure_nothing_is_taken_and_every_waiter_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(Options::at(folder.path())).unwrap();
        let told = journal.wait_for(5, None).unwrap().unwrap();
        journal.fail(&JournalError::Failed("disk".into()));
        let block = |future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
        assert_eq!(block(told), Ok(Told::Never));
        assert!(matches!(journal.append(&[b"y"]), Err(JournalError::Failed(_))));
        assert!(matches!(journal.wait_for(0, None), Err(JournalError::Failed(_))));
        journal.close();
    }
}
