//! Proof files for others: an event to a signed head, and one head to a later one; and their check, offline (T25).
//!
//! An event proof is a C2SP `tlog-proof` file for the seal's log entry; its `extra` leads from the event to the seal
//! (`docs/reference/integrity.md`, proof files). A consistency proof is the body of a C2SP `add-checkpoint` request.
//! Making a proof reads one object and a few tiles and checks what it made before it gives it away. Nothing is asked of
//! the archive to check one.

use arrow::array::{Array as _, StringArray};
use columns::Rows;
use schemas::Record as _;
use schemas::entry::Entry;
use schemas::layout::{LOG_PREFIX, Table, parse_object_name};
use schemas::leaf::{HEAD_LEN, MAGIC};
use schemas::v1::{SealBody, SealEnvelope};
use tlog::proof_file::PROOF_FILE_BYTES_MAX;
use tlog::{
    BatchTree, CHECKPOINT_PATH, Checkpoint, CheckpointError, ConsistencyFile, EntryProof, EventExtra, ProofFileError,
    TileMap, VerifierKey, consistency_proof, consistency_tiles, inclusion_proof, inclusion_tiles, leaf_hash,
};

use crate::fetch::{ObjectError, ObjectRows};
use crate::{Archive, ReadError};

/// Most proofs of one call.
pub const PROOFS_MAX: usize = 100_000;

/// What is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One event or frame, by its id.
    Event(String),
    /// Every event and frame of a session, by its id.
    Session(String),
}

/// A proof that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Id of the event or frame; empty for an opaque record.
    pub event_id: String,
    /// Object that holds it.
    pub object: String,
    /// Topic, partition and number of its seal.
    pub place: String,
    /// Number of the event in its stream.
    pub seq: i64,
    /// The file.
    pub text: String,
}

/// Why a proof cannot be made or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The archive could not be read.
    #[error("read the archive")]
    Read(#[from] ReadError),
    /// There is nothing of that id.
    #[error("find `{0}` in the archive: nothing has this id")]
    NotFound(String),
    /// The archive is not sound where the proof would come from; `verify` says more.
    #[error("make proof of row {row} of `{object}`: {what}; run `sealtrail verify`")]
    Damaged {
        /// Object.
        object: String,
        /// Row of the row group.
        row: usize,
        /// What does not fit.
        what: String,
    },
    /// The file is malformed or its proof does not hold (T25).
    #[error("proof invalid")]
    File(#[from] ProofFileError),
    /// The parts do not belong together (T25).
    #[error("proof invalid: {0}")]
    Parts(&'static str),
    /// The head in the file is refused.
    #[error("open the head in the proof file")]
    Head(#[from] CheckpointError),
}

impl ProveError {
    /// Finding code of the integrity reference; `None` when nothing was checked.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::File(_) | Self::Parts(_) => Some("T25"),
            Self::Head(CheckpointError::WrongOrigin { .. } | CheckpointError::NoLogSignature) => Some("T12"),
            Self::Head(CheckpointError::Note(tlog::NoteError::NoTrustedSignature)) => Some("T12"),
            Self::Head(_) => Some("T11"),
            Self::Read(_) | Self::NotFound(_) | Self::Damaged { .. } => None,
        }
    }
}

/// Makes the proofs of what is wanted, under the archive's newest head.
///
/// # Errors
/// [`ProveError`].
pub fn prove(archive: &Archive, wanted: &Wanted) -> Result<Vec<Proof>, ProveError> {
    let (column, id) = match wanted {
        Wanted::Event(id) => ("event_id", id),
        Wanted::Session(id) => ("session_id", id),
    };
    let note = archive.get(&log_name(CHECKPOINT_PATH))?;
    let (head, _) = Checkpoint::parse_note(&note)?;
    let note = String::from_utf8(note.to_vec()).map_err(|_| ProveError::Parts("head is not UTF-8"))?;
    let mut proofs = Vec::new();
    for table in Table::ALL {
        for name in archive.list(table.as_str())?.iter().filter(|name| parse_object_name(name).is_some()) {
            let failed = |source: ObjectError| ReadError::Object { name: name.clone(), source };
            let object = ObjectRows::open(table, archive.get(name)?).map_err(failed)?;
            for group in 0..object.row_groups() {
                let rows = matching(&object, group, column, id).map_err(failed)?;
                if proofs.len() + rows.len() > PROOFS_MAX {
                    let limit = u64::try_from(PROOFS_MAX).unwrap_or(u64::MAX);
                    return Err(ReadError::TooLarge { name: id.clone(), limit, unit: "proofs" }.into());
                }
                let mut maker = Maker { archive, name, object: &object, group, head: &head, note: &note };
                maker.make(&rows, &mut proofs)?;
            }
        }
    }
    if proofs.is_empty() { Err(ProveError::NotFound(id.clone())) } else { Ok(proofs) }
}

/// Rows of a row group whose `column` is `id`, and each one's event id.
fn matching(object: &ObjectRows, group: usize, column: &str, id: &str) -> Result<Vec<(usize, String)>, ObjectError> {
    let mut found = Vec::new();
    let mut first = 0;
    for batch in object.columns(group, &["event_id", "session_id"])? {
        let batch = batch?;
        let texts = |name: &str| {
            batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>()).cloned()
        };
        let (Some(ids), Some(keys)) = (texts("event_id"), texts(column)) else {
            return Err(ObjectError::NoGroup { group });
        };
        for row in (0..batch.num_rows()).filter(|row| !keys.is_null(*row) && keys.value(*row) == id) {
            found.push((first + row, if ids.is_null(row) { String::new() } else { ids.value(row).to_owned() }));
        }
        first += batch.num_rows();
    }
    Ok(found)
}

/// Makes proofs from one row group.
struct Maker<'a> {
    archive: &'a Archive,
    name: &'a str,
    object: &'a ObjectRows,
    group: usize,
    head: &'a Checkpoint,
    note: &'a str,
}

impl Maker<'_> {
    fn make(&mut self, rows: &[(usize, String)], proofs: &mut Vec<Proof>) -> Result<(), ProveError> {
        if rows.is_empty() {
            return Ok(());
        }
        let inputs = self.inputs()?;
        for batch in self.object.footer().batches.iter().filter(|batch| batch.count > 0) {
            let first = usize::try_from(batch.first_row_in_group).unwrap_or(usize::MAX);
            let end = first.saturating_add(usize::try_from(batch.count).unwrap_or(usize::MAX));
            let own = || rows.iter().filter(|(row, _)| (first..end).contains(row));
            let Some((row, _)) = own().next().filter(|_| usize::try_from(batch.row_group) == Ok(self.group)) else {
                continue;
            };
            let damaged =
                |what: &str| ProveError::Damaged { object: self.name.to_owned(), row: *row, what: what.to_owned() };
            let envelope =
                SealEnvelope::from_body(&batch.envelope).map_err(|_| damaged("its envelope is not canonical"))?;
            let Ok(Entry::Seal(seal)) = Entry::decode(&envelope.entry) else {
                return Err(damaged("its envelope holds no seal"));
            };
            let own_inputs = inputs.get(first..end).ok_or_else(|| damaged("rows of its batch are missing"))?;
            let leaves = own_inputs.iter().map(|(_, input)| leaf_hash(input)).collect();
            let tree = BatchTree::from_leaf_hashes(leaves).map_err(|_| damaged("its batch is too large"))?;
            if tree.root().as_bytes() != &seal.batch_root.0 {
                return Err(damaged("its batch does not lead to the sealed root"));
            }
            let index = u64::try_from(envelope.log_index).unwrap_or(u64::MAX);
            let path = self.log_path(index)?;
            let paths = tree.proofs();
            for (row, event_id) in own() {
                let Some((seq, input)) = inputs.get(*row) else { continue };
                let at = u64::try_from(row - first).unwrap_or(u64::MAX);
                let extra = EventExtra {
                    entry: envelope.entry.clone(),
                    index: at,
                    path: paths.inclusion_path(at).map_err(ProofFileError::Proof)?,
                    leaf_input: input.clone(),
                };
                let file = EntryProof {
                    extra: Some(extra.to_bytes()?),
                    index,
                    path: path.clone(),
                    checkpoint: self.note.to_owned(),
                };
                file.verify_entry(&extra.entry, self.head)?;
                extra.verify_event(tree.len().try_into().unwrap_or(u64::MAX), &tree.root())?;
                proofs.push(Proof {
                    event_id: event_id.clone(),
                    object: self.name.to_owned(),
                    place: format!("{}/{} seal {}", seal.topic, seal.partition, seal.seal_seq),
                    seq: *seq,
                    text: file.to_text(),
                });
            }
        }
        Ok(())
    }

    /// Number and leaf input of each row.
    fn inputs(&self) -> Result<Vec<(i64, Vec<u8>)>, ProveError> {
        let failed = |source: ObjectError| ReadError::Object { name: self.name.to_owned(), source };
        let columns = |error: columns::ColumnsError| failed(ObjectError::Columns(error.into()));
        let mut inputs = Vec::new();
        for batch in self.object.group(self.group).map_err(failed)? {
            let batch = batch.map_err(|error| failed(error.into()))?;
            let rows = Rows::new(self.object.table(), &batch).map_err(columns)?;
            for row in 0..rows.len() {
                let mut input = Vec::new();
                rows.leaf_input(row, self.object.footer().stream_id, &mut input).map_err(columns)?;
                inputs.push((rows.seq(row).map_err(columns)?, input));
            }
        }
        Ok(inputs)
    }

    fn log_path(&self, index: u64) -> Result<Vec<tlog::Hash>, ProveError> {
        let size = self.head.size();
        let tiles = inclusion_tiles(index, size).map_err(ProofFileError::Proof)?;
        let map = load(self.archive, size, &tiles)?;
        Ok(inclusion_proof(index, size, &map).map_err(ProofFileError::Proof)?)
    }
}

/// The proof that the archive's newest head extends the tree of size `old`.
///
/// # Errors
/// [`ProveError`].
pub fn prove_consistency(archive: &Archive, old: u64) -> Result<String, ProveError> {
    let note = archive.get(&log_name(CHECKPOINT_PATH))?;
    let (head, _) = Checkpoint::parse_note(&note)?;
    let tiles = consistency_tiles(old, head.size()).map_err(ProofFileError::Proof)?;
    let map = load(archive, head.size(), &tiles)?;
    let path = consistency_proof(old, head.size(), &map).map_err(ProofFileError::Proof)?;
    let checkpoint = String::from_utf8(note.to_vec()).map_err(|_| ProveError::Parts("head is not UTF-8"))?;
    Ok(ConsistencyFile { old, path, checkpoint }.to_text())
}

fn log_name(path: &str) -> String {
    format!("{LOG_PREFIX}/{path}")
}

fn load(archive: &Archive, size: u64, tiles: &[tlog::Tile]) -> Result<TileMap, ProveError> {
    let mut source = |path: &str| {
        let found = archive.find(&log_name(path));
        found.map(|found| found.map(|bytes| bytes.to_vec())).map_err(|error| tlog::ReadError::Store(Box::new(error)))
    };
    TileMap::load(size, tiles, &mut source)
        .map_err(|error| ReadError::Store { name: format!("{LOG_PREFIX}/tile"), source: Box::new(error) }.into())
}

/// What a proof file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Tree head it leads to.
    pub head: Checkpoint,
    /// Seal of the event's batch; `None` for a consistency proof.
    pub seal: Option<SealBody>,
    /// The event's leaf input; empty for a consistency proof.
    pub leaf_input: Vec<u8>,
    /// Times at which the given witnesses signed the head, seconds since the epoch.
    pub witnessed: Vec<(String, u64)>,
}

/// Checks a proof file offline: the event is in the batch, the batch's seal in the log, the log's head signed by `keys`.
/// A consistency file needs `old`, the older head, which must be signed too.
///
/// # Errors
/// [`ProveError`], with [`ProveError::code`].
pub fn check_proof(file: &[u8], origin: &str, keys: &[VerifierKey], old: Option<&[u8]>) -> Result<Proven, ProveError> {
    if file.len() > PROOF_FILE_BYTES_MAX {
        return Err(ProofFileError::TooLong(file.len()).into());
    }
    if file.starts_with(b"old ") {
        let consistency = ConsistencyFile::parse(file)?;
        let new = Checkpoint::open(consistency.checkpoint.as_bytes(), origin, keys)?;
        let old = old.ok_or(ProveError::Parts("a consistency proof needs the older head"))?;
        let old = Checkpoint::open(old, origin, keys)?.checkpoint;
        if old.size() != consistency.old {
            return Err(ProveError::Parts("the older head has another size"));
        }
        consistency.verify(old.root(), &new.checkpoint)?;
        return Ok(Proven { witnessed: witnessed(&new), head: new.checkpoint, seal: None, leaf_input: Vec::new() });
    }
    let proof = EntryProof::parse(file)?;
    let opened = Checkpoint::open(proof.checkpoint.as_bytes(), origin, keys)?;
    let extra = proof.extra.as_deref().ok_or(ProveError::Parts("there is no event in it"))?;
    let extra = EventExtra::from_bytes(extra)?;
    proof.verify_entry(&extra.entry, &opened.checkpoint)?;
    let Ok(Entry::Seal(seal)) = Entry::decode(&extra.entry) else {
        return Err(ProveError::Parts("the log entry is no seal"));
    };
    if seal.origin != origin {
        return Err(ProveError::Parts("the seal is of another log"));
    }
    let count = u64::try_from(seal.count).unwrap_or(0);
    extra.verify_event(count, &tlog::Hash::new(seal.batch_root.0))?;
    // after the hashes: a leaf of another shape has no such hash, but a reader of the file looks at these bytes
    let input = &extra.leaf_input;
    let stream = input.get(MAGIC.len()..MAGIC.len() + seal.stream_id.0.len());
    if input.len() < HEAD_LEN || !input.starts_with(&MAGIC) || stream != Some(&seal.stream_id.0[..]) {
        return Err(ProveError::Parts("the leaf is no event of this stream"));
    }
    Ok(Proven {
        witnessed: witnessed(&opened),
        head: opened.checkpoint,
        seal: Some(seal),
        leaf_input: extra.leaf_input,
    })
}

fn witnessed(opened: &tlog::Opened) -> Vec<(String, u64)> {
    let times = opened.verified.signatures.iter();
    times.filter_map(|signature| Some((signature.key.name().to_owned(), signature.time?))).collect()
}
