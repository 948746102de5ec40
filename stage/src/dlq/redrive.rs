//! Sends dead letters back to the input they came from, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use schemas::Record as _;
use schemas::framing::Framing;
use schemas::v1::DeadLetter;

use super::{BEGUN, Filed, Letters, REDRIVEN, STAGE, limit, open, read};
use crate::bus::{Batch, Bus, BusError, BusErrorKind, TopicPartition, WriteMode, Writer, WriterSpec};
use crate::runner::is_cut;

/// Transactional name: of two that send letters back at once, the older one is fenced.
const WRITER: &str = "dlq-redrive";
/// Longest wait for our own note.
const PATIENCE: Duration = Duration::from_secs(60);
/// Letters per transaction.
const LETTERS: usize = 100;
/// Bytes per transaction; one letter may pass it.
const BYTES: usize = 4 << 20;

/// What became of one chosen letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is at the end of its input now.
    Redriven,
    /// It went back before; nothing was done.
    Before,
    /// It cannot go back; why, and what to do.
    Refused(String),
}

/// Sends the letters that `chosen` likes back to their inputs, and notes it beside them; `inputs` are the topics that
/// may be written to, `framing` is that of the notes.
///
/// # Errors
/// [`BusError`]; what was sent back so far stays so and is noted. Call again: nothing goes back twice.
pub fn redrive(
    bus: &dyn Bus,
    topic: &str,
    partitions: i32,
    framing: &Framing,
    inputs: &[String],
    chosen: &dyn Fn(&Filed) -> bool,
) -> Result<Vec<(Filed, Outcome)>, BusError> {
    let first = read(bus, topic, partitions)?;
    let wanted: BTreeSet<(i32, i64)> =
        first.filed.iter().filter(|(_, filed)| chosen(filed)).map(|(place, _)| *place).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // older writers of the name are gone from here on, and each of their notes is whole or nothing
    let mut writer = bus.writer(&WriterSpec { name: WRITER.to_owned(), mode: WriteMode::Transactional })?;
    let places: BTreeSet<i32> = wanted.iter().map(|(partition, _)| *partition).collect();
    let mark = uuid::Uuid::new_v4().to_string();
    writer.begin()?;
    for partition in &places {
        let note = note(topic, *partition, -1, BEGUN, &mark);
        send_note(writer.as_mut(), topic, *partition, framing, &note)?;
    }
    writer.commit(None)?;
    let letters = read_to(bus, topic, &places, &mark)?;
    let mut outcomes = Vec::new();
    let (mut open, mut bytes) = (0, 0);
    for (_, filed) in letters.filed.into_iter().filter(|(place, _)| wanted.contains(place)) {
        let outcome = if filed.redriven_ms.is_some() {
            Outcome::Before
        } else {
            match original(bus, &filed, inputs)? {
                Err(reason) => Outcome::Refused(reason),
                Ok(value) => {
                    if open == 0 {
                        writer.begin()?;
                    }
                    let origin = &filed.letter;
                    writer.send(&origin.topic, origin.partition, origin.key.as_deref(), value.as_deref())?;
                    let note = note(topic, filed.partition, filed.offset, REDRIVEN, &mark);
                    send_note(writer.as_mut(), topic, filed.partition, framing, &note)?;
                    open += 1;
                    bytes += value.map_or(0, |value| value.len());
                    Outcome::Redriven
                }
            }
        };
        outcomes.push((filed, outcome));
        if open >= LETTERS || bytes >= BYTES {
            writer.commit(None)?;
            (open, bytes) = (0, 0);
        }
    }
    if open > 0 {
        writer.commit(None)?;
    }
    Ok(outcomes)
}

fn note(topic: &str, partition: i32, offset: i64, code: &str, detail: &str) -> DeadLetter {
    DeadLetter {
        stage: STAGE.to_owned(),
        code: code.to_owned(),
        detail: detail.to_owned(),
        topic: topic.to_owned(),
        partition,
        offset,
        timestamp_ms: crate::clock::now_ms(),
        key: None,
        value: None,
    }
}

fn send_note(
    writer: &mut dyn Writer,
    topic: &str,
    partition: i32,
    framing: &Framing,
    note: &DeadLetter,
) -> Result<(), BusError> {
    let mut value = Vec::new();
    framing.prefix(&mut value);
    note.encode(&mut value);
    writer.send(topic, partition, Some(format!("{topic}-{partition}").as_bytes()), Some(&value))
}

/// Reads partitions up to our own note, and so past every note of those that were here before.
fn read_to(bus: &dyn Bus, topic: &str, places: &BTreeSet<i32>, mark: &str) -> Result<Letters, BusError> {
    let mut letters = Letters::default();
    let (mut reader, _) = open(bus, topic, places.iter().copied())?;
    let (mut batch, mut heard) = (Batch::default(), Instant::now());
    while !places.iter().all(|place| letters.begun.get(place).is_some_and(|found| found == mark)) {
        reader.poll(&mut batch, limit())?;
        for record in batch.iter() {
            letters.take(topic, record.partition, record.offset, record.timestamp_ms, record.value);
            heard = Instant::now();
        }
        if heard.elapsed() > PATIENCE {
            let reason = "the note written just now does not come back; another writer may hold a transaction open";
            return Err(BusError::new(BusErrorKind::Retriable, format!("read {topic}"), reason));
        }
    }
    Ok(letters)
}

/// The bytes as the stage got them; or why there are none.
fn original(bus: &dyn Bus, filed: &Filed, inputs: &[String]) -> Result<Result<Option<Vec<u8>>, String>, BusError> {
    let letter = &filed.letter;
    if letter.offset < 0 {
        return Ok(Err("it was made inside a stage and never was an input; redrive the inputs it was made of".into()));
    }
    if !inputs.contains(&letter.topic) {
        return Ok(Err(format!("`{}` is the input of no stage here", letter.topic)));
    }
    if !is_cut(letter) {
        return Ok(Ok(letter.value.clone()));
    }
    let kept = letter.value.as_deref().unwrap_or_default();
    Ok(match at_origin(bus, letter)? {
        Some(value) if value.starts_with(kept) => Ok(Some(value)),
        Some(_) => Err("its origin holds another record now; the topic was made anew".into()),
        None => Err("only its beginning was kept, and its origin is gone".into()),
    })
}

/// The record at the letter's origin, if that topic still has it.
fn at_origin(bus: &dyn Bus, letter: &DeadLetter) -> Result<Option<Vec<u8>>, BusError> {
    use crate::bus::{Assign, Position, ReaderSpec};
    let topic_partition = TopicPartition { topic: letter.topic.clone(), partition: letter.partition };
    let (start, end) = bus.bounds(&topic_partition)?;
    if letter.offset < start || letter.offset >= end {
        return Ok(None);
    }
    let assign = Assign::Manual(vec![Position { topic_partition, next_offset: letter.offset }]);
    let spec = ReaderSpec { topics: vec![letter.topic.clone()], assign, instance: "dlq-origin".to_owned() };
    let (mut reader, mut batch, until) = (bus.reader(&spec)?, Batch::default(), Instant::now() + PATIENCE);
    while Instant::now() < until {
        reader.poll(&mut batch, limit())?;
        if let Some(record) = batch.get(0) {
            return Ok(record.value.filter(|_| record.offset == letter.offset).map(<[u8]>::to_vec));
        }
    }
    Ok(None)
}

/// Counts letters per outcome, for whoever reports.
#[must_use]
pub fn tally(outcomes: &[(Filed, Outcome)]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::from([("redriven", 0), ("before", 0), ("refused", 0)]);
    for (_, outcome) in outcomes {
        let name = match outcome {
            Outcome::Redriven => "redriven",
            Outcome::Before => "before",
            Outcome::Refused(_) => "refused",
        };
        *tally.entry(name).or_default() += 1;
    }
    tally
}
