//! Checks of topics and writers.

use super::helpers::{
    at, hold, kept, manual, nothing, open, read, refused, send, text, texts, with_topics, write, writer,
};
use super::{Make, Options};
use crate::bus::{BusErrorKind, Cleanup, TopicSpec, WriteMode, WriterSpec};

pub(super) fn topics_are_made_once(make: Make<'_>, options: &Options) -> Result<(), String> {
    let bus = open(make)?;
    let name = format!("{}-0", options.prefix);
    let compacted = TopicSpec { name: format!("{}-1", options.prefix), partitions: 1, cleanup: Cleanup::Compact };
    let specs = [kept(&name, 3), compacted.clone()];
    bus.ensure_topics(&specs).map_err(text)?;
    let first = bus.describe(&name).map_err(text)?;
    bus.ensure_topics(&specs).map_err(text)?;
    let second = bus.describe(&name).map_err(text)?;
    hold!(first == second, "description changed: {first:?} {second:?}");
    hold!(first.partitions == 3, "{} partitions, not 3", first.partitions);
    hold!(!first.cluster_id.is_empty(), "no cluster id");
    let uuid = first.topic_id.len() == 36
        && first.topic_id.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    hold!(uuid, "topic id {} is not a lower case UUID", first.topic_id);
    let other = bus.describe(&compacted.name).map_err(text)?;
    hold!(other.topic_id != first.topic_id, "two topics share id {}", first.topic_id);
    hold!(other.cluster_id == first.cluster_id, "two cluster ids");
    refused(bus.ensure_topics(&[kept(&name, 4)]), &[BusErrorKind::Fatal], "a topic with another partition count")?;
    let changed = TopicSpec { name: name.clone(), partitions: 3, cleanup: Cleanup::Compact };
    refused(bus.ensure_topics(&[changed]), &[BusErrorKind::Fatal], "a topic with another cleanup")?;
    refused(bus.describe("no-such-topic"), &[BusErrorKind::Missing], "describing an unknown topic")?;
    refused(bus.bounds(&at("no-such-topic", 0)), &[BusErrorKind::Missing], "bounds of an unknown topic")?;
    refused(bus.bounds(&at(&name, 3)), &[BusErrorKind::Missing], "bounds of an unknown partition")
}

pub(super) fn aborted_records_are_never_seen(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a"])?;
    for round in 0..3 {
        out.begin().map_err(text)?;
        send(&mut *out, &topic, 0, &["dropped"; 50])?;
        out.abort().map_err(text)?;
        write(&mut *out, &topic, 0, &[&format!("b{round}")])?;
    }
    let mut reader = manual(&*bus, &topics, 1)?;
    let seen = texts(&read(&mut *reader, 4, options)?);
    hold!(seen == ["a", "b0", "b1", "b2"], "read {seen:?}");
    nothing(&mut *reader, options)
}

pub(super) fn open_records_are_not_seen(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 2, 1)?;
    let [first, second] = topics.as_slice() else { return Err("two topics".into()) };
    let mut reader = manual(&*bus, &topics, 1)?;
    let mut out = writer(&*bus, &options.prefix)?;
    out.begin().map_err(text)?;
    send(&mut *out, first, 0, &["x"])?;
    send(&mut *out, second, 0, &["y"])?;
    nothing(&mut *reader, options)?;
    out.commit(None).map_err(text)?;
    let mut seen = texts(&read(&mut *reader, 2, options)?);
    seen.sort();
    hold!(seen == ["x", "y"], "read {seen:?}");
    Ok(())
}

pub(super) fn older_writer_is_fenced(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut old = writer(&*bus, &options.prefix)?;
    write(&mut *old, &topic, 0, &["a"])?;
    old.begin().map_err(text)?;
    send(&mut *old, &topic, 0, &["zombie"])?;
    let mut new = writer(&*bus, &options.prefix)?;
    write(&mut *new, &topic, 0, &["b"])?;
    refused(old.commit(None), &[BusErrorKind::Fenced], "the older writer's commit")?;
    let again = old.abort().and_then(|()| old.begin()).and_then(|()| {
        old.send(&topic, 0, None, Some(b"zombie"))?;
        old.commit(None)
    });
    refused(again, &[BusErrorKind::Fenced], "the older writer's next transaction")?;
    write(&mut *new, &topic, 0, &["c"])?;
    let mut reader = manual(&*bus, &topics, 1)?;
    let seen = texts(&read(&mut *reader, 3, options)?);
    hold!(seen == ["a", "b", "c"], "read {seen:?}");
    nothing(&mut *reader, options)
}

pub(super) fn order_per_partition(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 4)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    for round in 0..3 {
        out.begin().map_err(text)?;
        for index in 0..1000 {
            let number = round * 1000 + index;
            out.send(&topic, number % 4, Some(b"k"), Some(number.to_string().as_bytes())).map_err(text)?;
        }
        out.commit(None).map_err(text)?;
    }
    let mut reader = manual(&*bus, &topics, 4)?;
    let seen = read(&mut *reader, 3000, options)?;
    for partition in 0..4 {
        let own: Vec<_> = seen.iter().filter(|record| record.partition == partition).collect();
        let numbers: Vec<String> = own.iter().map(|record| record.text()).collect();
        let expected: Vec<String> = (0..750).map(|index| (index * 4 + partition).to_string()).collect();
        hold!(numbers == expected, "partition {partition} is out of order or not whole");
        let growing = own.windows(2).all(|pair| matches!(pair, [a, b] if a.offset < b.offset));
        hold!(growing, "offsets of partition {partition} do not grow");
    }
    Ok(())
}

/// Key and value.
type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

pub(super) fn nulls_and_empties_differ(make: Make<'_>, options: &Options) -> Result<(), String> {
    let bus = open(make)?;
    let topic = format!("{}-0", options.prefix);
    bus.ensure_topics(&[TopicSpec { name: topic.clone(), partitions: 1, cleanup: Cleanup::Compact }]).map_err(text)?;
    let records: [Pair<'_>; 4] =
        [(Some(b"a"), None), (Some(b"b"), Some(b"")), (Some(b"c"), Some(b"\0v")), (Some(b""), Some(b"v"))];
    let mut out = writer(&*bus, &options.prefix)?;
    out.begin().map_err(text)?;
    for (key, value) in records {
        out.send(&topic, 0, key, value).map_err(text)?;
    }
    out.commit(None).map_err(text)?;
    let mut reader = manual(&*bus, &[topic], 1)?;
    let seen = read(&mut *reader, 4, options)?;
    for (record, (key, value)) in seen.iter().zip(records) {
        hold!(record.key.as_deref() == key && record.value.as_deref() == value, "{record:?} is not {key:?} {value:?}");
    }
    Ok(())
}

pub(super) fn large_records_pass(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    // Does not compress to nothing: a short cycle of changing bytes.
    let value: Vec<u8> = (0..900_000u32).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut out = writer(&*bus, &options.prefix)?;
    out.begin().map_err(text)?;
    for _ in 0..3 {
        out.send(&topic, 0, Some(b"k"), Some(&value)).map_err(text)?;
    }
    out.commit(None).map_err(text)?;
    let mut reader = manual(&*bus, &topics, 1)?;
    let seen = read(&mut *reader, 3, options)?;
    hold!(seen.iter().all(|record| record.value.as_ref() == Some(&value)), "a large record changed");
    // One that is too large is refused alone: the largest that may be still goes, in the same transaction.
    let whole = out.begin().and_then(|()| out.send(&topic, 0, None, Some(&vec![7; 20 << 20])));
    refused(whole, &[BusErrorKind::TooLarge], "a record of 20 MiB")?;
    let max = out.record_bytes_max();
    hold!(max >= 900_000, "a writer takes only {max} bytes");
    let largest: Vec<u8> = value.iter().copied().cycle().take(max - 1).collect();
    out.send(&topic, 0, Some(b"k"), Some(&largest)).map_err(text)?;
    out.commit(None).map_err(text)?;
    let seen = read(&mut *reader, 1, options)?;
    hold!(seen.iter().all(|record| record.value.as_ref() == Some(&largest)), "the largest record changed");
    Ok(())
}

pub(super) fn idempotent_records_appear(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let spec = WriterSpec { name: options.prefix.clone(), mode: WriteMode::Idempotent };
    let mut one = bus.writer(&spec).map_err(text)?;
    let mut two = bus.writer(&spec).map_err(text)?;
    write(&mut *one, &topic, 0, &["a"])?;
    write(&mut *two, &topic, 0, &["b"])?;
    write(&mut *one, &topic, 0, &["c", "d"])?;
    let mut reader = manual(&*bus, &topics, 1)?;
    let seen = texts(&read(&mut *reader, 4, options)?);
    hold!(seen == ["a", "b", "c", "d"], "read {seen:?}");
    Ok(())
}

pub(super) fn time_is_the_bus_s(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    for _ in 0..5 {
        write(&mut *out, &topic, 0, &["a", "b"])?;
    }
    let mut reader = manual(&*bus, &topics, 1)?;
    let seen = read(&mut *reader, 10, options)?;
    hold!(seen.iter().all(|record| record.log_append_time), "a timestamp is not the bus's");
    let growing = seen.windows(2).all(|pair| matches!(pair, [a, b] if a.timestamp_ms <= b.timestamp_ms));
    hold!(growing, "time went back");
    hold!(
        seen.iter().all(|record| record.timestamp_ms > 1_700_000_000_000),
        "a timestamp is not milliseconds since epoch"
    );
    Ok(())
}
