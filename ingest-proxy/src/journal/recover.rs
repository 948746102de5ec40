//! What lies in the folder at start: read, checked, and every damage named.

use std::fs;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::format::{self, Ending};
use super::segment::{Segment, quarantine, sync_folder};

/// One thing found wrong. The file is kept as `*.quarantined` once its readable records are on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The newest segment ends inside a batch: that batch was never acknowledged to a session, unless the disk lies.
    TornTail {
        /// The file.
        path: PathBuf,
        /// Where the readable part ends.
        at: u64,
    },
    /// An older segment is broken: records after this byte may have been acknowledged and are lost here.
    Segment {
        /// The file.
        path: PathBuf,
        /// Where the readable part ends.
        at: u64,
    },
    /// A segment's header is unreadable: nothing of it can be used.
    Header {
        /// The file.
        path: PathBuf,
    },
    /// Records between two segments are missing.
    Gap {
        /// First missing index.
        from: u64,
        /// Index after the last missing.
        to: u64,
    },
}

/// What was found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Records to replay to the bus.
    pub records: u64,
    /// Index the next append gets.
    pub next: u64,
    /// Damage, oldest first; empty after a clean end.
    pub damage: Vec<Damage>,
}

/// Reads every segment.
pub(super) fn recover(folder: &Path) -> Result<(Vec<Segment>, Recovery), JournalError> {
    let names = names(folder)?;
    let newest = names.last().map(|(first, _)| *first);
    let mut found: Vec<Segment> = Vec::new();
    let mut recovery = Recovery { records: 0, next: 0, damage: Vec::new() };
    let mut firsts: Vec<u64> = names.iter().map(|(first, _)| *first).skip(1).collect();
    firsts.push(u64::MAX);
    for ((first, path), limit) in names.into_iter().zip(firsts) {
        let bytes = fs::read(&path).map_err(JournalError::io(format!("read journal segment `{}`", path.display())))?;
        let Some(scan) = format::scan(&bytes).filter(|scan| scan.first_index == first) else {
            recovery.damage.push(Damage::Header { path: path.clone() });
            recovery.next = recovery.next.max(first);
            quarantine(&path)?;
            continue;
        };
        if first > recovery.next && !found.is_empty() {
            recovery.damage.push(Damage::Gap { from: recovery.next, to: first });
        }
        // Records that the next segment begins with too were written there since a sync failed here: not trusted.
        let records = (scan.bodies.len() as u64).min(limit.saturating_sub(first));
        let whole = records == limit.saturating_sub(first);
        let (Ending::Clean(end) | Ending::Broken(end)) = scan.ending;
        let last = usize::try_from(records).ok().and_then(|count| count.checked_sub(1));
        let end = if whole { last.and_then(|last| scan.bodies.get(last)).map_or(end, |body| body.end) } else { end };
        let end = end as u64;
        let damaged = matches!(scan.ending, Ending::Broken(_)) && !whole;
        if damaged {
            let (path, at) = (path.clone(), end);
            let torn = Some(first) == newest;
            recovery.damage.push(if torn { Damage::TornTail { path, at } } else { Damage::Segment { path, at } });
        }
        recovery.records += records;
        recovery.next = recovery.next.max(first + records);
        let segment = Segment { path, first, next: first + records, end, acknowledged: 0, damaged };
        if records == 0 {
            segment.remove()?;
        } else {
            found.push(segment);
        }
    }
    sync_folder(folder)?;
    Ok((found, recovery))
}

fn names(folder: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(JournalError::io("list the journal folder"))? {
        let path = entry.map_err(JournalError::io("list the journal folder"))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(first) = name.strip_suffix(".segment").and_then(|first| first.parse().ok()) {
            names.push((first, path));
        }
    }
    names.sort();
    Ok(names)
}
