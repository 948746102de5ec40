//! The topics of an embedded bus and the ends of their partitions, in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;

use crate::bus::{BusError, BusErrorKind, Cleanup};

/// Ends of one partition, read without a lock.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Earliest offset that may be asked for.
    pub(super) start: AtomicI64,
    /// Offset after the last committed record.
    pub(super) end: AtomicI64,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    /// Number in the store's keys; never used again after it.
    pub(super) id: u32,
    pub(super) name: String,
    /// Made once, in text form.
    pub(super) uuid: String,
    pub(super) cleanup: Cleanup,
    pub(super) partitions: Vec<Ends>,
}

impl Topic {
    pub(super) fn ends(&self, partition: i32) -> Option<&Ends> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn bounds(&self, partition: i32) -> Result<(i64, i64), BusError> {
        let ends = self.ends(partition).ok_or_else(|| {
            BusError::new(
                BusErrorKind::Missing,
                format!("look up partition {partition} of {}", self.name),
                "no such partition",
            )
        })?;
        Ok((ends.start.load(Ordering::Acquire), ends.end.load(Ordering::Acquire)))
    }
}

/// All topics by name.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    topics: RwLock<HashMap<String, Arc<Topic>>>,
}

impl Catalog {
    pub(super) fn get(&self, name: &str) -> Result<Arc<Topic>, BusError> {
        self.find(name)
            .ok_or_else(|| BusError::new(BusErrorKind::Missing, format!("look up topic {name}"), "no such topic"))
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    pub(super) fn insert(&self, topic: Arc<Topic>) {
        self.topics.write().insert(topic.name.clone(), topic);
    }

    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        let mut all: Vec<_> = self.topics.read().values().cloned().collect();
        all.sort_by_key(|topic| topic.id);
        all
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn topic(id: u32, partitions: usize) -> Arc<Topic> {
        Arc::new(Topic {
            id,
            name: format!("t{id}"),
            uuid: String::new(),
            cleanup: Cleanup::Compact,
            partitions: (0..partitions).map(|_| Ends::default()).collect(),
        })
    }

    #[test]
    fn unknown_names_and_partitions_are_missing() {
        let catalog = Catalog::default();
        catalog.insert(topic(1, 2));
        assert_eq!(catalog.get("t2").unwrap_err().kind, BusErrorKind::Missing);
        let known = catalog.get("t1").unwrap();
        assert_eq!(known.bounds(1).unwrap(), (0, 0));
        assert_eq!(known.bounds(2).unwrap_err().kind, BusErrorKind::Missing);
        assert_eq!(known.bounds(-1).unwrap_err().kind, BusErrorKind::Missing);
    }
}
