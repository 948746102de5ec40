//! The enricher's promises, record by record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use enricher::EnricherConfig;
use enricher::transform::{ENRICHED, Enrich, EnrichFactory, STATE};
use schemas::framing::{Framing, split};
use schemas::v1::{Attribution, EnrichedFrame, EnricherState, FrameKind, RawFrame, Session, Uuid};
use schemas::{Record, v1};
use stage::transform::{Context, Factory as _, Input, Out, Rejection, Transform as _, Verdict};

const NOW: Context = Context { now_us: 0, wait_over: false };
const LATE: Context = Context { now_us: 0, wait_over: true };

fn framed<R: Record>(record: &R) -> Vec<u8> {
    let mut out = Vec::new();
    Framing::single_object::<R>().prefix(&mut out);
    record.encode(&mut out);
    out
}

fn out() -> Out {
    Out::new(vec![Framing::single_object::<EnrichedFrame>(), Framing::single_object::<EnricherState>()])
}

fn raw(session: u8, sequence: i64, kind: FrameKind) -> RawFrame {
    RawFrame { session_id: Uuid([session; 16]), sequence, kind, payload: vec![1, 2, 3], ..RawFrame::default() }
}

fn apply(enrich: &mut Enrich, context: Context, frame: &RawFrame, out: &mut Out) -> Result<Verdict, Rejection> {
    let (key, value) = (frame.session_id.to_text(), framed(frame));
    enrich.apply(&context, Input { offset: 0, timestamp_ms: 0, key: Some(key.as_bytes()), value: Some(&value) }, out)
}

fn session(id: u8) -> Vec<u8> {
    let mut session = Session { session_id: Uuid([id; 16]), ..Session::default() };
    session.context.principal.subject = "alice".into();
    framed(&session)
}

fn written(out: &Out, slot: usize) -> Vec<EnrichedFrame> {
    out.iter()
        .filter(|r| r.slot == slot)
        .map(|r| EnrichedFrame::from_body(split(r.value.unwrap()).unwrap().1).unwrap())
        .collect()
}

fn states(out: &Out) -> Vec<(Vec<u8>, Option<i64>)> {
    let value = |value: Option<&[u8]>| {
        value.map(|value| EnricherState::from_body(split(value).unwrap().1).unwrap().last_sequence)
    };
    out.iter().filter(|r| r.slot == STATE).map(|r| (r.key.to_vec(), value(r.value))).collect()
}

#[test]
fn a_known_session_is_attributed_and_the_raw_bytes_are_copied() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    let frame = raw(1, 0, FrameKind::Message);
    assert_eq!(apply(&mut enrich, NOW, &frame, &mut out), Ok(Verdict::Wait), "the session record may still come");
    assert!(out.is_empty());
    enrich.table(b"", Some(&session(1)));
    assert_eq!(apply(&mut enrich, NOW, &frame, &mut out), Ok(Verdict::Done));
    let enriched = written(&out, ENRICHED).remove(0);
    assert_eq!(enriched.raw, frame);
    assert_eq!((enriched.attribution, enriched.context.principal.subject.as_str()), (Attribution::Attributed, "alice"));
    assert!(!enriched.possible_duplicate);
}

#[test]
fn an_unknown_session_goes_on_unattributed_and_only_its_first_record_waits() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    assert_eq!(apply(&mut enrich, LATE, &raw(1, 0, FrameKind::Message), &mut out), Ok(Verdict::Done));
    assert_eq!(apply(&mut enrich, NOW, &raw(1, 1, FrameKind::Message), &mut out), Ok(Verdict::Done));
    let enriched = written(&out, ENRICHED);
    assert_eq!(enriched.len(), 2);
    assert!(
        enriched
            .iter()
            .all(|frame| frame.attribution == Attribution::Unattributed
                && frame.context == v1::SessionContext::default())
    );
}

/// I-04: a journal replay repeats records, also over a restart; none is written twice.
#[test]
fn repeats_are_dropped_also_after_a_restart() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    enrich.table(b"", Some(&session(1)));
    for sequence in [0, 1, 2, 1, 2, 3] {
        apply(&mut enrich, NOW, &raw(1, sequence, FrameKind::Message), &mut out).unwrap();
    }
    enrich.flush(&NOW, &mut out);
    let sequences: Vec<i64> = written(&out, ENRICHED).iter().map(|frame| frame.raw.sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3]);
    let state: Vec<_> =
        out.iter().filter(|r| r.slot == STATE).map(|r| (r.key.to_vec(), r.value.map(<[u8]>::to_vec))).collect();
    assert_eq!(states(&out).len(), 1, "one state record per session and transaction");
    let (mut again, mut later) = (EnrichFactory(EnricherConfig::default()).make(0), self::out());
    again.table(b"", Some(&session(1)));
    for (key, value) in &state {
        again.restore(key, value.as_deref());
    }
    for sequence in [2, 3, 4] {
        apply(&mut again, NOW, &raw(1, sequence, FrameKind::Message), &mut later).unwrap();
    }
    let sequences: Vec<i64> = written(&later, ENRICHED).iter().map(|frame| frame.raw.sequence).collect();
    assert_eq!(sequences, [4]);
}

/// I-02: a gap is passed on and counted, never closed; a lost state is said.
#[test]
fn gaps_pass_and_a_lost_state_is_marked() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    enrich.table(b"", Some(&session(1)));
    for sequence in [5, 9] {
        apply(&mut enrich, NOW, &raw(1, sequence, FrameKind::Message), &mut out).unwrap();
    }
    let enriched = written(&out, ENRICHED);
    assert_eq!(
        enriched.iter().map(|frame| (frame.raw.sequence, frame.possible_duplicate)).collect::<Vec<_>>(),
        [(5, true), (9, false)]
    );
    assert_eq!(enrich.gaps, 5 + 3);
}

#[test]
fn what_is_no_raw_frame_is_refused_with_a_code() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    let mut code = |key: &[u8], value: Option<&[u8]>| {
        enrich.apply(&NOW, Input { offset: 0, timestamp_ms: 0, key: Some(key), value }, &mut out).unwrap_err().code
    };
    let frame = raw(1, 0, FrameKind::Message);
    let (key, value) = (frame.session_id.to_text(), framed(&frame));
    assert_eq!(code(key.as_bytes(), None), "E-001");
    assert_eq!(code(key.as_bytes(), Some(b"garbage")), "E-001");
    assert_eq!(code(key.as_bytes(), Some(&value[..value.len() - 1])), "E-002");
    assert_eq!(code(key.as_bytes(), Some(&[value.as_slice(), &[0]].concat())), "E-002");
    assert_eq!(code(b"another key", Some(&value)), "E-003");
    assert_eq!(code(key.as_bytes(), Some(&framed(&raw(1, -1, FrameKind::Message)))), "E-004");
}

/// I-10: at the limit closed sessions are forgotten first, and their state with them.
#[test]
fn memory_is_bounded_by_forgetting_closed_sessions() {
    let config = EnricherConfig { sessions_max: 1_000, ..EnricherConfig::default() };
    let (mut enrich, mut out) = (EnrichFactory(config).make(0), out());
    for number in 0..1_002_u16 {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let session = Session { session_id: Uuid(id), ..Session::default() };
        enrich.table(b"", Some(&framed(&session)));
        let kind = if number < 5 { FrameKind::SessionClosed } else { FrameKind::Message };
        let frame = RawFrame { session_id: Uuid(id), kind, ..RawFrame::default() };
        apply(&mut enrich, NOW, &frame, &mut out).unwrap();
    }
    out.clear();
    enrich.flush(&NOW, &mut out);
    let gone: Vec<_> = states(&out).into_iter().filter(|(_, value)| value.is_none()).collect();
    assert_eq!(gone.len(), 2);
}

/// I-10: what a restart brings back, closed sessions of long ago included, is bounded too; the newest stay attributed.
#[test]
fn memory_is_bounded_over_a_restart_and_the_longest_silent_go() {
    let config = EnricherConfig { sessions_max: 1_000, ..EnricherConfig::default() };
    let (mut enrich, mut out) = (EnrichFactory(config).make(0), out());
    let id = |number: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Uuid(id)
    };
    for number in 0..3_000 {
        let state = framed(&EnricherState { last_sequence: 7 });
        enrich.restore(id(number).to_text().as_bytes(), Some(&state));
        let session = Session { session_id: id(number), ..Session::default() };
        enrich.table(b"", Some(&framed(&session)));
    }
    assert_eq!(enrich.evicted, 2_000);
    let frame = |number, sequence| RawFrame { session_id: id(number), sequence, ..RawFrame::default() };
    assert_eq!(apply(&mut enrich, NOW, &frame(0, 8), &mut out), Ok(Verdict::Wait), "forgotten: unknown again");
    assert_eq!(apply(&mut enrich, NOW, &frame(2_999, 8), &mut out), Ok(Verdict::Done));
    assert_eq!(apply(&mut enrich, LATE, &frame(0, 8), &mut out), Ok(Verdict::Done));
    let enriched = written(&out, ENRICHED);
    assert_eq!((enriched[0].attribution, enriched[0].possible_duplicate), (Attribution::Attributed, false));
    assert_eq!((enriched[1].attribution, enriched[1].possible_duplicate), (Attribution::Unattributed, true));
    out.clear();
    enrich.flush(&NOW, &mut out);
    let (gone, kept): (Vec<_>, Vec<_>) = states(&out).into_iter().partition(|(_, value)| value.is_none());
    assert_eq!((gone.len(), kept.len()), (2_001, 2), "the states of the forgotten go, those of the heard are written");
    let mut shown = std::collections::BTreeMap::new();
    enrich.counters(&mut |name, value| {
        shown.insert(name, value);
    });
    assert_eq!((shown["unattributed_records"], shown["evicted_sessions"]), (1, 2_001));
}

/// A deleted session record attributes nothing any more.
#[test]
fn a_deleted_session_record_is_forgotten() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    enrich.table(b"", Some(&session(1)));
    enrich.table(Uuid([1; 16]).to_text().as_bytes(), None);
    assert_eq!(apply(&mut enrich, NOW, &raw(1, 0, FrameKind::Message), &mut out), Ok(Verdict::Wait));
}

/// A measurement beside the budget of 2.5 us per record: `cargo test --release -p enricher -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn what_one_record_costs() {
    let (mut enrich, mut out) = (EnrichFactory(EnricherConfig::default()).make(0), out());
    enrich.table(b"", Some(&session(1)));
    let key = Uuid([1; 16]).to_text();
    let values: Vec<Vec<u8>> = (0..200_000).map(|sequence| framed(&raw(1, sequence, FrameKind::Message))).collect();
    let began = std::time::Instant::now();
    for (index, value) in values.iter().enumerate() {
        let input = Input { offset: 0, timestamp_ms: 0, key: Some(key.as_bytes()), value: Some(value) };
        enrich.apply(&NOW, input, &mut out).unwrap();
        if index % 10_000 == 9_999 {
            enrich.flush(&NOW, &mut out);
            assert_eq!(out.len(), 10_001);
            out.clear();
        }
    }
    println!("{:?} per record of {} bytes", began.elapsed() / 200_000, values[0].len());
}
