//! One file of the journal.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::disk::Disk;
use super::format::{self, RECORD_HEADER, SEGMENT_HEADER};
use super::{Chunk, JournalError, Options};

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

/// Where a read ended, so that the next one begins there and not at the head of the file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    first: u64,
    index: u64,
    at: u64,
}

impl Segment {
    /// Records from `index` on and before `durable` into `chunk`, at least one if there is one.
    pub(super) fn read(
        &self,
        cursor: &mut Option<Cursor>,
        index: u64,
        durable: u64,
        bytes_max: usize,
        chunk: &mut Chunk,
    ) -> Result<(), JournalError> {
        let operation = || format!("read journal segment `{}`", self.path.display());
        let known = cursor.take().filter(|known| known.first == self.first && known.index <= index);
        let mut place = match known {
            Some(place) => place,
            None => {
                let file = File::open(&self.path).map_err(JournalError::io(operation()))?;
                Cursor { file, first: self.first, index: self.first, at: SEGMENT_HEADER as u64 }
            }
        };
        let until = self.next.min(durable);
        let (mut taken, mut wanted) = (0usize, bytes_max.max(RECORD_HEADER));
        chunk.records.clear();
        while place.index < until && chunk.records.is_empty() {
            let left = usize::try_from(self.end.saturating_sub(place.at)).unwrap_or(usize::MAX);
            let len = wanted.min(left);
            if chunk.bytes.len() < len {
                chunk.bytes.resize(len, 0);
            }
            let bytes = chunk.bytes.get_mut(..len).unwrap_or_default();
            place.file.read_exact_at(bytes, place.at).map_err(JournalError::io(operation()))?;
            let mut at = 0usize;
            while place.index < until && taken < bytes_max {
                let rest = chunk.bytes.get(at..len).unwrap_or_default();
                let Some([a, b, c, d, ..]) = rest.first_chunk::<RECORD_HEADER>() else { break };
                let record_len = RECORD_HEADER + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                let Some(record) = rest.get(..record_len) else {
                    wanted = wanted.max(record_len); // longer than what was read: once more, whole
                    break;
                };
                if place.index >= index {
                    let body = format::body(record, place.index).ok_or_else(|| {
                        JournalError::Failed(format!("record {} does not match its checksum", place.index))
                    })?;
                    taken += body.len();
                    chunk.records.push((place.index, at + RECORD_HEADER..at + record_len));
                }
                place.index += 1;
                place.at += record_len as u64;
                at += record_len;
            }
            if at == 0 && (len == left || len >= wanted) {
                return Err(JournalError::Failed(format!("record {} is longer than its segment", place.index)));
            }
        }
        *cursor = Some(place);
        Ok(())
    }

    /// Gives the file up: to be a segment again, or set aside when it is damaged.
    pub(super) fn remove(&self) -> Result<(), JournalError> {
        if self.damaged {
            return quarantine(&self.path);
        }
        // At most one is kept: it takes the place, and the room, of the one before.
        fs::rename(&self.path, self.path.with_file_name(RECYCLED))
            .map_err(JournalError::io(format!("delete `{}`", self.path.display())))
    }
}

/// Renames a damaged file so that it is kept and never read again.
pub(super) fn quarantine(path: &Path) -> Result<(), JournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".quarantined");
    fs::rename(path, name).map_err(JournalError::io(format!("quarantine `{}`", path.display())))
}

/// Bytes of zeros synced at a time: a sync of the journal behind them waits for no more than these.
const FILL_BYTES: usize = 512 << 10;

/// Name of a segment's file that is given up, and may be a segment again.
const RECYCLED: &str = "recycled.spare";

/// Makes a zero-filled, synced file at `path`, where there is none, out of a recycled one if there is one: its blocks are
/// allocated and written, so zeros and records change no metadata. `gently`, it is synced all along, so that the disk
/// never has much to do before the syncs that requests wait for.
fn zero_filled(path: &Path, bytes: usize, gently: bool, disk: &dyn Disk) -> Result<File, JournalError> {
    let io = |what: &str| JournalError::io(format!("{what} journal segment `{}`", path.display()));
    let recycled = fs::rename(path.with_file_name(RECYCLED), path).is_ok();
    let file = OpenOptions::new().write(true).create_new(!recycled).open(path).map_err(io("make"))?;
    if recycled {
        file.set_len(bytes as u64).map_err(io("cut"))?;
    }
    let zeros = vec![0u8; FILL_BYTES];
    let mut at = 0usize;
    while at < bytes {
        let part = zeros.get(..(bytes - at).min(zeros.len())).unwrap_or(&zeros);
        disk.write_at(&file, part, at as u64).map_err(io("zero-fill"))?;
        if gently {
            disk.sync(&file).map_err(io("sync"))?;
        }
        at += part.len();
    }
    file.sync_all().map_err(io("sync"))?;
    Ok(file)
}

/// The next segment's file, made in the background. Its name does not end in `.segment`, so a restart removes it unread.
#[derive(Debug)]
pub(super) struct Spare(Option<JoinHandle<Result<PathBuf, JournalError>>>);

/// Name of the next segment's file while it is made.
const SPARE: &str = "next.spare";

impl Spare {
    fn make(folder: &Path, bytes: usize, disk: &Arc<dyn Disk>) -> Self {
        let (path, disk) = (folder.join(SPARE), Arc::clone(disk));
        let making = std::thread::Builder::new().name("journal-spare".into()).spawn(move || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(JournalError::io("delete an old spare journal segment")(error));
                }
                _ => {}
            }
            zero_filled(&path, bytes, true, &*disk).map(|_| path)
        });
        Self(making.inspect_err(|error| tracing::warn!(%error, "no thread for the journal's next segment")).ok())
    }

    /// The file; waits when it is not ready yet. None when it could not be made.
    fn take(&mut self) -> Option<PathBuf> {
        self.0.take()?.join().ok()?.inspect_err(|error| tracing::warn!(%error, "no spare journal segment")).ok()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(path) = self.take() {
            // Left there it would be removed when the next process makes its own.
            let _removed = fs::remove_file(path);
        }
    }
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct Active {
    /// One open file per writer: a failed write-back is told once to each, so no sync can miss it.
    files: Vec<Arc<File>>,
    segment: Segment,
    capacity: u64,
    spare: Spare,
    spare_bytes: usize,
}

impl Active {
    /// Makes, zero-fills and syncs a new segment, and begins to make the next one.
    pub(super) fn create(folder: &Path, first: u64, bytes: usize, disk: &Arc<dyn Disk>) -> Result<Self, JournalError> {
        let (path, bytes) = (path(folder, first), bytes.max(SEGMENT_HEADER));
        let made = zero_filled(&path, bytes, false, &**disk).and_then(|_| begin(&path, first, &**disk));
        let files = made.and_then(|files| sync_folder(folder).map(|()| files)).inspect_err(|_| {
            // Half made: its room and its name are needed for the next try.
            let _removed = fs::remove_file(&path);
        })?;
        let end = SEGMENT_HEADER as u64;
        let segment = Segment { path, first, next: first, end, acknowledged: 0, damaged: false };
        let spare = Spare::make(folder, bytes, disk);
        Ok(Self { files, segment, capacity: bytes as u64, spare, spare_bytes: bytes })
    }

    pub(super) fn segment(&self) -> Segment {
        self.segment.clone()
    }

    /// The file as writer `number` opened it.
    pub(super) fn file(&self, number: usize) -> Result<Arc<File>, JournalError> {
        self.files.get(number).cloned().ok_or_else(|| JournalError::Failed("no file for this writer".into()))
    }

    /// Whether a batch of `len` bytes needs a new segment.
    pub(super) fn is_full(&self, len: usize) -> bool {
        self.segment.end + len as u64 > self.capacity && self.segment.next > self.segment.first
    }

    /// Begins a new segment with room for `len` bytes. Everything in the old one is durable.
    pub(super) fn rotate(&mut self, len: usize, options: &Options) -> Result<(), JournalError> {
        let bytes = options.segment_bytes.max(SEGMENT_HEADER + len);
        let first = self.segment.next;
        let made = if bytes == self.spare_bytes { self.spare.take() } else { None };
        let Some(made) = made else {
            self.spare = Spare(None); // gone before the new one of the same name is made
            *self = Self::create(&options.folder, first, bytes, &options.disk)?;
            return Ok(());
        };
        // The header is durable before the name is, so a segment by name always has one.
        let files = begin(&made, first, &*options.disk)?;
        let path = path(&options.folder, first);
        fs::rename(&made, &path).map_err(JournalError::io(format!("name journal segment `{}`", path.display())))?;
        sync_folder(&options.folder)?;
        let end = SEGMENT_HEADER as u64;
        self.segment = Segment { path, first, next: first, end, acknowledged: 0, damaged: false };
        (self.files, self.capacity) = (files, bytes as u64);
        self.spare = Spare::make(&options.folder, bytes, &options.disk);
        Ok(())
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.segment.path
    }

    /// Leaves the segment for a new one that begins at `first` and durably holds `bytes`, the records before `next`.
    /// After an error it is as before, and nothing of the new one is left.
    pub(super) fn replace(
        &mut self,
        first: u64,
        next: u64,
        bytes: &[u8],
        options: &Options,
    ) -> Result<(), JournalError> {
        // Gone before the new one of the same name is made; its room may be what is missing.
        self.spare = Spare(None);
        // Left by a rotation that failed half way: it begins with what is not durable, so it holds nothing that is.
        let _absent = fs::remove_file(path(&options.folder, first));
        let size = options.segment_bytes.max(SEGMENT_HEADER + bytes.len());
        let mut new = Self::create(&options.folder, first, size, &options.disk)?;
        let written = new.write(bytes, next, &*options.disk).and_then(|_| {
            let file = new.file(0)?;
            options.disk.sync(&file).map_err(JournalError::io("sync the journal"))
        });
        if let Err(error) = written {
            let _removed = fs::remove_file(&new.segment.path);
            return Err(error);
        }
        *self = new;
        Ok(())
    }

    /// Writes a batch whose last record is before `next`, without a sync; gives the byte after it.
    pub(super) fn write(&mut self, batch: &[u8], next: u64, disk: &dyn Disk) -> Result<u64, JournalError> {
        let file = self.file(0)?;
        disk.write_at(&file, batch, self.segment.end).map_err(JournalError::io("write the journal"))?;
        self.segment.end += batch.len() as u64;
        self.segment.next = next;
        Ok(self.segment.end)
    }
}

/// Writes the header of the segment at `path` durably and opens it once for each writer.
fn begin(path: &Path, first: u64, disk: &dyn Disk) -> Result<Vec<Arc<File>>, JournalError> {
    let io = |what: &str| JournalError::io(format!("{what} journal segment `{}`", path.display()));
    let open = |_| OpenOptions::new().write(true).open(path).map(Arc::new).map_err(io("open"));
    let files = (0..super::WRITERS).map(open).collect::<Result<Vec<_>, _>>()?;
    let mut header = Vec::with_capacity(SEGMENT_HEADER);
    format::put_segment_header(&mut header, first);
    if let Some(file) = files.first() {
        disk.write_at(file, &header, 0).map_err(io("begin"))?;
        disk.sync(file).map_err(io("sync"))?;
    }
    Ok(files)
}
