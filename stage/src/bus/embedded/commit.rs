//! The commit path: waiting writers share one store transaction and one sync (I-04).
//!
//! A writer queues its work and takes the commit lock. Whoever holds it writes all that is queued; those
//! that waited find their answer ready. So the cost of a sync is shared exactly when there is contention.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, MutexGuard};
use redb::ReadableTable;

use super::blob::Builder;
use super::catalog::{Catalog, Topic};
use super::groups::Groups;
use super::store::{self, Store};
use crate::bus::{BusError, BusErrorKind};

/// A transaction's bytes written at once at most; more waits for the next round.
const ROUND_BYTES: usize = 64 << 20;

/// Records of one transaction for one partition, at most one segment's worth.
pub(super) struct Chunk {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: i32,
    pub(super) records: Builder,
}

/// The member in whose name positions are committed, and what it had seen.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) member: u64,
    pub(super) generation: u64,
}

/// Positions of one group.
pub(super) struct GroupPositions {
    pub(super) group: String,
    pub(super) token: Token,
    /// (topic number, partition, next offset).
    pub(super) positions: Vec<(u32, i32, i64)>,
}

/// One writer's transaction.
pub(super) struct Work {
    /// Writer name and epoch; `None` for a writer that cannot be fenced.
    pub(super) writer: Option<(String, u64)>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) positions: Option<GroupPositions>,
}

/// A failed commit gives the work back, so that the writer may try again.
type Outcome = Result<(), Box<(BusError, Work)>>;
type Answer = Arc<Mutex<Option<Outcome>>>;

/// What only the holder of the commit lock may touch.
#[derive(Default)]
pub(super) struct Core {
    pub(super) groups: Groups,
    /// Newest epoch of each writer name.
    pub(super) epochs: HashMap<String, u64>,
    /// Time of the last commit: time never goes back (the bus sets timestamps).
    pub(super) last_ms: i64,
}

/// Everything the readers, writers and the caretaker share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) catalog: Catalog,
    core: Mutex<Core>,
    queue: Mutex<Vec<(Work, Answer)>>,
    tail: Mutex<u64>,
    woken: Condvar,
}

impl Shared {
    pub(super) fn new(store: Store, catalog: Catalog, last_ms: i64, epochs: HashMap<String, u64>) -> Self {
        Self {
            store,
            catalog,
            core: Mutex::new(Core { last_ms, epochs, ..Core::default() }),
            queue: Mutex::default(),
            tail: Mutex::new(0),
            woken: Condvar::new(),
        }
    }

    /// Takes the commit lock: no commit runs while it is held.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// The wake-up counter now; give it to [`Shared::wait`] after looking and finding nothing.
    pub(super) fn tail(&self) -> u64 {
        *self.tail.lock()
    }

    /// Sleeps until something is committed or a group changes after `seen`, or until `until`.
    pub(super) fn wait(&self, seen: u64, until: std::time::Instant) {
        let mut tail = self.tail.lock();
        while *tail == seen {
            if self.woken.wait_until(&mut tail, until).timed_out() {
                return;
            }
        }
    }

    /// Wakes all waiting readers.
    pub(super) fn wake(&self) {
        *self.tail.lock() += 1;
        self.woken.notify_all();
    }

    /// Commits one transaction, durably, together with whatever else waits.
    pub(super) fn commit(&self, work: Work) -> Outcome {
        let answer = Answer::default();
        self.queue.lock().push((work, Arc::clone(&answer)));
        loop {
            let mut core = self.core.lock();
            if let Some(result) = answer.lock().take() {
                return result;
            }
            let round = self.take_round();
            self.write_round(&mut core, round);
            drop(core);
            self.wake();
        }
    }

    fn take_round(&self) -> Vec<(Work, Answer)> {
        let mut queue = self.queue.lock();
        let mut bytes = 0usize;
        let mut count = 0;
        for (work, _) in queue.iter() {
            bytes += work.chunks.iter().map(|chunk| chunk.records.len()).sum::<usize>();
            if count > 0 && bytes > ROUND_BYTES {
                break;
            }
            count += 1;
        }
        queue.drain(..count).collect()
    }

    fn write_round(&self, core: &mut Core, round: Vec<(Work, Answer)>) {
        let mut accepted = Vec::with_capacity(round.len());
        for (work, answer) in round {
            match check(core, &work) {
                Ok(()) => accepted.push((work, answer)),
                Err(error) => *answer.lock() = Some(Err(Box::new((error, work)))),
            }
        }
        if accepted.is_empty() {
            return;
        }
        let now_ms = now_ms().max(core.last_ms);
        let result = self.store.write("commit", |transaction| write_all(transaction, &mut accepted, now_ms));
        if let Ok(ends) = &result {
            core.last_ms = now_ms;
            for (topic, partition, end) in ends {
                if let Some(known) = topic.ends(*partition) {
                    known.end.store(*end, Ordering::Release);
                }
            }
        }
        for (work, answer) in accepted {
            *answer.lock() = Some(match &result {
                Ok(_) => Ok(()),
                Err(error) => Err(Box::new((BusError::new(error.kind, error.operation.clone(), &error.reason), work))),
            });
        }
    }
}

/// Refuses the work of fenced writers and of members that have not seen the newest assignment.
fn check(core: &Core, work: &Work) -> Result<(), BusError> {
    if let Some((name, epoch)) = &work.writer
        && core.epochs.get(name) != Some(epoch)
    {
        return Err(fenced(name));
    }
    let Some(positions) = &work.positions else { return Ok(()) };
    let (group, token) = (&positions.group, &positions.token);
    let held = core.groups.is_current(group, token.member, token.generation)
        && positions
            .positions
            .iter()
            .all(|(topic, partition, _)| core.groups.holds(group, token.member, *topic, *partition));
    if held {
        Ok(())
    } else {
        let reason = "the group has changed since the reader's last poll";
        Err(BusError::new(BusErrorKind::Abort, format!("commit positions of group {group}"), reason))
    }
}

pub(super) fn fenced(name: &str) -> BusError {
    BusError::new(BusErrorKind::Fenced, format!("write as {name}"), "a newer writer of this name exists")
}

type NewEnds = Vec<(Arc<Topic>, i32, i64)>;

fn write_all(
    transaction: &redb::WriteTransaction,
    accepted: &mut [(Work, Answer)],
    now_ms: i64,
) -> Result<NewEnds, store::Failure> {
    let mut ends: HashMap<(u32, i32), (Arc<Topic>, i64)> = HashMap::new();
    let mut segments = transaction.open_table(store::SEGMENTS)?;
    let mut positions = transaction.open_table(store::POSITIONS)?;
    for (work, _) in accepted.iter_mut() {
        for chunk in &mut work.chunks {
            let key = (chunk.topic.id, chunk.partition);
            let known = chunk.topic.ends(chunk.partition).map_or(0, |ends| ends.end.load(Ordering::Acquire));
            let (_, end) = ends.entry(key).or_insert_with(|| (Arc::clone(&chunk.topic), known));
            let base = *end;
            *end += i64::from(chunk.records.count());
            segments.insert((key.0, key.1, base), chunk.records.seal(base, now_ms))?;
        }
        if let Some(group) = &work.positions {
            for (topic, partition, next) in &group.positions {
                positions.insert((group.group.as_str(), *topic, *partition), next)?;
            }
        }
    }
    let mut heads = transaction.open_table(store::HEADS)?;
    let mut new_ends = Vec::with_capacity(ends.len());
    for ((id, partition), (topic, end)) in ends {
        let (start, _, cleaned, left, _) = heads.get((id, partition))?.map_or((0, 0, 0, 0, 0), |head| head.value());
        heads.insert((id, partition), (start, end, cleaned, left, now_ms))?;
        new_ends.push((topic, partition, end));
    }
    Ok(new_ends)
}

/// Milliseconds since epoch by the system clock.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
