//! One story: inputs come, instances live and die, and in the end all is quiet.

use schemas::framing::Framing;

use super::broker::{Broker, PARTITIONS};
use super::bus::SimBus;
use super::check::{self, INPUT, LETTERS, OUTPUT, STATE, TABLE};
use super::turns::{Rng, SimClock, Turns};
use super::work::{KINDS, Make};
use crate::runner::{Host, Limits, Mistake, StageSpec, run_on};
use crate::shutdown::{Level, Shutdown};

/// Longest quiet time at the end, after which a story counts as stuck.
const CALM_US: u64 = 900_000_000;

struct Instance {
    name: usize,
    task: usize,
    shutdown: Shutdown,
    thread: std::thread::JoinHandle<()>,
}

struct Story {
    turns: Turns,
    rng: Rng,
    instances: Vec<Instance>,
    names: usize,
    records: usize,
    next_id: u64,
    mistake: Option<Mistake>,
}

fn spec(name: usize, records: usize) -> StageSpec {
    StageSpec {
        name: "sim".into(),
        input: INPUT.into(),
        outputs: vec![OUTPUT.into(), STATE.into()],
        framings: vec![Framing::SingleObject(1), Framing::SingleObject(2)],
        table: Some(TABLE.into()),
        state_slot: Some(1),
        dlq: LETTERS.into(),
        dlq_framing: Framing::SingleObject(3),
        instance: format!("i{name}"),
        limits: Limits { records, poll_ms: 100, wait_ms: 400, ..Limits::default() },
    }
}

impl Story {
    fn alive(&self, name: usize) -> Vec<usize> {
        let world = self.turns.look();
        let of = |instance: &&Instance| instance.name == name && !world.is_done(instance.task);
        self.instances.iter().filter(of).map(|instance| instance.task).collect()
    }

    fn start(&mut self, name: usize) {
        let (shutdown, mistake) = (Shutdown::new(), self.mistake);
        let (turns, spec, stop) = (self.turns.clone(), spec(name, self.records), shutdown.clone());
        let (task, thread) = self.turns.spawn(move |task| {
            let clock = SimClock { turns: turns.clone(), task, dead: false.into() };
            let bus = SimBus { turns: turns.clone(), task };
            // how it ends is no matter: the story starts it again
            let ended = run_on(&bus, &spec, &Make, &stop, &Host { clock: &clock, mistake });
            turns.look().tell(task, || format!("ends: {ended:?}"));
        });
        self.instances.push(Instance { name, task, shutdown, thread });
    }

    fn put(&mut self) {
        let mut world = self.turns.look();
        for _ in 0..=self.rng.below(5) {
            let partition = self.rng.below(PARTITIONS as u64) as i32;
            let kind = KINDS[self.rng.below(KINDS.len() as u64) as usize];
            let how = match self.rng.below(6) {
                0 => Some(true),
                1 => Some(false),
                _ => None,
            };
            self.next_id += 1;
            let (id, line) = (self.next_id, format!("{} {kind}", self.next_id));
            world.broker.put(INPUT, partition, "k", &line, how);
            if kind == "need" && self.rng.once_in(2) {
                world.broker.put(TABLE, partition, &id.to_string(), "here", None);
            }
        }
    }

    /// Something happens.
    fn act(&mut self) {
        let name = self.rng.below(self.names as u64) as usize;
        let of = self.alive(name);
        match self.rng.below(10) {
            0..=3 => self.put(),
            4 => of.iter().for_each(|task| self.turns.look().kill(*task)),
            5 | 6 => {
                // past the session, past the transaction, or only for a moment
                let us = [500_000, 12_000_000, 70_000_000][self.rng.below(3) as usize];
                of.iter().for_each(|task| self.turns.look().freeze(*task, us));
            }
            7 => {
                let level = if self.rng.once_in(2) { Level::Stop } else { Level::Drain };
                let mine = self.instances.iter().filter(|instance| instance.name == name);
                mine.for_each(|instance| instance.shutdown.raise(level));
            }
            // a rival of the same name, while the old one is or is not there
            8 if of.len() < 2 => self.start(name),
            _ => {}
        }
        for name in 0..self.names {
            if self.alive(name).is_empty() && self.rng.once_in(2) {
                self.start(name);
            }
        }
    }

    fn pass(&self, us: u64) {
        drop(self.turns.pass(0, us));
    }

    fn over(&self) -> bool {
        let world = self.turns.look();
        world.failure.is_some() || check::complete(&world)
    }

    fn run(&mut self) {
        self.put();
        (0..self.names).for_each(|name| self.start(name));
        for _ in 0..30 + self.rng.below(30) {
            let us = [20_000, 200_000, 2_000_000, 20_000_000][self.rng.below(4) as usize];
            let us = 1 + self.rng.below(us);
            self.pass(us);
            self.act();
            if self.turns.look().failure.is_some() {
                break;
            }
        }
        let since = {
            let mut world = self.turns.look();
            world.faults = false;
            world.thaw();
            world.now
        };
        while !self.over() {
            if (0..self.names).all(|name| self.alive(name).is_empty()) {
                self.start(0);
            }
            self.pass(500_000);
            if self.turns.look().now > since + CALM_US {
                self.turns.look().fail("stuck: inputs are left although nothing fails any more");
            }
        }
        // what would come now would be too much
        self.pass(3_000_000);
        for instance in &self.instances {
            instance.shutdown.raise(Level::Stop);
        }
        while !(0..self.names).all(|name| self.alive(name).is_empty()) {
            self.pass(500_000);
        }
    }
}

/// Tells the story of a seed; its digest, or what went wrong.
pub(super) fn tell(seed: u64, mistake: Option<Mistake>) -> Result<u64, String> {
    let mut rng = Rng::new(seed);
    let broker = Broker::new(&mut rng);
    let turns = Turns::new(rng.next(), broker);
    let (names, records) = (1 + rng.below(3) as usize, 1 + rng.below(8) as usize);
    let mut story = Story { turns, rng, instances: Vec::new(), names, records, next_id: 0, mistake };
    story.run();
    for instance in story.instances.drain(..) {
        instance.thread.join().unwrap();
    }
    let world = story.turns.look();
    match &world.failure {
        Some(failure) => Err(failure.clone()),
        None => check::at_end(&world).map(|()| world.digest),
    }
}
