//! Lock records, the notary's compare-and-swap, and the high-water mark on its own disk (I-09).

use std::path::{Path, PathBuf};

use tlog::{EMPTY_ROOT, Hash};

use crate::error::NotaryError;
use crate::store::{LogStore, Put};

/// Lock records looked at beyond the hint before giving up.
const LOCK_PROBES_MAX: u64 = 1_000_000;
/// Where the number of a recent lock record is kept: a hint, never trusted.
const LOCK_HINT: &str = "lock/latest";

/// What the lock says: this size has this root, from the proposals before this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Number of the lock record.
    pub number: u64,
    /// Tree size.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// Next proposals offset.
    pub next_offset: i64,
}

impl Lock {
    const NONE: Self = Self { number: 0, size: 0, root: EMPTY_ROOT, next_offset: 0 };

    fn path(number: u64) -> String {
        format!("lock/{number:020}")
    }

    fn to_text(self) -> String {
        format!("sealtrail-lock/v1\n{}\n{}\n{}\n{}\n", self.number, self.size, self.root.to_base64(), self.next_offset)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n');
        (lines.next()? == "sealtrail-lock/v1").then_some(())?;
        let lock = Self {
            number: lines.next()?.parse().ok()?,
            size: lines.next()?.parse().ok()?,
            root: Hash::from_base64(lines.next()?)?,
            next_offset: lines.next()?.parse().ok()?,
        };
        lines.next().is_none().then_some(lock)
    }

    /// The newest record; the empty log when there is none.
    ///
    /// # Errors
    /// [`NotaryError::ForkGuard`] for an unreadable record or too many beyond the hint; [`NotaryError::Store`].
    pub(crate) fn newest(store: &dyn LogStore) -> Result<Self, NotaryError> {
        let hint = store.read(LOCK_HINT)?;
        let hint =
            hint.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.trim().parse::<u64>().ok()).unwrap_or(0);
        let get = |number: u64| -> Result<Option<Self>, NotaryError> {
            let path = Self::path(number);
            match store.read(&path)? {
                None => Ok(None),
                Some(bytes) => match Self::parse(&bytes) {
                    Some(lock) if lock.number == number => Ok(Some(lock)),
                    _ => Err(NotaryError::fork(format!("lock record `{path}` is unreadable"))),
                },
            }
        };
        let mut newest = if hint == 0 { None } else { get(hint)? };
        let mut number = newest.map_or(0, |lock| lock.number);
        for _ in 0..LOCK_PROBES_MAX {
            number += 1;
            match get(number)? {
                Some(lock) => newest = Some(lock),
                None => return Ok(newest.unwrap_or(Self::NONE)),
            }
        }
        Err(NotaryError::fork(format!("more than {LOCK_PROBES_MAX} lock records beyond the hint `{LOCK_HINT}`")))
    }

    /// Makes this the newest record; a repeat of the same record is no loss.
    ///
    /// # Errors
    /// [`NotaryError::LostLock`] when another notary was first; [`NotaryError::Store`].
    pub(crate) fn swap(self, store: &dyn LogStore) -> Result<(), NotaryError> {
        let (path, text) = (Self::path(self.number), self.to_text());
        if store.create(&path, text.as_bytes(), false)? == Put::Exists {
            let other = store.read(&path)?.as_deref().and_then(Self::parse);
            if other != Some(self) {
                return Err(NotaryError::LostLock { number: self.number });
            }
        }
        store.replace(LOCK_HINT, format!("{}\n", self.number).as_bytes())
    }
}

/// The newest lock this notary has signed under, on a disk that the store's owner cannot roll back.
#[derive(Debug)]
pub(crate) struct Mark(PathBuf);

impl Mark {
    /// The mark in a state folder.
    pub(crate) fn of(state_folder: &Path) -> Self {
        Self(state_folder.join("high-water"))
    }

    /// The lock may not be behind the mark.
    ///
    /// # Errors
    /// [`NotaryError::ForkGuard`], [`NotaryError::Mark`].
    pub(crate) fn check(&self, lock: &Lock) -> Result<(), NotaryError> {
        let path = &self.0;
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(NotaryError::Mark { path: path.clone(), source }),
        };
        let mark = Lock::parse(&bytes)
            .ok_or_else(|| NotaryError::fork(format!("high-water mark `{}` is unreadable", path.display())))?;
        if mark.size > lock.size || (mark.size == lock.size && mark.root != lock.root) {
            return Err(NotaryError::fork(format!(
                "this notary has signed size {}, the lock says {}: it was rolled back",
                mark.size, lock.size
            )));
        }
        Ok(())
    }

    /// Sets the mark and flushes it to disk.
    ///
    /// # Errors
    /// [`NotaryError::Mark`].
    pub(crate) fn write(&self, lock: &Lock) -> Result<(), NotaryError> {
        write_synced(&self.0, lock.to_text().as_bytes())
            .map_err(|source| NotaryError::Mark { path: self.0.clone(), source })
    }
}

/// Replaces a file in one step, flushed to disk with its folder.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}
