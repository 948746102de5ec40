//! What the journal asks of a disk. Tests put one that fails in its place.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Writes and syncs of journal segments.
pub trait Disk: Debug + Send + Sync {
    /// Writes all of `bytes` at byte `at`.
    ///
    /// # Errors
    /// What the system says; a part may have been written.
    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says; nothing written since the last sync counts as durable then, also after a later success.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The system's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Disk for System {
    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Whether the disk had no room: what passes when room comes.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
