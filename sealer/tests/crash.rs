//! The notary's crash and fork suite (integrity, process tests a to e and g): whatever is killed, delayed, rolled back or
//! run twice, one text per size is ever signed, and all texts are of one log (I-09, I-14).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sealer::error::NotaryError;
use sealer::notary::{LogStore as _, Notary};
use sealer::witness::Cosigner;
use support::{Fault, Line, Memory, Opening};
use tlog::{Checkpoint, EMPTY_ROOT, Hash, LogWriter, Note, NoteSignature};

/// A small generator, so that a run is a function of its number alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Every text that any notary asked anybody to see, by size. The signer's own output is caught here, before any put.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<u64, Hash>>>);

impl Seen {
    fn look(&self, checkpoint: &Checkpoint) {
        let mut seen = self.0.lock().unwrap();
        let known = *seen.entry(checkpoint.size()).or_insert(*checkpoint.root());
        assert_eq!(known, *checkpoint.root(), "two texts of size {} were signed", checkpoint.size());
    }
}

impl Cosigner for Seen {
    fn cosign(
        &mut self,
        checkpoint: &Checkpoint,
        _: &Note,
        _: &dyn sealer::notary::LogStore,
    ) -> Result<Vec<NoteSignature>, NotaryError> {
        self.look(checkpoint);
        Ok(Vec::new())
    }
}

/// A folder in memory where there is one: the suite makes ten thousands of flushed writes, and means none of them.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The proposals topic: what the workers wrote, and what operators and rotations added.
struct World {
    store: Memory,
    folder: tempfile::TempDir,
    topic: Vec<Vec<u8>>,
    seen: Seen,
}

impl World {
    fn new(seals: usize) -> Self {
        Self { store: Memory::default(), folder: folder(), topic: Line::new(3).seals(seals), seen: Seen::default() }
    }

    fn open(&self, folder: &Path) -> Result<Notary, NotaryError> {
        let cosigner: Option<Box<dyn Cosigner>> = Some(Box::new(self.seen.clone()));
        Opening { end: self.topic.len() as i64, cosigner, ..Opening::default() }.open(&self.store, folder)
    }

    /// Reads on for at most `steps` proposals, publishing when the dice say so.
    fn run(&mut self, notary: &mut Notary, dice: &mut Dice, steps: usize) -> Result<(), NotaryError> {
        for _ in 0..steps {
            let offset = notary.next_offset();
            let Some(entry) = self.topic.get(offset as usize) else { break };
            let mut result = notary.offer(offset, entry);
            if matches!(&result, Err(refusal) if refusal.is_passing()) {
                notary.publish()?;
                result = notary.offer(offset, entry);
            }
            drop(result);
            if dice.roll(3) == 0 {
                notary.publish()?;
            }
            if dice.roll(9) == 0 {
                self.topic.push(notary.rotation()?);
            }
        }
        notary.publish()
    }

    /// Everything that lies in the store or was ever put: one text per size, each the root of the log's own prefix.
    fn check(&self) -> usize {
        let inner = self.store.0.lock().unwrap();
        let mut texts: BTreeMap<u64, &str> = BTreeMap::new();
        for (size, text) in &inner.texts {
            assert_eq!(*texts.entry(*size).or_insert(text), text, "two texts of size {size} were put");
        }
        let Some((&newest, _)) = texts.last_key_value() else { return 0 };
        let mut log = LogWriter::new();
        let mut roots = vec![EMPTY_ROOT];
        for number in 0..newest.div_ceil(256) {
            let bundle = tlog::Bundle::at(number, newest).unwrap();
            for entry in bundle.parse(&inner.objects[&bundle.path()]).unwrap() {
                log.append(entry).unwrap();
                roots.push(log.root());
            }
        }
        for (size, text) in &texts {
            assert_eq!(
                text.lines().nth(2).unwrap(),
                roots[*size as usize].to_base64(),
                "size {size} is of another log"
            );
        }
        for (size, root) in self.seen.0.lock().unwrap().iter() {
            assert_eq!(*root, roots[*size as usize], "a signed text of size {size} is of another log");
        }
        texts.len()
    }
}

/// (a) The process dies at every call of the store in turn, before or after it took effect, again and again.
#[test]
fn kill_at_every_step() {
    let (mut runs, mut deaths, mut texts, mut step) = (0, 0, 0, 0);
    loop {
        let mut reached = false;
        for fault in [Fault::Before, Fault::After] {
            let mut world = World::new(24);
            let mut dice = Dice(1);
            let folder = world.folder.path().to_owned();
            world.store.plan(step, fault);
            for round in 0..6 {
                let ended = world.open(&folder).and_then(|mut notary| world.run(&mut notary, &mut dice, 80));
                match ended {
                    Ok(()) => break,
                    Err(error) => {
                        assert!(error.is_retriable(), "step {step}: {error}");
                        deaths += 1;
                        reached |= round == 0;
                        world.store.revive();
                        if round < 4 {
                            world.store.plan(dice.roll(12), if dice.roll(2) == 0 { fault } else { Fault::After });
                        }
                    }
                }
            }
            texts += world.check();
            runs += 1;
            assert_eq!(world.store.text("checkpoint").unwrap().lines().next(), Some(support::ORIGIN));
        }
        if !reached {
            break;
        }
        step += 1;
    }
    println!("kill at every step: runs={runs} deaths={deaths} steps={step} texts={texts} forks=0");
    assert!(step > 60, "the suite no longer reaches the steps: {step}");
}

/// (a) The same at random, many times over, with a log long enough for HEADS in some.
#[test]
fn kill_at_random() {
    let (mut deaths, mut texts, mut heads) = (0, 0, 0);
    let runs = 1000;
    for run in 0..runs {
        let long = run % 200 == 0;
        let mut world = World::new(if long { 1100 } else { 12 });
        let mut dice = Dice(run as u64);
        let folder = world.folder.path().to_owned();
        for round in 0..12 {
            if round < 10 {
                let fault = [Fault::Before, Fault::After, Fault::Late][dice.roll(3)];
                world.store.plan(dice.roll(if long { 700 } else { 25 }), fault);
            }
            let ended = world.open(&folder).and_then(|mut notary| world.run(&mut notary, &mut dice, 2000));
            if let Err(error) = &ended {
                assert!(error.is_retriable(), "run {run}: {error}");
                deaths += 1;
            }
            world.store.revive();
            if dice.roll(3) == 0 {
                world.store.land();
            }
            if ended.is_ok() && round >= 3 {
                break;
            }
        }
        world.store.land();
        heads += usize::from(long);
        texts += world.check();
    }
    println!("kill at random: runs={runs} deaths={deaths} with_heads={heads} texts={texts} forks=0");
    assert!(deaths > runs);
}

/// (b) Two notaries on one store and one topic, taking turns at random, with one keyring: one loses and stops.
#[test]
fn two_notaries() {
    let (mut lost, mut texts) = (0, 0);
    let runs = 200;
    for run in 0..runs {
        let mut world = World::new(15);
        let mut dice = Dice(run);
        let folders = [world.folder.path().to_owned(), world.folder.path().to_owned()];
        let mut notaries = [world.open(&folders[0]).ok(), world.open(&folders[1]).ok()];
        for _ in 0..60 {
            let who = dice.roll(2);
            let Some(notary) = notaries[who].as_mut() else {
                // a stopped one is started again by its supervisor
                notaries[who] = world.open(&folders[who]).ok();
                continue;
            };
            let steps = 1 + dice.roll(4);
            if let Err(error) = world.run(notary, &mut dice, steps) {
                let expected = matches!(error, NotaryError::LostLock { .. } | NotaryError::ForkGuard(_))
                    || matches!(error, NotaryError::Signer(_));
                assert!(expected, "run {run}: {error}");
                lost += 1;
                notaries[who] = None;
            }
        }
        texts += world.check();
    }
    println!("two notaries: runs={runs} stopped={lost} texts={texts} forks=0");
    assert!(lost > 0 && texts > 0);
}

/// (c), (e) Lost proposals, a lock rolled back, a store rolled back, a mark ahead: FORK-GUARD, and nothing signed.
#[test]
fn what_was_rolled_back_is_guarded() {
    let mut guards = 0;
    let runs = 100;
    for run in 0..runs {
        let mut world = World::new(20);
        let mut dice = Dice(run);
        let folder = world.folder.path().to_owned();
        let mut notary = world.open(&folder).unwrap();
        let first = 3 + dice.roll(5);
        world.run(&mut notary, &mut dice, first).unwrap();
        let before = world.store.0.lock().unwrap().objects.clone();
        world.run(&mut notary, &mut dice, 40).unwrap();
        let (size, next) = (notary.lock().size, notary.lock().next_offset);
        drop(notary);
        let texts = world.store.0.lock().unwrap().texts.len();
        let after = world.store.0.lock().unwrap().objects.clone();
        // the whole store, only its locks, or only its tiles are rolled back
        for part in ["", "lock/", "tile/"] {
            let mut objects = after.clone();
            objects.retain(|path, _| !path.starts_with(part) || before.contains_key(path));
            for (path, bytes) in before.iter().filter(|(path, _)| path.starts_with(part)) {
                objects.insert(path.clone(), bytes.clone());
            }
            world.store.0.lock().unwrap().objects = objects;
            let opened = world.open(&folder).map(|notary| notary.lock().size);
            let guarded = match &opened {
                Err(NotaryError::ForkGuard(_)) => true,
                // tiles that lack: the log cannot be read, which stops it as well
                Err(NotaryError::Log(_)) => part == "tile/",
                _ => false,
            };
            assert!(guarded, "run {run} `{part}` rolled back: {opened:?}");
            guards += 1;
        }
        world.store.0.lock().unwrap().objects = after;
        world.topic.truncate(next as usize - 1);
        let opened = world.open(&folder).map(|notary| notary.lock().size);
        assert!(matches!(&opened, Err(NotaryError::ForkGuard(text)) if text.contains("lost its tail")), "{opened:?}");
        guards += 1;
        assert_eq!(world.store.0.lock().unwrap().texts.len(), texts, "something was signed");
        assert!(world.check() > 0 && size > 0);
    }
    println!("rolled back: runs={runs} guards={guards} signed=0");
}

/// (d) A put of a dead writer lands after the log has grown past it.
#[test]
fn delayed_puts_change_nothing() {
    let (mut late, mut texts) = (0, 0);
    let runs = 200;
    for run in 0..runs {
        let mut world = World::new(30);
        let mut dice = Dice(run);
        let folder = world.folder.path().to_owned();
        for _ in 0..4 {
            world.store.plan(dice.roll(20), Fault::Late);
            let ended = world.open(&folder).and_then(|mut notary| world.run(&mut notary, &mut dice, 6));
            assert!(ended.is_ok() || ended.as_ref().is_err_and(NotaryError::is_retriable), "run {run}: {ended:?}");
        }
        world.store.revive();
        let mut notary = world.open(&folder).unwrap();
        world.run(&mut notary, &mut dice, 60).unwrap();
        late += world.store.0.lock().unwrap().late.len();
        world.store.land();
        // `checkpoint` may have been set back by such a put: the next publication and the next start mend it
        drop(notary);
        let notary = world.open(&folder).unwrap();
        let newest = world.store.text("checkpoint").unwrap();
        assert_eq!(newest.lines().nth(1).unwrap(), notary.lock().size.to_string(), "run {run}");
        texts += world.check();
    }
    println!("delayed puts: runs={runs} late={late} texts={texts} forks=0");
    assert!(late > 50);
}

/// (g) One flipped bit in what the notary reads at its start is found before anything is signed.
#[test]
fn a_flipped_bit_is_found_at_start() {
    let mut world = World::new(300);
    let folder = world.folder.path().to_owned();
    let mut notary = world.open(&folder).unwrap();
    world.run(&mut notary, &mut Dice(1), 1000).unwrap();
    let size = notary.lock().size;
    drop(notary);
    let clean = world.store.0.lock().unwrap().objects.clone();
    let texts = world.store.0.lock().unwrap().texts.len();
    // what a restart reads: the lock, the partial tiles and bundles of this size, the bundles since the newest HEADS
    world.store.forget_reads();
    drop(world.open(&folder).unwrap());
    let read: Vec<String> = {
        let inner = world.store.0.lock().unwrap();
        let read = inner.reads.keys().filter(|path| inner.objects.contains_key(*path)).cloned();
        read.filter(|path| path.starts_with("tile/") || path.starts_with("lock/0")).collect()
    };
    let texts_after = world.store.0.lock().unwrap().texts.len();
    let (mut flips, mut dice) = (0, Dice(7));
    for path in &read {
        for _ in 0..12 {
            let mut objects = clean.clone();
            let bytes = objects.get_mut(path).unwrap();
            let at = dice.roll(bytes.len());
            bytes[at] ^= 1 << dice.roll(8);
            world.store.0.lock().unwrap().objects = objects;
            let opened = world.open(&folder).map(|notary| notary.lock().next_offset);
            // only the proposals offset of a lock record is not covered by a root: a wrong one is a wrong place to read on,
            // and what comes from there does not continue the heads
            let offset_only = path.starts_with("lock/") && opened.is_ok();
            assert!(opened.is_err() || offset_only, "{path} byte {at} of a log of {size}: {opened:?}");
            flips += usize::from(opened.is_err());
        }
    }
    assert_eq!(world.store.0.lock().unwrap().objects.get("nothing"), None);
    let signed = world.store.0.lock().unwrap().texts.len() - texts_after;
    println!("flipped bits: objects={} flips={flips} found={flips} signed={signed}", read.len());
    assert!(flips > 50 && texts_after >= texts);
    assert!(world.store.read("checkpoint").unwrap().is_some());
}
