//! The embedded bus: one process, one folder, no broker.
//!
//! Why: a single node needs the same promises as a Kafka cluster without running one. Keeps I-04 (records
//! and positions commit together or not at all), order per partition, and stable stream identity (cluster
//! id and topic UUIDs are made once). The choice of store is recorded in `docs/adr/0002-embedded-bus-store.md`.

mod blob;
mod caretaker;
mod catalog;
mod commit;
mod groups;
mod reader;
mod store;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redb::ReadableTable;

use self::caretaker::Caretaker;
use self::catalog::{Catalog, Ends, Topic};
use self::commit::Shared;
use self::store::Store;
use super::{
    Bus, BusError, BusErrorKind, Cleanup, Reader, ReaderSpec, TopicInfo, TopicPartition, TopicSpec, WriteMode, Writer,
    WriterSpec,
};

/// Bytes of records in one segment; a larger record has a segment of its own. Fits a store page of 128 KiB.
const SEGMENT_BYTES: usize = 126 << 10;

/// Settings of an embedded bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Folder of the store; made when it lacks, for the owner only.
    pub folder: PathBuf,
    /// Sync to disk at each commit. Without it a power cut may take the last second. Default true.
    pub sync: bool,
    /// Memory for the store's cache, bytes. Default 64 MiB.
    pub cache_bytes: usize,
    /// Size the store file may grow to, bytes; beyond it writers get [`BusErrorKind::Full`]. Default no limit.
    pub max_bytes: u64,
    /// Largest record, bytes of key and value and 16. Default 1 MiB.
    pub record_bytes: usize,
    /// Largest transaction and so the memory of one writer, bytes. Default 64 MiB.
    pub transaction_bytes: usize,
    /// How often old records are looked for. Default one minute.
    pub care_interval: Duration,
    /// How long a deletion marker of a compacted topic stays readable. Default one day.
    pub tombstone_ms: i64,
    /// Records that must be new in a compacted partition before it is compacted. Default 1000.
    pub compact_after: i64,
    /// Memory for the keys of one compaction, bytes; more keys take several passes. Default 64 MiB.
    pub compact_bytes: usize,
}

impl EmbeddedConfig {
    /// The defaults, in `folder`.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            sync: true,
            cache_bytes: 64 << 20,
            max_bytes: u64::MAX,
            record_bytes: 1 << 20,
            transaction_bytes: 64 << 20,
            care_interval: Duration::from_secs(60),
            tombstone_ms: 24 * 3_600_000,
            compact_after: 1000,
            compact_bytes: 64 << 20,
        }
    }
}

/// Bounds of a writer.
#[derive(Debug, Clone, Copy)]
struct Limits {
    record_bytes: usize,
    transaction_bytes: usize,
}

/// The embedded bus.
pub struct Embedded {
    shared: Arc<Shared>,
    cluster_id: String,
    limits: Limits,
    caretaker: Caretaker,
}

impl Embedded {
    /// Opens the bus in `config.folder`, making it when there is none.
    ///
    /// # Errors
    /// `Fatal` when another process has it open or the store is damaged or of another format; `Full`.
    pub fn open(config: &EmbeddedConfig) -> Result<Arc<Self>, BusError> {
        let store = Store::open(&config.folder, config.cache_bytes, config.max_bytes, config.sync)?;
        let cluster_id = prepare(&store)?;
        let (catalog, last_ms) = load_topics(&store)?;
        let epochs = load_epochs(&store)?;
        let shared = Arc::new(Shared::new(store, catalog, last_ms, epochs));
        let caretaker = Caretaker::start(&shared, config)?;
        let limits = Limits { record_bytes: config.record_bytes, transaction_bytes: config.transaction_bytes };
        Ok(Arc::new(Self { shared, cluster_id, limits, caretaker }))
    }

    /// Looks for old records now instead of at the next interval; returns when that is done.
    ///
    /// # Errors
    /// [`BusError`] of the store.
    pub fn care(&self) -> Result<(), BusError> {
        self.caretaker.run(&self.shared)
    }

    fn create(&self, spec: &TopicSpec) -> Result<(), BusError> {
        let operation = format!("create topic {}", spec.name);
        let partitions = u32::try_from(spec.partitions).ok().filter(|count| (1..=MAX_PARTITIONS).contains(count));
        let Some(partitions) = partitions else {
            let reason = format!("{} partitions: must be 1 to {MAX_PARTITIONS}", spec.partitions);
            return Err(BusError::new(BusErrorKind::Fatal, operation, reason));
        };
        let (compacted, retention) = match spec.cleanup {
            Cleanup::Compact => (true, -1),
            Cleanup::Delete { retention_ms } => (false, retention_ms),
        };
        let uuid = uuid::Uuid::new_v4().to_string();
        let id = self.shared.store.write(&operation, |transaction| {
            let mut counters = transaction.open_table(store::COUNTERS)?;
            let next = counters.get("next_topic")?.map_or(1, |value| value.value());
            counters.insert("next_topic", next + 1)?;
            let id = u32::try_from(next).unwrap_or(u32::MAX);
            transaction
                .open_table(store::TOPICS)?
                .insert(spec.name.as_str(), (id, partitions, compacted, retention, uuid.as_str()))?;
            Ok(id)
        })?;
        self.shared.catalog.insert(Arc::new(Topic {
            id,
            name: spec.name.clone(),
            uuid,
            cleanup: spec.cleanup,
            partitions: (0..partitions).map(|_| Ends::default()).collect(),
        }));
        Ok(())
    }
}

/// Most partitions a topic may have.
const MAX_PARTITIONS: u32 = 1024;

/// Makes the tables, checks the format, makes the cluster id once.
fn prepare(store: &Store) -> Result<String, BusError> {
    let operation = "prepare the bus store";
    check_format(store)?;
    store.write(operation, |transaction| {
        transaction.open_table(store::TOPICS)?;
        transaction.open_table(store::SEGMENTS)?;
        transaction.open_table(store::HEADS)?;
        transaction.open_table(store::POSITIONS)?;
        transaction.open_table(store::WRITERS)?;
        let mut meta = transaction.open_table(store::META)?;
        let mut counters = transaction.open_table(store::COUNTERS)?;
        let known = meta.get("cluster_id")?.map(|value| value.value().to_owned());
        let id = match known {
            Some(id) => id,
            None => {
                let id = uuid::Uuid::new_v4().to_string();
                meta.insert("cluster_id", id.as_str())?;
                counters.insert("format", store::FORMAT)?;
                id
            }
        };
        Ok(id)
    })
}

/// Refuses a store of another format before anything is written to it.
fn check_format(store: &Store) -> Result<(), BusError> {
    let operation = "look at the bus store's format";
    let found = store.read(operation, |transaction| {
        let counters = match transaction.open_table(store::COUNTERS) {
            Ok(counters) => counters,
            // nothing was ever written
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let empty = transaction.list_tables()?.count() <= 1 && counters.get("format")?.is_none();
        Ok((!empty).then_some(counters.get("format")?.map(|value| value.value())))
    })?;
    let known = store::FORMAT;
    let reason = match found {
        None | Some(Some(store::FORMAT)) => return Ok(()),
        Some(Some(newer)) if newer > known => {
            format!("it has format {newer}, this program knows {known}: a newer program wrote it, so start that one")
        }
        Some(Some(older)) => format!("it has format {older}, which no program of ours wrote; this one knows {known}"),
        Some(None) => format!("it has tables but no format; this program knows {known}"),
    };
    Err(BusError::new(BusErrorKind::Fatal, operation, format!("{reason}; nothing was changed")))
}

fn load_topics(store: &Store) -> Result<(Catalog, i64), BusError> {
    store.read("load topics", |transaction| {
        let catalog = Catalog::default();
        let heads = transaction.open_table(store::HEADS)?;
        let mut last_ms = 0;
        for row in transaction.open_table(store::TOPICS)?.iter()? {
            let (name, facts) = row?;
            let (id, count, compacted, retention_ms, uuid) = facts.value();
            let mut partitions = Vec::new();
            for partition in 0..i32::try_from(count).unwrap_or(0) {
                let (start, end, _, _, newest) =
                    heads.get((id, partition))?.map_or((0, 0, 0, 0, 0), |head| head.value());
                last_ms = last_ms.max(newest);
                partitions.push(Ends { start: AtomicI64::new(start), end: AtomicI64::new(end) });
            }
            let cleanup = if compacted { Cleanup::Compact } else { Cleanup::Delete { retention_ms } };
            let name = name.value().to_owned();
            catalog.insert(Arc::new(Topic { id, name, uuid: uuid.to_owned(), cleanup, partitions }));
        }
        Ok((catalog, last_ms))
    })
}

fn load_epochs(store: &Store) -> Result<HashMap<String, u64>, BusError> {
    store.read("load writers", |transaction| {
        let mut epochs = HashMap::new();
        for row in transaction.open_table(store::WRITERS)?.iter()? {
            let (name, epoch) = row?;
            epochs.insert(name.value().to_owned(), epoch.value());
        }
        Ok(epochs)
    })
}

impl Bus for Embedded {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        // The commit lock makes two callers take turns.
        let _core = self.shared.core();
        for spec in topics {
            let Some(known) = self.shared.catalog.find(&spec.name) else {
                self.create(spec)?;
                continue;
            };
            let partitions = known.partitions.len();
            let operation = || format!("check topic {}", spec.name);
            if i32::try_from(partitions) != Ok(spec.partitions) {
                let reason = format!("it has {partitions} partitions, not {}", spec.partitions);
                return Err(BusError::new(BusErrorKind::Fatal, operation(), reason));
            }
            if known.cleanup != spec.cleanup {
                let reason = format!("its cleanup is {:?}, not {:?}", known.cleanup, spec.cleanup);
                return Err(BusError::new(BusErrorKind::Fatal, operation(), reason));
            }
        }
        Ok(())
    }

    fn describe(&self, topic: &str) -> Result<TopicInfo, BusError> {
        let known = self.shared.catalog.get(topic)?;
        Ok(TopicInfo {
            cluster_id: self.cluster_id.clone(),
            topic_id: known.uuid.clone(),
            partitions: i32::try_from(known.partitions.len()).unwrap_or(i32::MAX),
        })
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        self.shared.catalog.get(&partition.topic)?.bounds(partition.partition)
    }

    fn reader(&self, spec: &ReaderSpec) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(reader::EmbeddedReader::open(Arc::clone(&self.shared), spec)?))
    }

    fn writer(&self, spec: &WriterSpec) -> Result<Box<dyn Writer>, BusError> {
        let mut epoch = 0;
        if spec.mode == WriteMode::Transactional {
            let mut core = self.shared.core();
            epoch = core.epochs.get(&spec.name).copied().unwrap_or(0) + 1;
            self.shared.store.write(&format!("open writer {}", spec.name), |transaction| {
                transaction.open_table(store::WRITERS)?.insert(spec.name.as_str(), epoch)?;
                Ok(())
            })?;
            core.epochs.insert(spec.name.clone(), epoch);
        }
        Ok(Box::new(writer::EmbeddedWriter::new(Arc::clone(&self.shared), spec, epoch, self.limits)))
    }
}

/// Offsets a partition may be asked for; for the caretaker.
fn move_start(topic: &Topic, partition: i32, start: i64) {
    if let Some(ends) = topic.ends(partition) {
        ends.start.store(start, Ordering::Release);
    }
}
