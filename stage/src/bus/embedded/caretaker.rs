//! Retention and compaction, on one thread of its own.
//!
//! Works in small transactions so that commits never wait long. A start moves in memory **before** its
//! records go, so that a reader finds a lost position missing and never skips silently (I-02).

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redb::{ReadableTable, WriteTransaction};

use super::blob::{Builder, Segment};
use super::catalog::Topic;
use super::commit::{Shared, now_ms};
use super::store::{self, Failure};
use super::{EmbeddedConfig, SEGMENT_BYTES, move_start};
use crate::bus::{BusError, BusErrorKind, Cleanup};

/// Segments removed by one transaction at most.
const REMOVE_AT_ONCE: usize = 256;
/// Bytes rewritten by one transaction, about.
const REWRITE_BYTES: usize = 8 << 20;
/// Memory a key costs in the compaction map besides its bytes, about.
const KEY_OVERHEAD: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Rules {
    tombstone_ms: i64,
    compact_after: i64,
    compact_bytes: usize,
}

#[derive(Default)]
struct Bell {
    stop: Mutex<bool>,
    rung: Condvar,
}

/// The thread that looks after old records; stops when dropped.
pub(super) struct Caretaker {
    rules: Rules,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Caretaker {
    pub(super) fn start(shared: &Arc<Shared>, config: &EmbeddedConfig) -> Result<Self, BusError> {
        let rules = Rules {
            tombstone_ms: config.tombstone_ms,
            compact_after: config.compact_after.max(1),
            compact_bytes: config.compact_bytes.max(1),
        };
        let bell = Arc::new(Bell::default());
        let (inner, their_bell, sync, interval) =
            (Arc::clone(shared), Arc::clone(&bell), config.sync, config.care_interval.max(Duration::from_millis(10)));
        let thread = std::thread::Builder::new()
            .name("bus-caretaker".into())
            .spawn(move || watch(&inner, &their_bell, rules, sync, interval))
            .map_err(|error| BusError::new(BusErrorKind::Fatal, "start the bus caretaker", error))?;
        Ok(Self { rules, bell, thread: Some(thread) })
    }

    /// One look at all topics, in the caller's thread.
    pub(super) fn run(&self, shared: &Shared) -> Result<(), BusError> {
        run(shared, self.rules)
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        *self.bell.stop.lock() = true;
        self.bell.rung.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the bus caretaker ended in a panic");
        }
    }
}

fn watch(shared: &Shared, bell: &Bell, rules: Rules, sync: bool, interval: Duration) {
    let nap = if sync { interval } else { interval.min(Duration::from_secs(1)) };
    let mut last = Instant::now();
    let mut stop = bell.stop.lock();
    loop {
        if !*stop {
            bell.rung.wait_for(&mut stop, nap);
        }
        let ending = *stop;
        drop(stop);
        if !sync && let Err(error) = sync_now(shared) {
            tracing::error!(error = %error, "the bus could not be synced");
        }
        if ending {
            return;
        }
        if last.elapsed() >= interval {
            if let Err(error) = run(shared, rules) {
                tracing::warn!(error = %error, "old records could not be removed; trying again later");
            }
            last = Instant::now();
        }
        stop = bell.stop.lock();
    }
}

fn sync_now(shared: &Shared) -> Result<(), BusError> {
    let _core = shared.core();
    shared.store.sync()
}

fn run(shared: &Shared, rules: Rules) -> Result<(), BusError> {
    for topic in shared.catalog.all() {
        for partition in 0..i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX) {
            match topic.cleanup {
                Cleanup::Delete { retention_ms } if retention_ms >= 0 => {
                    while expire(shared, &topic, partition, retention_ms)? {}
                }
                Cleanup::Delete { .. } => {}
                Cleanup::Compact => compact(shared, &topic, partition, rules)?,
            }
        }
    }
    Ok(())
}

/// Removes up to [`REMOVE_AT_ONCE`] segments older than the retention; true when there may be more.
fn expire(shared: &Shared, topic: &Topic, partition: i32, retention_ms: i64) -> Result<bool, BusError> {
    let operation = format!("expire records of {} partition {partition}", topic.name);
    let _core = shared.core();
    let (_, end) = topic.bounds(partition)?;
    let limit_ms = now_ms().saturating_sub(retention_ms);
    let mut old = Vec::new();
    let mut start = end;
    shared.store.read(&operation, |transaction| {
        let segments = transaction.open_table(store::SEGMENTS)?;
        for stored in segments.range((topic.id, partition, 0)..=(topic.id, partition, i64::MAX))? {
            let (key, value) = stored?;
            let base = key.value().2;
            // A damaged segment is kept: a reader must meet it.
            let young = Segment::open(value.value(), base).map_or(true, |segment| segment.timestamp_ms() > limit_ms);
            if young || old.len() == REMOVE_AT_ONCE {
                start = base;
                break;
            }
            old.push(base);
        }
        Ok(())
    })?;
    if old.is_empty() {
        return Ok(false);
    }
    move_start(topic, partition, start);
    shared.store.write(&operation, |transaction| {
        let mut segments = transaction.open_table(store::SEGMENTS)?;
        for base in &old {
            segments.remove((topic.id, partition, *base))?;
        }
        let mut heads = transaction.open_table(store::HEADS)?;
        let (_, end, cleaned, left, newest) =
            heads.get((topic.id, partition))?.map_or((0, end, 0, 0, 0), |head| head.value());
        heads.insert((topic.id, partition), (start, end, cleaned, left, newest))?;
        Ok(())
    })?;
    Ok(old.len() == REMOVE_AT_ONCE)
}

/// Newest offset per key of the part not compacted yet, as far as the memory allows.
struct Newest {
    offsets: HashMap<Vec<u8>, i64>,
    /// Offset up to which the map speaks; always the begin of a segment or the end.
    until: i64,
}

fn compact(shared: &Shared, topic: &Topic, partition: i32, rules: Rules) -> Result<(), BusError> {
    let operation = format!("compact {} partition {partition}", topic.name);
    loop {
        let (_, end) = topic.bounds(partition)?;
        let (cleaned, left) = shared.store.read(&operation, |transaction| {
            let heads = transaction.open_table(store::HEADS)?;
            Ok(heads.get((topic.id, partition))?.map_or((0, 0), |head| (head.value().2, head.value().3)))
        })?;
        if end - cleaned < rules.compact_after.max(left) {
            return Ok(());
        }
        let newest = newest_offsets(shared, topic, partition, cleaned, end, rules, &operation)?;
        let mut pass = Pass { topic, partition, newest: &newest, limit_ms: now_ms() - rules.tombstone_ms, kept: 0 };
        let mut from = 0;
        while from < newest.until {
            let _core = shared.core();
            from = shared.store.write(&operation, |transaction| pass.step(transaction, from))?;
        }
        if newest.until >= end {
            return Ok(());
        }
    }
}

fn newest_offsets(
    shared: &Shared,
    topic: &Topic,
    partition: i32,
    cleaned: i64,
    end: i64,
    rules: Rules,
    operation: &str,
) -> Result<Newest, BusError> {
    let mut newest = Newest { offsets: HashMap::new(), until: end };
    let mut bytes = 0usize;
    let mut damaged = None;
    shared.store.read(operation, |transaction| {
        let segments = transaction.open_table(store::SEGMENTS)?;
        for stored in segments.range((topic.id, partition, cleaned)..(topic.id, partition, end))? {
            let (key, value) = stored?;
            let base = key.value().2;
            if bytes >= rules.compact_bytes {
                newest.until = base;
                break;
            }
            match Segment::open(value.value(), base) {
                Ok(segment) => {
                    for entry in segment {
                        let Some(key) = entry.key else { continue };
                        match newest.offsets.get_mut(key) {
                            Some(offset) => *offset = entry.offset,
                            None => {
                                bytes += key.len() + KEY_OVERHEAD;
                                newest.offsets.insert(key.to_vec(), entry.offset);
                            }
                        }
                    }
                }
                Err(reason) => {
                    damaged = Some(format!("offset {base}: {reason}"));
                    break;
                }
            }
        }
        Ok(())
    })?;
    match damaged {
        Some(reason) => Err(BusError::new(BusErrorKind::Fatal, operation, reason)),
        None => Ok(newest),
    }
}

/// One rewriting of a partition, in steps.
struct Pass<'a> {
    topic: &'a Topic,
    partition: i32,
    newest: &'a Newest,
    /// Deletion markers older than this go.
    limit_ms: i64,
    kept: i64,
}

impl Pass<'_> {
    /// Rewrites some segments from `from` on; the offset to go on at.
    fn step(&mut self, transaction: &WriteTransaction, from: i64) -> Result<i64, Failure> {
        let mut segments = transaction.open_table(store::SEGMENTS)?;
        let (id, partition) = (self.topic.id, self.partition);
        let mut merged = Merged::default();
        let mut old = Vec::new();
        let mut next = self.newest.until;
        let mut read = 0;
        let wanted = (Bound::Included((id, partition, from)), Bound::Excluded((id, partition, self.newest.until)));
        for stored in segments.range::<(u32, i32, i64)>(wanted)? {
            let (key, value) = stored?;
            let base = key.value().2;
            if read >= REWRITE_BYTES {
                next = base;
                break;
            }
            read += value.value().len();
            // A damaged segment is left for a reader to meet.
            let Ok(segment) = Segment::open(value.value(), base) else { continue };
            old.push(base);
            for entry in segment {
                let superseded = entry
                    .key
                    .is_some_and(|key| self.newest.offsets.get(key).is_some_and(|newest| *newest > entry.offset));
                let expired = entry.value.is_none() && entry.timestamp_ms < self.limit_ms;
                if !superseded && !expired {
                    self.kept += 1;
                    merged.push(entry.offset, entry.timestamp_ms, entry.key, entry.value);
                }
            }
        }
        for base in old {
            segments.remove((id, partition, base))?;
        }
        for (base, time, mut records) in merged.done {
            segments.insert((id, partition, base), records.seal(base, time))?;
        }
        if next >= self.newest.until {
            let mut heads = transaction.open_table(store::HEADS)?;
            let head = heads.get((id, partition))?.map(|head| head.value());
            if let Some((start, end, _, _, time)) = head {
                heads.insert((id, partition), (start, end, self.newest.until, self.kept, time))?;
            }
        }
        Ok(next)
    }
}

/// Kept records, put together into full segments.
#[derive(Default)]
struct Merged {
    done: Vec<(i64, i64, Builder)>,
}

impl Merged {
    fn push(&mut self, offset: i64, time: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if let Some((base, first, records)) = self.done.last_mut()
            && records.len() + size <= SEGMENT_BYTES
            && let (Ok(delta), Ok(later)) = (u32::try_from(offset - *base), u32::try_from(time - *first))
            && records.push_at(delta, later, key, value).is_some()
        {
            return;
        }
        let mut records = Builder::new();
        if records.push_at(0, 0, key, value).is_some() {
            self.done.push((offset, time, records));
        }
    }
}
