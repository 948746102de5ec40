//! The log: checkpoint note, tree rebuilt from the entry bundles, stored tiles, older checkpoints, the caller's pin.

use std::collections::VecDeque;

use schemas::entry::Entry;
use schemas::layout::LOG_PREFIX;
use tlog::{Bundle, CHECKPOINT_PATH, Checkpoint, CheckpointError, Frontier, FsckError, Hash, NoteError, leaf_hash};

use super::Options;
use super::chain::Chains;
use super::receipts::Receipts;
use super::report::Findings;
use crate::{Archive, ReadError};

/// Most entries of a log this version verifies: 32 bytes for the leaf, 32 for the root and about 200 for the seal each.
pub const ENTRIES_MAX: u64 = 1 << 27;
/// Newest stored checkpoints compared with the tree; older ones are only counted.
pub const CHECKPOINTS_MAX: usize = 1000;

/// The log as read.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Option<Hash>,
    /// Leaf hash of each entry.
    pub(crate) leaves: Vec<Hash>,
    /// Root at each size from 0; one longer than `leaves`.
    pub(crate) roots: Vec<Hash>,
    pub(crate) chains: Chains,
    pub(crate) receipts: Receipts,
    pub(crate) pinned: bool,
    pub(crate) notes: Vec<String>,
}

impl Log {
    fn root_at(&self, size: u64) -> Option<Hash> {
        usize::try_from(size).ok().and_then(|size| self.roots.get(size)).copied()
    }
}

/// The name of a log file in the archive.
fn log_name(path: &str) -> String {
    format!("{LOG_PREFIX}/{path}")
}

/// Reads and checks the log. `None` when there is no checkpoint at all, which is a finding too.
pub(crate) fn read(
    archive: &Archive,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
    findings: &mut Findings,
) -> Result<Option<Log>, ReadError> {
    let Some(note) = archive.find(&log_name(CHECKPOINT_PATH))? else {
        findings.add("T30", "log", "empty input: the archive holds no checkpoint");
        return Ok(None);
    };
    let origin = options.origin.clone().or_else(|| options.keys.first().map(|key| key.name().to_owned()));
    let mut log = Log { origin: origin.unwrap_or_default(), ..Log::default() };
    let Some(head) = open_note(&note, &log.origin, options, "checkpoint", findings) else {
        return Ok(Some(log));
    };
    log.size = head.size();
    log.root = Some(*head.root());
    if head.size() == 0 {
        findings.add("T30", "log", "empty input: the log holds no entry");
        return Ok(Some(log));
    }
    if head.size() > ENTRIES_MAX {
        return Err(ReadError::TooLarge { name: log_name(CHECKPOINT_PATH), limit: ENTRIES_MAX, unit: "log entries" });
    }
    read_entries(archive, &mut log, progress, findings)?;
    check_pin(&mut log, options, findings);
    check_older(archive, &mut log, options, findings)?;
    Ok(Some(log))
}

/// Opens a checkpoint note; a fault is a finding, and the text is used all the same if it can be read at all, so that
/// everything that is wrong gets reported.
fn open_note(
    bytes: &[u8],
    origin: &str,
    options: &Options,
    place: &str,
    findings: &mut Findings,
) -> Option<Checkpoint> {
    match Checkpoint::open(bytes, origin, &options.keys) {
        Ok(opened) => Some(opened.checkpoint),
        Err(error) => {
            let (code, text) = match &error {
                CheckpointError::WrongOrigin { got, expected } => {
                    ("T12", format!("wrong origin: `{got}`, not `{expected}`"))
                }
                CheckpointError::NoLogSignature | CheckpointError::Note(NoteError::NoTrustedSignature) => {
                    ("T12", "no trusted log signature".to_owned())
                }
                CheckpointError::Malformed(what) => ("T11", format!("malformed note: {what}")),
                CheckpointError::Note(error @ NoteError::BadSignature { .. }) => {
                    ("T11", format!("bad signature of known key: {error}"))
                }
                CheckpointError::Note(error) => ("T11", format!("malformed note: {error}")),
            };
            findings.add(code, place, text);
            Checkpoint::parse_note(bytes).ok().map(|(checkpoint, _)| checkpoint)
        }
    }
}

/// A store failure on its way through `tlog`.
fn store_failure(error: ReadError) -> tlog::ReadError {
    tlog::ReadError::Store(Box::new(error))
}

/// Reads the bundles once: entries are decoded, chained and hashed; the stored tiles are compared on the way.
fn read_entries(
    archive: &Archive,
    log: &mut Log,
    progress: &mut dyn FnMut(u64, u64),
    findings: &mut Findings,
) -> Result<(), ReadError> {
    let size = log.size;
    let root = log.root.unwrap_or(tlog::EMPTY_ROOT);
    let report = {
        let entries = Entries {
            archive,
            log,
            findings,
            progress,
            frontier: Frontier::new(),
            next_bundle: 0,
            buffer: VecDeque::new(),
        };
        let mut tiles = |path: &str| {
            archive.find(&log_name(path)).map(|found| found.map(|bytes| bytes.to_vec())).map_err(store_failure)
        };
        tlog::fsck(size, &root, entries, &mut tiles)
    };
    match report {
        Ok(report) => {
            for finding in &report.findings {
                findings.add("T10", "log", format!("log root does not match entries: {finding}"));
            }
            findings.dropped += report.dropped;
            Ok(())
        }
        Err(FsckError::Read { path, source }) => Err(ReadError::Store { name: log_name(&path), source: source.into() }),
        Err(FsckError::Entry { index, source }) => {
            Err(ReadError::Store { name: format!("{LOG_PREFIX} entry {index}"), source })
        }
    }
}

/// The entries of the log in order. Ends early at a bundle that is missing or malformed.
struct Entries<'a> {
    archive: &'a Archive,
    log: &'a mut Log,
    findings: &'a mut Findings,
    progress: &'a mut dyn FnMut(u64, u64),
    frontier: Frontier,
    next_bundle: u64,
    buffer: VecDeque<Vec<u8>>,
}

impl Entries<'_> {
    /// Reads the next bundle; false at the end.
    fn fill(&mut self) -> Result<bool, ReadError> {
        let Some(bundle) = Bundle::at(self.next_bundle, self.log.size) else { return Ok(false) };
        (self.progress)(self.frontier.size(), self.log.size);
        self.next_bundle += 1;
        let path = bundle.path();
        let found = match self.archive.find(&log_name(&path))? {
            None if !bundle.is_full() => self.archive.find(&log_name(&bundle.full().path()))?,
            found => found,
        };
        let Some(bytes) = found else {
            self.findings.add("T10", "log", format!("log root does not match entries: {path} is missing"));
            return Ok(false);
        };
        let parsed = bundle.parse(&bytes).or_else(|error| bundle.full().parse(&bytes).map_err(|_| error));
        match parsed {
            Ok(entries) => {
                self.buffer.extend(entries.into_iter().take(usize::from(bundle.width())).map(<[u8]>::to_vec));
                Ok(true)
            }
            Err(error) => {
                self.findings.add("T10", "log", format!("log root does not match entries: {path}: {error}"));
                Ok(false)
            }
        }
    }

    /// Chains one entry.
    fn take(&mut self, entry: &[u8]) {
        let index = self.frontier.size();
        if index == 0 {
            self.log.roots.push(tlog::EMPTY_ROOT);
        }
        let leaf = leaf_hash(entry);
        let log = &mut *self.log;
        match Entry::decode(entry) {
            Ok(Entry::Seal(seal)) => log.chains.take(index, leaf, &seal, &log.origin, &log.roots, self.findings),
            Ok(Entry::Archive(receipt)) => {
                log.receipts.take(index, receipt, &log.origin, &log.chains, self.findings);
            }
            Ok(Entry::Key(_) | Entry::Heads(_) | Entry::Incident(_)) => {}
            Err(what) => self.findings.add("T09", format!("log entry {index}"), format!("entry not canonical: {what}")),
        }
        self.frontier.append(leaf);
        self.log.leaves.push(leaf);
        self.log.roots.push(self.frontier.root());
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Vec<u8>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.buffer.is_empty() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let entry = self.buffer.pop_front()?;
        self.take(&entry);
        Some(Ok(entry))
    }
}

/// The caller's own checkpoint: the log must be at least as long, and hold that very tree.
fn check_pin(log: &mut Log, options: &Options, findings: &mut Findings) {
    let Some(bytes) = &options.pin else { return };
    let before = findings.list.len();
    let Some(pin) = open_note(bytes, &log.origin, options, "pin", findings) else { return };
    let trusted = findings.list.len() == before;
    if pin.size() > log.size {
        let lost = pin.size() - log.size;
        let text =
            format!("head older than the anchor: {lost} entries lost, log has {}, pin says {}", log.size, pin.size());
        findings.add("T16", "pin", text);
        return;
    }
    match log.root_at(pin.size()) {
        Some(root) if root == *pin.root() => log.pinned = trusted,
        Some(_) => findings.add("T17", "pin", format!("fork: this log had another root at size {}", pin.size())),
        // the entries up to there could not be read, T10 has said so
        None => {}
    }
}

/// The archive's own older checkpoints: one that is larger than the head, or of another tree, gives a fork away.
fn check_older(archive: &Archive, log: &mut Log, options: &Options, findings: &mut Findings) -> Result<(), ReadError> {
    let folder = log_name("checkpoints");
    let names = archive.list(&folder)?;
    if names.len() > CHECKPOINTS_MAX {
        log.notes.push(format!(
            "{} older checkpoints were not compared, only the newest {CHECKPOINTS_MAX}",
            names.len() - CHECKPOINTS_MAX
        ));
    }
    for name in names.iter().rev().take(CHECKPOINTS_MAX) {
        let Some(bytes) = archive.find(name)? else { continue };
        let mut own = Findings::default();
        let Some(older) = open_note(&bytes, &log.origin, options, name, &mut own) else {
            findings.extend(own);
            continue;
        };
        let trusted = own.is_empty();
        findings.extend(own);
        if *name != log_name(&tlog::checkpoint_path(older.size())) {
            findings.add("T11", name.clone(), format!("malformed note: its size is {}", older.size()));
        }
        if older.size() > log.size {
            if trusted {
                let text = format!("head older than the anchor: this signed head has {} entries", older.size());
                findings.add("T16", name.clone(), text);
            }
        } else if log.root_at(older.size()).is_some_and(|root| root != *older.root()) {
            findings.add("T17", name.clone(), format!("fork: this log had another root at size {}", older.size()));
        }
    }
    Ok(())
}
