//! What the observer says of hand-made conversations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ingest_proxy::protocol::postgres::codec::{Decoder, Limits, Step};
use ingest_proxy::protocol::postgres::facts::{Command, FrameHead, Observed, encode_command, encode_message};
use ingest_proxy::protocol::postgres::message::Side;
use ingest_proxy::protocol::postgres::observe::{self, Observer, Sink};
use proptest::prelude::*;
use schemas::Record as _;
use schemas::v1::{self, CommandContent, Facts, RawFrame, Uuid};

#[derive(Default, Debug, PartialEq)]
struct Seen {
    frames: Vec<RawFrame>,
    commands: Vec<(i64, Facts, Vec<u8>)>,
}

fn head() -> FrameHead {
    FrameHead { event_id: Uuid([1; 16]), session_id: Uuid([2; 16]), sequence: 9, observed_at_us: 77, connection: 0 }
}

impl Sink for Seen {
    fn message(&mut self, observed: &Observed<'_>) {
        let (mut body, mut again) = (Vec::new(), Vec::new());
        encode_message(&head(), observed, observed.content.bytes(), &mut body);
        // The canonical gate: it decodes, and `RawFrame::encode` gives the same bytes.
        let frame = RawFrame::from_body(&body).unwrap();
        frame.encode(&mut again);
        assert_eq!(body, again);
        self.frames.push(frame);
    }

    fn command(&mut self, command: &Command<'_>) {
        let (mut body, mut content, mut again) = (Vec::new(), Vec::new(), Vec::new());
        command.content.put(&mut content);
        encode_command(&head(), command, &content, &mut body);
        let frame = RawFrame::from_body(&body).unwrap();
        frame.encode(&mut again);
        assert_eq!(body, again);
        assert_eq!(CommandContent::from_body(&content).unwrap().to_body(), content);
        self.commands.push((command.command_id, frame.facts.unwrap(), content));
    }
}

impl Seen {
    /// (statement, kind, rows, error code) of each command.
    fn outline(&self) -> Vec<(String, String, Option<i64>, String)> {
        let outline = |(_, facts, content): &(i64, Facts, Vec<u8>)| {
            let content = CommandContent::from_body(content).unwrap();
            let text = String::from_utf8(content.statement).unwrap();
            (text, facts.command_kind.clone(), facts.rows, facts.error_code.clone())
        };
        self.commands.iter().map(outline).collect()
    }
}

fn wire(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

type Turn = (Side, Vec<u8>);
fn c(parts: &[(u8, &[u8])]) -> Turn {
    (Side::Client, parts.iter().flat_map(|(kind, body)| wire(*kind, body)).collect())
}
fn t(parts: &[(u8, &[u8])]) -> Turn {
    (Side::Target, parts.iter().flat_map(|(kind, body)| wire(*kind, body)).collect())
}

/// Runs a conversation whose bytes arrive in reads of `step`.
fn run(turns: &[Turn], step: usize) -> Seen {
    let mut observer = Observer::new(observe::Limits::default());
    let mut decoders = [Decoder::new(Side::Client, Limits::default()), Decoder::new(Side::Target, Limits::default())];
    let mut seen = Seen::default();
    for (side, bytes) in turns {
        let decoder = &mut decoders[usize::from(*side == Side::Target)];
        let (mut start, mut end) = (0, 0);
        loop {
            match decoder.next(&bytes[start..end]).unwrap() {
                Step::Need(_) if end == bytes.len() => break,
                Step::Need(_) => end = (end + step).min(bytes.len()),
                Step::Piece(piece) => {
                    match side {
                        Side::Client => observer.request(&piece, 1000, &mut seen).unwrap(),
                        Side::Target => observer.response(&piece, 1500, &mut seen),
                    }
                    start += piece.wire_len;
                }
            }
        }
        assert_eq!(start, bytes.len());
    }
    observer.close(2000, &mut seen);
    let ids: Vec<i64> = seen.frames.iter().filter(|f| f.last).map(|f| f.message_id).collect();
    assert_eq!(ids, (0..observer.message_count()).collect::<Vec<_>>(), "I-02: message ids are dense");
    assert_eq!(observer.outstanding(), 0);
    seen
}

const ROW_T: &[u8] = b"\0\x01id\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
const ROW_D: &[u8] = b"\0\x01\0\0\0\x0242";
const BIND_S: &[u8] = b"\0s\0\0\0\0\x01\0\0\0\x017\0\0";
const FAIL: &[u8] = b"SERROR\0C22P02\0Mbad value\0Hfix it\0\0";

fn parse_s() -> Vec<u8> {
    b"s\0select id from t where id = $1\0\0\x01\0\0\0\x17".to_vec()
}

#[test]
fn multi_statement_query_gives_one_command_each() {
    let seen = run(
        &[
            c(&[(b'Q', b"select 1; update t set a = ';'\0")]),
            t(&[(b'T', ROW_T), (b'D', ROW_D), (b'C', b"SELECT 1\0"), (b'C', b"UPDATE 5\0"), (b'Z', b"T")]),
        ],
        7,
    );
    let row = |a: &str, b: &str, n, e: &str| (a.to_owned(), b.to_owned(), n, e.to_owned());
    assert_eq!(
        seen.outline(),
        [row("select 1", "SELECT", Some(1), ""), row("update t set a = ';'", "UPDATE", Some(5), "")]
    );
    assert_eq!((seen.commands[0].0, seen.commands[1].0), (0, 1));
    assert_eq!(seen.commands[1].1.transaction_status, "T");
    assert_eq!(seen.commands[0].1.duration_us, Some(500));
    let data = seen.frames.iter().find(|frame| frame.message_type == "DataRow").unwrap();
    let column = &data.facts.as_ref().unwrap().columns[0];
    assert_eq!((column.name.as_str(), column.type_oid, column.table_oid, column.attribute), ("id", 23, 16384, 1));
    assert_eq!((data.command_id, data.direction), (0, v1::Direction::ToClient));
}

/// P01: a statement prepared once gives a full command, text and values, at each Execute.
#[test]
fn p01_re_executed_named_statement_is_a_full_command_each_time() {
    let execute: &[(u8, &[u8])] = &[(b'B', BIND_S), (b'E', b"\0\0\0\0\0"), (b'S', b"")];
    let answer: &[(u8, &[u8])] = &[(b'2', b""), (b'D', ROW_D), (b'C', b"SELECT 1\0"), (b'Z', b"I")];
    let seen = run(
        &[
            c(&[(b'P', &parse_s()), (b'D', b"Ss\0"), (b'S', b"")]),
            t(&[(b'1', b""), (b't', b"\0\x01\0\0\0\x17"), (b'T', ROW_T), (b'Z', b"I")]),
            c(execute),
            t(answer),
            c(execute),
            t(answer),
        ],
        usize::MAX / 2,
    );
    assert_eq!(seen.commands.len(), 2);
    assert_ne!(seen.commands[0].0, seen.commands[1].0);
    for (_, facts, content) in &seen.commands {
        let content = CommandContent::from_body(content).unwrap();
        assert_eq!(content.statement, b"select id from t where id = $1");
        assert_eq!((content.parameters[0].type_oid, content.parameters[0].value.as_deref()), (23, Some(&b"7"[..])));
        assert_eq!((facts.statement_id, facts.columns[0].name.as_str()), (0, "id"));
        assert_eq!(facts.transaction_status, "I");
    }
}

/// P11: after an error, what was pipelined behind it is recorded as skipped, and the next Sync group runs.
#[test]
fn p11_pipelined_error_skips_to_sync() {
    let one: &[(u8, &[u8])] = &[(b'B', BIND_S), (b'E', b"\0\0\0\0\0")];
    let parse = parse_s();
    let requests = [&[(b'P', parse.as_slice())][..], one, one, &[(b'S', b"")], one, &[(b'S', b"")]].concat();
    let answers: &[(u8, &[u8])] = &[
        (b'1', b""),
        (b'2', b""),
        (b'E', FAIL),
        (b'Z', b"I"),
        (b'2', b""),
        (b'D', ROW_D),
        (b'C', b"SELECT 1\0"),
        (b'Z', b"I"),
    ];
    let seen = run(&[c(&requests), t(answers)], 3);
    let codes: Vec<_> = seen.outline().into_iter().map(|row| row.3).collect();
    assert_eq!(codes, ["22P02", "skipped", ""]);
    let failed = CommandContent::from_body(&seen.commands[0].2).unwrap();
    assert_eq!((failed.error_message.as_slice(), failed.error_detail.as_slice()), (&b"bad value"[..], &b"fix it"[..]));
}

#[test]
fn copy_in_carries_columns_and_ignores_an_early_sync() {
    let seen = run(
        &[
            c(&[(b'P', b"\0copy t from stdin\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")]),
            t(&[(b'1', b""), (b'2', b""), (b'G', b"\0\0\x02\0\0\0\0")]),
            c(&[(b'd', b"1\tx\n"), (b'c', b""), (b'S', b"")]),
            t(&[(b'C', b"COPY 1\0"), (b'Z', b"I")]),
        ],
        11,
    );
    assert_eq!(seen.outline(), [("copy t from stdin".to_owned(), "COPY".to_owned(), Some(1), String::new())]);
    let data = seen.frames.iter().find(|frame| frame.message_type == "CopyData").unwrap();
    let facts = data.facts.as_ref().unwrap();
    assert_eq!((facts.columns.len(), facts.copy_format.as_str()), (2, "text"));
}

/// P04: FunctionCall and unknown types are recorded and the session goes on.
#[test]
fn p04_function_call_and_unknown_types_are_recorded() {
    let seen = run(
        &[
            c(&[(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), (b'y', b"??"), (b'p', b"secret\0")]),
            t(&[(b'A', b"\0\0\0\x01c\0p\0"), (b'V', b"\xff\xff\xff\xff"), (b'Z', b"I"), (b'K', b"\0\0\0\x01keys")]),
            c(&[(b'Q', b"\0")]),
            t(&[(b'I', b""), (b'Z', b"I")]),
        ],
        5,
    );
    let kinds: Vec<_> = seen.commands.iter().map(|command| command.1.command_kind.as_str()).collect();
    assert_eq!(kinds, ["FUNCTION", ""]);
    let names: Vec<_> = seen.frames.iter().map(|frame| frame.message_type.as_str()).collect();
    assert_eq!(&names[..4], ["FunctionCall", "Unknown(0x79)", "PasswordMessage", "NotificationResponse"]);
    for name in ["PasswordMessage", "BackendKeyData"] {
        let frame = seen.frames.iter().find(|frame| frame.message_type == name).unwrap();
        assert!(frame.payload.is_empty());
        assert_eq!(frame.facts.as_ref().unwrap().reason_code, "credential");
    }
    assert_eq!(seen.frames[3].command_id, -1);
}

#[test]
fn limits_are_errors_and_unanswered_commands_are_recorded() {
    let limits = observe::Limits { outstanding_max: 2, ..observe::Limits::default() };
    let (mut observer, mut seen) = (Observer::new(limits), Seen::default());
    let bytes = wire(b'Q', b"select 1\0");
    let Step::Piece(piece) = Decoder::new(Side::Client, Limits::default()).next(&bytes).unwrap() else { panic!() };
    assert!(observer.request(&piece, 0, &mut seen).is_ok() && observer.request(&piece, 0, &mut seen).is_ok());
    assert_eq!(observer.request(&piece, 0, &mut seen).unwrap_err().kind(), "outstanding_limit");
    observer.close(1, &mut seen);
    assert_eq!(seen.frames.len(), 3);
    let codes: Vec<_> = seen.outline().into_iter().map(|row| row.3).collect();
    assert_eq!(codes, ["no_answer", "no_answer"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_split_gives_the_same_observations(step in 1usize..100_000, size in 0usize..200_000) {
        let row = [&[0, 1][..], &u32::try_from(size).unwrap().to_be_bytes(), &vec![b'x'; size]].concat();
        let text = [b"select '".as_slice(), &vec![b'y'; size], b"'\0"].concat();
        let turns = [
            c(&[(b'Q', &text)]),
            t(&[(b'T', ROW_T), (b'D', &row), (b'C', b"SELECT 1\0"), (b'Z', b"I")]),
        ];
        prop_assert_eq!(run(&turns, step.max(300)), run(&turns, usize::MAX / 2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn arbitrary_conversations_never_panic(
        parts in prop::collection::vec(
            (any::<bool>(), prop::sample::select(b"QPBEDCSHFXcdf123tTnDsIZEGHWVNAKRy".to_vec()),
             prop::collection::vec(prop_oneof![Just(0u8), Just(b's'), any::<u8>()], 0..24)), 0..30),
    ) {
        let (mut observer, mut seen) = (Observer::new(observe::Limits::default()), Seen::default());
        for (client, kind, body) in &parts {
            let side = if *client { Side::Client } else { Side::Target };
            let bytes = wire(*kind, body);
            let Ok(Step::Piece(piece)) = Decoder::new(side, Limits::default()).next(&bytes) else { continue };
            match side {
                Side::Client => observer.request(&piece, 1, &mut seen).unwrap_or(()),
                Side::Target => observer.response(&piece, 2, &mut seen),
            }
        }
        observer.close(3, &mut seen);
        prop_assert_eq!(i64::try_from(seen.frames.len()).unwrap(), observer.message_count());
    }
}
