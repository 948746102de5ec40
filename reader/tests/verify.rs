//! Builds a small archive, tampers with it in one way at a time, and demands the right code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::print_stderr,
    missing_docs
)]

use std::path::Path;

use columns::{Builder, Footer, FooterBatch, RowMeta, Rows, schema};
use ed25519_dalek::{Signer as _, SigningKey};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use reader::{Archive, Options, Outcome, Report, verify};
use schemas::layout::{Table, object_name};
use schemas::v1::{self, ArchiveBody, Hash32, SealBody, SealEnvelope};
use schemas::{Record as _, leaf};
use sha2::{Digest as _, Sha256};
use tlog::note::KeyKind;
use tlog::{BatchTree, Checkpoint, Hash, LogWriter, NoteSignature, VerifierKey, leaf_hash, seal_signed_bytes};

const ORIGIN: &str = "audit.example.com/test";
const START_MS: i64 = 1_770_000_000_000;

#[derive(Clone)]
enum Body {
    Event(Box<v1::Event>),
    Frame(Box<v1::Frame>),
    Opaque(Vec<u8>),
}

#[derive(Clone)]
struct Row {
    meta: RowMeta,
    body: Body,
}

#[derive(Clone)]
struct Object {
    name: String,
    footer: Footer,
    groups: Vec<Vec<Row>>,
}

#[derive(Clone)]
struct World {
    objects: Vec<Object>,
    entries: Vec<Vec<u8>>,
    key: SigningKey,
}

fn batch_of(table: Table, rows: &[Row]) -> arrow::array::RecordBatch {
    let mut builder = Builder::new(table);
    for row in rows {
        match &row.body {
            Body::Event(event) => builder.push_event(event, &row.meta).unwrap(),
            Body::Frame(frame) => builder.push_frame(frame, &row.meta).unwrap(),
            Body::Opaque(raw) => builder.push_opaque(Some(raw), &row.meta),
        }
    }
    builder.finish().unwrap()
}

impl Object {
    fn bytes(&self) -> Vec<u8> {
        let pairs = self.footer.to_key_values().into_iter().map(|(key, value)| KeyValue::new(key, value));
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(pairs.collect()))
            .set_compression(parquet::basic::Compression::ZSTD(Default::default()))
            .set_column_bloom_filter_enabled("session_id".into(), true)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema(self.footer.table), Some(properties)).unwrap();
        for rows in &self.groups {
            writer.write(&batch_of(self.footer.table, rows)).unwrap();
            writer.flush().unwrap();
        }
        writer.into_inner().unwrap()
    }
}

fn session(partition: i32, number: u8) -> v1::Uuid {
    v1::Uuid([u8::try_from(partition).unwrap() + 1, number, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number])
}

fn row(table: Table, partition: i32, seq: i64, session_len: i64) -> Row {
    let number = u8::try_from(seq / session_len).unwrap();
    let (session_id, sequence) = (session(partition, number), seq % session_len);
    let observed_at_us = (START_MS + seq) * 1000;
    let meta = RowMeta {
        seq,
        offset: 100 + seq + seq / 7,
        timestamp_ms: START_MS + seq,
        log_append_time: false,
        key: Some(session_id.to_text().as_bytes().to_vec()),
        opaque: false,
    };
    let body = match table {
        Table::Events if seq == 3 && partition == 1 => Body::Opaque(b"not avro".to_vec()),
        Table::Events => {
            let mut event = v1::Event { session_id, sequence, observed_at_us, ..Default::default() };
            event.event_id = v1::Uuid([9; 16]);
            event.kind = match sequence {
                0 => v1::EventKind::SessionOpened,
                s if s == session_len - 1 => v1::EventKind::SessionClosed,
                _ => v1::EventKind::Command,
            };
            event.statement = Some(format!("select {seq}"));
            event.principal_email = format!("user{number}@example.com");
            event.principal_groups = vec!["dba".into()];
            event.rows = Some(2);
            event.record_count = (sequence == session_len - 1).then_some(session_len);
            Body::Event(Box::new(event))
        }
        Table::Frames => Body::Frame(Box::new(v1::Frame {
            session_id,
            sequence,
            observed_at_us,
            message_type: "Query".into(),
            payload: vec![u8::try_from(seq % 251).unwrap(); 40],
            ..Default::default()
        })),
    };
    Row { meta, body }
}

fn sign(key: &SigningKey, verifier: &VerifierKey, size: u64, root: Hash) -> String {
    let head = Checkpoint::new(ORIGIN, size, root).unwrap();
    let signature = key.sign(head.to_string().as_bytes()).to_bytes();
    head.to_note(vec![NoteSignature::new(verifier, &signature)]).unwrap().to_string()
}

impl World {
    /// Three streams; each has batches of these sizes, two objects of two row groups.
    fn new() -> Self {
        let streams = [(Table::Events, 0), (Table::Events, 1), (Table::Frames, 2)];
        Self::of(&streams, &[&[5, 0, 300], &[600, 9], &[4, 0], &[3]])
    }

    fn of(streams: &[(Table, i32)], groups: &[&[i64]]) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut world = Self { objects: Vec::new(), entries: Vec::new(), key };
        for (table, partition) in streams {
            world.stream(*table, *partition, groups);
        }
        let size = i64::try_from(world.entries.len()).unwrap();
        for object in &mut world.objects {
            for batch in &mut object.footer.batches {
                let mut envelope = SealEnvelope::from_body(&batch.envelope).unwrap();
                envelope.tree_size = size;
                batch.envelope = envelope.to_body();
            }
        }
        world
    }

    fn verifier(&self) -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, &self.key.verifying_key().to_bytes()).unwrap()
    }

    /// `groups` lists the batch sizes of each row group; two row groups make an object.
    fn stream(&mut self, table: Table, partition: i32, groups: &[&[i64]]) {
        let topic = format!("audit.{}", table.as_str());
        let schema_json = if table == Table::Events { v1::Event::SCHEMA } else { v1::Frame::SCHEMA }.to_owned();
        let id = leaf::stream_id("c1", &topic, "t1", partition);
        let (mut seal_seq, mut seq, mut prev) = (0, 0, Hash::ZERO);
        for pair in groups.chunks(2) {
            let mut footer = Footer {
                schema_json: schema_json.clone(),
                topic: topic.clone(),
                partition,
                cluster_id: "c1".into(),
                topic_id: "t1".into(),
                stream_id: id,
                table,
                batches: Vec::new(),
            };
            let (mut rows_of, first_seal) = (Vec::new(), seal_seq);
            for (group, counts) in pair.iter().enumerate() {
                let mut rows = Vec::new();
                for count in *counts {
                    let batch: Vec<Row> = (seq..seq + count).map(|seq| row(table, partition, seq, 10)).collect();
                    let tree = BatchTree::from_leaf_hashes(leaves(table, id, &batch)).unwrap();
                    let anchor = u64::try_from(self.entries.len() / 2).unwrap();
                    let seal = SealBody {
                        version: 1,
                        origin: ORIGIN.into(),
                        stream_id: id,
                        topic: topic.clone(),
                        partition,
                        seal_seq,
                        prev_seal_hash: Hash32(*prev.as_bytes()),
                        first_seq: seq,
                        count: *count,
                        first_offset: batch.first().map_or(-1, |row| row.meta.offset),
                        last_offset: batch.last().map_or(-1, |row| row.meta.offset),
                        min_ts: batch.first().map_or(0, |row| row.meta.timestamp_ms),
                        max_ts: batch.last().map_or(0, |row| row.meta.timestamp_ms),
                        batch_root: Hash32(*tree.root().as_bytes()),
                        schema_hash: Hash32(Sha256::digest(schema_json.as_bytes()).into()),
                        closed_at: START_MS + 5000 * (seal_seq + 1),
                        anchor_size: i64::try_from(anchor).unwrap(),
                        anchor_root: Hash32(*root_at(&self.entries, anchor).as_bytes()),
                        reason: if *count == 0 { 5 } else { 2 },
                    };
                    let entry = [vec![1], seal.to_body()].concat();
                    prev = leaf_hash(&entry);
                    let signature = self.key.sign(&seal_signed_bytes(&prev)).to_bytes();
                    let envelope = SealEnvelope {
                        entry: entry.clone(),
                        log_index: i64::try_from(self.entries.len()).unwrap(),
                        tree_size: 0,
                        key_id: v1::KeyId(self.verifier().id().to_be_bytes()),
                        signature: v1::Signature64(signature),
                    };
                    let first = if *count == 0 { 0 } else { rows.len() as u64 };
                    footer.batches.push(FooterBatch {
                        seal_seq,
                        row_group: if *count == 0 { 0 } else { u32::try_from(group).unwrap() },
                        first_row_in_group: first,
                        count: u64::try_from(*count).unwrap(),
                        group_hashes: tree.group_hashes().iter().map(|hash| *hash.as_bytes()).collect(),
                        envelope: envelope.to_body(),
                    });
                    rows.extend(batch);
                    self.entries.push(entry);
                    seal_seq += 1;
                    seq += count;
                }
                rows_of.push(rows);
            }
            let name = object_name(table, partition, first_seal, START_MS + 5000 * (first_seal + 1));
            self.objects.push(Object { name, footer, groups: rows_of });
        }
    }

    /// The receipt of an object as it is now.
    fn receipt(object: &Object, bytes: &[u8]) -> ArchiveBody {
        let footer = &object.footer;
        let topic = format!("audit.{}", footer.table.as_str());
        ArchiveBody {
            version: 1,
            origin: ORIGIN.into(),
            stream_id: leaf::stream_id("c1", &topic, "t1", footer.partition),
            object: object.name.clone(),
            object_sha256: Hash32(Sha256::digest(bytes).into()),
            bytes: i64::try_from(bytes.len()).unwrap(),
            first_seal: footer.batches.first().unwrap().seal_seq,
            last_seal: footer.batches.last().unwrap().seal_seq,
        }
    }

    /// Every entry: the seals, then a receipt of each object, so that a forged row must be found by its seal.
    fn log(&self) -> Vec<Vec<u8>> {
        self.log_of(&self.bytes())
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        self.objects.iter().map(Object::bytes).collect()
    }

    fn log_of(&self, bytes: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let receipts = self.objects.iter().zip(bytes).map(|(object, bytes)| Self::receipt(object, bytes));
        let receipts = receipts.map(|receipt| [vec![4], receipt.to_body()].concat());
        self.entries.iter().cloned().chain(receipts).collect()
    }

    fn note(&self, size: u64) -> Vec<u8> {
        sign(&self.key, &self.verifier(), size, root_at(&self.log(), size)).into_bytes()
    }

    fn write(&self, dir: &Path) {
        let bytes = self.bytes();
        self.write_log(dir, &self.log_of(&bytes));
        for (object, bytes) in self.objects.iter().zip(&bytes) {
            put(dir, &object.name, bytes);
        }
    }

    fn write_log(&self, dir: &Path, entries: &[Vec<u8>]) {
        let note = |size| sign(&self.key, &self.verifier(), size, root_at(entries, size)).into_bytes();
        let mut log = LogWriter::new();
        for entry in entries {
            log.append(entry).unwrap();
        }
        for file in log.flush() {
            put(dir, &format!("log/{}", file.path), &file.bytes);
        }
        put(dir, "log/checkpoint", &note(log.size()));
        let older = log.size().min(4);
        put(dir, &format!("log/{}", tlog::checkpoint_path(older)), &note(older));
    }

    fn options(&self) -> Options {
        let now = (START_MS + 5000 * 8) / 1000;
        Options { keys: vec![self.verifier()], now_s: Some(now), max_tail_age_s: 60, threads: 2, ..Options::default() }
    }

    /// Signs and verifies the world as it is now.
    fn check(&self) -> Report {
        self.check_with(&self.options(), |_| {})
    }

    fn check_with(&self, options: &Options, change: impl Fn(&Path)) -> Report {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        change(dir.path());
        check_dir(dir.path(), options)
    }
}

fn check_dir(dir: &Path, options: &Options) -> Report {
    verify(&Archive::open(dir.to_str().unwrap()).unwrap(), options, &|_| {}).unwrap()
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn leaves(table: Table, id: v1::StreamId, rows: &[Row]) -> Vec<Hash> {
    let mut mapped = Rows::new(table, &batch_of(table, rows)).unwrap();
    (0..rows.len())
        .map(|row| {
            let mut input = Vec::new();
            mapped.leaf_input(row, id, &mut input).unwrap();
            leaf_hash(&input)
        })
        .collect()
}

fn root_at(entries: &[Vec<u8>], size: u64) -> Hash {
    tlog::root_of(&entries[..usize::try_from(size).unwrap()].iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>())
}

fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[track_caller]
fn expect(report: &Report, wanted: &[&str]) {
    assert_eq!(codes(report), wanted, "{:#?}", report.findings);
    assert_eq!(report.outcome, Outcome::Tampered);
    assert_eq!(report.exit_code, 1);
}

fn event(row: &mut Row) -> &mut v1::Event {
    let Body::Event(event) = &mut row.body else { panic!("not an event") };
    event
}

#[test]
fn a_good_archive_is_proven_only_with_an_anchor() {
    let world = World::new();
    let report = world.check();
    assert_eq!(report.findings, []);
    assert_eq!((report.outcome, report.exit_code), (Outcome::Proven, 0));
    assert_eq!((report.size, report.entries, report.streams.len(), report.rows), (30, 30, 3, 3 * 921));
    assert_eq!((report.streams[0].events, report.notes.len()), (921, 0));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outcome"], "proven");

    let free = Options { now_s: None, ..world.options() };
    let report = world.check_with(&free, |_| {});
    assert_eq!((report.outcome, report.exit_code, report.anchored), (Outcome::Incomplete, 3, false));
    assert!(report.notes[0].starts_with("tail not anchored"));
    let pinned = Options { pin: Some(world.note(10)), ..free };
    assert_eq!(world.check_with(&pinned, |_| {}).outcome, Outcome::Proven);
}

#[test]
fn altered_rows_are_placed() {
    let world = World::new();
    let mut bad = world.clone();
    event(&mut bad.objects[0].groups[1][300]).statement = Some("select 1".into());
    let report = bad.check();
    expect(&report, &["T01"]);
    assert_eq!(report.findings[0].rows, Some((256, 511)));
    assert_eq!(report.findings[0].object.as_deref(), Some(bad.objects[0].name.as_str()));

    let changes: [fn(&mut Row); 6] = [
        |row| row.meta.offset += 1,
        |row| row.meta.timestamp_ms += 1,
        |row| row.meta.key = None,
        |row| row.meta.seq += 1,
        |row| event(row).error_code = Some(String::new()),
        |row| event(row).rows = None,
    ];
    for change in changes {
        let mut bad = world.clone();
        change(&mut bad.objects[0].groups[0][4]);
        expect(&bad.check(), &["T01"]);
    }
    let mut bad = world.clone();
    let opaque = bad.objects[2].groups[0].iter_mut().find(|row| matches!(row.body, Body::Opaque(_))).unwrap();
    opaque.body = Body::Event(Box::default());
    expect(&bad.check(), &["T01"]);
    // the footer's hashes made to fit the forged row
    let mut bad = world.clone();
    event(&mut bad.objects[0].groups[0][0]).statement = None;
    bad.objects[0].footer.batches[0].group_hashes = vec![[1; 32]];
    expect(&bad.check(), &["T05", "T28"]);
}

#[test]
fn missing_inserted_repeated_and_moved_rows_are_told_apart() {
    let world = World::new();
    for at in [2, 100, 304] {
        let mut bad = world.clone();
        bad.objects[0].groups[0].remove(at);
        let report = bad.check();
        expect(&report, &["T02"]);
        assert_eq!(report.findings.len(), 1);
        for (seq, row) in bad.objects[0].groups[0].iter_mut().enumerate() {
            row.meta.seq = i64::try_from(seq).unwrap();
        }
        assert!(codes(&bad.check()).contains(&"T02"));
    }
    let mut bad = world.clone();
    let mut forged = bad.objects[0].groups[1][12].clone();
    forged.meta.offset += 1; // 100 + seq + seq / 7 leaves some offsets free
    bad.objects[0].groups[1].insert(13, forged);
    expect(&bad.check(), &["T03"]);
    let mut bad = world.clone();
    let twin = bad.objects[0].groups[1][12].clone();
    bad.objects[0].groups[1].insert(13, twin.clone());
    expect(&bad.check(), &["T03"]);
    let mut bad = world.clone();
    bad.objects[0].groups[0].push(twin);
    expect(&bad.check(), &["T27"]);
    let mut bad = world.clone();
    bad.objects[0].groups[1].swap(30, 31);
    let report = bad.check();
    expect(&report, &["T04"]);
    assert_eq!(report.findings[0].rows, Some((30, 31)));
    let mut bad = world.clone();
    let mut stray = bad.objects[0].groups[0][0].clone();
    stray.meta.offset = 1_000_000;
    bad.objects[0].groups[0].push(stray);
    expect(&bad.check(), &["T23"]);
}

#[test]
fn missing_foreign_and_repeated_files_are_named() {
    let world = World::new();
    let remove = |names: &[usize]| {
        let remove = |dir: &Path| {
            names.iter().for_each(|at| std::fs::remove_file(dir.join(&world.objects[*at].name)).unwrap());
        };
        world.check_with(&world.options(), remove)
    };
    expect(&remove(&[0]), &["T06"]);
    expect(&remove(&[0, 1]), &["T06", "T22"]);
    let lag = Options { archive_lag_s: Some(60), ..world.options() };
    let mut late = world.clone();
    late.objects.remove(1);
    let report = late.check_with(&lag, |_| {});
    assert_eq!((report.outcome, report.streams[0].waiting_seals), (Outcome::Incomplete, 2));

    let copy = |to: &str| {
        let bytes = world.objects[0].bytes();
        world.check_with(&world.options(), |dir| put(dir, to, &bytes))
    };
    expect(&copy("events/dt=2026-02-02/hour=02/p0-000000000001.parquet"), &["T23", "T27", "T28"]);
    expect(&copy("events/notes.txt"), &["T23"]);
    let mut other = world.clone();
    other.objects[0].footer.cluster_id = "c2".into();
    other.objects[0].footer.stream_id = leaf::stream_id("c2", "audit.events", "t1", 0);
    expect(&other.check(), &["T06", "T23"]);
    let expected = Options { expected_streams: vec![v1::StreamId([3; 16])], ..world.options() };
    expect(&world.check_with(&expected, |_| {}), &["T22"]);
}

#[test]
fn schema_envelope_and_stray_bytes_are_checked() {
    let world = World::new();
    let mut bad = world.clone();
    bad.objects[0].footer.schema_json.push(' ');
    expect(&bad.check(), &["T21"]);
    let mut bad = world.clone();
    bad.objects[0].footer.batches[0].envelope = world.objects[0].footer.batches[2].envelope.clone();
    expect(&bad.check(), &["T29"]);
    let mut bad = world.clone();
    let mut envelope = SealEnvelope::from_body(&bad.objects[0].footer.batches[0].envelope).unwrap();
    envelope.signature.0[9] ^= 1;
    bad.objects[0].footer.batches[0].envelope = envelope.to_body();
    expect(&bad.check(), &["T11"]);
    let path = &world.objects[0].name;
    let bytes = world.objects[0].bytes();
    let with = |bytes: &[u8]| world.check_with(&world.options(), |dir| put(dir, path, bytes));
    assert!(codes(&with(&[&bytes[..], b"x"].concat())).contains(&"T28"));
    assert!(codes(&with(b"PAR1")).contains(&"T28"));
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let at = bytes.len() - 8 - length;
    expect(&with(&[&bytes[..at], b"hidden", &bytes[at..]].concat()), &["T28"]);
}

#[test]
fn the_log_is_checked_end_to_end() {
    let world = World::new();
    let empty = tempfile::tempdir().unwrap();
    expect(&check_dir(empty.path(), &world.options()), &["T30"]);
    put(empty.path(), "log/checkpoint", &world.note(5));
    assert!(codes(&check_dir(empty.path(), &world.options())).contains(&"T10"));
    let report = world.check_with(&world.options(), |dir| std::fs::remove_dir_all(dir.join("log")).unwrap());
    assert!(codes(&report).contains(&"T30"));

    let note = world.note(30);
    let broken = |note: Vec<u8>| world.check_with(&world.options(), |dir| put(dir, "log/checkpoint", &note));
    let text = String::from_utf8(note.clone()).unwrap();
    expect(&broken(text.replace("\n30\n", "\n030\n").into_bytes()), &["T11", "T23"]);
    let shorter = codes(&broken(text.replace("\n30\n", "\n29\n").into_bytes()));
    assert!(["T10", "T11"].iter().all(|code| shorter.contains(code)), "{shorter:?}");
    let stranger = Options { origin: Some("other.example.com".into()), ..world.options() };
    let report = world.check_with(&stranger, |_| {});
    assert!(codes(&report).contains(&"T12"));
    let unknown = SigningKey::from_bytes(&[8; 32]);
    let unknown = VerifierKey::new(ORIGIN, KeyKind::Ed25519, &unknown.verifying_key().to_bytes()).unwrap();
    let report = world.check_with(&Options { keys: vec![unknown], ..world.options() }, |_| {});
    assert_eq!((codes(&report), report.exit_code), (vec!["T12"], 4));

    let mut bad = world.clone();
    bad.entries.swap(0, 8);
    let swapped = codes(&bad.check());
    assert!(swapped.contains(&"T29") && swapped.contains(&"T20"), "{swapped:?}");
    let change = |at: usize, change: &dyn Fn(&mut SealBody)| {
        let mut bad = world.clone();
        let mut seal = SealBody::from_body(&bad.entries[at][1..]).unwrap();
        change(&mut seal);
        bad.entries[at] = [vec![1], seal.to_body()].concat();
        codes(&bad.check())
    };
    assert!(change(3, &|seal| seal.prev_seal_hash.0[0] ^= 1).contains(&"T07"));
    assert!(change(3, &|seal| seal.seal_seq += 1).contains(&"T08"));
    assert!(change(3, &|seal| seal.closed_at = 5).contains(&"T20"));
    assert!(change(3, &|seal| seal.anchor_root.0[0] ^= 1).contains(&"T20"));
    assert!(change(3, &|seal| seal.anchor_size = 20).contains(&"T20"));
    assert!(change(3, &|seal| seal.first_seq += 1).contains(&"T02"));
    assert!(change(3, &|seal| seal.reason = 9).contains(&"T09"));
    let mut bad = world.clone();
    bad.entries[3].push(0);
    assert!(codes(&bad.check()).contains(&"T09"));
}

#[test]
fn cut_stale_and_forked_logs_need_an_anchor() {
    let world = World::new();
    let mut cut = world.clone();
    cut.entries.truncate(23);
    let last = cut.objects.last_mut().unwrap();
    last.footer.batches.pop();
    last.groups.pop();
    for object in &mut cut.objects {
        for batch in &mut object.footer.batches {
            let mut envelope = SealEnvelope::from_body(&batch.envelope).unwrap();
            envelope.tree_size = 23;
            batch.envelope = envelope.to_body();
        }
    }
    let pin = Options { pin: Some(world.note(30)), ..world.options() };
    let report = cut.check_with(&pin, |_| {});
    expect(&report, &["T16"]);
    assert!(report.findings[0].text.contains("1 entries lost"));
    assert_eq!(cut.check_with(&Options { now_s: None, ..world.options() }, |_| {}).exit_code, 3);
    let late = Options { now_s: world.options().now_s.map(|now| now + 100), ..world.options() };
    expect(&world.check_with(&late, |_| {}), &["T19"]);
    let newer = world.note(30);
    let report = cut.check_with(&world.options(), |dir| put(dir, "log/checkpoints/00000000000000000030", &newer));
    expect(&report, &["T16"]);
    let fork = sign(&world.key, &world.verifier(), 10, Hash::new([5; 32])).into_bytes();
    expect(&world.check_with(&Options { pin: Some(fork), ..world.options() }, |_| {}), &["T17"]);
}

#[test]
fn sessions_are_listed_and_read() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    world.write(dir.path());
    let archive = Archive::open(dir.path().to_str().unwrap()).unwrap();
    let sessions = reader::sessions(&archive).unwrap();
    assert_eq!(sessions.len(), 2 * 93);
    let wanted = session(0, 4).to_string();
    let one = sessions.iter().find(|one| one.session_id == wanted).unwrap();
    assert_eq!((one.commands, one.rows, one.records_found, one.complete), (8, 16, 10, true));
    assert_eq!((one.principal_email.as_str(), one.principal_groups.len()), ("user4@example.com", 1));
    assert!(!sessions.iter().find(|one| one.session_id == session(1, 0).to_string()).unwrap().complete);
    let (frames, events) = reader::session(&archive, &wanted[..6]).unwrap();
    assert_eq!((frames.len(), events.len()), (0, 10));
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let (frames, _) = reader::session(&archive, &session(2, 1).to_string()).unwrap();
    assert_eq!(frames.len(), 10);
    assert_eq!(reader::session(&archive, "01").unwrap_err().kind(), "ambiguous_session");
    assert_eq!(reader::session(&archive, "ff").unwrap_err().kind(), "unknown_session");
    assert_eq!(reader::events(&archive, 10_000).unwrap().len(), 2 * 921 - 1);
    assert_eq!(reader::events(&archive, 100).unwrap_err().kind(), "too_large");
}

/// Flips bits all over one object, and in every part of it that no row lives in: each is reported, with the object.
#[test]
fn any_changed_byte_of_an_object_is_reported() {
    let world = World::of(&[(Table::Frames, 2)], &[&[30]]);
    let dir = tempfile::tempdir().unwrap();
    world.write(dir.path());
    let options = Options { threads: 1, ..world.options() };
    let name = world.objects[0].name.clone();
    let good = std::fs::read(dir.path().join(&name)).unwrap();
    assert_eq!(check_dir(dir.path(), &options).findings, []);
    let object = reader::ObjectRows::open(Table::Frames, good.clone().into()).unwrap();
    let at = |offset: i64| usize::try_from(offset).unwrap();
    let mut places: Vec<usize> = (0..good.len()).step_by((good.len() / 300).max(1)).collect();
    // both magics, the footer's length, the first bytes of the footer
    let footer = good.len() - 8 - u32::from_le_bytes(good[good.len() - 8..][..4].try_into().unwrap()) as usize;
    places.extend((0..4).chain(good.len() - 8..good.len()).chain(footer..footer + 16));
    let mut filters = 0;
    for column in object.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        // page headers with their statistics, filter, page indexes
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        places.extend([at(start), at(start) + 3, at(column.data_page_offset()) + 5]);
        if let (Some(start), Some(length)) = (column.bloom_filter_offset(), column.bloom_filter_length()) {
            filters += 1;
            places.extend([at(start), at(start) + at(i64::from(length)) / 2]);
        }
        for start in [column.column_index_offset(), column.offset_index_offset()].into_iter().flatten() {
            places.push(at(start) + 1);
        }
    }
    assert!(filters > 0 && places.len() > 400);
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        put(dir.path(), &name, &bad);
        let report = check_dir(dir.path(), &options);
        let named = report.findings.iter().any(|one| {
            one.code == "T28"
                && one.object.as_deref() == Some(&name)
                && one.text.contains("differ from ARCHIVE receipt")
        });
        assert!(named && report.exit_code == 1, "byte {at}: {:#?}", report.findings);
    }
}

#[test]
fn objects_and_receipts_must_fit_each_other() {
    let world = World::of(&[(Table::Events, 0), (Table::Frames, 2)], &[&[5, 0, 30], &[6, 9], &[4, 0], &[3]]);
    let bytes = world.bytes();
    let with_lag = |archive_lag_s: Option<i64>, change: &dyn Fn(&mut Vec<ArchiveBody>)| {
        let mut receipts: Vec<ArchiveBody> =
            world.objects.iter().zip(&bytes).map(|(object, bytes)| World::receipt(object, bytes)).collect();
        change(&mut receipts);
        let receipts = receipts.iter().map(|receipt| [vec![4], receipt.to_body()].concat());
        let log: Vec<_> = world.entries.iter().cloned().chain(receipts).collect();
        let dir = tempfile::tempdir().unwrap();
        world.write_log(dir.path(), &log);
        for (object, bytes) in world.objects.iter().zip(&bytes) {
            put(dir.path(), &object.name, bytes);
        }
        check_dir(dir.path(), &Options { archive_lag_s, ..world.options() })
    };
    let with = |change: &dyn Fn(&mut Vec<ArchiveBody>)| with_lag(None, change);
    // a stream's newest object may wait for its receipt, which is said; an older one may not
    let report = with(&|receipts| drop(receipts.remove(1)));
    assert_eq!((report.findings.len(), report.outcome), (0, Outcome::Proven));
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("no ARCHIVE receipt yet") && note.contains(&world.objects[1].name))
    );
    // in an archive that is being written, what was sealed just now may wait: the result says so
    let report = with_lag(Some(60), &|receipts| drop(receipts.drain(..2)));
    assert_eq!((report.findings.len(), report.outcome, report.notes.len()), (0, Outcome::Incomplete, 2));
    expect(&with_lag(Some(10), &|receipts| drop(receipts.drain(..2))), &["T28"]);
    expect(&with_lag(Some(60), &|receipts| drop(receipts.remove(0))), &["T08", "T28"]);
    let report = with(&|receipts| drop(receipts.drain(..2)));
    expect(&report, &["T28"]);
    assert_eq!(
        (report.findings.len(), report.findings[0].object.as_deref()),
        (1, Some(world.objects[0].name.as_str()))
    );
    expect(&with(&|receipts| drop(receipts.remove(0))), &["T08", "T28"]);
    expect(&with(&|receipts| receipts[0].object_sha256.0[7] ^= 1), &["T28"]);
    expect(&with(&|receipts| receipts[0].bytes += 1), &["T28"]);
    expect(&with(&|receipts| receipts[1].last_seal -= 1), &["T28"]);
    let report = with(&|receipts| receipts[1].origin.push('x'));
    assert_eq!((codes(&report), report.exit_code), (vec!["T12"], 4));
    expect(&with(&|receipts| receipts[1].last_seal += 1), &["T09", "T28"]);
    expect(&with(&|receipts| receipts[1].version = 2), &["T09"]);
    expect(&with(&|receipts| receipts[1].stream_id.0[0] ^= 1), &["T09"]);
    expect(&with(&|receipts| receipts.push(receipts[0].clone())), &["T08", "T09"]);
    // the receipt of an object that is not there, one past the stream's last seal
    let more = |receipts: &mut Vec<ArchiveBody>| {
        receipts[0].last_seal = 2;
        let name = object_name(Table::Events, 0, 3, START_MS + 5000 * 4);
        receipts.insert(1, ArchiveBody { object: name, first_seal: 3, last_seal: 4, ..receipts[0].clone() });
    };
    expect(&with(&more), &["T06", "T28"]);
}
