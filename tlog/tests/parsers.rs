//! Parsers of foreign bytes: never a panic, and what is accepted is written back to the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use proptest::prelude::*;
use tlog::{
    Checkpoint, ConsistencyFile, EntryProof, EventExtra, Frontier, Hash, Note, NoteSignature, Tile, VerifierKey,
    leaf_hash, node_hash, parse_bundle,
};

const CHECKPOINT: &str = include_str!("../golden/checkpoint.txt");
const KEY: &str = "audit.example.com/prod+175a851d+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

fn read_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(note) = Note::parse(bytes) {
        prop_assert_eq!(note.to_string().into_bytes(), bytes);
    }
    if let Ok(head) = Checkpoint::parse_text(&text) {
        prop_assert_eq!(head.to_string(), text.as_ref());
    }
    if let Ok(key) = VerifierKey::parse(&text) {
        prop_assert_eq!(key.to_string(), text.as_ref());
    }
    if let Ok(line) = NoteSignature::parse(&text) {
        prop_assert_eq!(line.to_string(), text.as_ref());
    }
    if let Ok(proof) = EntryProof::parse(bytes) {
        prop_assert_eq!(proof.to_text().into_bytes(), bytes);
    }
    if let Ok(proof) = ConsistencyFile::parse(bytes) {
        prop_assert_eq!(proof.to_text().into_bytes(), bytes);
    }
    if let Ok(extra) = EventExtra::from_bytes(bytes) {
        prop_assert_eq!(extra.to_bytes().unwrap(), bytes);
    }
    if let Ok(frontier) = Frontier::from_bytes(bytes) {
        prop_assert_eq!(frontier.to_bytes(), bytes);
    }
    for count in [0, 1, 3, 256] {
        if let Ok(entries) = parse_bundle(bytes, count) {
            prop_assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bytes.len());
        }
    }
    prop_assert!(Tile::at(0, 0, 3).unwrap().parse(bytes).is_err() || bytes.len() == 96);
    Ok(())
}

/// Good texts to be damaged.
fn seeds() -> Vec<Vec<u8>> {
    let path = vec![Hash::new([3; 32]); 2];
    let extra = EventExtra { entry: b"entry".into(), index: 2, path: path.clone(), leaf_input: b"leaf".into() };
    let extra = extra.to_bytes().unwrap();
    let checkpoint = CHECKPOINT.to_owned();
    let proof = EntryProof { extra: Some(extra.clone()), index: 1, path: path.clone(), checkpoint: checkpoint.clone() };
    let consistency = ConsistencyFile { old: 7, path, checkpoint };
    let mut texts = vec![CHECKPOINT.into(), KEY.into(), extra, proof.to_text().into(), consistency.to_text().into()];
    texts.push(CHECKPOINT.lines().last().unwrap().into());
    texts.push(CHECKPOINT.split_inclusive('\n').take(3).collect::<String>().into());
    texts.push(b"\0\x03abc\0\0\0\x01d".into());
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes)?;
    }

    #[test]
    fn damaged_texts(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), kind in 0..4, byte in any::<u8>()) {
        let mut bytes = which.get(&seeds()).clone();
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, byte),
            _ => { bytes.remove(at); }
        }
        read_all(&bytes)?;
    }

    #[test]
    fn any_changed_byte_of_a_checkpoint_is_refused_or_shown(at in 0..CHECKPOINT.len(), byte in any::<u8>()) {
        let keys = [VerifierKey::parse(KEY).unwrap()];
        let mut bytes = CHECKPOINT.as_bytes().to_vec();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        // Only the witness line, whose key is not trusted here, may change unseen; it is listed as unknown.
        let witness_line = CHECKPOINT.rfind('\u{2014}').unwrap();
        match Checkpoint::open(&bytes, "audit.example.com/prod", &keys) {
            Ok(opened) => {
                prop_assert!(at >= witness_line);
                prop_assert_eq!(opened.verified.unknown.len(), 1);
            }
            Err(error) => prop_assert!(!error.kind().is_empty()),
        }
    }
}

#[test]
fn proof_files_have_the_specified_text_and_check() {
    let (entry, leaf_input) = (b"entry".to_vec(), b"leaf input".to_vec());
    let (leaf, sibling) = (leaf_hash(&entry), Hash::new([5; 32]));
    let head = Checkpoint::new("o", 2, node_hash(&sibling, &leaf)).unwrap();
    let batch_root = node_hash(&leaf_hash(&leaf_input), &sibling);
    let extra = EventExtra { entry: entry.clone(), index: 0, path: vec![sibling], leaf_input };
    extra.verify_event(2, &batch_root).unwrap();
    assert_eq!(extra.verify_event(3, &batch_root).unwrap_err().kind(), "wrong_length");
    assert_eq!(extra.verify_event(2, &sibling).unwrap_err().kind(), "wrong_root");
    let bytes = extra.to_bytes().unwrap();
    assert_eq!(bytes.len(), 2 + 5 + 8 + 2 + 32 + 4 + 10);
    let proof = EntryProof { extra: Some(bytes), index: 1, path: vec![sibling], checkpoint: "note\n".into() };
    proof.verify_entry(&entry, &head).unwrap();
    assert!(proof.verify_entry(b"other", &head).is_err());
    let bare = EntryProof { extra: None, ..proof };
    assert_eq!(bare.to_text(), format!("c2sp.org/tlog-proof@v1\nindex 1\n{}\n\nnote\n", sibling.to_base64()));
    let none = EntryProof { path: vec![], ..bare };
    assert_eq!(none.to_text(), "c2sp.org/tlog-proof@v1\nindex 1\n\nnote\n");
    assert_eq!(EntryProof::parse(none.to_text().as_bytes()).unwrap(), none);
    let bad = ["index 01", "index", "index -1", "index 1\nAAAA", "extra !\nindex 1", "index 1\nextra AAAA"];
    for head in bad {
        assert!(EntryProof::parse(format!("c2sp.org/tlog-proof@v1\n{head}\n\nnote\n").as_bytes()).is_err(), "{head}");
    }
    let file = ConsistencyFile { old: 1, path: vec![leaf], checkpoint: "note\n".into() };
    assert_eq!(file.to_text(), format!("old 1\n{}\n\nnote\n", leaf.to_base64()));
    file.verify(&sibling, &head).unwrap();
    assert!(file.verify(&leaf, &head).is_err());
    let long = ConsistencyFile { path: vec![leaf; 65], ..file };
    assert!(ConsistencyFile::parse(long.to_text().as_bytes()).is_err(), "at most 64 hashes");
}
