//! Whole records through the masker, with the ciphers of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use hpke::{Deserializable as _, Serializable as _};
use masker::{MaskerConfig, MaskerFactory, MaskerKey};
use proptest::prelude::*;
use schemas::framing::{Framing, split};
use schemas::v1::*;
use schemas::{Record, payload};
use stage::transform::{Context, Factory as _, Input, Out, Transform as _};

type X25519 = hpke::kem::X25519HkdfSha256;
const SESSION: [u8; 16] = [9; 16];
const KEY: [u8; 32] = [3; 32];

fn wrap(own: &MaskerKey) -> Vec<u8> {
    let public = <X25519 as hpke::Kem>::PublicKey::from_bytes(&own.public_key()).unwrap();
    let (encapsulated, sealed) = hpke::single_shot_seal::<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, X25519, _>(
        &hpke::OpModeS::Base,
        &public,
        payload::WRAP_INFO,
        &KEY,
        &SESSION,
        &mut rand::rng(),
    )
    .unwrap();
    [encapsulated.to_bytes().to_vec(), sealed].concat()
}

fn seal(sequence: i64, kind: FrameKind, content: &[u8]) -> Vec<u8> {
    use ring::aead::*;
    if content.is_empty() {
        return Vec::new();
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
    let mut sealed = content.to_vec();
    let aad = payload::aad(&SESSION, sequence, kind.index());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(payload::nonce(sequence)), Aad::from(aad), &mut sealed)
        .unwrap();
    sealed
}

struct Bench {
    masker: masker::Masker,
    wrapped: Vec<u8>,
    sequence: i64,
    out: Out,
}

impl Bench {
    fn new() -> Self {
        let wrapped = wrap(&MaskerKey::from_bytes([7; 32]));
        let factory = MaskerFactory::new(MaskerKey::from_bytes([7; 32]), b"pseudonym", &MaskerConfig::default());
        let out = Out::new(vec![Framing::single_object::<Frame>(), Framing::single_object::<Event>()]);
        let mut bench = Self { masker: factory.make(0), wrapped, sequence: 0, out };
        bench.send(FrameKind::SessionOpened, "", None, &[]);
        bench
    }

    /// The body written, framing cut off.
    fn send(&mut self, kind: FrameKind, message: &str, facts: Option<Facts>, content: &[u8]) -> Vec<u8> {
        self.part(kind, message, facts, content, (0, true))
    }

    /// The same for one chunk: its number, and whether it is the last.
    fn part(
        &mut self,
        kind: FrameKind,
        message: &str,
        facts: Option<Facts>,
        content: &[u8],
        (chunk, last): (i32, bool),
    ) -> Vec<u8> {
        let mut frame = EnrichedFrame { attribution: Attribution::Attributed, ..EnrichedFrame::default() };
        frame.context.wrapped_key = self.wrapped.clone();
        frame.raw = RawFrame {
            session_id: Uuid(SESSION),
            sequence: self.sequence,
            kind,
            protocol: Protocol::Postgres,
            chunk,
            last,
            message_type: message.to_owned(),
            facts,
            payload: seal(self.sequence, kind, content),
            ..RawFrame::default()
        };
        self.sequence += 1;
        self.apply(&frame)
    }

    fn apply(&mut self, frame: &EnrichedFrame) -> Vec<u8> {
        let mut value = Vec::new();
        Framing::single_object::<EnrichedFrame>().prefix(&mut value);
        frame.encode(&mut value);
        self.out.clear();
        let ctx = Context { now_us: 0, wait_over: false };
        self.masker
            .apply(&ctx, Input { offset: 0, timestamp_ms: 0, key: None, value: Some(&value) }, &mut self.out)
            .unwrap();
        assert_eq!(self.out.len(), 1);
        split(self.out.get(0).unwrap().value.unwrap()).unwrap().1.to_vec()
    }

    fn message(&mut self, message: &str, facts: Option<Facts>, content: &[u8]) -> Frame {
        Frame::from_body(&self.send(FrameKind::Message, message, facts, content)).unwrap()
    }

    fn chunk(&mut self, message: &str, facts: Option<Facts>, content: &[u8], place: (i32, bool)) -> Frame {
        Frame::from_body(&self.part(FrameKind::Message, message, facts, content, place)).unwrap()
    }

    fn command(&mut self, content: &CommandContent, facts: Facts) -> Event {
        Event::from_body(&self.send(FrameKind::Command, "", Some(facts), &content.to_body())).unwrap()
    }
}

fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.payload).into_owned()
}

fn row(values: &[&[u8]]) -> Vec<u8> {
    let mut out = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        out.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
        out.extend_from_slice(value);
    }
    out
}

fn columns(names: &[&str]) -> Facts {
    let columns = names.iter().map(|name| Column { name: (*name).to_owned(), ..Column::default() }).collect();
    Facts { columns, copy_format: "text".to_owned(), ..Facts::default() }
}

#[test]
fn secrets_of_statements_do_not_pass() {
    let cases = [
        ("ALTER ROLE bob PASSWORD 'hunter2''s;DROP'", "hunter2"),
        ("CREATE USER x PASSWORD $p$hun$ter$p$", "hun$ter"),
        ("ALTER ROLE b PASSWORD U&'\\0068unter2' ; SELECT 1 -- pw hunter2", "unter2"),
        ("ALTER ROLE bob PASSWORD 'hunter2", "hunter2"),
        ("UPDATE users SET password = 'hunter2' WHERE id = 7", "hunter2"),
        ("INSERT INTO t (id, api_token) VALUES (1, 'hunter2'), (2, E'hunter2')", "hunter2"),
        ("SET standard_conforming_strings = off; SELECT 'a\\'hunter2'", "hunter2"),
        ("CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p", "hunter2"),
        ("SELECT 'postgresql://u:hunter2@[2001:db8::1]/d'", "hunter2"),
    ];
    for (sql, secret) in cases {
        let mut bench = Bench::new();
        let frame = bench.message("Query", None, format!("{sql}\0").as_bytes());
        assert!(!text(&frame).contains(secret), "{sql}: {}", text(&frame));
        assert_eq!(frame.payload_state, PayloadState::Masked, "{sql}");
        assert_eq!(frame.payload.last(), Some(&0));
        let event =
            bench.command(&CommandContent { statement: sql.into(), ..CommandContent::default() }, Facts::default());
        assert!(!event.statement.unwrap().contains(secret), "{sql}");
    }
    let frame = Bench::new().message("Query", None, b"SELECT name FROM t WHERE name = 'bob'\0");
    assert_eq!(frame.payload_state, PayloadState::Clear);
    assert_eq!(text(&frame), "SELECT name FROM t WHERE name = 'bob'\0");
}

#[test]
fn rows_and_binds_keep_their_shape() {
    let mut bench = Bench::new();
    let frame = bench.message("DataRow", Some(columns(&["id", "password"])), &row(&[b"7", b"hunter2"]));
    assert_eq!(frame.payload, row(&[b"7", b"<secret:column:s>"]));
    let body = [b"\0\0".as_slice(), &1u16.to_be_bytes(), &1u16.to_be_bytes(), &row(&[b"hunter2"]), &0u16.to_be_bytes()]
        .concat();
    let parameters = vec![ParameterFact { name: "password".to_owned(), type_oid: 25, format: 1 }];
    let facts = Facts { parameters, ..Facts::default() };
    let frame = bench.message("Bind", Some(facts.clone()), &body);
    assert!(frame.mask_reason.is_empty() && !text(&frame).contains("hunter2"), "{}", text(&frame));
    let values = vec![ParameterValue { type_oid: 25, format: 1, value: Some(b"hunter2".to_vec()) }];
    let content =
        CommandContent { parameters: values, error_message: b"bad \"hunter2\"".to_vec(), ..CommandContent::default() };
    let event = bench.command(&content, facts);
    assert_eq!(event.parameters[0].value.as_deref(), Some("<secret:column:s>"));
    assert!(!event.error_message.unwrap().contains("hunter2"));
}

#[test]
fn what_the_server_echoes_is_masked() {
    let mut bench = Bench::new();
    bench.message("Query", None, b"ALTER ROLE bob PASSWORD 'hunter2\0");
    let frame =
        bench.message("ErrorResponse", None, b"SERROR\0Munterminated quoted string at or near \"'hunter2\"\0\0");
    assert!(text(&frame).contains("unterminated") && !text(&frame).contains("hunter2"));
    let frame = bench.message("ErrorResponse", None, b"DKey (ssn)=(219-09-1203) already exists.\0\0");
    assert!(!text(&frame).contains("1203"));
    let frame = bench.message("NotificationResponse", None, b"\0\0\0\x01c\0postgresql://u:p%40ss@[2001:db8::1]/d\0");
    assert!(!text(&frame).contains("p%40ss"));
}

const EVERY_TYPE: [&str; 22] = [
    "Query",
    "Parse",
    "Bind",
    "DataRow",
    "CopyData",
    "ErrorResponse",
    "NoticeResponse",
    "NotificationResponse",
    "ParameterStatus",
    "RowDescription",
    "CommandComplete",
    "Describe",
    "Execute",
    "Close",
    "CopyFail",
    "Sync",
    "ReadyForQuery",
    "ParameterDescription",
    "CopyInResponse",
    "FunctionCall",
    "Terminate",
    "Unknown(0x7a)",
];

/// A secret at any place of a message that is cut anywhere: no part of 4 bytes of it passes in any chunk.
#[test]
fn a_secret_cut_by_a_chunk_edge_does_not_pass() {
    let secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    let body = format!("application_name\0{secret} and more\0");
    for kind in EVERY_TYPE {
        for cut in [1, 18, 20, 25, 30, 40, body.len() - 1] {
            let mut bench = Bench::new();
            let (left, right) = body.as_bytes().split_at(cut);
            let facts = || Some(columns(&["id"]));
            for (part, place) in [(left, (0, false)), (right, (1, false)), (right, (2, true))] {
                let frame = bench.chunk(kind, facts(), part, place);
                assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, "chunk"));
                assert_eq!(frame.masked_bytes, i64::try_from(part.len()).unwrap());
                let leaked = secret.as_bytes().windows(4).any(|four| frame.payload.windows(4).any(|part| part == four));
                assert!(!leaked, "{kind} cut at {cut}: {}", text(&frame));
            }
        }
    }
}

#[test]
fn copy_lines_are_masked_by_column() {
    let mut bench = Bench::new();
    let facts = || Some(columns(&["id", "token"]));
    let frame = bench.message("CopyData", facts(), b"1\thunter2\n2\t\\N\n");
    assert_eq!(text(&frame), "1\t<secret:column:s>\n2\t\\N\n");
    assert_eq!(bench.message("CopyData", facts(), b"1\thunt").payload_state, PayloadState::MaskedWhole);
}

#[test]
fn what_cannot_be_opened_or_parsed_is_masked_whole() {
    let mut bench = Bench::new();
    let mut input = EnrichedFrame { attribution: Attribution::Unattributed, ..EnrichedFrame::default() };
    input.raw.kind = FrameKind::Message;
    input.raw.payload = vec![1; 40];
    let frame = Frame::from_body(&bench.apply(&input)).unwrap();
    assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, "unattributed"));
    input.attribution = Attribution::Attributed;
    assert_eq!(Frame::from_body(&bench.apply(&input)).unwrap().mask_reason, "no_key");
    input.context.wrapped_key = vec![1; 80];
    assert_eq!(Frame::from_body(&bench.apply(&input)).unwrap().mask_reason, "key_unwrap");
    assert_eq!(bench.message("DataRow", None, b"xx").mask_reason, "parse");
    assert_eq!(bench.message("FunctionCall", None, b"hunter2").mask_reason, "unknown_message");
}

#[test]
fn the_golden_payload_opens() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/payload.json");
    let own = MaskerKey::from_bytes([7; 32]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let sealed = seal(5, FrameKind::Message, b"SELECT 1\0");
        let golden = serde_json::json!({"private_key": hex::encode([7; 32]), "public_key": hex::encode(own.public_key()),
            "key_id": own.key_id(), "session_id": hex::encode(SESSION), "session_key": hex::encode(KEY),
            "wrapped_key": hex::encode(wrap(&own)), "sequence": 5, "kind": FrameKind::Message.index(),
            "ciphertext": hex::encode(sealed), "plaintext": hex::encode(b"SELECT 1\0")});
        std::fs::write(&path, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
    }
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let field = |name: &str| hex::decode(golden[name].as_str().unwrap()).unwrap();
    assert_eq!(own.key_id(), golden["key_id"]);
    let key = own.unwrap_key(&SESSION, &field("wrapped_key")).unwrap();
    assert_eq!(key.open(&SESSION, 5, 1, &field("ciphertext")).unwrap(), field("plaintext"));
    assert!(key.open(&SESSION, 6, 1, &field("ciphertext")).is_err());
}

const KINDS: [&str; 9] = [
    "Query",
    "Parse",
    "Bind",
    "DataRow",
    "CopyData",
    "ErrorResponse",
    "NotificationResponse",
    "FunctionCall",
    "ParameterStatus",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_payload_is_taken(kind in 0..KINDS.len(), body in proptest::collection::vec(any::<u8>(), 1..200)) {
        let frame = Bench::new().message(KINDS[kind], Some(columns(&["password"])), &body);
        prop_assert!(frame.payload_state != PayloadState::Unknown);
    }

    /// Canary: a planted secret appears nowhere in the record written, raw, hex or base64.
    #[test]
    fn planted_secrets_do_not_pass(canary in "[A-Za-z0-9]{20,40}", place in 0..6usize) {
        use base64::Engine as _;
        let mut bench = Bench::new();
        let parameters = vec![ParameterFact { name: "secret".to_owned(), type_oid: 17, format: 1 }];
        let facts = Facts { parameters, ..columns(&["secret"]) };
        let written = match place {
            0 => bench.send(FrameKind::Message, "Query", None, format!("ALTER USER a PASSWORD '{canary}'\0").as_bytes()),
            1 => bench.send(FrameKind::Message, "DataRow", Some(facts), &row(&[canary.as_bytes()])),
            2 => bench.send(FrameKind::Message, "CopyData", Some(facts), format!("{canary}\n").as_bytes()),
            3 => bench.send(FrameKind::Message, "NoticeResponse", None, format!("Mtoken={canary}\0\0").as_bytes()),
            4 => bench.send(FrameKind::Message, "DataRow", None, &row(&[format!("Authorization: Bearer {canary}").as_bytes()])),
            _ => {
                let value = ParameterValue { type_oid: 17, format: 1, value: Some(canary.clone().into_bytes()) };
                let content = CommandContent { statement: b"UPDATE t SET secret = $1".to_vec(), parameters: vec![value], ..CommandContent::default() };
                bench.send(FrameKind::Command, "", Some(facts), &content.to_body())
            }
        };
        let encoded = [canary.clone(), hex::encode(&canary), base64::engine::general_purpose::STANDARD.encode(&canary)];
        for needle in encoded {
            prop_assert!(!written.windows(needle.len()).any(|part| part == needle.as_bytes()), "place {place}");
        }
    }
}
