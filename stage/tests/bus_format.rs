//! The embedded bus' files on disk: the format of today is kept as a fixture and opened by every later program.
//!
//! `UPDATE_GOLDEN=1` writes a fixture for a new format; the fixtures of older formats stay, and stay readable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::TableDefinition;
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{
    Assign, Batch, Bus, BusErrorKind, Cleanup, PollLimit, Position, Reader, ReaderSpec, TopicPartition, TopicSpec,
    WriteMode, WriterSpec,
};

const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const PAGE: usize = 512;
const NOW: PollLimit = PollLimit { records: 1_000, bytes: 1 << 24, wait: Duration::ZERO };

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn open(folder: &Path) -> Result<Arc<Embedded>, stage::bus::BusError> {
    Embedded::open(&EmbeddedConfig::at(folder))
}

fn topics() -> Vec<TopicSpec> {
    let topic = |name: &str, partitions, cleanup| TopicSpec { name: name.into(), partitions, cleanup };
    vec![topic("kept", 3, Cleanup::Delete { retention_ms: -1 }), topic("newest", 2, Cleanup::Compact)]
}

fn group(bus: &dyn Bus) -> Box<dyn Reader> {
    let assign = Assign::Group("group".into());
    bus.reader(&ReaderSpec { topics: vec!["kept".into()], assign, instance: "one".into() }).unwrap()
}

/// Everything a bus can hold: keys, nulls, several partitions, positions of a group, writers' epochs.
fn fill(bus: &dyn Bus) {
    bus.ensure_topics(&topics()).unwrap();
    let (mut reader, mut batch) = (group(bus), Batch::default());
    reader.poll(&mut batch, NOW).unwrap();
    for round in 0..3 {
        let spec = WriterSpec { name: "writer".into(), mode: WriteMode::Transactional };
        let mut writer = bus.writer(&spec).unwrap();
        writer.begin().unwrap();
        writer.send("kept", round, Some(b"key"), Some(format!("value {round}").as_bytes())).unwrap();
        writer.send("kept", 0, None, Some(&[0, 159, 146, 150])).unwrap();
        writer.send("newest", 1, Some(b"gone"), None).unwrap();
        let place = TopicPartition { topic: "kept".into(), partition: round };
        let membership = reader.membership().unwrap();
        writer.commit(Some((&membership, &[Position { topic_partition: place, next_offset: 1 }]))).unwrap();
    }
}

/// All of it as text, but for the times.
fn render(bus: &dyn Bus) -> String {
    let mut text = String::new();
    for topic in topics() {
        let info = bus.describe(&topic.name).unwrap();
        writeln!(text, "{} {} {} {}", topic.name, info.cluster_id, info.topic_id, info.partitions).unwrap();
        for partition in 0..topic.partitions {
            let place = TopicPartition { topic: topic.name.clone(), partition };
            let (next_offset, end) = bus.bounds(&place).unwrap();
            writeln!(text, "  partition {partition}: {next_offset} to {end}").unwrap();
            let assign = Assign::Manual(vec![Position { topic_partition: place, next_offset }]);
            let spec = ReaderSpec { topics: vec![topic.name.clone()], assign, instance: "look".into() };
            let (mut reader, mut batch) = (bus.reader(&spec).unwrap(), Batch::default());
            reader.poll(&mut batch, NOW).unwrap();
            for record in batch.iter() {
                writeln!(text, "    {} {:?} {:?}", record.offset, record.key, record.value).unwrap();
            }
        }
    }
    let mut reader = group(bus);
    reader.poll(&mut Batch::default(), NOW).unwrap();
    for position in reader.committed().unwrap() {
        writeln!(text, "position {} {}", position.topic_partition.partition, position.next_offset).unwrap();
    }
    text
}

/// A store file is mostly zeros: only the pages that are not, each after its number.
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = (bytes.len() as u64).to_le_bytes().to_vec();
    for (number, page) in bytes.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
        packed.extend_from_slice(&(number as u32).to_le_bytes());
        packed.extend_from_slice(page);
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let (length, pages) = packed.split_first_chunk::<8>().unwrap();
    let mut bytes = vec![0; u64::from_le_bytes(*length) as usize];
    for page in pages.chunks(PAGE + 4) {
        let (number, page) = page.split_first_chunk::<4>().unwrap();
        let at = u32::from_le_bytes(*number) as usize * PAGE;
        bytes[at..at + page.len()].copy_from_slice(page);
    }
    bytes
}

/// Format 1: what a program of that time wrote is read to the last byte, and written on.
#[test]
fn a_store_of_format_1_opens_whole() {
    let (file, text) = (golden("bus-1.pages"), golden("bus-1.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !file.exists() {
        let folder = tempfile::tempdir().unwrap();
        let bus = open(folder.path()).unwrap();
        fill(bus.as_ref());
        std::fs::create_dir_all(golden("")).unwrap();
        std::fs::write(&text, render(bus.as_ref())).unwrap();
        drop(bus);
        std::fs::write(&file, pack(&std::fs::read(folder.path().join("bus.redb")).unwrap())).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bus.redb"), unpack(&std::fs::read(&file).unwrap())).unwrap();
    for _ in 0..2 {
        let bus = open(folder.path()).unwrap();
        assert_eq!(render(bus.as_ref()), std::fs::read_to_string(&text).unwrap());
    }
    let bus = open(folder.path()).unwrap();
    fill(bus.as_ref());
    let place = TopicPartition { topic: "kept".into(), partition: 0 };
    assert_eq!(bus.bounds(&place).unwrap(), (0, 8), "it is written on");
}

/// A store of a newer program is refused with what to do, and left as it is.
#[test]
fn another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = folder.path().join("bus.redb");
    let set = |format: u64| {
        let database = redb::Database::open(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(COUNTERS).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    for (format, named) in [(2, "a newer program wrote it"), (0, "which no program of ours wrote")] {
        set(format);
        let error = open(folder.path()).err().unwrap();
        assert_eq!(error.kind, BusErrorKind::Fatal);
        assert!(error.to_string().contains(named) && error.to_string().contains("nothing was changed"), "{error}");
    }
    set(1);
    assert!(open(folder.path()).is_ok());
}
