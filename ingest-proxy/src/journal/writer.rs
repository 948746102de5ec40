//! The writing half of the journal: what the two writers do, in turn.

use std::time::Instant;

use super::segment::Active;
use super::{AWAKE, Flight, Journal, JournalError, LINGER, LINGER_BYTES_MAX, Told, WRITERS};
use std::sync::atomic::Ordering;

/// What a writer took to write.
struct Batch {
    bytes: Vec<u8>,
    /// Index after its last record.
    next: u64,
}

impl Journal {
    pub(super) fn write_loop(&self, number: usize) {
        // The other writer syncs while this one holds `active`: it waits for records and writes them.
        loop {
            let mut active = self.active.lock();
            let Some(batch) = self.take() else { return };
            let written = self.write(&mut active, &batch);
            let file = active.file(number);
            drop(active);
            let synced = written
                .and_then(|()| file.and_then(|file| file.sync_data().map_err(JournalError::io("sync the journal"))));
            match synced {
                Ok(()) => self.synced(batch),
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            let waits = !state.pending.is_empty();
            if waits && (state.is_due() || state.closing || state.pending.len() >= LINGER_BYTES_MAX) {
                break;
            }
            if !waits && state.closing {
                return None;
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
        let bytes = std::mem::replace(&mut state.pending, spare);
        let next = state.next;
        (state.pending_first, state.wanted, state.worked) = (next, false, Instant::now());
        let waiters = std::mem::take(&mut state.pending_waiters);
        let len = bytes.len() as u64;
        // Known from here on, so that the bytes count and the order is that of the file.
        state.flights.push_back(Flight { next, end: 0, bytes: len, waiters, synced: false });
        Some(Batch { bytes, next })
    }

    fn write(&self, active: &mut Active, batch: &Batch) -> Result<(), JournalError> {
        if active.is_full(batch.bytes.len()) {
            // Only the newest segment may lack records after a power cut, so the old one is whole before the new one is.
            let mut state = self.state.lock();
            while state.flights.len() > 1 && state.failed.is_none() {
                self.done.wait(&mut state);
            }
            drop(state);
            active.rotate(batch.bytes.len(), &self.options)?;
            self.state.lock().segments.push_back(active.segment());
        }
        let end = active.write(&batch.bytes, batch.next)?;
        let mut state = self.state.lock();
        if let Some(flight) = state.flights.back_mut() {
            flight.end = end;
        }
        Ok(())
    }

    fn synced(&self, batch: Batch) {
        let Batch { mut bytes, next } = batch;
        bytes.clear();
        let mut told = Vec::new();
        let due = {
            let mut state = self.state.lock();
            if state.failed.is_some() {
                return;
            }
            if state.spare.len() < WRITERS {
                state.spare.push(bytes);
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
            }
            let durable = self.durable_end();
            told.extend(state.waiters.extract_if(.., |waiter| waiter.index < durable));
            state.is_due()
        };
        self.done.notify_all();
        if due {
            self.work.notify_one();
        }
        for waiter in told {
            // Gone when its session has ended meanwhile.
            let _gone = waiter.told.send(Told::Durable);
        }
    }

    fn fail(&self, error: &JournalError) {
        tracing::error!(%error, "the journal failed; requests are refused until the process starts anew");
        let waiters = {
            let mut state = self.state.lock();
            state.failed.get_or_insert(error.to_string());
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            let _gone = waiter.told.send(Told::Never);
        }
        self.done.notify_all();
        self.work.notify_all();
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
