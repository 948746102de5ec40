//! Commit, then sign: the only process that signs, and the order in which it publishes (I-09).
//!
//! For a new size n: (1) bundles and tiles, create-only, equal bytes if they are there; (2) the next lock record,
//! create-only, which is the compare-and-swap: of two notaries one wins; (3) the high-water mark on local disk, then the
//! signature; (4) `checkpoints/<n>` and `checkpoint`; (5) the envelopes. Nothing signed holds a clock or a random value,
//! so after a crash anywhere past (2) the same text is signed again, and no other text of that size ever is. Any
//! disagreement between store, lock, mark and topic stops the notary with `FORK-GUARD`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use schemas::v1::{KeyId, SealEnvelope, Signature64, StreamId};
use tlog::{
    Bundle, CHECKPOINT_PATH, Checkpoint, EMPTY_ROOT, Hash, LogWriter, NoteSignature, ReadError, checkpoint_path,
    leaf_hash, seal_signed_bytes,
};

use crate::entry::TAG_SEAL;
use crate::error::NotaryError;
use crate::integrate::{Accepted, Integrator, Refusal, Roots};
use crate::signer::Signer;

/// Entries per bundle (tlog-tiles).
const BUNDLE_ENTRIES: u64 = 256;
/// Published heads kept in memory; an older anchor is read from `checkpoints/`.
const HEADS_KEPT: usize = 4096;
/// Lock records looked at beyond the hint before giving up.
const LOCK_PROBES_MAX: u64 = 1_000_000;
/// Where the number of a recent lock record is kept: a hint, never trusted.
const LOCK_HINT: &str = "lock/latest";

/// What a create-only put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Created,
    /// There was one already.
    Exists,
}

/// The object store under the log's prefix.
pub trait LogStore: Send {
    /// Stores an object that never changes; `locked` says whether Object Lock applies.
    ///
    /// # Errors
    /// [`NotaryError::Store`].
    fn create(&self, path: &str, bytes: &[u8], locked: bool) -> Result<Put, NotaryError>;
    /// Replaces an object that only points at others.
    ///
    /// # Errors
    /// [`NotaryError::Store`].
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), NotaryError>;
    /// The object, or `None`.
    ///
    /// # Errors
    /// [`NotaryError::Store`].
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, NotaryError>;
}

/// What the lock says: this size has this root, from the proposals before this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Number of the lock record.
    pub number: u64,
    /// Tree size.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// Next proposals offset.
    pub next_offset: i64,
}

impl Lock {
    const NONE: Self = Self { number: 0, size: 0, root: EMPTY_ROOT, next_offset: 0 };

    fn path(number: u64) -> String {
        format!("lock/{number:020}")
    }

    fn to_text(self) -> String {
        format!("sealtrail-lock/v1\n{}\n{}\n{}\n{}\n", self.number, self.size, self.root.to_base64(), self.next_offset)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n');
        (lines.next()? == "sealtrail-lock/v1").then_some(())?;
        let lock = Self {
            number: lines.next()?.parse().ok()?,
            size: lines.next()?.parse().ok()?,
            root: Hash::from_base64(lines.next()?)?,
            next_offset: lines.next()?.parse().ok()?,
        };
        lines.next().is_none().then_some(lock)
    }
}

struct Published<'a> {
    recent: &'a BTreeMap<u64, Hash>,
    store: &'a dyn LogStore,
}

impl Roots for Published<'_> {
    fn root_at(&self, size: u64) -> Option<Hash> {
        if let Some(root) = self.recent.get(&size) {
            return Some(*root);
        }
        let bytes = self.store.read(&checkpoint_path(size)).ok()??;
        Checkpoint::parse_note(&bytes).ok().map(|(checkpoint, _)| *checkpoint.root())
    }
}

/// The notary over one log.
pub struct Notary {
    origin: String,
    integrator: Integrator,
    store: Box<dyn LogStore>,
    signer: Box<dyn Signer>,
    lock: Lock,
    recent: BTreeMap<u64, Hash>,
    mark: PathBuf,
    next_offset: i64,
}

impl Notary {
    /// Reads lock, mark and log, and checks that they agree. `proposals_end` is the end of the proposals topic.
    ///
    /// # Errors
    /// [`NotaryError::ForkGuard`] on any disagreement; [`NotaryError::Store`].
    pub fn open(
        origin: &str,
        streams: HashMap<StreamId, (String, i32)>,
        store: Box<dyn LogStore>,
        signer: Box<dyn Signer>,
        state_folder: &Path,
        proposals_end: i64,
    ) -> Result<Self, NotaryError> {
        let lock = newest_lock(store.as_ref())?;
        let mark = state_folder.join("high-water");
        check_mark(&mark, &lock)?;
        if proposals_end < lock.next_offset {
            return Err(NotaryError::fork(format!(
                "the proposals topic ends at offset {proposals_end}, before the lock's {}: it lost its tail or is another topic",
                lock.next_offset
            )));
        }
        let mut source = |path: &str| store.read(path).map_err(|error| ReadError::Store(error.to_string().into()));
        let log = LogWriter::restore(lock.size, &mut source).map_err(NotaryError::Log)?;
        if log.root() != lock.root {
            return Err(NotaryError::fork(format!(
                "the stored log of size {} does not have the lock's root",
                lock.size
            )));
        }
        let mut integrator = Integrator::new(origin, streams, log);
        for_each_entry(store.as_ref(), 0, lock.size, |_, entry| {
            integrator
                .replay(entry)
                .map_err(|error| NotaryError::fork(format!("a stored log entry is unreadable: {error}")))
        })?;
        let mut recent = BTreeMap::new();
        recent.insert(lock.size, lock.root);
        let next_offset = lock.next_offset;
        let mut notary = Self { origin: origin.to_owned(), integrator, store, signer, lock, recent, mark, next_offset };
        // a crash between lock and signature left this head unsigned; later anchors may name it
        notary.sign_head()?;
        Ok(notary)
    }

    /// Offset of the next proposal to offer.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Heads of all streams, newest accepted proposals included.
    #[must_use]
    pub fn integrator(&self) -> &Integrator {
        &self.integrator
    }

    /// The newest locked head.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// True when accepted entries wait for publication.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.integrator.log().size() > self.lock.size
    }

    /// Offers the proposal at `offset`.
    ///
    /// # Errors
    /// [`Refusal`]; after [`Refusal::Log`] publish and offer it again, after any other it is passed over for good.
    pub fn offer(&mut self, offset: i64, proposal: &[u8]) -> Result<Accepted, Refusal> {
        let roots = Published { recent: &self.recent, store: self.store.as_ref() };
        let result = self.integrator.offer(proposal, &roots);
        if !matches!(result, Err(Refusal::Log(_))) {
            self.next_offset = offset + 1;
        }
        result
    }

    /// Publishes everything accepted: steps (1) to (4). Safe to call again after any error or crash.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub fn publish(&mut self) -> Result<(), NotaryError> {
        let log = self.integrator.log();
        let next =
            Lock { number: self.lock.number + 1, size: log.size(), root: log.root(), next_offset: self.next_offset };
        if next.size > self.lock.size {
            // a copy is flushed, so that a failed put leaves the files to be given out again
            let mut writer = self.integrator.log().clone();
            for file in writer.flush() {
                self.create_equal(&file.path, &file.bytes, file.full)?;
            }
            self.swap_lock(next)?;
            *self.integrator.log_mut() = writer;
            self.lock = next;
        }
        self.sign_head()
    }

    fn create_equal(&self, path: &str, bytes: &[u8], locked: bool) -> Result<(), NotaryError> {
        if self.store.create(path, bytes, locked)? == Put::Exists && self.store.read(path)?.as_deref() != Some(bytes) {
            return Err(NotaryError::fork(format!("object `{path}` exists with other bytes")));
        }
        Ok(())
    }

    fn swap_lock(&self, next: Lock) -> Result<(), NotaryError> {
        let (path, text) = (Lock::path(next.number), next.to_text());
        if self.store.create(&path, text.as_bytes(), false)? == Put::Exists {
            let other = self.store.read(&path)?.as_deref().and_then(Lock::parse);
            if other != Some(next) {
                return Err(NotaryError::LostLock { number: next.number });
            }
        }
        self.store.replace(LOCK_HINT, format!("{}\n", next.number).as_bytes())
    }

    /// Steps (3) and (4) for the locked head; a repeat signs the same text and finds its own object.
    fn sign_head(&mut self) -> Result<(), NotaryError> {
        if self.lock.size == 0 {
            return Ok(());
        }
        write_mark(&self.mark, &self.lock)?;
        let checkpoint =
            Checkpoint::new(&self.origin, self.lock.size, self.lock.root).map_err(NotaryError::Checkpoint)?;
        let signature = self.signer.sign(checkpoint.to_string().as_bytes())?;
        let line = NoteSignature::new(self.signer.verifier_key(), &signature);
        let note = checkpoint.to_note(vec![line]).map_err(NotaryError::Note)?.to_string();
        let path = checkpoint_path(self.lock.size);
        if self.store.create(&path, note.as_bytes(), true)? == Put::Exists {
            let stored = self.store.read(&path)?.unwrap_or_default();
            let same = Checkpoint::parse_note(&stored).is_ok_and(|(stored, _)| stored == checkpoint);
            if !same {
                return Err(NotaryError::fork(format!("`{path}` holds another text of this size")));
            }
        }
        self.store.replace(CHECKPOINT_PATH, note.as_bytes())?;
        self.recent.insert(self.lock.size, self.lock.root);
        while self.recent.len() > HEADS_KEPT {
            self.recent.pop_first();
        }
        Ok(())
    }

    /// The envelopes of the published seals from `from` on, in log order; step (5). A receipt has none: nobody who reads
    /// seals waits for it.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub fn envelopes(
        &self,
        from: u64,
        mut take: impl FnMut(u64, &SealEnvelope) -> Result<(), NotaryError>,
    ) -> Result<(), NotaryError> {
        let key_id = KeyId(self.signer.verifier_key().id().to_be_bytes());
        for_each_entry(self.store.as_ref(), from, self.lock.size, |index, entry| {
            if entry.first() != Some(&TAG_SEAL) {
                return Ok(());
            }
            let signature = self.signer.sign(&seal_signed_bytes(&leaf_hash(entry)))?;
            let envelope = SealEnvelope {
                entry: entry.to_vec(),
                log_index: i64::try_from(index).unwrap_or(i64::MAX),
                tree_size: i64::try_from(self.lock.size).unwrap_or(i64::MAX),
                key_id,
                signature: Signature64(signature),
            };
            take(index, &envelope)
        })
    }
}

/// Calls `take` with each entry of `from..size`, read from the bundles.
fn for_each_entry(
    store: &dyn LogStore,
    from: u64,
    size: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), NotaryError>,
) -> Result<(), NotaryError> {
    let mut index = from;
    while index < size {
        let bundle =
            Bundle::holding(index, size).ok_or_else(|| NotaryError::fork(format!("entry {index} has no bundle")))?;
        let path = bundle.path();
        let bytes = store.read(&path)?.ok_or_else(|| NotaryError::fork(format!("entry bundle `{path}` is missing")))?;
        let entries = bundle.parse(&bytes).map_err(NotaryError::Log)?;
        let skip = usize::try_from(index % BUNDLE_ENTRIES).unwrap_or(0);
        let before = index;
        for entry in entries.into_iter().skip(skip) {
            take(index, entry)?;
            index += 1;
        }
        if index == before {
            return Err(NotaryError::fork(format!("entry bundle `{path}` is too short")));
        }
    }
    Ok(())
}

fn newest_lock(store: &dyn LogStore) -> Result<Lock, NotaryError> {
    let hint = store.read(LOCK_HINT)?;
    let hint =
        hint.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.trim().parse::<u64>().ok()).unwrap_or(0);
    let get = |number: u64| -> Result<Option<Lock>, NotaryError> {
        let path = Lock::path(number);
        match store.read(&path)? {
            None => Ok(None),
            Some(bytes) => match Lock::parse(&bytes) {
                Some(lock) if lock.number == number => Ok(Some(lock)),
                _ => Err(NotaryError::fork(format!("lock record `{path}` is unreadable"))),
            },
        }
    };
    let mut newest = if hint == 0 { None } else { get(hint)? };
    let mut number = newest.map_or(0, |lock| lock.number);
    for _ in 0..LOCK_PROBES_MAX {
        number += 1;
        match get(number)? {
            Some(lock) => newest = Some(lock),
            None => return Ok(newest.unwrap_or(Lock::NONE)),
        }
    }
    Err(NotaryError::fork(format!("more than {LOCK_PROBES_MAX} lock records beyond the hint `{LOCK_HINT}`")))
}

fn check_mark(path: &Path, lock: &Lock) -> Result<(), NotaryError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(NotaryError::Mark { path: path.to_owned(), source }),
    };
    let mark = Lock::parse(&bytes)
        .ok_or_else(|| NotaryError::fork(format!("high-water mark `{}` is unreadable", path.display())))?;
    if mark.size > lock.size || (mark.size == lock.size && mark.root != lock.root) {
        return Err(NotaryError::fork(format!(
            "this notary has signed size {}, the lock says {}: it was rolled back",
            mark.size, lock.size
        )));
    }
    Ok(())
}

fn write_mark(path: &Path, lock: &Lock) -> Result<(), NotaryError> {
    let failed = |source| NotaryError::Mark { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new).map_err(failed)?;
    std::io::Write::write_all(&mut file, lock.to_text().as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
