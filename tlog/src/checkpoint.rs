//! Checkpoints: the signed note whose text is origin, tree size and root, and nothing else.
//!
//! Extension lines are refused, because not every cosignature covers them. One text exists per size (I-09): the text
//! is a function of the three values, and parsing accepts no other spelling of them. Source: c2sp.org/tlog-checkpoint.

use std::fmt;

use crate::hash::Hash;
use crate::note::{KeyKind, Note, NoteError, NoteSignature, Verified, VerifierKey, is_key_name};
use crate::tree::{EMPTY_ROOT, TREE_SIZE_MAX};

/// Why a checkpoint is refused. A retry never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not three lines of the right form (T11).
    #[error("parse checkpoint: {0}")]
    Malformed(&'static str),
    /// The checkpoint is of another log (T12).
    #[error("open checkpoint: origin is `{got}`, not `{expected}`")]
    WrongOrigin {
        /// Origin in the checkpoint.
        got: String,
        /// Origin asked for.
        expected: String,
    },
    /// No trusted log key signed; cosignatures alone are not enough (T12).
    #[error("open checkpoint: no signature by a trusted key of the log")]
    NoLogSignature,
    /// The note itself is malformed, or a trusted key's signature is bad.
    #[error("open checkpoint note")]
    Note(#[from] NoteError),
}

impl CheckpointError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::WrongOrigin { .. } => "wrong_origin",
            Self::NoLogSignature => "no_trusted_signature",
            Self::Note(error) => error.kind(),
        }
    }
}

/// A tree head: what a checkpoint says. `to_string` is the note text, to be signed as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// Makes a tree head.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] if the origin is not a key name, the size is above 2^63 - 1, or the root of size 0
    /// is not [`EMPTY_ROOT`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_key_name(origin) {
            return Err(CheckpointError::Malformed("origin is empty, too long, or holds a space or a plus"));
        }
        if size > TREE_SIZE_MAX {
            return Err(CheckpointError::Malformed("tree size is above 2^63 - 1"));
        }
        if size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::Malformed("root of size 0 is not that of the empty tree"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads the text of a checkpoint: exactly three lines, each with its newline.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`], also for an extension line or a size with leading zeros.
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::Malformed;
        let mut lines = text.strip_suffix('\n').ok_or(bad("last newline is missing"))?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(bad("fewer than three lines"));
        };
        if lines.next().is_some() {
            return Err(bad("extension line"));
        }
        let size = parse_decimal(size).ok_or(bad("tree size is not a decimal number without leading zeros"))?;
        let root = Hash::from_base64(root).ok_or(bad("root is not 32 bytes of strict base64"))?;
        Self::new(origin, size, root)
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Tree size.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root hash at that size.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Puts the signed note together from signatures made elsewhere over this text.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] without signatures or with too many.
    pub fn to_note(&self, signatures: Vec<NoteSignature>) -> Result<Note, NoteError> {
        Note::new(self.to_string(), signatures)
    }

    /// Reads a checkpoint note without verifying anything. For places that verify later, never to be trusted as it is.
    ///
    /// # Errors
    /// [`CheckpointError::Note`], [`CheckpointError::Malformed`].
    pub fn parse_note(bytes: &[u8]) -> Result<(Self, Note), CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok((Self::parse_text(note.text())?, note))
    }

    /// Reads and verifies a checkpoint note: right origin, at least one good signature by a key of kind
    /// [`KeyKind::Ed25519`] named as the origin, no bad signature of any key in `keys` (log and witness keys together).
    /// Whether the quorum is met, and whether the key may sign this size, is for the caller to judge.
    ///
    /// # Errors
    /// Any [`CheckpointError`].
    pub fn open(bytes: &[u8], origin: &str, keys: &[VerifierKey]) -> Result<Opened, CheckpointError> {
        let (checkpoint, note) = Self::parse_note(bytes)?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::WrongOrigin { got: checkpoint.origin, expected: origin.to_owned() });
        }
        let verified = note.verify(keys)?;
        let by_log = |key: &VerifierKey| key.kind() == KeyKind::Ed25519 && key.name() == origin;
        if !verified.signatures.iter().any(|signature| by_log(&signature.key)) {
            return Err(CheckpointError::NoLogSignature);
        }
        Ok(Opened { checkpoint, note, verified })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())
    }
}

/// The outcome of [`Checkpoint::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The tree head.
    pub checkpoint: Checkpoint,
    /// The note it came in.
    pub note: Note,
    /// Who signed: at least one log key; cosignatures with their times; unknown lines.
    pub verified: Verified,
}

/// Reads a decimal number with no sign and no leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}
