//! The only loop: read, apply, send, commit with the input positions; rewind on any abort (I-03, I-04).

mod drain;
mod letter;
mod replay;
mod spec;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::drain::Drain;
use self::letter::Letter;
use self::replay::{MARKER, read_table, restore};
pub use self::spec::{Limits, StageError, StageSpec};
use self::watch::Watch;
use crate::bus::{
    Assign, Batch, Bus, BusError, BusErrorKind, PollLimit, Position, Reader, ReaderSpec, TopicPartition, WriteMode,
    Writer, WriterSpec,
};
use crate::shutdown::{Level, Shutdown};
use crate::transform::{Context, Factory, Input, Out, Transform, Verdict};

/// Polls of a table topic per transaction; the rest is read in the next one.
const TABLE_POLLS_MAX: usize = 64;
/// Pause between two looks at records that wait for the table.
const WAIT_PAUSE: Duration = Duration::from_millis(10);
/// A second fence within this time means a real rival; one alone may be the echo of a broker's crash.
const FENCE_WINDOW: Duration = Duration::from_secs(60);
struct Lane<T> {
    transform: T,
    table: Option<Box<dyn Reader>>,
    waiting: Option<Waiting>,
    /// Offset after the last input taken since the partition came.
    next: Option<i64>,
    /// Position committed last since the partition came.
    committed: Option<i64>,
    /// The transform's counters as shown last.
    shown: BTreeMap<&'static str, u64>,
}

impl<T: Transform> Lane<T> {
    /// Where the committed position may go now: past all that is fully written out, never back.
    fn due(&self) -> Option<i64> {
        let next = self.next?;
        let due = self.transform.held_from().map_or(next, |held| held.min(next));
        (self.committed.is_none_or(|committed| committed < due)).then_some(due)
    }
}

struct Waiting {
    since: Instant,
    offset: i64,
}

/// Runs a stage until it is told to stop.
///
/// # Errors
/// [`StageError`]; committed work stays committed.
pub fn run<F: Factory>(
    bus: &dyn Bus,
    spec: &StageSpec,
    factory: &F,
    shutdown: &Shutdown,
    now_us: &dyn Fn() -> i64,
) -> Result<(), StageError> {
    let (mut failures, mut fenced) = (0, None);
    let watch = Watch::new(&spec.name);
    loop {
        // a transaction that failed is tried again smaller: it may have been over the bus's limit
        let records = (spec.limits.records >> failures.min(16)).max(1);
        let mut runner = match Runner::open(bus, spec, factory, now_us, records, &watch) {
            Ok(runner) => runner,
            Err(error) => {
                failures += 1;
                back_off(spec, shutdown, failures, &mut fenced, error)?;
                continue;
            }
        };
        loop {
            match runner.step(shutdown) {
                // only a commit proves that the trouble is over; an assignment alone always works
                Ok(true) if runner.commits > 0 => failures = 0,
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    // abort, drop every in-memory state, start again at the committed positions
                    drop(runner.writer.abort());
                    watch.aborts.add(1);
                    failures += 1;
                    back_off(spec, shutdown, failures, &mut fenced, error)?;
                    break;
                }
            }
        }
        if shutdown.level() == Level::Stop {
            return Ok(());
        }
    }
}

/// Waits before the next attempt, or ends the stage.
///
/// A fence is tried against once: when a broker dies between a request and its answer, the client repeats the request
/// under its old name and is told that another one holds it. Of two real rivals the older one meets its second fence
/// first and stops, and each attempt is whole or nothing (I-04), so nothing is written twice meanwhile.
fn back_off(
    spec: &StageSpec,
    shutdown: &Shutdown,
    failures: u32,
    fenced: &mut Option<Instant>,
    error: BusError,
) -> Result<(), StageError> {
    let fatal = match error.kind {
        BusErrorKind::Fenced if fenced.is_none_or(|last| last.elapsed() > FENCE_WINDOW) => {
            *fenced = Some(Instant::now());
            false
        }
        BusErrorKind::Fenced => {
            return Err(StageError::Fenced {
                stage: spec.name.clone(),
                instance: spec.instance.clone(),
                source: error,
            });
        }
        BusErrorKind::Fatal | BusErrorKind::Missing => true,
        BusErrorKind::Retriable | BusErrorKind::Abort | BusErrorKind::Full => failures > spec.limits.retries,
    };
    if fatal {
        return Err(StageError::Bus { stage: spec.name.clone(), source: error });
    }
    tracing::warn!(stage = %spec.name, failures, %error, "going back to the committed positions");
    // in small steps: a drain goes on trying, a stop does not wait
    let until = Instant::now() + Duration::from_millis(25 << failures.min(7));
    while Instant::now() < until && shutdown.level() != Level::Stop {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

struct Runner<'a, F: Factory> {
    bus: &'a dyn Bus,
    spec: &'a StageSpec,
    factory: &'a F,
    now_us: &'a dyn Fn() -> i64,
    reader: Box<dyn Reader>,
    writer: Box<dyn Writer>,
    lanes: BTreeMap<i32, Lane<F::Transform>>,
    out: Out,
    batch: Batch,
    drain: Option<Drain>,
    /// Records per transaction in this attempt.
    records: usize,
    /// Transactions committed in this attempt.
    commits: u64,
    watch: &'a Watch,
}

impl<'a, F: Factory> Runner<'a, F> {
    fn open(
        bus: &'a dyn Bus,
        spec: &'a StageSpec,
        factory: &'a F,
        now_us: &'a dyn Fn() -> i64,
        records: usize,
        watch: &'a Watch,
    ) -> Result<Self, BusError> {
        // the writer first: it fences an older instance before anything is read
        let writer = bus
            .writer(&WriterSpec { name: format!("{}-{}", spec.name, spec.instance), mode: WriteMode::Transactional })?;
        let reader = bus.reader(&ReaderSpec {
            topics: vec![spec.input.clone()],
            assign: Assign::Group(spec.name.clone()),
            instance: spec.instance.clone(),
        })?;
        let (lanes, out, batch) = (BTreeMap::new(), Out::new(spec.framings.clone()), Batch::default());
        Ok(Self {
            bus,
            spec,
            factory,
            now_us,
            reader,
            writer,
            lanes,
            out,
            batch,
            drain: None,
            records,
            commits: 0,
            watch,
        })
    }

    /// One transaction. False when the stage is done.
    fn step(&mut self, shutdown: &Shutdown) -> Result<bool, BusError> {
        let mut batch = std::mem::take(&mut self.batch);
        let limit = PollLimit {
            records: self.records,
            bytes: self.spec.limits.bytes,
            wait: Duration::from_millis(self.spec.limits.poll_ms),
        };
        let rebalance = self.reader.poll(&mut batch, limit)?;
        for gone in &rebalance.revoked {
            self.lanes.remove(&gone.partition);
        }
        if !rebalance.revoked.is_empty() || !rebalance.assigned.is_empty() {
            // other partitions, other ends; and the silence before the first ones came says nothing
            self.drain = None;
        }
        let given: Vec<i32> = rebalance.assigned.iter().map(|given| given.partition).collect();
        let marker = self.mark(&given)?;
        for partition in given {
            let lane = self.make_lane(partition, &marker)?;
            self.lanes.insert(partition, lane);
        }
        self.read_tables()?;
        let context = Context { now_us: (self.now_us)(), wait_over: false };
        self.out.clear();
        let mut open = !batch.is_empty();
        if open {
            self.writer.begin()?;
        }
        let mut moved = self.apply(&batch, context)?;
        for (partition, lane) in &mut self.lanes {
            let before = self.out.len();
            lane.transform.tick(&context, &mut self.out);
            lane.transform.flush(&context, &mut self.out);
            let refused = self.out.take_refused();
            if !open && (self.out.len() > before || !refused.is_empty()) {
                self.writer.begin()?;
                open = true;
            }
            Self::send(self.spec, self.writer.as_mut(), &self.out, before, *partition)?;
            for refused in &refused {
                Letter::of_refused(refused, *partition, context.now_us).send(
                    self.spec,
                    self.watch,
                    self.writer.as_mut(),
                )?;
                moved = true;
            }
        }
        self.batch = batch;
        // after tick and flush: what a tick let go must not be read again after a restart
        let due: Vec<(i32, i64)> =
            self.lanes.iter().filter_map(|(partition, lane)| Some((*partition, lane.due()?))).collect();
        let idle = self.out.is_empty() && !moved && due.is_empty();
        if idle && open {
            // every record waits: nothing was written and nothing moves
            self.writer.abort()?;
        } else if !idle {
            if !open {
                self.writer.begin()?;
            }
            let began = Instant::now();
            self.commit(&due)?;
            self.watch.committed(&batch_facts(&self.batch, &self.out, context.now_us), began.elapsed());
            self.publish();
        }
        if idle && self.lanes.values().any(|lane| lane.waiting.is_some()) {
            std::thread::sleep(WAIT_PAUSE);
        }
        self.is_done(shutdown, idle)
    }

    /// Shows the transforms' own counters, as far as they are committed.
    fn publish(&mut self) {
        for lane in self.lanes.values_mut() {
            let (watch, shown) = (self.watch, &mut lane.shown);
            lane.transform.counters(&mut |name, value| {
                let before = shown.insert(name, value).unwrap_or(0);
                watch.count(name, value.saturating_sub(before));
            });
        }
    }

    fn commit(&mut self, due: &[(i32, i64)]) -> Result<(), BusError> {
        let positions: Vec<Position> = due
            .iter()
            .map(|(partition, next_offset)| Position {
                topic_partition: TopicPartition { topic: self.spec.input.clone(), partition: *partition },
                next_offset: *next_offset,
            })
            .collect();
        let membership = self.reader.membership()?;
        self.writer.commit(Some((&membership, &positions)))?;
        self.commits += 1;
        for (partition, next_offset) in due {
            if let Some(lane) = self.lanes.get_mut(partition) {
                lane.committed = Some(*next_offset);
            }
        }
        Ok(())
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
    fn mark(&mut self, partitions: &[i32]) -> Result<Vec<u8>, BusError> {
        let marker = uuid::Uuid::new_v4().to_string().into_bytes();
        let Some(topic) = self.state_topic().map(str::to_owned).filter(|_| !partitions.is_empty()) else {
            return Ok(marker);
        };
        let key = format!("{MARKER}{}", self.spec.instance);
        self.writer.begin()?;
        for partition in partitions {
            self.writer.send(&topic, *partition, Some(key.as_bytes()), Some(&marker))?;
        }
        self.writer.commit(None)?;
        Ok(marker)
    }

    fn make_lane(&self, partition: i32, marker: &[u8]) -> Result<Lane<F::Transform>, BusError> {
        let mut transform = self.factory.make(partition);
        if let Some(topic) = self.state_topic() {
            let mut reader = self.manual(topic, partition)?;
            restore(reader.as_mut(), topic, partition, marker, &mut transform)?;
        }
        let mut table = None;
        if let Some(topic) = &self.spec.table {
            let mut reader = self.manual(topic, partition)?;
            let (start, end) = self.bus.bounds(&TopicPartition { topic: topic.clone(), partition })?;
            if start < end {
                read_table(reader.as_mut(), end, &mut transform)?;
            }
            table = Some(reader);
        }
        Ok(Lane { transform, table, waiting: None, next: None, committed: None, shown: BTreeMap::new() })
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
}

impl<F: Factory> Runner<'_, F> {
    fn read_tables(&mut self) -> Result<(), BusError> {
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

    /// Applies the batch; true when an input was taken or refused.
    fn apply(&mut self, batch: &Batch, context: Context) -> Result<bool, BusError> {
        let mut moved = false;
        let mut stopped: Vec<i32> = Vec::new();
        for record in batch.iter() {
            if stopped.contains(&record.partition) {
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&record.partition) else { continue };
            let waited = lane
                .waiting
                .as_ref()
                .filter(|waiting| waiting.offset == record.offset)
                .map(|waiting| waiting.since.elapsed());
            let wait_over = waited.is_some_and(|waited| waited >= Duration::from_millis(self.spec.limits.wait_ms));
            let before = self.out.len();
            let input = Input {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key,
                value: record.value,
            };
            match lane.transform.apply(&Context { wait_over, ..context }, input, &mut self.out) {
                Ok(Verdict::Wait) if !wait_over => {
                    // order of the partition is kept: nothing after this record until it is decided
                    self.out.truncate(before);
                    if waited.is_none() {
                        // the time already waited is gone after a rebuild: a wait is bounded per attempt
                        lane.waiting = Some(Waiting { since: Instant::now(), offset: record.offset });
                    }
                    stopped.push(record.partition);
                    let topic_partition =
                        TopicPartition { topic: self.spec.input.clone(), partition: record.partition };
                    self.reader.seek(&Position { topic_partition, next_offset: record.offset })?;
                    continue;
                }
                Ok(_) => {
                    let (writer, refused) = (self.writer.as_mut(), self.out.take_refused());
                    Self::send(self.spec, writer, &self.out, before, record.partition)?;
                    for refused in &refused {
                        Letter::of_refused(refused, record.partition, context.now_us)
                            .send(self.spec, self.watch, writer)?;
                    }
                }
                Err(rejection) => {
                    self.out.truncate(before);
                    let letter = Letter::of_input(&record, &self.spec.input, &rejection);
                    letter.send(self.spec, self.watch, self.writer.as_mut())?;
                }
            }
            moved = true;
            if let Some(lane) = self.lanes.get_mut(&record.partition) {
                lane.waiting = None;
                lane.next = Some(record.offset + 1);
            }
        }
        Ok(moved)
    }

    fn send(spec: &StageSpec, writer: &mut dyn Writer, out: &Out, from: usize, partition: i32) -> Result<(), BusError> {
        for index in from..out.len() {
            let Some(record) = out.get(index) else { break };
            if let Some(topic) = spec.outputs.get(record.slot) {
                writer.send(topic, partition, Some(record.key), record.value)?;
            }
        }
        Ok(())
    }
}

fn batch_facts(batch: &Batch, out: &Out, now_us: i64) -> watch::Facts {
    let newest_ms = batch.get(batch.len().saturating_sub(1)).map(|record| record.timestamp_ms);
    watch::Facts {
        records_in: batch.len(),
        bytes_in: batch.bytes(),
        records_out: out.len(),
        bytes_out: out.bytes(),
        delay_ms: newest_ms.map_or(0, |newest| (now_us / 1000).saturating_sub(newest).max(0)),
    }
}
