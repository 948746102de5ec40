//! Small steps the checks are made of. Errors are text: the suite reports, it does not handle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Make, Options};
use crate::bus::{
    Assign, Batch, Bus, BusError, BusErrorKind, Cleanup, PollLimit, Position, Reader, ReaderSpec, Rebalance,
    TopicPartition, TopicSpec, WriteMode, Writer, WriterSpec,
};

/// Fails the check with text when the condition does not hold.
macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(super) use hold;

/// A record that was read, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) topic: usize,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) log_append_time: bool,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

impl Seen {
    /// The value as text, "-" for null.
    pub(super) fn text(&self) -> String {
        self.value.as_ref().map_or_else(|| "-".into(), |value| String::from_utf8_lossy(value).into_owned())
    }
}

pub(super) fn texts(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::text).collect()
}

#[allow(clippy::needless_pass_by_value)] // used as a function in map_err
pub(super) fn text(error: BusError) -> String {
    format!("{error} ({:?})", error.kind)
}

/// Opens the bus.
pub(super) fn open(make: Make<'_>) -> Result<Arc<dyn Bus>, String> {
    make().map_err(text)
}

/// Opens the bus and makes topics `<prefix>-0`, `<prefix>-1`… with `partitions` each.
pub(super) fn with_topics(
    make: Make<'_>,
    options: &Options,
    topics: usize,
    partitions: i32,
) -> Result<(Arc<dyn Bus>, Vec<String>), String> {
    let bus = open(make)?;
    let names: Vec<String> = (0..topics).map(|index| format!("{}-{index}", options.prefix)).collect();
    let specs: Vec<TopicSpec> = names.iter().map(|name| kept(name, partitions)).collect();
    bus.ensure_topics(&specs).map_err(text)?;
    Ok((bus, names))
}

/// A topic that keeps its records for an hour.
pub(super) fn kept(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, cleanup: Cleanup::Delete { retention_ms: 3_600_000 } }
}

pub(super) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub(super) fn position(topic: &str, partition: i32, next_offset: i64) -> Position {
    Position { topic_partition: at(topic, partition), next_offset }
}

/// A reader of partitions `0..partitions` of each topic from the earliest record on.
pub(super) fn manual(bus: &dyn Bus, topics: &[String], partitions: i32) -> Result<Box<dyn Reader>, String> {
    let mut positions = Vec::new();
    for topic in topics {
        for partition in 0..partitions {
            let (start, _) = bus.bounds(&at(topic, partition)).map_err(text)?;
            positions.push(position(topic, partition, start));
        }
    }
    open_reader(bus, topics, Assign::Manual(positions), "manual")
}

pub(super) fn member(bus: &dyn Bus, topics: &[String], group: &str, instance: &str) -> Result<Box<dyn Reader>, String> {
    open_reader(bus, topics, Assign::Group(group.to_owned()), instance)
}

pub(super) fn open_reader(
    bus: &dyn Bus,
    topics: &[String],
    assign: Assign,
    instance: &str,
) -> Result<Box<dyn Reader>, String> {
    let spec = ReaderSpec { topics: topics.to_vec(), assign, instance: instance.to_owned() };
    bus.reader(&spec).map_err(text)
}

pub(super) fn writer(bus: &dyn Bus, name: &str) -> Result<Box<dyn Writer>, String> {
    let spec = WriterSpec { name: name.to_owned(), mode: WriteMode::Transactional };
    bus.writer(&spec).map_err(text)
}

/// Writes texts to one partition in one transaction.
pub(super) fn write(writer: &mut dyn Writer, topic: &str, partition: i32, values: &[&str]) -> Result<(), String> {
    writer.begin().map_err(text)?;
    send(writer, topic, partition, values)?;
    writer.commit(None).map_err(text)
}

pub(super) fn send(writer: &mut dyn Writer, topic: &str, partition: i32, values: &[&str]) -> Result<(), String> {
    for value in values {
        writer.send(topic, partition, Some(b"k"), Some(value.as_bytes())).map_err(text)?;
    }
    Ok(())
}

pub(super) const LIMIT: PollLimit = PollLimit { records: 10_000, bytes: 64 << 20, wait: Duration::from_millis(100) };

/// One poll, copied out.
pub(super) fn poll(reader: &mut dyn Reader, limit: PollLimit) -> Result<(Rebalance, Vec<Seen>), BusError> {
    let mut batch = Batch::default();
    let change = reader.poll(&mut batch, limit)?;
    let seen = batch
        .iter()
        .map(|record| Seen {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            log_append_time: record.log_append_time,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        })
        .collect();
    Ok((change, seen))
}

/// Polls until `count` records have come, no more and no fewer.
pub(super) fn read(reader: &mut dyn Reader, count: usize, options: &Options) -> Result<Vec<Seen>, String> {
    let until = Instant::now() + options.patience;
    let mut all = Vec::new();
    while all.len() < count {
        let (_, mut seen) = poll(reader, LIMIT).map_err(text)?;
        all.append(&mut seen);
        hold!(Instant::now() < until, "{} of {count} records came in {:?}", all.len(), options.patience);
    }
    hold!(all.len() == count, "{} records came, not {count}: {:?}", all.len(), texts(&all));
    Ok(all)
}

/// Checks that no record comes for a while.
pub(super) fn nothing(reader: &mut dyn Reader, options: &Options) -> Result<(), String> {
    let until = Instant::now() + options.quiet;
    while Instant::now() < until {
        let (_, seen) = poll(reader, LIMIT).map_err(text)?;
        hold!(seen.is_empty(), "records came that must not: {:?}", texts(&seen));
    }
    Ok(())
}

/// Checks that a call failed with one of these kinds.
pub(super) fn refused<T>(result: Result<T, BusError>, kinds: &[BusErrorKind], what: &str) -> Result<(), String> {
    match result {
        Ok(_) => Err(format!("{what} was allowed")),
        Err(error) if kinds.contains(&error.kind) => Ok(()),
        Err(error) => Err(format!("{what}: expected {kinds:?}, got {}", text(error))),
    }
}
