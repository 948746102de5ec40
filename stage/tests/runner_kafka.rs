//! The runner on a real Kafka: what the embedded bus cannot show of groups, transactions and their holes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod runner_support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stage::bus::kafka::{Kafka, KafkaConfig};
use stage::bus::{Bus, BusErrorKind, TopicPartition};
use stage::runner::{Limits, StageError, StageSpec, run};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};
use stage::{Level, Shutdown};

use self::runner_support::{Faulty, Make, StopOnDrop, Sum, all_within, body, put, spec, topics};

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Silence after which a topic counts as read.
const QUIET: Duration = Duration::from_millis(700);

/// A stage of its own: topics and group under a prefix.
struct Line {
    config: KafkaConfig,
    bus: Arc<dyn Bus>,
    spec: StageSpec,
}

impl Line {
    fn new(bootstrap: &str, prefix: &str) -> Self {
        let mut config = KafkaConfig::at(bootstrap);
        for (name, value) in
            [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "200"), ("reconnect.backoff.max.ms", "500")]
        {
            config.properties.insert(name.into(), value.into());
        }
        let bus = Kafka::connect(&config).unwrap();
        let mut all = topics();
        all.iter_mut().for_each(|topic| topic.name = format!("{prefix}-{}", topic.name));
        // a broker that has just started on a busy machine may answer late
        let made = || Ok(Some(bus.ensure_topics(&all)?));
        testkit::wait::eventually("topics are made", PATIENCE, made).unwrap();
        let named = |topic: &str| format!("{prefix}-{topic}");
        let base = spec();
        let spec = StageSpec {
            name: named(&base.name),
            input: named(&base.input),
            outputs: base.outputs.iter().map(|topic| named(topic)).collect(),
            table: base.table.as_deref().map(named),
            dlq: named(&base.dlq),
            ..base
        };
        Self { config, bus, spec }
    }

    fn put(&self, topic: &str, records: &[(i32, &str, &str)]) {
        let prefix = self.spec.name.trim_end_matches("sum");
        put(self.bus.as_ref(), &format!("{prefix}{topic}"), records);
    }

    /// Texts of an output partition, once there are `count` of them, and whatever comes soon after.
    fn texts(&self, partition: i32, count: usize) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let values = all_within(self.bus.as_ref(), &self.spec.outputs[0], QUIET).remove(&partition);
            let texts: Vec<String> = values
                .unwrap_or_default()
                .iter()
                .map(|value| String::from_utf8(body(value).to_vec()).unwrap())
                .collect();
            if texts.len() >= count || Instant::now() > until {
                return texts;
            }
        }
    }

    fn drain(&self) {
        self.drain_on(self.bus.as_ref()).unwrap();
    }

    fn drain_on(&self, bus: &dyn Bus) -> Result<(), StageError> {
        let shutdown = Shutdown::new();
        shutdown.raise(Level::Drain);
        run(bus, &self.spec, &Make, &shutdown, &|| 0)
    }
}

/// Says how long a step took; the suite's own limit ends one that hangs.
fn timed(what: &str, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    println!("{what}: {:?}", began.elapsed());
}

type Check = (&'static str, fn(&str));

/// One broker and all checks at once: each mostly waits.
#[test]
fn the_runner_keeps_its_promises_on_kafka() {
    let broker = testkit::kafka::Kafka::one().unwrap();
    let bootstrap = broker.bootstrap();
    let checks: [Check; 5] = [
        ("restart", order_state_and_positions_survive_a_restart),
        ("letter", a_refused_record_is_a_dead_letter),
        ("wait", a_record_waits_for_the_table_and_a_stop_is_prompt),
        ("faults", an_abort_leaves_no_trace),
        ("pair", two_instances_share_and_one_takes_over),
    ];
    std::thread::scope(|scope| {
        let running: Vec<_> =
            checks.iter().map(|(name, check)| (name, scope.spawn(|| timed(name, || check(&bootstrap))))).collect();
        let failed: Vec<_> =
            running.into_iter().filter_map(|(name, check)| check.join().is_err().then_some(name)).collect();
        assert!(failed.is_empty(), "failed: {failed:?}");
    });
}

/// I-04 without imitation: the broker dies in the middle of the work, with a transaction open as likely as not. It may
/// come back and say that the stage's own name is taken by another; that is no reason to stop.
#[test]
fn a_killed_broker_leaves_no_trace() {
    let mut broker = testkit::kafka::Kafka::one().unwrap();
    let line = &Line::new(&broker.bootstrap(), "kill");
    let numbers: Vec<String> = (1..=200).map(|number| number.to_string()).collect();
    let records: Vec<(i32, &str, &str)> = numbers.iter().map(|number| (0, "a", number.as_str())).collect();
    line.put("in", &records);
    let shutdown = Shutdown::new();
    let output = TopicPartition { topic: line.spec.outputs[0].clone(), partition: 0 };
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(std::slice::from_ref(&shutdown));
        let stage = scope.spawn(|| run(line.bus.as_ref(), &line.spec, &Make, &shutdown, &|| 0));
        let until = Instant::now() + PATIENCE;
        while line.bus.bounds(&output).unwrap().1 < 40 {
            assert!(Instant::now() < until, "the stage does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        timed("restart of the broker", || {
            broker.kill9(0).unwrap();
            broker.restart(0).unwrap();
        });
        let mut total = 0;
        let sum = |number: i64| {
            total += number;
            format!("{number}={total}")
        };
        let (found, expected) = (line.texts(0, 200), (1..=200).map(sum).collect::<Vec<_>>());
        shutdown.raise(Level::Stop);
        stage.join().unwrap().unwrap();
        let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        assert_eq!((found.len(), differs), (200, None));
    });
}

/// Takes very long for one record, once.
struct Slow {
    inner: Sum,
    rest: Arc<Mutex<Duration>>,
}

struct MakeSlow(Arc<Mutex<Duration>>);

impl Factory for MakeSlow {
    type Transform = Slow;
    fn make(&self, _partition: i32) -> Slow {
        Slow { inner: Sum::default(), rest: self.0.clone() }
    }
}

impl Transform for Slow {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        if input.offset == 2 {
            std::thread::sleep(std::mem::take(&mut *self.rest.lock().unwrap()));
        }
        self.inner.apply(ctx, input, out)
    }
    fn flush(&mut self, ctx: &Context, out: &mut Out) {
        self.inner.flush(ctx, out);
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.inner.restore(key, value);
    }
}

/// I-04: a stage sleeps in the middle of a transaction, past the transaction's time and past the group's patience. The
/// coordinator has aborted the one and given away the partitions by then: a new producer goes on where it was, exactly once.
#[test]
fn a_sleep_past_every_timeout_leaves_no_trace() {
    let quick = ("transaction.abort.timed.out.transaction.cleanup.interval.ms".to_owned(), "300".to_owned());
    let options = testkit::kafka::Options { properties: vec![quick], ..Default::default() };
    let broker = testkit::kafka::Kafka::start(&options).unwrap();
    let mut line = Line::new(&broker.bootstrap(), "sleep");
    for (name, value) in
        [("transaction.timeout.ms", "3000"), ("message.timeout.ms", "2000"), ("max.poll.interval.ms", "5000")]
    {
        line.config.properties.insert(name.into(), value.into());
    }
    line.bus = Kafka::connect(&line.config).unwrap();
    line.put("in", &[(0, "a", "1"), (0, "a", "2"), (0, "a", "3"), (0, "a", "4"), (1, "b", "10")]);
    let factory = MakeSlow(Arc::new(Mutex::new(Duration::from_secs(8))));
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(std::slice::from_ref(&shutdown));
        let stage = scope.spawn(|| run(line.bus.as_ref(), &line.spec, &factory, &shutdown, &|| 0));
        assert_eq!(line.texts(0, 4), ["1=1", "2=3", "3=6", "4=10"]);
        assert_eq!(line.texts(1, 1), ["10=10"]);
        shutdown.raise(Level::Stop);
        stage.join().unwrap().unwrap();
    });
    assert!(factory.0.lock().unwrap().is_zero(), "it slept");
}

fn order_state_and_positions_survive_a_restart(bootstrap: &str) {
    let line = Line::new(bootstrap, "restart");
    line.put("in", &[(0, "a", "1"), (1, "b", "10"), (0, "a", "2"), (0, "a", "3"), (0, "a", "4")]);
    timed("first drain", || line.drain());
    line.put("in", &[(0, "a", "5")]);
    timed("drain of one record", || line.drain());
    timed("drain of nothing", || line.drain());
    assert_eq!(line.texts(0, 5), ["1=1", "2=3", "3=6", "4=10", "5=15"]);
    assert_eq!(line.texts(1, 1), ["10=10"]);
}

fn a_refused_record_is_a_dead_letter(bootstrap: &str) {
    let line = Line::new(bootstrap, "letter");
    line.put("in", &[(0, "a", "1"), (0, "a", "bad"), (0, "a", "2")]);
    line.drain();
    assert_eq!(line.texts(0, 2), ["1=1", "2=3"]);
    let letters = all_within(line.bus.as_ref(), &line.spec.dlq, QUIET).remove(&0).unwrap();
    let letter: schemas::v1::DeadLetter = schemas::Record::from_body(body(&letters[0])).unwrap();
    assert_eq!(
        (letters.len(), letter.topic.as_str(), letter.code.as_str(), letter.offset),
        (1, "letter-in", "T-001", 1)
    );
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(b"a".as_slice()), Some(b"bad".as_slice())));
}

fn a_record_waits_for_the_table_and_a_stop_is_prompt(bootstrap: &str) {
    let mut line = Line::new(bootstrap, "wait");
    line.spec.limits = Limits { wait_ms: 60_000, ..line.spec.limits };
    let line = &line;
    line.put("in", &[(0, "a", "need:x"), (0, "a", "2"), (1, "b", "7")]);
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(std::slice::from_ref(&shutdown));
        let stage = scope.spawn(|| run(line.bus.as_ref(), &line.spec, &Make, &shutdown, &|| 0));
        assert_eq!(line.texts(1, 1), ["7=7"]);
        assert!(line.texts(0, 0).is_empty(), "nothing overtakes a waiting record");
        line.put("table", &[(0, "x", "here")]);
        assert_eq!(line.texts(0, 2), ["1=1", "2=3"]);
        timed("stop", || {
            shutdown.raise(Level::Stop);
            stage.join().unwrap().unwrap();
        });
    });
    // what the table holds already is known at the next start
    line.put("in", &[(0, "a", "need:x")]);
    line.drain();
    assert_eq!(line.texts(0, 3), ["1=1", "2=3", "1=4"]);
}

/// I-04: calls of the writer fail, some after a transaction was filled; the output is that of a run without faults.
fn an_abort_leaves_no_trace(bootstrap: &str) {
    let line = Line::new(bootstrap, "faults");
    let numbers: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    let records: Vec<(i32, &str, &str)> = numbers.iter().map(|number| (0, "a", number.as_str())).collect();
    line.put("in", &records);
    let kinds = [BusErrorKind::Abort, BusErrorKind::Abort, BusErrorKind::Retriable];
    let faults: Vec<_> = (4..32).step_by(4).zip(kinds.into_iter().cycle()).collect();
    let faulty = Faulty { inner: line.bus.clone(), calls: Arc::default(), faults };
    line.drain_on(&faulty).unwrap();
    assert!(faulty.calls.load(std::sync::atomic::Ordering::Relaxed) > 28, "all faults were met");
    let mut total = 0;
    let sum = |number: i64| {
        total += number;
        format!("{number}={total}")
    };
    assert_eq!(line.texts(0, 12), (1..=12).map(sum).collect::<Vec<_>>());
}

/// Notes which instance holds which partition.
struct Owned {
    name: &'static str,
    owners: Arc<Mutex<BTreeMap<i32, &'static str>>>,
}

impl Factory for Owned {
    type Transform = Sum;
    fn make(&self, partition: i32) -> Sum {
        self.owners.lock().unwrap().insert(partition, self.name);
        Sum::default()
    }
}

fn two_instances_share_and_one_takes_over(bootstrap: &str) {
    let line = &Line::new(bootstrap, "pair");
    let owners = Arc::new(Mutex::new(BTreeMap::new()));
    let await_owners = |expected: &[&str]| {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut now: Vec<&str> = owners.lock().unwrap().values().copied().collect();
            now.sort_unstable();
            if now == expected {
                return;
            }
            assert!(Instant::now() < until, "owners are {now:?}, not {expected:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let stops = [Shutdown::new(), Shutdown::new()];
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stops);
        let start = |index: usize, name: &'static str| {
            let (stop, owned) = (stops[index].clone(), Owned { name, owners: owners.clone() });
            let bus = Kafka::connect(&line.config).unwrap();
            let spec = StageSpec { instance: name.into(), ..line.spec.clone() };
            scope.spawn(move || run(bus.as_ref(), &spec, &owned, &stop, &|| 0))
        };
        let one = start(0, "one");
        await_owners(&["one", "one"]);
        line.put("in", &[(0, "a", "1"), (1, "b", "10")]);
        assert_eq!((line.texts(0, 1), line.texts(1, 1)), (vec!["1=1".to_owned()], vec!["10=10".to_owned()]));
        let two = start(1, "two");
        await_owners(&["one", "two"]);
        line.put("in", &[(0, "a", "2"), (1, "b", "20")]);
        assert_eq!((line.texts(0, 2)[1].as_str(), line.texts(1, 2)[1].as_str()), ("2=3", "20=30"));
        stops[0].raise(Level::Stop);
        timed("stop of one", || one.join().unwrap().unwrap());
        timed("takeover", || await_owners(&["two", "two"]));
        line.put("in", &[(0, "a", "3"), (1, "b", "30")]);
        assert_eq!(line.texts(0, 3), ["1=1", "2=3", "3=6"]);
        assert_eq!(line.texts(1, 3), ["10=10", "20=30", "30=60"]);
        stops[1].raise(Level::Stop);
        two.join().unwrap().unwrap();
    });
}
