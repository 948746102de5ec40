//! The dead letters as an operator meets them: read, sent back in, and watched for their age (P23).
//!
//! Sending back writes the original bytes to the input they came from and a note beside the letter in one transaction,
//! so a letter goes back once or not at all, whatever crashes (I-04). Notes are dead letters too, of stage [`STAGE`]:
//! the topic keeps one schema, and what was done stays as long as the letter.

mod redrive;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::framing::split;
use schemas::{Record as _, v1::DeadLetter};

pub use self::redrive::{Outcome, redrive, tally};
pub use self::watch::watch;
use crate::bus::{Assign, Batch, Bus, BusError, PollLimit, Position, Reader, ReaderSpec, TopicPartition};

/// Stage of a note.
pub const STAGE: &str = "dlq";
/// Code of the note that a letter went back to its input; names the letter by topic, partition and offset.
pub const REDRIVEN: &str = "redriven";
/// Code of the note that somebody began to send letters back; how far a reader must read to know all earlier notes.
pub const BEGUN: &str = "redrive-begun";
/// Most letters held in memory; more are counted only.
pub const LETTERS_MAX: usize = 100_000;
/// Most bytes of letters held in memory.
const BYTES_MAX: usize = 512 << 20;
/// Polls without a record after which the end is believed to be reached: the last offsets may be holes.
const SILENT_POLLS: u32 = 30;

/// One dead letter and its place in the topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Filed {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// When it was written, milliseconds since epoch.
    pub at_ms: i64,
    /// The letter.
    pub letter: DeadLetter,
    /// When it went back to its input, milliseconds since epoch.
    pub redriven_ms: Option<i64>,
}

/// What a topic of dead letters holds.
#[derive(Debug, Default)]
pub struct Letters {
    /// By partition and offset.
    pub filed: BTreeMap<(i32, i64), Filed>,
    /// Records that are no dead letters.
    pub unreadable: u64,
    /// Letters beyond what is held in memory.
    pub more: u64,
    bytes: usize,
    /// Newest note of a beginning, by partition.
    begun: BTreeMap<i32, String>,
}

impl Letters {
    /// Takes one record of the topic.
    fn take(&mut self, topic: &str, partition: i32, offset: i64, at_ms: i64, value: Option<&[u8]>) {
        let body = value.and_then(|value| split(value).ok()).map(|(_, body)| body);
        let Some(letter) = body.and_then(|body| DeadLetter::from_body(body).ok()) else {
            self.unreadable += 1;
            return;
        };
        if letter.stage == STAGE {
            if letter.topic == topic && letter.code == REDRIVEN {
                if let Some(filed) = self.filed.get_mut(&(letter.partition, letter.offset)) {
                    filed.redriven_ms.get_or_insert(at_ms);
                }
            } else if letter.code == BEGUN {
                self.begun.insert(partition, letter.detail);
            }
            return;
        }
        self.bytes += value.map_or(0, <[u8]>::len);
        if self.filed.len() >= LETTERS_MAX || self.bytes > BYTES_MAX {
            self.more += 1;
            return;
        }
        self.filed.insert((partition, offset), Filed { partition, offset, at_ms, letter, redriven_ms: None });
    }
}

/// Reads all dead letters that are there now.
///
/// # Errors
/// [`BusError`].
pub fn read(bus: &dyn Bus, topic: &str, partitions: i32) -> Result<Letters, BusError> {
    let mut letters = Letters::default();
    let (mut reader, mut ends) = open(bus, topic, 0..partitions)?;
    let (mut batch, mut silent) = (Batch::default(), 0);
    while !ends.is_empty() && silent < SILENT_POLLS {
        reader.poll(&mut batch, limit())?;
        silent = if batch.is_empty() { silent + 1 } else { 0 };
        for record in batch.iter() {
            letters.take(topic, record.partition, record.offset, record.timestamp_ms, record.value);
            if ends.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                ends.remove(&record.partition);
            }
        }
    }
    Ok(letters)
}

fn limit() -> PollLimit {
    PollLimit { records: 1_000, bytes: 8 << 20, wait: Duration::from_millis(100) }
}

/// Ends of partitions.
type Ends = BTreeMap<i32, i64>;

/// A reader of partitions from their beginning, and the ends of those that hold anything.
fn open(
    bus: &dyn Bus,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
) -> Result<(Box<dyn Reader>, Ends), BusError> {
    let (mut positions, mut ends) = (Vec::new(), BTreeMap::new());
    for partition in partitions {
        let topic_partition = TopicPartition { topic: topic.to_owned(), partition };
        let (next_offset, end) = bus.bounds(&topic_partition)?;
        positions.push(Position { topic_partition, next_offset });
        if next_offset < end {
            ends.insert(partition, end);
        }
    }
    let assign = Assign::Manual(positions);
    let reader =
        bus.reader(&ReaderSpec { topics: vec![topic.to_owned()], assign, instance: "dlq-reader".to_owned() })?;
    Ok((reader, ends))
}
