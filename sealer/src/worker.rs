//! A worker: reads one sealed topic, builds batch trees, proposes unsigned seals. Holds no key.
//!
//! No committed offset is trusted: a worker goes on at its stream's sealed head, so each offset is sealed at most once
//! and, while the bus still has it, exactly once. Each root is computed twice, from bytes read twice, before it is
//! proposed: one flipped bit before signing would ruin the log for ever.

use std::collections::VecDeque;
use std::time::Duration;

use schemas::v1::{SealBody, StreamId};
use stage::bus::{Assign, Bus, PollLimit, Position, Reader, ReaderSpec, TopicPartition, Writer};
use tlog::{Frontier, Hash, leaf_hash};

use crate::batch::{Batch, Limits, Reason, Stream};
use crate::entry::encode_seal;
use crate::error::NotaryError;
use crate::integrate::Head;
use crate::leaf::{Gate, Kind};
use crate::shared::Shared;

/// Proposals of one stream that the notary has not answered; at the limit the stream waits.
const UNCONFIRMED_MAX: usize = 256;
/// Records and bytes of one poll.
const POLL: PollLimit = PollLimit { records: 4096, bytes: 4 << 20, wait: Duration::from_millis(100) };

struct Chain {
    stream: Stream,
    head: Option<Head>,
    batch: Batch,
    unconfirmed: VecDeque<(i64, Hash)>,
    sealed_ms: i64,
}

/// When workers cut, and how often an idle stream says so.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Batch limits.
    pub limits: Limits,
    /// Milliseconds between heartbeats of an idle stream.
    pub heartbeat_ms: i64,
    /// Read each batch a second time before proposing it.
    pub hash_twice: bool,
}

/// What a worker seals, and where its proposals go.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the topic holds.
    pub kind: Kind,
    /// The topic's streams, one per partition.
    pub streams: Vec<Stream>,
    /// Proposals topic.
    pub proposals: String,
    /// Stable name of this process.
    pub instance: String,
}

/// A worker over all partitions of one topic.
pub struct Worker<'a> {
    bus: &'a dyn Bus,
    kind: Kind,
    rules: Rules,
    shared: Shared,
    proposals: String,
    reader: Box<dyn Reader>,
    again: Option<Box<dyn Reader>>,
    writer: Box<dyn Writer>,
    gate: Gate,
    chains: Vec<Chain>,
    records: stage::bus::Batch,
}

impl<'a> Worker<'a> {
    /// A worker whose streams start at the notary's heads.
    ///
    /// # Errors
    /// [`NotaryError::Bus`].
    pub fn open(
        bus: &'a dyn Bus,
        place: Place,
        rules: Rules,
        shared: Shared,
        now_ms: i64,
    ) -> Result<Self, NotaryError> {
        let Place { kind, streams, proposals, instance } = place;
        let topic = streams.first().map(|stream| stream.topic.clone()).unwrap_or_default();
        let mut positions = Vec::new();
        let mut chains = Vec::new();
        for stream in streams {
            let head = shared.head(&stream.id);
            positions.push(start_position(bus, &stream, head.as_ref())?);
            chains.push(Chain {
                stream,
                head,
                batch: Batch::default(),
                unconfirmed: VecDeque::new(),
                sealed_ms: now_ms,
            });
        }
        chains.sort_by_key(|chain| chain.stream.partition);
        let spec = |name: &str| ReaderSpec {
            topics: vec![topic.clone()],
            assign: Assign::Manual(positions.clone()),
            instance: format!("{instance}-{name}-{topic}"),
        };
        let reader = bus.reader(&spec("seal"))?;
        let again = if rules.hash_twice { Some(bus.reader(&spec("seal-again"))?) } else { None };
        let writer = bus.writer(&stage::bus::WriterSpec {
            name: format!("{instance}-seal-{topic}"),
            mode: stage::bus::WriteMode::Idempotent,
        })?;
        Ok(Self {
            bus,
            kind,
            rules,
            shared,
            proposals,
            reader,
            again,
            writer,
            gate: Gate::new(kind),
            chains,
            records: stage::bus::Batch::default(),
        })
    }

    /// Reads once, closes what is due, proposes it. Gives the number of records read.
    ///
    /// # Errors
    /// [`NotaryError`]; a retriable one leaves the worker usable.
    pub fn step(&mut self, now_ms: i64) -> Result<usize, NotaryError> {
        self.follow_notary()?;
        let mut records = std::mem::take(&mut self.records);
        let read = self.reader.poll(&mut records, POLL);
        let result = read.map_err(NotaryError::from).and_then(|_| self.take(&records, now_ms));
        let count = records.len();
        self.records = records;
        result?;
        for index in 0..self.chains.len() {
            self.close_if_due(index, now_ms)?;
        }
        Ok(count)
    }

    fn take(&mut self, records: &stage::bus::Batch, now_ms: i64) -> Result<(), NotaryError> {
        for record in records.iter() {
            let Some(index) = self.chains.iter().position(|chain| chain.stream.partition == record.partition) else {
                continue;
            };
            let Some(chain) = self.chains.get_mut(index) else { continue };
            // records that a seek back brings again are sealed already
            let sealed = chain.head.as_ref().map_or(-1, |head| head.last_offset);
            let newest = if chain.batch.count() > 0 { chain.batch.last_offset() } else { sealed };
            if record.offset <= newest {
                continue;
            }
            let leaf = self.gate.leaf(chain.stream.id, &record);
            let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            chain.batch.push(leaf, record.offset, record.timestamp_ms, bytes, now_ms);
            if matches!(chain.batch.due(&self.rules.limits, now_ms), Some(Reason::Count | Reason::Bytes)) {
                self.close_if_due(index, now_ms)?;
            }
        }
        Ok(())
    }

    fn close_if_due(&mut self, index: usize, now_ms: i64) -> Result<(), NotaryError> {
        let Some(chain) = self.chains.get(index) else { return Ok(()) };
        let full = chain.unconfirmed.len() >= UNCONFIRMED_MAX;
        let partition = TopicPartition { topic: chain.stream.topic.clone(), partition: chain.stream.partition };
        let reason = match chain.batch.due(&self.rules.limits, now_ms) {
            Some(reason) => Some(reason),
            None if chain.batch.count() == 0 && now_ms.saturating_sub(chain.sealed_ms) >= self.rules.heartbeat_ms => {
                Some(Reason::Heartbeat)
            }
            None => None,
        };
        if full {
            // the notary is behind: the stream waits, the batch stays open and memory stays flat
            self.reader.pause(&partition, true)?;
            return Ok(());
        }
        match reason {
            Some(reason) => self.close(index, reason, now_ms),
            None => Ok(()),
        }
    }

    fn close(&mut self, index: usize, reason: Reason, now_ms: i64) -> Result<(), NotaryError> {
        self.check_twice(index)?;
        let anchor = self.shared.anchor();
        let Some(chain) = self.chains.get_mut(index) else { return Ok(()) };
        let seal = chain.batch.seal(&chain.stream, chain.head.as_ref(), anchor, now_ms, reason);
        let entry = encode_seal(&seal);
        self.writer.begin()?;
        self.writer.send(&self.proposals, 0, Some(chain.stream.id.to_string().as_bytes()), Some(&entry))?;
        self.writer.commit(None)?;
        crate::metrics::proposed(seal.count);
        advance(chain, &seal, leaf_hash(&entry), now_ms);
        Ok(())
    }

    /// Reads the batch again and compares the roots.
    fn check_twice(&mut self, index: usize) -> Result<(), NotaryError> {
        let (Some(chain), Some(again)) = (self.chains.get(index), self.again.as_mut()) else { return Ok(()) };
        if chain.batch.count() == 0 {
            return Ok(());
        }
        let place = TopicPartition { topic: chain.stream.topic.clone(), partition: chain.stream.partition };
        for other in &self.chains {
            let other_place = TopicPartition { topic: place.topic.clone(), partition: other.stream.partition };
            again.pause(&other_place, other.stream.partition != place.partition)?;
        }
        again.seek(&Position { topic_partition: place.clone(), next_offset: chain.batch.first_offset() })?;
        let (mut frontier, mut gate) = (Frontier::default(), Gate::new(self.kind));
        let mut records = stage::bus::Batch::default();
        let mut idle = 0;
        let last = chain.batch.last_offset();
        'read: while idle < 100 {
            again.poll(&mut records, POLL)?;
            idle = if records.is_empty() { idle + 1 } else { 0 };
            for record in records.iter().filter(|record| record.partition == place.partition) {
                if record.offset > last {
                    break 'read;
                }
                frontier.append(gate.leaf(chain.stream.id, &record));
                if record.offset == last {
                    break 'read;
                }
            }
        }
        if frontier.root() == chain.batch.root() {
            return Ok(());
        }
        let (topic, partition) = (place.topic, place.partition);
        Err(NotaryError::Unstable { topic, partition, first_offset: chain.batch.first_offset() })
    }

    /// Takes over what the notary accepted; starts a stream again whose proposal was refused or overtaken.
    fn follow_notary(&mut self) -> Result<(), NotaryError> {
        for chain in &mut self.chains {
            let place = TopicPartition { topic: chain.stream.topic.clone(), partition: chain.stream.partition };
            let refused = self.shared.take_refusal(&chain.stream.id);
            let head = self.shared.head(&chain.stream.id);
            let was_full = chain.unconfirmed.len() >= UNCONFIRMED_MAX;
            let mut overtaken = false;
            if let Some(head) = &head {
                while let Some((seal_seq, hash)) = chain.unconfirmed.front().copied() {
                    if seal_seq > head.seal_seq {
                        break;
                    }
                    overtaken |= seal_seq == head.seal_seq && hash != head.seal_hash;
                    chain.unconfirmed.pop_front();
                }
                overtaken |= chain.head.as_ref().is_none_or(|own| own.seal_seq < head.seal_seq);
            }
            if refused || overtaken {
                tracing::info!(topic = %place.topic, partition = place.partition, "a proposal was refused; going on at the sealed head");
                chain.head = head;
                chain.batch = Batch::default();
                chain.unconfirmed.clear();
                let position = start_position(self.bus, &chain.stream, chain.head.as_ref())?;
                self.reader.seek(&position)?;
            }
            if was_full && chain.unconfirmed.len() < UNCONFIRMED_MAX {
                self.reader.pause(&place, false)?;
            }
        }
        Ok(())
    }

    /// True when every proposal was answered.
    #[must_use]
    pub fn is_settled(&mut self) -> bool {
        self.follow_notary().is_ok() && self.chains.iter().all(|chain| chain.unconfirmed.is_empty())
    }

    /// Seals what is open, and ends each stream that holds events with a shutdown seal, so that the archive can close
    /// its files. Call after the last record was read.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub fn finish(&mut self, now_ms: i64) -> Result<(), NotaryError> {
        for index in 0..self.chains.len() {
            let Some(chain) = self.chains.get(index) else { continue };
            let closed =
                chain.head.as_ref().is_none_or(|head| head.reason == Reason::Shutdown as i32 || head.next_seq == 0);
            if chain.batch.count() > 0 || !closed {
                self.close(index, Reason::Shutdown, now_ms)?;
            }
        }
        Ok(())
    }
}

fn advance(chain: &mut Chain, seal: &SealBody, leaf: Hash, now_ms: i64) {
    chain.head = Some(Head::after(chain.head.as_ref(), seal, leaf));
    chain.unconfirmed.push_back((seal.seal_seq, leaf));
    chain.batch = Batch::default();
    chain.sealed_ms = now_ms;
}

/// Where a stream goes on: after its newest sealed offset, or at the earliest record there is.
fn start_position(bus: &dyn Bus, stream: &Stream, head: Option<&Head>) -> Result<Position, NotaryError> {
    let place = TopicPartition { topic: stream.topic.clone(), partition: stream.partition };
    let (earliest, _) = bus.bounds(&place)?;
    let next = head.map_or(0, |head| head.last_offset + 1);
    if earliest > next {
        tracing::error!(
            topic = %place.topic, partition = place.partition, sealed_to = next, earliest,
            "records were removed by retention before they were sealed; lengthen the topic's retention"
        );
    }
    Ok(Position { topic_partition: place, next_offset: next.max(earliest) })
}

/// Ids of the streams of one topic.
#[must_use]
pub fn stream_of(origin: &str, info: &stage::bus::TopicInfo, topic: &str, partition: i32, kind: Kind) -> Stream {
    use sha2::Digest as _;
    let id: StreamId = schemas::leaf::stream_id(&info.cluster_id, topic, &info.topic_id, partition);
    let schema_hash = schemas::v1::Hash32(sha2::Sha256::digest(kind.schema().as_bytes()).into());
    Stream { origin: origin.to_owned(), id, topic: topic.to_owned(), partition, schema_hash }
}
