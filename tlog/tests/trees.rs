//! Trees, proofs, tiles and fsck against a naive tree written from the definition in RFC 6962.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tlog::{
    BatchTree, EMPTY_ROOT, Finding, Hash, HashReader as _, LogWriter, ReadError, TileMap, consistency_proof,
    consistency_tiles, fsck, fsck_store, inclusion_proof, inclusion_tiles, leaf_hash, root_at, root_of, root_tiles,
    tiles_to_write, verify_consistency, verify_inclusion,
};

type Store = BTreeMap<String, Vec<u8>>;

fn naive(leaves: &[Vec<u8>]) -> Hash {
    let digest = |bytes: &[u8]| Hash::new(Sha256::digest(bytes).into());
    match leaves {
        [] => digest(b""),
        [leaf] => digest(&[b"\0".as_slice(), leaf].concat()),
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            let (left, right) = (naive(&leaves[..split]), naive(&leaves[split..]));
            digest(&[b"\x01".as_slice(), left.as_bytes(), right.as_bytes()].concat())
        }
    }
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_be_bytes().to_vec()).collect()
}

fn batch(entries: &[Vec<u8>]) -> BatchTree {
    BatchTree::from_leaf_hashes(entries.iter().map(|entry| leaf_hash(entry)).collect()).unwrap()
}

fn source(store: &Store) -> impl FnMut(&str) -> Result<Option<Vec<u8>>, ReadError> + '_ {
    |path| Ok(store.get(path).cloned())
}

/// A stored log that was published at each of these sizes.
fn stored(sizes: &[u64]) -> (LogWriter, Store) {
    let (mut log, mut store) = (LogWriter::new(), Store::new());
    for size in sizes {
        while log.size() < *size {
            log.append(&log.size().to_be_bytes()).unwrap();
        }
        store.extend(log.flush().into_iter().map(|file| (file.path, file.bytes)));
    }
    (log, store)
}

#[test]
fn every_small_proof_holds_and_every_change_of_it_fails() {
    let all = entries(33);
    let tree = batch(&all);
    let roots: Vec<Hash> = (0..=33).map(|size| naive(&all[..size])).collect();
    for size in 1..=33_u64 {
        let root = &roots[usize::try_from(size).unwrap()];
        for index in 0..size {
            let leaf = leaf_hash(&index.to_be_bytes());
            let path = inclusion_proof(index, size, &tree).unwrap();
            verify_inclusion(&leaf, index, size, &path, root).unwrap();
            let refused = |leaf: &Hash, index, size, path: &[Hash], root: &Hash| {
                assert!(verify_inclusion(leaf, index, size, path, root).is_err(), "{index} {size}");
            };
            for other in (0..40).filter(|other| *other != index) {
                refused(&leaf, other, size, &path, root);
            }
            refused(&leaf, index, 0, &path, root);
            refused(&leaf, u64::MAX, u64::MAX, &path, root);
            refused(&Hash::ZERO, index, size, &path, root);
            refused(&leaf, index, size, &path, &EMPTY_ROOT);
            for at in 0..=path.len() {
                let mut extra = path.clone();
                extra.insert(at, *root);
                refused(&leaf, index, size, &extra, root);
            }
            for at in 0..path.len() {
                let mut less = path.clone();
                less.remove(at);
                refused(&leaf, index, size, &less, root);
                let mut wrong = path.clone();
                wrong[at] = Hash::ZERO;
                refused(&leaf, index, size, &wrong, root);
            }
            // An inner node is not a leaf: the shorter path from it must not do.
            if let [_, rest @ ..] = path.as_slice() {
                refused(&tree.node(1, index / 2).unwrap_or(*root), index / 2, size, rest, root);
            }
        }
    }
    assert!(inclusion_proof(5, 5, &tree).is_err());
}

#[test]
fn every_small_consistency_proof_holds_and_every_change_of_it_fails() {
    let all = entries(33);
    let tree = batch(&all);
    let roots: Vec<Hash> = (0..=33).map(|size| naive(&all[..size])).collect();
    for new in 0..=33_usize {
        for old in 0..=new {
            let (m, n) = (u64::try_from(old).unwrap(), u64::try_from(new).unwrap());
            let path = consistency_proof(m, n, &tree).unwrap();
            verify_consistency(m, n, &path, &roots[old], &roots[new]).unwrap();
            let refused = |m, n, path: &[Hash], old: &Hash, new: &Hash| {
                assert!(verify_consistency(m, n, path, old, new).is_err(), "{m} {n}");
            };
            refused(m, n, &path, &Hash::ZERO, &roots[new]);
            if old != 0 || new == 0 {
                refused(m, n, &path, &roots[old], &Hash::ZERO);
            }
            refused(n + 1, n, &path, &roots[old], &roots[new]);
            refused(m, u64::MAX, &path, &roots[old], &roots[new]);
            if m != n {
                refused(n, m, &path, &roots[new], &roots[old]);
                refused(m, n, &path, &roots[new], &roots[old]);
            }
            for at in 0..=path.len() {
                let mut extra = path.clone();
                extra.insert(at, roots[old]);
                refused(m, n, &extra, &roots[old], &roots[new]);
            }
            for at in 0..path.len() {
                let mut less = path.clone();
                less.remove(at);
                refused(m, n, &less, &roots[old], &roots[new]);
                let mut wrong = path.clone();
                wrong[at] = Hash::ZERO;
                refused(m, n, &wrong, &roots[old], &roots[new]);
            }
        }
    }
    assert!(consistency_proof(6, 5, &tree).is_err());
}

#[test]
fn extreme_sizes_neither_overflow_nor_loop() {
    let path = vec![Hash::ZERO; 63];
    let max = u64::MAX >> 1;
    assert_eq!(verify_inclusion(&Hash::ZERO, 0, max, &path, &Hash::ZERO).unwrap_err().kind(), "wrong_root");
    assert_eq!(verify_inclusion(&Hash::ZERO, 0, max, &path[1..], &Hash::ZERO).unwrap_err().kind(), "wrong_length");
    assert_eq!(verify_consistency(1, max, &path, &Hash::ZERO, &Hash::ZERO).unwrap_err().kind(), "wrong_root");
    assert!(verify_consistency(max - 1, max, &path, &Hash::ZERO, &Hash::ZERO).is_err());
    assert!(inclusion_tiles(max - 1, max).unwrap().len() <= 16);
    assert!(consistency_tiles(max / 2 + 7, max).unwrap().len() <= 16);
    assert_eq!(root_tiles(max).unwrap().len(), 8);
    assert!(root_tiles(u64::MAX).is_err());
}

#[test]
fn writer_gives_the_tiles_of_the_pure_function_and_restores() {
    let steps = [0, 1, 2, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 66_000];
    let all = entries(66_000);
    let tree = batch(&all);
    for pair in steps.windows(2) {
        let (mut log, store) = stored(&steps[..steps.iter().position(|s| *s == pair[0]).unwrap() + 1]);
        let mut restored = LogWriter::restore(pair[0], &mut source(&store)).unwrap();
        assert_eq!(restored.root(), log.root());
        assert!(log.flush().is_empty() && restored.flush().is_empty(), "nothing new");
        for i in pair[0]..pair[1] {
            log.append(&i.to_be_bytes()).unwrap();
            restored.append(&i.to_be_bytes()).unwrap();
        }
        assert_eq!(log.root(), root_at(pair[1], &tree).unwrap());
        let files = log.flush();
        assert_eq!(files, restored.flush(), "{pair:?}");
        let tiles: Vec<_> = files.into_iter().filter(|file| !file.path.starts_with("tile/entries")).collect();
        assert_eq!(tiles, tiles_to_write(pair[0], pair[1], &tree).unwrap(), "{pair:?}");
    }
    assert!(tiles_to_write(2, 1, &tree).is_err());
    assert!(tiles_to_write(0, 1 << 21, &tree).is_err());
}

#[test]
fn restore_refuses_missing_and_contradicting_files() {
    let (_, store) = stored(&[300]);
    for path in ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let mut less = store.clone();
        assert!(less.remove(path).is_some());
        assert_eq!(LogWriter::restore(300, &mut source(&less)).unwrap_err().kind(), "read", "{path}");
    }
    let mut other = store.clone();
    *other.get_mut("tile/entries/001.p/44").unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(LogWriter::restore(300, &mut source(&other)).unwrap_err().kind(), "inconsistent");
    // The full files may stand in for the partial ones.
    let (_, mut later) = stored(&[512]);
    later.insert("tile/1/000.p/1".into(), store["tile/1/000.p/1"].clone());
    assert_eq!(LogWriter::restore(300, &mut source(&later)).unwrap().root(), naive(&entries(300)));
}

#[test]
fn writer_has_limits() {
    let mut log = LogWriter::new();
    assert_eq!(log.append(&[0; 65_536]).unwrap_err().kind(), "entry_too_long");
    for _ in 0..1 << 20 {
        log.append(b"").unwrap();
    }
    let root = log.root();
    assert_eq!(log.append(b"").unwrap_err().kind(), "growth");
    assert_eq!((log.size(), log.root()), (1 << 20, root));
    log.flush();
    log.append(b"").unwrap();
}

#[test]
fn fsck_names_each_fault() {
    let (log, store) = stored(&[100, 700]);
    let run = |store: &Store| fsck_store(700, &log.root(), &mut source(store)).unwrap();
    let clean = run(&store);
    assert!(clean.is_clean(), "{:?}", clean.findings);
    assert_eq!((clean.entries, clean.root, clean.tiles), (700, log.root(), 4));
    let paths: Vec<String> = fsck::files_of(700).collect();
    assert_eq!(paths.len(), 7);
    for path in paths {
        let mut bad = store.clone();
        bad.remove(&path);
        assert!(run(&bad).findings.contains(&Finding::Missing { path: path.clone() }), "{path}");
        let mut bad = store.clone();
        let middle = bad[&path].len() / 2;
        bad.get_mut(&path).unwrap()[middle] ^= 1;
        assert!(!run(&bad).is_clean(), "{path}");
        let mut bad = store.clone();
        bad.get_mut(&path).unwrap().push(0);
        assert!(matches!(&run(&bad).findings[0], Finding::Malformed { path: at, .. } if *at == path), "{path}");
    }
    let mut bad = store.clone();
    bad.get_mut("tile/0/001").unwrap()[32 * 9] ^= 1;
    assert_eq!(run(&bad).findings, [Finding::Differs { path: "tile/0/001".into(), hash: 9 }]);
    // Entries from elsewhere, one too few and one too many.
    let check = |count| {
        let entries = entries(count).into_iter().map(Ok::<_, Infallible>);
        fsck(700, &log.root(), entries, &mut source(&store)).unwrap()
    };
    assert!(check(700).is_clean());
    assert!(check(699).findings.contains(&Finding::EntryCount { got: 699, expected: 700 }));
    assert_eq!(check(701).findings, [Finding::EntryCount { got: 701, expected: 700 }]);
    // A forged size ends after a bounded number of findings; a store that fails is an error, not a finding.
    let forged = fsck_store(u64::MAX >> 1, &log.root(), &mut source(&store)).unwrap();
    assert!(forged.findings.len() <= 1000 && forged.dropped > 0);
    let mut broken = |_: &str| Err(ReadError::Store("disk".into()));
    assert_eq!(fsck_store(700, &log.root(), &mut broken).unwrap_err().kind(), "read");
    assert!(fsck_store(0, &EMPTY_ROOT, &mut source(&Store::new())).unwrap().is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tree_agrees_with_the_naive_tree(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..600)) {
        let tree = batch(&leaves);
        prop_assert_eq!(tree.root(), naive(&leaves));
        prop_assert_eq!(root_of(&tree.group_hashes()), tree.root());
    }

    #[test]
    fn proofs_from_tiles_hold(old in 0_u64..1500, more in 0_u64..700, pick in any::<prop::sample::Index>()) {
        let new = old + more + 1;
        let (log, store) = stored(&[old, new]);
        let index = u64::try_from(pick.index(usize::try_from(new).unwrap())).unwrap();
        let map = TileMap::load(new, &inclusion_tiles(index, new).unwrap(), &mut source(&store)).unwrap();
        let path = inclusion_proof(index, new, &map).unwrap();
        prop_assert!(verify_inclusion(&leaf_hash(&index.to_be_bytes()), index, new, &path, &log.root()).is_ok());
        let old_root = naive(&entries(old));
        let map = TileMap::load(new, &consistency_tiles(old, new).unwrap(), &mut source(&store)).unwrap();
        let path = consistency_proof(old, new, &map).unwrap();
        prop_assert!(verify_consistency(old, new, &path, &old_root, &log.root()).is_ok());
        let map = TileMap::load(new, &root_tiles(new).unwrap(), &mut source(&store)).unwrap();
        prop_assert_eq!(root_at(new, &map).unwrap(), log.root());
    }
}
