//! Inclusion and consistency proofs: made from any reader of node hashes, checked from nothing but the proof.
//!
//! Proofs come from the tree only (never from the chain of seals), I-14. The checks are strict: one hash too many, one
//! too few, a wrong size or index is an error, never "close enough". Sources: RFC 6962 sections 2.1.1 and 2.1.2; the
//! checking algorithms are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::hash::Hash;
use crate::tile::Tile;
use crate::tree::{EMPTY_ROOT, TREE_SIZE_MAX, node_hash};

/// Most hashes of an inclusion path (tree of 2^63 leaves).
pub const INCLUSION_HASHES_MAX: usize = 63;
/// Most hashes of a consistency proof; C2SP tlog-witness has the same bound.
pub const CONSISTENCY_HASHES_MAX: usize = 64;

/// Why a node hash could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store does not hold the node: not there yet, removed, or a file too short.
    #[error("read node at level {level}, index {index}: not there")]
    Missing {
        /// Tree level, 0 = leaf hashes.
        level: u8,
        /// Index within the level.
        index: u64,
    },
    /// There is no such file.
    #[error("find the file")]
    NoFile,
    /// The store failed; a retry may help.
    #[error("read from the tile store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a proof cannot be made or does not hold (T25).
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The leaf index is not below the tree size.
    #[error("prove inclusion of index {index} in a tree of size {size}: index outside")]
    IndexOutside {
        /// Leaf index asked.
        index: u64,
        /// Tree size.
        size: u64,
    },
    /// The old size is above the new one, or the size is above 2^63 - 1.
    #[error("prove consistency of size {old} with size {new}: sizes out of order")]
    SizesOutOfOrder {
        /// Older tree size.
        old: u64,
        /// Newer tree size.
        new: u64,
    },
    /// The proof does not have the length that index and size ask for.
    #[error("check proof: {got} hashes where {expected} are needed")]
    WrongLength {
        /// Hashes in the proof.
        got: usize,
        /// Hashes needed.
        expected: usize,
    },
    /// The proof leads to another root.
    #[error("check proof: leads to root {got}, not {expected}")]
    WrongRoot {
        /// Root the proof leads to.
        got: Hash,
        /// Root it should lead to.
        expected: Hash,
    },
    /// A node needed to make the proof could not be read.
    #[error("make proof")]
    Read(#[from] ReadError),
}

impl ProofError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::IndexOutside { .. } => "index_outside",
            Self::SizesOutOfOrder { .. } => "sizes_out_of_order",
            Self::WrongLength { .. } => "wrong_length",
            Self::WrongRoot { .. } => "wrong_root",
            Self::Read(ReadError::Missing { .. } | ReadError::NoFile) => "node_missing",
            Self::Read(ReadError::Store(_)) => "store",
        }
    }
}

/// Gives the hash of a complete subtree.
///
/// Synchronous on purpose: an async caller asks [`inclusion_tiles`] or [`consistency_tiles`] what is needed, fetches
/// it, and then reads from a [`crate::TileMap`].
pub trait HashReader {
    /// Hash over leaves `index * 2^level .. (index + 1) * 2^level`; level 0 is the leaf hash. Level is below 63.
    ///
    /// # Errors
    /// [`ReadError`] if the node is not there or the store fails.
    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError>;
}

/// Hash over leaves `start..end` of the tree, where the range is one that RFC 6962 splitting from 0 produces.
fn range_hash(start: u64, end: u64, reader: &dyn HashReader) -> Result<Hash, ReadError> {
    let width = end - start;
    if width.is_power_of_two() {
        // start is a multiple of width: every split point is a multiple of all smaller powers of two.
        #[allow(clippy::cast_possible_truncation)] // trailing_zeros of a u64 is at most 64
        let level = width.trailing_zeros() as u8;
        return reader.node(level, start >> level);
    }
    let middle = start + split(width);
    Ok(node_hash(&range_hash(start, middle, reader)?, &range_hash(middle, end, reader)?))
}

/// Largest power of two below `width`; `width` is at least 2.
fn split(width: u64) -> u64 {
    1 << (63 - (width - 1).leading_zeros())
}

/// Root of the first `size` leaves, from any reader that holds them.
///
/// # Errors
/// [`ProofError::Read`] if a node is missing, [`ProofError::SizesOutOfOrder`] above 2^63 - 1.
pub fn root_at(size: u64, reader: &dyn HashReader) -> Result<Hash, ProofError> {
    match size {
        0 => Ok(EMPTY_ROOT),
        1..=TREE_SIZE_MAX => Ok(range_hash(0, size, reader)?),
        _ => Err(ProofError::SizesOutOfOrder { old: size, new: TREE_SIZE_MAX }),
    }
}

/// Makes the inclusion proof of leaf `index` in the tree of `size` leaves, sibling first (RFC 6962 section 2.1.1).
///
/// # Errors
/// [`ProofError::IndexOutside`] if `index >= size` or the size is above 2^63 - 1; [`ProofError::Read`].
pub fn inclusion_proof(index: u64, size: u64, reader: &dyn HashReader) -> Result<Vec<Hash>, ProofError> {
    if index >= size || size > TREE_SIZE_MAX {
        return Err(ProofError::IndexOutside { index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_hash(middle, end, reader)?);
            end = middle;
        } else {
            path.push(range_hash(start, middle, reader)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Makes the proof that the tree of `new` leaves extends the tree of `old` leaves (RFC 6962 section 2.1.2).
/// Empty if `old` is 0 or equals `new`.
///
/// # Errors
/// [`ProofError::SizesOutOfOrder`] if `old > new` or `new` is above 2^63 - 1; [`ProofError::Read`].
pub fn consistency_proof(old: u64, new: u64, reader: &dyn HashReader) -> Result<Vec<Hash>, ProofError> {
    if old > new || new > TREE_SIZE_MAX {
        return Err(ProofError::SizesOutOfOrder { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    // Walk down to the subtree that ends at `old`, keeping the sibling at each step.
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_hash(middle, end, reader)?);
            end = middle;
        } else {
            path.push(range_hash(start, middle, reader)?);
            start = middle;
        }
    }
    // If that subtree is the whole old tree the checker knows its hash already.
    if start != 0 {
        path.push(range_hash(start, end, reader)?);
    }
    path.reverse();
    Ok(path)
}

/// Computes the root that an inclusion proof leads to. Use it where the expected root comes from elsewhere.
///
/// # Errors
/// [`ProofError::IndexOutside`], [`ProofError::WrongLength`].
pub fn root_from_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size || size > TREE_SIZE_MAX {
        return Err(ProofError::IndexOutside { index, size });
    }
    let expected = inclusion_length(index, size);
    if path.len() != expected {
        return Err(ProofError::WrongLength { got: path.len(), expected });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A promoted node (left child at the right edge) skips the levels where it has no sibling.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    Ok(hash)
}

/// Number of hashes in the inclusion proof of `index` in a tree of `size`: all levels below the point where the paths
/// to `index` and to the last leaf meet, then one per complete subtree to the left of it.
fn inclusion_length(index: u64, size: u64) -> usize {
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    usize::try_from(inner + border).unwrap_or(usize::MAX)
}

/// Checks that `leaf` is at `index` in the tree with this size and root.
///
/// # Errors
/// [`ProofError::IndexOutside`], [`ProofError::WrongLength`] (extra or missing hashes), [`ProofError::WrongRoot`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), ProofError> {
    same_root(root_from_inclusion(leaf, index, size, path)?, root)
}

/// Checks that the tree (`new`, `new_root`) extends the tree (`old`, `old_root`).
///
/// `old` may be 0 (then `old_root` must be [`EMPTY_ROOT`]) and may equal `new` (then the roots must be equal); the proof
/// is empty in both cases.
///
/// # Errors
/// [`ProofError::SizesOutOfOrder`], [`ProofError::WrongLength`], [`ProofError::WrongRoot`].
pub fn verify_consistency(
    old: u64,
    new: u64,
    path: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old > new || new > TREE_SIZE_MAX {
        return Err(ProofError::SizesOutOfOrder { old, new });
    }
    let expected = consistency_length(old, new);
    if path.len() != expected {
        return Err(ProofError::WrongLength { got: path.len(), expected });
    }
    if old == 0 {
        if new == 0 {
            same_root(*new_root, &EMPTY_ROOT)?;
        }
        return same_root(*old_root, &EMPTY_ROOT);
    }
    if old == new {
        return same_root(*old_root, new_root);
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut rest = path.iter();
    // An old size that is a power of two is itself a node of the new tree, and is left out of the proof.
    let start = if old.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(start) = start else { return Err(ProofError::WrongLength { got: 0, expected }) };
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in rest {
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    same_root(old_hash, old_root)?;
    same_root(new_hash, new_root)
}

/// Number of hashes in the consistency proof: the inclusion proof of the old tree's last complete subtree, and that
/// subtree itself unless it is the whole old tree.
fn consistency_length(old: u64, new: u64) -> usize {
    if old == 0 || old == new {
        return 0;
    }
    let level = old.trailing_zeros();
    let path = inclusion_length((old - 1) >> level, ((new - 1) >> level) + 1);
    path + usize::from(!old.is_power_of_two())
}

fn same_root(got: Hash, expected: &Hash) -> Result<(), ProofError> {
    if got == *expected { Ok(()) } else { Err(ProofError::WrongRoot { got, expected: *expected }) }
}

/// Notes which tiles are asked for and answers nothing useful.
struct TilePlan {
    size: u64,
    tiles: RefCell<BTreeSet<Tile>>,
}

impl HashReader for TilePlan {
    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError> {
        let tile = Tile::holding(level, index, self.size).ok_or(ReadError::Missing { level, index })?;
        self.tiles.borrow_mut().insert(tile);
        Ok(Hash::ZERO)
    }
}

fn plan(size: u64, make: impl FnOnce(&TilePlan) -> Result<(), ProofError>) -> Result<Vec<Tile>, ProofError> {
    let plan = TilePlan { size, tiles: RefCell::default() };
    make(&plan)?;
    Ok(plan.tiles.into_inner().into_iter().collect())
}

/// The tiles (of the log at `size`) that [`inclusion_proof`] reads: fetch them, then prove from a [`crate::TileMap`].
///
/// # Errors
/// [`ProofError::IndexOutside`].
pub fn inclusion_tiles(index: u64, size: u64) -> Result<Vec<Tile>, ProofError> {
    plan(size, |reader| inclusion_proof(index, size, reader).map(drop))
}

/// The tiles (of the log at `new`) that [`consistency_proof`] reads.
///
/// # Errors
/// [`ProofError::SizesOutOfOrder`].
pub fn consistency_tiles(old: u64, new: u64) -> Result<Vec<Tile>, ProofError> {
    plan(new, |reader| consistency_proof(old, new, reader).map(drop))
}

/// The tiles from which [`root_at`] computes the root at `size`.
///
/// # Errors
/// [`ProofError::SizesOutOfOrder`] above 2^63 - 1.
pub fn root_tiles(size: u64) -> Result<Vec<Tile>, ProofError> {
    plan(size, |reader| root_at(size, reader).map(drop))
}
