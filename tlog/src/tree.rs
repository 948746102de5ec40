//! RFC 6962 hashing: leaves, nodes, roots, and the two trees the line needs.
//!
//! [`Frontier`] is what a writer of an endless log keeps (at most 64 hashes); [`BatchTree`] is what a sealed batch needs
//! (all leaf hashes, so that paths and the 256-row node hashes can be given). Both must give the same root, I-13.
//! Source: RFC 6962 section 2.1. Odd nodes are promoted, never duplicated.

use sha2::{Digest as _, Sha256};

use crate::hash::{HASH_BYTES, Hash};
use crate::proof::{HashReader, ProofError, ReadError, inclusion_proof};

/// Root of the empty tree: SHA-256 of no bytes.
pub const EMPTY_ROOT: Hash = Hash::new([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Largest tree size accepted from outside: 2^63 - 1, because sizes also travel as Avro `long`.
pub const TREE_SIZE_MAX: u64 = u64::MAX >> 1;

/// Most leaves of one batch (`SealBody.count`).
pub const BATCH_LEAVES_MAX: usize = 1 << 20;

/// Leaves under one level-8 node.
pub const GROUP_LEAVES: usize = 256;

/// Why a tree cannot be built or restored. Never worth a retry with the same input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The stored frontier has a wrong length, or its size is above [`TREE_SIZE_MAX`].
    #[error("restore frontier of size {size}: {hashes} hashes where {expected} are needed")]
    Frontier {
        /// Size the frontier claims.
        size: u64,
        /// Hashes it brought.
        hashes: usize,
        /// Hashes such a size needs; 0 if the size itself is refused.
        expected: usize,
    },
    /// The stored bytes are not a frontier (size, then whole hashes).
    #[error("restore frontier from {0} bytes: not 8 + 32 n")]
    FrontierBytes(usize),
    /// A batch would hold more than [`BATCH_LEAVES_MAX`] leaves.
    #[error("add leaf to batch: already {BATCH_LEAVES_MAX} leaves")]
    BatchFull,
}

impl TreeError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Frontier { .. } | Self::FrontierBytes(_) => "frontier",
            Self::BatchFull => "batch_full",
        }
    }
}

/// Hashes one leaf: SHA-256(00 ‖ data). No allocation.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    leaf_hash_parts(&[data])
}

/// Hashes one leaf that lies in several pieces, without joining them: SHA-256(00 ‖ parts).
#[must_use]
pub fn leaf_hash_parts(parts: &[&[u8]]) -> Hash {
    let mut hasher = LeafHasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// Hashes one leaf piece by piece; the pieces may be cut anywhere.
#[derive(Clone, Debug)]
pub struct LeafHasher(Sha256);

impl LeafHasher {
    /// Starts a leaf (the 00 prefix is already in).
    #[must_use]
    pub fn new() -> Self {
        let mut sha = Sha256::new();
        sha.update([0_u8]);
        Self(sha)
    }

    /// Adds bytes of the leaf.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// Gives the leaf hash.
    #[must_use]
    pub fn finish(self) -> Hash {
        Hash::new(self.0.finalize().into())
    }
}

impl Default for LeafHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// Hashes an inner node: SHA-256(01 ‖ left ‖ right). No allocation.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut sha = Sha256::new();
    sha.update([1_u8]);
    sha.update(left.as_bytes());
    sha.update(right.as_bytes());
    Hash::new(sha.finalize().into())
}

/// Hashes many leaves in order, appending to `out`; allocates only when `out` must grow.
pub fn hash_leaves<I>(leaves: I, out: &mut Vec<Hash>)
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let leaves = leaves.into_iter();
    out.reserve(leaves.size_hint().0);
    out.extend(leaves.map(|leaf| leaf_hash(leaf.as_ref())));
}

/// The Merkle tree hash (MTH) over leaf hashes. Over the 256-row hashes of [`BatchTree::group_hashes`] it gives the
/// same root, since RFC 6962 splits at powers of two.
#[must_use]
pub fn root_of(leaf_hashes: &[Hash]) -> Hash {
    crate::lanes::root(leaf_hashes).unwrap_or(EMPTY_ROOT)
}

/// The right edge of a growing tree: the roots of its complete subtrees, largest first.
///
/// Holds at most 64 hashes at any size. Append is amortised one node hash; `root` at most 63.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, nodes: Vec::new() }
    }

    /// The frontier after these leaf hashes.
    #[must_use]
    pub fn from_leaves(leaf_hashes: &[Hash]) -> Self {
        let mut frontier = Self::new();
        for leaf in leaf_hashes {
            frontier.append(*leaf);
        }
        frontier
    }

    /// Restores from [`Frontier::size`] and [`Frontier::hashes`]. Compare [`Frontier::root`] with a trusted root after.
    ///
    /// # Errors
    /// [`TreeError::Frontier`] if the number of hashes is not the number of one bits of `size`, or `size` is above
    /// [`TREE_SIZE_MAX`].
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, TreeError> {
        let needed = usize::try_from(size.count_ones()).unwrap_or(usize::MAX);
        if size > TREE_SIZE_MAX {
            return Err(TreeError::Frontier { size, hashes: hashes.len(), expected: 0 });
        }
        if hashes.len() != needed {
            return Err(TreeError::Frontier { size, hashes: hashes.len(), expected: needed });
        }
        Ok(Self { size, nodes: hashes })
    }

    /// Restores from [`Frontier::to_bytes`].
    ///
    /// # Errors
    /// [`TreeError::FrontierBytes`] for a wrong length, [`TreeError::Frontier`] as in [`Frontier::from_parts`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TreeError> {
        let bad = || TreeError::FrontierBytes(bytes.len());
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
        let (hashes, left) = rest.as_chunks::<HASH_BYTES>();
        if !left.is_empty() || hashes.len() > 64 {
            return Err(bad());
        }
        Self::from_parts(u64::from_be_bytes(*size), hashes.iter().copied().map(Hash::new).collect())
    }

    /// Serialises: u64 size big-endian, then the hashes, largest subtree first. At most 8 + 64 * 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.nodes.len() * HASH_BYTES);
        out.extend_from_slice(&self.size.to_be_bytes());
        for node in &self.nodes {
            out.extend_from_slice(node.as_bytes());
        }
        out
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first; as many as `size` has one bits.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Adds a leaf hash at index [`Frontier::size`]. The size cannot overflow: a restored one is below 2^63, and as many
    /// appends again would take tens of thousands of years.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut bits = self.size;
        while bits & 1 == 1 {
            let Some(left) = self.nodes.pop() else { break };
            hash = node_hash(&left, &hash);
            bits >>= 1;
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// Root of the tree so far; [`EMPTY_ROOT`] if empty.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else { return EMPTY_ROOT };
        nodes.fold(*last, |right, left| node_hash(left, &right))
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

/// The tree of one sealed batch; keeps every leaf hash (32 bytes each, at most [`BATCH_LEAVES_MAX`]).
#[derive(Clone, Debug, Default)]
pub struct BatchTree {
    leaves: Vec<Hash>,
    frontier: Frontier,
}

impl BatchTree {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of these leaf hashes, in order.
    ///
    /// # Errors
    /// [`TreeError::BatchFull`] above [`BATCH_LEAVES_MAX`].
    pub fn from_leaf_hashes(leaves: Vec<Hash>) -> Result<Self, TreeError> {
        if leaves.len() > BATCH_LEAVES_MAX {
            return Err(TreeError::BatchFull);
        }
        let frontier = Frontier::from_leaves(&leaves);
        Ok(Self { leaves, frontier })
    }

    /// Adds a leaf hash.
    ///
    /// # Errors
    /// [`TreeError::BatchFull`] at [`BATCH_LEAVES_MAX`]; the batch is unchanged.
    pub fn push(&mut self, leaf: Hash) -> Result<(), TreeError> {
        if self.leaves.len() >= BATCH_LEAVES_MAX {
            return Err(TreeError::BatchFull);
        }
        self.leaves.push(leaf);
        self.frontier.append(leaf);
        Ok(())
    }

    /// Number of leaves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// True for no leaves (a heartbeat's batch).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The leaf hashes, in order.
    #[must_use]
    pub fn leaf_hashes(&self) -> &[Hash] {
        &self.leaves
    }

    /// The batch root; [`EMPTY_ROOT`] if empty. Cheap at any time.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The level-8 node hashes, one per 256 rows, the last over what is left; [`root_of`] them is [`BatchTree::root`].
    #[must_use]
    pub fn group_hashes(&self) -> Vec<Hash> {
        self.leaves.chunks(GROUP_LEAVES).map(root_of).collect()
    }

    /// Row ranges of 256 whose hash differs from the archived `group_hashes`; a missing or extra group counts as
    /// different. Meaningful only once [`root_of`] the archived ones equals the sealed root.
    #[must_use]
    pub fn differing_groups(&self, archived: &[Hash]) -> Vec<std::ops::Range<usize>> {
        let own = self.group_hashes();
        (0..own.len().max(archived.len()))
            .filter(|group| own.get(*group) != archived.get(*group))
            .map(|group| group * GROUP_LEAVES..(group + 1) * GROUP_LEAVES)
            .collect()
    }

    /// The inclusion path of a leaf in this batch, sibling first. Costs one pass of node hashes over the batch.
    ///
    /// # Errors
    /// [`ProofError::IndexOutside`] if `index` is not below [`BatchTree::len`].
    pub fn inclusion_path(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        inclusion_proof(index, self.frontier.size(), self)
    }
}

/// All whole subtrees of a batch, computed once: for many proofs of one batch. Twice the memory of the leaves.
#[derive(Debug, Clone)]
pub struct BatchProofs {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl BatchTree {
    /// Computes every whole subtree.
    #[must_use]
    pub fn proofs(&self) -> BatchProofs {
        let mut levels = vec![self.leaves.clone()];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let pairs = below.chunks_exact(2);
            let above = pairs.filter_map(|pair| Some(node_hash(pair.first()?, pair.get(1)?))).collect();
            levels.push(above);
        }
        BatchProofs { size: self.frontier.size(), levels }
    }
}

impl BatchProofs {
    /// As [`BatchTree::inclusion_path`].
    ///
    /// # Errors
    /// [`ProofError::IndexOutside`] if `index` is not below the number of leaves.
    pub fn inclusion_path(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        inclusion_proof(index, self.size, self)
    }
}

impl HashReader for BatchProofs {
    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError> {
        let found = usize::try_from(index).ok().and_then(|index| self.levels.get(usize::from(level))?.get(index));
        found.copied().ok_or(ReadError::Missing { level, index })
    }
}

impl HashReader for BatchTree {
    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError> {
        let missing = || ReadError::Missing { level, index };
        let width = 1_u64.checked_shl(level.into()).ok_or_else(missing)?;
        let start = index.checked_mul(width).ok_or_else(missing)?;
        let end = start.checked_add(width).ok_or_else(missing)?;
        let range = usize::try_from(start).map_err(|_| missing())?..usize::try_from(end).map_err(|_| missing())?;
        Ok(root_of(self.leaves.get(range).ok_or_else(missing)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_of_a_batch_are_those_of_its_tree() {
        for count in 1..70 {
            let tree = BatchTree::from_leaf_hashes(leaves(count)).unwrap();
            let proofs = tree.proofs();
            for index in 0..u64::from(count) {
                assert_eq!(proofs.inclusion_path(index).unwrap(), tree.inclusion_path(index).unwrap());
            }
            assert!(proofs.inclusion_path(u64::from(count)).is_err());
        }
    }

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        assert_eq!(leaf_hash_parts(&[b"ab", b"", b"c"]), leaf_hash(b"abc"));
        let mut out = Vec::new();
        hash_leaves(["a", "b"], &mut out);
        assert_eq!(out, [leaf_hash(b"a"), leaf_hash(b"b")]);
        assert_ne!(leaf_hash(b""), EMPTY_ROOT, "a leaf is prefixed");
    }

    #[test]
    fn frontier_restores_and_refuses_wrong_shapes() {
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), EMPTY_ROOT);
        for leaf in leaves(1000) {
            frontier.append(leaf);
            let back = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
            assert_eq!(back, frontier);
        }
        let mut bytes = frontier.to_bytes();
        bytes.push(0);
        assert_eq!(Frontier::from_bytes(&bytes), Err(TreeError::FrontierBytes(bytes.len())));
        bytes.truncate(bytes.len() - 33);
        assert!(matches!(Frontier::from_bytes(&bytes), Err(TreeError::Frontier { size: 1000, .. })));
        assert!(Frontier::from_bytes(&[0; 7]).is_err());
        assert!(Frontier::from_parts(u64::MAX, vec![Hash::ZERO; 64]).is_err());
    }

    #[test]
    fn group_hashes_lead_to_the_root_and_show_the_place() {
        for count in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000] {
            let tree = BatchTree::from_leaf_hashes(leaves(count)).unwrap();
            assert_eq!(root_of(&tree.group_hashes()), tree.root(), "{count} leaves");
        }
        let good = BatchTree::from_leaf_hashes(leaves(1000)).unwrap();
        let mut bad = leaves(1000);
        bad[300] = Hash::ZERO;
        let bad = BatchTree::from_leaf_hashes(bad).unwrap();
        assert_eq!(bad.differing_groups(&good.group_hashes()), vec![256..512]);
        assert!(good.differing_groups(&good.group_hashes()).is_empty());
    }

    #[test]
    fn batch_has_a_limit() {
        let mut tree = BatchTree::from_leaf_hashes(vec![Hash::ZERO; BATCH_LEAVES_MAX]).unwrap();
        assert_eq!(tree.push(Hash::ZERO), Err(TreeError::BatchFull));
        assert_eq!(tree.len(), BATCH_LEAVES_MAX);
        assert!(BatchTree::from_leaf_hashes(vec![Hash::ZERO; BATCH_LEAVES_MAX + 1]).is_err());
        assert!(tree.inclusion_path(BATCH_LEAVES_MAX as u64).is_err());
    }
}
