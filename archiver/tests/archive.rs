//! The archiver on the embedded bus: same bytes however it is polled, restarts, races, objects that hold something else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]
//! Sealed records on the embedded bus to objects in a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use archiver::{Archive, ArchiveError, ArchiverConfig};
use schemas::framing::Framing;
use schemas::topics::Topics;
use schemas::v1::{self, KeyId, SealEnvelope, Signature64};
use schemas::{Record, layout};
use sealer::batch::{Batch, Reason, Stream};
use sealer::entry::Entry;
use sealer::integrate::Head;
use sealer::leaf::{Gate, Kind};
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{
    Assign, Bus, Cleanup, PollLimit, Position, ReaderSpec, TopicPartition, TopicSpec, WriteMode, WriterSpec,
};
use stage::store::{Store, StoreConfig};
use stage::{Env, Level};

/// 2026-02-02 02:40 UTC.
const START_MS: i64 = 1_770_000_000_000;

struct Line {
    _folder: tempfile::TempDir,
    env: Env,
    stream: Stream,
    head: Option<Head>,
    log_index: i64,
    sent: i64,
    sealed: i64,
}

impl Line {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = Embedded::open(&EmbeddedConfig { sync: false, ..EmbeddedConfig::at(folder.path()) }).unwrap();
        let topics = Topics::default();
        let keep = Cleanup::Delete { retention_ms: -1 };
        let spec = |name: &String| TopicSpec { name: name.clone(), partitions: 1, cleanup: keep };
        let own = [&topics.frames, &topics.events, &topics.seals, &topics.seal_proposals].map(spec);
        bus.ensure_topics(&own).unwrap();
        let info = bus.describe(&topics.frames).unwrap();
        let stream = sealer::worker::stream_of("example/log", &info, &topics.frames, 0, Kind::Frames);
        let env = Env {
            bus,
            topics,
            partitions: 1,
            registry: Arc::new(stage::registry::Registry::none()),
            shutdown: stage::Shutdown::new(),
            instance: "t".into(),
        };
        Self { _folder: folder, env, stream, head: None, log_index: 0, sent: 0, sealed: 0 }
    }

    /// Sends values, or garbage and nothing now and then.
    fn send(&mut self, count: i64) {
        let mut writer = self.writer("frames");
        writer.begin().unwrap();
        for _ in 0..count {
            let number = self.sent;
            self.sent += 1;
            let id = v1::Uuid(u128::try_from(number).unwrap().to_be_bytes());
            let text = format!("message {number}");
            let payload = text.repeat(3).into_bytes();
            let frame =
                v1::Frame { event_id: id, sequence: number, payload, message_type: text, ..v1::Frame::default() };
            let mut value = Vec::new();
            Framing::single_object::<v1::Frame>().prefix(&mut value);
            frame.encode(&mut value);
            let value = match number % 50 {
                48 => None,
                49 => Some(&b"garbage"[..]),
                _ => Some(value.as_slice()),
            };
            writer.send(&self.env.topics.frames, 0, Some(id.to_text().as_bytes()), value).unwrap();
        }
        writer.commit(None).unwrap();
    }

    fn writer(&self, name: &str) -> Box<dyn stage::bus::Writer> {
        let spec = WriterSpec { name: name.into(), mode: WriteMode::Idempotent };
        self.env.bus.writer(&spec).unwrap()
    }

    /// Seals everything sent and not sealed; a heartbeat when there is none.
    fn seal(&mut self, at_ms: i64, reason: Reason) -> Vec<u8> {
        let mut batch = Batch::default();
        let mut gate = Gate::new(Kind::Frames);
        let place = TopicPartition { topic: self.env.topics.frames.clone(), partition: 0 };
        let next_offset = self.head.as_ref().map_or(0, |head| head.last_offset + 1);
        let spec = ReaderSpec {
            topics: vec![place.topic.clone()],
            assign: Assign::Manual(vec![Position { topic_partition: place, next_offset }]),
            instance: "seal".into(),
        };
        let mut reader = self.env.bus.reader(&spec).unwrap();
        let mut records = stage::bus::Batch::default();
        while batch.count() < self.sent - self.sealed {
            let wait = std::time::Duration::from_millis(100);
            reader.poll(&mut records, PollLimit { records: 1000, bytes: 1 << 20, wait }).unwrap();
            for record in records.iter() {
                let leaf = gate.leaf(self.stream.id, &record);
                batch.push(leaf, record.offset, record.timestamp_ms, 0, at_ms);
            }
        }
        self.sealed = self.sent;
        let seal = batch.seal(&self.stream, self.head.as_ref(), (0, tlog::EMPTY_ROOT), at_ms, reason);
        let entry = sealer::entry::encode_seal(&seal);
        self.head = Some(Head::after(self.head.as_ref(), &seal, tlog::leaf_hash(&entry)));
        let envelope = SealEnvelope {
            entry,
            log_index: self.log_index,
            tree_size: self.log_index + 1,
            key_id: KeyId([1; 4]),
            signature: Signature64([2; 64]),
        };
        self.log_index += 1;
        let mut value = Vec::new();
        Framing::single_object::<SealEnvelope>().prefix(&mut value);
        envelope.encode(&mut value);
        self.publish(&value);
        value
    }

    /// Receipts proposed so far.
    fn receipts(&self) -> Vec<v1::ArchiveBody> {
        let place = TopicPartition { topic: self.env.topics.seal_proposals.clone(), partition: 0 };
        let (_, end) = self.env.bus.bounds(&place).unwrap();
        let spec = ReaderSpec {
            topics: vec![place.topic.clone()],
            assign: Assign::Manual(vec![Position { topic_partition: place, next_offset: 0 }]),
            instance: "receipts".into(),
        };
        let mut reader = self.env.bus.reader(&spec).unwrap();
        let (mut records, mut found) = (stage::bus::Batch::default(), Vec::new());
        while i64::try_from(found.len()).unwrap() < end {
            let wait = std::time::Duration::from_millis(100);
            reader.poll(&mut records, PollLimit { records: 1000, bytes: 1 << 20, wait }).unwrap();
            found.extend(records.iter().map(|record| match Entry::decode(record.value.unwrap()).unwrap() {
                Entry::Archive(receipt) => receipt,
                other => panic!("the archiver proposes only receipts, not {other:?}"),
            }));
        }
        found
    }

    fn publish(&self, value: &[u8]) {
        let mut writer = self.writer("seals");
        writer.begin().unwrap();
        writer.send(&self.env.topics.seals, 0, Some(b"key"), Some(value)).unwrap();
        writer.commit(None).unwrap();
    }

    /// Two rows groups, a repeat, an hour's end, heartbeats before and after rows, a last seal.
    fn day(&mut self) {
        self.seal(START_MS, Reason::Heartbeat);
        self.seal(START_MS + 60_000, Reason::Heartbeat);
        self.send(300);
        let repeat = self.seal(START_MS + 120_000, Reason::Count);
        self.send(250);
        self.seal(START_MS + 125_000, Reason::Age);
        self.publish(&repeat);
        self.send(40);
        self.seal(START_MS + 3_600_000, Reason::Age);
        self.seal(START_MS + 3_660_000, Reason::Heartbeat);
        self.seal(START_MS + 3_720_000, Reason::Heartbeat);
        self.send(7);
        self.seal(START_MS + 3_720_001, Reason::Shutdown);
    }
}

fn store(folder: &Path) -> Arc<Store> {
    Store::open(&StoreConfig { url: folder.display().to_string(), ..StoreConfig::default() }).unwrap().shared()
}

fn config(poll_records: u32) -> ArchiverConfig {
    ArchiverConfig { target_bytes: 1 << 20, row_group_rows: 400, poll_records }
}

fn drain(line: &Line, store: &Arc<Store>, poll_records: u32) -> Archive {
    let mut archive = Archive::open(&config(poll_records), &line.env, store.clone()).unwrap();
    while !archive.is_at_end().unwrap() {
        archive.step().unwrap();
    }
    archive
}

fn objects(store: &Store) -> BTreeMap<String, Vec<u8>> {
    store.list("frames").unwrap().into_iter().map(|name| (name.clone(), store.get(&name).unwrap().unwrap())).collect()
}

#[test]
fn files_and_bytes_follow_from_the_seals_alone() {
    let mut line = Line::new();
    line.day();
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (store(&folder.path().join("1")), store(&folder.path().join("2")));
    let counts = drain(&line, &one, 4096).counts();
    assert_eq!((counts.objects, counts.rows, counts.stopped), (3, 597, 0));
    drain(&line, &two, 7);
    let found = objects(&one);
    assert_eq!(found, objects(&two), "the same bytes whatever the polls");
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "frames/dt=2026-02-02/hour=02/p0-000000000000.parquet",
            "frames/dt=2026-02-02/hour=03/p0-000000000004.parquet",
            "frames/dt=2026-02-02/hour=03/p0-000000000006.parquet",
        ]
    );
    let mut seals = Vec::new();
    for bytes in found.into_values() {
        let footer = archiver::readback::verify(&bytes.into()).unwrap();
        seals.extend(footer.batches.iter().map(|batch| (batch.seal_seq, batch.row_group, batch.count)));
    }
    let want = [(0, 0, 0), (1, 0, 0), (2, 0, 300), (3, 1, 250), (4, 0, 40), (5, 0, 0), (6, 0, 0), (7, 0, 7)];
    assert_eq!(seals, want, "every seal in exactly one file");
}

#[test]
fn a_restart_goes_on_after_the_newest_object() {
    let mut line = Line::new();
    line.day();
    let folder = tempfile::tempdir().unwrap();
    let (whole, halves) = (store(&folder.path().join("1")), store(&folder.path().join("2")));
    drain(&line, &whole, 100);
    let wanted = objects(&whole);
    // a crash after the first object: the rest is made again, the first is not looked at
    let first = wanted.first_key_value().unwrap();
    halves.put_create(first.0, first.1, true).unwrap();
    let counts = drain(&line, &halves, 33).counts();
    assert_eq!((counts.objects, objects(&halves) == wanted), (2, true));
    assert_eq!(drain(&line, &halves, 33).counts().objects, 0);
    // an object put by an archiver that ran at the same time
    let both = store(&folder.path().join("3"));
    let mut late = Archive::open(&config(9), &line.env, both.clone()).unwrap();
    drain(&line, &both, 50);
    while !late.is_at_end().unwrap() {
        late.step().unwrap();
    }
    assert_eq!((late.take_failure().is_none(), objects(&both) == wanted), (true, true));
}

#[test]
fn an_object_that_holds_something_else_stops_its_stream() {
    let mut line = Line::new();
    line.day();
    let folder = tempfile::tempdir().unwrap();
    let good = store(&folder.path().join("1"));
    drain(&line, &good, 100);
    let mut found = objects(&good);
    let (name, bytes) = found.pop_first().unwrap();
    // a byte of a column's pages; the whole of another sound file; no Parquet at all
    let mut flipped = bytes.clone();
    let parsed =
        parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes)).unwrap();
    let payload = columns::schema(layout::Table::Frames).index_of("payload").unwrap();
    let (start, length) = parsed.row_group(0).column(payload).byte_range();
    flipped[usize::try_from(start + length / 2).unwrap()] ^= 1;
    let cases = [flipped, found.pop_first().unwrap().1, b"PAR1".to_vec()];
    for (number, changed) in cases.into_iter().enumerate() {
        let bad = store(&folder.path().join(format!("bad{number}")));
        let mut archive = Archive::open(&config(100), &line.env, bad.clone()).unwrap();
        bad.put_create(&name, &changed, true).unwrap();
        while !archive.is_at_end().unwrap() {
            archive.step().unwrap();
        }
        let error = archive.take_failure().unwrap();
        assert!(matches!(error, ArchiveError::Conflict { .. }) && error.to_string().contains(&name), "{error}");
        assert_eq!(
            (archive.counts().stopped, bad.get(&name).unwrap().unwrap()),
            (1, changed),
            "nothing is overwritten"
        );
        assert_eq!(bad.list("frames").unwrap().len(), 1, "the stream does not go on");
        assert!(layout::parse_object_name(&name).is_some());
    }
}

#[test]
fn a_lost_seal_and_other_records_stop_the_stream() {
    let mut line = Line::new();
    line.send(3);
    line.seal(START_MS, Reason::Count);
    line.head.as_mut().unwrap().seal_seq += 1;
    line.send(3);
    line.seal(START_MS + 1, Reason::Shutdown);
    let folder = tempfile::tempdir().unwrap();
    let mut archive = drain(&line, &store(folder.path()), 10);
    assert_eq!(archive.take_failure().unwrap().kind(), "chain");
    assert_eq!(archive.counts().objects, 0);
}

/// I-08: each object's bytes are in the log's topic before its stream goes on, and again after a restart.
#[test]
fn every_object_gets_its_receipt() {
    let mut line = Line::new();
    line.day();
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    drain(&line, &store, 100);
    let receipts = line.receipts();
    let ranges: Vec<_> = receipts.iter().map(|receipt| (receipt.first_seal, receipt.last_seal)).collect();
    assert_eq!(ranges, [(0, 3), (4, 5), (6, 7)], "without gap from 0");
    let stored = objects(&store);
    for receipt in &receipts {
        let bytes = &stored[&receipt.object];
        let hash: [u8; 32] = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(bytes)).into();
        assert_eq!((receipt.object_sha256.0, receipt.bytes), (hash, i64::try_from(bytes.len()).unwrap()));
        assert_eq!((receipt.stream_id, receipt.origin.as_str()), (line.stream.id, "example/log"));
    }
    // a restart cannot know whether the newest one was proposed: it is, once more, and no other
    drain(&line, &store, 100);
    assert_eq!(line.receipts()[3..], receipts[2..]);
}

/// Workers, archiver and notary drained in this order: the log holds the receipt of every object.
#[test]
fn a_drained_line_leaves_no_object_without_receipt() {
    let mut line = Line::new();
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("archive"));
    let key_file = folder.path().join("log.key");
    sealer::signer::FileSigner::create(&key_file, &[7; 32], "example/log").unwrap();
    let sealer_config = sealer::SealerConfig {
        origin: "example/log".into(),
        key_file,
        state_folder: folder.path().join("sealer"),
        batch_age_ms: 20,
        ..sealer::SealerConfig::default()
    };
    let mut names = Vec::new();
    for round in 1..=2 {
        let log = Box::new(sealer::store::StoreLog::new(store.clone()));
        let archiver = archiver::start(&config(100), &line.env.apart(), store.clone()).unwrap();
        let sealer = sealer::start::start(&sealer_config, &line.env.apart(), log).unwrap();
        line.send(120);
        sealer.workers.stop(Level::Drain).unwrap();
        assert!(!sealer.notary.is_finished());
        archiver.stop(Level::Drain).unwrap();
        sealer.notary.stop(Level::Drain).unwrap();
        names = objects(&store).into_keys().collect();
        assert!(names.len() >= round);
        let newest = store
            .list("log/tile/entries")
            .unwrap()
            .into_iter()
            .max_by_key(|name| name.rsplit('/').next().and_then(|width| width.parse::<u64>().ok()).unwrap_or(256));
        let bundle = store.get(&newest.unwrap()).unwrap().unwrap();
        for name in &names {
            assert!(bundle.windows(name.len()).any(|window| window == name.as_bytes()), "{name} has no receipt");
        }
    }
    assert_eq!(
        line.env.bus.bounds(&TopicPartition { topic: line.env.topics.frames.clone(), partition: 0 }).unwrap().1,
        240
    );
    assert!(names.len() >= 2);
}

/// Whichever part of the sealer ends by itself, the other does too.
#[test]
fn no_half_sealer_goes_on() {
    let line = Line::new();
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("archive"));
    let key_file = folder.path().join("log.key");
    sealer::signer::FileSigner::create(&key_file, &[7; 32], "example/log").unwrap();
    let (origin, state_folder) = ("example/log".to_owned(), folder.path().join("sealer"));
    let sealer_config = sealer::SealerConfig { origin, key_file, state_folder, ..sealer::SealerConfig::default() };
    let log = Box::new(sealer::store::StoreLog::new(store));
    let sealer = sealer::start::start(&sealer_config, &line.env.apart(), log).unwrap();
    sealer.notary.stop(Level::Stop).unwrap();
    let began = std::time::Instant::now();
    sealer.workers.join().unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn it_drains_what_is_sealed_and_stops() {
    let mut line = Line::new();
    line.day();
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let running = archiver::start(&config(100), &line.env, store.clone()).unwrap();
    running.stop(Level::Drain).unwrap();
    assert_eq!(store.list("frames").unwrap().len(), 3);
}
