//! The log: checkpoint note, tree rebuilt from the entry bundles, stored tiles, older checkpoints, the caller's pin.

use std::collections::VecDeque;

use schemas::entry::Entry;
use schemas::layout::LOG_PREFIX;
use tlog::{Bundle, CHECKPOINT_PATH, Checkpoint, Frontier, FsckError, Hash, leaf_hash};

use super::Options;
use super::chain::Chains;
use super::heads::Others;
use super::receipts::Receipts;
use super::report::Findings;
use super::rows::Checked;
use super::trust::Trust;
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
    pub(crate) trust: Trust,
    pub(crate) pinned: bool,
    /// When a quorum of witnesses had seen the head, seconds since the epoch.
    pub(crate) witnessed_s: Option<u64>,
    pub(crate) notes: Vec<String>,
}

impl Log {
    /// An object all of whose seals were closed before `since_ms`, as its receipt says.
    pub(crate) fn settled_before(&self, name: &str, since_ms: Option<i64>) -> Option<Checked> {
        let (since, receipt) = (since_ms?, self.receipts.get(name)?);
        let last = self.chains.streams.get(&receipt.stream)?.seal(receipt.last_seal)?;
        let seen = (receipt.first_seal..=receipt.last_seal).map(|seal| (receipt.stream, seal)).collect();
        (last.closed_at < since).then(|| Checked { seen, ..Checked::default() })
    }

    pub(crate) fn root_at(&self, size: u64) -> Option<Hash> {
        usize::try_from(size).ok().and_then(|size| self.roots.get(size)).copied()
    }
}

/// The name of a log file in the archive.
pub(crate) fn log_name(path: &str) -> String {
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
    let trust = Trust::open(archive, options, findings)?;
    let mut log = Log { origin: trust.origin.clone(), trust, ..Log::default() };
    // who may sign a head is known only after the entries below it: until then its text is just what is to be proven
    let Ok((head, _)) = Checkpoint::parse_note(&note) else {
        log.trust.judge(&note, "checkpoint", findings);
        return Ok(Some(log));
    };
    log.size = head.size();
    log.root = Some(*head.root());
    if head.size() > ENTRIES_MAX {
        return Err(ReadError::TooLarge { name: log_name(CHECKPOINT_PATH), limit: ENTRIES_MAX, unit: "log entries" });
    }
    if head.size() == 0 {
        findings.add("T30", "log", "empty input: the log holds no entry");
    } else {
        read_entries(archive, &mut log, progress, findings)?;
    }
    if let Some(judged) = log.trust.judge(&note, "checkpoint", findings) {
        log.witnessed_s = log.trust.quorum(&judged, &mut log.notes, findings);
    }
    check_closings(archive, &log, findings)?;
    check_pin(&mut log, options, findings);
    check_older(archive, &mut log, findings)?;
    Ok(Some(log))
}

/// Every past epoch must have its closing head, signed by its own key: the thief of a later key cannot make it (T15).
fn check_closings(archive: &Archive, log: &Log, findings: &mut Findings) -> Result<(), ReadError> {
    for (number, epoch) in log.trust.epochs.iter().enumerate() {
        let Some(size) = epoch.until else { continue };
        let name = log_name(&tlog::checkpoint_path(size));
        let found = archive.find(&name)?;
        let mut own = Findings::default();
        let judged = found.as_ref().and_then(|bytes| log.trust.judge(bytes, &name, &mut own));
        let what = match &judged {
            None if found.is_none() => "it is not there",
            None => "it cannot be read",
            Some(judged) if judged.head.size() != size || log.root_at(size) != Some(*judged.head.root()) => {
                "it is of another tree"
            }
            Some(judged) if !judged.verified.as_ref().is_some_and(|verified| verified.is_by(&epoch.key)) => {
                "the key of that epoch did not sign it"
            }
            Some(_) => continue,
        };
        let text = format!("epoch-closing checkpoint missing: epoch {number} closes at size {size}: {what}");
        findings.object("T15", format!("epoch {number}"), text, &name);
    }
    Ok(())
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
            others: Others::default(),
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
    others: Others,
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
        let (findings, others) = (&mut *self.findings, &mut self.others);
        let entry = Entry::decode(entry);
        if !matches!(entry, Ok(Entry::Heads(_))) {
            others.interrupt(index, findings);
        }
        match entry {
            Ok(Entry::Seal(seal)) => log.chains.take(index, leaf, &seal, &log.origin, &log.roots, findings),
            Ok(Entry::Archive(receipt)) => log.receipts.take(index, receipt, &log.origin, &log.chains, findings),
            Ok(Entry::Key(key)) => log.trust.take(index, &key, findings),
            Ok(Entry::Heads(heads)) => {
                others.take_heads(index, &heads, &log.chains, &log.receipts, &log.trust, findings);
            }
            Ok(Entry::Incident(incident)) => {
                others.take_incident(index, &incident, &log.trust, &mut log.notes, findings);
            }
            Err(error) => {
                use std::error::Error as _;
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                findings.add("T09", format!("log entry {index}"), format!("entry not canonical: {error}{cause}"));
            }
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
    let Some(judged) = log.trust.judge(bytes, "pin", findings) else { return };
    let (pin, trusted) = (judged.head, judged.trusted);
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
fn check_older(archive: &Archive, log: &mut Log, findings: &mut Findings) -> Result<(), ReadError> {
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
        let Some(judged) = log.trust.judge(&bytes, name, &mut own) else {
            findings.extend(own);
            continue;
        };
        let (older, trusted) = (judged.head, judged.trusted);
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
