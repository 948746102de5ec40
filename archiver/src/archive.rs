//! The core: takes seals in log order, collects and checks their records, rolls files, puts them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::framing;
use schemas::layout::Table;
use schemas::v1::StreamId;
use stage::bus::{Assign, Batch, Bus, PollLimit, Position, Reader, ReaderSpec, TopicPartition};
use stage::shutdown::{Level, Shutdown};
use stage::store::{PutOutcome, Store};

use crate::collect::{Collected, Collector};
use crate::config::ArchiverConfig;
use crate::error::ArchiveError;
use crate::readback::{self, ReadbackError};
use crate::receipt::Receipts;
use crate::resume::{Next, newest_objects, next_of};
use crate::rolling::{Finished, OpenFile, StreamFacts};
use crate::seal::Seal;

/// Bytes of one poll.
const POLL_BYTES: usize = 4 << 20;
/// Seals of one poll.
const POLL_SEALS: usize = 256;
/// Wait of one poll, and how many empty ones make sealed records late.
const POLL_WAIT: Duration = Duration::from_millis(100);
const EMPTY_POLLS_MAX: u32 = 300;

struct Stream {
    facts: StreamFacts,
    next: Next,
    reader: Option<Box<dyn Reader>>,
    records: Batch,
    index: usize,
    open: Option<OpenFile>,
    ready: Option<Finished>,
    stopped: bool,
}

/// What an archiver did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects put, or found with equal bytes.
    pub objects: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Streams stopped by an error.
    pub stopped: u64,
}

/// An archiver of all streams.
pub struct Archive {
    bus: Arc<dyn Bus>,
    store: Arc<Store>,
    config: ArchiverConfig,
    instance: String,
    shutdown: Shutdown,
    streams: Vec<Stream>,
    by_id: HashMap<StreamId, usize>,
    seals_topic: String,
    seals: Box<dyn Reader>,
    seal_records: Batch,
    seal_index: usize,
    seals_next: HashMap<i32, i64>,
    receipts: Receipts,
    unknown_seen: bool,
    failure: Option<ArchiveError>,
    counts: Counts,
}

impl Archive {
    /// Opens an archiver whose streams go on after their newest objects, whose receipts are proposed again: the one before
    /// may have ended between the put and the proposal.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(config: &ArchiverConfig, env: &stage::Env, store: Arc<Store>) -> Result<Self, ArchiveError> {
        config.check().map_err(ArchiveError::Config)?;
        let newest = newest_objects(&store)?;
        let mut receipts = Receipts::open(env)?;
        let mut streams = Vec::new();
        for (table, topic) in [(Table::Frames, &env.topics.frames), (Table::Events, &env.topics.events)] {
            let info = env.bus.describe(topic)?;
            for partition in 0..info.partitions {
                let id = schemas::leaf::stream_id(&info.cluster_id, topic, &info.topic_id, partition);
                let (cluster_id, topic_id) = (info.cluster_id.clone(), info.topic_id.clone());
                let facts = StreamFacts { table, topic: topic.clone(), partition, cluster_id, topic_id, id };
                let name = newest.get(&(table, partition));
                let next = next_of(&store, &facts, name)?;
                if let Some(name) = name.filter(|_| next != Next::FIRST) {
                    receipts.propose_stored(&store, name)?;
                }
                streams.push(Stream {
                    facts,
                    next,
                    reader: None,
                    records: Batch::default(),
                    index: 0,
                    open: None,
                    ready: None,
                    stopped: false,
                });
            }
        }
        let by_id = streams.iter().enumerate().map(|(index, stream)| (stream.facts.id, index)).collect();
        let seals_topic = env.topics.seals.clone();
        let mut positions = Vec::new();
        for partition in 0..env.bus.describe(&seals_topic)?.partitions {
            let topic_partition = TopicPartition { topic: seals_topic.clone(), partition };
            let (next_offset, _) = env.bus.bounds(&topic_partition)?;
            positions.push(Position { topic_partition, next_offset });
        }
        let seals_next = positions.iter().map(|at| (at.topic_partition.partition, at.next_offset)).collect();
        let seals = env.bus.reader(&ReaderSpec {
            topics: vec![seals_topic.clone()],
            assign: Assign::Manual(positions),
            instance: format!("{}-archive-seals", env.instance),
        })?;
        Ok(Self {
            bus: env.bus.clone(),
            store,
            config: config.clone(),
            instance: env.instance.clone(),
            shutdown: env.shutdown.clone(),
            streams,
            by_id,
            seals_topic,
            seals,
            seal_records: Batch::default(),
            seal_index: 0,
            seals_next,
            receipts,
            unknown_seen: false,
            failure: None,
            counts: Counts::default(),
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The first error that stopped a stream.
    pub fn take_failure(&mut self) -> Option<ArchiveError> {
        self.failure.take()
    }

    /// Takes one poll of seals; gives their number. Files that are ready but could not be put are put first.
    ///
    /// # Errors
    /// [`ArchiveError`]; after a retriable one call again, nothing is lost. An error of one stream stops that stream
    /// only and is not given here (see [`Archive::take_failure`]).
    pub fn step(&mut self) -> Result<usize, ArchiveError> {
        if self.seal_index >= self.seal_records.len() {
            let limit = PollLimit { records: POLL_SEALS, bytes: POLL_BYTES, wait: POLL_WAIT };
            self.seal_index = 0;
            if let Err(error) = self.seals.poll(&mut self.seal_records, limit) {
                self.seal_records.clear();
                return Err(error.into());
            }
        }
        let records = std::mem::take(&mut self.seal_records);
        let mut result = Ok(());
        while let Some(record) = records.get(self.seal_index) {
            result = self.take_record(record);
            if result.is_err() {
                break;
            }
            self.seal_index += 1;
            self.seals_next.insert(record.partition, record.offset + 1);
        }
        let count = records.len();
        self.seal_records = records;
        result.map(|()| count)
    }

    /// True when every seal that is on the bus now was taken.
    ///
    /// # Errors
    /// [`ArchiveError::Bus`].
    pub fn is_at_end(&self) -> Result<bool, ArchiveError> {
        for (partition, next) in &self.seals_next {
            let place = TopicPartition { topic: self.seals_topic.clone(), partition: *partition };
            if self.bus.bounds(&place)?.1 > *next {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_record(&mut self, record: stage::bus::RecordRef<'_>) -> Result<(), ArchiveError> {
        let wrong = |reason| ArchiveError::Seal { offset: record.offset, reason };
        let parsed = record
            .value
            .ok_or("it has no value")
            .and_then(|value| framing::split(value).map_err(|_| "it has no schema prefix"))
            .and_then(|(_, body)| Seal::parse(body))
            .map_err(wrong);
        let seal = match parsed {
            Ok(seal) => seal,
            Err(error) => {
                // the chain tells whether a seal is lost by this
                tracing::error!(%error, "a record of the seals topic is passed over");
                return Ok(());
            }
        };
        let Some(index) = self.by_id.get(&seal.body.stream_id).copied() else {
            if !self.unknown_seen {
                tracing::warn!(topic = %seal.body.topic, partition = seal.body.partition, "seals of a stream that is not on this bus are passed over");
                self.unknown_seen = true;
            }
            return Ok(());
        };
        let taken = self.take(index, &seal);
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        match taken {
            Ok(()) => Ok(()),
            Err(error) => {
                // positions in the middle of a batch are not kept: the next try reads it from its first record
                stream.reader = None;
                if !error.is_of_one_stream() {
                    return Err(error);
                }
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "the archive of this stream stops");
                stream.stopped = true;
                stream.open = None;
                stream.ready = None;
                self.counts.stopped += 1;
                crate::metrics::stopped();
                self.failure.get_or_insert(error);
                Ok(())
            }
        }
    }

    fn take(&mut self, index: usize, seal: &Seal) -> Result<(), ArchiveError> {
        self.put_ready(index)?;
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        // a repeat has the log index, and so the number, of a seal that was taken
        if stream.stopped || seal.body.seal_seq < stream.next.seal_seq {
            return Ok(());
        }
        check_chain(stream, seal)?;
        let batch = if seal.body.count > 0 {
            self.collect(index, seal)?
        } else {
            Collector::new(stream.facts.table, stream.facts.id).finish()?
        };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        check_batch(stream, seal, &batch)?;
        if stream.open.as_ref().is_some_and(|open| open.ends_before(seal, batch.leaf_bytes)) {
            stream.ready = stream.open.take().map(OpenFile::finish).transpose()?;
            self.put_ready(index)?;
        }
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let mut open = match stream.open.take() {
            Some(open) => open,
            None => OpenFile::new(&stream.facts, &self.config, seal)?,
        };
        open.add(seal, &batch)?;
        let ends = open.ends_after(seal);
        stream.next = Next {
            seal_seq: seal.body.seal_seq + 1,
            first_seq: seal.body.first_seq.saturating_add(seal.body.count),
            prev: seal.leaf,
        };
        if ends {
            stream.ready = Some(open.finish()?);
            // a put that fails now is tried again before the next seal, and by `flush`
            return self.put_ready(index);
        }
        stream.open = Some(open);
        Ok(())
    }

    /// Puts every file that is ready.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn flush(&mut self) -> Result<(), ArchiveError> {
        (0..self.streams.len()).try_for_each(|index| self.put_ready(index))
    }

    fn collect(&mut self, index: usize, seal: &Seal) -> Result<Collected, ArchiveError> {
        let Some(stream) = self.streams.get_mut(index) else { return Err(ArchiveError::Stopped) };
        let body = &seal.body;
        let place = TopicPartition { topic: stream.facts.topic.clone(), partition: stream.facts.partition };
        let limit = PollLimit {
            records: usize::try_from(self.config.poll_records).unwrap_or(1),
            bytes: POLL_BYTES,
            wait: POLL_WAIT,
        };
        let mut collector = Collector::new(stream.facts.table, stream.facts.id);
        let want = usize::try_from(body.count).unwrap_or(usize::MAX);
        let mut reader = match stream.reader.take() {
            Some(reader) => reader,
            None => {
                stream.records.clear();
                stream.index = 0;
                open_reader(self.bus.as_ref(), &self.instance, &place, body.first_offset)?
            }
        };
        let mut empty = 0;
        'read: loop {
            while let Some(record) = stream.records.get(stream.index) {
                if record.offset > body.last_offset {
                    break 'read;
                }
                stream.index += 1;
                if record.partition == place.partition && record.offset >= body.first_offset {
                    collector.push(body.first_seq + i64::try_from(collector.len()).unwrap_or(i64::MAX), &record)?;
                }
                if collector.len() >= want {
                    break 'read;
                }
            }
            if self.shutdown.level() == Level::Stop {
                return Err(ArchiveError::Stopped);
            }
            stream.index = 0;
            stream.records.clear();
            reader.poll(&mut stream.records, limit)?;
            empty = if stream.records.is_empty() { empty + 1 } else { 0 };
            if empty >= EMPTY_POLLS_MAX {
                let (topic, partition) = (place.topic, place.partition);
                return Err(ArchiveError::Late { topic, partition, seal_seq: body.seal_seq });
            }
        }
        stream.reader = Some(reader);
        Ok(collector.finish()?)
    }

    fn put_ready(&mut self, index: usize) -> Result<(), ArchiveError> {
        let Some(file) = self.streams.get_mut(index).and_then(|stream| stream.ready.take()) else { return Ok(()) };
        let put = self.put(&file);
        if let (Err(_), Some(stream)) = (&put, self.streams.get_mut(index)) {
            stream.ready = Some(file);
        }
        put
    }

    /// Reads back, compares, puts, proposes the receipt. An object that is there already is compared, never replaced; its
    /// receipt is of the bytes that are there.
    fn put(&mut self, file: &Finished) -> Result<(), ArchiveError> {
        let name = &file.name;
        let failed = |source| ArchiveError::Readback { name: name.clone(), source };
        if readback::verify(&file.bytes).map_err(failed)? != file.footer {
            return Err(failed(ReadbackError::Whole("its footer is not what was written")));
        }
        if self.store.put_create(name, &file.bytes, true)? == PutOutcome::Exists {
            let stored = self.compare(file)?;
            self.receipts.propose(name, &stored, &file.footer)?;
        } else {
            self.receipts.propose(name, &file.bytes, &file.footer)?;
        }
        let rows: u64 = file.footer.batches.iter().map(|batch| batch.count).sum();
        tracing::info!(object = %name, rows, bytes = file.bytes.len(), "archived");
        self.counts.objects += 1;
        self.counts.rows += rows;
        let bytes = u64::try_from(file.bytes.len()).unwrap_or(0);
        self.counts.bytes += bytes;
        crate::metrics::archived(rows, bytes, stage::clock::now_ms());
        Ok(())
    }

    /// The bytes that are there, which hold what `file` does.
    fn compare(&self, file: &Finished) -> Result<bytes::Bytes, ArchiveError> {
        let name = &file.name;
        let conflict = |source| ArchiveError::Conflict { name: name.clone(), source };
        let stored = self.store.get(name)?;
        let stored = bytes::Bytes::from(stored.ok_or_else(|| conflict(ReadbackError::Whole("it is gone")))?);
        if stored == file.bytes {
            return Ok(stored);
        }
        let footer = readback::verify(&stored).map_err(conflict)?;
        let seals = |footer: &columns::Footer| -> Result<Vec<tlog::Hash>, ReadbackError> {
            footer.batches.iter().map(|batch| Ok(readback::seal_of(footer, batch)?.leaf)).collect()
        };
        if footer.stream_id != file.footer.stream_id
            || seals(&footer).map_err(conflict)? != seals(&file.footer).map_err(conflict)?
        {
            return Err(conflict(ReadbackError::Whole("its rows are sound but its seals are not those of this file")));
        }
        tracing::warn!(object = %name, "the object is there with other bytes and the same sealed rows: another version of the writer made it; it stays");
        Ok(stored)
    }
}

fn open_reader(
    bus: &dyn Bus,
    instance: &str,
    place: &TopicPartition,
    first_offset: i64,
) -> Result<Box<dyn Reader>, ArchiveError> {
    let (earliest, _) = bus.bounds(place)?;
    if earliest > first_offset {
        let (topic, partition) = (place.topic.clone(), place.partition);
        return Err(ArchiveError::Removed { topic, partition, first_offset, earliest });
    }
    let position = Position { topic_partition: place.clone(), next_offset: first_offset };
    Ok(bus.reader(&ReaderSpec {
        topics: vec![place.topic.clone()],
        assign: Assign::Manual(vec![position]),
        instance: format!("{instance}-archive-{}-{}", place.topic, place.partition),
    })?)
}

fn check_chain(stream: &Stream, seal: &Seal) -> Result<(), ArchiveError> {
    let body = &seal.body;
    let schema: [u8; 32] = sha2::Digest::finalize(sha2::Digest::chain_update(
        <sha2::Sha256 as sha2::Digest>::new(),
        crate::rolling::schema_json(stream.facts.table),
    ))
    .into();
    let reason = if body.seal_seq != stream.next.seal_seq {
        "seals between are missing"
    } else if body.first_seq != stream.next.first_seq {
        "its rows are numbered otherwise"
    } else if body.prev_seal_hash.0 != *stream.next.prev.as_bytes() {
        "it names another seal before it"
    } else if body.topic != stream.facts.topic || body.partition != stream.facts.partition {
        "it names another topic or partition"
    } else if body.schema_hash.0 != schema {
        "it names a schema that this version does not write"
    } else {
        return Ok(());
    };
    Err(ArchiveError::Chain {
        topic: stream.facts.topic.clone(),
        partition: stream.facts.partition,
        expected: stream.next.seal_seq,
        found: body.seal_seq,
        reason,
    })
}

fn check_batch(stream: &Stream, seal: &Seal, batch: &Collected) -> Result<(), ArchiveError> {
    let reason = if i64::try_from(batch.tree.len()) != Ok(seal.body.count) {
        "their number differs"
    } else if (batch.first_offset, batch.last_offset) != (seal.body.first_offset, seal.body.last_offset) {
        "their offsets differ"
    } else if batch.tree.root() != seal.root() {
        "they hash to another root"
    } else {
        return Ok(());
    };
    Err(ArchiveError::Mismatch {
        topic: stream.facts.topic.clone(),
        partition: stream.facts.partition,
        seal_seq: seal.body.seal_seq,
        reason,
    })
}
