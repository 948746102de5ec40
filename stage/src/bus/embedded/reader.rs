//! Readers of the embedded bus: tail wake-up, bounds of a poll, group changes.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::blob::Segment;
use super::catalog::Topic;
use super::commit::{Shared, Token};
use super::groups::Standing;
use super::store::{self, Failure};
use crate::bus::{
    Assign, Batch, BusError, BusErrorKind, Membership, PollLimit, Position, Reader, ReaderSpec, Rebalance, RecordRef,
    TopicPartition,
};

/// One held partition.
struct Held {
    /// Index into the reader's topics.
    index: usize,
    topic: Arc<Topic>,
    partition: i32,
    next: i64,
    paused: bool,
    /// Generation since which this member has it; 0 without a group.
    since: u64,
}

struct Member {
    group: String,
    id: u64,
    /// The group's newest generation.
    newest: Arc<AtomicU64>,
    /// The generation whose assignment this reader has taken over.
    seen: u64,
}

/// A reader.
pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    topics: Vec<Arc<Topic>>,
    instance: String,
    member: Option<Member>,
    held: Vec<Held>,
    /// Which held partition the next poll begins with, so that none starves.
    turn: usize,
}

impl EmbeddedReader {
    pub(super) fn open(shared: Arc<Shared>, spec: &ReaderSpec) -> Result<Self, BusError> {
        let topics = spec.topics.iter().map(|name| shared.catalog.get(name)).collect::<Result<Vec<_>, _>>()?;
        let mut reader =
            Self { shared, topics, instance: spec.instance.clone(), member: None, held: Vec::new(), turn: 0 };
        match &spec.assign {
            Assign::Group(group) => {
                // Under the commit lock: a commit is either seen by the new member or refused.
                let (id, newest) = reader.shared.core().groups.join(group, &spec.instance, reader.topics.clone());
                reader.member = Some(Member { group: group.clone(), id, newest, seen: 0 });
                reader.shared.wake();
            }
            Assign::Manual(positions) => {
                for position in positions {
                    let held = reader.hold(position)?;
                    reader.held.push(held);
                }
            }
        }
        Ok(reader)
    }

    fn hold(&self, position: &Position) -> Result<Held, BusError> {
        let at = &position.topic_partition;
        let index = self
            .topics
            .iter()
            .position(|topic| topic.name == at.topic)
            .ok_or_else(|| missing("read", at, "the topic is not in the reader's list"))?;
        let topic = self.topics.get(index).cloned().ok_or_else(|| missing("read", at, "no such topic"))?;
        topic.bounds(at.partition)?;
        Ok(Held { index, topic, partition: at.partition, next: position.next_offset, paused: false, since: 0 })
    }

    /// Takes over a new assignment, if there is one.
    fn rebalance(&mut self) -> Result<Rebalance, BusError> {
        let mut change = Rebalance::default();
        let Some(member) = &self.member else { return Ok(change) };
        if member.newest.load(Ordering::Acquire) == member.seen {
            return Ok(change);
        }
        let standing = self.shared.core().groups.standing(&member.group, member.id);
        let Standing::Holds(generation, wanted) = standing else {
            let operation = format!("read in group {}", member.group);
            let reason = format!("a newer reader named {} took this one's place", self.instance);
            return Err(BusError::new(BusErrorKind::Fenced, operation, reason));
        };
        let mut fresh = Vec::new();
        for (index, partition, since) in &wanted {
            let known = |held: &Held| (held.index, held.partition, held.since) == (*index, *partition, *since);
            if !self.held.iter().any(known)
                && let Some(topic) = self.topics.get(*index)
            {
                fresh.push((*index, Arc::clone(topic), *partition, *since));
            }
        }
        let starts = self.starts(&member.group, fresh.iter().map(|(_, topic, partition, _)| (topic, *partition)))?;
        self.held.retain(|held| {
            let keep = wanted.contains(&(held.index, held.partition, held.since));
            if !keep {
                change.revoked.push(name(&held.topic, held.partition));
            }
            keep
        });
        for ((index, topic, partition, since), next) in fresh.into_iter().zip(starts) {
            change.assigned.push(name(&topic, partition));
            self.held.push(Held { index, topic, partition, next, paused: false, since });
        }
        if let Some(member) = &mut self.member {
            member.seen = generation;
        }
        Ok(change)
    }

    /// The committed position of each partition, else its start.
    fn starts<'a>(
        &self,
        group: &str,
        partitions: impl Iterator<Item = (&'a Arc<Topic>, i32)>,
    ) -> Result<Vec<i64>, BusError> {
        self.shared.store.read(&format!("read positions of group {group}"), |transaction| {
            let positions = transaction.open_table(store::POSITIONS)?;
            partitions
                .map(|(topic, partition)| {
                    let committed = positions.get((group, topic.id, partition))?.map(|next| next.value());
                    Ok(committed
                        .unwrap_or_else(|| topic.ends(partition).map_or(0, |ends| ends.start.load(Ordering::Acquire))))
                })
                .collect()
        })
    }

    /// Copies what is there, without waiting.
    fn collect(&mut self, batch: &mut Batch, limit: PollLimit) -> Result<(), BusError> {
        let count = self.held.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(held) = self.held.get_mut(index) else { continue };
            if held.paused {
                continue;
            }
            let (start, end) = held.topic.bounds(held.partition)?;
            if held.next < start || held.next > end {
                let reason = format!("offset {} is outside {start}..{end}", held.next);
                return Err(missing("read", &name(&held.topic, held.partition), &reason));
            }
            if held.next == end {
                continue;
            }
            held.next = read_partition(&self.shared, held, end, batch, limit)?;
            if is_full(batch, limit) {
                self.turn = (index + 1) % count;
                return Ok(());
            }
        }
        Ok(())
    }

    fn find(&mut self, operation: &str, at: &TopicPartition) -> Result<&mut Held, BusError> {
        self.held
            .iter_mut()
            .find(|held| held.partition == at.partition && held.topic.name == at.topic)
            .ok_or_else(|| missing(operation, at, "the partition is not assigned to this reader"))
    }
}

fn is_full(batch: &Batch, limit: PollLimit) -> bool {
    batch.len() >= limit.records.max(1) || batch.bytes() >= limit.bytes
}

/// Reads from `held.next` up to `end` or to a bound of the poll; the next offset to read.
fn read_partition(
    shared: &Shared,
    held: &Held,
    end: i64,
    batch: &mut Batch,
    limit: PollLimit,
) -> Result<i64, BusError> {
    let operation = format!("read {} partition {}", held.topic.name, held.partition);
    let mut next = held.next;
    let mut damaged = None;
    let mut expired = false;
    shared.store.read(&operation, |transaction| {
        // The start moves before records go: looked at now, it tells whether this view still has them all.
        expired = held.topic.ends(held.partition).is_some_and(|ends| ends.start.load(Ordering::Acquire) > next);
        if expired {
            return Ok(());
        }
        let segments = transaction.open_table(store::SEGMENTS)?;
        let id = held.topic.id;
        // The segment that holds `next` is the last one that begins at or before it.
        let first = (id, held.partition, 0)..=(id, held.partition, next);
        let from = segments.range(first)?.next_back().transpose()?.map_or(next, |(key, _)| key.value().2);
        let wanted = (Bound::Included((id, held.partition, from)), Bound::Excluded((id, held.partition, end)));
        for stored in segments.range::<(u32, i32, i64)>(wanted)? {
            let (key, value) = stored?;
            let segment = match Segment::open(value.value(), key.value().2) {
                Ok(segment) => segment,
                Err(reason) => {
                    damaged = Some(format!("offset {}: {reason}", key.value().2));
                    return Ok::<(), Failure>(());
                }
            };
            for entry in segment {
                if entry.offset < next {
                    continue;
                }
                if entry.offset >= end || is_full(batch, limit) {
                    return Ok(());
                }
                batch.push(RecordRef {
                    topic: held.index,
                    partition: held.partition,
                    offset: entry.offset,
                    timestamp_ms: entry.timestamp_ms,
                    log_append_time: true,
                    key: entry.key,
                    value: entry.value,
                });
                next = entry.offset + 1;
            }
        }
        // All that is left below `end` is holes.
        next = end;
        Ok(())
    })?;
    if expired {
        return Err(missing("read", &name(&held.topic, held.partition), "the records have expired"));
    }
    match damaged {
        Some(reason) => Err(BusError::new(BusErrorKind::Fatal, operation, reason)),
        None => Ok(next),
    }
}

fn name(topic: &Topic, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.name.clone(), partition }
}

fn missing(operation: &str, at: &TopicPartition, reason: &str) -> BusError {
    BusError::new(BusErrorKind::Missing, format!("{operation} {} partition {}", at.topic, at.partition), reason)
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, batch: &mut Batch, limit: PollLimit) -> Result<Rebalance, BusError> {
        batch.clear();
        let until = Instant::now() + limit.wait;
        loop {
            let seen = self.shared.tail();
            let change = self.rebalance()?;
            self.collect(batch, limit)?;
            let changed = !change.assigned.is_empty() || !change.revoked.is_empty();
            if changed || !batch.is_empty() || Instant::now() >= until {
                return Ok(change);
            }
            self.shared.wait(seen, until);
        }
    }

    fn seek(&mut self, position: &Position) -> Result<(), BusError> {
        let held = self.find("seek", &position.topic_partition)?;
        held.next = position.next_offset;
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.find("pause", partition)?.paused = paused;
        Ok(())
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.held.iter().map(|held| name(&held.topic, held.partition)).collect()
    }

    fn committed(&mut self) -> Result<Vec<Position>, BusError> {
        let Some(member) = &self.member else {
            return Err(BusError::new(BusErrorKind::Fatal, "read committed positions", "the reader has no group"));
        };
        let partitions = self.held.iter().map(|held| (&held.topic, held.partition));
        let starts = self.starts(&member.group, partitions)?;
        let positions = self
            .held
            .iter()
            .zip(starts)
            .map(|(held, next_offset)| Position { topic_partition: name(&held.topic, held.partition), next_offset });
        Ok(positions.collect())
    }

    fn membership(&self) -> Result<Membership, BusError> {
        let member = self
            .member
            .as_ref()
            .ok_or_else(|| BusError::new(BusErrorKind::Fatal, "prove group membership", "the reader has no group"))?;
        let token = Token { member: member.id, generation: member.seen };
        Ok(Membership { group: member.group.clone(), token: Box::new(token) })
    }
}

impl Drop for EmbeddedReader {
    fn drop(&mut self) {
        if let Some(member) = &self.member {
            self.shared.core().groups.leave(&member.group, member.id);
            self.shared.wake();
        }
    }
}
