//! The journal across restarts, damage and limits (I-01, I-10; P13, P19, P22).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ingest_proxy::journal::{Damage, Journal, JournalError, Options};
use proptest::prelude::*;

fn options(folder: &Path) -> Options {
    Options { segment_bytes: 4096, ..Options::at(folder) }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn body(index: u64) -> Vec<u8> {
    format!("record {index} {}", "x".repeat(usize::try_from(index % 97).unwrap())).into_bytes()
}

fn write(folder: &Path, count: u64) {
    let (journal, _) = Journal::open(options(folder)).unwrap();
    for index in 0..count {
        let last = journal.append(&[body(index)]).unwrap();
        assert_eq!(last, index);
        // One sync per five records, so that rotation happens between batches of several sizes.
        if index % 5 == 4 {
            block(journal.durable(last)).unwrap();
        }
    }
    journal.close();
}

fn read_all(journal: &Journal) -> Vec<(u64, Vec<u8>)> {
    let (mut at, end) = journal.bounds();
    let mut all = Vec::new();
    while at < end {
        let entries = journal.read(at, 1000).unwrap();
        let Some(last) = entries.last() else { break };
        at = last.index + 1;
        all.extend(entries.into_iter().map(|entry| (entry.index, entry.body.to_vec())));
    }
    all
}

fn segments(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths
}

#[test]
fn p13_what_was_durable_is_replayed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 300);
    assert!(segments(folder.path(), ".segment").len() > 3);
    let (journal, recovery) = Journal::open(options(folder.path())).unwrap();
    assert_eq!((recovery.records, recovery.next, recovery.damage.len()), (300, 300, 0));
    let all = read_all(&journal);
    assert_eq!(all, (0..300).map(|index| (index, body(index))).collect::<Vec<_>>());
    assert_eq!(journal.append(&[b"next"]).unwrap(), 300);
    journal.close();
}

#[test]
fn p14_only_what_the_bus_acknowledged_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 300);
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    journal.trim(150).unwrap();
    let (first, _) = journal.bounds();
    assert!(first > 0 && first <= 150);
    assert!(read_all(&journal).iter().map(|(index, _)| *index).eq(first..300));
    journal.trim(300).unwrap();
    assert_eq!(journal.used_bytes(), 0);
    journal.close();
}

#[test]
fn p19_a_broken_segment_is_named_and_set_aside_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 300);
    let second = segments(folder.path(), ".segment")[1].clone();
    let mut bytes = std::fs::read(&second).unwrap();
    bytes[1500] ^= 1;
    std::fs::write(&second, bytes).unwrap();
    let (journal, recovery) = Journal::open(options(folder.path())).unwrap();
    assert!(matches!(&recovery.damage[..], [Damage::Segment { path, .. }, Damage::Gap { .. }] if *path == second));
    let kept: Vec<u64> = read_all(&journal).into_iter().map(|(index, _)| index).collect();
    let Damage::Gap { from, to } = recovery.damage[1] else { panic!("no gap") };
    assert!(kept.into_iter().eq((0..from).chain(to..300)));
    journal.trim(300).unwrap();
    assert_eq!(segments(folder.path(), ".quarantined").len(), 1);
    journal.close();
}

#[test]
fn full_refuses_and_room_comes_back_with_the_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options { bytes_max: 3000, ..options(folder.path()) };
    let (journal, _) = Journal::open(small).unwrap();
    let mut last = None;
    let refused = loop {
        match journal.append(&[[7u8; 500]]) {
            Ok(index) => last = Some(index),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Full));
    let last = last.unwrap();
    block(journal.durable(last)).unwrap();
    journal.trim(last + 1).unwrap();
    journal.append(&[[7u8; 500]]).unwrap();
    assert!(matches!(journal.append(&[b""]), Err(JournalError::Size(0))));
    journal.close();
    assert!(matches!(journal.append(&[b"x"]), Err(JournalError::Failed(_))));
}

#[test]
fn sessions_that_wait_at_once_are_all_durable_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    std::thread::scope(|scope| {
        for session in 0..8u64 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..60 {
                    let last = journal.append(&[body(session * 1000 + number), body(number)]).unwrap();
                    block(journal.durable(last)).unwrap();
                    assert!(journal.durable_end() > last);
                }
            });
        }
    });
    let live = read_all(&journal);
    journal.close();
    drop(journal);
    let (journal, recovery) = Journal::open(options(folder.path())).unwrap();
    assert_eq!((recovery.records, recovery.damage.len()), (960, 0));
    assert_eq!(read_all(&journal), live);
    assert!(live.iter().map(|(index, _)| *index).eq(0..960));
    for session in 0..8u64 {
        let own = live.iter().filter(|(_, found)| (0..60).any(|number| *found == body(session * 1000 + number)));
        assert!(own.count() >= 60);
    }
    journal.close();
}

#[test]
fn records_nobody_waits_for_are_durable_soon() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    for index in 0..3 {
        journal.append(&[body(index)]).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !journal.wait_durable(index, Duration::from_millis(10)) {
            assert!(std::time::Instant::now() < until, "record {index} is not durable");
        }
        // Longer than the writers stay awake, so that the next append must wake one.
        std::thread::sleep(Duration::from_millis(60));
    }
    journal.close();
}

#[test]
fn an_unfinished_next_segment_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 10);
    std::fs::write(folder.path().join("next.spare"), b"half").unwrap();
    let (journal, recovery) = Journal::open(options(folder.path())).unwrap();
    assert_eq!((recovery.records, recovery.damage.len()), (10, 0));
    for index in 10..100 {
        journal.append(&[body(index)]).unwrap();
        block(journal.durable(index)).unwrap();
    }
    assert_eq!(read_all(&journal).len(), 100);
    journal.close();
}

#[test]
fn a_segment_that_is_given_up_becomes_one_again() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let (mut seen, mut again) = (std::collections::BTreeMap::new(), 0);
    for index in 0..600 {
        journal.append(&[body(index)]).unwrap();
        block(journal.durable(index)).unwrap();
        // What is read back is what was written in this life of the file.
        assert_eq!(journal.read(index, 1000).unwrap()[0].body, body(index));
        journal.trim(index + 1).unwrap();
        for path in segments(folder.path(), ".segment") {
            let inode = std::fs::metadata(&path).unwrap().ino();
            again += i32::from(seen.insert(inode, path.clone()).is_some_and(|before| before != path));
        }
    }
    assert!(again > 3, "{again} of {} files", seen.len());
    assert!(segments(folder.path(), "").len() < 6, "files pile up");
    journal.close();
    drop(journal);
    let (journal, recovery) = Journal::open(options(folder.path())).unwrap();
    assert_eq!((recovery.next, recovery.damage.len()), (600, 0));
    journal.close();
}

#[test]
fn one_process_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    assert!(matches!(Journal::open(options(folder.path())), Err(JournalError::Locked)));
    assert!(!journal.wait_durable(0, Duration::from_millis(1)));
    journal.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    /// I-01: whatever byte is damaged or cut, an acknowledged record is there or the damage is named.
    #[test]
    fn acknowledged_is_there_or_named(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 120);
        let paths = segments(folder.path(), ".segment");
        let path = &paths[which.index(paths.len())];
        let mut bytes = std::fs::read(path).unwrap();
        let place = at.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= 0x40 }
        std::fs::write(path, bytes).unwrap();
        let (journal, recovery) = Journal::open(options(folder.path())).unwrap();
        let all = read_all(&journal);
        for (index, found) in &all {
            prop_assert_eq!(found, &body(*index));
        }
        prop_assert!(all.len() == 120 || !recovery.damage.is_empty() || (cut && recovery.next < 120));
        journal.close();
    }
}
