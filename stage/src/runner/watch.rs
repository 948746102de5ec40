//! What the runner counts: `<stage>_<what>_total` and one gauge, in the process's metrics.

use std::time::Duration;

use crate::bus::Batch;
use crate::metrics::{Counter, Gauge, counter, gauge};
use crate::transform::Out;

/// One committed transaction.
pub(super) struct Facts {
    pub(super) records_in: usize,
    pub(super) bytes_in: usize,
    pub(super) records_out: usize,
    pub(super) bytes_out: usize,
    /// Age of the newest input, milliseconds.
    pub(super) delay_ms: i64,
}

/// A stage's metrics.
pub(super) struct Watch {
    stage: String,
    records_in: Counter,
    bytes_in: Counter,
    records_out: Counter,
    bytes_out: Counter,
    transactions: Counter,
    commit_us: Counter,
    pub(super) aborts: Counter,
    delay_ms: Gauge,
}

impl Watch {
    pub(super) fn new(stage: &str) -> Self {
        let of = |what: &str, help: &str| counter(&format!("{stage}_{what}_total"), help, &[]);
        Self {
            stage: stage.to_owned(),
            records_in: of("read_records", "Records read, those that wait counted at each look."),
            bytes_in: of("read_bytes", "Bytes of keys and values read."),
            records_out: of("written_records", "Records committed."),
            bytes_out: of("written_bytes", "Bytes committed."),
            transactions: of("transactions", "Transactions committed."),
            commit_us: of("commit_us", "Time spent in commits, microseconds."),
            aborts: of("aborts", "Transactions given up; the stage went back to its committed positions."),
            delay_ms: gauge(
                &format!("{stage}_delay_ms"),
                "Age of the newest record of the last transaction, milliseconds.",
                &[],
            ),
        }
    }

    pub(super) fn committed(&self, facts: &Facts, took: Duration) {
        let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        self.records_in.add(wide(facts.records_in));
        self.bytes_in.add(wide(facts.bytes_in));
        self.records_out.add(wide(facts.records_out));
        self.bytes_out.add(wide(facts.bytes_out));
        self.transactions.add(1);
        self.commit_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.delay_ms.set(facts.delay_ms);
    }

    pub(super) fn reject(&self, code: &'static str) {
        let name = format!("{}_rejected_records_total", self.stage);
        counter(&name, "Records sent to the dead letters, aborted attempts included.", &[("code", code)]).add(1);
    }

    pub(super) fn count(&self, name: &str, by: u64) {
        counter(&format!("{}_{name}_total", self.stage), "Counted by the stage; see its reference.", &[]).add(by);
    }
}

pub(super) fn facts(batch: &Batch, out: &Out, now_us: i64) -> Facts {
    let newest_ms = batch.get(batch.len().saturating_sub(1)).map(|record| record.timestamp_ms);
    Facts {
        records_in: batch.len(),
        bytes_in: batch.bytes(),
        records_out: out.len(),
        bytes_out: out.bytes(),
        delay_ms: newest_ms.map_or(0, |newest| (now_us / 1000).saturating_sub(newest).max(0)),
    }
}
