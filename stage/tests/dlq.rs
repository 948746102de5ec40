//! Dead letters go back to their input once, whatever fails meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod runner_support;

use std::sync::Arc;
use std::time::Duration;

use schemas::framing::Framing;
use schemas::topics::Topics;
use schemas::v1::DeadLetter;
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{Bus, BusError, BusErrorKind};
use stage::dlq::{Filed, Outcome, read, redrive, watch};
use stage::runner::run;
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};
use stage::{Env, Level, Shutdown};

use self::runner_support::{Faulty, PARTITIONS, all, put, spec, topics};

/// Refuses everything.
struct Refuse;

impl Factory for Refuse {
    type Transform = Refuse;
    fn make(&self, _partition: i32) -> Refuse {
        Refuse
    }
}

impl Transform for Refuse {
    fn apply(&mut self, _ctx: &Context, _input: Input<'_>, _out: &mut Out) -> Result<Verdict, Rejection> {
        Err(Rejection::new("T-002", "refused"))
    }
}

fn bus(folder: &std::path::Path) -> Arc<Embedded> {
    let bus = Embedded::open(&EmbeddedConfig::at(folder)).unwrap();
    bus.ensure_topics(&topics()).unwrap();
    bus
}

fn refuse_all(bus: &dyn Bus) {
    let shutdown = Shutdown::new();
    shutdown.raise(Level::Drain);
    run(bus, &spec(), &Refuse, &shutdown, &|| 0).unwrap();
}

fn send_back(bus: &dyn Bus, chosen: &dyn Fn(&Filed) -> bool) -> Result<Vec<(Filed, Outcome)>, BusError> {
    redrive(bus, "dlq", PARTITIONS, &Framing::Confluent(7), &["in".to_owned()], chosen)
}

fn input(bus: &dyn Bus) -> Vec<String> {
    let texts = all(bus, "in").into_values().flatten();
    texts.map(|value| String::from_utf8(value).unwrap()).collect()
}

/// P23, I-04: a letter goes back byte for byte to its partition, is noted, and does not go back again.
#[test]
fn a_letter_goes_back_once_and_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    put(bus.as_ref(), "in", &[(0, "a", "one"), (1, "b", "two"), (0, "a", "three")]);
    refuse_all(bus.as_ref());
    let one = |filed: &Filed| filed.letter.value.as_deref() == Some(b"one".as_slice());
    let outcomes = send_back(bus.as_ref(), &one).unwrap();
    assert_eq!((outcomes.len(), &outcomes[0].1), (1, &Outcome::Redriven));
    assert_eq!(input(bus.as_ref()), ["one", "three", "one", "two"]);
    let letters = read(bus.as_ref(), "dlq", PARTITIONS).unwrap();
    let noted: Vec<bool> = letters.filed.values().map(|filed| filed.redriven_ms.is_some()).collect();
    assert_eq!((noted, letters.unreadable), (vec![true, false, false], 0));
    let again = send_back(bus.as_ref(), &one).unwrap();
    assert_eq!(again[0].1, Outcome::Before);
    send_back(bus.as_ref(), &|_| true).unwrap();
    assert_eq!(input(bus.as_ref()), ["one", "three", "one", "three", "two", "two"]);
    assert!(send_back(bus.as_ref(), &|filed| filed.redriven_ms.is_none()).unwrap().is_empty());
}

/// I-04: the command dies at any of its calls and is given again: each letter is back once.
#[test]
fn a_redrive_that_dies_anywhere_is_given_again() {
    for call in 0..14 {
        let folder = tempfile::tempdir().unwrap();
        let inner = bus(folder.path());
        put(inner.as_ref(), "in", &[(0, "a", "one"), (1, "b", "two"), (0, "a", "three")]);
        refuse_all(inner.as_ref());
        let faults = vec![(call, BusErrorKind::Fatal)];
        let faulty = Faulty { inner: inner.clone(), calls: Arc::default(), faults };
        let died = send_back(&faulty, &|_| true).is_err();
        // begin, two notes, commit; begin, three times record and note, commit
        assert_eq!(died, call < 12, "call {call}");
        send_back(inner.as_ref(), &|_| true).unwrap();
        assert_eq!(input(inner.as_ref()), ["one", "three", "one", "three", "two", "two"], "call {call}");
    }
}

/// A letter names a topic; whoever can write letters must not be able to write anywhere by them.
#[test]
fn only_inputs_of_stages_are_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    put(bus.as_ref(), "in", &[(0, "a", "one")]);
    refuse_all(bus.as_ref());
    let framing = Framing::single_object::<DeadLetter>();
    let outcomes = redrive(bus.as_ref(), "dlq", PARTITIONS, &framing, &["out".to_owned()], &|_| true).unwrap();
    assert!(matches!(&outcomes[0].1, Outcome::Refused(reason) if reason.contains("`in`")));
    assert_eq!(input(bus.as_ref()), ["one"]);
}

/// What did not fit into the letter comes from its origin.
#[test]
fn a_cut_letter_goes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    let large = "0123456789abcdef".repeat(65_000);
    put(bus.as_ref(), "in", &[(0, "a", "one"), (0, "a", large.as_str())]);
    refuse_all(bus.as_ref());
    let outcomes = send_back(bus.as_ref(), &|filed| filed.letter.offset == 1).unwrap();
    assert!(outcomes[0].0.letter.value.as_ref().unwrap().len() < large.len());
    assert_eq!(outcomes[0].1, Outcome::Redriven);
    let back = input(bus.as_ref());
    assert!(back.len() == 3 && back[2] == large);
}

/// P23: how many wait and since when is a metric.
#[test]
fn letters_that_wait_are_a_metric() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    bus.ensure_topics(&[stage::bus::TopicSpec { name: "audit.dlq".into(), ..topics()[4].clone() }]).unwrap();
    let env = Env {
        bus: bus.clone(),
        topics: Topics::new("audit."),
        partitions: PARTITIONS,
        registry: Arc::new(stage::registry::Registry::none()),
        shutdown: Shutdown::new(),
        instance: "one".into(),
    };
    put(bus.as_ref(), "in", &[(0, "a", "one"), (0, "a", "two")]);
    let shutdown = Shutdown::new();
    shutdown.raise(Level::Drain);
    let spec = stage::runner::StageSpec { dlq: "audit.dlq".into(), ..spec() };
    run(bus.as_ref(), &spec, &Refuse, &shutdown, &|| 0).unwrap();
    let framing = Framing::single_object::<DeadLetter>();
    let one = |filed: &Filed| filed.letter.offset == 0;
    redrive(bus.as_ref(), "audit.dlq", PARTITIONS, &framing, &["in".to_owned()], &one).unwrap();
    let open = stage::metrics::gauge("dlq_open_letters", "", &[]);
    let age = stage::metrics::gauge("dlq_oldest_age_ms", "", &[]);
    std::thread::sleep(Duration::from_millis(20));
    let watching = watch(&env).unwrap();
    testkit::wait::eventually("the metric is there", Duration::from_secs(20), || Ok((age.get() > 0).then_some(())))
        .unwrap();
    assert_eq!(open.get(), 1);
    watching.stop(Level::Drain).unwrap();
}
