//! What the runner's tests share: a small stage, its topics, and a bus with faults.
#![allow(dead_code, unreachable_pub)] // not every test uses all of it

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use schemas::framing::Framing;
use stage::bus::{
    Assign, Batch, Bus, BusError, BusErrorKind, Cleanup, Membership, PollLimit, Position, Reader, ReaderSpec,
    TopicInfo, TopicPartition, TopicSpec, WriteMode, Writer, WriterSpec,
};
use stage::runner::{Limits, StageSpec};
use stage::transform::{Context, Factory, Input, Out, Rejection, Transform, Verdict};

pub const PARTITIONS: i32 = 2;

/// Stops the stages of a scope also when the test fails inside it: a scope waits for its threads.
pub struct StopOnDrop<'a>(pub &'a [stage::Shutdown]);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|shutdown| shutdown.raise(stage::Level::Stop));
    }
}

/// Sums the numbers of its partition; refuses `bad`, waits for `table:<n>` before it takes `need:<n>`.
#[derive(Default)]
pub struct Sum {
    total: i64,
    dirty: bool,
    table: Vec<String>,
}

pub struct Make;

impl Factory for Make {
    type Transform = Sum;
    fn make(&self, _partition: i32) -> Sum {
        Sum::default()
    }
}

impl Transform for Sum {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let text = std::str::from_utf8(input.value.unwrap()).unwrap().to_owned();
        if text == "bad" {
            out.body_with(0, b"k", |body| body.extend_from_slice(b"half"));
            return Err(Rejection::new("T-001", "a bad record"));
        }
        let number = match text.strip_prefix("need:") {
            Some(name) if !self.table.iter().any(|known| known == name) && !ctx.wait_over => return Ok(Verdict::Wait),
            Some(_) => 1,
            None => text.parse().unwrap(),
        };
        self.total += number;
        self.dirty = true;
        out.body_with(0, input.key.unwrap(), |body| {
            body.extend_from_slice(format!("{number}={}", self.total).as_bytes())
        });
        Ok(Verdict::Done)
    }
    fn flush(&mut self, _ctx: &Context, out: &mut Out) {
        if std::mem::take(&mut self.dirty) {
            out.body_with(1, b"total", |body| body.extend_from_slice(self.total.to_string().as_bytes()));
        }
    }
    fn table(&mut self, key: &[u8], _value: Option<&[u8]>) {
        self.table.push(String::from_utf8(key.to_vec()).unwrap());
    }
    fn restore(&mut self, _key: &[u8], value: Option<&[u8]>) {
        self.total = std::str::from_utf8(body(value.unwrap())).unwrap().parse().unwrap();
    }
}

pub fn body(value: &[u8]) -> &[u8] {
    schemas::framing::split(value).unwrap().1
}

/// The stage's topics.
pub fn topics() -> Vec<TopicSpec> {
    let keep = Cleanup::Delete { retention_ms: -1 };
    let topic = |name: &str, cleanup| TopicSpec { name: name.into(), partitions: PARTITIONS, cleanup };
    vec![
        topic("in", keep),
        topic("out", keep),
        topic("state", Cleanup::Compact),
        topic("table", Cleanup::Compact),
        topic("dlq", keep),
    ]
}

pub fn spec() -> StageSpec {
    StageSpec {
        name: "sum".into(),
        input: "in".into(),
        outputs: vec!["out".into(), "state".into()],
        framings: vec![Framing::SingleObject(1), Framing::SingleObject(2)],
        table: Some("table".into()),
        state_slot: Some(1),
        dlq: "dlq".into(),
        dlq_framing: Framing::single_object::<schemas::v1::DeadLetter>(),
        instance: "one".into(),
        limits: Limits { records: 3, poll_ms: 5, wait_ms: 150, ..Limits::default() },
    }
}

pub fn put(bus: &dyn Bus, topic: &str, records: &[(i32, &str, &str)]) {
    let mut writer = bus.writer(&WriterSpec { name: format!("test-{topic}"), mode: WriteMode::Idempotent }).unwrap();
    writer.begin().unwrap();
    for (partition, key, value) in records {
        writer.send(topic, *partition, Some(key.as_bytes()), Some(value.as_bytes())).unwrap();
    }
    writer.commit(None).unwrap();
}

/// Everything on a topic, per partition: reads until nothing came for `quiet`.
pub fn all_within(bus: &dyn Bus, topic: &str, quiet: Duration) -> BTreeMap<i32, Vec<Vec<u8>>> {
    let position =
        |partition| Position { topic_partition: TopicPartition { topic: topic.into(), partition }, next_offset: 0 };
    let assign = Assign::Manual((0..PARTITIONS).map(position).collect());
    let mut reader = bus.reader(&ReaderSpec { topics: vec![topic.into()], assign, instance: "look".into() }).unwrap();
    let (mut found, mut batch) = (BTreeMap::<i32, Vec<Vec<u8>>>::new(), Batch::default());
    let limit = PollLimit { records: 10_000, bytes: 1 << 24, wait: Duration::from_millis(20) };
    let (mut heard, mut empty) = (Instant::now(), 0);
    while empty < 2 || heard.elapsed() < quiet {
        reader.poll(&mut batch, limit).unwrap();
        batch.iter().for_each(|record| found.entry(record.partition).or_default().push(record.value.unwrap().to_vec()));
        empty += 1;
        if !batch.is_empty() {
            (heard, empty) = (Instant::now(), 0);
        }
    }
    found
}

/// Everything on a topic of the embedded bus.
pub fn all(bus: &dyn Bus, topic: &str) -> BTreeMap<i32, Vec<Vec<u8>>> {
    all_within(bus, topic, Duration::from_millis(30))
}

pub fn texts(bus: &dyn Bus, topic: &str, partition: i32) -> Vec<String> {
    let values = all(bus, topic).remove(&partition).unwrap_or_default();
    values.iter().map(|value| String::from_utf8_lossy(body(value)).into_owned()).collect()
}

/// A bus whose writer fails at chosen calls.
pub struct Faulty {
    pub inner: Arc<dyn Bus>,
    pub calls: Arc<AtomicUsize>,
    pub faults: Vec<(usize, BusErrorKind)>,
}

struct FaultyWriter {
    inner: Box<dyn Writer>,
    calls: Arc<AtomicUsize>,
    faults: Vec<(usize, BusErrorKind)>,
}

impl FaultyWriter {
    fn fault(&self) -> Result<(), BusError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.faults.iter().find(|(at, _)| *at == call) {
            Some((_, kind)) => Err(BusError::new(*kind, "injected", "fault")),
            None => Ok(()),
        }
    }
}

impl Writer for FaultyWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        self.fault()?;
        self.inner.begin()
    }
    fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        self.fault()?;
        self.inner.send(topic, partition, key, value)
    }
    fn commit(&mut self, positions: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        self.fault()?;
        self.inner.commit(positions)
    }
    fn abort(&mut self) -> Result<(), BusError> {
        self.inner.abort()
    }
    fn record_bytes_max(&self) -> usize {
        self.inner.record_bytes_max()
    }
}

impl Bus for Faulty {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.inner.ensure_topics(topics)
    }
    fn describe(&self, topic: &str) -> Result<TopicInfo, BusError> {
        self.inner.describe(topic)
    }
    fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        self.inner.bounds(partition)
    }
    fn reader(&self, spec: &ReaderSpec) -> Result<Box<dyn Reader>, BusError> {
        self.inner.reader(spec)
    }
    fn writer(&self, spec: &WriterSpec) -> Result<Box<dyn Writer>, BusError> {
        Ok(Box::new(FaultyWriter {
            inner: self.inner.writer(spec)?,
            calls: self.calls.clone(),
            faults: self.faults.clone(),
        }))
    }
}
