//! One partition's transform, what it knows, and how far it has come.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::letter::Letter;
use super::replay::{MARKER, read_table, restore};
use super::{Host, Mistake, Runner};
use crate::bus::{Assign, Batch, BusError, PollLimit, Position, Reader, ReaderSpec, TopicPartition};
use crate::transform::{Factory, Transform};

/// Polls of a table topic per transaction; the rest is read in the next one.
const TABLE_POLLS_MAX: usize = 64;

/// A partition while it is held.
pub(super) struct Lane<T> {
    pub(super) transform: T,
    pub(super) table: Option<Box<dyn Reader>>,
    pub(super) waiting: Option<Waiting>,
    /// Offset after the last input taken since the partition came.
    pub(super) next: Option<i64>,
    /// The committed position.
    pub(super) committed: i64,
    /// True when the transaction in hand has a record of this partition.
    pub(super) wrote: bool,
    /// The transform's counters as shown last.
    pub(super) shown: BTreeMap<&'static str, u64>,
    /// Letters of refused inputs, in order, until the committed position passes them.
    letters: VecDeque<Letter>,
    /// Bytes of the letters.
    pub(super) letter_bytes: usize,
}

/// A record that waits for the table.
pub(super) struct Waiting {
    pub(super) since: Duration,
    pub(super) offset: i64,
}

impl<T: Transform> Lane<T> {
    /// Where the committed position may go: past all that is fully written out, never back.
    fn reach(&self) -> i64 {
        let next = self.next.unwrap_or(self.committed);
        self.transform.held_from().map_or(next, |held| held.min(next)).max(self.committed)
    }

    /// The position that the transaction in hand commits. A transaction that writes without moving commits the old
    /// position again: only a position makes the bus ask whether this instance still holds the partition.
    pub(super) fn due(&self, host: &Host<'_>) -> Option<i64> {
        let reach = if host.makes(Mistake::PastHeld) { self.next.unwrap_or(self.committed) } else { self.reach() };
        let fence = self.wrote && !host.makes(Mistake::NoFence);
        (reach > self.committed || fence).then_some(reach)
    }

    /// Keeps a letter until its input is passed.
    pub(super) fn keep(&mut self, letter: Letter) {
        self.letter_bytes += letter.value.len();
        self.letters.push_back(letter);
    }

    /// The next letter whose input is passed now: before that, a restart would read the input again and write it twice.
    pub(super) fn take_letter(&mut self, host: &Host<'_>) -> Option<Letter> {
        let reach = self.reach();
        let ripe = self.letters.front().is_some_and(|letter| letter.offset < reach);
        let letter = self.letters.pop_front_if(|_| ripe || host.makes(Mistake::LetterEarly))?;
        self.letter_bytes -= letter.value.len();
        Some(letter)
    }
}

impl<F: Factory> Runner<'_, F> {
    fn state_topic(&self) -> Option<&str> {
        self.spec.state_slot.and_then(|slot| self.spec.outputs.get(slot)).map(String::as_str)
    }

    /// Writes one marker to the state topic of each partition, and gives its value.
    ///
    /// Offsets cannot say where a topic ends: control records and aborted records leave holes, and another writer's
    /// transaction may still be open. Whoever reads committed records up to its own marker has seen all before it.
    pub(super) fn mark(&mut self, partitions: &[i32]) -> Result<Vec<u8>, BusError> {
        let marker = uuid::Uuid::new_v4().to_string().into_bytes();
        let Some(topic) = self.state_topic().map(str::to_owned) else { return Ok(marker) };
        let key = format!("{MARKER}{}", self.spec.instance);
        self.writer.begin()?;
        for partition in partitions {
            self.writer.send(&topic, *partition, Some(key.as_bytes()), Some(&marker))?;
        }
        self.writer.commit(None)?;
        Ok(marker)
    }

    pub(super) fn make_lane(
        &self,
        partition: i32,
        committed: i64,
        marker: &[u8],
    ) -> Result<Lane<F::Transform>, BusError> {
        let mut transform = self.factory.make(partition);
        if let Some(topic) = self.state_topic().filter(|_| !self.host.makes(Mistake::NoRestore)) {
            let mut reader = self.manual(topic, partition)?;
            restore(reader.as_mut(), topic, partition, marker, &mut transform, self.host.clock)?;
        }
        let mut table = None;
        if let Some(topic) = &self.spec.table {
            let mut reader = self.manual(topic, partition)?;
            let (start, end) = self.bus.bounds(&TopicPartition { topic: topic.clone(), partition })?;
            if start < end {
                read_table(reader.as_mut(), end, &mut transform, self.host.clock)?;
            }
            table = Some(reader);
        }
        Ok(Lane {
            transform,
            table,
            waiting: None,
            next: None,
            committed,
            wrote: false,
            shown: BTreeMap::new(),
            letters: VecDeque::new(),
            letter_bytes: 0,
        })
    }

    fn manual(&self, topic: &str, partition: i32) -> Result<Box<dyn Reader>, BusError> {
        let topic_partition = TopicPartition { topic: topic.to_owned(), partition };
        let (next_offset, _) = self.bus.bounds(&topic_partition)?;
        self.bus.reader(&ReaderSpec {
            topics: vec![topic.to_owned()],
            assign: Assign::Manual(vec![Position { topic_partition, next_offset }]),
            instance: format!("{}-{topic}-{partition}", self.spec.instance),
        })
    }

    pub(super) fn read_tables(&mut self) -> Result<(), BusError> {
        let limit = PollLimit { records: 10_000, bytes: 8 << 20, wait: Duration::ZERO };
        let mut batch = Batch::default();
        for lane in self.lanes.values_mut() {
            let Some(table) = lane.table.as_mut() else { continue };
            for _ in 0..TABLE_POLLS_MAX {
                table.poll(&mut batch, limit)?;
                batch.iter().for_each(|record| lane.transform.table(record.key.unwrap_or_default(), record.value));
                if batch.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }
}
