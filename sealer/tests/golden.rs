//! The golden example of the integrity specification, through the real batch, integrator and notary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use schemas::leaf::{LeafInput, stream_id};
use schemas::v1::{ArchiveBody, Hash32, StreamId};
use sealer::batch::{Batch, Reason, Stream};
use sealer::entry::{encode_archive, encode_seal};
use sealer::error::NotaryError;
use sealer::integrate::{Head, Refusal, Trust};
use sealer::notary::{LogStore, Notary, Put, Setup};
use sealer::signer::{FileKeyring, FileSigner};
use sealer::witness::NoWitness;
use tlog::{EMPTY_ROOT, Hash, leaf_hash};

const ORIGIN: &str = "audit.example.com/prod";

/// A store in memory that can refuse the next puts.
#[derive(Clone, Default)]
struct Memory {
    objects: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    fail_after: Arc<Mutex<Option<usize>>>,
}

impl Memory {
    fn tick(&self) -> Result<(), NotaryError> {
        let mut left = self.fail_after.lock().unwrap();
        match left.as_mut() {
            Some(0) => Err(NotaryError::Store {
                operation: "put",
                path: "x".into(),
                reason: "injected".into(),
                retriable: true,
            }),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl LogStore for Memory {
    fn create(&self, path: &str, bytes: &[u8], _locked: bool) -> Result<Put, NotaryError> {
        self.tick()?;
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(path) {
            return Ok(Put::Exists);
        }
        objects.insert(path.into(), bytes.into());
        Ok(Put::Created)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), NotaryError> {
        self.tick()?;
        self.objects.lock().unwrap().insert(path.into(), bytes.into());
        Ok(())
    }
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, NotaryError> {
        Ok(self.objects.lock().unwrap().get(path).cloned())
    }
}

fn id() -> StreamId {
    stream_id("lkc-1", "audit.events", "0a1b2c3d-0000-4000-8000-000000000001", 17)
}

fn stream() -> Stream {
    use sha2::Digest as _;
    let schema_hash = Hash32(sha2::Sha256::digest(br#"{"schema":"demo"}"#).into());
    Stream { origin: ORIGIN.into(), id: id(), topic: "audit.events".into(), partition: 17, schema_hash }
}

fn leaf(offset: i64, timestamp_ms: i64, key: &str, value: &str) -> Hash {
    let mut out = Vec::new();
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    LeafInput { stream_id: id(), offset, timestamp_ms, log_append_time: false, key, value, opaque: false }
        .write(&mut out);
    leaf_hash(&out)
}

/// The three entries of the example.
fn entries() -> [Vec<u8>; 3] {
    let (stream, t) = (stream(), 1_770_000_000_000);
    let mut first = Batch::default();
    for i in 0..5 {
        first.push(leaf(1000 + i, t + i, &format!("session-{i}"), &format!("event-{i}")), 1000 + i, t + i, 16, 0);
    }
    let seal = first.seal(&stream, None, (0, EMPTY_ROOT), t + 5000, Reason::Age);
    assert_eq!(
        Hash::new(seal.batch_root.0).to_string(),
        "9d2c3adab1ca47e48cdc90558e187810de63df56345b51c2736dd1c91d6159bd"
    );
    let zero = encode_seal(&seal);
    let head = Head::after(None, &seal, leaf_hash(&zero));
    let mut second = Batch::default();
    second.push(leaf(1006, t + 6000, "session-9", "event-9"), 1006, t + 6000, 16, 0);
    let seal = second.seal(&stream, Some(&head), (1, leaf_hash(&zero)), t + 11_000, Reason::Age);
    let one = encode_seal(&seal);
    let head = Head::after(Some(&head), &seal, leaf_hash(&one));
    let seal = Batch::default().seal(&stream, Some(&head), (1, leaf_hash(&zero)), t + 71_000, Reason::Heartbeat);
    [zero, one, encode_seal(&seal)]
}

fn open(store: &Memory, folder: &std::path::Path, end: i64) -> Result<Notary, NotaryError> {
    let streams = HashMap::from([(id(), ("audit.events".to_owned(), 17))]);
    let seed: [u8; 32] = std::array::from_fn(|i| i as u8);
    let first = folder.join("log.key");
    if !first.exists() {
        FileSigner::create(&first, &seed, ORIGIN).unwrap();
    }
    Notary::open(Setup {
        origin: ORIGIN.into(),
        streams,
        trust: Trust::default(),
        first_key: None,
        store: Box::new(store.clone()),
        keys: Box::new(FileKeyring::new(&first, ORIGIN)),
        cosigner: Box::new(NoWitness),
        state_folder: folder.to_owned(),
        proposals_end: end,
    })
}

#[test]
fn golden_entries_checkpoint_and_signature() {
    let entries = entries();
    let hashes = [
        "fa65e4e123896beddaa6fd3c13571319a1038631d87f130ad84ddbf3ca7f515f",
        "0a9a595ba93945d5335b7b6f7d5eb3b542faafb18e7d47a5cfcd17b8c9740af3",
        "a6b7d55d7107ef0a76d7c20b54973096cb7ebf067d19b9be12162c88674ed0d7",
    ];
    for (entry, expected) in entries.iter().zip(hashes) {
        assert_eq!(leaf_hash(entry).to_string(), expected);
    }
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut notary = open(&store, folder.path(), 3).unwrap();
    notary.offer(0, &entries[0]).unwrap();
    notary.publish().unwrap();
    notary.offer(1, &entries[1]).unwrap();
    notary.offer(2, &entries[2]).unwrap();
    notary.publish().unwrap();
    let checkpoint = String::from_utf8(store.read("checkpoint").unwrap().unwrap()).unwrap();
    assert_eq!(
        checkpoint,
        "audit.example.com/prod\n3\n+gyeypyC/ETlo9Y9WNa2ZBl7qNLzd76IRRKXgYmudn0=\n\n\
         — audit.example.com/prod F1qFHZlkuaFEDSospY1vIrtF0YB458SfgvBqYUqDDHfh9Lejv/zlhVjSVXRJrWOqexqqw+JAumSxacfYOzWNi95xyg0=\n"
    );
    assert_eq!(store.read("checkpoints/00000000000000000003").unwrap().unwrap(), checkpoint.as_bytes());
    let mut envelopes = Vec::new();
    notary
        .envelopes(0, |index, envelope| {
            envelopes.push((index, envelope.entry.clone()));
            Ok(())
        })
        .unwrap();
    assert_eq!(envelopes, vec![(0, entries[0].clone()), (1, entries[1].clone()), (2, entries[2].clone())]);
}

#[test]
fn what_does_not_continue_the_chain_is_refused() {
    let entries = entries();
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut notary = open(&store, folder.path(), 9).unwrap();
    assert!(matches!(notary.offer(0, &entries[1]), Err(Refusal::Chain("seal_seq"))));
    assert!(matches!(notary.offer(1, b""), Err(Refusal::Entry(_))));
    assert!(matches!(notary.offer(2, &[entries[0].clone(), vec![0]].concat()), Err(Refusal::Entry(_))));
    notary.offer(3, &entries[0]).unwrap();
    assert!(matches!(notary.offer(4, &entries[0]), Err(Refusal::Chain("seal_seq"))), "a repeat is refused");
    // seal 1 names the head of size 1, which is accepted but not published yet
    assert!(matches!(notary.offer(5, &entries[1]), Err(Refusal::Anchor)));
    notary.publish().unwrap();
    notary.offer(6, &entries[1]).unwrap();
    let mut other = sealer::entry::decode_seal(&entries[2]).unwrap();
    other.origin = "audit.example.com/test".into();
    assert!(matches!(notary.offer(7, &encode_seal(&other)), Err(Refusal::Shape("origin"))));
    let mut other = sealer::entry::decode_seal(&entries[2]).unwrap();
    other.partition = 18;
    assert!(matches!(notary.offer(8, &encode_seal(&other)), Err(Refusal::Stream)));
}

fn receipt(first_seal: i64, last_seal: i64) -> ArchiveBody {
    ArchiveBody {
        version: 1,
        origin: ORIGIN.into(),
        stream_id: id(),
        object: schemas::layout::object_name(schemas::layout::Table::Events, 17, first_seal, 1_770_000_005_000),
        object_sha256: Hash32([9; 32]),
        bytes: 4096,
        first_seal,
        last_seal,
    }
}

#[test]
fn receipts_follow_the_seals_without_gap_or_repeat() {
    let entries = entries();
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut notary = open(&store, folder.path(), 99).unwrap();
    let mut offset = -1;
    let mut offer = |notary: &mut Notary, entry: &[u8]| {
        offset += 1;
        notary.offer(offset, entry)
    };
    let early = offer(&mut notary, &encode_archive(&receipt(0, 0)));
    assert!(matches!(early, Err(Refusal::Receipt("last_seal"))), "before any seal");
    offer(&mut notary, &entries[0]).unwrap();
    notary.publish().unwrap();
    offer(&mut notary, &entries[1]).unwrap();
    type Change = fn(&mut ArchiveBody);
    let wrong: [(&str, Change); 9] = [
        ("version", |receipt| receipt.version = 2),
        ("origin", |receipt| receipt.origin.push('x')),
        ("bytes", |receipt| receipt.bytes = 0),
        ("first_seal", |receipt| receipt.first_seal = -1),
        ("last_seal", |receipt| receipt.last_seal = -1),
        ("object", |receipt| receipt.object = receipt.object.replace("events/", "frames/")),
        ("object", |receipt| receipt.object = receipt.object.replace("p17-", "p18-")),
        ("object", |receipt| receipt.object = receipt.object.replace("0000.parquet", "0001.parquet")),
        ("object", |receipt| receipt.object = receipt.object.replace("hour=", &format!("hour={}", "0".repeat(128)))),
    ];
    for (field, change) in wrong {
        let mut bad = receipt(0, 1);
        change(&mut bad);
        let refused = offer(&mut notary, &encode_archive(&bad)).unwrap_err();
        assert!(matches!(&refused, Refusal::Shape(named) if *named == field), "{field}: {refused}");
    }
    let stranger = ArchiveBody { stream_id: StreamId([1; 16]), ..receipt(0, 1) };
    assert!(matches!(offer(&mut notary, &encode_archive(&stranger)), Err(Refusal::Stream)));
    let longer = [encode_archive(&receipt(0, 1)), vec![0]].concat();
    assert!(matches!(offer(&mut notary, &longer), Err(Refusal::Entry(_))));
    assert!(matches!(offer(&mut notary, &[vec![7], longer].concat()), Err(Refusal::Entry(_))));
    for (first, last, field) in [(1, 1, "first_seal"), (0, 2, "last_seal")] {
        let refused = offer(&mut notary, &encode_archive(&receipt(first, last))).unwrap_err();
        assert!(matches!(refused, Refusal::Receipt(named) if named == field), "seals {first}-{last}");
    }
    assert_eq!(offer(&mut notary, &encode_archive(&receipt(0, 1))).unwrap().index, 2);
    for (first, last) in [(0, 1), (0, 0), (1, 1)] {
        let again = offer(&mut notary, &encode_archive(&receipt(first, last)));
        assert!(matches!(again, Err(Refusal::Receipt("first_seal"))), "a repeat is refused");
    }
    notary.publish().unwrap();
    // the stream's chain goes on over the receipt, also in a notary that starts again
    let mut notary = open(&store, folder.path(), 99).unwrap();
    assert_eq!(notary.integrator().log().size(), 3);
    assert!(matches!(offer(&mut notary, &encode_archive(&receipt(0, 1))), Err(Refusal::Receipt("first_seal"))));
    offer(&mut notary, &entries[2]).unwrap();
    assert_eq!(offer(&mut notary, &encode_archive(&receipt(2, 2))).unwrap().index, 4);
    notary.publish().unwrap();
    let mut sealed = Vec::new();
    notary
        .envelopes(0, |index, envelope| {
            sealed.push((index, envelope.entry[0]));
            Ok(())
        })
        .unwrap();
    assert_eq!(sealed, [(0, 1), (1, 1), (3, 1)], "receipts have no envelope");
}

/// I-09: stopped between any two store calls and started again, the notary signs one text per size.
#[test]
fn one_text_per_size_across_any_stop() {
    let entries = entries();
    for stop in 0..40 {
        let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
        let mut seen: HashMap<u64, String> = HashMap::new();
        let mut note = |store: &Memory| {
            for (path, bytes) in store.objects.lock().unwrap().iter().filter(|(path, _)| path.starts_with("checkpoint"))
            {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
                assert_eq!(seen.entry(size).or_insert_with(|| text.clone()), &text, "{path} at stop {stop}");
            }
        };
        *store.fail_after.lock().unwrap() = Some(stop);
        let mut offset = 0;
        for round in 0..20 {
            let mut notary = match open(&store, folder.path(), 3) {
                Ok(notary) => notary,
                Err(error) if error.is_retriable() => {
                    note(&store);
                    *store.fail_after.lock().unwrap() = None;
                    continue;
                }
                Err(error) => panic!("stop {stop}: {error}"),
            };
            offset = notary.next_offset().max(0);
            let mut failed = false;
            while (offset as usize) < entries.len() {
                // alternate between one and several entries per publication, so that sizes differ between tries
                notary.offer(offset, &entries[offset as usize]).unwrap();
                offset += 1;
                if offset == 1 || round % 2 == 0 {
                    failed = notary.publish().is_err();
                    if failed {
                        break;
                    }
                }
            }
            failed = failed || notary.publish().is_err();
            note(&store);
            if !failed {
                break;
            }
            *store.fail_after.lock().unwrap() = if round < 3 { Some(stop / 2 + round) } else { None };
        }
        assert_eq!(offset, 3);
        note(&store);
        let text = String::from_utf8(store.read("checkpoint").unwrap().unwrap()).unwrap();
        assert_eq!(text.lines().nth(1), Some("3"), "stop {stop}");
    }
}

#[test]
fn rolled_back_lock_or_topic_is_a_fork_guard() {
    let entries = entries();
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut notary = open(&store, folder.path(), 3).unwrap();
    notary.offer(0, &entries[0]).unwrap();
    notary.publish().unwrap();
    let before = store.objects.lock().unwrap().clone();
    notary.offer(1, &entries[1]).unwrap();
    notary.publish().unwrap();
    assert!(
        matches!(open(&store, folder.path(), 1), Err(NotaryError::ForkGuard(text)) if text.contains("lost its tail"))
    );
    *store.objects.lock().unwrap() = before;
    assert!(
        matches!(open(&store, folder.path(), 3), Err(NotaryError::ForkGuard(text)) if text.contains("rolled back"))
    );
}

#[test]
fn a_second_notary_loses_the_lock() {
    let entries = entries();
    let (store, one, two) = (Memory::default(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = open(&store, one.path(), 3).unwrap();
    let mut second = open(&store, two.path(), 3).unwrap();
    first.offer(0, &entries[0]).unwrap();
    second.offer(0, &entries[0]).unwrap();
    first.publish().unwrap();
    second.publish().unwrap(); // the same log: the same text, no fork
    first.offer(1, &entries[1]).unwrap();
    second.offer(1, &entries[1]).unwrap();
    second.offer(2, &entries[2]).unwrap();
    first.publish().unwrap();
    assert!(matches!(second.publish(), Err(NotaryError::LostLock { number: 2 })));
}

#[test]
fn key_files_are_private_and_strict() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.key");
    FileSigner::create(&path, &[7; 32], ORIGIN).unwrap();
    assert!(FileSigner::create(&path, &[8; 32], ORIGIN).is_err(), "an existing key is never replaced");
    assert!(!format!("{:?}", FileSigner::open(&path, ORIGIN).unwrap()).contains("BwcH"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = FileSigner::open(&path, ORIGIN).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "not base64").unwrap();
    assert!(FileSigner::open(&path, ORIGIN).unwrap_err().to_string().contains("keys init"));
}
