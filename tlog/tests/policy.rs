//! The policy note and the quorum: goldens, strictness, and every rule that a policy may break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use tlog::note::KeyKind;
use tlog::{
    ExpectedTopic, Group, NoteError, NoteSignature, Policy, PolicyError, Revocation, VerifierKey, Witness,
    WitnessPolicy,
};

const ORIGIN: &str = "audit.example.com/prod";

fn secret(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn key(name: &str, kind: KeyKind, seed: u8) -> VerifierKey {
    VerifierKey::new(name, kind, secret(seed).verifying_key().as_bytes()).unwrap()
}

fn witness(name: &str, seed: u8, url: Option<&str>) -> Witness {
    let key = key(&format!("witness.example/{name}"), KeyKind::Cosignature, seed);
    Witness { name: name.into(), key, url: url.map(str::to_owned) }
}

fn witnesses() -> WitnessPolicy {
    WitnessPolicy {
        logs: Vec::new(),
        witnesses: vec![witness("w1", 1, Some("https://w1.example/s")), witness("w2", 2, None), witness("w3", 3, None)],
        groups: vec![Group {
            name: "three".into(),
            threshold: 2,
            members: vec!["w1".into(), "w2".into(), "w3".into()],
        }],
        quorum: Some("three".into()),
    }
}

fn policy() -> Policy {
    Policy {
        number: 4,
        cluster: Some("lkc-1".into()),
        streams: vec![ExpectedTopic {
            topic: "audit.events".into(),
            topic_id: "0a1b2c3d-0000-4000-8000-000000000001".into(),
            partitions: 12,
        }],
        retention_days: 2555,
        recovery: vec![key("audit.example.com/prod/recovery", KeyKind::Ed25519, 10)],
        revoked: vec![Revocation { key: key(ORIGIN, KeyKind::Ed25519, 11), last_good_size: 1_000_000 }],
        witnesses: witnesses(),
        ..Policy::new(key(ORIGIN, KeyKind::Ed25519, 9))
    }
}

fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
}

#[test]
fn note_is_golden_and_opens_with_its_root_only() {
    let policy = policy();
    let root = key("audit.example.com/prod/root", KeyKind::Ed25519, 12);
    let signature = secret(12).sign(policy.to_string().as_bytes()).to_bytes();
    let note = policy.to_note(vec![NoteSignature::new(&root, &signature)]).unwrap().to_string();
    golden("policy.note", &note);
    assert_eq!(Policy::open(note.as_bytes(), std::slice::from_ref(&root)).unwrap(), policy);
    let other = key("audit.example.com/prod/root", KeyKind::Ed25519, 13);
    assert_eq!(
        Policy::open(note.as_bytes(), &[other]),
        Err(PolicyError::Note(NoteError::NoTrustedSignature)),
        "an unknown root is no root"
    );
    let forged = note.replace("retention_days 2555", "retention_days 1");
    let opened = Policy::open(forged.as_bytes(), &[root]);
    assert!(matches!(opened, Err(PolicyError::Note(NoteError::BadSignature { .. }))), "{opened:?}");
}

#[test]
fn every_other_spelling_is_refused() {
    let text = policy().to_string();
    assert_eq!(Policy::parse_text(&text).unwrap(), policy());
    let swapped = |a: &str, b: &str| text.replace(a, "\u{1}").replace(b, a).replace('\u{1}', b);
    let wrong = [
        text.trim_end().to_owned(),
        text.replace('\n', "\r\n"),
        text.replace("number 4", "number 04"),
        text.replace("number 4", "number  4"),
        text.replace("number 4\n", ""),
        text.replace("number 4\n", "number 4\nnumber 4\n"),
        text.replace("number 4\n", "number 4\n\n"),
        text.replace("number 4\n", "number 4\n# comment\n"),
        text.replace("policy/v1", "policy/v2"),
        text.replace("group three 2", "group three 4"),
        text.replace("group three 2", "group three any"),
        text.replace("quorum three", "quorum four"),
        text.replace("quorum three\n", ""),
        text.replace("cluster lkc-1\n", ""),
        text.replace("audit.events", "audit events"),
        text.replace(" 12\n", " 0\n"),
        text.replace(" 12\n", " 2147483648\n"),
        text.replace("origin audit", "origin other"),
        swapped("retention_days 2555", "max_tail_age 300"),
        format!("{text}log {}\n", key(ORIGIN, KeyKind::Ed25519, 9)),
        format!("{text}more\n"),
        text.replace("w1.example/s", &"x".repeat(300_000)),
    ];
    for (number, text) in wrong.iter().enumerate() {
        assert!(Policy::parse_text(text).is_err(), "case {number} was accepted");
    }
}

#[test]
fn a_key_has_one_role() {
    let with = |change: fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        Policy::parse_text(&policy.to_string())
    };
    let twice = Err(PolicyError::Whole("one public key has two roles"));
    assert_eq!(with(|policy| policy.recovery[0] = key("r", KeyKind::Ed25519, 9)), twice);
    assert_eq!(with(|policy| policy.recovery[0] = key("r", KeyKind::Ed25519, 1)), twice);
    assert_eq!(with(|policy| policy.first_key = key(ORIGIN, KeyKind::Ed25519, 2)), twice, "witness key is the log key");
    assert!(with(|policy| policy.witnesses.witnesses[1].key = policy.witnesses.witnesses[0].key.clone()).is_err());
    assert!(with(|policy| policy.recovery[0] = key("r", KeyKind::Cosignature, 20)).is_err());
    assert!(with(|policy| policy.first_key = key("other", KeyKind::Ed25519, 9)).is_err());
}

#[test]
fn revocation_is_by_public_key_and_the_lowest_counts() {
    let mut policy = policy();
    let gone = key(ORIGIN, KeyKind::Ed25519, 11);
    policy.revoked.push(Revocation { key: gone.clone(), last_good_size: 7 });
    assert_eq!(policy.last_good_size(&gone), Some(7));
    assert_eq!(policy.last_good_size(&policy.first_key), None);
}

/// The shapes of the format's own example, with comments, tabs and nested groups.
#[test]
fn tlog_policy_files_are_read_as_specified() {
    let vkey = |name: &str, seed| key(name, KeyKind::Cosignature, seed).to_string();
    let text = format!(
        "# example\n\nlog {} https://log.example\n witness X1\t{}\nwitness X2 {}\ngroup X any X1 X2\nwitness Y1 {} https://y\n\
         group both all X Y1\n  quorum both  \n",
        key(ORIGIN, KeyKind::Ed25519, 9),
        vkey("x1", 1),
        vkey("x2", 2),
        vkey("y1", 3)
    );
    let policy = WitnessPolicy::parse(&text).unwrap();
    assert_eq!(policy.logs.len(), 1);
    let met = |names: &[&str]| policy.is_met_by(|key| names.contains(&key.name()));
    assert!(met(&["x2", "y1"]) && met(&["x1", "x2", "y1"]));
    assert!(!met(&["x1", "x2"]) && !met(&["y1"]) && !met(&[]));
    assert_eq!(WitnessPolicy::parse(&policy.to_string()).unwrap().to_string(), policy.to_string());
    for (bad, what) in [
        (text.replace("quorum both", "quorum none x"), "words"),
        (text.replace("quorum both", "quorum Z"), "undefined"),
        (text.replace("group both all X Y1", "group both all X X"), "twice"),
        (text.replace("group both all X Y1", "group both all X none"), "none as member"),
        (text.replace("group both all X Y1", "group both 3 X Y1"), "threshold"),
        (text.replace("group both all X Y1", "group X all X Y1"), "name twice"),
        (text.replace("quorum both  \n", "quorum both\nquorum both\n"), "two quorums"),
        (text.replace("# example", "unknown x"), "keyword"),
        (format!("{text}log {}\n", key("other", KeyKind::Ed25519, 9)), "one log key twice"),
        (format!("{text}witness Z {}\n", vkey("z", 9)), "witness key equal to the log key"),
        (format!("{text}witness Z {}\n", key("z", KeyKind::Ed25519, 21)), "witness of type 01"),
    ] {
        assert!(WitnessPolicy::parse(&bad).is_err(), "{what} was accepted");
    }
    assert!(WitnessPolicy::parse("quorum none\n").unwrap().is_met_by(|_| false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// One changed byte of the text never reads as the same policy, and nothing panics.
    #[test]
    fn any_byte_counts(at in 0_usize..1000, byte in any::<u8>()) {
        let text = policy().to_string();
        let mut bytes = text.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(changed) = String::from_utf8(bytes) && let Ok(read) = Policy::parse_text(&changed) {
            prop_assert_ne!(read, policy());
        }
        drop(WitnessPolicy::parse(&text));
    }
}
