//! The store file behind the embedded bus: tables, opening, and errors turned into bus errors.
//!
//! Keeps the promise that a commit is all or nothing (I-04): every change is one store transaction, synced
//! before it is acknowledged. After an I/O error the store refuses to go on, so it is closed and opened
//! again; [`Store::sequence`] then tells whether the transaction under way reached the disk.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use parking_lot::{RwLock, RwLockReadGuard};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, TableDefinition, WriteTransaction,
};

use crate::bus::{BusError, BusErrorKind};

/// Format of the store; a store of another format is refused.
pub(super) const FORMAT: u64 = 1;
/// Text facts: cluster id.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// Counters: format, sequence of the last transaction, next topic number.
pub(super) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// Topic name -> (number, partitions, compacted, retention in ms, UUID).
pub(super) const TOPICS: TableDefinition<&str, (u32, u32, bool, i64, &str)> = TableDefinition::new("topics");
/// (topic number, partition, base offset) -> segment.
pub(super) const SEGMENTS: TableDefinition<(u32, i32, i64), &[u8]> = TableDefinition::new("segments");
/// Start, end, compacted up to, records left by that, time of the last record.
type Head = (i64, i64, i64, i64, i64);
/// (topic number, partition) -> head.
pub(super) const HEADS: TableDefinition<(u32, i32), Head> = TableDefinition::new("heads");
/// (group, topic number, partition) -> next offset.
pub(super) const POSITIONS: TableDefinition<(&str, u32, i32), i64> = TableDefinition::new("positions");
/// Writer name -> epoch.
pub(super) const WRITERS: TableDefinition<&str, u64> = TableDefinition::new("writers");

/// A file that refuses to grow over a limit, as a full disk does.
#[derive(Debug)]
struct Capped {
    file: FileBackend,
    max_bytes: u64,
}

impl StorageBackend for Capped {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        if len > self.max_bytes && len > self.file.len()? {
            return Err(std::io::Error::new(ErrorKind::StorageFull, "the bus store is at its configured size limit"));
        }
        self.file.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

/// The open store. At most one per folder and machine: `_lock` is held for its life.
pub(super) struct Store {
    path: PathBuf,
    cache_bytes: usize,
    max_bytes: u64,
    sync: bool,
    database: RwLock<Option<Database>>,
    _lock: File,
}

/// What a store call may fail with, before it is told apart.
pub(super) type Failure = redb::Error;

impl Store {
    /// Opens or creates the store in `folder`.
    pub(super) fn open(folder: &Path, cache_bytes: usize, max_bytes: u64, sync: bool) -> Result<Self, BusError> {
        let operation = || format!("open the bus store in {}", folder.display());
        let fatal = |error: std::io::Error| {
            let kind = if full(&error) { BusErrorKind::Full } else { BusErrorKind::Fatal };
            BusError::new(kind, operation(), error)
        };
        create_private_folder(folder).map_err(fatal)?;
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(folder.join("lock"))
            .map_err(fatal)?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                BusError::new(BusErrorKind::Fatal, operation(), "another process has this bus open")
            }
            std::fs::TryLockError::Error(error) => fatal(error),
        })?;
        let store = Self {
            path: folder.join("bus.redb"),
            cache_bytes,
            max_bytes,
            sync,
            database: RwLock::new(None),
            _lock: lock,
        };
        store.reopen()?;
        Ok(store)
    }

    /// Closes and opens the store: the only way on after an I/O error.
    pub(super) fn reopen(&self) -> Result<(), BusError> {
        let mut slot = self.database.write();
        *slot = None;
        let operation = format!("open {}", self.path.display());
        let file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .open(&self.path)
            .map_err(|error| fail(&operation, Failure::from(StorageError::Io(error))))?;
        let file = FileBackend::new(file).map_err(|error| self.refuse(&operation, error))?;
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache_bytes);
        let database = builder
            .create_with_backend(Capped { file, max_bytes: self.max_bytes })
            .map_err(|error| self.refuse(&operation, error))?;
        *slot = Some(database);
        Ok(())
    }

    fn refuse(&self, operation: &str, error: DatabaseError) -> BusError {
        let mut refused = fail(operation, Failure::from(error));
        if refused.kind == BusErrorKind::Fatal {
            refused.reason = format!(
                "{}: the file is not a bus store, is damaged, or is in use; it was left as it is",
                refused.reason
            );
        }
        refused
    }

    fn database(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, BusError> {
        let guard = self.database.read();
        if guard.is_some() {
            return Ok(guard);
        }
        drop(guard);
        self.reopen()?;
        Ok(self.database.read())
    }

    /// Runs `look` on a consistent view of the store.
    pub(super) fn read<T>(
        &self,
        operation: &str,
        look: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, BusError> {
        let guard = self.database()?;
        let database = guard.as_ref().ok_or_else(|| closed(operation))?;
        let transaction = database.begin_read().map_err(|error| fail(operation, Failure::from(error)))?;
        look(&transaction).map_err(|error| fail(operation, error))
    }

    /// Runs `change` in one transaction; nothing of it is kept when it fails. Called under the commit lock.
    pub(super) fn write<T>(
        &self,
        operation: &str,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Failure>,
    ) -> Result<T, BusError> {
        let mut attempt = None;
        match self.attempt(operation, change, &mut attempt)? {
            Ok(done) => Ok(done),
            Err(error) => {
                let failed = fail(operation, error);
                // The store is unusable after an I/O error. What the disk holds then decides what happened.
                if let Err(closed) = self.reopen() {
                    tracing::error!(error = %closed, "the bus store could not be opened again");
                    return Err(failed);
                }
                match attempt {
                    Some((sequence, done)) if self.sequence()? >= sequence => Ok(done),
                    _ => Err(failed),
                }
            }
        }
    }

    #[allow(clippy::type_complexity)] // the inner result is the store's, the outer one the bus's
    fn attempt<T>(
        &self,
        operation: &str,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Failure>,
        attempt: &mut Option<(u64, T)>,
    ) -> Result<Result<T, Failure>, BusError> {
        let guard = self.database()?;
        let database = guard.as_ref().ok_or_else(|| closed(operation))?;
        let run = || -> Result<T, Failure> {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            if !self.sync {
                transaction.set_durability(Durability::None)?;
            }
            let sequence = {
                let mut counters = transaction.open_table(COUNTERS)?;
                let sequence = counters.get("sequence")?.map_or(0, |value| value.value()) + 1;
                counters.insert("sequence", sequence)?;
                sequence
            };
            let done = change(&transaction)?;
            *attempt = Some((sequence, done));
            transaction.commit()?;
            let (_, done) = attempt.take().ok_or(Failure::DatabaseClosed)?;
            Ok(done)
        };
        Ok(run())
    }

    /// Makes all earlier transactions durable; for a store that does not sync at each.
    pub(super) fn sync(&self) -> Result<(), BusError> {
        let operation = "sync the bus store";
        let guard = self.database()?;
        let database = guard.as_ref().ok_or_else(|| closed(operation))?;
        let run = || -> Result<(), Failure> {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            transaction.commit()?;
            Ok(())
        };
        run().map_err(|error| fail(operation, error))
    }

    /// Number of the last transaction on disk.
    fn sequence(&self) -> Result<u64, BusError> {
        self.read("read the store's sequence", |transaction| {
            Ok(transaction.open_table(COUNTERS)?.get("sequence")?.map_or(0, |value| value.value()))
        })
    }
}

fn closed(operation: &str) -> BusError {
    BusError::new(BusErrorKind::Retriable, operation, "the bus store is being opened again")
}

/// True for errors that go away when somebody makes room.
fn full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// Names a store failure.
pub(super) fn fail(operation: &str, error: Failure) -> BusError {
    let kind = match &error {
        Failure::Io(error) if full(error) => BusErrorKind::Full,
        _ => BusErrorKind::Fatal,
    };
    BusError::new(kind, operation, error)
}

fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
