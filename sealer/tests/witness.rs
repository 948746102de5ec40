//! Witness client and server against each other: quorum, fail-open and fail-closed, rollback, forks, rotation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealer::error::NotaryError;
use sealer::notary::{LogStore as _, Notary};
use sealer::signer::{FileKeyring, FileSigner, Keyring as _};
use sealer::witness::client::{Patience, Witnesses};
use sealer::witness::server::WitnessServer;
use stage::{Level, Shutdown};
use support::{Line, Memory, ORIGIN, Opening, feed};
use tlog::{Checkpoint, ConsistencyFile, Group, Note, VerifierKey, Witness, WitnessPolicy, checkpoint_path};

struct Running {
    server: Arc<WitnessServer>,
    url: String,
    stop: Shutdown,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(folder: &Path, number: u8) -> Self {
        let (name, key) = (format!("witness.example/w{number}"), folder.join(format!("w{number}.key")));
        if !key.exists() {
            FileSigner::create(&key, &[100 + number; 32], &name).unwrap();
        }
        let state = folder.join(format!("w{number}"));
        let server = Arc::new(WitnessServer::open(&name, &key, &state).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/w{number}", listener.local_addr().unwrap());
        let (stop, own) = (Shutdown::new(), server.clone());
        let flag = stop.clone();
        let thread = Some(std::thread::spawn(move || own.serve(&listener, &flag).unwrap()));
        Self { server, url, stop, thread }
    }

    fn line(&self) -> Witness {
        let key = self.server.verifier_key().clone();
        Witness { name: key.name().replace('/', "-"), key, url: Some(self.url.clone()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.raise(Level::Stop);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn policy(witnesses: Vec<Witness>, threshold: usize) -> WitnessPolicy {
    let members = witnesses.iter().map(|witness| witness.name.clone()).collect();
    let groups = vec![Group { name: "all".into(), threshold, members }];
    WitnessPolicy { logs: Vec::new(), witnesses, groups, quorum: Some("all".into()) }
}

fn open(store: &Memory, folder: &Path, policy: WitnessPolicy, required: bool) -> Result<Notary, NotaryError> {
    let (timeout, extra) = (Duration::from_secs(5), Duration::from_secs(5));
    let witnesses = Witnesses::new(policy, Patience { timeout, extra, required });
    Opening { cosigner: Some(Box::new(witnesses)), ..Opening::default() }.open(store, folder)
}

fn log_key(folder: &Path, epoch: i64) -> VerifierKey {
    FileKeyring::new(&folder.join("log.key"), ORIGIN).open(epoch).unwrap().verifier_key().clone()
}

/// Names of the witnesses that cosigned the head of this size.
fn cosigners(store: &Memory, size: u64, log: &VerifierKey, policy: &WitnessPolicy) -> Vec<String> {
    let note = store.read(&checkpoint_path(size)).unwrap().unwrap();
    let keys: Vec<_> = policy.keys().chain([log]).cloned().collect();
    let opened = Checkpoint::open(&note, ORIGIN, &keys).unwrap();
    let signatures = opened.verified.signatures.into_iter().filter(|one| one.time.is_some());
    signatures.map(|one| one.key.name().to_owned()).collect()
}

#[test]
fn heads_carry_every_cosignature_and_the_log_rotates_under_its_witnesses() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let running: Vec<_> = (1..=3).map(|number| Running::start(folder, number)).collect();
    let policy = policy(running.iter().map(Running::line).collect(), 2);
    let mut proposals = Line::new(3).seals(6);
    // an empty log has no head to cosign: the witnesses are told of the key before the first one
    let mut notary = open(&store, folder, policy.clone(), true).unwrap();
    let first = log_key(folder, 0);
    for one in &running {
        one.server.add_log(&first).unwrap();
    }
    feed(&mut notary, &proposals, 2).unwrap();
    for size in [2, 4, 6] {
        assert_eq!(cosigners(&store, size, &first, &policy).len(), 3, "size {size}");
    }
    assert_eq!(notary.published().0, 6);
    proposals.push(notary.rotation().unwrap());
    feed(&mut notary, &proposals, 1).unwrap();
    let second = log_key(folder, 1);
    assert_eq!(cosigners(&store, 7, &second, &policy).len(), 3, "the closing checkpoint");
    proposals.extend(Line::new(3).seals(7).split_off(6));
    feed(&mut notary, &proposals, 1).unwrap();
    assert_eq!(notary.lock().size, 8);
    assert_eq!(cosigners(&store, 8, &second, &policy).len(), 3, "by the new key alone, which add-key has told them");
}

#[test]
fn without_quorum_it_publishes_or_waits_as_configured() {
    for required in [false, true] {
        let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
        let folder = folder.path();
        let running = [Running::start(folder, 1), Running::start(folder, 2)];
        // the second witness does not know the log
        let policy = policy(running.iter().map(Running::line).collect(), 2);
        let proposals = Line::new(3).seals(6);
        let mut notary = open(&store, folder, policy.clone(), required).unwrap();
        let key = log_key(folder, 0);
        running[0].server.add_log(&key).unwrap();
        let fed = feed(&mut notary, &proposals[..3], 3);
        if !required {
            fed.unwrap();
            assert_eq!(cosigners(&store, 3, &key, &policy).len(), 1, "published all the same, with what there was");
            continue;
        }
        assert!(matches!(fed, Err(NotaryError::Quorum { size: 3, have: 1, .. })), "{fed:?}");
        assert_eq!((notary.published().0, notary.is_behind()), (0, true));
        assert_eq!(store.text("checkpoint"), None, "nobody sees a head without quorum");
        drop(notary);
        // a restart does not stop for it either, and goes on as soon as the witness knows the log
        let mut notary = open(&store, folder, policy.clone(), required).unwrap();
        assert_eq!(notary.published().0, 0);
        running[1].server.add_log(&key).unwrap();
        feed(&mut notary, &proposals, 6).unwrap();
        assert_eq!((notary.published().0, cosigners(&store, 6, &key, &policy).len()), (6, 2));
    }
}

/// (f) A witness that knows a longer log stops the notary; one that was rolled back itself is brought up to date.
#[test]
fn rolled_back_stores_and_witnesses() {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let running = Running::start(folder, 1);
    let policy = policy(vec![running.line()], 1);
    let proposals = Line::new(3).seals(12);
    let mut notary = open(&store, folder, policy.clone(), false).unwrap();
    let key = log_key(folder, 0);
    running.server.add_log(&key).unwrap();
    feed(&mut notary, &proposals[..4], 4).unwrap();
    let (old_store, old_mark) =
        (store.0.lock().unwrap().objects.clone(), std::fs::read(folder.join("high-water")).unwrap());
    let state = || {
        let mut files = std::fs::read_dir(folder.join("w1")).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|end| end == "head")).unwrap()
    };
    let old_witness = std::fs::read(state()).unwrap();
    feed(&mut notary, &proposals[..8], 4).unwrap();
    // the witness goes back to size 4: it says 409 with its size, gets the proof from there, and cosigns
    std::fs::write(state(), old_witness).unwrap();
    feed(&mut notary, &proposals, 12).unwrap();
    assert_eq!(cosigners(&store, 12, &key, &policy).len(), 1);
    drop(notary);
    // store and mark go back together: only the witness still knows
    store.0.lock().unwrap().objects = old_store;
    std::fs::write(folder.join("high-water"), old_mark).unwrap();
    let opened = open(&store, folder, policy, false).map(|notary| notary.lock().size);
    assert!(matches!(&opened, Err(NotaryError::ForkGuard(text)) if text.contains("at size 12")), "{opened:?}");
}

#[test]
fn the_witness_answers_as_specified() {
    let folder = tempfile::tempdir().unwrap();
    let (store, folder) = (Memory::default(), folder.path());
    let mut notary = Opening::default().open(&store, folder).unwrap();
    feed(&mut notary, &Line::new(3).seals(9), 1).unwrap();
    let key = folder.join("w.key");
    FileSigner::create(&key, &[9; 32], "w").unwrap();
    let witness = WitnessServer::open("w", &key, &folder.join("w")).unwrap();
    let note = |size: u64| store.text(&checkpoint_path(size)).unwrap();
    let proof = |old: u64, new: u64| {
        let tiles = tlog::consistency_tiles(old, new).unwrap();
        let mut source = |path: &str| Ok(store.read(path).unwrap());
        tlog::consistency_proof(old, new, &tlog::TileMap::load(new, &tiles, &mut source).unwrap()).unwrap()
    };
    let post = |old: u64, path: Vec<tlog::Hash>, checkpoint: String| {
        let answer = witness
            .add_checkpoint(ConsistencyFile { old, path, checkpoint }.to_text().as_bytes(), 1_770_000_000)
            .unwrap();
        (answer.status, answer.body)
    };
    assert_eq!(post(0, vec![], note(3)).0, 404, "a log it was not told of");
    let log = log_key(folder, 0);
    witness.add_log(&log).unwrap();
    let (status, line) = post(0, vec![], note(3));
    assert_eq!(status, 200);
    let cosigned = Note::parse(format!("{}{line}", note(3)).as_bytes()).unwrap();
    let time = cosigned.verify(&[witness.verifier_key().clone()]).unwrap().cosigned_at(witness.verifier_key());
    assert_eq!(time, Some(1_770_000_000));
    assert_eq!(post(3, vec![], note(3)).0, 200, "the same head again");
    assert_eq!(post(0, vec![], note(5)), (409, "3\n".into()));
    assert_eq!(post(5, proof(5, 7), note(7)), (409, "3\n".into()));
    assert_eq!(post(7, vec![], note(5)).0, 400);
    assert_eq!(post(3, vec![], note(7)).0, 422, "no proof");
    assert_eq!(post(3, proof(2, 7), note(7)).0, 422, "another proof");
    assert_eq!(post(3, proof(3, 7), note(7)).0, 200);
    assert_eq!(witness.add_checkpoint(b"garbage", 0).unwrap().status, 400);
    // another tree of the same size, and another key
    let (other, apart) = (Memory::default(), tempfile::tempdir().unwrap());
    let mut fork = Opening::default().open(&other, apart.path()).unwrap();
    let mut line = Line::new(3);
    line.seal(2);
    let mut seals: Vec<_> = (0..9).map(|number| line.seal(number % 2)).collect();
    seals.rotate_left(0);
    feed(&mut fork, &seals, 1).unwrap();
    assert_eq!(post(7, vec![], other.text(&checkpoint_path(7)).unwrap()).0, 422, "a fork of the size it knows");
    let stranger = FileSigner::from_seed(&[1; 32], ORIGIN).unwrap();
    let text = Note::parse(note(8).as_bytes()).unwrap().text().to_owned();
    let signature = sealer::signer::Signer::sign(&stranger, text.as_bytes()).unwrap();
    let signed = tlog::NoteSignature::new(sealer::signer::Signer::verifier_key(&stranger), &signature);
    assert_eq!(post(7, proof(7, 8), Note::new(text, vec![signed]).unwrap().to_string()).0, 403);
    // a damaged head stops it: it must not vouch for a second history
    let state = std::fs::read_dir(folder.join("w")).unwrap().map(|entry| entry.unwrap().path());
    let head = state.into_iter().find(|path| path.extension().is_some_and(|end| end == "head")).unwrap();
    std::fs::write(head, "x").unwrap();
    let file = ConsistencyFile { old: 7, path: proof(7, 9), checkpoint: note(9) };
    assert!(witness.add_checkpoint(file.to_text().as_bytes(), 0).is_err());
}
