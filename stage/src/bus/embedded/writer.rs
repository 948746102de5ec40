//! Writers of the embedded bus.

use std::collections::HashMap;
use std::sync::Arc;

use super::blob::{Builder, RECORD_OVERHEAD};
use super::catalog::Topic;
use super::commit::{Chunk, GroupPositions, Shared, Token, Work, fenced};
use super::{Limits, SEGMENT_BYTES};
use crate::bus::{BusError, BusErrorKind, Membership, Position, WriteMode, Writer, WriterSpec};

/// A writer: collects records and hands them to the commit path.
pub(super) struct EmbeddedWriter {
    shared: Arc<Shared>,
    name: String,
    mode: WriteMode,
    epoch: u64,
    limits: Limits,
    open: bool,
    chunks: Vec<Chunk>,
    /// Index of the chunk still being filled, per topic number and partition.
    filling: HashMap<(u32, i32), usize>,
    bytes: usize,
    /// The last topic sent to: most records go to few topics.
    last: Option<Arc<Topic>>,
}

impl EmbeddedWriter {
    pub(super) fn new(shared: Arc<Shared>, spec: &WriterSpec, epoch: u64, limits: Limits) -> Self {
        Self {
            shared,
            name: spec.name.clone(),
            mode: spec.mode,
            epoch,
            limits,
            open: false,
            chunks: Vec::new(),
            filling: HashMap::new(),
            bytes: 0,
            last: None,
        }
    }

    fn owner(&self) -> Option<(String, u64)> {
        (self.mode == WriteMode::Transactional).then(|| (self.name.clone(), self.epoch))
    }

    fn state_error(&self, operation: &str, reason: &str) -> BusError {
        BusError::new(BusErrorKind::Fatal, format!("{operation} as {}", self.name), reason)
    }

    fn topic(&mut self, name: &str) -> Result<Arc<Topic>, BusError> {
        if let Some(topic) = &self.last
            && topic.name == name
        {
            return Ok(Arc::clone(topic));
        }
        let topic = self.shared.catalog.get(name)?;
        self.last = Some(Arc::clone(&topic));
        Ok(topic)
    }

    fn clear(&mut self) {
        self.chunks.clear();
        self.filling.clear();
        self.bytes = 0;
    }

    /// Makes what was collected durable; records and positions together.
    fn flush(&mut self, positions: Option<GroupPositions>) -> Result<(), BusError> {
        if self.chunks.is_empty() && positions.as_ref().is_none_or(|group| group.positions.is_empty()) {
            return Ok(());
        }
        let chunks = std::mem::take(&mut self.chunks);
        match self.shared.commit(Work { writer: self.owner(), chunks, positions }) {
            Ok(()) => {
                self.clear();
                Ok(())
            }
            Err(failed) => {
                // The records stay: the caller may call again when there is room, or abort.
                let (error, work) = *failed;
                self.chunks = work.chunks;
                Err(error)
            }
        }
    }

    fn group_positions(&self, membership: &Membership, positions: &[Position]) -> Result<GroupPositions, BusError> {
        let token = membership
            .token
            .downcast_ref::<Token>()
            .ok_or_else(|| self.state_error("commit", "the membership is of another bus"))?;
        let positions = positions
            .iter()
            .map(|position| {
                let at = &position.topic_partition;
                let topic = self.shared.catalog.get(&at.topic)?;
                topic.bounds(at.partition)?;
                Ok((topic.id, at.partition, position.next_offset))
            })
            .collect::<Result<_, BusError>>()?;
        Ok(GroupPositions { group: membership.group.clone(), token: token.clone(), positions })
    }
}

impl Writer for EmbeddedWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        if self.open {
            return Err(self.state_error("begin", "a transaction is open already"));
        }
        if self.mode == WriteMode::Transactional && self.shared.core().epochs.get(&self.name) != Some(&self.epoch) {
            return Err(fenced(&self.name));
        }
        self.open = true;
        self.clear();
        Ok(())
    }

    fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        if !self.open {
            return Err(self.state_error("send", "no transaction is open"));
        }
        let topic = self.topic(topic)?;
        if topic.ends(partition).is_none() {
            topic.bounds(partition)?;
        }
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + RECORD_OVERHEAD;
        if size > self.limits.record_bytes {
            let reason = format!("a record of {size} bytes is over the limit of {}", self.limits.record_bytes);
            return Err(BusError::new(BusErrorKind::TooLarge, format!("send as {}", self.name), reason));
        }
        if self.bytes + size > self.limits.transaction_bytes {
            if self.mode == WriteMode::Transactional {
                let reason = format!("the transaction is over the limit of {} bytes", self.limits.transaction_bytes);
                return Err(BusError::new(BusErrorKind::Abort, format!("send as {}", self.name), reason));
            }
            // Not a transaction: what is acknowledged so far may appear now.
            self.flush(None)?;
        }
        let slot = (topic.id, partition);
        let index = match self.filling.get(&slot) {
            Some(index) if self.chunks.get(*index).is_some_and(|chunk| chunk.records.len() + size <= SEGMENT_BYTES) => {
                *index
            }
            _ => {
                self.chunks.push(Chunk { topic, partition, records: Builder::new() });
                self.filling.insert(slot, self.chunks.len() - 1);
                self.chunks.len() - 1
            }
        };
        self.chunks.get_mut(index).and_then(|chunk| chunk.records.push(key, value)).ok_or_else(|| {
            BusError::new(BusErrorKind::Fatal, format!("send as {}", self.name), "the record is too large")
        })?;
        self.bytes += size;
        Ok(())
    }

    fn record_bytes_max(&self) -> usize {
        self.limits.record_bytes.saturating_sub(RECORD_OVERHEAD)
    }

    fn commit(&mut self, positions: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        if !self.open {
            return Err(self.state_error("commit", "no transaction is open"));
        }
        let positions =
            positions.map(|(membership, positions)| self.group_positions(membership, positions)).transpose()?;
        self.flush(positions)?;
        self.open = false;
        Ok(())
    }

    fn abort(&mut self) -> Result<(), BusError> {
        self.clear();
        self.open = false;
        Ok(())
    }
}
