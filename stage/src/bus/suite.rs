//! What every bus must do, as checks that run against any adapter.
//!
//! One suite for all adapters is what lets a stage be written once: it holds atomic commits (I-04), fencing,
//! order per partition, groups, and that nothing is skipped silently. An adapter's test calls [`run_all`].

mod groups;
mod helpers;
mod reading;
mod writing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Bus, BusError};

/// Opens the bus under test. Called again after the former one was dropped; it must then hold what was kept.
pub type Make<'a> = &'a dyn Fn() -> Result<Arc<dyn Bus>, BusError>;

/// How the suite runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Prefix of topic, group and writer names; must not have been used on this bus before.
    pub prefix: String,
    /// Longest wait for something that must come, such as records or a new assignment.
    pub patience: Duration,
    /// How long nothing must come where nothing may.
    pub quiet: Duration,
}

/// A check that did not hold.
#[derive(Debug, thiserror::Error)]
#[error("bus check {check} failed: {reason}")]
pub struct Failed {
    /// Name of the check.
    pub check: &'static str,
    /// What was expected and what came.
    pub reason: String,
}

/// A check that held.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// Name of the check.
    pub check: &'static str,
    /// Time it took.
    pub took: Duration,
}

type Check = fn(Make<'_>, &Options) -> Result<(), String>;

const CHECKS: &[(&str, Check)] = &[
    ("topics_are_made_once", writing::topics_are_made_once),
    ("aborted_records_are_never_seen", writing::aborted_records_are_never_seen),
    ("open_records_are_not_seen", writing::open_records_are_not_seen),
    ("older_writer_is_fenced", writing::older_writer_is_fenced),
    ("order_per_partition", writing::order_per_partition),
    ("nulls_and_empties_differ", writing::nulls_and_empties_differ),
    ("large_records_pass", writing::large_records_pass),
    ("idempotent_records_appear", writing::idempotent_records_appear),
    ("time_is_the_bus_s", writing::time_is_the_bus_s),
    ("everyone_reads_everything", reading::everyone_reads_everything),
    ("seek_and_pause", reading::seek_and_pause),
    ("polls_are_bounded", reading::polls_are_bounded),
    ("bounds_hold_the_records", reading::bounds_hold_the_records),
    ("lost_positions_are_missing", reading::lost_positions_are_missing),
    ("a_waiting_reader_wakes", reading::a_waiting_reader_wakes),
    ("records_and_positions_commit_together", groups::records_and_positions_commit_together),
    ("group_shares_partitions", groups::group_shares_partitions),
    ("stale_members_cannot_commit", groups::stale_members_cannot_commit),
    ("a_new_opening_keeps_everything", groups::a_new_opening_keeps_everything),
];

/// Runs all checks, each on topics of its own.
///
/// # Errors
/// The first check that did not hold.
pub fn run_all(make: Make<'_>, options: &Options) -> Result<Vec<Passed>, Failed> {
    CHECKS
        .iter()
        .map(|(name, check)| {
            let began = Instant::now();
            let own = Options { prefix: format!("{}{name}", options.prefix), ..options.clone() };
            check(make, &own).map_err(|reason| Failed { check: name, reason })?;
            Ok(Passed { check: name, took: began.elapsed() })
        })
        .collect()
}
