//! The thread that carries durable records from the journal to the bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use schemas::v1::Uuid;
use stage::bus::{Bus, BusError, BusErrorKind, WriteMode, Writer, WriterSpec};

use super::ledger::Ledger;
use super::letter::{self, Part};
use super::{HEAD, TO_SESSIONS, Tap, marks};
use crate::journal::Chunk;

/// First pause after a failed attempt at the bus; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long records gather before they are sent, unless a session waits for the bus: one commit for many of them.
const GATHER: Duration = Duration::from_millis(20);
/// Longest sleep without a look at what else is to be done.
const IDLE: Duration = Duration::from_millis(50);

/// A failed attempt; `at` is the record at fault when `send` itself refused it.
struct Failed {
    error: BusError,
    at: Option<u64>,
}

impl From<BusError> for Failed {
    fn from(error: BusError) -> Self {
        Self { error, at: None }
    }
}

/// What the thread owns.
pub(super) struct Carrier {
    tap: Arc<Tap>,
    bus: Arc<dyn Bus>,
    writer: Option<Box<dyn Writer>>,
    ledger: Ledger,
    /// First record the bus has not acknowledged.
    next: u64,
    /// Most records of one attempt; fewer while the bus finds batches too large.
    records_max: usize,
    /// Records that the bus refuses as too large, and what is sent instead.
    oversize: BTreeMap<u64, Part>,
    chunk: Chunk,
    value: Vec<u8>,
    pause: Duration,
}

impl Carrier {
    pub(super) fn new(tap: Arc<Tap>, bus: Arc<dyn Bus>, next: u64, ledger: Ledger) -> Self {
        Self {
            tap,
            bus,
            writer: None,
            ledger,
            next,
            records_max: usize::MAX,
            oversize: BTreeMap::new(),
            chunk: Chunk::default(),
            value: Vec::new(),
            pause: BACKOFF,
        }
    }

    /// Carries until the tap stops.
    pub(super) fn run(mut self) {
        while !self.tap.is_stopping() {
            self.tap.expire();
            self.pay();
            if !self.tap.journal.wait_durable(self.next, IDLE) {
                continue;
            }
            self.gather();
            let read = self.tap.journal.read_into(self.next, self.tap.options.batch_bytes, &mut self.chunk);
            if let Err(error) = read {
                // Not skipped: an operator must see it, and the records stay in the file.
                tracing::error!(%error, "the journal cannot be read back; the bus receives nothing");
                self.rest(BACKOFF_MAX);
                continue;
            }
            let count = self.chunk.len().min(self.records_max);
            let Some(last) = count.checked_sub(1).and_then(|last| self.chunk.index(last)) else { continue };
            match self.attempt(count) {
                Ok(()) => self.advance(count, last + 1),
                Err(failed) => self.failed(count, failed),
            }
        }
        if self.ledger.seen() == self.next
            && let Err(error) = self.ledger.save()
        {
            tracing::warn!(%error, "the checkpoint of open sessions was not written; the next start replays more");
        }
    }

    /// Lets records come together, unless a session waits for the bus or the tap stops.
    fn gather(&self) {
        let (lock, woken) = &self.tap.gather;
        let mut held = lock.lock();
        if self.tap.acked_waiting.load(Ordering::SeqCst) == 0 && !self.tap.is_stopping() {
            woken.wait_for(&mut held, GATHER);
        }
    }

    /// Sleeps for `pause`, or until the tap stops.
    fn rest(&self, pause: Duration) {
        let until = std::time::Instant::now() + pause;
        while !self.tap.is_stopping() && std::time::Instant::now() < until {
            std::thread::sleep(IDLE.min(pause));
            self.tap.expire();
        }
    }

    /// Writes the ends that sessions left to us.
    fn pay(&mut self) {
        self.tap.owed.lock().retain_mut(|owed| match self.ledger.complete(owed) {
            Some(ready) => !(ready && self.tap.write_end(owed)),
            None => {
                tracing::debug!(reason = owed.reason, "a session had its end already");
                false
            }
        });
    }

    /// Sends the first `count` records read, in one commit.
    fn attempt(&mut self, count: usize) -> Result<(), Failed> {
        let options = &self.tap.options;
        for (index, record) in self.chunk.iter().take(count) {
            self.ledger.see(index, record);
        }
        let open = match self.writer.take() {
            Some(open) => open,
            None => self.bus.writer(&WriterSpec { name: options.instance.clone(), mode: WriteMode::Idempotent })?,
        };
        let open = self.writer.insert(open);
        open.begin()?;
        for (index, record) in self.chunk.iter().take(count) {
            let Some((&[first, ref id @ ..], body)) = record.split_first_chunk::<HEAD>() else { continue };
            let at = |error| Failed { error, at: Some(index) };
            let key = Uuid(*id).to_text();
            let key = key.as_bytes();
            let partition = self.ledger.partition(id, key);
            let (topic, framing) = match marks(first).0 {
                TO_SESSIONS => (&options.topics.sessions, &options.session_framing),
                _ => (&options.topics.raw, &options.raw_framing),
            };
            let mut framed = |body: &[u8]| {
                self.value.clear();
                framing.prefix(&mut self.value);
                self.value.extend_from_slice(body);
            };
            framed(body);
            if let Some(part) = self.oversize.get(&index) {
                let now_us = stage::clock::now_us();
                let letter = letter::dead_letter(topic, partition, key, &self.value, *part, now_us);
                let origin = format!("{topic}-{partition}");
                let dlq = &options.topics.dlq;
                open.send(dlq, partition, Some(origin.as_bytes()), Some(&letter)).map_err(at)?;
                let stand_in = match marks(first).0 {
                    TO_SESSIONS => letter::session_stand_in(body),
                    _ => letter::raw_stand_in(body),
                };
                let Some(stand_in) = stand_in else { continue };
                self.value.clear();
                framing.prefix(&mut self.value);
                self.value.extend_from_slice(&stand_in);
            }
            open.send(topic, partition, Some(key), Some(&self.value)).map_err(at)?;
            if let Some(closed) = self.ledger.closed_by(index) {
                self.value.clear();
                options.session_framing.prefix(&mut self.value);
                self.value.extend_from_slice(closed);
                open.send(&options.topics.sessions, partition, Some(key), Some(&self.value)).map_err(at)?;
            }
        }
        Ok(open.commit(None)?)
    }

    /// The bus has the first `count` records read, those before `next`.
    fn advance(&mut self, count: usize, next: u64) {
        let counters = &self.tap.counters;
        let mut acked = [0u64; 3];
        for (_, record) in self.chunk.iter().take(count) {
            let guarantee = record.first().map(|first| marks(*first).1).unwrap_or_default();
            if let Some(acked) = acked.get_mut(guarantee.place()) {
                *acked += 1;
            }
        }
        for (guarantee, count) in super::Guarantee::ALL.into_iter().zip(acked) {
            counters.acked(guarantee, count);
        }
        counters.committed.fetch_add(count as u64, Ordering::Relaxed);
        let later = self.oversize.split_off(&next);
        let oversize = std::mem::replace(&mut self.oversize, later);
        counters.quarantined.fetch_add(oversize.len() as u64, Ordering::Relaxed);
        self.ledger.committed(next);
        (self.next, self.pause) = (next, BACKOFF);
        if self.records_max < usize::MAX {
            // Slowly: where batches are what is too large, most attempts should pass.
            self.records_max = self.records_max.saturating_add(self.records_max / 8 + 1);
            self.records_max = if self.records_max > 1 << 20 { usize::MAX } else { self.records_max };
        }
        self.tap.committed.send_replace(next);
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "journal segments could not be removed");
        }
    }

    fn trim(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        if self.tap.journal.would_remove(self.next) {
            // What was read and not committed is in the ledger too: it waits for the attempt that brings both together.
            if self.ledger.seen() != self.next {
                return Ok(());
            }
            self.ledger.save()?;
        }
        Ok(self.tap.journal.trim(self.next)?)
    }

    fn failed(&mut self, count: usize, failed: Failed) {
        let Failed { error, at } = failed;
        self.tap.counters.bus_errors.fetch_add(1, Ordering::Relaxed);
        let alone = if count == 1 { self.chunk.index(0) } else { None };
        let handled = error.kind == BusErrorKind::TooLarge && self.is_handled(count, at.or(alone), &error);
        if !handled {
            tracing::warn!(%error, "the bus did not take records; they stay in the journal");
        }
        self.recover(&error);
        if !handled {
            self.rest(self.pause);
            self.pause = (self.pause * 2).min(BACKOFF_MAX);
        }
    }

    /// Something was too large: sends less of the record at fault, or fewer records to find it. False when the bus
    /// refuses even the least.
    fn is_handled(&mut self, count: usize, at: Option<u64>, error: &BusError) -> bool {
        let Some(index) = at else {
            self.records_max = (count / 2).max(1);
            tracing::warn!(%error, records = count, "a batch is too large for the bus; sending fewer records");
            return true;
        };
        let part = match self.oversize.get(&index) {
            None => Part::Value,
            Some(Part::Value) => Part::Notice,
            Some(Part::Notice) => return false,
        };
        let record = self.chunk.iter().find(|(number, _)| *number == index).map(|(_, record)| record);
        if part == Part::Value
            && let Some(record) = record
            && let Err(error) = letter::set_aside(&self.tap.options.quarantine, index, record)
        {
            tracing::error!(%error, index, "a record that the bus refuses could not be set aside; trying again");
            return false;
        }
        self.oversize.insert(index, part);
        true
    }

    fn recover(&mut self, error: &BusError) {
        let keep = matches!(
            error.kind,
            BusErrorKind::Retriable | BusErrorKind::Abort | BusErrorKind::Full | BusErrorKind::TooLarge
        );
        if let Some(mut open) = self.writer.take()
            && open.abort().is_ok()
            && keep
        {
            self.writer = Some(open);
        }
    }
}
