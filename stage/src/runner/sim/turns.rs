//! Virtual time and whose turn it is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::broker::Broker;
use crate::clock::Clock;

/// Turns after which a story counts as stuck.
const TURNS_MAX: u64 = 60_000;

/// A small generator with a seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EA1_7A11)
    }
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

struct Task {
    /// Virtual time at which it may go on, microseconds.
    wake: u64,
    done: bool,
    killed: bool,
    bell: Arc<Condvar>,
}

/// All that exists in a story.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) broker: Broker,
    /// The first thing found wrong.
    pub(super) failure: Option<String>,
    /// Calls of the bus fail now and then.
    pub(super) faults: bool,
    /// All that was done, in order, as a number.
    pub(super) digest: u64,
    /// Each call is printed.
    told: bool,
    tasks: Vec<Task>,
    turn: usize,
    turns: u64,
}

impl World {
    pub(super) fn fail(&mut self, failure: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(format!("at {} us: {}", self.now, failure.into()));
        }
    }
    pub(super) fn note(&mut self, what: u64) {
        self.digest = self.digest.rotate_left(5) ^ what.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    /// Tells what happens, for who looks at one story.
    pub(super) fn tell(&self, task: usize, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>12} {task} {}", self.now, what());
        }
    }
    pub(super) fn is_done(&self, task: usize) -> bool {
        self.tasks[task].done
    }
    /// The task never goes on: each of its calls fails from now on.
    pub(super) fn kill(&mut self, task: usize) {
        self.tasks[task].killed = true;
        self.tasks[task].wake = self.now;
    }
    /// The task sleeps wherever it is.
    pub(super) fn freeze(&mut self, task: usize, us: u64) {
        self.tasks[task].wake = self.tasks[task].wake.max(self.now + us);
    }
    pub(super) fn thaw(&mut self) {
        let now = self.now;
        self.tasks.iter_mut().for_each(|task| task.wake = task.wake.min(now + 1_000_000));
    }
    fn pass_on(&mut self) {
        self.turns += 1;
        if self.turns > TURNS_MAX && self.failure.is_none() {
            self.fail("stuck: the story does not end");
        }
        let ready = |now: u64, tasks: &[Task]| -> Vec<usize> {
            (0..tasks.len()).filter(|index| !tasks[*index].done && tasks[*index].wake <= now).collect()
        };
        let mut may = ready(self.now, &self.tasks);
        if may.is_empty() {
            let Some(next) = self.tasks.iter().filter(|task| !task.done).map(|task| task.wake).min() else { return };
            self.now = next;
            may = ready(next, &self.tasks);
        }
        self.turn = may[self.rng.below(may.len() as u64) as usize];
        self.tasks[self.turn].bell.notify_one();
    }
}

/// A task that was killed.
pub(super) struct Dead;

/// The world with its turns; a clone is another handle.
#[derive(Clone)]
pub(super) struct Turns(Arc<Mutex<World>>);

impl Turns {
    /// A world whose first task, number 0, has the turn.
    pub(super) fn new(seed: u64, broker: Broker) -> Self {
        let world = World {
            now: 1_000_000,
            rng: Rng::new(seed),
            broker,
            failure: None,
            faults: true,
            digest: 0,
            told: std::env::var_os("SEALTRAIL_SEED").is_some(),
            tasks: Vec::new(),
            turn: 0,
            turns: 0,
        };
        let turns = Self(Arc::new(Mutex::new(world)));
        turns.add();
        turns
    }

    /// Looks at the world without giving the turn away.
    pub(super) fn look(&self) -> MutexGuard<'_, World> {
        self.0.lock()
    }

    fn add(&self) -> usize {
        let mut world = self.0.lock();
        let wake = world.now;
        world.tasks.push(Task { wake, done: false, killed: false, bell: Arc::new(Condvar::new()) });
        world.tasks.len() - 1
    }

    /// Starts a task on a thread of its own; it gets its first turn later.
    pub(super) fn spawn(&self, work: impl FnOnce(usize) + Send + 'static) -> (usize, std::thread::JoinHandle<()>) {
        let (task, turns) = (self.add(), self.clone());
        let thread = std::thread::spawn(move || {
            drop(turns.wait(turns.look(), task));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(task)));
            let mut world = turns.look();
            if result.is_err() {
                world.fail("the runner panicked");
            }
            world.tasks[task].done = true;
            world.pass_on();
        });
        (task, thread)
    }

    fn wait<'a>(&'a self, mut world: MutexGuard<'a, World>, task: usize) -> MutexGuard<'a, World> {
        let bell = Arc::clone(&world.tasks[task].bell);
        while world.turn != task {
            bell.wait(&mut world);
        }
        world
    }

    /// Gives the turn away for at least `us`; the world when the turn is back.
    pub(super) fn pass(&self, task: usize, us: u64) -> Result<MutexGuard<'_, World>, Dead> {
        let mut world = self.0.lock();
        // a story that has failed ends at once
        let over = world.failure.is_some() && task != 0;
        if world.tasks[task].killed || over {
            return Err(Dead);
        }
        world.tasks[task].wake = world.now + us;
        world.pass_on();
        let world = self.wait(world, task);
        if world.tasks[task].killed { Err(Dead) } else { Ok(world) }
    }
}

/// The time of one task.
pub(super) struct SimClock {
    pub(super) turns: Turns,
    pub(super) task: usize,
    /// A dead task waits for nothing any more.
    pub(super) dead: std::cell::Cell<bool>,
}

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        self.turns.look().now as i64
    }
    fn elapsed(&self) -> Duration {
        let far = if self.dead.get() { Duration::from_secs(1 << 30) } else { Duration::ZERO };
        Duration::from_micros(self.turns.look().now) + far
    }
    fn sleep(&self, pause: Duration) {
        if self.turns.pass(self.task, pause.as_micros() as u64).is_err() {
            self.dead.set(true);
        }
    }
}
