//! Readers on Kafka: one consumer, polled by the thread that owns the reader.
//!
//! Assignments are taken in the callback, with explicit start positions: the committed one, else the
//! earliest. A committed position that no longer exists is an error, never a jump (I-02).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaConfig;
use super::client::{Role, Trouble, fail, kind_of, kind_of_code, log, settings};
use super::watchdog::{LOOK, STALL, Watched};
use crate::bus::{
    Assign, Batch, BusError, BusErrorKind, Membership, PollLimit, Position, Reader, ReaderSpec, Rebalance, RecordRef,
    TopicPartition,
};

/// Longest single wait inside a poll, so that a new assignment is told soon.
const SLICE: Duration = Duration::from_millis(50);
/// How often a start position is asked for before the assignment is given up.
const TRIES: u32 = 4;

enum Change {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Failed(BusErrorKind, String),
}

/// Callbacks of a reader's consumer; run inside its poll.
pub(super) struct Callbacks {
    timeout: Duration,
    changes: Mutex<Vec<Change>>,
    trouble: Trouble,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        log(level, fac, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.note(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let list = named(partitions);
        let change = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                match starts(consumer, &list, self.timeout).and_then(|starts| consumer.assign(&starts)) {
                    Ok(()) => Change::Assigned(list),
                    Err(error) => {
                        // The group believes these are ours: the reader must not go on.
                        self.give_back(consumer);
                        let kind = match kind_of(&error) {
                            // a transaction of the last owner may still be open: it ends, or times out
                            BusErrorKind::Retriable | BusErrorKind::Abort => BusErrorKind::Retriable,
                            _ if error.rdkafka_error_code() == Some(Code::UnstableOffsetCommit) => {
                                BusErrorKind::Retriable
                            }
                            kind => kind,
                        };
                        Change::Failed(kind, format!("take over partitions: {error}"))
                    }
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.give_back(consumer);
                Change::Revoked(list)
            }
            other => {
                self.give_back(consumer);
                let code = Code::from(other);
                Change::Failed(kind_of_code(code), format!("rebalance: {code}"))
            }
        };
        self.changes.lock().push(change);
    }
}

impl Callbacks {
    fn give_back(&self, consumer: &BaseConsumer<Self>) {
        if let Err(error) = consumer.unassign() {
            self.changes.lock().push(Change::Failed(BusErrorKind::Fatal, format!("give back partitions: {error}")));
        }
    }
}

fn named(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .map(|element| TopicPartition { topic: element.topic().to_owned(), partition: element.partition() })
        .collect()
}

/// The committed position of each partition, else the beginning.
fn starts<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> KafkaResult<TopicPartitionList> {
    let mut starts = TopicPartitionList::new();
    for element in committed(consumer, partitions, timeout)?.elements() {
        let offset = match element.offset() {
            Offset::Offset(next) => Offset::Offset(next),
            _ => Offset::Beginning,
        };
        starts.add_partition_offset(element.topic(), element.partition(), offset)?;
    }
    Ok(starts)
}

/// What the group has committed; tried again while the coordinator moves or a commit is under way.
fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> KafkaResult<TopicPartitionList> {
    let mut tries = 0;
    loop {
        let mut list = TopicPartitionList::new();
        for at in partitions {
            list.add_partition(&at.topic, at.partition);
        }
        let result = consumer.committed_offsets(list, timeout / TRIES).and_then(|list| {
            for element in list.elements() {
                element.error()?;
            }
            Ok(list)
        });
        tries += 1;
        match result {
            Err(_) if tries < TRIES => std::thread::sleep(Duration::from_millis(100)),
            other => return other,
        }
    }
}

/// A reader's view of one held partition.
#[derive(Debug, Default)]
struct Held {
    /// Next offset to give to the caller, once known.
    next: Option<i64>,
    paused: bool,
    watched: Watched,
}

/// A reader.
pub(super) struct KafkaReader {
    pub(super) consumer: BaseConsumer<Callbacks>,
    topics: Vec<String>,
    group: Option<String>,
    instance: String,
    /// By index into `topics` and partition: looked up for every record, so without a name.
    held: HashMap<(usize, i32), Held>,
    timeout: Duration,
    /// When the watchdog looked last, and at how many partitions so far.
    looked: (Instant, usize),
    pub(super) stall: Duration,
}

/// A group member's proof, as [`Membership::token`].
pub(super) struct Token(pub(super) ConsumerGroupMetadata);

impl KafkaReader {
    pub(super) fn open(config: &KafkaConfig, spec: &ReaderSpec) -> Result<Self, BusError> {
        let operation = format!("open reader {}", spec.instance);
        let callbacks = Callbacks { timeout: config.timeout, changes: Mutex::default(), trouble: Trouble::default() };
        let mut settings = settings(config, Role::Consumer);
        let group = match &spec.assign {
            Assign::Group(group) => {
                settings.set("group.id", group).set("group.instance.id", &spec.instance);
                Some(group.clone())
            }
            Assign::Manual(_) => {
                // The client library wants a group name for any assignment; nothing is ever committed in it.
                settings.set("group.id", format!("{}-manual", spec.instance));
                None
            }
        };
        let consumer: BaseConsumer<Callbacks> =
            settings.create_with_context(callbacks).map_err(|error| fail(&operation, &error))?;
        let mut reader = Self {
            consumer,
            topics: spec.topics.clone(),
            group,
            instance: spec.instance.clone(),
            held: HashMap::new(),
            timeout: config.timeout,
            looked: (Instant::now(), 0),
            stall: STALL,
        };
        match &spec.assign {
            Assign::Group(_) => {
                let topics: Vec<&str> = spec.topics.iter().map(String::as_str).collect();
                reader.consumer.subscribe(&topics).map_err(|error| fail(&operation, &error))?;
            }
            Assign::Manual(positions) => reader.assign(&operation, positions)?,
        }
        Ok(reader)
    }

    fn assign(&mut self, operation: &str, positions: &[Position]) -> Result<(), BusError> {
        let mut list = TopicPartitionList::new();
        for position in positions {
            let at = &position.topic_partition;
            list.add_partition_offset(&at.topic, at.partition, Offset::Offset(position.next_offset))
                .map_err(|error| fail(operation, &error))?;
            let slot = self.slot(at).ok_or_else(|| {
                BusError::new(
                    BusErrorKind::Missing,
                    operation,
                    format!("topic {} is not in the reader's list", at.topic),
                )
            })?;
            self.held.insert(slot, Held { next: Some(position.next_offset), ..Held::default() });
        }
        self.consumer.assign(&list).map_err(|error| fail(operation, &error))
    }

    fn operation(&self, what: &str) -> String {
        match &self.group {
            Some(group) => format!("{what} as {} of group {group}", self.instance),
            None => format!("{what} as {}", self.instance),
        }
    }

    /// Takes what the callbacks left into `rebalance`; true when something changed.
    fn take_changes(&mut self, rebalance: &mut Rebalance) -> Result<bool, BusError> {
        let changes = std::mem::take(&mut *self.consumer.context().changes.lock());
        let changed = !changes.is_empty();
        for change in changes {
            match change {
                Change::Assigned(list) => {
                    for at in list {
                        if let Some(slot) = self.slot(&at) {
                            self.held.insert(slot, Held::default());
                        }
                        rebalance.assigned.push(at);
                    }
                }
                Change::Revoked(list) => {
                    for at in list {
                        if let Some(slot) = self.slot(&at) {
                            self.held.remove(&slot);
                        }
                        // Given and taken in one poll: the caller need not hear of it.
                        match rebalance.assigned.iter().position(|given| *given == at) {
                            Some(index) => drop(rebalance.assigned.swap_remove(index)),
                            None => rebalance.revoked.push(at),
                        }
                    }
                }
                Change::Failed(kind, reason) => {
                    let reason = self.consumer.context().trouble.explain(reason);
                    return Err(BusError::new(kind, self.operation("read"), reason));
                }
            }
        }
        Ok(changed)
    }

    fn poll_error(&self, error: &KafkaError) -> Option<BusError> {
        let kind = match error {
            KafkaError::PartitionEOF(_) => return None,
            KafkaError::MessageConsumption(code) => match kind_of_code(*code) {
                // The client goes on by itself; a lasting trouble shows as lag.
                BusErrorKind::Retriable | BusErrorKind::Abort => return None,
                kind => kind,
            },
            KafkaError::MessageConsumptionFatal(code) => match kind_of_code(*code) {
                BusErrorKind::Fenced => BusErrorKind::Fenced,
                _ => BusErrorKind::Fatal,
            },
            _ => BusErrorKind::Fatal,
        };
        Some(BusError::new(kind, self.operation("read"), self.consumer.context().trouble.explain(error)))
    }

    fn slot(&self, at: &TopicPartition) -> Option<(usize, i32)> {
        self.topics.iter().position(|topic| *topic == at.topic).map(|index| (index, at.partition))
    }

    fn held(&mut self, what: &str, at: &TopicPartition) -> Result<&mut Held, BusError> {
        let operation = self.operation(&format!("{what} {} partition {}", at.topic, at.partition));
        self.slot(at).and_then(|slot| self.held.get_mut(&slot)).ok_or_else(|| {
            BusError::new(BusErrorKind::Missing, operation, "the partition is not assigned to this reader")
        })
    }

    /// Looks at one partition now and then; an error when it has been silent for too long although it grows.
    fn watch(&mut self) -> Result<(), BusError> {
        let (last, turn) = self.looked;
        if last.elapsed() < LOOK.min(self.stall / 4) || self.held.is_empty() {
            return Ok(());
        }
        self.looked = (Instant::now(), turn.wrapping_add(1));
        let mut slots: Vec<(usize, i32)> = self.held.keys().copied().collect();
        slots.sort_unstable();
        let Some(slot) = slots.get(turn % slots.len()).copied() else { return Ok(()) };
        let (Some(topic), Some(held)) = (self.topics.get(slot.0), self.held.get_mut(&slot)) else { return Ok(()) };
        if held.paused {
            held.watched.rest();
            return Ok(());
        }
        // a cluster that does not answer is another trouble, and shows elsewhere
        let Ok((_, end)) = self.consumer.fetch_watermarks(topic, slot.1, LOOK) else { return Ok(()) };
        let Some(silent) = held.watched.look(end, Instant::now(), self.stall) else { return Ok(()) };
        let (operation, next) = (format!("read {topic} partition {}", slot.1), held.next.unwrap_or(-1));
        let seconds = silent.as_secs();
        let reason = format!("nothing has come for {seconds} s at offset {next}, although the topic goes on to {end}");
        Err(BusError::new(BusErrorKind::Fatal, self.operation(&operation), reason))
    }

    /// Seeks, waiting while the client is still fetching the start position of a fresh assignment.
    fn seek_to(&self, at: &TopicPartition, next: i64) -> Result<(), BusError> {
        let until = Instant::now() + self.timeout;
        loop {
            match self.consumer.seek(&at.topic, at.partition, Offset::Offset(next), self.timeout) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    let operation = self.operation(&format!("seek {} partition {}", at.topic, at.partition));
                    return Err(BusError::new(BusErrorKind::Fatal, operation, error));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Copies a message of a held partition into the batch.
fn take(topics: &[String], held: &mut HashMap<(usize, i32), Held>, batch: &mut Batch, message: &BorrowedMessage<'_>) {
    let name = message.topic();
    let Some(topic) = topics.iter().position(|topic| topic == name) else { return };
    let Some(held) = held.get_mut(&(topic, message.partition())) else { return };
    let (timestamp_ms, log_append_time) = match message.timestamp() {
        Timestamp::LogAppendTime(ms) => (ms, true),
        Timestamp::CreateTime(ms) => (ms, false),
        Timestamp::NotAvailable => (0, false),
    };
    batch.push(RecordRef {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms,
        log_append_time,
        key: message.key(),
        value: message.payload(),
    });
    held.next = Some(message.offset() + 1);
    held.watched.record(message.offset() + 1);
}

impl Reader for KafkaReader {
    fn poll(&mut self, batch: &mut Batch, limit: PollLimit) -> Result<Rebalance, BusError> {
        batch.clear();
        self.watch()?;
        let mut rebalance = Rebalance::default();
        let until = Instant::now() + limit.wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait = if batch.is_empty() { left.min(SLICE) } else { Duration::ZERO };
            let polled = self.consumer.poll(wait);
            let changed = !self.consumer.context().changes.lock().is_empty();
            if changed {
                // Owned copies would outlive the assignment they were read under: the new owner reads them.
                batch.clear();
            }
            let nothing = polled.is_none();
            if let Some(Err(KafkaError::PartitionEOF(partition))) = &polled {
                self.held
                    .iter_mut()
                    .filter(|((_, at), _)| at == partition)
                    .for_each(|(_, held)| held.watched.reached());
            }
            let failed = match polled {
                Some(Ok(message)) if !changed => {
                    take(&self.topics, &mut self.held, batch, &message);
                    None
                }
                Some(Ok(message)) => {
                    // First take over the assignment, then read this one again.
                    let at = TopicPartition { topic: message.topic().to_owned(), partition: message.partition() };
                    let offset = message.offset();
                    drop(message);
                    self.take_changes(&mut rebalance)?;
                    if self.slot(&at).is_some_and(|slot| self.held.contains_key(&slot)) {
                        self.seek_to(&at, offset)?;
                    }
                    None
                }
                Some(Err(error)) => self.poll_error(&error),
                None => None,
            };
            self.take_changes(&mut rebalance)?;
            if let Some(failed) = failed {
                return Err(failed);
            }
            let full = batch.len() >= limit.records.max(1) || batch.bytes() >= limit.bytes;
            let told = !rebalance.assigned.is_empty() || !rebalance.revoked.is_empty();
            if full || (nothing && (!batch.is_empty() || told || Instant::now() >= until)) {
                return Ok(rebalance);
            }
        }
    }

    fn seek(&mut self, position: &Position) -> Result<(), BusError> {
        let at = &position.topic_partition;
        self.held("seek", at)?;
        self.seek_to(at, position.next_offset)?;
        self.held("seek", at)?.next = Some(position.next_offset);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.held("pause", partition)?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&partition.topic, partition.partition);
        let result = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        result.map_err(|error| {
            let what = format!("pause {} partition {}", partition.topic, partition.partition);
            BusError::new(BusErrorKind::Fatal, self.operation(&what), error)
        })?;
        let held = self.held("pause", partition)?;
        let resumed = std::mem::replace(&mut held.paused, paused) && !paused;
        // The client resumes where it stopped; a seek made during the pause must win.
        match held.next {
            Some(next) if resumed => self.seek_to(partition, next),
            _ => Ok(()),
        }
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.held
            .keys()
            .filter_map(|(topic, partition)| {
                Some(TopicPartition { topic: self.topics.get(*topic)?.clone(), partition: *partition })
            })
            .collect()
    }

    fn committed(&mut self) -> Result<Vec<Position>, BusError> {
        let operation = self.operation("read committed positions");
        if self.group.is_none() {
            return Err(BusError::new(BusErrorKind::Fatal, operation, "the reader has no group"));
        }
        let partitions = self.assignment();
        let list = committed(&self.consumer, &partitions, self.timeout).map_err(|error| fail(&operation, &error))?;
        let mut positions = Vec::with_capacity(partitions.len());
        for element in list.elements() {
            let topic_partition = TopicPartition { topic: element.topic().to_owned(), partition: element.partition() };
            let next_offset = match element.offset() {
                Offset::Offset(next) => next,
                _ => {
                    let bounds = self.consumer.fetch_watermarks(element.topic(), element.partition(), self.timeout);
                    bounds.map_err(|error| fail(&operation, &error))?.0
                }
            };
            positions.push(Position { topic_partition, next_offset });
        }
        Ok(positions)
    }

    fn membership(&self) -> Result<Membership, BusError> {
        let operation = self.operation("prove group membership");
        let Some(group) = &self.group else {
            return Err(BusError::new(BusErrorKind::Fatal, operation, "the reader has no group"));
        };
        let metadata = self
            .consumer
            .group_metadata()
            .ok_or_else(|| BusError::new(BusErrorKind::Fatal, operation, "the client has no group metadata"))?;
        Ok(Membership { group: group.clone(), token: Box::new(Token(metadata)) })
    }
}
