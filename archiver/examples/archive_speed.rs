//! Rows per second of the archiver's core: collect, write Parquet, read back and hash, without bus and store.
//! `cargo run --release -p archiver --example archive_speed`
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation, clippy::cast_precision_loss)]

use std::time::Instant;

use archiver::ArchiverConfig;
use archiver::collect::Collector;
use archiver::readback::verify;
use archiver::rolling::{OpenFile, StreamFacts, schema_json};
use archiver::seal::Seal;
use schemas::framing::Framing;
use schemas::layout::Table;
use schemas::v1::{self, Hash32, SealBody, SealEnvelope};
use schemas::{Record, leaf};
use sha2::Digest as _;
use stage::bus::RecordRef;

const ROWS: i64 = 250_000;

fn main() {
    let (cluster_id, topic, topic_id) = ("c".to_owned(), "audit.frames".to_owned(), "t".to_owned());
    let id = leaf::stream_id(&cluster_id, &topic, &topic_id, 0);
    let facts = StreamFacts { table: Table::Frames, topic: topic.clone(), partition: 0, cluster_id, topic_id, id };
    let values: Vec<Vec<u8>> = (0..ROWS)
        .map(|sequence| {
            let id = v1::Uuid(u128::try_from(sequence).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            let payload = format!("select * from accounts where id = {sequence} and balance > {}", sequence * 7);
            let frame = v1::Frame {
                event_id: id,
                sequence,
                payload: payload.into_bytes(),
                message_type: "Query".into(),
                principal_subject: "ada@example.com".into(),
                target_name: "orders".into(),
                ..v1::Frame::default()
            };
            let mut value = Vec::new();
            Framing::single_object::<v1::Frame>().prefix(&mut value);
            frame.encode(&mut value);
            value
        })
        .collect();
    let bytes: usize = values.iter().map(Vec::len).sum();
    let start = Instant::now();
    let mut collector = Collector::new(Table::Frames, id);
    for (offset, value) in (0..).zip(&values) {
        let record = RecordRef {
            topic: 0,
            partition: 0,
            offset,
            timestamp_ms: 1_770_000_000_000 + offset,
            log_append_time: false,
            key: Some(b"01234567-89ab-cdef-0123-456789abcdef"),
            value: Some(value),
        };
        collector.push(offset, &record).unwrap();
    }
    let batch = collector.finish().unwrap();
    let collected = start.elapsed();
    let body = SealBody {
        version: 1,
        stream_id: id,
        topic,
        count: ROWS,
        last_offset: ROWS - 1,
        batch_root: Hash32(*batch.tree.root().as_bytes()),
        schema_hash: Hash32(sha2::Sha256::digest(schema_json(Table::Frames).as_bytes()).into()),
        ..SealBody::default()
    };
    let mut entry = vec![1];
    body.encode(&mut entry);
    let seal = Seal::parse(&SealEnvelope { entry, ..SealEnvelope::default() }.to_body()).unwrap();
    let mut file = OpenFile::new(&facts, &ArchiverConfig::default(), &seal).unwrap();
    file.add(&seal, &batch).unwrap();
    let file = file.finish().unwrap();
    let written = start.elapsed();
    verify(&file.bytes).unwrap();
    let whole = start.elapsed();
    let rate = |time: std::time::Duration| ROWS as f64 / time.as_secs_f64();
    println!(
        "rows {ROWS}, {} bytes each on the bus, {} in Parquet",
        bytes / ROWS as usize,
        file.bytes.len() / ROWS as usize
    );
    println!("collect    {:>10.0} rows/s", rate(collected));
    println!("write      {:>10.0} rows/s", rate(written - collected));
    println!("read back  {:>10.0} rows/s", rate(whole - written));
    println!("together   {:>10.0} rows/s", rate(whole));
}
