//! A chain under the runner: fused and apart, over restarts, on the embedded bus.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod runner_support;

use schemas::framing::Framing;
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{Bus, Cleanup, TopicSpec};
use stage::chain::{ChainFactory, Prompt, Side, Wiring};
use stage::runner::{StageSpec, run};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};
use stage::{Level, Shutdown};

use self::runner_support::{Make, all, body, put, spec, texts, topics};

/// Puts its place in front of each text; refuses those that begin with `3=`.
#[derive(Clone)]
struct Mark;

impl Factory for Mark {
    type Transform = Mark;
    fn make(&self, _partition: i32) -> Mark {
        Mark
    }
}

impl Transform for Mark {
    fn apply(&mut self, _ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let text = body(input.value.unwrap());
        if text.starts_with(b"3=") {
            return Err(Rejection::new("M-003", "no threes"));
        }
        out.body_with(0, input.key.unwrap(), |body| {
            body.extend_from_slice(b"marked ");
            body.extend_from_slice(text);
        });
        Ok(Verdict::Done)
    }
}

impl Prompt for Mark {}

/// Runs what `make` wants run, in three drains with new records before each, and gives the topic `last`.
fn lines(make: impl Fn(&dyn Bus)) -> (Vec<String>, Vec<schemas::v1::DeadLetter>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let bus = Embedded::open(&EmbeddedConfig::at(folder.path())).unwrap();
    bus.ensure_topics(&topics()).unwrap();
    let cleanup = Cleanup::Delete { retention_ms: -1 };
    bus.ensure_topics(&[TopicSpec { name: "last".into(), partitions: 2, cleanup }]).unwrap();
    put(bus.as_ref(), "table", &[(0, "x", "here")]);
    for records in [["1", "need:x", "bad"], ["2", "3", "4"], ["5", "6", "7"]] {
        put(bus.as_ref(), "in", &records.map(|text| (0, "a", text)));
        make(bus.as_ref());
    }
    let letters = all(bus.as_ref(), "dlq").remove(&0).unwrap_or_default();
    let letters = letters.iter().map(|letter| schemas::Record::from_body(body(letter)).unwrap()).collect();
    (texts(bus.as_ref(), "last", 0), letters, texts(bus.as_ref(), "out", 0))
}

fn drain<F: Factory>(bus: &dyn Bus, spec: &StageSpec, factory: &F) {
    let shutdown = Shutdown::new();
    shutdown.raise(Level::Drain);
    run(bus, spec, factory, &shutdown, &|| 0).unwrap();
}

/// I-16: the state topic, the table and the dead letters work through the chain, and the topic between stays empty.
#[test]
fn fused_and_apart_write_the_same_last_topic_over_restarts() {
    let second = StageSpec {
        name: "mark".into(),
        input: "out".into(),
        outputs: vec!["last".into()],
        framings: vec![Framing::SingleObject(3)],
        table: None,
        state_slot: None,
        ..spec()
    };
    let (apart, apart_letters, _) = lines(|bus| {
        drain(bus, &spec(), &Make);
        drain(bus, &second, &Mark);
    });
    let wiring = Wiring {
        through: "out".into(),
        framings: spec().framings,
        second_slots: 1,
        table: Side::First,
        state: Side::First,
    };
    let fused_spec = StageSpec {
        name: "sum-mark".into(),
        outputs: vec!["last".into(), "state".into()],
        framings: vec![Framing::SingleObject(3), Framing::SingleObject(2)],
        state_slot: wiring.slot_of_first(1),
        ..spec()
    };
    let factory = ChainFactory::new(Make, Mark, wiring);
    let (fused, letters, between) = lines(|bus| drain(bus, &fused_spec, &factory));
    assert_eq!(fused, apart);
    assert_eq!(fused.last().map(String::as_str), Some("marked 7=29"));
    assert!(between.is_empty());
    let codes = |letters: &[schemas::v1::DeadLetter]| -> Vec<(String, Option<Vec<u8>>)> {
        letters.iter().map(|letter| (letter.code.clone(), letter.value.clone())).collect()
    };
    let three =
        |value: &[u8]| vec![("T-001".to_owned(), Some(b"bad".to_vec())), ("M-003".into(), Some(value.to_vec()))];
    assert_eq!(codes(&letters), three(b"3"), "the first's input is the letter");
    let mut framed = Vec::new();
    Framing::SingleObject(1).prefix(&mut framed);
    framed.extend_from_slice(b"3=7");
    assert_eq!(codes(&apart_letters), three(&framed));
}

/// Refuses everything it is given.
struct Never;

impl Factory for Never {
    type Transform = Never;
    fn make(&self, _partition: i32) -> Never {
        Never
    }
}

impl Transform for Never {
    fn apply(&mut self, _ctx: &Context, _input: Input<'_>, _out: &mut Out) -> Result<Verdict, Rejection> {
        Err(Rejection::new("N-001", "never"))
    }
}

impl Prompt for Never {}

/// Takes all, and writes the number of what it took at each flush.
#[derive(Default)]
struct Late(u64, u64);

impl Factory for Late {
    type Transform = Late;
    fn make(&self, _partition: i32) -> Late {
        Late::default()
    }
}

impl Transform for Late {
    fn apply(&mut self, _ctx: &Context, _input: Input<'_>, _out: &mut Out) -> Result<Verdict, Rejection> {
        self.0 += 1;
        Ok(Verdict::Done)
    }
    fn flush(&mut self, _ctx: &Context, out: &mut Out) {
        if self.0 > self.1 {
            self.1 = self.0;
            out.body_with(0, b"k", |body| body.extend_from_slice(self.0.to_string().as_bytes()));
        }
    }
}

/// I-04: what a flush made and the second refuses is a dead letter of the topic between.
#[test]
fn a_refused_record_without_an_input_is_a_dead_letter_too() {
    let wiring = Wiring {
        through: "out".into(),
        framings: vec![Framing::SingleObject(1)],
        second_slots: 1,
        table: Side::First,
        state: Side::First,
    };
    let spec = StageSpec { outputs: vec!["last".into()], table: None, state_slot: None, ..spec() };
    let factory = ChainFactory::new(Late::default(), Never, wiring);
    let (last, letters, _) = lines(|bus| drain(bus, &spec, &factory));
    assert!(last.is_empty());
    assert_eq!(letters.len(), 3);
    for letter in &letters {
        assert_eq!((letter.topic.as_str(), letter.offset, letter.code.as_str()), ("out", -1, "N-001"));
        assert_eq!(
            (letter.key.as_deref(), body(letter.value.as_deref().unwrap())),
            (Some(b"k".as_slice()), b"3".as_slice())
        );
    }
}
