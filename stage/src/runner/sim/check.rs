//! What must be true after every commit, and in the end.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Record as _, v1};

use super::broker::PARTITIONS;
use super::turns::World;
use super::work::text;

/// The topics.
pub(super) const INPUT: &str = "in";
pub(super) const OUTPUT: &str = "out";
pub(super) const STATE: &str = "state";
pub(super) const TABLE: &str = "table";
pub(super) const LETTERS: &str = "dlq";

#[derive(Debug)]
struct Line {
    id: u64,
    total: u64,
}

/// What came of a partition's inputs, as the outside sees it.
#[derive(Debug, Default)]
struct Seen {
    lines: Vec<Line>,
    rings: Vec<u64>,
    /// Code, number of the input.
    letters: Vec<(String, u64)>,
    /// Refused parts.
    parts: Vec<u64>,
}

impl Seen {
    /// Numbers of the inputs that are dealt with.
    fn dealt(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.lines.iter().map(|line| line.id).collect();
        ids.extend(self.letters.iter().map(|(_, id)| id));
        ids.sort_unstable();
        ids
    }
}

fn word(line: &str, index: usize) -> Option<u64> {
    line.split(' ').nth(index)?.parse().ok()
}

fn seen(world: &World, partition: i32) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for (_, entry) in world.broker.visible(OUTPUT, partition) {
        let line = text(entry.value.as_deref().unwrap());
        match (word(line, 0), word(line, 1)) {
            (Some(id), Some(total)) => seen.lines.push(Line { id, total }),
            (Some(id), None) => seen.rings.push(id),
            _ => return Err(format!("partition {partition} has half a record")),
        }
    }
    for (_, entry) in world.broker.visible(LETTERS, partition) {
        let body = schemas::framing::split(entry.value.as_deref().unwrap()).unwrap().1;
        let letter = v1::DeadLetter::from_body(body).unwrap();
        let value = letter.value.unwrap();
        if letter.topic == "mid" {
            let key = String::from_utf8(letter.key.unwrap()).unwrap();
            seen.parts.push(key.parse().unwrap());
        } else if letter.topic == OUTPUT {
            // an output that the bus does not take; which input it is of, its own bytes say
            let body = schemas::framing::split(&value).unwrap().1;
            seen.letters.push((letter.code, word(std::str::from_utf8(body).unwrap(), 0).unwrap()));
        } else {
            let line = String::from_utf8(value).unwrap();
            let origin = world.broker.read(INPUT, partition, letter.offset, 1).0;
            let same = origin
                .first()
                .is_some_and(|(at, entry)| *at == letter.offset && entry.value.as_deref() == Some(line.as_bytes()));
            if !same || letter.topic != INPUT || letter.partition != partition {
                return Err(format!("a dead letter names another place: {line}"));
            }
            seen.letters.push((letter.code, word(&line, 0).unwrap()));
        }
    }
    Ok(seen)
}

fn inputs(world: &World, partition: i32) -> Vec<(i64, u64, String)> {
    let of = |line: &str| {
        let (id, kind) = line.split_once(' ').unwrap();
        (id.parse().unwrap(), kind.to_owned())
    };
    let visible = world.broker.visible(INPUT, partition);
    visible
        .into_iter()
        .map(|(offset, entry)| {
            let (id, kind) = of(std::str::from_utf8(entry.value.as_deref().unwrap()).unwrap());
            (offset, id, kind)
        })
        .collect()
}

/// After a commit: what is visible is of exactly the inputs before the committed position.
pub(super) fn at_commit(world: &mut World) {
    for partition in 0..PARTITIONS {
        let committed = world.broker.committed(partition);
        let mut passed: Vec<u64> = inputs(world, partition)
            .into_iter()
            .filter(|(offset, _, _)| *offset < committed)
            .map(|(_, id, _)| id)
            .collect();
        passed.sort_unstable();
        match seen(world, partition).map(|seen| seen.dealt()) {
            Ok(dealt) if dealt == passed => {}
            Ok(dealt) => {
                world.fail(format!("partition {partition} at {committed}: passed {passed:?}, written {dealt:?}"));
            }
            Err(failure) => world.fail(failure),
        }
    }
}

/// True when every input is dealt with and every timer has rung.
pub(super) fn complete(world: &World) -> bool {
    (0..PARTITIONS).all(|partition| {
        let inputs = inputs(world, partition);
        let timers = inputs.iter().filter(|(_, _, kind)| kind == "timer").count();
        seen(world, partition).is_ok_and(|seen| seen.dealt().len() >= inputs.len() && seen.rings.len() >= timers)
    })
}

/// In the end: each input once, in order, with the right state, and the right letters.
pub(super) fn at_end(world: &World) -> Result<(), String> {
    for partition in 0..PARTITIONS {
        let seen = seen(world, partition)?;
        let inputs = inputs(world, partition);
        let letter_of = |kind: &str| match kind {
            "bad" => Some("bad"),
            "big" | "wide" => Some("S-001"),
            "panic" => Some("S-002"),
            _ => None,
        };
        let mut letters: BTreeMap<u64, &str> = BTreeMap::new();
        let (mut lines, mut total) = (Vec::new(), 0);
        for (_, id, kind) in &inputs {
            let code = letter_of(kind);
            code.map(|code| letters.insert(*id, code));
            // what the transform took counts, also where the bus did not take the output
            total += if matches!(code, None | Some("S-001")) && kind != "wide" { *id } else { 0 };
            if code.is_none() {
                lines.push((*id, total));
            }
        }
        let found: Vec<(u64, u64)> = seen.lines.iter().map(|line| (line.id, line.total)).collect();
        if found != lines {
            return Err(format!("partition {partition}: written {found:?}, expected {lines:?}"));
        }
        let found: BTreeMap<u64, &str> = seen.letters.iter().map(|(code, id)| (*id, code.as_str())).collect();
        if found != letters || seen.letters.len() != letters.len() {
            return Err(format!("partition {partition}: letters {:?}, expected {letters:?}", seen.letters));
        }
        let asked = |kind: &str| -> BTreeSet<u64> {
            inputs.iter().filter(|(_, _, known)| known == kind).map(|(_, id, _)| *id).collect()
        };
        for (what, found, expected) in [("rings", &seen.rings, asked("timer")), ("parts", &seen.parts, asked("refuse"))]
        {
            if found.len() != expected.len() || found.iter().copied().collect::<BTreeSet<_>>() != expected {
                return Err(format!("partition {partition}: {what} {found:?}, expected {expected:?}"));
            }
        }
    }
    Ok(())
}
