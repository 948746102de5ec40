//! A small archive built row by row, which a test then forges in one way.
#![allow(dead_code)] // each test file uses its part

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

pub(crate) const ORIGIN: &str = "audit.example.com/test";
pub(crate) const START_MS: i64 = 1_770_000_000_000;

#[derive(Clone)]
pub(crate) enum Body {
    Event(Box<v1::Event>),
    Frame(Box<v1::Frame>),
    Opaque(Vec<u8>),
}

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) meta: RowMeta,
    pub(crate) body: Body,
}

#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) footer: Footer,
    pub(crate) groups: Vec<Vec<Row>>,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) objects: Vec<Object>,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) key: SigningKey,
}

pub(crate) fn batch_of(table: Table, rows: &[Row]) -> arrow::array::RecordBatch {
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
    pub(crate) fn bytes(&self) -> Vec<u8> {
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

pub(crate) fn session(partition: i32, number: u8) -> v1::Uuid {
    v1::Uuid([u8::try_from(partition).unwrap() + 1, number, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number])
}

pub(crate) fn row(table: Table, partition: i32, seq: i64, session_len: i64) -> Row {
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

pub(crate) fn sign(key: &SigningKey, verifier: &VerifierKey, size: u64, root: Hash) -> String {
    let head = Checkpoint::new(ORIGIN, size, root).unwrap();
    let signature = key.sign(head.to_string().as_bytes()).to_bytes();
    head.to_note(vec![NoteSignature::new(verifier, &signature)]).unwrap().to_string()
}

impl World {
    /// Three streams; each has batches of these sizes, two objects of two row groups.
    pub(crate) fn new() -> Self {
        let streams = [(Table::Events, 0), (Table::Events, 1), (Table::Frames, 2)];
        Self::of(&streams, &[&[5, 0, 300], &[600, 9], &[4, 0], &[3]])
    }

    pub(crate) fn of(streams: &[(Table, i32)], groups: &[&[i64]]) -> Self {
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

    pub(crate) fn verifier(&self) -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, &self.key.verifying_key().to_bytes()).unwrap()
    }

    /// `groups` lists the batch sizes of each row group; two row groups make an object.
    pub(crate) fn stream(&mut self, table: Table, partition: i32, groups: &[&[i64]]) {
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
    pub(crate) fn receipt(object: &Object, bytes: &[u8]) -> ArchiveBody {
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
    pub(crate) fn log(&self) -> Vec<Vec<u8>> {
        self.log_of(&self.bytes())
    }

    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.objects.iter().map(Object::bytes).collect()
    }

    pub(crate) fn log_of(&self, bytes: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let receipts = self.objects.iter().zip(bytes).map(|(object, bytes)| Self::receipt(object, bytes));
        let receipts = receipts.map(|receipt| [vec![4], receipt.to_body()].concat());
        self.entries.iter().cloned().chain(receipts).collect()
    }

    pub(crate) fn note(&self, size: u64) -> Vec<u8> {
        sign(&self.key, &self.verifier(), size, root_at(&self.log(), size)).into_bytes()
    }

    pub(crate) fn write(&self, dir: &Path) {
        let bytes = self.bytes();
        self.write_log(dir, &self.log_of(&bytes));
        for (object, bytes) in self.objects.iter().zip(&bytes) {
            put(dir, &object.name, bytes);
        }
    }

    pub(crate) fn write_log(&self, dir: &Path, entries: &[Vec<u8>]) {
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

    pub(crate) fn options(&self) -> Options {
        let now = (START_MS + 5000 * 8) / 1000;
        Options { keys: vec![self.verifier()], now_s: Some(now), max_tail_age_s: 60, threads: 2, ..Options::default() }
    }

    /// Signs and verifies the world as it is now.
    pub(crate) fn check(&self) -> Report {
        self.check_with(&self.options(), |_| {})
    }

    pub(crate) fn check_with(&self, options: &Options, change: impl Fn(&Path)) -> Report {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        change(dir.path());
        check_dir(dir.path(), options)
    }
}

pub(crate) fn check_dir(dir: &Path, options: &Options) -> Report {
    verify(&Archive::open(dir.to_str().unwrap()).unwrap(), options, &|_| {}).unwrap()
}

pub(crate) fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn leaves(table: Table, id: v1::StreamId, rows: &[Row]) -> Vec<Hash> {
    let mapped = Rows::new(table, &batch_of(table, rows)).unwrap();
    (0..rows.len())
        .map(|row| {
            let mut input = Vec::new();
            mapped.leaf_input(row, id, &mut input).unwrap();
            leaf_hash(&input)
        })
        .collect()
}

pub(crate) fn root_at(entries: &[Vec<u8>], size: u64) -> Hash {
    tlog::root_of(&entries[..usize::try_from(size).unwrap()].iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>())
}

pub(crate) fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[track_caller]
pub(crate) fn expect(report: &Report, wanted: &[&str]) {
    assert_eq!(codes(report), wanted, "{:#?}", report.findings);
    assert_eq!(report.outcome, Outcome::Tampered);
    assert_eq!(report.exit_code, 1);
}

pub(crate) fn event(row: &mut Row) -> &mut v1::Event {
    let Body::Event(event) = &mut row.body else { panic!("not an event") };
    event
}
