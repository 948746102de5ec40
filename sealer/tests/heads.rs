//! HEADS entries: where they stand, what they say, and what a restart reads because of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

mod support;

use schemas::entry::{ENTRY_BYTES_MAX, Entry, HEADS_EVERY};
use schemas::v1::HeadsBody;
use sealer::error::NotaryError;
use sealer::notary::Notary;
use support::{Line, Memory, Opening, feed, root};

/// Every entry of the stored log.
fn entries(store: &Memory, size: u64) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for number in 0..size.div_ceil(256) {
        let bundle = tlog::Bundle::at(number, size).unwrap();
        let objects = &store.0.lock().unwrap().objects;
        out.extend(bundle.parse(&objects[&bundle.path()]).unwrap().into_iter().map(<[u8]>::to_vec));
    }
    out
}

fn heads(entries: &[Vec<u8>]) -> Vec<(usize, HeadsBody)> {
    let decode = |(index, entry): (usize, &Vec<u8>)| match Entry::decode(entry).unwrap() {
        Entry::Heads(part) => Some((index, part)),
        _ => None,
    };
    entries.iter().enumerate().filter_map(decode).collect()
}

fn fresh(streams: usize) -> (Memory, tempfile::TempDir, Notary) {
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let notary = Opening { streams, ..Opening::default() }.open(&store, folder.path()).unwrap();
    (store, folder, notary)
}

#[test]
fn heads_are_a_function_of_the_order_alone() {
    let seals = Line::new(3).seals(2500);
    let mut roots = Vec::new();
    for group in [3, 70, 1024, 10_000] {
        let (store, folder, mut notary) = fresh(3);
        let half = feed(&mut notary, &seals[..1200], group);
        half.unwrap();
        drop(notary);
        let mut notary = Opening::default().open(&store, folder.path()).unwrap();
        feed(&mut notary, &seals, group).unwrap();
        roots.push(root(&notary));
        let found = heads(&entries(&store, notary.lock().size));
        assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1024, 2049]);
        for (index, part) in found {
            assert_eq!((part.index, part.part, part.parts, part.epoch), (index as i64, 0, 1, 0));
            assert!(part.heads.is_sorted_by_key(|head| head.stream_id.0), "sorted");
        }
    }
    assert_eq!(roots[0].0, 2502);
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
}

#[test]
fn a_restart_reads_from_the_newest_heads_on() {
    let mut line = Line::new(3);
    let mut seals = line.seals(20_000);
    let (store, folder, mut notary) = fresh(3);
    feed(&mut notary, &seals, 5000).unwrap();
    let (before, size) = (notary.integrator().heads().clone(), notary.lock().size);
    drop(notary);
    store.forget_reads();
    let mut notary = Opening::default().open(&store, folder.path()).unwrap();
    let (bundles, all) = (store.reads("tile/entries/"), store.reads(""));
    println!("restart of a log of {size} entries: {bundles} bundles of {}, {all} objects in all", size.div_ceil(256));
    // the partial bundle is read by the tile writer too
    assert!(bundles <= (HEADS_EVERY / 256) as usize + 3, "{bundles} bundles read");
    assert!(all <= 30, "{all} objects read");
    assert_eq!(notary.integrator().heads(), &before, "the same state as before");
    seals.extend(line.seals(30));
    feed(&mut notary, &seals, 10).unwrap();
    assert_eq!(notary.integrator().heads()[&support::stream(0).id].seal_seq, line.head(0).seal_seq, "and it goes on");
}

#[test]
fn many_streams_make_parts_and_a_crash_between_them_changes_nothing() {
    let streams = 2000;
    let mut line = Line::new(streams);
    let seals = line.seals(5000);
    let (store, folder, mut notary) = fresh(streams);
    feed(&mut notary, &seals, 900).unwrap();
    let (size, log_root) = root(&notary);
    let all = entries(&store, size);
    let found = heads(&all);
    assert!(all.iter().all(|entry| entry.len() <= ENTRY_BYTES_MAX));
    assert_eq!(found.iter().map(|(_, part)| part.parts).collect::<Vec<_>>()[..2], [2, 2], "1,024 streams");
    let last: Vec<_> = found.iter().filter(|(_, part)| part.index == found.last().unwrap().1.index).collect();
    assert_eq!((last.len(), last[0].1.parts), (4, 4));
    let listed: usize = last.iter().map(|(_, part)| part.heads.len()).sum();
    assert_eq!(listed, streams);
    assert!(last.windows(2).all(|two| two[0].1.heads.last().unwrap().stream_id.0 < two[1].1.heads[0].stream_id.0));
    let before = notary.integrator().heads().clone();
    drop(notary);
    let again = Opening { streams, ..Opening::default() }.open(&store, folder.path()).unwrap();
    assert_eq!((root(&again), again.integrator().heads()), ((size, log_root), &before));
}

#[test]
fn a_changed_bundle_is_a_fork_guard() {
    let seals = Line::new(3).seals(3000);
    let (store, folder, mut notary) = fresh(3);
    feed(&mut notary, &seals, 500).unwrap();
    drop(notary);
    // a full bundle that the restart reads; the tile beside it is changed to fit
    let path = "tile/entries/010";
    let mut objects = store.0.lock().unwrap();
    let bytes = objects.objects.get_mut(path).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    let parsed = tlog::parse_bundle(bytes, 256).unwrap();
    let tile: Vec<u8> = parsed.into_iter().flat_map(|entry| *tlog::leaf_hash(entry).as_bytes()).collect();
    objects.objects.insert("tile/0/010".into(), tile);
    drop(objects);
    let opened = Opening::default().open(&store, folder.path()).map(|_| ());
    assert!(matches!(&opened, Err(NotaryError::ForkGuard(text)) if text.contains("locked root")), "{opened:?}");
}
