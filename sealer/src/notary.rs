//! Commit, then sign: the only process that signs, and the order in which it publishes (I-09).
//!
//! For a new size n: (1) bundles and tiles, create-only, equal bytes if they are there; (2) the next lock record,
//! create-only, which is the compare-and-swap: of two notaries one wins; (3) the high-water mark on local disk, then the
//! signature; (4) the witnesses; (5) `checkpoints/<n>` and `checkpoint`; (6) the envelopes. Nothing signed holds a clock or
//! a random value, so after a crash anywhere past (2) the same text is signed again, and no other text of that size ever
//! is. Any disagreement between store, lock, mark and topic stops the notary with `FORK-GUARD`.
//!
//! A key epoch ends with its KEY entry: the head right behind it, the closing checkpoint, is signed by both keys; once it is
//! stored the old secret is erased. A restart reads from the newest HEADS entries on, each bundle proven against the lock.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use schemas::entry::{EntryBody as _, KEY_ROTATE, TAG_KEY};
use schemas::v1::{KeyBody, KeyId, SealEnvelope, Signature64, StreamId};
use tlog::{
    CHECKPOINT_PATH, Checkpoint, EMPTY_ROOT, Hash, LogWriter, Note, NoteSignature, ReadError, VerifierKey,
    checkpoint_path, leaf_hash, seal_signed_bytes,
};

use crate::entry::TAG_SEAL;
use crate::error::NotaryError;
use crate::integrate::{Accepted, Closing, Epoch, Integrator, Refusal, Roots, Trust};
pub use crate::lock::Lock;
use crate::lock::Mark;
use crate::orders::{INCIDENT, Orders, RECOVER};
use crate::signer::{Keyring, Signer, SignerError};
pub use crate::store::{LogStore, Put};
use crate::stored::Stored;
use crate::witness::Cosigner;

/// Published heads kept in memory; an older anchor is read from `checkpoints/`.
const HEADS_KEPT: usize = 4096;

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

/// What a notary works with.
pub struct Setup {
    /// Origin of the log.
    pub origin: String,
    /// Streams that may be sealed, with topic and partition.
    pub streams: HashMap<StreamId, (String, i32)>,
    /// Root and recovery keys.
    pub trust: Trust,
    /// Key of epoch 0 as the policy says it; without one it is read from the keyring.
    pub first_key: Option<VerifierKey>,
    /// Object store under the log's prefix.
    pub store: Box<dyn LogStore>,
    /// Keys of the epochs.
    pub keys: Box<dyn Keyring>,
    /// Witnesses.
    pub cosigner: Box<dyn Cosigner>,
    /// Folder of the high-water mark and of the operator's orders.
    pub state_folder: PathBuf,
    /// End of the proposals topic.
    pub proposals_end: i64,
}

/// The notary over one log.
pub struct Notary {
    origin: String,
    integrator: Integrator,
    store: Box<dyn LogStore>,
    keys: Box<dyn Keyring>,
    cosigner: Box<dyn Cosigner>,
    orders: Orders,
    /// Key of the epoch `signs_for`; lacks only while a recovery is under way.
    signer: Option<Box<dyn Signer>>,
    signs_for: i64,
    /// Key of the epoch before, until its closing checkpoint is stored.
    retiring: Option<Box<dyn Signer>>,
    lock: Lock,
    recent: BTreeMap<u64, Hash>,
    mark: Mark,
    next_offset: i64,
    /// Size and root of the newest head that is signed and stored.
    published: (u64, Hash),
    /// The newest KEY entry, until the witnesses have heard of it.
    new_key: Option<Vec<u8>>,
}

impl Notary {
    /// Reads lock, mark and log, and checks that they agree.
    ///
    /// # Errors
    /// [`NotaryError::ForkGuard`] on any disagreement; [`NotaryError::Store`]; [`NotaryError::Signer`].
    pub fn open(setup: Setup) -> Result<Self, NotaryError> {
        let Setup { origin, streams, trust, first_key, store, keys, cosigner, state_folder, proposals_end } = setup;
        let lock = Lock::newest(store.as_ref())?;
        let mark = Mark::of(&state_folder);
        mark.check(&lock)?;
        let mut source = |path: &str| store.read(path).map_err(|error| ReadError::Store(error.to_string().into()));
        let log = LogWriter::restore(lock.size, &mut source).map_err(NotaryError::Log)?;
        if log.root() != lock.root {
            return Err(NotaryError::fork(format!(
                "the stored log of size {} does not have the lock's root",
                lock.size
            )));
        }
        let orders = Orders::of(&state_folder);
        let integrator = {
            let mut stored = Stored::new(store.as_ref(), lock.size, lock.root);
            let start = stored.start()?;
            let first = match start.key.or(first_key) {
                Some(key) => key,
                None => keys.open(0)?.verifier_key().clone(),
            };
            let mut integrator = Integrator::new(&origin, streams, trust, first, log);
            stored.for_each(start.index, |index, entry| {
                integrator
                    .replay(index, entry)
                    .map_err(|error| NotaryError::fork(format!("a stored log entry is unreadable: {error}")))
            })?;
            integrator
        };
        let next_offset = next_offset(&integrator, &lock, proposals_end, &orders)?;
        let signer = match open_signer(keys.as_ref(), integrator.epoch()) {
            Ok(signer) => Some(signer),
            Err(SignerError::Missing(_)) if orders.entry(RECOVER).is_some() => None,
            Err(error) => return Err(error.into()),
        };
        let before = integrator.epoch().number - 1;
        let retiring = match integrator.closing() {
            Some(Closing::Rotate) => match keys.open(before) {
                Ok(old) => Some(old),
                Err(SignerError::Missing(_)) => None,
                Err(error) => return Err(error.into()),
            },
            _ => None,
        };
        let recent = BTreeMap::new();
        let signs_for = integrator.epoch().number;
        let mut notary = Self {
            origin,
            integrator,
            store,
            keys,
            cosigner,
            orders,
            signer,
            signs_for,
            retiring,
            lock,
            recent,
            mark,
            next_offset,
            published: (0, EMPTY_ROOT),
            new_key: None,
        };
        // a crash between lock and signature left this head unsigned; later anchors may name it
        match notary.sign_head() {
            Err(error @ NotaryError::Quorum { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the newest head waits for witnesses");
            }
            signed => signed?,
        }
        // a crash between the closing checkpoint and the erasure left the old secret behind
        if notary.integrator.closing().is_none() {
            notary.erase(before);
        }
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

    /// What the operator has left to do.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// True when accepted entries wait for publication.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.integrator.log().size() > self.published.0
    }

    /// Size and root of the newest published head; of the empty log before the first.
    #[must_use]
    pub fn published(&self) -> (u64, Hash) {
        self.published
    }

    /// Offers the proposal at `offset`.
    ///
    /// # Errors
    /// [`Refusal`]; after a passing one publish and offer it again, after any other it is passed over for good.
    pub fn offer(&mut self, offset: i64, proposal: &[u8]) -> Result<Accepted, Refusal> {
        let roots = Published { recent: &self.recent, store: self.store.as_ref() };
        let result = self.integrator.offer(proposal, &roots);
        if !matches!(&result, Err(refusal) if refusal.is_passing()) {
            self.next_offset = offset + 1;
        }
        if result.is_ok() && proposal.first() == Some(&TAG_KEY) {
            self.new_key = Some(proposal.to_vec());
        }
        result
    }

    /// The KEY entry that begins the next epoch, to be proposed. Its key is made first; a repeat gives the same entry.
    ///
    /// # Errors
    /// [`NotaryError::Signer`], also while a recovery is under way.
    pub fn rotation(&self) -> Result<Vec<u8>, NotaryError> {
        let epoch = self.integrator.epoch();
        let signer =
            self.signer.as_deref().ok_or_else(|| SignerError::Missing(format!("of epoch {}", epoch.number)))?;
        let next = self.keys.make(epoch.number + 1)?;
        let mut key = KeyBody {
            version: 1,
            origin: self.origin.clone(),
            action: KEY_ROTATE.into(),
            epoch: epoch.number + 1,
            vkey: next.verifier_key().to_string(),
            key_id: KeyId(signer.verifier_key().id().to_be_bytes()),
            signature: Signature64::default(),
        };
        key.signature = Signature64(signer.sign(&key.signed_bytes())?);
        Ok(key.to_entry())
    }

    /// Publishes everything accepted: steps (1) to (5). Safe to call again after any error or crash.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub fn publish(&mut self) -> Result<(), NotaryError> {
        self.follow_epoch()?;
        if self.signer.is_none() {
            // nothing may be locked that nobody can sign: the recovery's KEY entry comes first
            return Ok(());
        }
        let log = self.integrator.log();
        let next =
            Lock { number: self.lock.number + 1, size: log.size(), root: log.root(), next_offset: self.next_offset };
        if next.size > self.lock.size {
            // a copy is flushed, so that a failed put leaves the files to be given out again
            let mut writer = self.integrator.log().clone();
            for file in writer.flush() {
                self.create_equal(&file.path, &file.bytes, file.full)?;
            }
            next.swap(self.store.as_ref())?;
            *self.integrator.log_mut() = writer;
            self.lock = next;
        }
        // a closing checkpoint, once stored, must not be signed again by the new key alone
        if self.published.0 == self.lock.size { Ok(()) } else { self.sign_head() }
    }

    /// Takes up the key of an epoch that has begun.
    fn follow_epoch(&mut self) -> Result<(), NotaryError> {
        let epoch = self.integrator.epoch();
        if epoch.number == self.signs_for {
            return Ok(());
        }
        let new = open_signer(self.keys.as_ref(), epoch)?;
        self.signs_for = epoch.number;
        let old = self.signer.replace(new);
        self.retiring = old.filter(|_| self.integrator.closing() == Some(Closing::Rotate));
        Ok(())
    }

    fn create_equal(&self, path: &str, bytes: &[u8], locked: bool) -> Result<(), NotaryError> {
        if self.store.create(path, bytes, locked)? == Put::Exists && self.store.read(path)?.as_deref() != Some(bytes) {
            return Err(NotaryError::fork(format!("object `{path}` exists with other bytes")));
        }
        Ok(())
    }

    /// The log's own signatures over a head, and none when a key that must sign it is gone.
    fn signatures(&self, text: &str) -> Result<Option<Vec<NoteSignature>>, NotaryError> {
        let Some(signer) = self.signer.as_deref() else { return Ok(None) };
        let line = |signer: &dyn Signer| -> Result<NoteSignature, SignerError> {
            Ok(NoteSignature::new(signer.verifier_key(), &signer.sign(text.as_bytes())?))
        };
        match (self.integrator.closing(), self.retiring.as_deref()) {
            (Some(Closing::Rotate), None) => Ok(None),
            (Some(Closing::Rotate), Some(old)) => Ok(Some(vec![line(old)?, line(signer)?])),
            _ => Ok(Some(vec![line(signer)?])),
        }
    }

    /// Steps (3) to (5) for the locked head; a repeat signs the same text and finds its own object.
    fn sign_head(&mut self) -> Result<(), NotaryError> {
        if self.lock.size == 0 {
            return Ok(());
        }
        self.mark.write(&self.lock)?;
        let checkpoint =
            Checkpoint::new(&self.origin, self.lock.size, self.lock.root).map_err(NotaryError::Checkpoint)?;
        let path = checkpoint_path(self.lock.size);
        let note = match self.signatures(&checkpoint.to_string())? {
            Some(lines) => {
                let note = checkpoint.to_note(lines).map_err(NotaryError::Note)?;
                self.cosigned(&checkpoint, note)?.to_string()
            }
            None => match self.store.read(&path)? {
                Some(stored) => String::from_utf8_lossy(&stored).into_owned(),
                // a recovery: this head is published with the new key, at the next size
                None if self.signer.is_none() => return Ok(()),
                None => {
                    return Err(NotaryError::fork(format!(
                        "the closing checkpoint `{path}` is not stored, and the key of the epoch before is gone"
                    )));
                }
            },
        };
        if self.store.create(&path, note.as_bytes(), true)? == Put::Exists {
            let stored = self.store.read(&path)?.unwrap_or_default();
            let same = Checkpoint::parse_note(&stored).is_ok_and(|(stored, _)| stored == checkpoint);
            if !same {
                return Err(NotaryError::fork(format!("`{path}` holds another text of this size")));
            }
        }
        self.store.replace(CHECKPOINT_PATH, note.as_bytes())?;
        self.recent.insert(self.lock.size, self.lock.root);
        self.published = (self.lock.size, self.lock.root);
        while self.recent.len() > HEADS_KEPT {
            self.recent.pop_first();
        }
        if self.integrator.closing().is_some() && self.integrator.log().size() == self.lock.size {
            self.retiring = None;
            self.integrator.closed();
            self.erase(self.signs_for - 1);
        }
        Ok(())
    }

    fn cosigned(&mut self, checkpoint: &Checkpoint, mut note: Note) -> Result<Note, NotaryError> {
        // the closing checkpoint bears the old key too, which they know; the heads after it do not
        if let Some(entry) = self.new_key.take() {
            self.cosigner.new_key(&entry);
        }
        for line in self.cosigner.cosign(checkpoint, &note, self.store.as_ref())? {
            note = note.with_signature(line).map_err(NotaryError::Note)?;
        }
        Ok(note)
    }

    /// Destroys the secret of an epoch that is over. A failure is told and tried again at the next start: the log itself is
    /// right, only a thief's range grows.
    fn erase(&self, epoch: i64) {
        if epoch < 0 {
            return;
        }
        if let Err(error) = self.keys.erase(epoch) {
            crate::metrics::not_erased();
            tracing::error!(
                epoch,
                error = &error as &dyn std::error::Error,
                "the secret of an epoch that is over is still there"
            );
        }
    }

    /// The envelopes of the published seals from `from` on, in log order; step (6). Other entries have none: nobody who reads
    /// seals waits for them.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub fn envelopes(
        &self,
        from: u64,
        mut take: impl FnMut(u64, &SealEnvelope) -> Result<(), NotaryError>,
    ) -> Result<(), NotaryError> {
        let (size, root) = self.published;
        let Some(signer) = self.signer.as_deref() else { return Ok(()) };
        let key_id = KeyId(signer.verifier_key().id().to_be_bytes());
        Stored::new(self.store.as_ref(), size, root).for_each(from, |index, entry| {
            if entry.first() != Some(&TAG_SEAL) {
                return Ok(());
            }
            let signature = signer.sign(&seal_signed_bytes(&leaf_hash(entry)))?;
            let envelope = SealEnvelope {
                entry: entry.to_vec(),
                log_index: i64::try_from(index).unwrap_or(i64::MAX),
                tree_size: i64::try_from(size).unwrap_or(i64::MAX),
                key_id,
                signature: Signature64(signature),
            };
            take(index, &envelope)
        })
    }
}

/// Opens the key of an epoch; it must be the one that the log names.
fn open_signer(keys: &dyn Keyring, epoch: &Epoch) -> Result<Box<dyn Signer>, SignerError> {
    let signer = keys.open(epoch.number)?;
    if signer.verifier_key() != &epoch.key {
        return Err(SignerError::Mismatch { epoch: epoch.number });
    }
    Ok(signer)
}

/// Where to go on in the proposals topic: at the lock's offset, or where a root-signed incident says.
fn next_offset(integrator: &Integrator, lock: &Lock, proposals_end: i64, orders: &Orders) -> Result<i64, NotaryError> {
    let resumed = orders.entry(INCIDENT).and_then(|entry| integrator.resume_offset(&entry));
    if let Some(offset) = resumed {
        tracing::warn!(offset, "a root-signed incident says where to go on in the proposals topic");
        return Ok(offset);
    }
    if proposals_end < lock.next_offset {
        return Err(NotaryError::fork(format!(
            "the proposals topic ends at offset {proposals_end}, before the lock's {}: it lost its tail or is another topic",
            lock.next_offset
        )));
    }
    Ok(lock.next_offset)
}
