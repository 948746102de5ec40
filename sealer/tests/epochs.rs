//! Key epochs: rotation, closing checkpoints, erasure, recovery, incidents; the part of process crashes is in crash.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod support;

use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use schemas::entry::{Entry, EntryBody as _, KEY_RECOVER};
use schemas::v1::{IncidentBody, KeyBody, KeyId, Signature64};
use sealer::error::NotaryError;
use sealer::integrate::{Refusal, Trust};
use sealer::notary::{LogStore as _, Notary};
use sealer::orders::{INCIDENT, RECOVER};
use sealer::signer::{FileKeyring, FileSigner, Keyring as _, SignerError};
use support::{Line, Memory, ORIGIN, Opening, feed};
use tlog::note::KeyKind;
use tlog::{Checkpoint, VerifierKey, checkpoint_path};

fn keyring(folder: &Path) -> FileKeyring {
    FileKeyring::new(&folder.join("log.key"), ORIGIN)
}

fn vkey(folder: &Path, epoch: i64) -> VerifierKey {
    keyring(folder).open(epoch).unwrap().verifier_key().clone()
}

fn note(store: &Memory, size: u64) -> Vec<u8> {
    store.read(&checkpoint_path(size)).unwrap().unwrap()
}

/// Names of the keys of which `note` bears good signatures.
fn signers(note: &[u8], keys: &[VerifierKey]) -> Vec<u32> {
    let opened = Checkpoint::open(note, ORIGIN, keys).unwrap();
    assert!(opened.verified.unknown.is_empty(), "a line by no key of ours");
    opened.verified.signatures.iter().map(|one| one.key.id()).collect()
}

fn rotate(notary: &mut Notary, proposals: &mut Vec<Vec<u8>>) {
    proposals.push(notary.rotation().unwrap());
    feed(notary, proposals, 1).unwrap();
}

#[test]
fn the_closing_checkpoint_has_both_signatures_and_the_old_secret_is_gone() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut line = Line::new(3);
    let mut proposals = line.seals(5);
    let mut notary = Opening::default().open(&store, folder).unwrap();
    feed(&mut notary, &proposals, 2).unwrap();
    let mut keys = vec![vkey(folder, 0)];
    for epoch in 1..=3 {
        let before = notary.lock().size;
        rotate(&mut notary, &mut proposals);
        keys.push(vkey(folder, epoch));
        let closing = before + 1;
        let both = signers(&note(&store, closing), &keys);
        assert_eq!(both, [keys[epoch as usize - 1].id(), keys[epoch as usize].id()], "closing checkpoint {closing}");
        assert_eq!(notary.integrator().epoch().number, epoch);
        assert!(matches!(keyring(folder).open(epoch - 1), Err(SignerError::Missing(_))), "the old secret is there");
        proposals.extend(line.seals(3));
        feed(&mut notary, &proposals, 2).unwrap();
        let size = notary.lock().size;
        assert_eq!(signers(&note(&store, size), &keys), [keys[epoch as usize].id()], "the new key alone");
    }
    // the old key's own KEY entry does not come a second time, not even with its good signature
    assert!(matches!(notary.offer(99, &proposals[5]), Err(Refusal::Authority("epoch"))));
    drop(notary);
    let again = Opening::default().open(&store, folder).unwrap();
    assert_eq!(again.integrator().epoch().key, keys[3]);
    let mut envelopes = 0;
    again
        .envelopes(0, |_, envelope| {
            let leaf = tlog::leaf_hash(&envelope.entry);
            assert!(keys[3].verify_message(&tlog::seal_signed_bytes(&leaf), &envelope.signature.0));
            envelopes += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(envelopes, 14, "seals have envelopes, keys have none");
}

#[test]
fn entries_behind_a_key_wait_for_its_closing_checkpoint() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut notary = Opening::default().open(&store, folder.path()).unwrap();
    let mut line = Line::new(1);
    notary.offer(0, &line.seal(0)).unwrap();
    notary.offer(1, &notary.rotation().unwrap()).unwrap();
    let next = line.seal(0);
    let waiting = notary.offer(2, &next).unwrap_err();
    assert!(matches!(waiting, Refusal::Closing) && waiting.is_passing());
    assert_eq!(notary.next_offset(), 2, "it is offered again");
    notary.publish().unwrap();
    assert_eq!(notary.lock().size, 2);
    notary.offer(2, &next).unwrap();
}

#[test]
fn only_the_key_before_begins_an_epoch() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut notary = Opening::default().open(&store, folder.path()).unwrap();
    let Entry::Key(good) = Entry::decode(&notary.rotation().unwrap()).unwrap() else { panic!("a KEY entry") };
    let thief = SigningKey::from_bytes(&[66; 32]);
    let thief_key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, thief.verifying_key().as_bytes()).unwrap();
    let change = |change: &dyn Fn(&mut KeyBody)| {
        let mut key = good.clone();
        change(&mut key);
        key.to_entry()
    };
    let cases: [(&str, Vec<u8>); 8] = [
        ("signature", change(&|key| key.signature.0[0] ^= 1)),
        ("signature", change(&|key| key.vkey = thief_key.to_string())),
        ("key_id", change(&|key| key.key_id = KeyId(thief_key.id().to_be_bytes()))),
        ("signature", change(&|key| key.signature = Signature64(thief.sign(&key.signed_bytes()).to_bytes()))),
        ("epoch", change(&|key| key.epoch = 2)),
        ("key_id", change(&|key| key.action = KEY_RECOVER.into())),
        ("action", change(&|key| key.action = "add".into())),
        ("vkey", change(&|key| key.vkey = "x".into())),
    ];
    for (offset, (field, entry)) in cases.into_iter().enumerate() {
        let refused = notary.offer(offset as i64, &entry).unwrap_err();
        let named = match &refused {
            Refusal::Authority(field) | Refusal::Shape(field) => *field,
            other => panic!("{other}"),
        };
        assert_eq!(named, field);
    }
    assert_eq!(notary.integrator().log().size(), 0);
    notary.offer(8, &good.to_entry()).unwrap();
}

#[test]
fn a_lost_key_is_replaced_by_a_recovery_key() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let recovery = SigningKey::from_bytes(&[5; 32]);
    let name = "audit.example.com/prod/recovery";
    let recovery_key = VerifierKey::new(name, KeyKind::Ed25519, recovery.verifying_key().as_bytes()).unwrap();
    let trust = Trust { recovery: vec![recovery_key.clone()], ..Trust::default() };
    let first_key = std::cell::RefCell::new(None);
    let open = || {
        let (trust, first_key) = (trust.clone(), first_key.borrow().clone());
        Opening { trust, first_key, ..Opening::default() }.open(&store, folder)
    };
    let mut line = Line::new(3);
    let mut proposals = line.seals(4);
    let mut notary = open().unwrap();
    feed(&mut notary, &proposals, 4).unwrap();
    drop(notary);
    let old = vkey(folder, 0);
    *first_key.borrow_mut() = Some(old.clone());
    std::fs::remove_file(folder.join("log.key")).unwrap();
    assert!(matches!(open(), Err(NotaryError::Signer(SignerError::Missing(_)))), "without an order it stops");
    let new = keyring(folder).make(1).unwrap().verifier_key().clone();
    let mut key = KeyBody {
        version: 1,
        origin: ORIGIN.into(),
        action: KEY_RECOVER.into(),
        epoch: 1,
        vkey: new.to_string(),
        key_id: KeyId(recovery_key.id().to_be_bytes()),
        signature: Signature64::default(),
    };
    key.signature = Signature64(recovery.sign(&key.signed_bytes()).to_bytes());
    std::fs::write(folder.join(RECOVER), key.to_entry()).unwrap();
    let mut notary = open().unwrap();
    // what comes before the recovery is taken, and not published under a key that is gone
    proposals.push(line.seal(0));
    feed(&mut notary, &proposals, 1).unwrap();
    assert_eq!((notary.lock().size, notary.integrator().log().size()), (4, 5));
    proposals.push(key.to_entry());
    proposals.push(line.seal(1));
    feed(&mut notary, &proposals, 1).unwrap();
    assert_eq!(
        signers(&note(&store, 6), &[old, new.clone()]),
        [new.id()],
        "the closing checkpoint, by the new key alone"
    );
    assert_eq!(notary.lock().size, 7);
}

fn incident(root: &SigningKey, key: &VerifierKey, number: i64, log_size: i64, resume_offset: i64) -> Vec<u8> {
    let mut incident = IncidentBody {
        version: 1,
        origin: ORIGIN.into(),
        number,
        log_size,
        first_offset: -1,
        last_offset: -1,
        resume_offset,
        text: "the proposals topic was lost with its disks".into(),
        key_id: KeyId(key.id().to_be_bytes()),
        ..IncidentBody::default()
    };
    incident.signature = Signature64(root.sign(&incident.signed_bytes()).to_bytes());
    incident.to_entry()
}

#[test]
fn a_lost_topic_stops_the_notary_until_the_root_says_where_to_go_on() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let root = SigningKey::from_bytes(&[6; 32]);
    let root_key = VerifierKey::new("root", KeyKind::Ed25519, root.verifying_key().as_bytes()).unwrap();
    let trust = Trust { roots: vec![root_key.clone()], ..Trust::default() };
    let open = |end| Opening { trust: trust.clone(), end, ..Opening::default() }.open(&store, folder);
    let mut line = Line::new(3);
    let mut notary = open(8).unwrap();
    feed(&mut notary, &line.seals(8), 3).unwrap();
    drop(notary);
    assert!(matches!(open(0), Err(NotaryError::ForkGuard(text)) if text.contains("lost its tail")));
    let thief = SigningKey::from_bytes(&[66; 32]);
    for wrong in [
        incident(&thief, &root_key, 0, 8, 0),
        incident(&root, &root_key, 1, 8, 0),
        incident(&root, &root_key, 0, 7, 0),
        incident(&root, &root_key, 0, 8, -1),
    ] {
        std::fs::write(folder.join(INCIDENT), wrong).unwrap();
        assert!(matches!(open(0), Err(NotaryError::ForkGuard(_))), "an incident that does not fit was obeyed");
    }
    let good = incident(&root, &root_key, 0, 8, 0);
    std::fs::write(folder.join(INCIDENT), &good).unwrap();
    let mut notary = open(0).unwrap();
    assert_eq!(notary.next_offset(), 0);
    feed(&mut notary, &[good.clone(), line.seal(0)], 1).unwrap();
    assert_eq!((notary.lock().size, notary.lock().next_offset, notary.integrator().incidents()), (10, 2, 1));
    assert!(matches!(notary.offer(2, &good), Err(Refusal::Authority("number"))), "a repeat is refused");
}

#[test]
fn a_key_file_is_overwritten_and_a_half_made_one_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keyring(folder.path());
    let made = keys.make(3).unwrap().verifier_key().clone();
    assert_eq!(keys.make(3).unwrap().verifier_key(), &made, "a repeat gives the same key");
    assert!(matches!(keys.open(4), Err(SignerError::Missing(_))));
    // another name of the same file shows what the erasure leaves on the disk
    let witness = folder.path().join("other-name");
    std::fs::hard_link(keys.path(3), &witness).unwrap();
    keys.erase(3).unwrap();
    keys.erase(3).unwrap();
    assert!(!keys.path(3).exists());
    assert!(std::fs::read(&witness).unwrap().iter().all(|byte| *byte == 0), "the secret is still on the disk");
    std::fs::write(keys.path(5).with_extension("unfinished"), "half").unwrap();
    keys.make(5).unwrap();
    assert!(FileSigner::open(&keys.path(5), ORIGIN).is_ok());
}
