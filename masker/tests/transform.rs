//! Whole records through the masker, with the ciphers of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use masker::MaskerKey;
use proptest::prelude::*;
use schemas::Record as _;
use schemas::v1::*;
use support::{Bench, KEY, SESSION, columns, row, seal, text, wrap};

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
                if !["Query", "Parse", "Bind", "DataRow", "CopyData"].contains(&kind) {
                    assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, "chunk"));
                    assert_eq!(frame.masked_bytes, i64::try_from(part.len()).unwrap());
                }
                let leaked = secret.as_bytes().windows(4).any(|four| frame.payload.windows(4).any(|part| part == four));
                assert!(!leaked, "{kind} cut at {cut}: {}", text(&frame));
            }
        }
    }
}

/// Case 8: the statement used a bind. Case 10: an unterminated literal. Both with and without a known session.
#[test]
fn every_text_field_of_an_error_is_treated_alike() {
    let secrets = ["219-09-1203", "hunter2"];
    let texts = [
        "Key (ssn)=(219-09-1203) already exists.",
        "Failing row contains (7, hunter2).",
        "invalid input for 219-09-1203",
        "unterminated quoted string at or near \"'hunter2\"",
    ];
    for message in ["ErrorResponse", "NoticeResponse"] {
        for known in [true, false] {
            for code in ['M', 'D', 'H', 'W', 'q', 'x'] {
                let mut bench = Bench::new();
                bench.message("Query", None, b"ALTER ROLE bob PASSWORD 'hunter2\0");
                if !known {
                    // Longer than what is kept: the values of the session are unknown from here.
                    let long = format!("ALTER ROLE bob PASSWORD '{}'\0", "x".repeat(2000));
                    bench.message("Query", None, long.as_bytes());
                }
                for one in texts {
                    let frame = bench.message(message, None, format!("SERROR\0C23505\0{code}{one}\0\0").as_bytes());
                    let written = text(&frame);
                    assert!(!secrets.iter().any(|secret| written.contains(secret)), "{message} {code}: {written}");
                    assert!(written.starts_with("SERROR\0C23505\0"));
                    if !known {
                        assert!(written.contains("<secret:whole:"), "{written}");
                    }
                }
                let frame = bench.message(message, None, format!("{code}raised with plainvalue\0\0").as_bytes());
                assert_eq!(text(&frame).contains("plainvalue"), known);
            }
        }
    }
    let mut bench = Bench::new();
    bench.message("Query", None, b"ALTER ROLE bob PASSWORD 'hunter2\0");
    let frame = bench.message("ErrorResponse", None, b"Munterminated quoted string at or near \"'hunter2\"\0\0");
    assert_eq!(text(&frame), "Munterminated quoted string at or near \"'<secret:echo:s>\"\0\0");
}

#[test]
fn a_message_that_costs_too_much_is_masked_whole() {
    let mut bench = Bench::new();
    let costly = "token=".repeat(10_000);
    let frame = bench.message("Query", None, format!("SELECT {costly}\0").as_bytes());
    assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, "budget"));
    let frame = bench.message("DataRow", Some(columns(&["a", "b"])), &row(&[costly.as_bytes(), b"readable"]));
    assert_eq!((frame.mask_reason.as_str(), text(&frame).contains("readable")), ("budget", false));
    let content = CommandContent { statement: costly.into_bytes(), ..CommandContent::default() };
    let event = bench.command(&content, Facts::default());
    assert_eq!((event.payload_state, event.mask_reason.as_str()), (PayloadState::MaskedWhole, "budget"));
}

#[test]
fn what_a_truncated_statement_ends_with_does_not_pass() {
    let mut bench = Bench::new();
    let statement = b"SELECT a FROM t -- some words and then sk_live_4e".to_vec();
    let content = CommandContent { statement_bytes: 1000, statement, ..CommandContent::default() };
    assert!(!bench.command(&content, Facts::default()).statement.unwrap().contains("sk_"));
    let statement = format!("SELECT a FROM t -- {} 4111 1111 11", "word ".repeat(20)).into_bytes();
    let content = CommandContent { statement_bytes: 1000, statement, ..CommandContent::default() };
    let event = bench.command(&content, Facts::default());
    let written = event.statement.unwrap();
    assert!(event.statement_truncated && written.starts_with("SELECT a FROM t -- word") && !written.contains("4111"));
}

#[test]
fn binary_parameters_are_read() {
    let mut bench = Bench::new();
    let value = |type_oid, bytes: &[u8]| ParameterValue { type_oid, format: 1, value: Some(bytes.to_vec()) };
    let parameters = vec![
        value(1184, &0i64.to_be_bytes()),
        value(1114, &1_500_000i64.to_be_bytes()),
        value(1082, &59i32.to_be_bytes()),
        value(1700, &[0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x0d, 0x48]),
    ];
    let event = bench.command(&CommandContent { parameters, ..CommandContent::default() }, Facts::default());
    let texts: Vec<&str> = event.parameters.iter().map(|one| one.value.as_deref().unwrap()).collect();
    assert_eq!(texts, ["2000-01-01 00:00:00+00", "2000-01-01 00:00:01.5", "2000-02-29", "12.34"]);
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
