//! What is done to the line, in which order: a function of the seed alone.

use std::fmt;

use super::random::Random;

/// A process that can be killed or frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// `sealtrail proxy`.
    Proxy,
    /// `sealtrail enrich`.
    Enricher,
    /// `sealtrail mask`.
    Masker,
    /// `sealtrail seal`.
    Sealer,
    /// `sealtrail archive`.
    Archiver,
    /// A Kafka node, from 0.
    Broker(usize),
}

impl Target {
    /// The stages, in the order of the line.
    pub const STAGES: [Self; 5] = [Self::Proxy, Self::Enricher, Self::Masker, Self::Sealer, Self::Archiver];

    /// Its subcommand; empty for a broker.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Enricher => "enrich",
            Self::Masker => "mask",
            Self::Sealer => "seal",
            Self::Archiver => "archive",
            Self::Broker(_) => "",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(node) => write!(out, "broker-{node}"),
            stage => out.write_str(stage.command()),
        }
    }
}

/// What the gate before the S3 server does to every other request while a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Nothing.
    Honest,
    /// Answers 503 without asking the server.
    Refuses,
    /// Lets the server do it, then answers 500.
    Denies,
    /// Waits this many milliseconds first.
    Slow(u64),
    /// Sends half of the answer and closes.
    Cuts,
    /// Answers 200 to the PUT of an object that it never stored.
    Lies,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; started again `down_ms` later.
    Kill {
        /// What.
        target: Target,
        /// How long it stays down.
        down_ms: u64,
    },
    /// SIGSTOP, SIGCONT `ms` later: a zombie when that is longer than its session lasts.
    Freeze {
        /// What.
        target: Target,
        /// How long.
        ms: u64,
    },
    /// A broker is cut off from every client: connections are closed, or with `silent` stay open and carry nothing.
    Cut {
        /// Broker.
        broker: usize,
        /// How long.
        ms: u64,
        /// Without a word.
        silent: bool,
    },
    /// A broker's bytes to and from clients come late.
    Slow {
        /// Broker.
        broker: usize,
        /// How long.
        ms: u64,
        /// How late each piece is.
        delay_ms: u64,
    },
    /// The S3 server misbehaves.
    Store {
        /// How.
        mood: Mood,
        /// How long.
        ms: u64,
    },
    /// A second instance of a stage joins, and leaves: killed or asked to.
    Storm {
        /// Which.
        target: Target,
        /// How long it stays.
        ms: u64,
        /// Leaves by SIGKILL.
        kill: bool,
    },
    /// Records of `audit.raw` are delivered a second time, late.
    Repeat {
        /// Partition.
        partition: i32,
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { target, down_ms } => write!(out, "kill {target}, down {down_ms} ms"),
            Self::Freeze { target, ms } => write!(out, "freeze {target} {ms} ms"),
            Self::Cut { broker, ms, silent } => {
                write!(out, "cut broker-{broker} {ms} ms{}", if *silent { ", silent" } else { "" })
            }
            Self::Slow { broker, ms, delay_ms } => write!(out, "slow broker-{broker} by {delay_ms} ms for {ms} ms"),
            Self::Store { mood, ms } => write!(out, "store {mood:?} {ms} ms"),
            Self::Storm { target, ms, kill } => {
                write!(out, "second {target} {ms} ms, {}", if *kill { "killed" } else { "asked to leave" })
            }
            Self::Repeat { partition, count } => write!(out, "repeat {count} of raw partition {partition}"),
        }
    }
}

impl Fault {
    /// Its word in the table of results.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Freeze { .. } => "freeze",
            Self::Cut { .. } => "cut",
            Self::Slow { .. } => "slow",
            Self::Store { .. } => "store",
            Self::Storm { .. } => "storm",
            Self::Repeat { .. } => "repeat",
        }
    }
}

/// A fault and how long the line runs before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds since the step before.
    pub after_ms: u64,
    /// What then happens.
    pub fault: Fault,
}

/// Everything that will happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// In order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// A plan with exactly `kills` kills on `brokers` nodes; about one other fault per two kills. Targets are dealt from
    /// a shuffled deck, so that each comes about as often as its weight: a stage twice, the proxy three times, a broker
    /// (whose start costs most) once.
    #[must_use]
    pub fn new(seed: u64, kills: u32, brokers: usize, partitions: i32) -> Self {
        let mut random = Random::new(seed);
        let mut deck = Vec::new();
        let mut steps = Vec::new();
        for _ in 0..kills {
            if deck.is_empty() {
                deck = Target::STAGES.repeat(2);
                deck.push(Target::Proxy);
                deck.extend((0..brokers).map(Target::Broker));
                random.shuffle(&mut deck);
            }
            if random.once_in(2) {
                let fault = other(&mut random, brokers, partitions);
                steps.push(Step { after_ms: random.within(100, 600), fault });
            }
            let Some(target) = deck.pop() else { continue };
            // half of them in quick succession, so that a process is killed while it or another one recovers
            let after_ms = if random.once_in(2) { random.within(0, 300) } else { random.within(300, 2_000) };
            steps.push(Step { after_ms, fault: Fault::Kill { target, down_ms: random.within(0, 400) } });
        }
        Self { seed, steps }
    }

    /// Kills in it.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.fault, Fault::Kill { .. })).count()
    }
}

fn other(random: &mut Random, brokers: usize, partitions: i32) -> Fault {
    let last = u64::try_from(brokers.saturating_sub(1)).unwrap_or(0);
    let mut broker = || usize::try_from(random.within(0, last)).unwrap_or(0);
    let broker = broker();
    let ms = random.within(300, 2_500);
    let mut targets = Target::STAGES.to_vec();
    targets.push(Target::Broker(broker));
    let target = random.pick(&targets).copied().unwrap_or(Target::Proxy);
    let moods = [Mood::Refuses, Mood::Denies, Mood::Slow(random.within(200, 1_500)), Mood::Cuts, Mood::Lies];
    let mood = random.pick(&moods).copied().unwrap_or(Mood::Honest);
    let groups = [Target::Enricher, Target::Masker];
    match random.within(0, 9) {
        // longer than the sessions of the groups last: others take over, then it wakes up
        0 => Fault::Freeze { target, ms: random.within(6_500, 8_000) },
        1 | 2 => Fault::Freeze { target, ms },
        3 => Fault::Cut { broker, ms: ms.saturating_mul(2), silent: random.once_in(2) },
        4 => Fault::Slow { broker, ms: ms.saturating_mul(2), delay_ms: random.within(20, 200) },
        5 | 6 => Fault::Store { mood, ms: ms.saturating_mul(2) },
        7 | 8 => {
            let target = random.pick(&groups).copied().unwrap_or(Target::Masker);
            Fault::Storm { target, ms: ms.saturating_add(1_000), kill: random.once_in(2) }
        }
        _ => {
            let last = u64::try_from(partitions.saturating_sub(1)).unwrap_or(0);
            let partition = i32::try_from(random.within(0, last)).unwrap_or(0);
            Fault::Repeat { partition, count: usize::try_from(random.within(1, 200)).unwrap_or(1) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_seed_replays() {
        assert_eq!(Plan::new(7, 60, 3, 4), Plan::new(7, 60, 3, 4));
        assert_ne!(Plan::new(7, 60, 3, 4).steps, Plan::new(8, 60, 3, 4).steps);
    }

    #[test]
    fn every_process_is_killed_and_every_fault_comes() {
        let plan = Plan::new(1, 200, 3, 4);
        let (mut killed, mut kinds): (BTreeMap<Target, u32>, BTreeMap<&str, u32>) = Default::default();
        for step in &plan.steps {
            *kinds.entry(step.fault.kind()).or_default() += 1;
            if let Fault::Kill { target, .. } = step.fault {
                *killed.entry(target).or_default() += 1;
            }
        }
        assert_eq!(plan.kills(), 200);
        assert_eq!(killed.len(), 8, "{killed:?}");
        assert_eq!(kinds.len(), 7, "{kinds:?}");
    }
}
