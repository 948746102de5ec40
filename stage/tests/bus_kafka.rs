//! The Kafka adapter against the bus suite, on a real broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use stage::bus::kafka::{Kafka, KafkaConfig};
use stage::bus::{
    Assign, Batch, Bus, BusErrorKind, Cleanup, PollLimit, ReaderSpec, TopicSpec, WriteMode, WriterSpec, suite,
};

fn config(bootstrap: &str) -> KafkaConfig {
    let mut config = KafkaConfig::at(bootstrap);
    config.identity_topic = "test.topic.ids".into();
    for (name, value) in [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "200")] {
        config.properties.insert(name.into(), value.into());
    }
    config
}

#[test]
fn keeps_the_bus_suite() {
    let broker = testkit::kafka::Kafka::one().unwrap();
    let config = config(&broker.bootstrap());
    let options = suite::Options {
        prefix: "suite-".into(),
        patience: Duration::from_secs(60),
        quiet: Duration::from_millis(700),
    };
    let make = || Kafka::connect(&config).map(|bus| bus as Arc<dyn Bus>);
    let passed = suite::run_all(&make, &options).unwrap_or_else(|failed| panic!("{failed}"));
    for check in &passed {
        println!("{} {:?}", check.check, check.took);
    }
    assert!(passed.len() >= 19);
    identity_outlives_the_process(&config);
    commits_are_quick(&config);
}

/// A topic made by somebody else gets one identity, the same for all; a topic made anew gets another.
fn identity_outlives_the_process(config: &KafkaConfig) {
    let spec = TopicSpec { name: "identity".into(), partitions: 1, cleanup: Cleanup::Compact };
    Kafka::connect(config).unwrap().ensure_topics(&[spec]).unwrap();
    let ids: Vec<String> =
        (0..2).map(|_| Kafka::connect(config).unwrap().describe("identity").unwrap().topic_id).collect();
    assert_eq!(ids[0], ids[1]);
    let mut other = config.clone();
    other.identity_topic = "test.other.ids".into();
    let (one, two) = (Kafka::connect(&other).unwrap(), Kafka::connect(&other).unwrap());
    let found = std::thread::scope(|scope| {
        let asked = scope.spawn(|| one.describe("identity").unwrap().topic_id);
        let also = two.describe("identity").unwrap().topic_id;
        (asked.join().unwrap(), also)
    });
    assert_eq!(found.0, found.1, "two processes found the topic at once and disagree");
    assert_ne!(found.0, ids[0]);
}

/// The library's own commit takes 100 ms; ours must not.
fn commits_are_quick(config: &KafkaConfig) {
    let bus = Kafka::connect(config).unwrap();
    let topic = TopicSpec { name: "quick".into(), partitions: 4, cleanup: Cleanup::Delete { retention_ms: -1 } };
    bus.ensure_topics(&[topic]).unwrap();
    let mut out = bus.writer(&WriterSpec { name: "quick".into(), mode: WriteMode::Transactional }).unwrap();
    let mut times = Vec::new();
    for round in 0..40 {
        out.begin().unwrap();
        for index in 0..20 {
            out.send("quick", index % 4, None, Some(b"value")).unwrap();
        }
        let began = Instant::now();
        out.commit(None).unwrap();
        if round >= 10 {
            times.push(began.elapsed());
        }
    }
    times.sort();
    println!("commit of 20 records: p50 {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() / 2] < Duration::from_millis(80), "{times:?}");
}

#[test]
fn an_absent_cluster_is_told_soon() {
    let mut config = config("127.0.0.1:1");
    config.timeout = Duration::from_millis(500);
    let error = Kafka::connect(&config).err().unwrap();
    assert_eq!(error.kind, BusErrorKind::Retriable, "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_broker_killed_between_commits_loses_nothing() {
    let mut broker = testkit::kafka::Kafka::one().unwrap();
    let config = config(&broker.bootstrap());
    let bus = Kafka::connect(&config).unwrap();
    let topic = TopicSpec { name: "t".into(), partitions: 1, cleanup: Cleanup::Delete { retention_ms: -1 } };
    bus.ensure_topics(&[topic]).unwrap();
    let mut out = bus.writer(&WriterSpec { name: "w".into(), mode: WriteMode::Transactional }).unwrap();
    let mut committed = Vec::new();
    for round in 0..6 {
        if round % 3 == 2 {
            broker.kill9(0).unwrap();
            broker.restart(0).unwrap();
        }
        let values: Vec<String> = (0..50).map(|index| format!("{round}-{index}")).collect();
        let result = out.begin().and_then(|()| {
            values.iter().try_for_each(|value| out.send("t", 0, None, Some(value.as_bytes())))?;
            out.commit(None)
        });
        match result {
            Ok(()) => committed.extend(values),
            Err(error) => {
                assert_eq!(error.kind, BusErrorKind::Abort, "{error}");
                out.abort().unwrap();
            }
        }
    }
    assert!(committed.len() >= 150, "{} records committed", committed.len());
    let spec = ReaderSpec { topics: vec!["t".into()], assign: Assign::Group("g".into()), instance: "i".into() };
    let mut reader = bus.reader(&spec).unwrap();
    let mut batch = Batch::default();
    let mut seen = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    while seen.len() < committed.len() && Instant::now() < until {
        let limit = PollLimit { records: 1000, bytes: 1 << 20, wait: Duration::from_millis(200) };
        reader.poll(&mut batch, limit).unwrap();
        seen.extend(batch.iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    assert_eq!(seen, committed);
}
