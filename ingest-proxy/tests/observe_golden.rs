//! Conversations whose every record is held against a golden file, and the corners a golden hides.
//!
//! `SEALTRAIL_GOLDEN=write cargo test -p ingest-proxy --test observe_golden` writes the files anew: read the diff.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::fmt::Write as _;
use std::path::Path;

use ingest_proxy::protocol::postgres::codec::{Decoder, Limits, STATEMENT_MESSAGE_BYTES_MAX, Step};
use ingest_proxy::protocol::postgres::facts::{Command, FactsRef, FrameHead, Observed, encode_command, encode_message};
use ingest_proxy::protocol::postgres::message::Side;
use ingest_proxy::protocol::postgres::observe::{self, ObserveError, Observer, Sink};
use schemas::Record as _;
use schemas::payload::CHUNK_BYTES_MAX;
use schemas::v1::{CommandContent, Direction, Facts, RawFrame, Uuid};

/// Every record as a line of text.
#[derive(Default)]
struct Story {
    text: String,
    frames: Vec<RawFrame>,
    commands: Vec<(Facts, CommandContent)>,
}

fn head() -> FrameHead {
    FrameHead { event_id: Uuid([1; 16]), session_id: Uuid([2; 16]), sequence: 9, observed_at_us: 77, connection: 0 }
}

/// The facts that are not at their default.
fn say(facts: &Facts, out: &mut String) {
    let empty = FactsRef::default().to_owned();
    let mut part = |name: &str, differs: bool, value: &dyn std::fmt::Debug| {
        if differs {
            write!(out, " {name}={value:?}").unwrap();
        }
    };
    let columns: Vec<_> =
        facts.columns.iter().map(|c| (&c.name, c.type_oid, c.table_oid, c.attribute, c.format)).collect();
    let parameters: Vec<_> = facts.parameters.iter().map(|p| (&p.name, p.type_oid, p.format)).collect();
    part("statement", facts.statement_id != empty.statement_id, &facts.statement_id);
    part("kind", facts.command_kind != empty.command_kind, &facts.command_kind);
    part("columns", !columns.is_empty(), &columns);
    part("parameters", !parameters.is_empty(), &parameters);
    part("relations", !facts.relations.is_empty(), &facts.relations);
    part("copy", !facts.copy_format.is_empty(), &facts.copy_format);
    part("rows", facts.rows.is_some(), &facts.rows);
    part("to_target", facts.bytes_to_target != 0, &facts.bytes_to_target);
    part("to_client", facts.bytes_to_client != 0, &facts.bytes_to_client);
    part("duration_us", facts.duration_us.is_some(), &facts.duration_us);
    part("error", !facts.error_code.is_empty(), &facts.error_code);
    part("transaction", !facts.transaction_status.is_empty(), &facts.transaction_status);
    part("reason", !facts.reason_code.is_empty(), &facts.reason_code);
}

impl Sink for Story {
    fn message(&mut self, observed: &Observed<'_>) {
        let mut body = Vec::new();
        encode_message(&head(), observed, observed.content.bytes(), &mut body);
        let frame = RawFrame::from_body(&body).unwrap();
        let arrow = if frame.direction == Direction::ToTarget { "->" } else { "<-" };
        write!(self.text, "{arrow} {} {}", frame.message_id, frame.message_type).unwrap();
        if frame.chunk > 0 || !frame.last {
            write!(self.text, " chunk={}{}", frame.chunk, if frame.last { " last" } else { "" }).unwrap();
        }
        write!(self.text, " size={} command={}", frame.size_bytes, frame.command_id).unwrap();
        if let Some(facts) = &frame.facts {
            say(facts, &mut self.text);
        }
        writeln!(self.text, " | {}", frame.payload.escape_ascii()).unwrap();
        self.frames.push(frame);
    }

    fn command(&mut self, command: &Command<'_>) {
        let (mut body, mut content) = (Vec::new(), Vec::new());
        command.content.put(&mut content);
        encode_command(&head(), command, &content, &mut body);
        let facts = RawFrame::from_body(&body).unwrap().facts.unwrap();
        let content = CommandContent::from_body(&content).unwrap();
        write!(self.text, "== COMMAND {}", command.command_id).unwrap();
        say(&facts, &mut self.text);
        write!(self.text, " | {} ({})", content.statement.escape_ascii(), content.statement_bytes).unwrap();
        for value in &content.parameters {
            let text = value.value.as_ref().map(|bytes| bytes.escape_ascii().to_string());
            write!(self.text, " {:?}", (value.type_oid, value.format, text)).unwrap();
        }
        if !content.error_message.is_empty() {
            let (message, detail) = (content.error_message.escape_ascii(), content.error_detail.escape_ascii());
            write!(self.text, " ! {message} ! {detail}").unwrap();
        }
        self.text.push('\n');
        self.commands.push((facts, content));
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

/// A conversation under way.
struct Talk {
    observer: Observer,
    decoders: [Decoder; 2],
    story: Story,
    now_us: i64,
}

impl Talk {
    fn new(limits: observe::Limits) -> Self {
        let decoders = [Side::Client, Side::Target].map(|side| Decoder::new(side, Limits::default()));
        Self { observer: Observer::new(limits), decoders, story: Story::default(), now_us: 1000 }
    }

    fn turn(&mut self, (side, bytes): &Turn) -> Result<(), ObserveError> {
        let mut rest = bytes.as_slice();
        while let Step::Piece(piece) = self.decoders[usize::from(*side == Side::Target)].next(rest).unwrap() {
            self.now_us += 10;
            match side {
                Side::Client => self.observer.request(&piece, self.now_us, &mut self.story)?,
                Side::Target => self.observer.response(&piece, self.now_us, &mut self.story),
            }
            rest = &rest[piece.wire_len..];
        }
        assert!(rest.is_empty());
        Ok(())
    }

    fn all(turns: &[Turn]) -> Story {
        let mut talk = Self::new(observe::Limits::default());
        turns.iter().for_each(|turn| talk.turn(turn).unwrap());
        assert_eq!(talk.observer.outstanding(), 0, "everything was answered");
        talk.observer.close(talk.now_us, &mut talk.story);
        talk.story
    }
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/observe").join(name);
    if std::env::var("SEALTRAIL_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    for (number, (known, now)) in known.lines().zip(text.lines()).enumerate() {
        assert_eq!(known, now, "{name} line {}", number + 1);
    }
    assert_eq!(known.lines().count(), text.lines().count(), "{name}");
}

const ROW_T: &[u8] = b"\0\x01id\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
const ROW_D: &[u8] = b"\0\x01\0\0\0\x0242";
const BIND_S: &[u8] = b"\0s\0\0\0\0\x01\0\0\0\x017\0\0";
const PARSE_S: &[u8] = b"s\0select id from t where id = $1\0\0\x01\0\0\0\x17";
const FAIL: &[u8] = b"SERROR\0C22P02\0Mbad value\0Hfix it\0\0";
const E: &[u8] = b"\0\0\0\0\0";

/// Queries, extended protocol, errors: what a client library does.
fn queries() -> Vec<Turn> {
    vec![
        c(&[(b'Q', b"begin; select u.id from users u join s.orders o using (id); update t set a = ';'\0")]),
        t(&[
            (b'C', b"BEGIN\0"),
            (b'T', ROW_T),
            (b'D', ROW_D),
            (b'C', b"SELECT 1\0"),
            (b'C', b"UPDATE 5\0"),
            (b'Z', b"T"),
        ]),
        c(&[(b'Q', b"selec 1; select 2\0")]),
        t(&[(b'E', b"SERROR\0C42601\0Msyntax error\0\0"), (b'Z', b"E")]),
        c(&[(b'Q', b"rollback\0")]),
        t(&[(b'C', b"ROLLBACK\0"), (b'Z', b"I")]),
        c(&[(b'P', b"s\0insert into s.t (id, name) values ($1, $2)\0\0\x01\0\0\0\x17"), (b'D', b"Ss\0"), (b'S', b"")]),
        t(&[(b'1', b""), (b't', b"\0\x02\0\0\0\x17\0\0\0\x19"), (b'n', b""), (b'Z', b"I")]),
        c(&[
            (b'B', b"\0s\0\0\x02\0\x01\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\0"),
            (b'E', E),
            (b'C', b"Ss\0"),
            (b'S', b""),
        ]),
        t(&[(b'2', b""), (b'C', b"INSERT 0 1\0"), (b'3', b""), (b'Z', b"I")]),
        c(&[(b'P', PARSE_S), (b'B', BIND_S), (b'E', E), (b'B', BIND_S), (b'E', E), (b'S', b""), (b'Q', b"select 3\0")]),
        t(&[(b'1', b""), (b'2', b""), (b'E', FAIL), (b'Z', b"I"), (b'T', ROW_T), (b'N', b"SNOTICE\0C00000\0Mhi\0\0")]),
        t(&[
            (b'D', ROW_D),
            (b'C', b"SELECT 1\0"),
            (b'A', b"\0\0\0\x01c\0p\0"),
            (b'Z', b"I"),
            (b'S', b"TimeZone\0UTC\0"),
        ]),
        c(&[(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), (b'y', b"??"), (b'Q', b"-- nothing\0")]),
        t(&[(b'V', b"\xff\xff\xff\xff"), (b'Z', b"I"), (b'I', b""), (b'Z', b"I")]),
        c(&[(b'X', b"")]),
    ]
}

fn copies() -> Vec<Turn> {
    vec![
        c(&[(b'Q', b"copy s.t (id, \"Pass Word\") from stdin with (format csv, header)\0")]),
        t(&[(b'G', b"\0\0\x02\0\0\0\0")]),
        c(&[(b'd', b"id,Pass Word\n"), (b'd', b"1,x\n"), (b'c', b"")]),
        t(&[(b'C', b"COPY 1\0"), (b'Z', b"I")]),
        c(&[
            (b'P', b"\0copy t (a) to stdout (format binary)\0\0\0"),
            (b'B', b"\0\0\0\0\0\0\0\0"),
            (b'E', E),
            (b'S', b""),
        ]),
        t(&[(b'1', b""), (b'2', b""), (b'H', b"\x01\0\x01\0\x01"), (b'd', b"PGCOPY\n\xff\r\n\0")]),
        t(&[(b'c', b""), (b'C', b"COPY 0\0"), (b'Z', b"I")]),
        c(&[(b'Q', b"copy (select a, b from t) to stdout\0")]),
        t(&[(b'H', b"\0\0\x02\0\0\0\0"), (b'd', b"1\t2\n"), (b'c', b""), (b'C', b"COPY 1\0"), (b'Z', b"I")]),
        c(&[(b'Q', b"copy t (a, b) from stdin\0")]),
        t(&[(b'G', b"\0\0\x02\0\0\0\0")]),
        c(&[(b'd', b"1\tx\n"), (b'f', b"changed my mind\0")]),
        t(&[(b'E', b"SERROR\0C57014\0MCOPY from stdin failed\0\0"), (b'Z', b"I")]),
        c(&[(b'Q', b"START_REPLICATION SLOT s LOGICAL 0/0\0")]),
        t(&[(b'W', b"\0\0\0"), (b'd', b"w123")]),
        c(&[(b'd', b"r456"), (b'c', b"")]),
        t(&[(b'c', b""), (b'C', b"COPY 0\0"), (b'Z', b"I")]),
    ]
}

#[test]
fn golden_queries() {
    golden("queries.txt", &Talk::all(&queries()).text);
}

#[test]
fn golden_copies() {
    golden("copies.txt", &Talk::all(&copies()).text);
}

/// The turns of a recorded connection after its login: side (0 client), Int32 length, bytes.
fn capture(name: &str) -> Vec<Turn> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/observe").join(name);
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut turns) = (bytes.as_slice(), Vec::new());
    while let Some((&[side, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
        let (turn, after) = after.split_at(u32::from_be_bytes([a, b, c, d]) as usize);
        turns.push((if side == 0 { Side::Client } else { Side::Target }, turn.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty() && !turns.is_empty());
    turns
}

/// psql and pgbench of PostgreSQL 15 talking to its server, recorded by a relay.
#[test]
fn golden_captures_of_real_clients() {
    for name in ["psql", "pgbench-prepared", "pgbench-extended"] {
        golden(&format!("{name}.txt"), &Talk::all(&capture(&format!("{name}.capture"))).text);
    }
}

#[test]
fn copy_facts_name_format_and_columns() {
    let story = Talk::all(&copies());
    let data: Vec<_> = story.frames.iter().filter(|frame| frame.message_type == "CopyData").collect();
    let said: Vec<_> = data
        .iter()
        .map(|frame| {
            let facts = frame.facts.as_ref().unwrap();
            let names: Vec<_> = facts.columns.iter().map(|column| column.name.as_str()).collect();
            format!("{} {}", facts.copy_format, names.join("+"))
        })
        .collect();
    let csv = "csv id+Pass Word";
    assert_eq!(said, [csv, csv, "binary a", "text +", "text a+b", "text ", "text "]);
    assert!(story.commands.iter().take(4).all(|(facts, _)| facts.command_kind == "COPY"));
}

#[test]
fn relations_belong_to_their_statement() {
    let story = Talk::all(&queries());
    let said: Vec<_> = story.commands.iter().take(3).map(|(facts, _)| facts.relations.join(",")).collect();
    assert_eq!(said, ["", "users,s.orders", "t"]);
    assert_eq!(story.frames[0].facts.as_ref().unwrap().relations, ["users", "s.orders", "t"]);
    let bind = story.frames.iter().find(|frame| frame.message_type == "Bind").unwrap().facts.clone().unwrap();
    let said: Vec<_> = bind.parameters.iter().map(|p| (p.name.as_str(), p.type_oid, p.format)).collect();
    assert_eq!(said, [("id", 23, 1), ("name", 25, 0)]);
}

/// Each Execute of a portal is a command; a suspended one says the rows it gave.
#[test]
fn a_suspended_portal_goes_on_as_the_next_command() {
    let two = b"p\0\0\0\0\x02";
    let story = Talk::all(&[
        c(&[
            (b'P', b"\0select id from t\0\0\0"),
            (b'B', b"p\0\0\0\0\0\0\0\0"),
            (b'D', b"Pp\0"),
            (b'E', two),
            (b'H', b""),
        ]),
        t(&[(b'1', b""), (b'2', b""), (b'T', ROW_T), (b'D', ROW_D), (b'D', ROW_D), (b's', b"")]),
        c(&[(b'E', two), (b'C', b"Pp\0"), (b'S', b"")]),
        t(&[(b'D', ROW_D), (b'C', b"SELECT 1\0"), (b'3', b""), (b'Z', b"I")]),
    ]);
    let said: Vec<_> = story.commands.iter().map(|(facts, _)| (facts.rows, facts.columns[0].name.as_str())).collect();
    assert_eq!(said, [(Some(2), "id"), (Some(1), "id")]);
    let rows: Vec<_> = story.frames.iter().filter(|f| f.message_type == "DataRow").map(|f| f.command_id).collect();
    assert_eq!(rows, [0, 0, 1]);
}

/// A Close, Parse or Query that the target skipped after an error changed nothing, also when sent ahead.
#[test]
fn what_was_skipped_is_undone() {
    let bad: &[u8] = b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0";
    let story = Talk::all(&[
        c(&[(b'P', PARSE_S), (b'S', b"")]),
        t(&[(b'1', b""), (b'Z', b"I")]),
        c(&[
            (b'B', bad),
            (b'E', E),
            (b'C', b"Ss\0"),
            (b'P', b"s\0select 2 from u\0\0\0"),
            (b'Q', b"select 9; select 8\0"),
        ]),
        c(&[(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), (b'C', b"P\0"), (b'S', b"")]),
        t(&[(b'E', FAIL), (b'Z', b"I")]),
        c(&[(b'B', BIND_S), (b'E', E), (b'C', b"Ss\0"), (b'S', b"")]),
        t(&[(b'2', b""), (b'D', ROW_D), (b'C', b"SELECT 1\0"), (b'3', b""), (b'Z', b"I")]),
        c(&[(b'B', BIND_S), (b'S', b"")]),
        t(&[(b'E', b"SERROR\0C26000\0Mno such statement\0\0"), (b'Z', b"I")]),
    ]);
    let said: Vec<_> = story
        .commands
        .iter()
        .map(|(facts, content)| (content.statement.escape_ascii().to_string(), facts.error_code.as_str()))
        .collect();
    let text = "select id from t where id = $1".to_owned();
    assert_eq!(said[0], (text.clone(), "22P02"));
    assert_eq!(
        said[1..4],
        [("select 9".to_owned(), "skipped"), ("select 8".to_owned(), "skipped"), (String::new(), "skipped")]
    );
    assert_eq!(said[4], (text, ""));
    assert_eq!(said.last().unwrap(), &(String::new(), "26000"));
}

/// What was sent behind a Sync, before the error in front of it was known, runs with the tables as they really are.
#[test]
fn what_was_sent_behind_an_error_is_read_anew() {
    let replace: &[u8] = b"s\0select 2 from u\0\0\0";
    let story = Talk::all(&[
        c(&[(b'P', PARSE_S), (b'S', b"")]),
        t(&[(b'1', b""), (b'Z', b"I")]),
        c(&[(b'B', BIND_S), (b'E', E), (b'C', b"Ss\0"), (b'P', replace), (b'S', b"")]),
        c(&[(b'D', b"Ss\0"), (b'B', BIND_S), (b'D', b"P\0"), (b'E', E), (b'C', b"P\0"), (b'C', b"Ss\0"), (b'S', b"")]),
        t(&[(b'E', FAIL), (b'Z', b"I"), (b't', b"\0\x01\0\0\0\x17"), (b'T', ROW_T), (b'2', b""), (b'T', ROW_T)]),
        t(&[(b'D', ROW_D), (b'C', b"SELECT 1\0"), (b'3', b""), (b'3', b""), (b'Z', b"I")]),
        c(&[(b'B', BIND_S), (b'S', b"")]),
        t(&[(b'E', b"SERROR\0C26000\0Mno such statement\0\0"), (b'Z', b"I")]),
    ]);
    let said: Vec<_> = story
        .commands
        .iter()
        .map(|(facts, content)| (content.statement.escape_ascii().to_string(), facts.error_code.as_str()))
        .collect();
    let text = "select id from t where id = $1".to_owned();
    assert_eq!(said, [(text.clone(), "22P02"), (text, ""), (String::new(), "26000")]);
    assert_eq!((story.commands[1].0.statement_id, story.commands[1].0.relations.join(",")), (0, "t".to_owned()));
    assert_eq!(story.commands[1].1.parameters[0].type_oid, 23);
}

/// The result formats of a Bind of several chunks lie at its end, and the rows have them.
#[test]
fn a_long_bind_keeps_its_result_formats() {
    for size in [CHUNK_BYTES_MAX + 1, 600 * 1024] {
        let length = u32::try_from(size).unwrap().to_be_bytes();
        let bind = [&b"\0s\0\0\0\0\x01"[..], &length, &vec![b'7'; size], b"\0\x01\0\x01"].concat();
        let story = Talk::all(&[
            c(&[(b'P', PARSE_S), (b'D', b"Ss\0"), (b'S', b"")]),
            t(&[(b'1', b""), (b't', b"\0\x01\0\0\0\x17"), (b'T', ROW_T), (b'Z', b"I")]),
            c(&[(b'B', &bind), (b'E', E), (b'S', b"")]),
            t(&[(b'2', b""), (b'D', ROW_D), (b'C', b"SELECT 1\0"), (b'Z', b"I")]),
        ]);
        let row = story.frames.iter().find(|frame| frame.message_type == "DataRow").unwrap();
        assert_eq!(row.facts.as_ref().unwrap().columns[0].format, 1, "{size}");
        assert_eq!(story.commands[0].0.reason_code, "content_cut");
        let binds: Vec<_> = story.frames.iter().filter(|frame| frame.message_type == "Bind").collect();
        assert!(binds.len() > 1 && binds[0].facts.is_none() && binds[0].command_id == -1);
        assert_eq!(
            binds.last().unwrap().command_id,
            story.frames.iter().find(|f| f.message_type == "Execute").unwrap().command_id
        );
    }
}

/// P10: all that the decoder does not mark is read whole; the rest says so on every chunk and can be refused.
#[test]
fn p10_the_statement_limit_is_one() {
    let most = STATEMENT_MESSAGE_BYTES_MAX as usize - 4;
    for (len, seen) in [(most, true), (most + 1, false), (most + 99, false)] {
        let mut text = vec![b' '; len - 13];
        text.extend_from_slice(b"drop table t\0");
        let story = Talk::all(&[c(&[(b'Q', &text)]), t(&[(b'E', b"SERROR\0C54000\0Mtoo long\0\0"), (b'Z', b"I")])]);
        let queries: Vec<_> = story.frames.iter().filter(|frame| frame.message_type == "Query").collect();
        let last = queries.last().unwrap().facts.clone().unwrap();
        if seen {
            assert_eq!((last.relations.as_slice(), last.reason_code.as_str()), (&["t".to_owned()][..], ""));
            assert!(queries[0].facts.is_none());
        } else {
            assert!(queries.iter().all(|frame| frame.facts.as_ref().unwrap().reason_code == "statement_too_long"));
        }
        assert_eq!(story.commands[0].0.error_code, "54000");
    }
}

/// At a limit the observer says which; a table never evicts in silence.
#[test]
fn tables_refuse_at_their_limits_and_make_room_on_close() {
    let limits = observe::Limits { statements_max: 2, portals_max: 1, held_bytes_max: 45_000, outstanding_max: 1000 };
    let parse = |name: &str| c(&[(b'P', format!("{name}\0select 1\0\0\0").as_bytes())]);
    let mut talk = Talk::new(limits);
    talk.turn(&parse("a")).unwrap();
    talk.turn(&parse("b")).unwrap();
    talk.turn(&parse("b")).unwrap();
    talk.turn(&c(&[(b'C', b"Sa\0")])).unwrap();
    talk.turn(&parse("c")).unwrap();
    let error = talk.turn(&parse("d")).unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), ("statements_limit", "54000"));
    talk.turn(&c(&[(b'B', b"p\0b\0\0\0\0\0\0\0")])).unwrap();
    assert_eq!(talk.turn(&c(&[(b'B', b"q\0b\0\0\0\0\0\0\0")])).unwrap_err().kind(), "portals_limit");

    let mut talk = Talk::new(limits);
    let long = format!("a\0select '{}'\0\0\0", "x".repeat(19_000));
    let turn = c(&[(b'P', long.as_bytes()), (b'S', b"")]);
    for _ in 0..5 {
        // The same name again replaces; what it held is given back.
        talk.turn(&turn).unwrap();
        talk.turn(&t(&[(b'1', b""), (b'Z', b"I")])).unwrap();
    }
    let other = c(&[(b'P', [b"b", &long.as_bytes()[1..]].concat().as_slice())]);
    talk.turn(&other).unwrap();
    assert_eq!(talk.turn(&other).unwrap_err().kind(), "held_bytes_limit");
}

/// Closing and skipping give back exactly what was held: no session ends of its own bookkeeping.
#[test]
fn held_bytes_do_not_drift() {
    let limits = observe::Limits { held_bytes_max: 8000, ..observe::Limits::default() };
    let mut talk = Talk::new(limits);
    let ok: &[(u8, &[u8])] = &[(b'1', b""), (b'2', b""), (b'C', b"SELECT 0\0"), (b'3', b""), (b'3', b""), (b'Z', b"I")];
    for round in 0..400 {
        let bind = if round % 2 == 0 { BIND_S } else { b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0" };
        talk.turn(&c(&[(b'P', PARSE_S), (b'B', bind), (b'E', E), (b'C', b"P\0"), (b'C', b"Ss\0"), (b'S', b"")]))
            .unwrap();
        let failed: &[(u8, &[u8])] = &[(b'1', b""), (b'E', FAIL), (b'Z', b"I")];
        talk.turn(&t(if round % 2 == 0 { ok } else { failed })).unwrap();
        talk.turn(&c(&[(b'Q', b"copy t (a, b) from stdin csv; select 1\0")])).unwrap();
        talk.turn(&t(&[(b'E', FAIL), (b'Z', b"I")])).unwrap();
        if round % 2 == 1 {
            talk.turn(&c(&[(b'C', b"Ss\0"), (b'S', b"")])).unwrap();
            talk.turn(&t(&[(b'3', b""), (b'Z', b"I")])).unwrap();
        }
    }
    for _ in 0..100 {
        let group: &[(u8, &[u8])] =
            &[(b'P', PARSE_S), (b'B', BIND_S), (b'E', E), (b'C', b"P\0"), (b'C', b"Ss\0"), (b'S', b"")];
        talk.turn(&c(group)).unwrap();
        talk.turn(&c(group)).unwrap();
        talk.turn(&t(&[(b'1', b""), (b'E', FAIL), (b'Z', b"I")])).unwrap();
        talk.turn(&t(ok)).unwrap();
    }
    assert!(format!("{:?}", talk.observer).contains("held_bytes: 0"), "{:?}", talk.observer);
}
