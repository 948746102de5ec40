//! Inputs into outputs: what a transform does with each record, and what becomes of a record it cannot take.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::Runner;
use super::lane::Waiting;
use super::letter::{Letter, PANICKED, TOO_LARGE};
use super::retry::Trouble;
use crate::bus::{Batch, BusError, Position, RecordRef, TopicPartition};
use crate::transform::{Context, Factory, Input, OutRecord, Refused, Rejection, Transform as _, Verdict};

impl<F: Factory> Runner<'_, F> {
    /// Applies the batch.
    pub(super) fn apply(&mut self, batch: &Batch, context: Context) -> Result<(), Trouble> {
        let mut stopped: Vec<i32> = Vec::new();
        for record in batch.iter() {
            if stopped.contains(&record.partition) {
                continue;
            }
            let Some(lane) = self.lanes.get(&record.partition) else { continue };
            // the letters of one partition are bounded: nothing more is read until some may go
            let goes_on = lane.letter_bytes <= self.spec.limits.bytes && self.take(&record, context)?;
            if !goes_on {
                // order of the partition is kept: nothing after this record until it is decided
                stopped.push(record.partition);
                self.seek(&record)?;
                continue;
            }
            if let Some(lane) = self.lanes.get_mut(&record.partition) {
                lane.waiting = None;
                lane.next = Some(record.offset + 1);
            }
        }
        Ok(())
    }

    /// Takes or refuses one record; false when it waits.
    fn take(&mut self, record: &RecordRef<'_>, context: Context) -> Result<bool, Trouble> {
        let (partition, offset) = (record.partition, record.offset);
        let newest = self.newest.replace((partition, offset));
        self.taken += 1;
        if let Some(rejection) = self.poison.get(&(partition, offset)).cloned() {
            self.refuse(record, &rejection);
            return Ok(true);
        }
        let now = self.host.clock.elapsed();
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(false) };
        let waited = lane
            .waiting
            .as_ref()
            .filter(|waiting| waiting.offset == offset)
            .map(|waiting| now.saturating_sub(waiting.since));
        let wait_over = waited.is_some_and(|waited| waited >= Duration::from_millis(self.spec.limits.wait_ms));
        let own = lane.transform.held_from().is_none();
        let before = self.out.len();
        let input = Input { offset, timestamp_ms: record.timestamp_ms, key: record.key, value: record.value };
        let ctx = Context { wait_over, ..context };
        // whatever a panic leaves behind is dropped with the attempt
        let applied = catch_unwind(AssertUnwindSafe(|| lane.transform.apply(&ctx, input, &mut self.out)));
        match applied {
            Ok(Ok(Verdict::Wait)) if !wait_over => {
                self.out.truncate(before);
                (self.taken, self.newest) = (self.taken - 1, newest);
                if waited.is_none() {
                    // the time already waited is gone after a rebuild: a wait is bounded per attempt
                    lane.waiting = Some(Waiting { since: now, offset });
                }
                return Ok(false);
            }
            Ok(Ok(_)) => {
                if let Some(rejection) = self.oversize(before, own).filter(|_| own) {
                    self.refuse(record, &rejection);
                }
                self.send(before, partition, context.now_us)?;
            }
            Ok(Err(rejection)) => {
                self.out.truncate(before);
                self.refuse(record, &rejection);
            }
            Err(_) => {
                let rejection = Rejection::new(PANICKED, "the stage's own code failed on this record");
                return Err(Trouble::Poison { partition, offset, rejection });
            }
        }
        Ok(true)
    }

    fn refuse(&mut self, record: &RecordRef<'_>, rejection: &Rejection) {
        let letter = Letter::of_input(self.spec, record, rejection, self.writer.record_bytes_max());
        if let Some(lane) = self.lanes.get_mut(&record.partition) {
            lane.keep(letter);
        }
    }

    fn seek(&mut self, record: &RecordRef<'_>) -> Result<(), BusError> {
        let topic_partition = TopicPartition { topic: self.spec.input.clone(), partition: record.partition };
        self.reader.seek(&Position { topic_partition, next_offset: record.offset })
    }

    /// Why the outputs from `from` on cannot be sent, if one is larger than the bus takes. When they are all of one input
    /// (`own`), that one goes to the dead letters instead of them; else each that is too large does by itself.
    ///
    /// The transform has taken the input by then and stays as it is, with what it says of its state.
    pub(super) fn oversize(&mut self, from: usize, own: bool) -> Option<Rejection> {
        let (max, state) = (self.writer.record_bytes_max(), self.spec.state_slot);
        let size = |record: &OutRecord<'_>| record.key.len() + record.value.map_or(0, <[u8]>::len);
        let mut large = Vec::new();
        for record in (from..self.out.len()).filter_map(|index| self.out.get(index)) {
            if size(&record) > max && Some(record.slot) != state {
                let detail = format!("an output has {} bytes, the bus takes {max}", size(&record));
                large.push(Refused {
                    topic: self.spec.outputs.get(record.slot).cloned().unwrap_or_default(),
                    key: record.key.to_vec(),
                    value: record.value.map(<[u8]>::to_vec),
                    rejection: Rejection::new(TOO_LARGE, detail),
                });
            }
        }
        let rejection = large.first().map(|refused| refused.rejection.clone())?;
        if own {
            self.out.retain(from, |record| Some(record.slot) == state);
        } else {
            self.out.retain(from, |record| size(record) <= max || Some(record.slot) == state);
            large.into_iter().for_each(|refused| self.out.refuse(refused));
        }
        Some(rejection)
    }

    /// Sends what was written from `from` on, and gives up what the transform gave up.
    pub(super) fn send(&mut self, from: usize, partition: i32, now_us: i64) -> Result<(), BusError> {
        let refused = self.out.take_refused();
        if self.out.len() > from || !refused.is_empty() {
            self.begin()?;
            if let Some(lane) = self.lanes.get_mut(&partition) {
                lane.wrote = true;
            }
        }
        for index in from..self.out.len() {
            let Some(record) = self.out.get(index) else { break };
            if let Some(topic) = self.spec.outputs.get(record.slot) {
                self.writer.send(topic, partition, Some(record.key), record.value)?;
            }
        }
        for refused in &refused {
            let letter = Letter::of_refused(self.spec, refused, partition, now_us, self.writer.record_bytes_max());
            self.post(&letter, partition)?;
        }
        Ok(())
    }
}
