//! Two small stages, fused and apart: the same final records (I-16), whatever the transactions.
use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::framing::split;

use super::*;

fn text(value: &[u8]) -> String {
    String::from_utf8(split(value).map_or(value, |(_, body)| body).to_vec()).unwrap()
}

fn put(out: &mut Out, slot: usize, key: &[u8], text: &str) {
    out.body_with(slot, key, |body| body.extend_from_slice(text.as_bytes()));
}

/// Makes 0 to 2 records of each number and counts its inputs; with `hold`, its newest records wait for the next input or
/// a quiet tick.
#[derive(Default)]
struct Spread {
    hold: bool,
    count: u64,
    dirty: bool,
    held: Option<(i64, Vec<String>)>,
    fresh: bool,
    waits: bool,
}

impl Spread {
    fn release(&mut self, out: &mut Out) {
        for text in self.held.take().map(|(_, texts)| texts).unwrap_or_default() {
            put(out, 0, b"k", &text);
        }
    }
}

impl Transform for Spread {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        if self.waits && !ctx.wait_over {
            return Ok(Verdict::Wait);
        }
        let number: u64 = text(input.value.unwrap()).parse().map_err(|_| Rejection::new("S-001", "no number"))?;
        self.count += 1;
        self.dirty = true;
        // what the second refuses comes alone, so that apart and fused lose the same
        let copies = if number.is_multiple_of(7) { 1 } else { number % 3 };
        let texts: Vec<String> = (0..copies).map(|copy| format!("{number}.{copy}.{}", self.count)).collect();
        put(out, 1, b"seen", &number.to_string());
        if self.hold {
            self.release(out);
            self.held = Some((input.offset, texts));
            self.fresh = true;
        } else {
            texts.iter().for_each(|text| put(out, 0, b"k", text));
        }
        Ok(Verdict::Done)
    }
    fn tick(&mut self, _ctx: &Context, out: &mut Out) {
        if !std::mem::take(&mut self.fresh) {
            self.release(out);
        }
    }
    fn flush(&mut self, _ctx: &Context, out: &mut Out) {
        if std::mem::take(&mut self.dirty) {
            put(out, 2, b"count", &self.count.to_string());
        }
    }
    fn table(&mut self, _key: &[u8], _value: Option<&[u8]>) {
        self.waits = false;
    }
    fn restore(&mut self, _key: &[u8], value: Option<&[u8]>) {
        self.count = text(value.unwrap()).parse().unwrap();
    }
    fn counters(&self, show: &mut dyn FnMut(&'static str, u64)) {
        show("inputs", self.count);
        show("both", 1);
    }
    fn held_from(&self) -> Option<i64> {
        self.held.as_ref().map(|(offset, _)| *offset)
    }
}

/// Sums what it gets; refuses multiples of 7 half way; two slots.
#[derive(Default)]
struct Tally {
    sum: u64,
    taken: u64,
}

impl Transform for Tally {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        assert!(!ctx.wait_over);
        let text = text(input.value.unwrap());
        let number: u64 = text.split('.').next().unwrap().parse().unwrap();
        put(out, 1, b"note", &text);
        if number.is_multiple_of(7) {
            return Err(Rejection::new("T-007", "a multiple of 7"));
        }
        self.sum += number;
        self.taken += 1;
        put(out, 0, input.key.unwrap(), &format!("{text}={}", self.sum));
        Ok(Verdict::Done)
    }
    fn counters(&self, show: &mut dyn FnMut(&'static str, u64)) {
        show("taken", self.taken);
        show("both", 2);
    }
}

impl Prompt for Tally {}

fn wiring() -> Wiring {
    Wiring {
        through: "between".into(),
        framings: (10..13).map(Framing::SingleObject).collect(),
        second_slots: 2,
        table: Side::First,
        state: Side::First,
    }
}

fn framings() -> Vec<Framing> {
    [20, 21, 11, 12].map(Framing::SingleObject).to_vec()
}

type Record = (Vec<u8>, Vec<u8>);

/// What a run gave: records by slot, and the number of dead letters.
#[derive(Debug, Default, PartialEq)]
struct Given {
    records: BTreeMap<usize, Vec<Record>>,
    letters: usize,
}

impl Given {
    fn take(&mut self, out: &mut Out) {
        self.letters += out.take_refused().len();
        for record in out.iter() {
            let value = record.value.unwrap().to_vec();
            self.records.entry(record.slot).or_default().push((record.key.to_vec(), value));
        }
        out.clear();
    }
}

const CONTEXT: Context = Context { now_us: 0, wait_over: false };

/// Applies `values` as the runner does, in transactions of `sizes`, with two quiet ones at the end.
fn drive<T: Transform>(mut transform: T, framings: Vec<Framing>, inputs: &[Record], sizes: &[usize]) -> Given {
    let (mut given, mut out, mut at) = (Given::default(), Out::new(framings), 0);
    for size in sizes.iter().copied().chain([inputs.len(), 0, 0]) {
        let end = (at + size).min(inputs.len());
        for (offset, (key, value)) in inputs.iter().enumerate().take(end).skip(at) {
            let before = out.len();
            let offset = i64::try_from(offset).unwrap();
            let input = Input { offset, timestamp_ms: 0, key: Some(key), value: Some(value) };
            if transform.apply(&CONTEXT, input, &mut out).is_err() {
                out.truncate(before);
                given.letters += 1;
            }
            let refused = out.take_refused();
            given.letters += refused.len();
            assert!(refused.iter().all(|refused| refused.topic == "between"));
        }
        at = end;
        transform.tick(&CONTEXT, &mut out);
        transform.flush(&CONTEXT, &mut out);
        given.take(&mut out);
    }
    assert_eq!(transform.held_from(), None);
    given
}

fn of_slot(given: &Given, slot: usize) -> Vec<Record> {
    given.records.get(&slot).cloned().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// I-16: fused or apart, in whatever transactions: the same records on the last topics, the same number of letters.
    #[test]
    fn fused_and_apart_give_the_same(
        numbers in prop::collection::vec(prop_oneof![9 => (1_u64..40).prop_map(|n| n.to_string()), 1 => Just("x".to_owned())], 0..30),
        one in prop::collection::vec(0_usize..6, 0..10),
        two in prop::collection::vec(0_usize..6, 0..10),
        three in prop::collection::vec(0_usize..6, 0..10),
        hold in any::<bool>(),
    ) {
        let inputs: Vec<Record> = numbers.iter().map(|text| (b"in".to_vec(), text.clone().into_bytes())).collect();
        let spread = || Spread { hold, ..Spread::default() };
        let first = drive(spread(), wiring().framings, &inputs, &one);
        let second = drive(Tally::default(), framings(), &of_slot(&first, 0), &two);
        let fused = drive(Chain::new(spread(), Tally::default(), wiring()), framings(), &inputs, &three);
        for slot in 0..2 {
            prop_assert_eq!(fused.records.get(&slot), second.records.get(&slot));
        }
        prop_assert_eq!(fused.letters, first.letters + second.letters);
        let state = |given: &Given, slot| of_slot(given, slot).pop();
        prop_assert_eq!(state(&fused, 3), state(&first, 2));
        // what the first writes beside goes with a refused input, if the input is the letter
        if hold || second.letters == 0 {
            prop_assert_eq!(fused.records.get(&2), first.records.get(&1));
        }
    }
}

fn input(offset: i64, value: &[u8]) -> Input<'_> {
    Input { offset, timestamp_ms: 5, key: Some(b"in"), value: Some(value) }
}

#[test]
fn a_refusal_of_the_second_is_one_of_the_firsts_input() {
    let mut chain = Chain::new(Spread::default(), Tally::default(), wiring());
    let mut out = Out::new(framings());
    let error = chain.apply(&CONTEXT, input(0, b"7"), &mut out).unwrap_err();
    assert_eq!((error.code, error.detail.as_str()), ("T-007", "a multiple of 7; the record was for between"));
    assert!(out.take_refused().is_empty());
}

/// I-04: the record refused is an earlier input's, not the one in hand: the letter holds the record itself.
#[test]
fn a_refusal_of_a_held_record_leaves_the_input_in_hand_alone() {
    let mut chain = Chain::new(Spread { hold: true, ..Spread::default() }, Tally::default(), wiring());
    let mut out = Out::new(framings());
    for (offset, value) in [(0, b"7"), (1, b"5")] {
        assert_eq!(chain.apply(&CONTEXT, input(offset, value), &mut out), Ok(Verdict::Done));
    }
    let refused = out.take_refused();
    assert_eq!((refused.len(), refused[0].topic.as_str(), refused[0].rejection.code), (1, "between", "T-007"));
    assert_eq!(text(refused[0].value.as_deref().unwrap()), "7.0.1");
    assert_eq!(chain.held_from(), Some(1));
    for _ in 0..2 {
        chain.tick(&CONTEXT, &mut out);
    }
    let last: Vec<String> = out.iter().filter(|out| out.slot == 0).map(|out| text(out.value.unwrap())).collect();
    assert_eq!((last, chain.held_from()), (vec!["5.0.2=5".to_owned(), "5.1.2=10".into()], None));
}

#[test]
fn waiting_table_state_and_counters_reach_the_right_one() {
    let mut chain = Chain::new(Spread { waits: true, ..Spread::default() }, Tally::default(), wiring());
    let mut out = Out::new(framings());
    chain.restore(b"count", Some(b"41"));
    assert_eq!(chain.apply(&CONTEXT, input(0, b"4"), &mut out), Ok(Verdict::Wait));
    assert!(out.is_empty());
    chain.table(b"any", None);
    assert_eq!(chain.apply(&CONTEXT, input(0, b"4"), &mut out), Ok(Verdict::Done));
    chain.flush(&CONTEXT, &mut out);
    let given: Vec<(usize, String)> = out.iter().map(|record| (record.slot, text(record.value.unwrap()))).collect();
    let expected = [(2, "4"), (1, "4.0.42"), (0, "4.0.42=4"), (3, "42")];
    assert_eq!(given, expected.map(|(slot, text)| (slot, text.to_owned())));
    let prefixes: Vec<Framing> = out.iter().map(|record| split(record.value.unwrap()).unwrap().0).collect();
    assert_eq!(prefixes, [11, 21, 20, 12].map(Framing::SingleObject), "each topic keeps its own framing");
    let mut shown = Vec::new();
    chain.counters(&mut |name, value| shown.push((name, value)));
    assert_eq!(shown, [("both", 3), ("inputs", 42), ("taken", 1)]);
    assert_eq!((wiring().slot_of_first(0), wiring().slot_of_first(2)), (None, Some(3)));
}

#[test]
fn after_the_wait_the_first_decides_and_the_second_knows_nothing_of_it() {
    let mut chain = Chain::new(Spread { waits: true, ..Spread::default() }, Tally::default(), wiring());
    let mut out = Out::new(framings());
    let over = Context { wait_over: true, ..CONTEXT };
    assert_eq!(chain.apply(&over, input(0, b"4"), &mut out), Ok(Verdict::Done));
    assert_eq!(out.len(), 3);
}
