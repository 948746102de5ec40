//! The rules of the simulated bus: logs, transactions, one group.

use std::collections::{BTreeMap, BTreeSet};

use super::turns::Rng;
use crate::bus::BusErrorKind;

/// Partitions of every topic.
pub(super) const PARTITIONS: i32 = 2;
/// Silence after which a member loses its place.
const SESSION_US: u64 = 10_000_000;
/// Life of a transaction.
const TRANSACTION_US: u64 = 60_000_000;
/// A record over this is refused by the topic at commit.
pub(super) const TOPIC_BYTES: usize = 68_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    txn: Option<usize>,
    control: bool,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Txn {
    status: Status,
    producer: String,
    began: u64,
    logs: BTreeSet<(String, i32)>,
    positions: Vec<(i32, i64)>,
    large: bool,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: u64,
    open: Option<usize>,
}

#[derive(Debug)]
struct Member {
    id: u64,
    instance: String,
    seen: u64,
    joined: bool,
    fresh: bool,
    /// Partitions, and the generation since which the member has them.
    target: Vec<(i32, u64)>,
    held: Vec<(i32, u64)>,
    generation: u64,
}

/// How the group hands over partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handover {
    /// At once; the old owner cannot commit from then on. The embedded bus does so.
    AtOnce,
    /// When every member has given up all it held. Kafka's eager protocol.
    Eager,
}

/// What a member learns at a poll.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) revoked: Vec<i32>,
    /// With the committed position.
    pub(super) assigned: Vec<(i32, i64)>,
}

/// The bus.
pub(super) struct Broker {
    logs: BTreeMap<(String, i32), Vec<Entry>>,
    txns: Vec<Txn>,
    producers: BTreeMap<String, Producer>,
    members: Vec<Member>,
    next_member: u64,
    generation: u64,
    rebalancing: bool,
    handover: Handover,
    committed: BTreeMap<i32, i64>,
}

type Fault = (BusErrorKind, &'static str);

impl Broker {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            logs: BTreeMap::new(),
            txns: Vec::new(),
            producers: BTreeMap::new(),
            members: Vec::new(),
            next_member: 0,
            generation: 0,
            rebalancing: false,
            handover: if rng.once_in(2) { Handover::AtOnce } else { Handover::Eager },
            committed: BTreeMap::new(),
        }
    }

    fn log(&mut self, topic: &str, partition: i32) -> &mut Vec<Entry> {
        self.logs.entry((topic.to_owned(), partition)).or_default()
    }

    pub(super) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.logs.get(&(topic.to_owned(), partition)).map_or(0, |log| log.len() as i64)
    }

    /// Committed records from `from` on, with their offsets, up to the first open transaction; and where it stopped.
    pub(super) fn read(&self, topic: &str, partition: i32, from: i64, max: usize) -> (Vec<(i64, &Entry)>, i64) {
        let (mut found, mut next) = (Vec::new(), from);
        let Some(log) = self.logs.get(&(topic.to_owned(), partition)) else { return (found, next) };
        for entry in log.iter().skip(from as usize) {
            let status = entry.txn.map_or(Status::Committed, |txn| self.txns[txn].status);
            if status == Status::Open || found.len() >= max {
                break;
            }
            if status == Status::Committed && !entry.control {
                found.push((next, entry));
            }
            next += 1;
        }
        (found, next)
    }

    /// Everything visible now, open transactions skipped.
    pub(super) fn visible(&self, topic: &str, partition: i32) -> Vec<(i64, &Entry)> {
        let Some(log) = self.logs.get(&(topic.to_owned(), partition)) else { return Vec::new() };
        let seen = |entry: &Entry| entry.txn.is_none_or(|txn| self.txns[txn].status == Status::Committed);
        log.iter().enumerate().filter(|(_, e)| !e.control && seen(e)).map(|(at, e)| (at as i64, e)).collect()
    }

    /// Writes outside of any stage: plain, in a transaction, or in one that is aborted and leaves holes.
    pub(super) fn put(&mut self, topic: &str, partition: i32, key: &str, value: &str, committed: Option<bool>) -> i64 {
        let txn = committed.map(|committed| {
            let status = if committed { Status::Committed } else { Status::Aborted };
            let (producer, logs) = (String::new(), BTreeSet::new());
            self.txns.push(Txn { status, producer, began: 0, logs, positions: Vec::new(), large: false });
            self.txns.len() - 1
        });
        let offset = self.end(topic, partition);
        let entry = Entry { txn, control: false, key: key.into(), value: Some(value.into()) };
        let hole = Entry { txn, control: true, key: Vec::new(), value: None };
        let log = self.log(topic, partition);
        log.push(entry);
        if txn.is_some() {
            log.push(hole);
        }
        offset
    }

    /// What happens by itself as time passes.
    pub(super) fn expire(&mut self, now: u64) {
        for txn in 0..self.txns.len() {
            if self.txns[txn].status == Status::Open && now > self.txns[txn].began + TRANSACTION_US {
                let name = self.txns[txn].producer.clone();
                self.finish(txn, Status::Aborted);
                let producer = self.producers.entry(name).or_default();
                producer.epoch += 1;
                producer.open = None;
            }
        }
        let before = self.members.len();
        self.members.retain(|member| now <= member.seen + SESSION_US);
        if self.members.len() != before {
            self.rebalance();
        }
    }

    fn finish(&mut self, txn: usize, status: Status) {
        self.txns[txn].status = status;
        let logs = std::mem::take(&mut self.txns[txn].logs);
        for (topic, partition) in logs {
            self.log(&topic, partition).push(Entry { txn: Some(txn), control: true, key: Vec::new(), value: None });
        }
        if status == Status::Committed {
            for (partition, next) in std::mem::take(&mut self.txns[txn].positions) {
                self.committed.insert(partition, next);
            }
        }
    }

    /// A new writer: older ones of the name are fenced and their transaction is aborted.
    pub(super) fn init(&mut self, name: &str) -> u64 {
        let producer = self.producers.entry(name.to_owned()).or_default();
        producer.epoch += 1;
        let (epoch, open) = (producer.epoch, producer.open.take());
        if let Some(txn) = open {
            self.finish(txn, Status::Aborted);
        }
        epoch
    }

    fn txn(&mut self, name: &str, epoch: u64, now: u64) -> Result<usize, Fault> {
        let producer = self.producers.entry(name.to_owned()).or_default();
        if producer.epoch != epoch {
            return Err((BusErrorKind::Fenced, "a newer writer exists"));
        }
        let next = self.txns.len();
        let txn = *producer.open.get_or_insert(next);
        if txn == next {
            let (status, producer, logs) = (Status::Open, name.to_owned(), BTreeSet::new());
            self.txns.push(Txn { status, producer, began: now, logs, positions: Vec::new(), large: false });
        }
        Ok(txn)
    }

    pub(super) fn send(
        &mut self,
        (name, epoch): (&str, u64),
        now: u64,
        (topic, partition): (&str, i32),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let txn = self.txn(name, epoch, now)?;
        self.txns[txn].large |= value.map_or(0, <[u8]>::len) > TOPIC_BYTES;
        self.txns[txn].logs.insert((topic.to_owned(), partition));
        let (key, value) = (key.unwrap_or_default().to_vec(), value.map(<[u8]>::to_vec));
        self.log(topic, partition).push(Entry { txn: Some(txn), control: false, key, value });
        Ok(())
    }

    /// First half of a commit: positions join the transaction, if the member still has its place.
    pub(super) fn add_positions(
        &mut self,
        (name, epoch): (&str, u64),
        now: u64,
        (member, generation): (u64, u64),
        positions: &[(i32, i64)],
    ) -> Result<(), Fault> {
        if positions.is_empty() {
            return Ok(());
        }
        let txn = self.txn(name, epoch, now)?;
        let known = self.members.iter().any(|known| known.id == member);
        if !known || generation != self.generation {
            return Err((BusErrorKind::Abort, "the group has changed"));
        }
        self.txns[txn].positions.extend_from_slice(positions);
        Ok(())
    }

    /// Second half: all or nothing.
    pub(super) fn end_txn(&mut self, (name, epoch): (&str, u64), commit: bool) -> Result<(), Fault> {
        let producer = self.producers.entry(name.to_owned()).or_default();
        if producer.epoch != epoch {
            return Err((BusErrorKind::Fenced, "a newer writer exists"));
        }
        let Some(txn) = producer.open else { return Ok(()) };
        if commit && self.txns[txn].large {
            return Err((BusErrorKind::TooLarge, "a record is over the topic's limit"));
        }
        self.producers.entry(name.to_owned()).or_default().open = None;
        self.finish(txn, if commit { Status::Committed } else { Status::Aborted });
        Ok(())
    }

    pub(super) fn join(&mut self, instance: &str, now: u64) -> u64 {
        self.next_member += 1;
        let id = self.next_member;
        self.members.retain(|member| member.instance != instance);
        let instance = instance.to_owned();
        let (target, held) = (Vec::new(), Vec::new());
        self.members.push(Member { id, instance, seen: now, joined: true, fresh: false, target, held, generation: 0 });
        self.rebalance();
        id
    }

    pub(super) fn leave(&mut self, id: u64) {
        let before = self.members.len();
        self.members.retain(|member| member.id != id);
        if self.members.len() != before {
            self.rebalance();
        }
    }

    pub(super) fn alive(&mut self, id: u64, now: u64) {
        self.members.iter_mut().filter(|member| member.id == id).for_each(|member| member.seen = now);
    }

    fn rebalance(&mut self) {
        if self.handover == Handover::AtOnce {
            return self.assign();
        }
        self.rebalancing = true;
        let newest = self.next_member;
        for member in &mut self.members {
            // who holds nothing and has been told of nothing has nothing to give up
            member.joined = member.id == newest && member.held.is_empty();
        }
        self.try_assign();
    }

    fn try_assign(&mut self) {
        if self.rebalancing && self.members.iter().all(|member| member.joined) {
            self.rebalancing = false;
            self.assign();
        }
    }

    fn assign(&mut self) {
        self.generation += 1;
        self.members.sort_by(|one, two| one.instance.cmp(&two.instance));
        let count = self.members.len() as i32;
        for (rank, member) in self.members.iter_mut().enumerate() {
            let (before, newest) = (std::mem::take(&mut member.target), self.generation);
            let mine = (0..PARTITIONS).filter(|partition| partition % count.max(1) == rank as i32);
            // what a member keeps it has since then; what came back it has anew
            let since =
                |partition: &i32| before.iter().find(|(known, _)| known == partition).map_or(newest, |(_, at)| *at);
            member.target = mine.map(|partition| (partition, since(&partition))).collect();
            member.fresh = true;
        }
    }

    fn unstable(&self, partition: i32) -> bool {
        let open = self.txns.iter().filter(|txn| txn.status == Status::Open);
        open.flat_map(|txn| &txn.positions).any(|(at, _)| *at == partition)
    }

    pub(super) fn committed(&self, partition: i32) -> i64 {
        self.committed.get(&partition).copied().unwrap_or(0)
    }

    /// A member asks what is new.
    pub(super) fn news(&mut self, id: u64) -> Result<News, Fault> {
        let mut news = News::default();
        let Some(at) = self.members.iter().position(|member| member.id == id) else {
            return Err((BusErrorKind::Fenced, "the member has lost its place"));
        };
        if self.rebalancing && !self.members[at].joined {
            let held = std::mem::take(&mut self.members[at].held);
            news.revoked = held.into_iter().map(|(partition, _)| partition).collect();
            self.members[at].joined = true;
            self.try_assign();
            return Ok(news);
        }
        if !self.members[at].fresh || self.rebalancing {
            return Ok(news);
        }
        let (target, held) = (self.members[at].target.clone(), self.members[at].held.clone());
        let (given, gone): (Vec<i32>, Vec<i32>) = (
            target.iter().filter(|place| !held.contains(place)).map(|(partition, _)| *partition).collect(),
            held.iter().filter(|place| !target.contains(place)).map(|(partition, _)| *partition).collect(),
        );
        if given.iter().any(|partition| self.unstable(*partition)) {
            return Ok(news);
        }
        news.revoked = gone;
        news.assigned = given.iter().map(|partition| (*partition, self.committed(*partition))).collect();
        let member = &mut self.members[at];
        (member.held, member.fresh, member.generation) = (target, false, self.generation);
        Ok(news)
    }

    /// What a member has seen of the group.
    pub(super) fn generation_of(&self, id: u64) -> u64 {
        self.members.iter().find(|member| member.id == id).map_or(0, |member| member.generation)
    }
}
