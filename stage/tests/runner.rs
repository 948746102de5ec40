//! The runner on the embedded bus, with faults injected between it and the bus.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

mod runner_support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{Bus, BusErrorKind};
use stage::runner::{Limits, StageError, StageSpec, run};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};
use stage::{Level, Shutdown};

use self::runner_support::{Faulty, Make, StopOnDrop, all, body, put, spec, texts, topics};

fn bus(folder: &std::path::Path) -> Arc<Embedded> {
    let bus = Embedded::open(&EmbeddedConfig::at(folder)).unwrap();
    bus.ensure_topics(&topics()).unwrap();
    bus
}

fn drain(bus: &dyn Bus) -> Result<(), StageError> {
    let shutdown = Shutdown::new();
    shutdown.raise(Level::Drain);
    run(bus, &spec(), &Make, &shutdown, &|| 0)
}

#[test]
fn order_state_and_positions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    put(bus.as_ref(), "in", &[(0, "a", "1"), (1, "b", "10"), (0, "a", "2"), (0, "a", "3"), (0, "a", "4")]);
    drain(bus.as_ref()).unwrap();
    put(bus.as_ref(), "in", &[(0, "a", "5")]);
    drain(bus.as_ref()).unwrap();
    assert_eq!(texts(bus.as_ref(), "out", 0), ["1=1", "2=3", "3=6", "4=10", "5=15"]);
    assert_eq!(texts(bus.as_ref(), "out", 1), ["10=10"]);
}

/// I-04, P39: one poison record is one dead letter with its bytes and place; nothing half written stays.
#[test]
fn a_refused_record_is_a_dead_letter_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    put(bus.as_ref(), "in", &[(0, "a", "1"), (0, "a", "bad"), (0, "a", "2")]);
    drain(bus.as_ref()).unwrap();
    assert_eq!(texts(bus.as_ref(), "out", 0), ["1=1", "2=3"]);
    let letters = all(bus.as_ref(), "dlq").remove(&0).unwrap();
    let letter: schemas::v1::DeadLetter = schemas::Record::from_body(body(&letters[0])).unwrap();
    assert_eq!((letters.len(), letter.stage.as_str(), letter.code.as_str(), letter.offset), (1, "sum", "T-001", 1));
    assert_eq!(letter.value.as_deref(), Some(b"bad".as_slice()));
}

#[test]
fn a_record_waits_for_the_table_and_only_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    put(bus.as_ref(), "in", &[(0, "a", "need:x"), (0, "a", "2"), (1, "b", "7")]);
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(std::slice::from_ref(&shutdown));
        let stage = scope.spawn(|| {
            run(
                bus.as_ref(),
                &StageSpec { limits: Limits { wait_ms: 60_000, ..spec().limits }, ..spec() },
                &Make,
                &shutdown,
                &|| 0,
            )
        });
        while texts(bus.as_ref(), "out", 1).is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(texts(bus.as_ref(), "out", 0).is_empty(), "nothing overtakes a waiting record");
        put(bus.as_ref(), "table", &[(0, "x", "here")]);
        while texts(bus.as_ref(), "out", 0).len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        shutdown.raise(Level::Stop);
        stage.join().unwrap().unwrap();
    });
    assert_eq!(texts(bus.as_ref(), "out", 0), ["1=1", "2=3"]);
    put(bus.as_ref(), "in", &[(0, "a", "need:never"), (0, "a", "4")]);
    drain(bus.as_ref()).unwrap();
    assert_eq!(texts(bus.as_ref(), "out", 0), ["1=1", "2=3", "1=4", "4=8"], "the wait has an end");
}

/// Keeps its last input back until a tick without a new one.
#[derive(Default)]
struct Hold {
    held: Option<(i64, Vec<u8>)>,
    fresh: bool,
}

struct MakeHold;

impl Factory for MakeHold {
    type Transform = Hold;
    fn make(&self, _partition: i32) -> Hold {
        Hold::default()
    }
}

impl Hold {
    fn release(&mut self, out: &mut Out) {
        if let Some((_, value)) = self.held.take() {
            out.body_with(0, b"k", |body| body.extend_from_slice(&value));
        }
    }
}

impl Transform for Hold {
    fn apply(&mut self, _ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        self.release(out);
        self.held = Some((input.offset, input.value.unwrap().to_vec()));
        self.fresh = true;
        Ok(Verdict::Done)
    }
    fn tick(&mut self, _ctx: &Context, out: &mut Out) {
        if !std::mem::take(&mut self.fresh) {
            self.release(out);
        }
    }
    fn held_from(&self) -> Option<i64> {
        self.held.as_ref().map(|(offset, _)| *offset)
    }
}

/// I-04: what a tick lets go moves the position with it, although no input came: a restart does not write it again.
#[test]
fn a_held_record_is_read_again_until_written_and_not_after() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    put(bus.as_ref(), "in", &[(0, "a", "1"), (0, "a", "2")]);
    let shutdown = Shutdown::new();
    shutdown.raise(Level::Stop);
    run(bus.as_ref(), &spec(), &MakeHold, &shutdown, &|| 0).unwrap();
    assert!(texts(bus.as_ref(), "out", 0).len() < 2, "the last one is held over the stop");
    for _ in 0..2 {
        let shutdown = Shutdown::new();
        shutdown.raise(Level::Drain);
        run(bus.as_ref(), &spec(), &MakeHold, &shutdown, &|| 0).unwrap();
    }
    assert_eq!(texts(bus.as_ref(), "out", 0), ["1", "2"]);
}

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

/// I-10: a refused record as large as the bus takes still fits the dead letters, cut and said to be cut.
#[test]
fn the_largest_refused_record_does_not_stop_the_stage() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path());
    let large = "x".repeat((1 << 20) - 1_000);
    put(bus.as_ref(), "in", &[(0, "a", large.as_str()), (0, "a", "small")]);
    let shutdown = Shutdown::new();
    shutdown.raise(Level::Drain);
    run(bus.as_ref(), &spec(), &Refuse, &shutdown, &|| 0).unwrap();
    let letters = all(bus.as_ref(), "dlq").remove(&0).unwrap();
    let letters: Vec<schemas::v1::DeadLetter> =
        letters.iter().map(|letter| schemas::Record::from_body(body(letter)).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    assert!(letters[0].detail.contains("of 1047576 bytes kept"), "{}", letters[0].detail);
    assert_eq!(letters[1].value.as_deref(), Some(b"small".as_slice()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// I-04: whatever fails and wherever, the output is that of a run without faults: nothing lost, nothing twice.
    #[test]
    fn faults_leave_no_trace(numbers in prop::collection::vec(1_i64..100, 1..12), faults in prop::collection::vec((0_usize..60, any::<bool>()), 0..6)) {
        let folder = tempfile::tempdir().unwrap();
        let inner = bus(folder.path());
        let texts_in: Vec<String> = numbers.iter().map(i64::to_string).collect();
        let records: Vec<(i32, &str, &str)> = texts_in.iter().enumerate().map(|(i, text)| ((i % 2) as i32, "k", text.as_str())).collect();
        put(inner.as_ref(), "in", &records);
        let kind = |abort| if abort { BusErrorKind::Abort } else { BusErrorKind::Retriable };
        let faults = faults.into_iter().map(|(at, abort)| (at, kind(abort))).collect();
        let faulty = Faulty { inner: inner.clone(), calls: Arc::default(), faults };
        drain(&faulty).unwrap();
        for partition in 0..2 {
            let mut total = 0;
            let mine = numbers.iter().enumerate().filter(|(i, _)| (i % 2) as i32 == partition);
            let expected: Vec<String> = mine.map(|(_, n)| { total += n; format!("{n}={total}") }).collect();
            prop_assert_eq!(texts(inner.as_ref(), "out", partition), expected);
        }
    }
}

#[test]
fn a_newer_instance_fences_and_a_lasting_refusal_ends_the_stage() {
    let folder = tempfile::tempdir().unwrap();
    let inner = bus(folder.path());
    put(inner.as_ref(), "in", &[(0, "a", "1")]);
    let with =
        |kind| Faulty { inner: inner.clone(), calls: Arc::default(), faults: (0..100).map(|at| (at, kind)).collect() };
    assert!(matches!(drain(&with(BusErrorKind::Fenced)), Err(StageError::Fenced { .. })));
    let once = Faulty { inner: inner.clone(), calls: Arc::default(), faults: vec![(4, BusErrorKind::Fenced)] };
    assert!(matches!(drain(&with(BusErrorKind::Fatal)), Err(StageError::Bus { .. })));
    assert!(texts(inner.as_ref(), "out", 0).is_empty());
    drain(&once).unwrap();
    assert_eq!(texts(inner.as_ref(), "out", 0), ["1=1"], "one fence may be an echo");
}
