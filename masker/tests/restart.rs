//! Messages in parts, and a masker that ends and goes on elsewhere between any two of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use masker::engine::{Engine, Tally};
use proptest::prelude::*;
use schemas::v1::*;
use support::{Bench, columns, row, text};

const SECRET: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

/// One record of a script: message type, facts, content, chunk and last.
type Part = (&'static str, Option<Facts>, Vec<u8>, (i32, bool));

fn chunks(kind: &'static str, facts: Option<Facts>, body: &[u8], size: usize) -> Vec<Part> {
    let count = body.len().div_ceil(size);
    let part = |(at, part): (usize, &[u8])| {
        (kind, facts.clone(), part.to_vec(), (i32::try_from(at).unwrap(), at + 1 == count))
    };
    body.chunks(size).enumerate().map(part).collect()
}

/// A session with everything that is followed over its records.
fn script(size: usize) -> Vec<Part> {
    let one = |kind, facts, body: &[u8]| (kind, facts, body.to_vec(), (0, true));
    let key =
        format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\nafter", "MIIEowIBAAKCAQEA\n".repeat(90));
    let wide = row(&[b"7", format!("before {SECRET} {key}").as_bytes(), b"hunter2hunter2"]);
    let statement = format!(
        "INSERT INTO t VALUES (1, 'hunter2', $$dol{SECRET}lar$$) -- {SECRET}\n/* x */ , E'a\\'b' FROM {SECRET}\0"
    );
    let bind = [b"p\0s\0\0\x01\0\0\0\x01".as_slice(), &row(&[SECRET.as_bytes()])[2..], b"\0\0"].concat();
    let mut parts = vec![one("Query", None, b"ALTER ROLE bob PASSWORD 'qZ7xK9mP2v'\0")];
    parts.extend(chunks("Query", None, statement.as_bytes(), size));
    parts.extend(chunks("Bind", None, &bind, size));
    parts.extend(chunks("DataRow", Some(columns(&["id", "note", "password"])), &wide, size));
    parts.push(one("CopyInResponse", None, b"\0\0\0"));
    for part in format!("1\tAda\thunter2\n2\t{SECRET}\tqwertyuiop\n").as_bytes().chunks(size.min(9)) {
        parts.push(one("CopyData", Some(columns(&["id", "name", "token"])), part));
    }
    parts.push(one("CopyDone", None, b""));
    let echo = "SELECT 'qZ7xK9mP2v', 'cVo3eEs5bVAydg==', '715a37784b396d503276'";
    parts.push(one("DataRow", Some(columns(&["pid", "query"])), &row(&[b"7", echo.as_bytes()])));
    parts
}

/// Every frame of the script; with `restart`, a new masker before each record it is true for.
fn play(script: &[Part], restart: impl Fn(usize) -> bool) -> Vec<Frame> {
    let mut bench = Bench::new();
    let mut frames = Vec::new();
    for (at, (kind, facts, body, place)) in script.iter().enumerate() {
        if restart(at) {
            for (_, value) in bench.restart() {
                let value = value.unwrap();
                for secret in [SECRET, "qZ7xK9mP2v", "hunter2"] {
                    assert!(!value.windows(secret.len()).any(|part| part == secret.as_bytes()));
                }
            }
        }
        frames.push(bench.chunk(kind, facts.clone(), body, *place));
    }
    frames
}

fn payloads(frames: &[Frame], kind: &str) -> String {
    frames.iter().filter(|frame| frame.message_type == kind).map(text).collect()
}

#[test]
fn a_restart_at_any_record_changes_no_byte() {
    for size in [5, 37, 700] {
        let script = script(size);
        let expected = play(&script, |_| false);
        assert_eq!(play(&script, |_| true), expected, "at every record, chunks of {size}");
        for cut in (0..script.len()).step_by(1 + script.len() / 40) {
            assert_eq!(play(&script, |at| at == cut), expected, "before record {cut}, chunks of {size}");
        }
    }
}

#[test]
fn nothing_of_a_secret_passes_and_the_rest_is_as_it_was() {
    let whole: Vec<String> = ["Query", "DataRow", "Bind", "CopyData"]
        .map(|kind| payloads(&play(&script(100_000), |_| false), kind))
        .to_vec();
    for size in [1, 2, 3, 5, 8, 13, 37, 64, 700] {
        let frames = play(&script(size), |_| false);
        for frame in &frames {
            assert_eq!(frame.mask_reason, "", "{} {}", frame.message_type, text(frame));
        }
        let all: Vec<String> = ["Query", "DataRow", "Bind", "CopyData"].map(|kind| payloads(&frames, kind)).to_vec();
        for part in ["sk_live", "4eC3", "zdp7", "hunter2", "qZ7x", "MIIE", "qwert", "cVo3", "715a", "dol", "lar$$ "] {
            assert!(!all.concat().contains(part), "{part} in chunks of {size}");
        }
        // Rows and COPY are as they are whole, but for the length in front of a value that was cut.
        assert_eq!(all[3], whole[3]);
        assert!(all[1].contains("before <secret:stripe-key:l> <secret:pem:xl>\nafter"), "{}", all[1]);
        assert!(all[2].starts_with("p\0s\0\0\x01\0\0\0\x01") && all[2].ends_with("<secret:stripe-key:l>\0\0"));
        let statement = "INSERT INTO t VALUES (<secret:literal:s>, '<secret:literal:s>', $$<secret:literal:l>$$) --<secret:comment:l>\n/*<secret:comment:s>*/ , E'<secret:literal:s>' FROM ";
        assert!(size > 150 || all[0].contains(statement), "{}", all[0]);
    }
}

#[test]
fn a_key_over_forty_chunks_without_an_end_is_one_secret() {
    let value = format!("text -----BEGIN RSA PRIVATE KEY-----\n{}", "MIIEowIBAAKCAQEA7bq\n".repeat(8000));
    let body = row(&[value.as_bytes(), b"readable"]);
    let frames: Vec<Frame> = play(&chunks("DataRow", Some(columns(&["a", "b"])), &body, 4000), |at| at % 3 == 0);
    assert_eq!(frames.len(), 41);
    let written = payloads(&frames, "DataRow");
    assert!(!written.contains("MIIE") && written.contains("text <secret:pem:xl>") && written.ends_with("\x08readable"));
    assert!(written.len() < 100, "{}", written.len());
    let bytes: i64 = frames.iter().map(|frame| frame.masked_bytes).sum();
    assert_eq!(bytes, i64::try_from(value.len() - 5).unwrap());
}

/// A chunk that does not follow, a type that is not followed, a message that breaks off: nothing is shown.
#[test]
fn what_does_not_follow_is_masked_whole() {
    let facts = || Some(columns(&["note"]));
    let body = row(&[format!("{}{SECRET}{}", "a ".repeat(700), " b".repeat(700)).as_bytes()]);
    let (left, right) = body.split_at(1420);
    let mut bench = Bench::new();
    assert!(bench.chunk("DataRow", facts(), left, (0, false)).mask_rules.contains(&"held".to_owned()));
    bench.sequence += 1;
    let frame = bench.chunk("DataRow", facts(), right, (1, true));
    assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, "chunk"));
    assert!(frame.mask_rules.contains(&"held".to_owned()) && frame.masked_bytes > i64::try_from(right.len()).unwrap());
    let frame = bench.chunk("DataRow", facts(), left, (0, false));
    assert!(!text(&frame).contains("sk_"));
    // Another message of the same way: what the first held is counted.
    let frame = bench.chunk("DataRow", facts(), left, (0, false));
    assert!(frame.masked_bytes > 0 && frame.mask_rules.contains(&"held".to_owned()));
    let frame = bench.chunk("DataRow", facts(), &right[..20], (1, true));
    assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, "parse"));
    assert_eq!(bench.chunk("ErrorResponse", None, b"Mhunter2", (0, false)).mask_reason, "chunk");
}

#[test]
fn state_of_another_key_or_a_closed_session_tells_nothing() {
    let mut bench = Bench::new();
    bench.message("Query", None, b"ALTER ROLE bob PASSWORD 'qZ7xK9mP2v'\0");
    let state = bench.flush();
    assert_eq!(state.len(), 1);
    assert!(bench.flush().is_empty());
    bench.send(FrameKind::SessionClosed, "", None, &[]);
    let state = bench.flush();
    assert_eq!((state.len(), state[0].1.as_deref()), (1, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A text of one value, cut anywhere, with restarts anywhere: what goes out is what the engine makes of it whole.
    #[test]
    fn values_cut_anywhere_are_as_whole_ones(
        texts in proptest::collection::vec(prop_oneof![
            "[a-z ,.]{0,200}",
            Just(SECRET.to_owned()),
            Just("password='it''s me' ".to_owned()),
            Just("4111 1111 1111 1111".to_owned()),
            Just("ada@example.com".to_owned()),
            Just("postgresql://u:p%40ss@[2001:db8::1]/d".to_owned()),
        ], 1..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        restarts in any::<u16>(),
    ) {
        let value = texts.join(" ");
        let body = row(&[value.as_bytes()]);
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).chain([0, body.len()]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let count = bounds.len() - 1;
        let script: Vec<Part> = bounds.windows(2).enumerate().map(|(at, two)| {
            ("DataRow", Some(columns(&["note"])), body[two[0]..two[1]].to_vec(), (i32::try_from(at).unwrap(), at + 1 == count))
        }).collect();
        let frames = play(&script, |at| restarts & (1 << at) != 0);
        let mut tally = Tally::default();
        let expected = Engine::new(&[], b"pseudonym").mask(value.as_bytes(), &mut tally).unwrap_or_else(|| value.clone().into_bytes());
        let written: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
        prop_assert_eq!(String::from_utf8_lossy(&written[6..]), String::from_utf8_lossy(&expected));
        prop_assert_eq!(frames.iter().map(|frame| frame.masked_bytes).sum::<i64>(), i64::try_from(tally.bytes).unwrap());
    }
}
