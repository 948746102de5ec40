//! The simulated bus as the runner sees it: every call gives the turn away and may fail.

use std::collections::BTreeMap;

use parking_lot::MutexGuard;

use super::broker::PARTITIONS;
use super::check;
use super::turns::{Turns, World};
use crate::bus::{
    Assign, Batch, Bus, BusError, BusErrorKind, Membership, PollLimit, Position, Reader, ReaderSpec, Rebalance,
    RecordRef, TopicInfo, TopicPartition, TopicSpec, Writer, WriterSpec,
};

/// Largest record a writer takes.
pub(super) const RECORD_BYTES: usize = 70_000;
/// One call in so many fails while there are faults.
const FAULT_IN: u64 = 60;

fn error(kind: BusErrorKind, operation: &str, reason: impl ToString) -> BusError {
    BusError::new(kind, operation, reason)
}

/// The bus as one task sees it.
#[derive(Clone)]
pub(super) struct SimBus {
    pub(super) turns: Turns,
    pub(super) task: usize,
}

impl SimBus {
    /// Gives the turn away for the time a call takes.
    fn turn(&self, operation: &str) -> Result<MutexGuard<'_, World>, BusError> {
        let us = {
            let mut world = self.turns.look();
            if world.rng.once_in(100) { 200_000 + world.rng.below(3_000_000) } else { 50 + world.rng.below(2_000) }
        };
        self.turn_for(operation, us)
    }

    fn turn_for(&self, operation: &str, us: u64) -> Result<MutexGuard<'_, World>, BusError> {
        let dead = |_| error(BusErrorKind::Fatal, operation, "this process is dead");
        let mut world = self.turns.pass(self.task, us).map_err(dead)?;
        let (now, task) = (world.now, self.task as u64);
        world.broker.expire(now);
        world.note(now ^ (task << 48) ^ operation.len() as u64);
        world.tell(self.task, || operation.to_owned());
        Ok(world)
    }

    /// Fails now and then, in each way there is.
    fn maybe_fail(world: &mut World, operation: &str) -> Result<(), BusError> {
        if !world.faults || !world.rng.once_in(FAULT_IN) {
            return Ok(());
        }
        let kind = match world.rng.below(10) {
            0..=2 => BusErrorKind::Retriable,
            3..=5 => BusErrorKind::Abort,
            6 => BusErrorKind::Full,
            7 => BusErrorKind::Fenced,
            _ => BusErrorKind::Fatal,
        };
        Err(error(kind, operation, "a fault of the story"))
    }

    fn call(&self, operation: &str) -> Result<MutexGuard<'_, World>, BusError> {
        let mut world = self.turn(operation)?;
        Self::maybe_fail(&mut world, operation)?;
        Ok(world)
    }
}

impl Bus for SimBus {
    fn ensure_topics(&self, _topics: &[TopicSpec]) -> Result<(), BusError> {
        Ok(())
    }
    fn describe(&self, _topic: &str) -> Result<TopicInfo, BusError> {
        Ok(TopicInfo { cluster_id: "sim".into(), topic_id: "sim".into(), partitions: PARTITIONS })
    }
    fn bounds(&self, at: &TopicPartition) -> Result<(i64, i64), BusError> {
        Ok((0, self.call("bounds")?.broker.end(&at.topic, at.partition)))
    }
    fn reader(&self, spec: &ReaderSpec) -> Result<Box<dyn Reader>, BusError> {
        let mut world = self.call("open reader")?;
        let (mut held, mut member) = (BTreeMap::new(), None);
        match &spec.assign {
            Assign::Group(_) => {
                let now = world.now;
                member = Some(world.broker.join(&spec.instance, now));
            }
            Assign::Manual(positions) => {
                held.extend(positions.iter().map(|place| (place.topic_partition.partition, place.next_offset)));
            }
        }
        Ok(Box::new(SimReader { bus: self.clone(), topic: spec.topics.concat(), member, held }))
    }
    fn writer(&self, spec: &WriterSpec) -> Result<Box<dyn Writer>, BusError> {
        let mut world = self.call("open writer")?;
        let epoch = world.broker.init(&spec.name);
        Ok(Box::new(SimWriter { bus: self.clone(), name: spec.name.clone(), epoch, open: false }))
    }
}

struct SimReader {
    bus: SimBus,
    topic: String,
    member: Option<u64>,
    held: BTreeMap<i32, i64>,
}

impl SimReader {
    fn place(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition }
    }

    fn collect(&mut self, world: &mut World, batch: &mut Batch, limit: PollLimit) {
        let first = world.rng.below(PARTITIONS as u64) as i32;
        let max = 1 + world.rng.below(limit.records.max(1) as u64) as usize;
        for step in 0..PARTITIONS {
            let partition = (first + step) % PARTITIONS;
            let Some(next) = self.held.get_mut(&partition) else { continue };
            let left = max.saturating_sub(batch.len());
            if left == 0 {
                break;
            }
            let (found, end) = world.broker.read(&self.topic, partition, *next, left);
            for (offset, entry) in found {
                let (key, value) = (Some(entry.key.as_slice()), entry.value.as_deref());
                let timestamp_ms = offset;
                batch.push(RecordRef { topic: 0, partition, offset, timestamp_ms, log_append_time: true, key, value });
            }
            *next = end;
        }
    }

    /// Takes over a new assignment and what can be read; true when there is something to tell.
    fn look(
        &mut self,
        world: &mut World,
        batch: &mut Batch,
        limit: PollLimit,
        change: &mut Rebalance,
    ) -> Option<BusError> {
        if let Some(member) = self.member {
            let now = world.now;
            world.broker.alive(member, now);
            let news = match world.broker.news(member) {
                Ok(news) => news,
                Err((kind, reason)) => return Some(error(kind, "poll", reason)),
            };
            for partition in news.revoked {
                self.held.remove(&partition);
                change.revoked.push(self.place(partition));
            }
            for (partition, next) in news.assigned {
                self.held.insert(partition, next);
                change.assigned.push(self.place(partition));
            }
        }
        self.collect(world, batch, limit);
        None
    }
}

impl Reader for SimReader {
    fn poll(&mut self, batch: &mut Batch, limit: PollLimit) -> Result<Rebalance, BusError> {
        batch.clear();
        let mut change = Rebalance::default();
        let bus = self.bus.clone();
        {
            // looking at a table that has nothing new costs no turn
            let world = bus.turns.look();
            let mut ends = self.held.iter().map(|(partition, next)| (world.broker.end(&self.topic, *partition), *next));
            if self.member.is_none() && limit.wait.is_zero() && ends.all(|(end, next)| end <= next) {
                return Ok(change);
            }
        }
        let mut world = bus.call("poll")?;
        if let Some(failed) = self.look(&mut world, batch, limit, &mut change) {
            return Err(failed);
        }
        let told = !change.revoked.is_empty() || !change.assigned.is_empty() || !batch.is_empty();
        drop(world);
        if !told && !limit.wait.is_zero() {
            let mut world = bus.turn_for("poll", limit.wait.as_micros() as u64)?;
            if let Some(failed) = self.look(&mut world, batch, limit, &mut change) {
                return Err(failed);
            }
        }
        Ok(change)
    }
    fn seek(&mut self, position: &Position) -> Result<(), BusError> {
        drop(self.bus.call("seek")?);
        match self.held.get_mut(&position.topic_partition.partition) {
            Some(next) => *next = position.next_offset,
            None => return Err(error(BusErrorKind::Missing, "seek", "not assigned")),
        }
        Ok(())
    }
    fn pause(&mut self, _partition: &TopicPartition, _paused: bool) -> Result<(), BusError> {
        Ok(())
    }
    fn assignment(&self) -> Vec<TopicPartition> {
        self.held.keys().map(|partition| self.place(*partition)).collect()
    }
    fn committed(&mut self) -> Result<Vec<Position>, BusError> {
        let world = self.bus.call("committed")?;
        let held = self.held.keys();
        Ok(held
            .map(|partition| Position {
                topic_partition: self.place(*partition),
                next_offset: world.broker.committed(*partition),
            })
            .collect())
    }
    fn membership(&self) -> Result<Membership, BusError> {
        let world = self.bus.turns.look();
        let member = self.member.ok_or_else(|| error(BusErrorKind::Fatal, "membership", "no group"))?;
        let token: (u64, u64) = (member, world.broker.generation_of(member));
        Ok(Membership { group: "sim".into(), token: Box::new(token) })
    }
}

impl Drop for SimReader {
    fn drop(&mut self) {
        // some leave in order, some are missed only after their session; the dead do nothing
        let bus = self.bus.clone();
        if let Some(member) = self.member
            && let Ok(mut world) = bus.turn("close")
            && world.rng.once_in(2)
        {
            world.broker.leave(member);
        }
    }
}

struct SimWriter {
    bus: SimBus,
    name: String,
    epoch: u64,
    open: bool,
}

impl SimWriter {
    fn who(&self) -> (&str, u64) {
        (&self.name, self.epoch)
    }
}

impl Writer for SimWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        if self.open {
            return Err(error(BusErrorKind::Fatal, "begin", "a transaction is open"));
        }
        drop(self.bus.call("begin")?);
        self.open = true;
        Ok(())
    }
    fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        let mut world = self.bus.call("send")?;
        if !self.open {
            world.fail("a record was sent outside of a transaction");
        }
        if size > RECORD_BYTES {
            return Err(error(BusErrorKind::TooLarge, "send", size));
        }
        let now = world.now;
        let sent = world.broker.send(self.who(), now, (topic, partition), key, value);
        sent.map_err(|(kind, reason)| error(kind, "send", reason))
    }
    fn commit(&mut self, positions: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        let failed = |(kind, reason): (BusErrorKind, &str)| error(kind, "commit", reason);
        if let Some((membership, positions)) = positions {
            let token = *membership.token.downcast_ref::<(u64, u64)>().unwrap();
            let places: Vec<(i32, i64)> =
                positions.iter().map(|place| (place.topic_partition.partition, place.next_offset)).collect();
            let mut world = self.bus.call("positions")?;
            let now = world.now;
            world.broker.add_positions(self.who(), now, token, &places).map_err(failed)?;
        }
        {
            let mut world = self.bus.call("commit")?;
            world.broker.end_txn(self.who(), true).map_err(failed)?;
            check::at_commit(&mut world);
        }
        self.open = false;
        // the answer may come late or not at all
        drop(self.bus.call("committed")?);
        Ok(())
    }
    fn abort(&mut self) -> Result<(), BusError> {
        self.open = false;
        let mut world = self.bus.call("abort")?;
        world.broker.end_txn(self.who(), false).map_err(|(kind, reason)| error(kind, "abort", reason))
    }
    fn record_bytes_max(&self) -> usize {
        RECORD_BYTES
    }
}
