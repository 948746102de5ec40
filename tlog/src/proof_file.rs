//! Proofs as files that tools of others can check.
//!
//! An event proof is a `c2sp.org/tlog-proof@v1` file for the seal's log entry; its `extra` carries the way from the event
//! to the seal. A consistency proof is the body of a C2SP tlog-witness `add-checkpoint` request. Nothing read here is
//! trusted until checked: `extra` is not signed, it only leads to the entry, which the checkpoint covers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, parse_decimal};
use crate::hash::{HASH_BYTES, Hash};
use crate::note::NOTE_BYTES_MAX;
use crate::proof::{CONSISTENCY_HASHES_MAX, INCLUSION_HASHES_MAX, ProofError, verify_consistency, verify_inclusion};
use crate::tile::ENTRY_BYTES_MAX;
use crate::tree::leaf_hash;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Largest proof file in bytes: room for a leaf input of about 24 MiB in base64 and the note.
pub const PROOF_FILE_BYTES_MAX: usize = 32 << 20;

/// Why a proof file is refused (T25). A retry never helps.
#[derive(Debug, thiserror::Error)]
pub enum ProofFileError {
    /// The text or the `extra` bytes break the format.
    #[error("parse proof file: {0}")]
    Malformed(&'static str),
    /// The file is longer than [`PROOF_FILE_BYTES_MAX`].
    #[error("parse proof file: {0} bytes, at most {PROOF_FILE_BYTES_MAX} are read")]
    TooLong(usize),
    /// A part does not fit the format's length fields.
    #[error("write proof file: {0} is too long")]
    Part(&'static str),
    /// The proof does not hold.
    #[error("check proof file")]
    Proof(#[from] ProofError),
}

impl ProofFileError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLong(_) => "too_long",
            Self::Part(_) => "part_too_long",
            Self::Proof(error) => error.kind(),
        }
    }
}

/// A tlog-proof: an entry's index and path, and the checkpoint note that covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProof {
    /// Opaque extra bytes, here an [`EventExtra`]; not authenticated by themselves.
    pub extra: Option<Vec<u8>>,
    /// Index of the entry in the log.
    pub index: u64,
    /// Inclusion path, sibling first; at most 63 hashes.
    pub path: Vec<Hash>,
    /// The checkpoint note, byte for byte.
    pub checkpoint: String,
}

impl EntryProof {
    /// Writes the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let extra = self.extra.as_ref().map(|bytes| format!("extra {}\n", STANDARD.encode(bytes))).unwrap_or_default();
        format!("{HEADER}\n{extra}index {}\n{}\n{}", self.index, hash_lines(&self.path), self.checkpoint)
    }

    /// Reads the file strictly. The checkpoint is cut out, not read: give it to [`Checkpoint::open`].
    ///
    /// # Errors
    /// [`ProofFileError::TooLong`], [`ProofFileError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let bad = ProofFileError::Malformed;
        let (head, checkpoint) = split_file(bytes)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(bad("first line is not the version"));
        }
        let mut line = lines.next().ok_or(bad("index line is missing"))?;
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            extra = Some(STANDARD.decode(data).map_err(|_| bad("extra is not strict base64"))?);
            line = lines.next().ok_or(bad("index line is missing"))?;
        }
        let index = line.strip_prefix("index ").and_then(parse_decimal).ok_or(bad("bad index line"))?;
        let path = parse_hash_lines(lines, INCLUSION_HASHES_MAX)?;
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that `entry` is in the log of this tree head, which the caller has opened from the file's checkpoint.
    ///
    /// # Errors
    /// [`ProofFileError::Proof`].
    pub fn verify_entry(&self, entry: &[u8], head: &Checkpoint) -> Result<(), ProofFileError> {
        Ok(verify_inclusion(&leaf_hash(entry), self.index, head.size(), &self.path, head.root())?)
    }
}

/// The way from an event to the log entry of its seal, carried in `extra`:
/// u16 entry length ‖ entry ‖ u64 index in batch ‖ u16 n ‖ n × 32-byte path ‖ u32 length ‖ leaf input, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventExtra {
    /// The log entry of the seal.
    pub entry: Vec<u8>,
    /// Index of the event in its batch.
    pub index: u64,
    /// Inclusion path in the batch, sibling first.
    pub path: Vec<Hash>,
    /// The event's leaf input.
    pub leaf_input: Vec<u8>,
}

impl EventExtra {
    /// Encodes the bytes of `extra`.
    ///
    /// # Errors
    /// [`ProofFileError::Part`] if the entry, path or leaf input does not fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ProofFileError> {
        let part = ProofFileError::Part;
        let mut out = Vec::new();
        out.extend_from_slice(&u16::try_from(self.entry.len()).map_err(|_| part("entry"))?.to_be_bytes());
        out.extend_from_slice(&self.entry);
        out.extend_from_slice(&self.index.to_be_bytes());
        if self.path.len() > INCLUSION_HASHES_MAX {
            return Err(part("path"));
        }
        out.extend_from_slice(&u16::try_from(self.path.len()).map_err(|_| part("path"))?.to_be_bytes());
        for hash in &self.path {
            out.extend_from_slice(hash.as_bytes());
        }
        out.extend_from_slice(&u32::try_from(self.leaf_input.len()).map_err(|_| part("leaf input"))?.to_be_bytes());
        out.extend_from_slice(&self.leaf_input);
        Ok(out)
    }

    /// Decodes strictly: every byte belongs to a field.
    ///
    /// # Errors
    /// [`ProofFileError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let bad = ProofFileError::Malformed;
        let short = || bad("extra ends early");
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(short)?;
        debug_assert!(entry.len() <= ENTRY_BYTES_MAX);
        let (index, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (count, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let count = usize::from(u16::from_be_bytes(*count));
        if count > INCLUSION_HASHES_MAX {
            return Err(bad("path in extra is too long"));
        }
        let (path, rest) = rest.split_at_checked(count * HASH_BYTES).ok_or_else(short)?;
        let (length, leaf_input) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        if u64::try_from(leaf_input.len()) != Ok(u64::from(u32::from_be_bytes(*length))) {
            return Err(bad("leaf input in extra has another length"));
        }
        Ok(Self {
            entry: entry.to_vec(),
            index: u64::from_be_bytes(*index),
            path: path.as_chunks().0.iter().copied().map(Hash::new).collect(),
            leaf_input: leaf_input.to_vec(),
        })
    }

    /// Checks that the event is in its batch; count and root come from the decoded seal entry.
    ///
    /// # Errors
    /// [`ProofFileError::Proof`].
    pub fn verify_event(&self, batch_count: u64, batch_root: &Hash) -> Result<(), ProofFileError> {
        Ok(verify_inclusion(&leaf_hash(&self.leaf_input), self.index, batch_count, &self.path, batch_root)?)
    }
}

/// A consistency proof file: `old <size>`, hash lines, an empty line, the newer checkpoint note. It can be posted to a
/// witness as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyFile {
    /// The older size.
    pub old: u64,
    /// The proof; at most 64 hashes.
    pub path: Vec<Hash>,
    /// The newer checkpoint note, byte for byte.
    pub checkpoint: String,
}

impl ConsistencyFile {
    /// Writes the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("old {}\n{}\n{}", self.old, hash_lines(&self.path), self.checkpoint)
    }

    /// Reads the file strictly.
    ///
    /// # Errors
    /// [`ProofFileError::TooLong`], [`ProofFileError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let (head, checkpoint) = split_file(bytes)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(parse_decimal);
        let old = old.ok_or(ProofFileError::Malformed("bad line of the old size"))?;
        let path = parse_hash_lines(lines, CONSISTENCY_HASHES_MAX)?;
        Ok(Self { old, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that `new` (opened from the file's checkpoint) extends the tree of size [`ConsistencyFile::old`] with
    /// this root.
    ///
    /// # Errors
    /// [`ProofFileError::Proof`].
    pub fn verify(&self, old_root: &Hash, new: &Checkpoint) -> Result<(), ProofFileError> {
        Ok(verify_consistency(self.old, new.size(), &self.path, old_root, new.root())?)
    }
}

fn hash_lines(hashes: &[Hash]) -> String {
    let mut out = String::with_capacity(hashes.len() * 45);
    for hash in hashes {
        // Writing to a String cannot fail.
        let _ok: std::fmt::Result = writeln!(out, "{}", hash.to_base64());
    }
    out
}

fn parse_hash_lines<'a>(lines: impl Iterator<Item = &'a str>, limit: usize) -> Result<Vec<Hash>, ProofFileError> {
    let mut path = Vec::new();
    for line in lines {
        if path.len() == limit {
            return Err(ProofFileError::Malformed("too many hash lines"));
        }
        path.push(Hash::from_base64(line).ok_or(ProofFileError::Malformed("hash line is not 32 bytes of base64"))?);
    }
    Ok(path)
}

/// Cuts a proof file at its first empty line.
fn split_file(bytes: &[u8]) -> Result<(&str, &str), ProofFileError> {
    if bytes.len() > PROOF_FILE_BYTES_MAX {
        return Err(ProofFileError::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ProofFileError::Malformed("not UTF-8"))?;
    let (head, note) = text.split_once("\n\n").ok_or(ProofFileError::Malformed("no empty line before checkpoint"))?;
    if note.len() > NOTE_BYTES_MAX {
        return Err(ProofFileError::Malformed("checkpoint is too long"));
    }
    Ok((head, note))
}
