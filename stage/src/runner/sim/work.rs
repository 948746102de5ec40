//! The stage of the stories: it keeps state, holds inputs back, waits for a table, sets timers, refuses and fails.

use std::collections::{BTreeMap, BTreeSet};

use super::bus::RECORD_BYTES;
use crate::transform::{Context, Factory, Input, Out, Refused, Rejection, Transform, Verdict};

/// What an input asks for; the second word of its text, after its number.
pub(super) const KINDS: [&str; 12] =
    ["plain", "plain", "plain", "plain", "plain", "bad", "need", "timer", "refuse", "big", "wide", "panic"];
/// Time of a timer.
const TIMER_US: i64 = 2_000_000;

/// The transform of one partition.
#[derive(Default)]
pub(super) struct Work {
    total: u64,
    dirty: bool,
    held: Option<(i64, u64, String)>,
    fresh: bool,
    timers: BTreeMap<u64, i64>,
    table: BTreeSet<u64>,
}

pub(super) struct Make;

impl Factory for Make {
    type Transform = Work;
    fn make(&self, _partition: i32) -> Work {
        Work::default()
    }
}

fn write(out: &mut Out, slot: usize, key: &str, text: &str) {
    out.body_with(slot, key.as_bytes(), |body| body.extend_from_slice(text.as_bytes()));
}

/// The text of a framed value.
pub(super) fn text(value: &[u8]) -> &str {
    std::str::from_utf8(schemas::framing::split(value).unwrap().1).unwrap()
}

impl Work {
    fn emit(&mut self, ctx: &Context, id: u64, kind: &str, out: &mut Out) {
        self.total += id;
        self.dirty = true;
        let mut line = format!("{id} {} {kind} ", self.total);
        match kind {
            "timer" => {
                self.timers.insert(id, ctx.now_us + TIMER_US);
                write(out, 1, &format!("timer {id}"), &(ctx.now_us + TIMER_US).to_string());
            }
            "refuse" => out.refuse(Refused {
                topic: "mid".into(),
                key: id.to_string().into_bytes(),
                value: Some(b"half".to_vec()),
                rejection: Rejection::new("part", "a part was refused"),
            }),
            "big" => line.push_str(&"x".repeat(RECORD_BYTES)),
            "wide" => line.push_str(&"x".repeat(RECORD_BYTES - 1_000)),
            _ => {}
        }
        write(out, 0, &id.to_string(), &line);
    }

    fn release(&mut self, ctx: &Context, out: &mut Out) {
        if let Some((_, id, kind)) = self.held.take() {
            self.emit(ctx, id, &kind, out);
        }
    }
}

impl Transform for Work {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let line = std::str::from_utf8(input.value.unwrap()).unwrap();
        let (id, kind) = line.split_once(' ').unwrap();
        let id: u64 = id.parse().unwrap();
        match kind {
            "bad" => {
                write(out, 0, "half", "half");
                return Err(Rejection::new("bad", "a bad record"));
            }
            "need" if !self.table.contains(&id) && !ctx.wait_over => return Ok(Verdict::Wait),
            _ => {}
        }
        self.release(ctx, out);
        match kind {
            // no hook: nothing is printed
            "panic" => std::panic::resume_unwind(Box::new("a panic of the story")),
            "big" | "wide" => self.emit(ctx, id, kind, out),
            _ => {
                let kind = if kind == "need" && ctx.wait_over { "late" } else { kind };
                self.held = Some((input.offset, id, kind.to_owned()));
                self.fresh = true;
            }
        }
        Ok(Verdict::Done)
    }
    fn tick(&mut self, ctx: &Context, out: &mut Out) {
        if !std::mem::take(&mut self.fresh) {
            self.release(ctx, out);
        }
        let due: Vec<u64> = self.timers.iter().filter(|(_, at)| **at <= ctx.now_us).map(|(id, _)| *id).collect();
        for id in due {
            self.timers.remove(&id);
            write(out, 0, &id.to_string(), &format!("{id} rings"));
            out.tombstone(1, format!("timer {id}").as_bytes());
        }
    }
    fn flush(&mut self, _ctx: &Context, out: &mut Out) {
        if std::mem::take(&mut self.dirty) {
            write(out, 1, "total", &self.total.to_string());
        }
    }
    fn table(&mut self, key: &[u8], _value: Option<&[u8]>) {
        self.table.insert(std::str::from_utf8(key).unwrap().parse().unwrap());
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        let key = std::str::from_utf8(key).unwrap();
        let number = value.map(|value| text(value).parse::<i64>().unwrap());
        match (key.strip_prefix("timer "), number) {
            (Some(id), Some(at)) => drop(self.timers.insert(id.parse().unwrap(), at)),
            (Some(id), None) => drop(self.timers.remove(&id.parse().unwrap())),
            (None, number) => self.total = number.unwrap() as u64,
        }
    }
    fn held_from(&self) -> Option<i64> {
        self.held.as_ref().map(|(offset, _, _)| *offset)
    }
}
