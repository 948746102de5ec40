//! Many leaves or nodes at once: two hashes in turn, block by block.
//!
//! One SHA-256 is a chain of dependent instructions that leaves a core's hash unit idle most of the time. Two
//! independent ones, advanced in turn, overlap in the core without any code of its own for it. The results are those of
//! [`crate::leaf_hash`] and [`crate::node_hash`], which a test compares.

use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;

use crate::hash::{HASH_BYTES, Hash};

/// Bytes of one SHA-256 block.
const BLOCK: usize = 64;
/// First state (FIPS 180-4, section 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// One message, prefix and data, on its way through SHA-256.
struct Lane<'a> {
    prefix: u8,
    data: &'a [u8],
    state: [u32; 8],
    next: usize,
    blocks: usize,
    block: GenericArray<u8, U64>,
}

impl<'a> Lane<'a> {
    fn new(prefix: u8, data: &'a [u8]) -> Self {
        // prefix, data, the bit that ends it, its length in 8 bytes
        let blocks = (1 + data.len() + 1 + 8).div_ceil(BLOCK);
        Self { prefix, data, state: START, next: 0, blocks, block: GenericArray::default() }
    }

    /// Takes the next block; nothing after the last.
    #[inline]
    fn step(&mut self) {
        if self.next >= self.blocks {
            return;
        }
        // the message is one byte longer than the data and begins with the prefix
        let from = (self.next * BLOCK).saturating_sub(1);
        let at = usize::from(self.next == 0);
        if at == 1
            && let Some(first) = self.block.first_mut()
        {
            *first = self.prefix;
        }
        let rest = self.data.get(from..).unwrap_or_default();
        let room = self.block.get_mut(at..).unwrap_or_default();
        if let Some(data) = rest.get(..room.len()) {
            room.copy_from_slice(data);
        } else {
            let (copy, pad) = room.split_at_mut(rest.len());
            copy.copy_from_slice(rest);
            pad.fill(0);
            // the ending bit stands in the block where the data ends
            if from <= self.data.len()
                && let Some(first) = pad.first_mut()
            {
                *first = 0x80;
            }
            if self.next + 1 == self.blocks
                && let Some(length) = self.block.last_chunk_mut::<8>()
            {
                let bits = u64::try_from(self.data.len() + 1).unwrap_or(u64::MAX).saturating_mul(8);
                *length = bits.to_be_bytes();
            }
        }
        compress256(&mut self.state, std::slice::from_ref(&self.block));
        self.next += 1;
    }

    fn hash(&self) -> Hash {
        let mut out = [0; HASH_BYTES];
        for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *to = word.to_be_bytes();
        }
        Hash::new(out)
    }
}

/// SHA-256 of `prefix` and each of two messages.
fn pair(prefix: u8, first: &[u8], second: &[u8]) -> [Hash; 2] {
    let (mut first, mut second) = (Lane::new(prefix, first), Lane::new(prefix, second));
    for _ in 0..first.blocks.max(second.blocks) {
        first.step();
        second.step();
    }
    [first.hash(), second.hash()]
}

/// Hashes the leaves that lie one after the other in `data`, each ending where `ends` says, and appends them to `out`.
/// An end before the one before, or after the data, gives the hash of an empty leaf.
pub fn leaf_hashes(data: &[u8], ends: &[usize], out: &mut Vec<Hash>) {
    out.reserve(ends.len());
    let mut from = 0;
    let mut leaf = |end: usize| {
        let leaf = data.get(from..end).unwrap_or_default();
        from = end;
        leaf
    };
    for two in ends.chunks(2) {
        match *two {
            [first, second] => {
                let (first, second) = (leaf(first), leaf(second));
                out.extend(pair(0, first, second));
            }
            [last] => out.push(crate::tree::leaf_hash(leaf(last))),
            _ => {}
        }
    }
}

/// The Merkle tree hash over leaf hashes, level by level; odd nodes are promoted. `None` for no leaf.
pub(crate) fn root(leaves: &[Hash]) -> Option<Hash> {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        let mut above = Vec::with_capacity(level.len().div_ceil(2));
        for four in level.chunks(4) {
            match four {
                [a, b, c, d] => above.extend(pair(1, &node(a, b), &node(c, d))),
                [a, b, rest @ ..] => {
                    above.push(crate::tree::node_hash(a, b));
                    above.extend(rest);
                }
                rest => above.extend(rest),
            }
        }
        level = above;
    }
    level.first().copied()
}

fn node(left: &Hash, right: &Hash) -> [u8; 2 * HASH_BYTES] {
    let mut out = [0; 2 * HASH_BYTES];
    let (first, second) = out.split_at_mut(HASH_BYTES);
    first.copy_from_slice(left.as_bytes());
    second.copy_from_slice(right.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Frontier, leaf_hash};

    #[test]
    fn lanes_give_the_same_hashes() {
        let data: Vec<u8> = (0..80_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let mut ends = Vec::new();
        let mut end = 0;
        // every length around the borders of a block, next to others
        for length in (0..300).chain([4096, 0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 1000]) {
            end += length;
            ends.push(end);
        }
        let mut hashes = Vec::new();
        leaf_hashes(&data, &ends, &mut hashes);
        let mut from = 0;
        for (hash, end) in hashes.iter().zip(&ends) {
            assert_eq!(*hash, leaf_hash(&data[from..*end]), "{} bytes", end - from);
            from = *end;
        }
        assert_eq!(hashes.len(), ends.len());
        for count in 0..hashes.len() {
            let leaves = &hashes[..count];
            assert_eq!(root(leaves), (count > 0).then(|| Frontier::from_leaves(leaves).root()), "{count} leaves");
        }
    }
}
