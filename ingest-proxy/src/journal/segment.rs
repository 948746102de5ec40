//! One file of the journal.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::format::{self, RECORD_HEADER, SEGMENT_HEADER};
use super::{Entry, JournalError, Options};

/// What is known of a segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Index of the first record.
    pub(super) first: u64,
    /// Index after the last durable record.
    pub(super) next: u64,
    /// Byte after the last durable record.
    pub(super) end: u64,
    /// The bus has everything before this index.
    pub(super) acknowledged: u64,
    /// Set aside instead of deleted.
    pub(super) damaged: bool,
}

/// The name of the segment that begins at `first`.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.segment"))
}

/// Makes names in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(JournalError::io("sync the journal folder"))
}

impl Segment {
    /// Records from `index` on and before `durable`.
    pub(super) fn read(&self, index: u64, durable: u64, bytes_max: usize) -> Result<Vec<Entry>, JournalError> {
        let operation = || format!("read journal segment `{}`", self.path.display());
        let file = File::open(&self.path).map_err(JournalError::io(operation()))?;
        let mut entries = Vec::new();
        let (mut at, mut current, mut taken) = (SEGMENT_HEADER as u64, self.first, 0usize);
        let until = self.next.min(durable);
        while current < until && taken < bytes_max {
            let mut header = [0u8; RECORD_HEADER];
            file.read_exact_at(&mut header, at).map_err(JournalError::io(operation()))?;
            let [a, b, c, d, ..] = header;
            let len = u32::from_be_bytes([a, b, c, d]);
            if current >= index {
                let mut whole = vec![0u8; RECORD_HEADER + len as usize];
                file.read_exact_at(&mut whole, at).map_err(JournalError::io(operation()))?;
                let body = format::body(&whole, current)
                    .ok_or_else(|| JournalError::Failed(format!("record {current} does not match its checksum")))?
                    .to_vec();
                taken += body.len();
                entries.push(Entry { index: current, body });
            }
            at += RECORD_HEADER as u64 + u64::from(len);
            current += 1;
        }
        Ok(entries)
    }

    /// Deletes the file, or sets it aside when it is damaged.
    pub(super) fn remove(&self) -> Result<(), JournalError> {
        if self.damaged {
            return quarantine(&self.path);
        }
        fs::remove_file(&self.path).map_err(JournalError::io(format!("delete `{}`", self.path.display())))
    }
}

/// Renames a damaged file so that it is kept and never read again.
pub(super) fn quarantine(path: &Path) -> Result<(), JournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".quarantined");
    fs::rename(path, name).map_err(JournalError::io(format!("quarantine `{}`", path.display())))
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct Active {
    file: File,
    segment: Segment,
    capacity: u64,
}

impl Active {
    /// Makes, zero-fills and syncs a new segment.
    pub(super) fn create(folder: &Path, first: u64, bytes: usize) -> Result<Self, JournalError> {
        let path = path(folder, first);
        let io = |what: &str| JournalError::io(format!("{what} journal segment `{}`", path.display()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(io("make"))?;
        let mut header = Vec::with_capacity(SEGMENT_HEADER);
        format::put_segment_header(&mut header, first);
        let zeros = vec![0u8; 1 << 20];
        let (mut at, bytes) = (0usize, bytes.max(SEGMENT_HEADER));
        while at < bytes {
            let part = zeros.get(..(bytes - at).min(zeros.len())).unwrap_or(&zeros);
            file.write_all_at(part, at as u64).map_err(io("zero-fill"))?;
            at += part.len();
        }
        file.write_all_at(&header, 0).map_err(io("begin"))?;
        file.sync_all().map_err(io("sync"))?;
        sync_folder(folder)?;
        let end = SEGMENT_HEADER as u64;
        let segment = Segment { path, first, next: first, end, acknowledged: 0, damaged: false };
        Ok(Self { file, segment, capacity: bytes as u64 })
    }

    pub(super) fn segment(&self) -> Segment {
        self.segment.clone()
    }

    /// Writes a batch whose last record is before `next` and syncs it; true when a new segment was begun for it.
    pub(super) fn write(&mut self, batch: &[u8], next: u64, options: &Options) -> Result<bool, JournalError> {
        let len = batch.len() as u64;
        let rotate = self.segment.end + len > self.capacity && self.segment.next > self.segment.first;
        if rotate {
            let bytes = options.segment_bytes.max(SEGMENT_HEADER + batch.len());
            *self = Self::create(&options.folder, self.segment.next, bytes)?;
        }
        self.file.write_all_at(batch, self.segment.end).map_err(JournalError::io("write the journal"))?;
        self.file.sync_data().map_err(JournalError::io("sync the journal"))?;
        self.segment.end += len;
        self.segment.next = next;
        Ok(rotate)
    }
}
