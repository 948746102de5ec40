//! Counters of one proxy process, plain numbers: whoever serves metrics reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use stage::metrics::{Counter, Gauge, counter, gauge};

use crate::journal::Journal;
use crate::tap::{Flow, Guarantee, Tap};

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct Metrics {
    connections: AtomicU64,
    connections_refused: AtomicU64,
    handshakes_evicted: AtomicU64,
    malformed: AtomicU64,
    sessions_opened: AtomicU64,
    sessions_refused: AtomicU64,
    sessions_closed: AtomicU64,
    cancels: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections accepted.
    pub connections: u64,
    /// Connections ended at once because of the process's limit.
    pub connections_refused: u64,
    /// Connections ended before their login because too many others waited for theirs.
    pub handshakes_evicted: u64,
    /// Connections whose first bytes are not the protocol, or whose TLS failed.
    pub malformed: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Sessions refused, each with a record.
    pub sessions_refused: u64,
    /// Sessions closed, failed logins at a target included.
    pub sessions_closed: u64,
    /// Cancel requests forwarded.
    pub cancels: u64,
}

macro_rules! count {
    ($($name:ident),*) => { $(pub(crate) fn $name(&self) { self.$name.fetch_add(1, Ordering::Relaxed); })* };
}

impl Metrics {
    count!(
        connections,
        connections_refused,
        handshakes_evicted,
        malformed,
        sessions_opened,
        sessions_refused,
        sessions_closed,
        cancels
    );

    /// Reads all counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            connections: read(&self.connections),
            connections_refused: read(&self.connections_refused),
            handshakes_evicted: read(&self.handshakes_evicted),
            malformed: read(&self.malformed),
            sessions_opened: read(&self.sessions_opened),
            sessions_refused: read(&self.sessions_refused),
            sessions_closed: read(&self.sessions_closed),
            cancels: read(&self.cancels),
        }
    }
}

/// Shows the counters at `/metrics`; publishes what was added since the last time.
pub(crate) struct Exporter {
    counters: Vec<(Counter, u64)>,
    waiting: Gauge,
    unrecorded: Gauge,
    journal: Gauge,
}

/// Counters of each guarantee.
fn flows() -> impl Iterator<Item = Counter> {
    Guarantee::ALL.into_iter().flat_map(|guarantee| {
        let labels = [("guarantee", guarantee.as_str())];
        [
            counter("proxy_seen_records_total", "Records made from what was seen at the socket.", &labels),
            counter("proxy_journaled_records_total", "Records taken by the journal.", &labels),
            counter("proxy_acked_records_total", "Records the bus acknowledged, each once.", &labels),
        ]
    })
}

impl Exporter {
    /// `journal_bytes_max`: the journal's limit, shown beside what it holds.
    pub(crate) fn new(journal_bytes_max: u64) -> Self {
        let made = [
            counter("proxy_connections_total", "Connections accepted.", &[]),
            counter(
                "proxy_refused_connections_total",
                "Connections ended at once because of the process's limit.",
                &[],
            ),
            counter(
                "proxy_evicted_handshakes_total",
                "Connections ended before their login because too many others waited for theirs.",
                &[],
            ),
            counter(
                "proxy_malformed_connections_total",
                "Connections whose first bytes are no protocol spoken here.",
                &[],
            ),
            counter("proxy_opened_sessions_total", "Sessions opened.", &[]),
            counter("proxy_refused_sessions_total", "Sessions refused, each with a record.", &[]),
            counter("proxy_closed_sessions_total", "Sessions closed.", &[]),
            counter("proxy_cancels_total", "Cancel requests forwarded.", &[]),
            counter("proxy_recorded_records_total", "Records handed to the journal.", &[]),
            counter("proxy_committed_records_total", "Records the bus acknowledged, repeats included.", &[]),
            counter("proxy_bus_errors_total", "Failed attempts at the bus.", &[]),
            counter("proxy_quarantined_records_total", "Records the bus will never take, set aside in files.", &[]),
            counter("proxy_unrecordable_sessions_total", "Sessions ended because they could not be recorded.", &[]),
            counter("proxy_refused_records_total", "Records of refused requests; their session's end says so.", &[]),
            counter("proxy_written_ends_total", "Ends written in the name of sessions that could not.", &[]),
            counter("proxy_unreported_ends_total", "Ends that found no place to wait for the journal.", &[]),
            counter("proxy_left_segments_total", "Journal segments left because a write or sync failed.", &[]),
        ];
        let limit = gauge("proxy_journal_limit_bytes", "Bytes at which the journal is full.", &[]);
        limit.set(i64::try_from(journal_bytes_max).unwrap_or(i64::MAX));
        Self {
            counters: made.into_iter().chain(flows()).map(|counter| (counter, 0)).collect(),
            waiting: gauge("proxy_waiting_records", "Records seen that the bus has not acknowledged.", &[]),
            unrecorded: gauge("proxy_unrecorded_records", "Records seen that are nowhere: must be 0.", &[]),
            journal: gauge("proxy_journal_bytes", "Bytes in the journal that the bus has not acknowledged.", &[]),
        }
    }

    /// Adds what is new.
    pub(crate) fn publish(&mut self, metrics: &Metrics, tap: &Tap, journal: &Journal) {
        let accounting = tap.accounting();
        self.waiting.set(i64::try_from(accounting.waiting).unwrap_or(i64::MAX));
        self.unrecorded.set(accounting.unrecorded);
        self.journal.set(i64::try_from(journal.used_bytes()).unwrap_or(i64::MAX));
        let (now, tap) = (metrics.snapshot(), tap.counters());
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let values = [
            now.connections,
            now.connections_refused,
            now.handshakes_evicted,
            now.malformed,
            now.sessions_opened,
            now.sessions_refused,
            now.sessions_closed,
            now.cancels,
            read(&tap.records),
            read(&tap.committed),
            read(&tap.bus_errors),
            read(&tap.quarantined),
            read(&tap.refused),
            read(&tap.refused_records),
            read(&tap.ends),
            read(&tap.unreported),
            journal.repairs(),
        ];
        let flow = |flow: &Flow| [read(&flow.seen), read(&flow.journaled), read(&flow.acked)];
        let values = values.into_iter().chain(tap.flows.iter().flat_map(flow));
        for ((counter, shown), value) in self.counters.iter_mut().zip(values) {
            counter.add(value.saturating_sub(*shown));
            *shown = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_counts_itself() {
        let metrics = Metrics::default();
        metrics.connections();
        metrics.connections();
        metrics.cancels();
        assert_eq!(metrics.snapshot(), Snapshot { connections: 2, cancels: 1, ..Snapshot::default() });
    }
}
