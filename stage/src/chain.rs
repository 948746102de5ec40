//! Two neighbours as one transform: the topic between them is not written (I-16).
//!
//! What the first writes to its slot 0 is fed to the second at once and in order; the second's slots stay as they are
//! and the first's other slots come behind them. The records on the last topics are those of the two stages apart.
//!
//! Limits, and why. The first's state already holds an input when the second sees what came of it, and the topic between,
//! which would keep what the second puts off, is not there. So the second must be [`Prompt`]. A stage has one table and
//! one state topic, so each belongs to one side only ([`Wiring`]).
//!
//! A record that the second refuses makes the first's whole input a dead letter: all that was written for that input is
//! dropped. Where the record may come of an earlier input or of none (the first held something back, a tick, a flush)
//! it is a dead letter itself, as on the topic between, and nothing else is touched (I-04).

use std::collections::BTreeMap;

use schemas::framing::Framing;

use crate::transform::{Context, Factory, Input, Out, Refused, Rejection, Transform, Verdict};

/// A transform that decides at once: it never answers [`Verdict::Wait`] and never holds an input back
/// ([`Transform::held_from`] is always `None`). Only such a one can be the second of a chain.
pub trait Prompt: Transform {}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that reads the input.
    First,
    /// The one that reads what the first writes to slot 0.
    Second,
}

/// How two stages are put together.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The topic between, which is skipped; dead letters name it.
    pub through: String,
    /// Framings of the first's slots, slot 0 (the topic between) included.
    pub framings: Vec<Framing>,
    /// Number of the second's slots; the first's slot 1 becomes this one.
    pub second_slots: usize,
    /// Whose the table topic is.
    pub table: Side,
    /// Whose the state topic is; the other one must have no state of its own to restore.
    pub state: Side,
}

impl Wiring {
    /// Where the first's `slot` is in the chain; slot 0, the topic between, is nowhere.
    #[must_use]
    pub fn slot_of_first(&self, slot: usize) -> Option<usize> {
        slot.checked_sub(1).map(|behind| self.second_slots + behind)
    }
}

/// Two transforms as one.
pub struct Chain<A, B> {
    first: A,
    second: B,
    wiring: Wiring,
    middle: Out,
    /// Offset of the newest input: what a tick or a flush lets go is said to be of that one.
    offset: i64,
}

impl<A: Transform, B: Prompt> Chain<A, B> {
    /// Puts two transforms of the same partition together.
    #[must_use]
    pub fn new(first: A, second: B, wiring: Wiring) -> Self {
        let middle = Out::new(wiring.framings.clone());
        Self { first, second, wiring, middle, offset: -1 }
    }

    /// Gives the second what the first wrote. `own`: it all comes of the input in hand, which is refused with it.
    fn feed(&mut self, ctx: &Context, timestamp_ms: i64, own: bool, out: &mut Out) -> Result<(), Rejection> {
        // whether the first has waited is no business of the second
        let ctx = Context { wait_over: false, ..*ctx };
        let mut refused = Vec::new();
        for record in self.middle.iter() {
            if let Some(slot) = self.wiring.slot_of_first(record.slot) {
                out.framed(slot, record.key, record.value);
                continue;
            }
            let before = out.len();
            let input = Input { offset: self.offset, timestamp_ms, key: Some(record.key), value: record.value };
            let result = match self.second.apply(&ctx, input, out) {
                Ok(Verdict::Wait) => {
                    // it broke its promise; the first cannot be asked again, so it must decide now
                    out.truncate(before);
                    self.second.apply(&Context { wait_over: true, ..ctx }, input, out)
                }
                result => result,
            };
            let Err(rejection) = result else { continue };
            let detail = format!("{}; the record was for {}", rejection.detail, self.wiring.through);
            let rejection = Rejection::new(rejection.code, detail);
            if own {
                return Err(rejection);
            }
            out.truncate(before);
            refused.push(Refused {
                topic: self.wiring.through.clone(),
                key: record.key.to_vec(),
                value: record.value.map(<[u8]>::to_vec),
                rejection,
            });
        }
        refused.into_iter().for_each(|refused| out.refuse(refused));
        Ok(())
    }

    /// As [`Self::feed`], for records that belong to no input in hand: none of them is refused with one.
    fn feed_late(&mut self, ctx: &Context, out: &mut Out) {
        let result = self.feed(ctx, ctx.now_us / 1000, false, out);
        debug_assert!(result.is_ok(), "late records are refused one by one");
    }
}

impl<A: Transform, B: Prompt> Transform for Chain<A, B> {
    fn apply(&mut self, ctx: &Context, input: Input<'_>, out: &mut Out) -> Result<Verdict, Rejection> {
        let own = self.first.held_from().is_none();
        self.middle.clear();
        let verdict = self.first.apply(ctx, input, &mut self.middle)?;
        if verdict == Verdict::Wait && !ctx.wait_over {
            return Ok(verdict);
        }
        self.offset = input.offset;
        self.feed(ctx, input.timestamp_ms, own, out)?;
        Ok(Verdict::Done)
    }

    fn tick(&mut self, ctx: &Context, out: &mut Out) {
        self.middle.clear();
        self.first.tick(ctx, &mut self.middle);
        self.feed_late(ctx, out);
        self.second.tick(ctx, out);
    }

    fn flush(&mut self, ctx: &Context, out: &mut Out) {
        self.middle.clear();
        self.first.flush(ctx, &mut self.middle);
        self.feed_late(ctx, out);
        self.second.flush(ctx, out);
    }

    fn table(&mut self, key: &[u8], value: Option<&[u8]>) {
        match self.wiring.table {
            Side::First => self.first.table(key, value),
            Side::Second => self.second.table(key, value),
        }
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        match self.wiring.state {
            Side::First => self.first.restore(key, value),
            Side::Second => self.second.restore(key, value),
        }
    }

    fn counters(&self, show: &mut dyn FnMut(&'static str, u64)) {
        // a name that both have is one series: shown once, as the sum
        let mut sums = BTreeMap::<&'static str, u64>::new();
        let mut add = |name, value: u64| {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(value);
        };
        self.first.counters(&mut add);
        self.second.counters(&mut add);
        sums.into_iter().for_each(|(name, value)| show(name, value));
    }

    fn held_from(&self) -> Option<i64> {
        // the second is given the first's offsets, so that the two are of one kind
        self.first.held_from().into_iter().chain(self.second.held_from()).min()
    }
}

/// Makes chains.
#[derive(Debug, Clone)]
pub struct ChainFactory<A, B> {
    first: A,
    second: B,
    wiring: Wiring,
}

impl<A: Factory, B: Factory> ChainFactory<A, B>
where
    B::Transform: Prompt,
{
    /// Puts the factories of two neighbours together.
    #[must_use]
    pub fn new(first: A, second: B, wiring: Wiring) -> Self {
        Self { first, second, wiring }
    }
}

impl<A: Factory, B: Factory> Factory for ChainFactory<A, B>
where
    B::Transform: Prompt,
{
    type Transform = Chain<A::Transform, B::Transform>;

    fn make(&self, partition: i32) -> Self::Transform {
        Chain::new(self.first.make(partition), self.second.make(partition), self.wiring.clone())
    }
}

#[cfg(test)]
mod tests;
