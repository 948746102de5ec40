//! When a drained stage may stop: all that lay on its input when the drain began is written out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Runner;
use crate::bus::BusError;
use crate::shutdown::{Level, Shutdown};
use crate::transform::{Factory, Transform as _};

/// The same where nothing has been read yet since the partition came: the first fetch takes its time.
const DRAIN_IDLE_FIRST: Duration = Duration::from_secs(4);
/// Silence after which a drained input counts as empty: the last offsets may be holes.
const DRAIN_IDLE: Duration = Duration::from_secs(1);
/// Longest wait for a first partition while draining.
const DRAIN_JOIN: Duration = Duration::from_secs(15);

/// What a drain still has to see.
pub(super) struct Drain {
    since: Duration,
    /// When a step last did something.
    busy: Duration,
    ends: BTreeMap<i32, i64>,
    starts: BTreeMap<i32, i64>,
}

impl<F: Factory> Runner<'_, F> {
    pub(super) fn is_done(&mut self, shutdown: &Shutdown, idle: bool) -> Result<bool, BusError> {
        match shutdown.level() {
            Level::Run => Ok(true),
            Level::Stop => Ok(false),
            Level::Drain => Ok(!self.drained(idle)?),
        }
    }

    /// True when all that lay on the input when the drain began is written out.
    fn drained(&mut self, idle: bool) -> Result<bool, BusError> {
        let now = self.host.clock.elapsed();
        let fresh = Drain { since: now, busy: now, ends: BTreeMap::new(), starts: BTreeMap::new() };
        let mut drain = self.drain.take().unwrap_or(fresh);
        if drain.ends.is_empty() {
            for partition in self.reader.assignment() {
                drain.ends.insert(partition.partition, self.bus.bounds(&partition)?.1);
            }
            for position in self.reader.committed()? {
                drain.starts.insert(position.topic_partition.partition, position.next_offset);
            }
        }
        if !idle {
            drain.busy = now;
        }
        let waiting = self.lanes.values().any(|lane| lane.waiting.is_some());
        let reached = drain.ends.iter().all(|(partition, end)| {
            let start = drain.starts.get(partition).copied();
            let next = self.lanes.get(partition).map_or(start, |lane| lane.next.or(start));
            let holds = self.lanes.get(partition).is_some_and(|lane| lane.transform.held_from().is_some());
            next.is_some_and(|next| next >= *end) && !holds
        });
        let unread = drain.ends.iter().any(|(partition, end)| {
            let none = self.lanes.get(partition).is_none_or(|lane| lane.next.is_none());
            none && drain.starts.get(partition).is_none_or(|start| start < end)
        });
        let patience = if unread { DRAIN_IDLE_FIRST } else { DRAIN_IDLE };
        let silent = now.saturating_sub(drain.busy) >= patience;
        let done = if drain.ends.is_empty() {
            now.saturating_sub(drain.since) >= DRAIN_JOIN
        } else {
            idle && !waiting && (reached || silent)
        };
        self.drain = Some(drain);
        Ok(done)
    }
}
