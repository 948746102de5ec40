//! Checks of readers without regard to groups.

use std::time::{Duration, Instant};

use super::helpers::{
    LIMIT, at, hold, manual, member, nothing, open_reader, poll, position, read, refused, text, texts, with_topics,
    write, writer,
};
use super::{Make, Options};
use crate::bus::{Assign, BusErrorKind, PollLimit};

pub(super) fn everyone_reads_everything(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 2, 2)?;
    let [first, second] = topics.as_slice() else { return Err("two topics".into()) };
    let mut readers = vec![
        manual(&*bus, &topics, 2)?,
        member(&*bus, &topics, &format!("{}-a", options.prefix), "one")?,
        member(&*bus, &topics, &format!("{}-b", options.prefix), "one")?,
    ];
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, first, 0, &["a0"])?;
    write(&mut *out, first, 1, &["a1"])?;
    write(&mut *out, second, 1, &["b1"])?;
    for reader in &mut readers {
        let mut seen = read(&mut **reader, 3, options)?;
        seen.sort_by_key(|record| (record.topic, record.partition));
        let places: Vec<_> = seen.iter().map(|record| (record.topic, record.partition, record.text())).collect();
        hold!(places == [(0, 0, "a0".into()), (0, 1, "a1".into()), (1, 1, "b1".into())], "read {places:?}");
    }
    Ok(())
}

pub(super) fn seek_and_pause(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 2)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a", "b", "c"])?;
    let mut reader = manual(&*bus, &topics, 2)?;
    let seen = read(&mut *reader, 3, options)?;
    let middle = seen.get(1).map_or(0, |record| record.offset);
    reader.seek(&position(&topic, 0, middle)).map_err(text)?;
    let again = texts(&read(&mut *reader, 2, options)?);
    hold!(again == ["b", "c"], "after the seek came {again:?}");
    reader.pause(&at(&topic, 0), true).map_err(text)?;
    write(&mut *out, &topic, 0, &["d"])?;
    write(&mut *out, &topic, 1, &["other"])?;
    let while_paused = texts(&read(&mut *reader, 1, options)?);
    hold!(while_paused == ["other"], "while paused came {while_paused:?}");
    nothing(&mut *reader, options)?;
    // A rewind while paused holds after the pause.
    reader.seek(&position(&topic, 0, middle)).map_err(text)?;
    nothing(&mut *reader, options)?;
    reader.pause(&at(&topic, 0), false).map_err(text)?;
    let resumed = texts(&read(&mut *reader, 3, options)?);
    hold!(resumed == ["b", "c", "d"], "after the pause came {resumed:?}");
    refused(reader.seek(&position(&topic, 7, 0)), &[BusErrorKind::Missing], "seeking a partition not held")?;
    refused(reader.pause(&at(&topic, 7), true), &[BusErrorKind::Missing], "pausing a partition not held")?;
    refused(reader.membership(), &[BusErrorKind::Fatal], "membership without a group")
}

pub(super) fn polls_are_bounded(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    let numbers: Vec<String> = (0..300).map(|number| format!("{number:0100}")).collect();
    let values: Vec<&str> = numbers.iter().map(String::as_str).collect();
    write(&mut *out, &topic, 0, &values)?;
    for limit in [PollLimit { records: 7, ..LIMIT }, PollLimit { bytes: 1000, ..LIMIT }] {
        let mut reader = manual(&*bus, &topics, 1)?;
        let mut all = Vec::new();
        let until = Instant::now() + options.patience;
        while all.len() < values.len() {
            let (_, seen) = poll(&mut *reader, limit).map_err(text)?;
            let bytes: usize = seen.iter().map(|record| 1 + record.value.as_ref().map_or(0, Vec::len)).sum();
            hold!(seen.len() <= limit.records, "{} records in a poll of {}", seen.len(), limit.records);
            hold!(bytes <= limit.bytes + 101, "{bytes} bytes in a poll of {}", limit.bytes);
            all.extend(texts(&seen));
            hold!(Instant::now() < until, "{} of {} records came", all.len(), values.len());
        }
        hold!(all == numbers, "bounded polls lost or doubled records");
    }
    Ok(())
}

pub(super) fn bounds_hold_the_records(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 2)?;
    let topic = topics.concat();
    let place = at(&topic, 0);
    let before = bus.bounds(&place).map_err(text)?;
    hold!(before.0 == before.1, "an empty partition has bounds {before:?}");
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a", "b", "c"])?;
    let mut reader = manual(&*bus, &topics, 2)?;
    let seen = read(&mut *reader, 3, options)?;
    let (start, end) = bus.bounds(&place).map_err(text)?;
    let inside = seen.iter().all(|record| start <= record.offset && record.offset < end);
    hold!(inside, "records outside {start}..{end}");
    let other = bus.bounds(&at(&topic, 1)).map_err(text)?;
    hold!(other.0 == other.1, "an empty partition has bounds {other:?}");
    Ok(())
}

pub(super) fn lost_positions_are_missing(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a"])?;
    let far = Assign::Manual(vec![position(&topic, 0, 1_000_000)]);
    let mut reader = open_reader(&*bus, &topics, far, "manual")?;
    let until = Instant::now() + options.patience;
    loop {
        match poll(&mut *reader, LIMIT) {
            Err(error) if error.kind == BusErrorKind::Missing => return Ok(()),
            Err(error) => return Err(text(error)),
            Ok((_, seen)) => hold!(seen.is_empty(), "a lost position gave {:?}", texts(&seen)),
        }
        hold!(Instant::now() < until, "a position past the end is not reported");
    }
}

pub(super) fn a_waiting_reader_wakes(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a"])?;
    let mut reader = manual(&*bus, &topics, 1)?;
    read(&mut *reader, 1, options)?;
    let idle = Instant::now();
    let (_, seen) = poll(&mut *reader, PollLimit { wait: Duration::from_millis(200), ..LIMIT }).map_err(text)?;
    hold!(seen.is_empty(), "nothing was written, {:?} came", texts(&seen));
    hold!(idle.elapsed() >= Duration::from_millis(190), "an idle poll waited only {:?}", idle.elapsed());
    let (result, took) = std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let result = poll(&mut *reader, PollLimit { wait: Duration::from_secs(20), ..LIMIT });
            (result, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(200));
        let written = write(&mut *out, &topic, 0, &["b"]).map(|()| Instant::now());
        let (result, woken) = waiting.join().map_err(|_| "the waiting reader panicked".to_owned())?;
        let took = written.map(|written| woken.saturating_duration_since(written))?;
        Ok::<_, String>((result, took))
    })?;
    let (_, seen) = result.map_err(text)?;
    hold!(texts(&seen) == ["b"], "the waiting reader got {:?}", texts(&seen));
    hold!(took < Duration::from_secs(2), "the waiting reader woke after {took:?}");
    Ok(())
}
