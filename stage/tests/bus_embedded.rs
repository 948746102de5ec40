//! The embedded bus against the bus suite, and what only it promises: crashes, damage, locks, room, care.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{
    Assign, Batch, Bus, BusErrorKind, Cleanup, PollLimit, Position, Reader, ReaderSpec, TopicPartition, TopicSpec,
    WriteMode, Writer, WriterSpec, suite,
};

const NOW: PollLimit = PollLimit { records: 100_000, bytes: 256 << 20, wait: Duration::ZERO };

fn open(folder: &Path) -> Arc<Embedded> {
    Embedded::open(&EmbeddedConfig::at(folder)).unwrap()
}

fn topic(bus: &dyn Bus, name: &str, partitions: i32, cleanup: Cleanup) {
    bus.ensure_topics(&[TopicSpec { name: name.into(), partitions, cleanup }]).unwrap();
}

fn writer(bus: &dyn Bus, name: &str) -> Box<dyn Writer> {
    bus.writer(&WriterSpec { name: name.into(), mode: WriteMode::Transactional }).unwrap()
}

fn reader_at(bus: &dyn Bus, topic: &str, partition: i32, next_offset: i64) -> Box<dyn Reader> {
    let topic_partition = TopicPartition { topic: topic.into(), partition };
    let assign = Assign::Manual(vec![Position { topic_partition, next_offset }]);
    bus.reader(&ReaderSpec { topics: vec![topic.into()], assign, instance: "test".into() }).unwrap()
}

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Everything in a partition, from the earliest record on.
fn all(bus: &dyn Bus, topic: &str, partition: i32) -> Vec<Owned> {
    let (start, end) = bus.bounds(&TopicPartition { topic: topic.into(), partition }).unwrap();
    let mut reader = reader_at(bus, topic, partition, start);
    let mut batch = Batch::default();
    let mut records: Vec<Owned> = Vec::new();
    loop {
        reader.poll(&mut batch, NOW).unwrap();
        if batch.is_empty() {
            assert!(records.last().is_none_or(|record| record.0 < end));
            return records;
        }
        records.extend(batch.iter().map(|r| (r.offset, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec))));
    }
}

#[test]
fn keeps_the_bus_suite() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        suite::Options { prefix: "suite-".into(), patience: Duration::from_secs(20), quiet: Duration::from_millis(50) };
    let make = || Embedded::open(&EmbeddedConfig::at(folder.path())).map(|bus| bus as Arc<dyn Bus>);
    let passed = suite::run_all(&make, &options).unwrap_or_else(|failed| panic!("{failed}"));
    assert!(passed.len() >= 19);
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let error = Embedded::open(&EmbeddedConfig::at(folder.path())).err().unwrap();
    assert_eq!(error.kind, BusErrorKind::Fatal);
    assert!(error.to_string().contains("has this bus open"), "{error}");
    drop(first);
    open(folder.path());
}

#[test]
fn a_damaged_store_is_refused_with_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bus.redb");
    std::fs::write(&file, vec![0x5a; 100_000]).unwrap();
    let error = Embedded::open(&EmbeddedConfig::at(folder.path())).err().unwrap();
    assert_eq!(error.kind, BusErrorKind::Fatal);
    assert!(error.to_string().contains("bus.redb"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), vec![0x5a; 100_000], "the file was changed");
}

#[test]
fn a_torn_store_is_refused_with_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 20);
    let file = folder.path().join("bus.redb");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
    let error = Embedded::open(&EmbeddedConfig::at(folder.path())).err().unwrap();
    assert_eq!(error.kind, BusErrorKind::Fatal);
    assert!(error.to_string().contains("bus.redb"), "{error}");
}

/// Writes `rounds` transactions of 100 records with recognisable values.
fn fill(folder: &Path, rounds: u32) {
    let bus = open(folder);
    topic(&*bus, "t", 1, Cleanup::Delete { retention_ms: -1 });
    let mut out = writer(&*bus, "w");
    for round in 0..rounds {
        out.begin().unwrap();
        for index in 0..100 {
            let value = format!("round {round} record {index} MARK{}", "x".repeat(400));
            out.send("t", 0, None, Some(value.as_bytes())).unwrap();
        }
        out.commit(None).unwrap();
    }
}

#[test]
fn a_changed_byte_in_a_record_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 3);
    let file = folder.path().join("bus.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    let marks: Vec<usize> = bytes.windows(4).enumerate().filter(|(_, w)| *w == b"MARK").map(|(at, _)| at).collect();
    assert!(marks.len() >= 300);
    for at in marks {
        bytes[at] = b'm';
    }
    std::fs::write(&file, bytes).unwrap();
    let error = match Embedded::open(&EmbeddedConfig::at(folder.path())) {
        Err(error) => error,
        Ok(bus) => reader_at(&*bus, "t", 0, 0).poll(&mut Batch::default(), NOW).unwrap_err(),
    };
    assert_eq!(error.kind, BusErrorKind::Fatal);
    assert!(!error.to_string().contains("record 1"), "content in an error: {error}");
}

#[test]
fn a_full_store_says_so_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = EmbeddedConfig::at(folder.path());
    config.max_bytes = 24 << 20;
    let bus = Embedded::open(&config).unwrap();
    topic(&*bus, "t", 1, Cleanup::Delete { retention_ms: -1 });
    topic(&*bus, "short", 1, Cleanup::Delete { retention_ms: 0 });
    let mut out = writer(&*bus, "w");
    let mut written = 0i64;
    let mut topics = ["t", "short"].iter().cycle();
    let error = loop {
        out.begin().unwrap();
        let name = topics.next().unwrap();
        for _ in 0..1000 {
            out.send(name, 0, Some(b"k"), Some(&[7; 500])).unwrap();
        }
        match out.commit(None) {
            Ok(()) => written += i64::from(*name == "t"),
            Err(error) => break error,
        }
        assert!(written < 100, "the limit was never met");
    };
    assert_eq!(error.kind, BusErrorKind::Full, "{error}");
    let kept = i64::try_from(all(&*bus, "t", 0).len()).unwrap();
    assert_eq!(kept, written * 1000, "a refused commit left something or took something");
    // Still full: the same commit may be tried again and again.
    assert_eq!(out.commit(None).unwrap_err().kind, BusErrorKind::Full);
    std::thread::sleep(Duration::from_millis(5));
    bus.care().unwrap();
    let began = Instant::now();
    while let Err(error) = out.commit(None) {
        assert_eq!(error.kind, BusErrorKind::Full, "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "no room after records expired");
        bus.care().unwrap();
    }
    drop((out, bus));
    let bus = Embedded::open(&config).unwrap();
    assert!(i64::try_from(all(&*bus, "t", 0).len()).unwrap() >= kept);
}

#[test]
fn old_records_expire_and_their_readers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let bus = open(folder.path());
    topic(&*bus, "t", 1, Cleanup::Delete { retention_ms: 2_500 });
    let mut out = writer(&*bus, "w");
    let mut send = |value: &[u8]| {
        out.begin().unwrap();
        out.send("t", 0, None, Some(value)).unwrap();
        out.commit(None).unwrap();
    };
    send(b"old");
    send(b"old too");
    bus.care().unwrap();
    assert_eq!(all(&*bus, "t", 0).len(), 2, "young records went");
    std::thread::sleep(Duration::from_millis(2_600));
    send(b"new");
    bus.care().unwrap();
    let left = all(&*bus, "t", 0);
    assert_eq!(left, [(2, None, Some(b"new".to_vec()))]);
    let error = reader_at(&*bus, "t", 0, 1).poll(&mut Batch::default(), NOW).unwrap_err();
    assert_eq!(error.kind, BusErrorKind::Missing);
    std::thread::sleep(Duration::from_millis(2_600));
    bus.care().unwrap();
    let place = TopicPartition { topic: "t".into(), partition: 0 };
    assert_eq!(bus.bounds(&place).unwrap(), (3, 3));
    drop((out, bus));
    assert_eq!(open(folder.path()).bounds(&place).unwrap(), (3, 3), "offsets went back");
}

#[test]
fn compaction_keeps_the_newest_of_each_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = EmbeddedConfig::at(folder.path());
    config.compact_after = 100;
    config.tombstone_ms = 100;
    config.compact_bytes = 1500; // many passes over few keys at a time
    let bus = Embedded::open(&config).unwrap();
    topic(&*bus, "c", 1, Cleanup::Compact);
    let mut out = writer(&*bus, "w");
    let mut newest: HashMap<Vec<u8>, (i64, Option<Vec<u8>>)> = HashMap::new();
    let mut offset = 0;
    for round in 0..40 {
        out.begin().unwrap();
        for index in 0..30 {
            let key = format!("key {}", (index * 7 + round * 3) % 50).into_bytes();
            let value = (index % 10 != 0).then(|| format!("{round}/{index}").into_bytes());
            out.send("c", 0, Some(&key), value.as_deref()).unwrap();
            newest.insert(key, (offset, value));
            offset += 1;
        }
        out.commit(None).unwrap();
        if round % 13 == 5 {
            bus.care().unwrap();
        }
    }
    bus.care().unwrap();
    let left = all(&*bus, "c", 0);
    assert!(left.len() < 500, "{} records left of {offset}", left.len());
    assert!(left.windows(2).all(|pair| pair[0].0 < pair[1].0), "order changed");
    for (key, (offset, value)) in &newest {
        let last = left.iter().rev().find(|record| record.1.as_ref() == Some(key)).unwrap();
        assert_eq!((last.0, &last.2), (*offset, value));
    }
    // A reader in the middle of what was compacted goes on without a miss.
    let mut batch = Batch::default();
    reader_at(&*bus, "c", 0, 17).poll(&mut batch, NOW).unwrap();
    assert_eq!(batch.len(), left.iter().filter(|record| record.0 >= 17).count());
    // Deletion markers go after their time, at the next compaction.
    std::thread::sleep(Duration::from_millis(150));
    out.begin().unwrap();
    for index in 0..1000 {
        out.send("c", 0, Some(b"other"), Some(format!("{index}").as_bytes())).unwrap();
    }
    out.commit(None).unwrap();
    bus.care().unwrap();
    let left = all(&*bus, "c", 0);
    assert!(left.iter().all(|record| record.2.is_some()), "a deletion marker stayed");
    drop((out, bus));
    assert_eq!(all(&*open(folder.path()), "c", 0), left);
}

#[test]
fn waiting_writers_share_commits_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let bus = open(folder.path());
    topic(&*bus, "t", 1, Cleanup::Delete { retention_ms: -1 });
    std::thread::scope(|scope| {
        for id in 0..6u8 {
            let bus = Arc::clone(&bus);
            scope.spawn(move || {
                let mut out = writer(&*bus, &format!("w{id}"));
                for round in 0..50u8 {
                    out.begin().unwrap();
                    for part in 0..3u8 {
                        out.send("t", 0, None, Some(&[id, round, part])).unwrap();
                    }
                    out.commit(None).unwrap();
                }
            });
        }
    });
    let records = all(&*bus, "t", 0);
    assert_eq!(records.len(), 6 * 50 * 3);
    let mut rounds = [0u8; 6];
    for (index, triple) in records.chunks(3).enumerate() {
        let id = triple[0].2.as_ref().unwrap()[0];
        let expected: Vec<Owned> = (0..3u8)
            .map(|part| {
                let offset = i64::try_from(index).unwrap() * 3 + i64::from(part);
                (offset, None, Some(vec![id, rounds[usize::from(id)], part]))
            })
            .collect();
        assert_eq!(triple, expected);
        rounds[usize::from(id)] += 1;
    }
}

const CHILD: &str = "SEALTRAIL_TEST_BUS_CHILD";

/// Not a test of its own: the process that [`survives_being_killed`] kills.
#[test]
fn child_that_writes_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let bus = open(Path::new(&folder));
    for name in ["in", "out"] {
        topic(&*bus, name, 2, Cleanup::Delete { retention_ms: -1 });
    }
    let spec = ReaderSpec { topics: vec!["in".into()], assign: Assign::Group("g".into()), instance: "i".into() };
    let mut reader = bus.reader(&spec).unwrap();
    let mut feed = writer(&*bus, "feed");
    let mut copy = writer(&*bus, "copy");
    let mut batch = Batch::default();
    let mut number = all(&*bus, "in", 0).len();
    loop {
        feed.begin().unwrap();
        for _ in 0..20 {
            for partition in 0..2 {
                feed.send("in", partition, None, Some(number.to_string().as_bytes())).unwrap();
            }
            number += 1;
        }
        feed.commit(None).unwrap();
        reader.poll(&mut batch, NOW).unwrap();
        let mut next: HashMap<i32, i64> = HashMap::new();
        copy.begin().unwrap();
        for record in batch.iter() {
            copy.send("out", record.partition, record.key, record.value).unwrap();
            next.insert(record.partition, record.offset + 1);
        }
        let positions: Vec<Position> = next
            .into_iter()
            .map(|(partition, next_offset)| Position {
                topic_partition: TopicPartition { topic: "in".into(), partition },
                next_offset,
            })
            .collect();
        let membership = reader.membership().unwrap();
        copy.commit(Some((&membership, &positions))).unwrap();
    }
}

#[test]
fn survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut last = 0;
    for life in 0..100 {
        // on a busy machine a life may be over before its first record
        if life >= 12 && last > 100 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_millis(60 + seed % 140));
        child.kill().unwrap();
        child.wait().unwrap();
        let began = Instant::now();
        let bus = open(folder.path());
        assert!(began.elapsed() < Duration::from_secs(5), "opening took {:?}", began.elapsed());
        if bus.describe("out").is_err() {
            continue; // killed before it made its topics
        }
        let mut whole = None;
        for partition in 0..2 {
            let numbers = |topic: &str| -> Vec<String> {
                let records = all(&*bus, topic, partition);
                let dense = records.iter().enumerate().all(|(at, record)| usize::try_from(record.0) == Ok(at));
                assert!(dense, "life {life}: offsets of {topic} are not dense");
                records.into_iter().map(|record| String::from_utf8(record.2.unwrap()).unwrap()).collect()
            };
            let fed = numbers("in");
            let expected: Vec<String> = (0..fed.len()).map(|number| number.to_string()).collect();
            assert_eq!(fed, expected, "life {life}: a fed record is lost or doubled");
            assert_eq!(fed.len() % 20, 0, "life {life}: half a transaction");
            // Both partitions of a transaction are there or neither.
            assert_eq!(*whole.get_or_insert(fed.len()), fed.len(), "life {life}: a torn transaction");
            let copied = numbers("out");
            assert_eq!(copied, expected[..copied.len()], "life {life}: a copy is lost or doubled");
            let spec =
                ReaderSpec { topics: vec!["in".into()], assign: Assign::Group("g".into()), instance: "i".into() };
            let mut reader = bus.reader(&spec).unwrap();
            reader.poll(&mut Batch::default(), PollLimit { records: 1, ..NOW }).unwrap();
            let committed = reader.committed().unwrap();
            let next = committed.iter().find(|p| p.topic_partition.partition == partition).unwrap().next_offset;
            assert_eq!(usize::try_from(next).unwrap(), copied.len(), "life {life}: position and output differ");
        }
        last = whole.unwrap_or(last);
    }
    assert!(last > 100, "the child wrote only {last} records");
}
