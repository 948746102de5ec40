//! How fast the buses are: `bus_speed embedded [folder]`, `bus_speed kafka`. Figures go to the records of decisions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::kafka::{Kafka, KafkaConfig};
use stage::bus::{
    Assign, Batch, Bus, Cleanup, PollLimit, Position, ReaderSpec, TopicPartition, TopicSpec, WriteMode, WriterSpec,
};

const PARTITIONS: i32 = 8;
const LIMIT: PollLimit = PollLimit { records: 10_000, bytes: 8 << 20, wait: Duration::from_millis(100) };

/// Values of 500 bytes, half of them random.
fn values() -> Vec<Vec<u8>> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = || {
        let mut value = b"a record of some words that come again ".repeat(7);
        value.truncate(250);
        while value.len() < 500 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            value.extend_from_slice(&seed.to_le_bytes());
        }
        value.truncate(500);
        value
    };
    (0..2000).map(|_| value()).collect()
}

/// User and system CPU seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn topics(bus: &dyn Bus, names: &[&str]) {
    let cleanup = Cleanup::Delete { retention_ms: -1 };
    let specs: Vec<_> =
        names.iter().map(|n| TopicSpec { name: (*n).into(), partitions: PARTITIONS, cleanup }).collect();
    bus.ensure_topics(&specs).unwrap();
}

fn report(what: &str, records: u64, began: Instant, cpu_before: f64) {
    let seconds = began.elapsed().as_secs_f64();
    let per_million = (cpu() - cpu_before) / records as f64 * 1e6;
    println!("{what}: {:.0} records/s, {per_million:.2} CPU s per million", records as f64 / seconds);
}

fn fill(bus: &dyn Bus, topic: &str, transactions: u64, mode: WriteMode, what: &str) {
    let values = values();
    let mut out = bus.writer(&WriterSpec { name: "fill".into(), mode }).unwrap();
    let (began, before) = (Instant::now(), cpu());
    let mut times = Vec::new();
    for _ in 0..transactions {
        out.begin().unwrap();
        for (index, value) in values.iter().take(1000).enumerate() {
            out.send(
                topic,
                i32::try_from(index / 64).unwrap() % PARTITIONS,
                Some(b"0123456789abcdef0123456789abcdef0123"),
                Some(value),
            )
            .unwrap();
        }
        let commit = Instant::now();
        out.commit(None).unwrap();
        times.push(commit.elapsed());
    }
    report(what, transactions * 1000, began, before);
    times.sort();
    println!("  commit p50 {:.2?}, p99 {:.2?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}

fn read_all(bus: &dyn Bus, topic: &str, records: usize, what: &str) {
    let positions = (0..PARTITIONS)
        .map(|partition| Position {
            topic_partition: TopicPartition { topic: topic.into(), partition },
            next_offset: 0,
        })
        .collect();
    let spec = ReaderSpec { topics: vec![topic.into()], assign: Assign::Manual(positions), instance: "speed".into() };
    let mut reader = bus.reader(&spec).unwrap();
    let mut batch = Batch::default();
    let (began, before) = (Instant::now(), cpu());
    let mut seen = 0;
    while seen < records {
        reader.poll(&mut batch, LIMIT).unwrap();
        seen += batch.iter().filter(|record| record.value.is_some()).count();
    }
    report(what, u64::try_from(seen).unwrap(), began, before);
}

/// Copies `records` from one topic to another in transactions of about 100 ms, positions included.
fn copy(bus: &dyn Bus, from: &str, to: &str, records: usize, what: &str) {
    let spec =
        ReaderSpec { topics: vec![from.into()], assign: Assign::Group(format!("{to}-g")), instance: "copy".into() };
    let mut reader = bus.reader(&spec).unwrap();
    let mut out = bus.writer(&WriterSpec { name: format!("{to}-w"), mode: WriteMode::Transactional }).unwrap();
    let mut batch = Batch::default();
    while reader.assignment().is_empty() {
        reader.poll(&mut batch, PollLimit { records: 1, ..LIMIT }).unwrap();
        for record in batch.iter() {
            let topic_partition = TopicPartition { topic: from.into(), partition: record.partition };
            reader.seek(&Position { topic_partition, next_offset: record.offset }).unwrap();
        }
    }
    let (began, before) = (Instant::now(), cpu());
    let mut done = 0;
    while done < records {
        let (open, began_at) = (Instant::now(), done);
        let mut next: HashMap<i32, i64> = HashMap::new();
        out.begin().unwrap();
        while open.elapsed() < Duration::from_millis(100) && done < records && done - began_at < 50_000 {
            reader.poll(&mut batch, PollLimit { records: 5000, wait: Duration::from_millis(20), ..LIMIT }).unwrap();
            for record in batch.iter() {
                out.send(to, record.partition, record.key, record.value).unwrap();
                next.insert(record.partition, record.offset + 1);
                done += 1;
            }
        }
        let positions: Vec<Position> = next
            .into_iter()
            .map(|(partition, next_offset)| Position {
                topic_partition: TopicPartition { topic: from.into(), partition },
                next_offset,
            })
            .collect();
        let membership = reader.membership().unwrap();
        out.commit(Some((&membership, &positions))).unwrap();
    }
    report(what, u64::try_from(done).unwrap(), began, before);
}

/// The same without the adapter: the least that the client library takes.
fn bare(bootstrap: &str, from: &str, to: &str, records: usize) {
    let mut base = ClientConfig::new();
    base.set("bootstrap.servers", bootstrap);
    let consumer: BaseConsumer = base
        .clone()
        .set("group.id", format!("{to}-g"))
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "20")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(from, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let producer: BaseProducer = base
        .set("transactional.id", format!("{to}-w"))
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    while consumer.poll(Duration::from_millis(100)).is_none() {}
    let (began, before) = (Instant::now(), cpu());
    let mut done = 0;
    while done < records - 1 {
        let open = Instant::now();
        producer.begin_transaction().unwrap();
        while open.elapsed() < Duration::from_millis(100) && done < records - 1 {
            let Some(message) = consumer.poll(Duration::from_millis(20)) else { continue };
            let message = message.unwrap();
            let mut record = BaseRecord::<[u8], [u8]>::to(to)
                .partition(message.partition())
                .key(message.key().unwrap())
                .payload(message.payload().unwrap());
            while let Err((error, back)) = producer.send(record) {
                assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
                record = back;
                producer.poll(Duration::from_millis(1));
            }
            done += 1;
            if done % 512 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        let positions = consumer.position().unwrap();
        let group = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&positions, &group, Duration::from_secs(20)).unwrap();
        while producer.flush(Duration::ZERO).is_err() {
            producer.poll(Duration::from_millis(1));
        }
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
    }
    report("kafka, bare loop, consume-transform-produce", u64::try_from(done).unwrap(), began, before);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("embedded") => {
            let folder = tempfile::tempdir_in(arguments.get(2).map_or(".", String::as_str)).unwrap();
            let bus = Embedded::open(&EmbeddedConfig::at(folder.path())).unwrap();
            topics(&*bus, &["from", "to"]);
            fill(&*bus, "from", 1000, WriteMode::Transactional, "embedded, append, synced");
            read_all(&*bus, "from", 1_000_000, "embedded, read");
            copy(&*bus, "from", "to", 1_000_000, "embedded, consume-transform-produce");
        }
        Some("kafka") => {
            let options = testkit::kafka::Options { bench: true, ..Default::default() };
            let broker = testkit::kafka::Kafka::start(&options).unwrap();
            let bus = Kafka::connect(&KafkaConfig::at(&broker.bootstrap())).unwrap();
            topics(&*bus, &["from", "to-0", "to-1", "to-2", "to-3"]);
            fill(&*bus, "from", 500, WriteMode::Idempotent, "kafka, produce");
            read_all(&*bus, "from", 500_000, "kafka, consume");
            for round in 0..2 {
                bare(&broker.bootstrap(), "from", &format!("to-{}", round * 2), 500_000);
                copy(
                    &*bus,
                    "from",
                    &format!("to-{}", round * 2 + 1),
                    500_000,
                    "kafka, adapter, consume-transform-produce",
                );
            }
        }
        _ => println!("bus_speed embedded [folder] | bus_speed kafka"),
    }
}
