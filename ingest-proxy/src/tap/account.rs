//! Loss accounting of the proxy (I-02): every record seen is acknowledged, waits, or was refused by name.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Guarantee;

/// Records of one guarantee.
#[derive(Debug, Default)]
pub struct Flow {
    /// Made from what was seen at the socket.
    pub seen: AtomicU64,
    /// Taken by the journal.
    pub journaled: AtomicU64,
    /// Acknowledged by the bus, each once.
    pub acked: AtomicU64,
}

/// Counters of a tap; the metrics are read from them.
#[derive(Debug, Default)]
pub struct Counters {
    /// By guarantee, in the order of [`Guarantee::ALL`].
    pub flows: [Flow; 3],
    /// Records handed in.
    pub records: AtomicU64,
    /// Records the bus acknowledged, repeats included.
    pub committed: AtomicU64,
    /// Failed attempts at the bus.
    pub bus_errors: AtomicU64,
    /// Records the bus will never take: kept in files and as dead letters, with a stand-in in their place.
    pub quarantined: AtomicU64,
    /// Sessions refused or ended because they could not be recorded.
    pub refused: AtomicU64,
    /// Records of those that were not taken: nothing of them was forwarded, and their session's end says why.
    pub refused_records: AtomicU64,
    /// Ends written in the name of sessions that could not.
    pub ends: AtomicU64,
    /// Ends that found no place in memory to wait for room in the journal.
    pub unreported: AtomicU64,
    /// Left in the journal by an earlier process, damaged ones included.
    backlog: u64,
    /// Records made and not yet taken by the journal, of live sessions.
    held: AtomicI64,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Counters {
    /// Counters of a process that finds `backlog` records in its journal.
    pub(super) fn with_backlog(backlog: u64) -> Self {
        Self { backlog, ..Self::default() }
    }

    fn flow(&self, guarantee: Guarantee) -> &Flow {
        let [acked, journaled, buffered] = &self.flows;
        match guarantee {
            Guarantee::Acked => acked,
            Guarantee::Journaled => journaled,
            Guarantee::Buffered => buffered,
        }
    }

    pub(super) fn seen(&self, guarantee: Guarantee, count: u64) {
        self.held.fetch_add(signed(count), Ordering::Relaxed);
        self.flow(guarantee).seen.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn journaled(&self, guarantee: Guarantee, count: u64) {
        self.records.fetch_add(count, Ordering::Relaxed);
        self.flow(guarantee).journaled.fetch_add(count, Ordering::Relaxed);
        self.held.fetch_sub(signed(count), Ordering::Relaxed);
    }

    pub(super) fn acked(&self, guarantee: Guarantee, count: u64) {
        self.flow(guarantee).acked.fetch_add(count, Ordering::Relaxed);
    }

    /// A session ends and these were never taken; `named`: its end says so.
    pub(super) fn dropped(&self, count: u64, named: bool) {
        if named {
            self.refused_records.fetch_add(count, Ordering::Relaxed);
        }
        self.held.fetch_sub(signed(count), Ordering::Relaxed);
    }
}

/// Where every record seen is. `seen = acked + waiting + refused + unrecorded`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Made from what was seen at the socket, and what an earlier process left in the journal.
    pub seen: u64,
    /// Acknowledged by the bus.
    pub acked: u64,
    /// In the journal or on the way to it.
    pub waiting: u64,
    /// Refused with their request, which was not forwarded.
    pub refused: u64,
    /// None of these: must be 0.
    pub unrecorded: i64,
}

/// Looks taken to find one in which no record is between two counters.
const LOOKS: usize = 16;

/// Reads the counters; they move meanwhile, so a difference counts only when every look shows one.
pub(super) fn accounting(counters: &Counters, journal_waiting: impl Fn() -> u64) -> Accounting {
    let sum = |pick: fn(&Flow) -> &AtomicU64| -> u64 {
        counters.flows.iter().map(|flow| pick(flow).load(Ordering::Relaxed)).sum()
    };
    let look = || {
        let acked = sum(|flow| &flow.acked);
        let held = u64::try_from(counters.held.load(Ordering::Relaxed)).unwrap_or(0);
        let waiting = journal_waiting() + held;
        let refused = counters.refused_records.load(Ordering::Relaxed);
        let seen = counters.backlog + sum(|flow| &flow.seen);
        let unrecorded = signed(seen) - signed(acked) - signed(waiting) - signed(refused);
        Accounting { seen, acked, waiting, refused, unrecorded }
    };
    let mut all = (0..LOOKS).map(|_| look());
    all.find(|look| look.unrecorded == 0).unwrap_or_else(look)
}
