//! Reads bus and archive for the accountant with the product's own adapter and columns; `sealtrail verify` and the
//! statement log are the witnesses that are not ours alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use columns::Rows;
use reader::ObjectRows;
use schemas::layout::{Table, parse_object_name};
use schemas::topics::Topics;
use schemas::v1::{DeadLetter, Direction, EnrichedFrame, Event, Frame, RawFrame};
use schemas::{Record, framing};
use stage::bus::kafka::{Kafka, KafkaConfig};
use stage::bus::{Assign, Batch, Bus, PollLimit, Position, ReaderSpec, TopicPartition, WriteMode, WriterSpec};
use stage::config::SecretSource;
use stage::store::{Store, StoreConfig};
use testkit::fault::{Evidence, Places, Recorded, Row, witness};

/// Silence after which a topic is read to its end: its last offsets may be transaction marks.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest read of all topics.
const READ_MAX: Duration = Duration::from_secs(300);

/// The evidence of a line on Kafka and S3.
pub(crate) struct Collector;

impl Evidence for Collector {
    fn collect(&self, places: &Places) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        let topics = Topics::default();
        let names = [&topics.raw, &topics.frames, &topics.events, &topics.dlq].map(Clone::clone);
        read_topics(places, &names, &mut |topic, partition, offset, value| {
            let at = |table| Row { table, partition, offset, ..Row::default() };
            match topic {
                0 => recorded.raw.push(raw_row(&decode(value)?, at("raw"))),
                1 => recorded.sealed_topics.push(frame_row(&decode(value)?, at("frames"))),
                2 => recorded.sealed_topics.push(event_row(&decode(value)?, at("events"))),
                _ => recorded.dead.push(dead_place(&decode(value)?, &topics)?),
            }
            Ok(())
        })?;
        recorded.archived = archived(&store(places)?)?;
        Ok(recorded)
    }

    fn repeat(&self, places: &Places, partition: i32, count: usize) -> Result<usize> {
        let topic = Topics::default().raw;
        let bus = bus(places, 5)?;
        let at = TopicPartition { topic: topic.clone(), partition };
        let (start, end) = bus.bounds(&at)?;
        let next_offset = end.saturating_sub(i64::try_from(count)?).max(start);
        let mut reader = bus.reader(&ReaderSpec {
            topics: vec![topic.clone()],
            assign: Assign::Manual(vec![Position { topic_partition: at, next_offset }]),
            instance: "fault-repeat".into(),
        })?;
        let mut batch = Batch::default();
        reader.poll(&mut batch, PollLimit { records: count, bytes: 1 << 20, wait: Duration::from_secs(1) })?;
        let mut writer = bus.writer(&WriterSpec { name: "fault-repeat".into(), mode: WriteMode::Idempotent })?;
        writer.begin()?;
        for record in batch.iter() {
            writer.send(&topic, partition, record.key, record.value)?;
        }
        writer.commit(None)?;
        Ok(batch.len())
    }
}

/// Appends the newest committed frame of a partition once more, as only somebody with access to the topic can.
pub(crate) fn double_a_frame(places: &Places) -> Result<()> {
    let topics = Topics::default();
    let mut newest = None;
    read_topics(places, std::slice::from_ref(&topics.frames), &mut |_, partition, _, value| {
        newest = Some((partition, value.to_vec()));
        Ok(())
    })?;
    let (partition, value) = newest.context("no frame")?;
    let frame: Frame = decode(&value)?;
    let key = frame.session_id.to_text();
    let mut writer =
        bus(places, 30)?.writer(&WriterSpec { name: "fault-double".into(), mode: WriteMode::Idempotent })?;
    writer.begin()?;
    writer.send(&topics.frames, partition, Some(key.as_bytes()), Some(&value))?;
    Ok(writer.commit(None)?)
}

fn bus(places: &Places, timeout_s: u64) -> Result<std::sync::Arc<Kafka>> {
    Ok(Kafka::connect(&KafkaConfig { timeout: Duration::from_secs(timeout_s), ..KafkaConfig::at(&places.bootstrap) })?)
}

/// Opens the archive at the S3 server itself.
pub(crate) fn store(places: &Places) -> Result<Store> {
    let (access, secret) = places.keys.clone();
    Ok(Store::open(&StoreConfig {
        url: places.archive.clone(),
        endpoint: format!("http://{}", places.store),
        region: places.region.clone(),
        access_key_id: Some(SecretSource::File(access)),
        secret_access_key: Some(SecretSource::File(secret)),
        allow_http: true,
        ..StoreConfig::default()
    })?)
}

fn decode<R: Record + Default>(value: &[u8]) -> Result<R> {
    let (_, body) = framing::split(value)?;
    let mut record = R::default();
    record.decode(body)?;
    Ok(record)
}

type Visit<'a> = dyn FnMut(usize, i32, i64, &[u8]) -> Result<()> + 'a;

fn read_topics(places: &Places, topics: &[String], visit: &mut Visit<'_>) -> Result<()> {
    let bus = bus(places, 30)?;
    let mut positions = Vec::new();
    for topic in topics {
        for partition in 0..places.partitions {
            let topic_partition = TopicPartition { topic: topic.clone(), partition };
            let next_offset = bus.bounds(&topic_partition)?.0;
            positions.push(Position { topic_partition, next_offset });
        }
    }
    let mut reader = bus.reader(&ReaderSpec {
        topics: topics.to_vec(),
        assign: Assign::Manual(positions),
        instance: "fault-accountant".into(),
    })?;
    let (began, mut heard, mut batch) = (Instant::now(), Instant::now(), Batch::default());
    while heard.elapsed() < SILENCE {
        if began.elapsed() > READ_MAX {
            bail!("the topics do not end within {READ_MAX:?}");
        }
        reader.poll(&mut batch, PollLimit { records: 4096, bytes: 16 << 20, wait: Duration::from_millis(200) })?;
        for record in batch.iter() {
            heard = Instant::now();
            let value = record.value.context("record without a value")?;
            visit(record.topic, record.partition, record.offset, value)
                .with_context(|| format!("{} {}@{}", topics[record.topic], record.partition, record.offset))?;
        }
    }
    Ok(())
}

fn raw_row(raw: &RawFrame, at: Row) -> Row {
    let end = raw.facts.as_ref().and_then(|facts| facts.record_count);
    Row { session: raw.session_id.0, sequence: raw.sequence, event_id: raw.event_id.0, end, ..at }
}

fn frame_row(frame: &Frame, at: Row) -> Row {
    let marks = if frame.direction == Direction::ToTarget { witness::marks(&frame.payload) } else { Vec::new() };
    Row { session: frame.session_id.0, sequence: frame.sequence, event_id: frame.event_id.0, marks, ..at }
}

fn event_row(event: &Event, at: Row) -> Row {
    let (session, sequence, event_id) = (event.session_id.0, event.sequence, event.event_id.0);
    Row { session, sequence, event_id, end: event.record_count, ..at }
}

fn dead_place(letter: &DeadLetter, topics: &Topics) -> Result<([u8; 16], i64)> {
    let value = letter.value.as_deref().context("dead letter without a value")?;
    let raw = if letter.topic == topics.raw { decode(value)? } else { decode::<EnrichedFrame>(value)?.raw };
    Ok((raw.session_id.0, raw.sequence))
}

/// Every row of every object.
pub(crate) fn archived(store: &Store) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in Table::ALL {
        for name in store.list(table.as_str())? {
            let Some(parsed) = parse_object_name(&name) else { continue };
            let bytes = store.get(&name)?.with_context(|| format!("{name} is gone"))?;
            let object = ObjectRows::open(table, bytes.into())?;
            for group in 0..object.row_groups() {
                for batch in object.group(group)? {
                    let batch = batch?;
                    let cells = Rows::new(table, &batch)?;
                    for row in 0..batch.num_rows() {
                        let offset = cells.meta(row)?.offset;
                        let at = Row { table: table.as_str(), partition: parsed.partition, offset, ..Row::default() };
                        let (mut frame, mut event) = (Frame::default(), Event::default());
                        match table {
                            Table::Frames if cells.frame(row, &mut frame)? => rows.push(frame_row(&frame, at)),
                            Table::Events if cells.event(row, &mut event)? => rows.push(event_row(&event, at)),
                            _ => bail!("{name} row {row} is opaque"),
                        }
                    }
                }
            }
        }
    }
    Ok(rows)
}
