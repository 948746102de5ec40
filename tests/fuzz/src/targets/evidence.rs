//! What an auditor reads from a stranger: notes, checkpoints, keys, proofs, tiles, bundles. The first byte chooses.

use schemas::entry::Entry;
use tlog::checkpoint::Checkpoint;
use tlog::note::{Note, NoteSignature, VerifierKey};
use tlog::policy::Policy;
use tlog::proof_file::{ConsistencyFile, EntryProof, EventExtra};
use tlog::quorum::WitnessPolicy;
use tlog::tile::{Tile, parse_bundle};
use tlog::tree::Frontier;

/// One text or file; what parses is written back as it was.
pub(crate) fn parse(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let text = std::str::from_utf8(bytes);
    match choice % 13 {
        0 => {
            if let Ok(note) = Note::parse(bytes) {
                assert!(note.to_string().as_bytes() == bytes, "a note is not what it was read from");
            }
        }
        1 => {
            if let Ok((head, note)) = Checkpoint::parse_note(bytes) {
                assert!(head.to_string() == note.text(), "a checkpoint is not its note's text");
            }
        }
        2 => drop(text.map(VerifierKey::parse)),
        3 => drop(text.map(NoteSignature::parse)),
        4 => {
            if let Ok(proof) = EntryProof::parse(bytes) {
                assert!(proof.to_text().as_bytes() == bytes, "a proof is not what it was read from");
            }
        }
        5 => {
            if let Ok(extra) = EventExtra::from_bytes(bytes) {
                assert!(extra.to_bytes().is_ok_and(|again| again == bytes), "an event's proof changed");
                drop(extra.verify_event(1, &tlog::tree::root_of(&[])));
            }
        }
        6 => {
            if let Ok(file) = ConsistencyFile::parse(bytes) {
                assert!(file.to_text().as_bytes() == bytes, "a consistency file is not what it was read from");
            }
        }
        7 => {
            let tile = Tile::at(0, 0, u64::try_from(bytes.len() / 32).unwrap_or(0));
            assert!(tile.is_none_or(|tile| tile.parse(bytes).map_or(0, |hashes| hashes.len()) <= bytes.len() / 32));
        }
        8 => {
            if let Ok(entries) = parse_bundle(bytes, u16::from(*choice)) {
                let len: usize = entries.iter().map(|entry| entry.len() + 2).sum();
                assert!(len == bytes.len(), "a bundle's entries do not cover it");
            }
        }
        9 => {
            if let Ok(entry) = Entry::decode(bytes) {
                assert!(entry.encode() == bytes, "a log entry is not what it was read from");
            }
        }
        10 => {
            if let Some(policy) = text.ok().and_then(|text| Policy::parse_text(text).ok()) {
                assert!(policy.to_string().as_bytes() == bytes, "a policy is not what it was read from");
            }
        }
        11 => drop(text.map(WitnessPolicy::parse)),
        _ => {
            if let Ok(frontier) = Frontier::from_bytes(bytes) {
                assert!(frontier.to_bytes() == bytes, "a frontier is not what it was read from");
            }
        }
    }
}

/// One of the golden checkpoint and keys of the evidence formats.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let head = "audit.example.com/prod\n3\n+gyeypyC/ETlo9Y9WNa2ZBl7qNLzd76IRRKXgYmudn0=\n";
    let signature = "— audit.example.com/prod F1qFHZlkuaFEDSospY1vIrtF0YB458SfgvBqYUqDDHfh9Lejv/zlhVjSVXRJrWOqexqqw+\
                     JAumSxacfYOzWNi95xyg0=\n";
    let key = "audit.example.com/prod+175a851d+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    let proof = format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{head}\n{signature}");
    let texts = [
        (0, format!("{head}\n{signature}")),
        (1, format!("{head}\n{signature}")),
        (2, key.to_owned()),
        (3, signature.to_owned()),
        (4, proof),
        (
            10,
            include_str!("../../../../tlog/golden/policy.note").split("\n\n").next().unwrap_or_default().to_owned()
                + "\n",
        ),
        (6, format!("old 0\n\n{head}\n{signature}")),
    ];
    let mut seeds: Vec<_> = texts.into_iter().map(|(choice, text)| [&[choice], text.as_bytes()].concat()).collect();
    let mut entry = vec![9];
    entry.extend(Entry::Heads(schemas::v1::HeadsBody::default()).encode());
    seeds.push(entry);
    seeds
}
