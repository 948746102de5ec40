//! Checks of groups, positions and re-opening.

use std::collections::BTreeSet;
use std::time::Instant;

use super::helpers::{
    LIMIT, at, hold, manual, member, nothing, open, poll, position, read, refused, send, text, texts, with_topics,
    write, writer,
};
use super::{Make, Options};
use crate::bus::{BusErrorKind, Position, Reader, TopicPartition};

pub(super) fn records_and_positions_commit_together(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 2, 1)?;
    let [input, output] = topics.as_slice() else { return Err("two topics".into()) };
    let only = std::slice::from_ref(input);
    write(&mut *writer(&*bus, &format!("{}-in", options.prefix))?, input, 0, &["a", "b", "c"])?;
    let mut out = writer(&*bus, &options.prefix)?;
    let mut reader = member(&*bus, only, &options.prefix, "one")?;
    let seen = read(&mut *reader, 3, options)?;
    let next = |index: usize| seen.get(index).map_or(0, |record| record.offset + 1);
    let start = reader.committed().map_err(text)?;
    hold!(start.len() == 1 && start.iter().all(|p| p.next_offset < next(0)), "nothing is committed, but {start:?}");
    // An abort leaves neither records nor positions.
    out.begin().map_err(text)?;
    send(&mut *out, output, 0, &["dropped"])?;
    out.abort().map_err(text)?;
    hold!(reader.committed().map_err(text)? == start, "an abort moved the position");
    // A rewind to the committed positions gives the same records again.
    for place in &start {
        reader.seek(place).map_err(text)?;
    }
    let again = read(&mut *reader, 3, options)?;
    hold!(again == seen, "after the rewind came {:?}", texts(&again));
    // A commit moves both.
    out.begin().map_err(text)?;
    send(&mut *out, output, 0, &["A", "B"])?;
    let membership = reader.membership().map_err(text)?;
    let position = position(input, 0, next(1));
    out.commit(Some((&membership, std::slice::from_ref(&position)))).map_err(text)?;
    hold!(reader.committed().map_err(text)? == [position], "the commit did not move the position");
    let mut check = manual(&*bus, std::slice::from_ref(output), 1)?;
    let written = texts(&read(&mut *check, 2, options)?);
    hold!(written == ["A", "B"], "the output holds {written:?}");
    drop(reader);
    let mut reader = member(&*bus, only, &options.prefix, "one")?;
    let rest = texts(&read(&mut *reader, 1, options)?);
    hold!(rest == ["c"], "the next member reads {rest:?}");
    nothing(&mut *reader, options)
}

/// Polls all members until each holds `want` partitions; what each holds by its reported changes.
fn settle(
    readers: &mut [Box<dyn Reader>],
    held: &mut Vec<BTreeSet<TopicPartition>>,
    want: usize,
    options: &Options,
) -> Result<(), String> {
    held.resize(readers.len(), BTreeSet::new());
    let until = Instant::now() + options.patience;
    loop {
        for (reader, held) in readers.iter_mut().zip(held.iter_mut()) {
            let (change, _) = poll(&mut **reader, LIMIT).map_err(text)?;
            for lost in &change.revoked {
                hold!(held.remove(lost), "{lost:?} was revoked but not held");
            }
            for given in change.assigned {
                hold!(held.insert(given.clone()), "{given:?} was assigned twice");
            }
            let told: BTreeSet<_> = reader.assignment().into_iter().collect();
            hold!(told == *held, "assignment {told:?} is not what was reported: {held:?}");
        }
        let all: BTreeSet<_> = held.iter().flatten().collect();
        if held.iter().all(|held| held.len() == want) && all.len() == want * readers.len() {
            return Ok(());
        }
        hold!(Instant::now() < until, "after {:?} the members hold {held:?}", options.patience);
    }
}

pub(super) fn group_shares_partitions(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 2, 4)?;
    let mut held = Vec::new();
    let mut readers = vec![member(&*bus, &topics, &options.prefix, "one")?];
    settle(&mut readers, &mut held, 8, options)?;
    readers.push(member(&*bus, &topics, &options.prefix, "two")?);
    settle(&mut readers, &mut held, 4, options)?;
    // The same partition numbers of both topics: a stage joins them by number.
    for held in &held {
        let numbers = |index: usize| -> Vec<i32> {
            held.iter().filter(|p| topics.get(index) == Some(&p.topic)).map(|p| p.partition).collect()
        };
        hold!(numbers(0) == numbers(1), "topics are not cut alike: {held:?}");
    }
    readers.pop();
    held.pop();
    settle(&mut readers, &mut held, 8, options)
}

pub(super) fn stale_members_cannot_commit(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 2)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a"])?;
    write(&mut *out, &topic, 1, &["b"])?;
    let mut held = Vec::new();
    let mut readers = vec![member(&*bus, &topics, &options.prefix, "one")?];
    settle(&mut readers, &mut held, 2, options)?;
    let stale = readers.first().ok_or("no reader")?.membership().map_err(text)?;
    readers.push(member(&*bus, &topics, &options.prefix, "two")?);
    settle(&mut readers, &mut held, 1, options)?;
    out.begin().map_err(text)?;
    send(&mut *out, &topic, 0, &["dropped"])?;
    let end = |partition| bus.bounds(&at(&topic, partition)).map(|bounds| bounds.1).map_err(text);
    let positions: Vec<Position> = vec![position(&topic, 0, end(0)?), position(&topic, 1, end(1)?)];
    refused(out.commit(Some((&stale, &positions))), &[BusErrorKind::Abort], "a commit by a stale member")?;
    out.abort().map_err(text)?;
    let reader = readers.get_mut(1).ok_or("no reader")?;
    let committed = reader.committed().map_err(text)?;
    hold!(committed.iter().all(|place| place.next_offset == 0), "a refused commit moved {committed:?}");
    let mut check = manual(&*bus, &topics, 2)?;
    let mut seen = texts(&read(&mut *check, 2, options)?);
    seen.sort();
    hold!(seen == ["a", "b"], "read {seen:?}");
    nothing(&mut *check, options)
}

pub(super) fn a_new_opening_keeps_everything(make: Make<'_>, options: &Options) -> Result<(), String> {
    let (bus, topics) = with_topics(make, options, 1, 1)?;
    let topic = topics.concat();
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["a", "b", "c"])?;
    let mut reader = member(&*bus, &topics, &options.prefix, "one")?;
    let seen = read(&mut *reader, 3, options)?;
    let next = seen.get(1).map_or(0, |record| record.offset);
    let membership = reader.membership().map_err(text)?;
    out.begin().map_err(text)?;
    out.commit(Some((&membership, &[position(&topic, 0, next)]))).map_err(text)?;
    out.begin().map_err(text)?;
    send(&mut *out, &topic, 0, &["never committed"])?;
    let described = bus.describe(&topic).map_err(text)?;
    let bounds = bus.bounds(&at(&topic, 0)).map_err(text)?;
    drop((reader, out, bus));

    let bus = open(make)?;
    hold!(bus.describe(&topic).map_err(text)? == described, "the description changed");
    let now = bus.bounds(&at(&topic, 0)).map_err(text)?;
    hold!(now.0 == bounds.0 && now.1 >= bounds.1, "bounds were {bounds:?} and are {now:?}");
    let mut out = writer(&*bus, &options.prefix)?;
    write(&mut *out, &topic, 0, &["d"])?;
    let mut reader = member(&*bus, &topics, &options.prefix, "one")?;
    let rest = texts(&read(&mut *reader, 3, options)?);
    hold!(rest == ["b", "c", "d"], "the group goes on with {rest:?}");
    let mut all = manual(&*bus, &topics, 1)?;
    let whole = read(&mut *all, 4, options)?;
    hold!(whole.iter().zip(&seen).all(|(now, then)| now == then), "records changed: {:?}", texts(&whole));
    Ok(())
}
