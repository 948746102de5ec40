//! One run: start, do the plan while clients work, heal, drain, account.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Evidence;
use super::account::{Account, account};
use super::plan::{Fault, Mood, Plan, Target};
use super::plant::{PARTITIONS, Plant};
use super::workload::{Seen, Workload};

/// How often the line is looked after.
const LOOK: Duration = Duration::from_millis(20);
/// How often a starting process is asked whether it is ready.
const ASK: Duration = Duration::from_millis(200);
/// Longest wait for brokers before the next one is hit.
const BROKERS: Duration = Duration::from_secs(90);
/// Drains before what is missing counts as lost.
const ROUNDS_MAX: u32 = 4;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Seed of faults and workload.
    pub seed: u64,
    /// Kills.
    pub kills: u32,
    /// Brokers: 1 or 3.
    pub brokers: u16,
    /// Clients at once.
    pub workers: u64,
}

/// What came of it.
pub struct Outcome {
    /// The accountant's figures.
    pub account: Account,
    /// What was done, by whom it recovered, and how fast.
    pub tally: Tally,
    /// The line, drained; its servers still run.
    pub plant: Plant,
    /// Counting statements that clients were told are done, by worker.
    pub acknowledged: BTreeMap<String, u64>,
    seed: u64,
}

/// Counts of a run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Kills by process.
    pub kills: BTreeMap<Target, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// From start after a kill to ready.
    pub recoveries: BTreeMap<Target, Vec<Duration>>,
    /// Processes that ended by themselves, with the end of their log, and were started again.
    pub exits: Vec<(Target, String)>,
    /// Drains until the account was clean.
    pub rounds: u32,
    /// Sessions, done, refused, unanswered.
    pub clients: [u64; 4],
    /// Requests at the gate, and those it mistreated.
    pub store: (u64, u64),
    /// Faults under way, then drain and account.
    pub took: (Duration, Duration),
}

impl Outcome {
    /// The line for machines.
    #[must_use]
    pub fn line(&self) -> String {
        let kills: u64 = self.tally.kills.values().sum();
        let account = &self.account;
        format!(
            "kills={kills} lost={} twice={} unrecorded={} unsealed={} seed={}",
            account.lost.count, account.twice.count, account.unrecorded.count, account.unsealed.count, self.seed
        )
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let (tally, account) = (&self.tally, &self.account);
        let mut text = String::from("process      kills  recovery s: median  max  ended by itself\n");
        for (target, kills) in &tally.kills {
            let mut times: Vec<f64> =
                tally.recoveries.get(target).into_iter().flatten().map(Duration::as_secs_f64).collect();
            times.sort_by(f64::total_cmp);
            let (median, max) = (times.get(times.len() / 2), times.last());
            let exits = tally.exits.iter().filter(|(name, _)| name == target).count();
            let [median, max] = [median, max].map(|time| time.copied().unwrap_or(f64::NAN));
            writeln!(text, "{:<12} {kills:>5} {median:>19.2} {max:>4.1} {exits:>16}", target.to_string())
                .unwrap_or_default();
        }
        let [sessions, done, refused, broken] = tally.clients;
        let faults: Vec<String> = tally.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let (under, after) = (tally.took.0.as_secs(), tally.took.1.as_secs());
        writeln!(text, "faults: {}", faults.join(", ")).unwrap_or_default();
        writeln!(text, "clients: {sessions} sessions, {done} done, {refused} refused, {broken} unanswered")
            .unwrap_or_default();
        writeln!(
            text,
            "recorded: {} records, {} delivered again; {} sessions, {} with an end; store: {} requests, {} mistreated",
            account.records, account.repeats, account.sessions.0, account.sessions.1, tally.store.0, tally.store.1
        )
        .unwrap_or_default();
        writeln!(text, "{under} s under faults, {after} s to drain and account, {} drains", tally.rounds)
            .unwrap_or_default();
        text
    }
}

/// What ends a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Start(Target),
    Thaw(Target),
    Heal(usize),
    Calm,
    Leave(Target, bool),
}

struct Driver<'a> {
    plant: Plant,
    evidence: &'a dyn Evidence,
    ends: Vec<(Instant, End)>,
    starting: BTreeMap<Target, Instant>,
    asked: Instant,
    tally: Tally,
    say: &'a dyn Fn(&str),
}

/// Runs one plan. `say` is told of each step.
///
/// # Errors
/// When a server of the test does not start or a process does not come back: that is no result.
pub fn run(options: &Options, evidence: &dyn Evidence, say: &dyn Fn(&str)) -> Result<Outcome> {
    let plan = Plan::new(options.seed, options.kills, usize::from(options.brokers), PARTITIONS);
    say(&format!("seed={} kills={} steps={}", plan.seed, options.kills, plan.steps.len()));
    let plant = Plant::start(options.brokers, options.workers)?;
    let workload = Workload::start(&plant.door()?, options.workers, options.seed)?;
    let seen = workload.seen();
    let began = Instant::now();
    let mut driver = Driver {
        plant,
        evidence,
        ends: Vec::new(),
        starting: BTreeMap::new(),
        asked: began,
        tally: Tally::default(),
        say,
    };
    for (number, step) in plan.steps.iter().enumerate() {
        driver.look_after(Duration::from_millis(step.after_ms))?;
        let clients = shown(&seen);
        say(&format!(
            "{:>7.1} s  {:>4}/{}  {}  ({clients})",
            began.elapsed().as_secs_f64(),
            number + 1,
            plan.steps.len(),
            step.fault
        ));
        driver.strike(&step.fault).with_context(|| step.fault.to_string())?;
    }
    driver.heal()?;
    // a moment without faults: the account must hold for what comes after them, too
    driver.look_after(Duration::from_secs(2))?;
    driver.tally.took.0 = began.elapsed();
    let acknowledged = workload.stop()?;
    driver.tally.clients =
        [&seen.sessions, &seen.done, &seen.refused, &seen.broken].map(|count| count.load(Ordering::Relaxed));
    let healed = Instant::now();
    let account = driver.settle(&acknowledged)?;
    driver.tally.took.1 = healed.elapsed();
    driver.tally.store = driver.plant.gate().counts();
    Ok(Outcome { account, tally: driver.tally, plant: driver.plant, acknowledged, seed: options.seed })
}

fn shown(seen: &Seen) -> String {
    let [done, refused, broken] = [&seen.done, &seen.refused, &seen.broken].map(|count| count.load(Ordering::Relaxed));
    format!("{done} done, {refused} refused, {broken} unanswered")
}

impl Driver<'_> {
    /// Lets time pass: ends faults that are due, starts what ended by itself, notes what became ready.
    fn look_after(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            let now = Instant::now();
            let due: Vec<End> = self.ends.iter().filter(|(at, _)| *at <= now).map(|(_, end)| *end).collect();
            self.ends.retain(|(at, _)| *at > now);
            for end in due {
                self.end(end)?;
            }
            self.supervise()?;
            if now.duration_since(self.asked) >= ASK {
                self.asked = now;
                self.note_ready();
            }
            if Instant::now() >= until {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn supervise(&mut self) -> Result<()> {
        for target in Target::STAGES {
            let down = self.ends.iter().any(|(_, end)| *end == End::Start(target));
            if !down && self.plant.is_gone(target) {
                let tail = self.plant.log_tail(target);
                (self.say)(&format!("{target} ended by itself:\n{tail}"));
                self.tally.exits.push((target, tail));
                self.starting.remove(&target);
                // as any supervisor does; the process must mind neither its own end nor its start
                self.plant.kill(target)?;
                self.ends.push((Instant::now() + Duration::from_millis(500), End::Start(target)));
            }
        }
        Ok(())
    }

    fn note_ready(&mut self) {
        let frozen = |target: &Target| self.ends.iter().any(|(_, end)| *end == End::Thaw(*target));
        let starting: Vec<Target> = self.starting.keys().filter(|target| !frozen(target)).copied().collect();
        for target in starting {
            if self.plant.is_ready(target)
                && let Some(since) = self.starting.remove(&target)
            {
                self.tally.recoveries.entry(target).or_default().push(since.elapsed());
            }
        }
    }

    fn end(&mut self, end: End) -> Result<()> {
        match end {
            End::Start(target) => {
                self.plant.spawn(target)?;
                self.starting.insert(target, Instant::now());
            }
            End::Thaw(target) => self.plant.signal(target, "CONT"),
            End::Heal(broker) => self.plant.relay(broker)?.slow(0),
            End::Calm => self.plant.gate().set(Mood::Honest),
            End::Leave(target, kill) => self.plant.leave(target, kill),
        }
        Ok(())
    }

    fn later(&mut self, ms: u64, end: End) {
        self.ends.push((Instant::now() + Duration::from_millis(ms), end));
    }

    /// Ends at once what is still to end of the kind that `which` says.
    fn hasten(&mut self, which: impl Fn(&End) -> bool) -> Result<()> {
        let now: Vec<End> = self.ends.iter().map(|(_, end)| *end).filter(&which).collect();
        self.ends.retain(|(_, end)| !which(end));
        now.into_iter().try_for_each(|end| self.end(end))
    }

    /// One broker out at a time: two of three would only stop the cluster, and with it the test.
    fn await_brokers(&mut self) -> Result<()> {
        self.hasten(|end| matches!(end, End::Heal(_) | End::Start(Target::Broker(_)) | End::Thaw(Target::Broker(_))))?;
        let began = Instant::now();
        while self.starting.keys().any(|target| matches!(target, Target::Broker(_))) {
            anyhow::ensure!(began.elapsed() < BROKERS, "a broker is not back within {BROKERS:?}");
            self.look_after(LOOK)?;
        }
        Ok(())
    }

    fn strike(&mut self, fault: &Fault) -> Result<()> {
        *self.tally.faults.entry(fault.kind()).or_default() += 1;
        match *fault {
            Fault::Kill { target, down_ms } => {
                if matches!(target, Target::Broker(_)) {
                    self.await_brokers()?;
                }
                self.hasten(|end| *end == End::Start(target))?;
                self.ends.retain(|(_, end)| *end != End::Thaw(target));
                self.plant.kill(target)?;
                self.starting.remove(&target);
                *self.tally.kills.entry(target).or_default() += 1;
                self.later(down_ms, End::Start(target));
            }
            Fault::Freeze { target, ms } => {
                if matches!(target, Target::Broker(_)) {
                    self.await_brokers()?;
                }
                self.plant.signal(target, "STOP");
                self.later(ms, End::Thaw(target));
            }
            Fault::Cut { broker, ms, silent } => {
                self.await_brokers()?;
                let relay = self.plant.relay(broker)?;
                if silent {
                    relay.silence()
                } else {
                    relay.cut()
                }
                self.later(ms, End::Heal(broker));
            }
            Fault::Slow { broker, ms, delay_ms } => {
                self.await_brokers()?;
                self.plant.relay(broker)?.slow(delay_ms);
                self.later(ms, End::Heal(broker));
            }
            Fault::Store { mood, ms } => {
                self.hasten(|end| *end == End::Calm)?;
                self.plant.gate().set(mood);
                self.later(ms, End::Calm);
            }
            Fault::Storm { target, ms, kill } => {
                self.hasten(|end| matches!(end, End::Leave(leaving, _) if *leaving == target))?;
                self.plant.spawn_second(target)?;
                self.later(ms, End::Leave(target, kill));
            }
            Fault::Repeat { partition, count } => {
                // while brokers are away it may fail: nothing was delivered again then
                let repeated = self.evidence.repeat(&self.plant.places(), partition, count);
                (self.say)(&format!("           {repeated:?} delivered again"));
            }
        }
        Ok(())
    }

    /// Ends every fault and waits until every process is ready.
    fn heal(&mut self) -> Result<()> {
        self.hasten(|_| true)?;
        let all = Target::STAGES.into_iter().chain((0..self.plant.brokers()).map(Target::Broker));
        for target in all {
            let began = Instant::now();
            while !self.plant.is_ready(target) {
                let log = || format!("{target} does not come back; its log:\n{}", self.plant.log_tail(target));
                anyhow::ensure!(began.elapsed() < Duration::from_secs(180), log());
                self.look_after(ASK)?;
            }
        }
        self.note_ready();
        Ok(())
    }

    /// Drains and accounts; again while something may only be late.
    fn settle(&mut self, acknowledged: &BTreeMap<String, u64>) -> Result<Account> {
        loop {
            self.tally.rounds += 1;
            if let Err(error) = self.plant.drain() {
                (self.say)(&format!("drain: {error:#}"));
            }
            let recorded = self.evidence.collect(&self.plant.places())?;
            let account = account(&recorded, &self.plant.truth(acknowledged)?, &self.plant.verify("")?);
            if account.is_clean() || account.is_hopeless() || self.tally.rounds >= ROUNDS_MAX {
                return Ok(account);
            }
            (self.say)(&format!("not yet, draining once more:\n{}", account.explain()));
            self.plant.start_stages()?;
        }
    }
}
