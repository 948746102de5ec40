//! What follows a failed attempt: how long to wait, how small to begin again, and when to give up.

use std::time::Duration;

use super::{Host, Poison, StageError, StageSpec};
use crate::bus::{BusError, BusErrorKind};
use crate::shutdown::{Level, Shutdown};
use crate::transform::Rejection;

/// A second fence within this time means a real rival; one alone may be the echo of a broker's crash.
const FENCE_WINDOW: Duration = Duration::from_secs(60);
/// Pause before the second attempt; doubled up to [`DOUBLINGS`] times.
const PAUSE_MS: u64 = 25;
const DOUBLINGS: u32 = 7;

/// Why an attempt ended.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The bus did not do as asked.
    Bus(BusError),
    /// One input cannot be taken, and what was done to the state is not known: begin again and refuse it unseen.
    Poison { partition: i32, offset: i64, rejection: Rejection },
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

/// The attempts of one run.
pub(super) struct Attempts<'a> {
    spec: &'a StageSpec,
    host: &'a Host<'a>,
    failures: u32,
    /// When an attempt last ended by a fence.
    fenced: Option<Duration>,
    /// The next attempt begins with one record per transaction.
    single: bool,
    /// Inputs of the transaction that failed, and the last of them.
    failed: (usize, Option<(i32, i64)>),
    poison: Poison,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(spec: &'a StageSpec, host: &'a Host<'a>) -> Self {
        Self { spec, host, failures: 0, fenced: None, single: false, failed: (0, None), poison: Poison::new() }
    }

    /// Records per transaction of the next attempt.
    pub(super) fn records(&self) -> usize {
        // a transaction that failed is tried again smaller: it may have been over the bus's limit
        if self.single { 1 } else { (self.spec.limits.records >> self.failures.min(16)).max(1) }
    }

    /// Inputs that the next attempt refuses unseen.
    pub(super) fn give_poison(&mut self) -> Poison {
        self.poison.clone()
    }

    /// Takes over what a failed attempt knew.
    pub(super) fn take_poison(&mut self, poison: &mut Poison, taken: usize, newest: Option<(i32, i64)>) {
        self.poison = std::mem::take(poison);
        self.failed = (taken, newest);
    }

    /// A transaction was committed.
    pub(super) fn good(&mut self) {
        self.failures = 0;
        self.single = false;
    }

    /// Decides what follows; true when there is another attempt.
    pub(super) fn judge(&mut self, shutdown: &Shutdown, trouble: Trouble) -> Result<bool, StageError> {
        match trouble {
            Trouble::Poison { partition, offset, rejection } => {
                tracing::error!(stage = %self.spec.name, partition, offset, %rejection, "an input ended the attempt");
                self.poison.insert((partition, offset), rejection);
            }
            Trouble::Bus(error) if error.kind == BusErrorKind::TooLarge && self.single_out(&error) => {}
            Trouble::Bus(error) => self.back_off(shutdown, error)?,
        }
        Ok(true)
    }

    /// The bus refused a record for its size: finds the input by transactions of one, then refuses it.
    fn single_out(&mut self, error: &BusError) -> bool {
        match self.failed {
            (1, Some(place)) => {
                let rejection = Rejection::new(super::letter::TOO_LARGE, format!("{error}"));
                self.poison.insert(place, rejection);
                true
            }
            (0, _) | (_, None) => false,
            _ => {
                self.single = true;
                true
            }
        }
    }

    /// Waits before the next attempt, or ends the stage.
    ///
    /// A fence is tried against once: when a broker dies between a request and its answer, the client repeats the
    /// request under its old name and is told that another one holds it. Of two real rivals the older one meets its
    /// second fence first and stops, and each attempt is whole or nothing (I-04), so nothing is written twice meanwhile.
    pub(super) fn back_off(&mut self, shutdown: &Shutdown, error: BusError) -> Result<(), StageError> {
        self.failures += 1;
        let now = self.host.clock.elapsed();
        let fatal = match error.kind {
            BusErrorKind::Fenced if self.fenced.is_none_or(|last| now.saturating_sub(last) > FENCE_WINDOW) => {
                self.fenced = Some(now);
                false
            }
            BusErrorKind::Fenced => {
                let (stage, instance) = (self.spec.name.clone(), self.spec.instance.clone());
                return Err(StageError::Fenced { stage, instance, source: error });
            }
            BusErrorKind::Fatal | BusErrorKind::Missing | BusErrorKind::TooLarge => true,
            BusErrorKind::Retriable | BusErrorKind::Abort | BusErrorKind::Full => {
                self.failures > self.spec.limits.retries
            }
        };
        if fatal {
            return Err(StageError::Bus { stage: self.spec.name.clone(), source: error });
        }
        let failures = self.failures;
        tracing::warn!(stage = %self.spec.name, failures, %error, "going back to the committed positions");
        // in small steps: a drain goes on trying, a stop does not wait
        let until = now + Duration::from_millis(PAUSE_MS << failures.min(DOUBLINGS));
        while self.host.clock.elapsed() < until && shutdown.level() != Level::Stop {
            self.host.clock.sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
