//! Values published elsewhere: RFC 6962 roots, the worked example of the design, notes of the C2SP tools.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use ed25519_dalek::{Signer as _, SigningKey};
use tlog::{
    BatchTree, Checkpoint, CheckpointError, EMPTY_ROOT, Frontier, Hash, KeyKind, LogWriter, Note, NoteError,
    NoteSignature, VerifierKey, cosignature_signed_bytes, leaf_hash, leaf_hash_parts, node_hash, root_of,
};

const ORIGIN: &str = "audit.example.com/prod";
const LOG_KEY: &str = "audit.example.com/prod+175a851d+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const WITNESS_KEY: &str = "witness.example.org/w1+f3c080b6+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X";
const CHECKPOINT: &str = include_str!("../golden/checkpoint.txt");
const PETER: &str = include_str!("../golden/peter-neumann.txt");
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const QUASIMODO: &str = include_str!("../golden/quasimodo.txt");

fn hash(text: &str) -> Hash {
    Hash::from_slice(&hex::decode(text).unwrap()).unwrap()
}

fn keys() -> [VerifierKey; 2] {
    [VerifierKey::parse(LOG_KEY).unwrap(), VerifierKey::parse(WITNESS_KEY).unwrap()]
}

fn seed(first: u8) -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|i| first + u8::try_from(i).unwrap()))
}

#[test]
fn rfc6962_roots_of_sizes_0_to_8() {
    let leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let leaves: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect();
    let roots: Vec<Hash> =
        include_str!("../golden/rfc6962-roots.txt").lines().filter(|line| !line.starts_with('#')).map(hash).collect();
    assert_eq!(roots.len(), 9);
    let mut frontier = Frontier::new();
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(root_of(&leaves[..size]), *root, "size {size}");
        assert_eq!(BatchTree::from_leaf_hashes(leaves[..size].to_vec()).unwrap().root(), *root);
        assert_eq!(frontier.root(), *root);
        if let Some(leaf) = leaves.get(size) {
            frontier.append(*leaf);
        }
    }
    assert_eq!(roots[0], EMPTY_ROOT);
    // Hashes of the RFC 6962 hasher tests of Certificate Transparency.
    assert_eq!(leaf_hash(b"L123456"), hash("395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"));
    let n = leaf_hash(b"");
    assert_ne!(node_hash(&n, &n), leaf_hash(&[n.as_bytes().as_slice(), n.as_bytes()].concat()), "no second preimage");
}

/// Leaf input of the design's section 2.2, for the worked example only.
fn leaf_input(offset: u64, time: i64, key: &str, value: &str) -> Vec<u8> {
    let stream = hex::decode("5fa3990bba6b64aa46826799fa36e639").unwrap();
    let length = |text: &str| u32::try_from(text.len()).unwrap().to_be_bytes();
    let parts: [&[u8]; 9] = [
        b"AEL1",
        &stream,
        &offset.to_be_bytes(),
        &time.to_be_bytes(),
        &[0, 3, 0, 0],
        &length(key),
        key.as_bytes(),
        &length(value),
        value.as_bytes(),
    ];
    let whole = parts.concat();
    assert_eq!(leaf_hash_parts(&parts), leaf_hash(&whole));
    whole
}

#[test]
fn worked_example_batch() {
    let inputs: Vec<Vec<u8>> = (0..5_u64)
        .map(|i| {
            let time = 1_770_000_000_000 + i64::try_from(i).unwrap();
            leaf_input(1000 + i, time, &format!("session-{i}"), &format!("event-{i}"))
        })
        .collect();
    assert_eq!(
        hex::encode(&inputs[0]),
        "41454c315fa3990bba6b64aa46826799fa36e63900000000000003e80000019c1c38a4000003000000\
         00000973657373696f6e2d30000000076576656e742d30"
    );
    assert_eq!(leaf_hash(&inputs[0]), hash("ab469bbfcd390f17c47a879ebfbf53efbfcdd065267fdcd9789e61733868ff15"));
    let mut leaves = Vec::new();
    tlog::hash_leaves(&inputs, &mut leaves);
    let tree = BatchTree::from_leaf_hashes(leaves).unwrap();
    assert_eq!(tree.root(), hash("9d2c3adab1ca47e48cdc90558e187810de63df56345b51c2736dd1c91d6159bd"));
}

#[test]
fn worked_example_log() {
    let entries = [
        "fa65e4e123896beddaa6fd3c13571319a1038631d87f130ad84ddbf3ca7f515f",
        "0a9a595ba93945d5335b7b6f7d5eb3b542faafb18e7d47a5cfcd17b8c9740af3",
        "a6b7d55d7107ef0a76d7c20b54973096cb7ebf067d19b9be12162c88674ed0d7",
    ]
    .map(hash);
    let opened = Checkpoint::open(CHECKPOINT.as_bytes(), ORIGIN, &keys()).unwrap();
    assert_eq!(opened.checkpoint.size(), 3);
    assert_eq!(root_of(&entries), *opened.checkpoint.root());
    let [log, witness] = keys();
    assert!(opened.verified.is_by(&log));
    assert_eq!(opened.verified.cosigned_at(&witness), Some(1_770_000_075));
    assert_eq!(opened.verified.cosigned_at(&log), None);
    assert!(opened.verified.unknown.is_empty());
    assert_eq!(opened.note.to_string(), CHECKPOINT);
}

#[test]
fn worked_example_is_signed_again_to_the_byte() {
    let (log, witness) = (seed(0), seed(0x20));
    let log_key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, log.verifying_key().as_bytes()).unwrap();
    let witness_key =
        VerifierKey::new("witness.example.org/w1", KeyKind::Cosignature, witness.verifying_key().as_bytes()).unwrap();
    assert_eq!(log_key.to_string(), LOG_KEY);
    assert_eq!(witness_key.to_string(), WITNESS_KEY);
    let root = Hash::from_base64("+gyeypyC/ETlo9Y9WNa2ZBl7qNLzd76IRRKXgYmudn0=").unwrap();
    let head = Checkpoint::new(ORIGIN, 3, root).unwrap();
    let text = head.to_string();
    let line = NoteSignature::new(&log_key, &log.sign(text.as_bytes()).to_bytes());
    let note = head.to_note(vec![line]).unwrap();
    let time = 1_770_000_075;
    let signature = witness.sign(&cosignature_signed_bytes(time, &text)).to_bytes();
    let note = note.with_signature(NoteSignature::cosignature(&witness_key, time, &signature)).unwrap();
    assert_eq!(note.to_string(), CHECKPOINT);
}

#[test]
fn peter_neumann_verifies() {
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    assert_eq!((key.name(), key.id(), key.kind()), ("PeterNeumann", 0xc74f_20a3, KeyKind::Ed25519));
    let note = Note::parse(PETER.as_bytes()).unwrap();
    assert!(note.verify(std::slice::from_ref(&key)).unwrap().is_by(&key));
    let changed = Note::parse(PETER.replace("answer", "Answer").as_bytes()).unwrap();
    assert!(matches!(changed.verify(&[key]), Err(NoteError::BadSignature { line: 1, .. })));
    // A second signature by another key: listed, or verified if trusted.
    let enoch = "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=";
    let two = Note::parse(format!("{PETER}{enoch}\n").as_bytes()).unwrap();
    let verified = two.verify(&[VerifierKey::parse(PETER_KEY).unwrap()]).unwrap();
    assert_eq!((verified.signatures.len(), verified.unknown.len()), (1, 1));
    assert_eq!((verified.unknown[0].name(), verified.unknown[0].to_string().as_str()), ("EnochRoot", enoch));
    let enoch_key = VerifierKey::parse("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop").unwrap();
    let both = two.verify(&[enoch_key, VerifierKey::parse(PETER_KEY).unwrap()]).unwrap();
    assert_eq!((both.signatures.len(), both.unknown.len()), (2, 0));
}

#[test]
fn text_with_empty_lines_and_accents_parses() {
    let note = Note::parse(QUASIMODO.as_bytes()).unwrap();
    assert!(note.text().ends_with("ed è subito sera.\n"));
    assert_eq!(note.signatures().len(), 1);
    assert_eq!(note.to_string(), QUASIMODO);
    assert_eq!(note.verify(&keys()), Err(NoteError::NoTrustedSignature));
}

#[test]
fn checkpoint_tampering_is_told_apart() {
    let open = |text: &str, keys: &[VerifierKey]| Checkpoint::open(text.as_bytes(), ORIGIN, keys);
    let kind = |text: &str, keys: &[VerifierKey]| open(text, keys).unwrap_err().kind();
    let [log, witness] = keys();
    let lines: Vec<&str> = CHECKPOINT.split_inclusive('\n').collect();
    let without_log = [lines[0], lines[1], lines[2], lines[3], lines[5]].concat();
    // Unknown keys, cosignature alone, wrong origin: T12.
    assert_eq!(kind(CHECKPOINT, &[]), "no_trusted_signature");
    assert_eq!(kind(CHECKPOINT, std::slice::from_ref(&witness)), "no_trusted_signature");
    assert_eq!(kind(&without_log, &keys()), "no_trusted_signature");
    let other = Checkpoint::open(CHECKPOINT.as_bytes(), "audit.example.com/test", &keys());
    assert!(matches!(other, Err(CheckpointError::WrongOrigin { .. })));
    // An unknown line is kept and listed.
    let extra = format!("{CHECKPOINT}{}", PETER.lines().last().unwrap().to_owned() + "\n");
    assert_eq!(open(&extra, &keys()).unwrap().verified.unknown.len(), 1);
    // A known key with a bad signature next to a good one: T11.
    let forged = NoteSignature::new(&log, &[7; 64]);
    assert_eq!(kind(&format!("{CHECKPOINT}{forged}\n"), &keys()), "bad_signature");
    let late = NoteSignature::cosignature(&witness, 1_770_000_076, &[7; 64]);
    assert_eq!(kind(&format!("{CHECKPOINT}{late}\n"), &keys()), "bad_signature");
    // Another size under the same signatures, and a cosignature whose time was changed.
    assert_eq!(kind(&CHECKPOINT.replacen("\n3\n", "\n4\n", 1), &keys()), "bad_signature");
    let time = open(CHECKPOINT, &keys()).unwrap().note.signatures()[1].to_string().replace("BpgA7L", "BpgA7M");
    assert_ne!(time, lines[5].trim_end());
    assert_eq!(kind(&[lines[..5].concat(), time, "\n".to_owned()].concat(), &keys()), "bad_signature");
    // A log key may not cosign, nor a witness key act as the log: the kind is part of the key id.
    let as_log = VerifierKey::new(ORIGIN, KeyKind::Cosignature, log.public()).unwrap();
    assert_ne!(as_log.id(), log.id());
    assert_eq!(kind(CHECKPOINT, &[as_log, witness]), "no_trusted_signature");
}

#[test]
fn checkpoint_text_is_strict() {
    let good = CHECKPOINT;
    let malformed = [
        good.replacen("\n3\n", "\n03\n", 1),
        good.replacen("\n3\n", "\n+3\n", 1),
        good.replacen("\n3\n", "\n3 \n", 1),
        good.replacen("\n3\n", "\n\u{0663}\n", 1),
        good.replacen("\n3\n", "\n18446744073709551616\n", 1),
        good.replacen("\n3\n", "\n9223372036854775808\n", 1),
        good.replacen("\n3\n", "\n0\n", 1),
        good.replacen('\n', "\r\n", 1),
        good.replace('\n', "\r\n"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        good.replacen("dn0=\n", "dn0=\nextension\n", 1),
        good.replacen("dn0=\n", "dn1=\n", 1),
        good.replacen("dn0=\n", "dn0\n", 1),
        good.replacen("dn0=\n", "dn0==\n", 1),
        good.replacen("audit", "au dit", 1),
        good.replacen("audit.example.com/prod\n", "\n", 1),
        good.replacen('\u{2014}', "-", 1),
        good.replacen("\u{2014} ", "\u{2014}\u{a0}", 1),
        good.replacen("xyg0=", "xyg1=", 1),
        good.replacen("xyg0=", "xyg0", 1),
        good.replacen('\n', "\u{85}\n", 1),
        good.replacen('\n', "\0\n", 1),
        format!("\n{good}"),
    ];
    for text in malformed {
        let error = Checkpoint::open(text.as_bytes(), ORIGIN, &keys()).unwrap_err();
        assert_eq!(error.kind(), "malformed", "{text:?}: {error}");
    }
    // 17 MB of text, and a line too many.
    let huge = "a".repeat(17_000_000) + good;
    assert_eq!(Checkpoint::open(huge.as_bytes(), ORIGIN, &keys()).unwrap_err().kind(), "too_long");
    let line = PETER.lines().last().unwrap();
    let many = |count| format!("{good}{}", format!("{line}\n").repeat(count));
    assert!(Checkpoint::open(many(98).as_bytes(), ORIGIN, &keys()).is_ok());
    assert_eq!(Checkpoint::open(many(99).as_bytes(), ORIGIN, &keys()).unwrap_err().kind(), "malformed");
    assert!(Checkpoint::new(ORIGIN, 0, Hash::ZERO).is_err());
    assert_eq!(Checkpoint::new(ORIGIN, 0, EMPTY_ROOT).unwrap().to_string().lines().nth(1), Some("0"));
}

#[test]
fn mangled_keys_are_refused() {
    for from in 0..=PETER_KEY.len() {
        for to in from + 1..=PETER_KEY.len() {
            if (from, to) != (0, PETER_KEY.len()) {
                let part = PETER_KEY.get(from..to).unwrap();
                assert!(VerifierKey::parse(part).is_err(), "{part}");
            }
        }
    }
    for at in 0..PETER_KEY.len() {
        let mut bytes = PETER_KEY.as_bytes().to_vec();
        bytes[at] += 1;
        assert!(VerifierKey::parse(&String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
    }
    let bad = [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        &PETER_KEY.replace("c74f20a3", "C74F20A3"),
        &PETER_KEY.replace("PeterNeumann", "Peter Neumann"),
        "",
    ];
    for key in bad {
        assert!(VerifierKey::parse(key).is_err(), "{key}");
    }
    // The identity point has small order: any message would have a valid signature.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(VerifierKey::new("weak", KeyKind::Ed25519, &identity).is_err());
}

#[test]
fn ambiguous_keys_are_refused() {
    // Two real keys cannot be given one id here (that needs 2^32 tries), but the same key twice must do no harm.
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    let verified = Note::parse(PETER.as_bytes()).unwrap().verify(&[key.clone(), key.clone()]).unwrap();
    assert_eq!(verified.signatures.len(), 1);
    assert!(verified.is_by(&key));
}

#[test]
fn signed_messages_have_the_specified_bytes() {
    assert_eq!(tlog::seal_signed_bytes(&Hash::new([9; 32])), [&b"audit-seal/v1\n"[..], &[9; 32]].concat());
    let key = seed(0);
    let message = tlog::seal_signed_bytes(&Hash::ZERO);
    let mut signature = key.sign(&message).to_bytes();
    let [log, _] = keys();
    assert!(log.verify_message(&message, &signature));
    signature[0] ^= 1;
    assert!(!log.verify_message(&message, &signature));
}

#[test]
fn one_entry_log_root_is_the_entry_hash() {
    let mut log = LogWriter::new();
    let leaf = log.append(b"entry").unwrap();
    assert_eq!(log.root(), leaf);
}
