//! The only loop: read, apply, send, commit with the input positions; rewind on any abort (I-03, I-04).

mod apply;
mod drain;
mod lane;
mod letter;
mod mistake;
mod replay;
mod retry;
#[cfg(test)]
mod sim;
mod spec;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use self::drain::Drain;
use self::lane::Lane;
use self::letter::Letter;
pub use self::letter::is_cut;
pub(crate) use self::mistake::{Host, Mistake};
use self::retry::{Attempts, Trouble};
pub use self::spec::{Limits, StageError, StageSpec};
use self::watch::Watch;
use crate::bus::{
    Assign, Batch, Bus, BusError, BusErrorKind, PollLimit, Position, Reader, ReaderSpec, Rebalance, TopicPartition,
    WriteMode, Writer, WriterSpec,
};
use crate::clock::SystemClock;
use crate::shutdown::{Level, Shutdown};
use crate::transform::{Context, Factory, Out, Rejection, Transform as _};

/// Pause between two looks at records that wait for the table.
const WAIT_PAUSE: Duration = Duration::from_millis(10);

/// Inputs to be refused unseen, by partition and offset: a try to take one ended the whole attempt.
type Poison = BTreeMap<(i32, i64), Rejection>;

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
    run_on(bus, spec, factory, shutdown, &Host { clock: &SystemClock(now_us), mistake: None })
}

/// As [`run`], with the time of `host`.
pub(crate) fn run_on<F: Factory>(
    bus: &dyn Bus,
    spec: &StageSpec,
    factory: &F,
    shutdown: &Shutdown,
    host: &Host<'_>,
) -> Result<(), StageError> {
    let watch = Watch::new(&spec.name);
    let mut attempts = Attempts::new(spec, host);
    loop {
        let mut runner = match Runner::open(bus, spec, factory, host, &mut attempts, &watch) {
            Ok(runner) => runner,
            Err(error) => {
                attempts.back_off(shutdown, error)?;
                continue;
            }
        };
        loop {
            match runner.step(shutdown) {
                // only a commit proves that the trouble is over; an assignment alone always works
                Ok(true) if runner.commits > 0 => attempts.good(),
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(trouble) => {
                    // abort, drop every in-memory state, start again at the committed positions
                    drop(runner.writer.abort());
                    watch.aborts.add(1);
                    attempts.take_poison(&mut runner.poison, runner.taken, runner.newest);
                    let goes_on = attempts.judge(shutdown, trouble)?;
                    if goes_on && host.makes(Mistake::NoRewind) {
                        continue;
                    }
                    break;
                }
            }
        }
        if shutdown.level() == Level::Stop {
            return Ok(());
        }
    }
}

struct Runner<'a, F: Factory> {
    bus: &'a dyn Bus,
    spec: &'a StageSpec,
    factory: &'a F,
    host: &'a Host<'a>,
    reader: Box<dyn Reader>,
    writer: Box<dyn Writer>,
    lanes: BTreeMap<i32, Lane<F::Transform>>,
    out: Out,
    batch: Batch,
    drain: Option<Drain>,
    /// Records per transaction now; grows back to the limit with each commit.
    records: usize,
    /// Transactions committed in this attempt.
    commits: u64,
    /// True while a transaction is open.
    open: bool,
    /// Inputs taken in this transaction.
    taken: usize,
    /// The input taken last in this transaction.
    newest: Option<(i32, i64)>,
    poison: Poison,
    watch: &'a Watch,
}

impl<'a, F: Factory> Runner<'a, F> {
    fn open(
        bus: &'a dyn Bus,
        spec: &'a StageSpec,
        factory: &'a F,
        host: &'a Host<'a>,
        attempts: &mut Attempts<'_>,
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
        Ok(Self {
            bus,
            spec,
            factory,
            host,
            reader,
            writer,
            lanes: BTreeMap::new(),
            out: Out::new(spec.framings.clone()),
            batch: Batch::default(),
            drain: None,
            records: attempts.records(),
            commits: 0,
            open: false,
            taken: 0,
            newest: None,
            poison: attempts.give_poison(),
            watch,
        })
    }

    /// One transaction. False when the stage is done.
    fn step(&mut self, shutdown: &Shutdown) -> Result<bool, Trouble> {
        (self.open, self.taken, self.newest) = (false, 0, None);
        let mut batch = std::mem::take(&mut self.batch);
        let limit = PollLimit {
            records: self.records,
            bytes: self.spec.limits.bytes,
            wait: Duration::from_millis(self.spec.limits.poll_ms),
        };
        let rebalance = self.reader.poll(&mut batch, limit)?;
        self.take_over(&rebalance)?;
        self.read_tables()?;
        let context = Context { now_us: self.host.clock.now_us(), wait_over: false };
        self.out.clear();
        self.lanes.values_mut().for_each(|lane| lane.wrote = false);
        if !batch.is_empty() {
            self.begin()?;
        }
        if self.host.makes(Mistake::PositionsFirst) {
            self.commit_early(&batch)?;
        }
        self.apply(&batch, context)?;
        self.batch = batch;
        self.tick(context)?;
        self.send_letters()?;
        let due = self.due();
        let idle = self.out.is_empty() && self.taken == 0 && due.is_empty();
        if idle && self.open {
            // every record waits: nothing was written and nothing moves
            self.writer.abort()?;
        } else if !idle {
            self.begin()?;
            let began = self.host.clock.elapsed();
            self.commit(&due)?;
            let took = self.host.clock.elapsed().saturating_sub(began);
            self.watch.committed(&watch::facts(&self.batch, &self.out, context.now_us), took);
            self.publish();
        }
        if idle && self.lanes.values().any(|lane| lane.waiting.is_some()) {
            self.host.clock.sleep(WAIT_PAUSE);
        }
        Ok(self.is_done(shutdown, idle)?)
    }

    /// Begins the transaction, unless it has begun.
    fn begin(&mut self) -> Result<(), BusError> {
        if !self.open {
            self.writer.begin()?;
            self.open = true;
        }
        Ok(())
    }

    fn take_over(&mut self, rebalance: &Rebalance) -> Result<(), BusError> {
        for gone in &rebalance.revoked {
            if !self.host.makes(Mistake::KeepLane) {
                self.lanes.remove(&gone.partition);
            }
        }
        if !rebalance.revoked.is_empty() || !rebalance.assigned.is_empty() {
            // other partitions, other ends; and the silence before the first ones came says nothing
            self.drain = None;
        }
        let mut given: Vec<i32> = rebalance.assigned.iter().map(|given| given.partition).collect();
        given.retain(|partition| !self.host.makes(Mistake::KeepLane) || !self.lanes.contains_key(partition));
        if given.is_empty() {
            return Ok(());
        }
        let marker = self.mark(&given)?;
        let positions = self.reader.committed()?;
        for partition in given {
            let position = positions.iter().find(|position| position.topic_partition.partition == partition);
            let Some(committed) = position.map(|position| position.next_offset) else {
                let operation = format!("take over {} partition {partition}", self.spec.input);
                return Err(BusError::new(BusErrorKind::Abort, operation, "it went again before its position came"));
            };
            let lane = self.make_lane(partition, committed, &marker)?;
            self.lanes.insert(partition, lane);
        }
        Ok(())
    }

    /// Time passes in every transform, and each writes what it writes once per transaction.
    fn tick(&mut self, context: Context) -> Result<(), BusError> {
        let partitions: Vec<i32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            let before = self.out.len();
            if let Some(lane) = self.lanes.get_mut(&partition) {
                lane.transform.tick(&context, &mut self.out);
                lane.transform.flush(&context, &mut self.out);
            }
            self.oversize(before, false);
            self.send(before, partition, context.now_us)?;
        }
        Ok(())
    }

    /// Sends the letters of inputs that the committed position will pass now.
    fn send_letters(&mut self) -> Result<(), BusError> {
        let lose = self.host.makes(Mistake::LetterLost);
        let partitions: Vec<i32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            while let Some(letter) = self.lanes.get_mut(&partition).and_then(|lane| lane.take_letter(self.host)) {
                if !lose {
                    self.begin()?;
                    self.post(&letter, partition)?;
                }
            }
        }
        Ok(())
    }

    fn post(&mut self, letter: &Letter, partition: i32) -> Result<(), BusError> {
        self.watch.reject(letter.code);
        tracing::warn!(
            stage = %self.spec.name, partition, offset = letter.offset, code = letter.code, "record goes to dlq"
        );
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.wrote = true;
        }
        self.writer.send(&self.spec.dlq, partition, Some(&letter.key), Some(&letter.value))
    }

    /// Positions to be committed: after tick and flush, as what a tick let go must not be read again after a restart.
    fn due(&self) -> Vec<(i32, i64)> {
        self.lanes.iter().filter_map(|(partition, lane)| Some((*partition, lane.due(self.host)?))).collect()
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

    fn positions(&self, due: &[(i32, i64)]) -> Vec<Position> {
        let position = |(partition, next_offset): &(i32, i64)| Position {
            topic_partition: TopicPartition { topic: self.spec.input.clone(), partition: *partition },
            next_offset: *next_offset,
        };
        due.iter().map(position).collect()
    }

    fn commit(&mut self, due: &[(i32, i64)]) -> Result<(), BusError> {
        let positions = self.positions(due);
        if self.host.makes(Mistake::OutputsFirst) {
            self.writer.commit(None)?;
            self.writer.begin()?;
        }
        let membership = self.reader.membership()?;
        self.writer.commit(Some((&membership, &positions)))?;
        self.commits += 1;
        if self.batch.len() >= self.records {
            self.records = self.records.saturating_mul(2).min(self.spec.limits.records.max(1));
        }
        for (partition, next_offset) in due {
            self.poison.retain(|(place, offset), _| place != partition || offset >= next_offset);
            if let Some(lane) = self.lanes.get_mut(partition) {
                lane.committed = *next_offset;
            }
        }
        Ok(())
    }

    /// The mistake of taking the input before its outputs are safe.
    fn commit_early(&mut self, batch: &Batch) -> Result<(), BusError> {
        let ends: BTreeMap<i32, i64> = batch.iter().map(|record| (record.partition, record.offset + 1)).collect();
        if !ends.is_empty() {
            let positions = self.positions(&ends.into_iter().collect::<Vec<_>>());
            let membership = self.reader.membership()?;
            self.writer.commit(Some((&membership, &positions)))?;
            self.writer.begin()?;
        }
        Ok(())
    }
}
