//! The journal on a disk that fails, stalls or is full (I-01, I-10): nothing counts that is not synced, nothing is lost
//! that was, and whoever waits is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ingest_proxy::journal::{Disk, Journal, JournalError, Options};

/// A disk whose faults are switched on. Only what the writing threads do fails, not the making of spare segments.
#[derive(Debug, Default)]
struct Faulty {
    /// Syncs that fail with EIO.
    failing: AtomicU32,
    /// Nothing new can be allocated.
    full: AtomicBool,
    /// Microseconds a sync takes at most, by a rough random.
    slow: AtomicU32,
    turns: AtomicU32,
}

impl Disk for Faulty {
    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) && bytes.iter().all(|byte| *byte == 0) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst).wrapping_mul(2_654_435_761) >> 8;
        let slow = self.slow.load(Ordering::SeqCst);
        if slow > 0 {
            std::thread::sleep(Duration::from_micros(u64::from(turn % slow)));
        }
        let writer = std::thread::current().name() == Some("journal");
        let fails = |left: u32| if left == u32::MAX { Some(left) } else { left.checked_sub(1) };
        if writer && self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            // A disk takes its time to fail: the other writer waits for records by then.
            std::thread::sleep(Duration::from_millis(40));
            return Err(io::Error::from_raw_os_error(5)); // EIO
        }
        file.sync_data()
    }
}

fn open(folder: &Path, disk: &Arc<Faulty>) -> Arc<Journal> {
    let disk: Arc<dyn Disk> = disk.clone();
    Journal::open(Options { segment_bytes: 4096, disk, ..Options::at(folder) }).unwrap().0
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn body(index: u64) -> Vec<u8> {
    format!("record {index} {}", "x".repeat(usize::try_from(index % 97).unwrap())).into_bytes()
}

/// Everything from index 0 to before `count` is there once, and whole.
fn holds_all(journal: &Journal, count: u64) {
    let mut at = 0;
    while at < count {
        let entries = journal.read(at, 1000).unwrap();
        assert!(!entries.is_empty(), "nothing at {at} of {count}");
        for entry in entries.into_iter().take_while(|entry| entry.index < count) {
            assert_eq!((entry.index, entry.body), (at, body(at)));
            at += 1;
        }
    }
}

#[test]
fn after_a_failed_sync_the_segment_is_left_and_what_was_not_durable_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let journal = open(folder.path(), &disk);
    for index in 0..200 {
        if index % 40 == 20 {
            // Once with durable records in the segment, once with none (the first), once twice in a row.
            disk.failing.store(if index == 100 { 2 } else { 1 }, Ordering::SeqCst);
        }
        let last = journal.append(&[body(index)]).unwrap();
        block(journal.durable(last)).unwrap();
        assert!(journal.durable_end() > last);
    }
    assert!(journal.repairs() >= 5, "{}", journal.repairs());
    holds_all(&journal, 200);
    journal.close();
    drop(journal);
    let (journal, recovery) = Journal::open(Options { segment_bytes: 4096, ..Options::at(folder.path()) }).unwrap();
    assert_eq!((recovery.records, recovery.next, recovery.damage), (200, 200, Vec::new()));
    holds_all(&journal, 200);
    journal.close();
}

#[test]
fn the_very_first_segment_may_fail_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let journal = open(folder.path(), &disk);
    disk.failing.store(1, Ordering::SeqCst);
    let last = journal.append(&[body(0), body(1)]).unwrap();
    block(journal.durable(last)).unwrap();
    holds_all(&journal, 2);
    journal.close();
    drop(journal);
    let (journal, recovery) = Journal::open(Options::at(folder.path())).unwrap();
    assert_eq!((recovery.records, recovery.damage.len()), (2, 0));
    journal.close();
}

#[test]
fn a_disk_that_goes_on_failing_fails_the_journal_and_tells_every_waiter() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let journal = open(folder.path(), &disk);
    let last = journal.append(&[body(0)]).unwrap();
    block(journal.durable(last)).unwrap();
    disk.failing.store(u32::MAX, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                let Ok(last) = journal.append(&[body(1)]) else { return };
                let told = block(journal.durable(last)).unwrap_err();
                assert_eq!(told.kind(), "journal_failed");
            });
        }
    });
    assert!(matches!(journal.append(&[body(1)]), Err(JournalError::Failed(_))));
    journal.close();
    drop(journal);
    disk.failing.store(0, Ordering::SeqCst);
    let journal = open(folder.path(), &disk);
    holds_all(&journal, 1);
    journal.close();
}

/// Appends until the disk is full; gives the number of records taken.
fn fill(journal: &Journal) -> u64 {
    let mut taken = 0;
    for _ in 0..100_000 {
        match journal.append(&[body(taken)]) {
            Ok(last) => {
                taken = last + 1;
                block(async {
                    let mut waits = std::pin::pin!(journal.durable_within(last, Some(Duration::from_millis(200))));
                    std::future::poll_fn(|context| {
                        journal.expire();
                        if waits.as_mut().poll(context).is_ready() {
                            return std::task::Poll::Ready(());
                        }
                        context.waker().wake_by_ref();
                        std::thread::yield_now();
                        std::task::Poll::Pending
                    })
                    .await;
                });
            }
            Err(error) => {
                assert_eq!(error.kind(), "journal_no_space");
                return taken;
            }
        }
    }
    panic!("the disk never got full");
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let journal = open(folder.path(), &disk);
    disk.full.store(true, Ordering::SeqCst);
    let taken = fill(&journal);
    assert!(taken > 0 && journal.durable_end() < taken);
    disk.full.store(false, Ordering::SeqCst);
    block(journal.durable(taken - 1)).unwrap();
    let last = journal.append(&[body(taken)]).unwrap();
    block(journal.durable(last)).unwrap();
    holds_all(&journal, taken + 1);
    journal.close();
}

#[test]
fn no_wake_up_is_lost_among_many_sessions_on_a_slow_disk_with_tiny_segments() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    disk.slow.store(3_000, Ordering::SeqCst);
    let journal = open(folder.path(), &disk);
    let (done, waited) = std::sync::mpsc::channel();
    for session in 0..48u64 {
        let (journal, done) = (journal.clone(), done.clone());
        std::thread::spawn(move || {
            for number in 0..40u64 {
                let seed = (session * 40 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                // Longer than the writers stay awake now and then, so that an append must wake one.
                std::thread::sleep(Duration::from_micros(if seed % 97 == 0 { 30_000 } else { seed % 900 }));
                let last = journal.append(&[vec![7u8; usize::try_from(seed % 600).unwrap() + 1]]).unwrap();
                if seed % 5 > 0 {
                    block(journal.durable(last)).unwrap();
                    assert!(journal.durable_end() > last);
                }
            }
            done.send(session).unwrap();
        });
    }
    for _ in 0..48 {
        // Far beyond what it takes: a session that is not told in this time is never told.
        waited.recv_timeout(Duration::from_secs(60)).expect("a session waits for ever");
    }
    journal.close();
}

/// Where the test inside finds its small disk.
const SMALL: &str = "SEALTRAIL_TEST_SMALL_DISK";

/// Runs [`on_a_disk_of_three_mebibytes`] on a tmpfs of that size, in a mount namespace of its own.
#[test]
fn a_disk_that_is_really_full_is_waited_for() {
    let namespace = ["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(namespace).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("not run: this system allows no mount namespace");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=3m none \"$0\" && exec \"$@\"";
    let ran = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "on_a_disk_of_three_mebibytes", "--ignored", "--nocapture"])
        .env(SMALL, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
#[ignore = "run by the test above, on a disk of its own"]
fn on_a_disk_of_three_mebibytes() {
    let folder = std::path::PathBuf::from(std::env::var(SMALL).unwrap());
    let options = Options { segment_bytes: 1 << 20, ..Options::at(&folder) };
    let (journal, _) = Journal::open(options.clone()).unwrap();
    let taken = fill(&journal);
    let durable = journal.durable_end();
    assert!(durable > 10_000 && durable < taken, "{durable} of {taken}");
    // The bus takes all that is durable, and its segments make room.
    journal.trim(durable).unwrap();
    block(journal.durable(taken - 1)).unwrap();
    let last = journal.append(&[body(taken)]).unwrap();
    block(journal.durable(last)).unwrap();
    journal.close();
    drop(journal);
    let (journal, recovery) = Journal::open(options).unwrap();
    assert_eq!((recovery.next, recovery.damage.len()), (taken + 1, 0));
    journal.close();
}
