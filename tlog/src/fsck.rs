//! Re-derives a log from its entries and compares every stored tile with what it must be.
//!
//! Trusts nothing but the entries: leaf hashes, tiles and root are computed again, I-08 and I-13. All faults are
//! reported, not only the first, up to [`FINDINGS_MAX`]. Memory stays small at any log size.

use std::fmt;

use crate::hash::{HASH_BYTES, Hash};
use crate::proof::ReadError;
use crate::tile::{Bundle, TILE_BYTES, TILE_WIDTH, Tile, TileFile, TileSource};
use crate::tree::{Frontier, GROUP_LEAVES, leaf_hash};
use crate::writer::TileWriter;

/// Most findings kept; the rest is only counted.
pub const FINDINGS_MAX: usize = 1000;

/// Why the check could not be carried out. A retry may help.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The tile store failed (not: the file is absent, which is a finding).
    #[error("check `{path}`")]
    Read {
        /// Path of the file.
        path: String,
        /// What the store said.
        #[source]
        source: ReadError,
    },
    /// The caller's entries could not be read.
    #[error("read entry {index}")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// What the caller's reader said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FsckError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Entry { .. } => "entry",
        }
    }
}

/// One fault of a stored log (T10 unless said otherwise).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The entries lead to another root than the checkpoint says.
    Root {
        /// Root of the entries.
        got: Hash,
        /// Root of the checkpoint.
        expected: Hash,
    },
    /// There are fewer or more entries than the checkpoint says.
    EntryCount {
        /// Entries found.
        got: u64,
        /// Size of the checkpoint.
        expected: u64,
    },
    /// A tile or bundle that this size needs is not stored.
    Missing {
        /// Path of the file.
        path: String,
    },
    /// A file is not even well formed.
    Malformed {
        /// Path of the file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A tile holds another hash than the entries lead to.
    Differs {
        /// Path of the tile.
        path: String,
        /// Position of the first wrong hash in the tile.
        hash: usize,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { got, expected } => write!(f, "entries lead to root {got}, checkpoint says {expected}"),
            Self::EntryCount { got, expected } => write!(f, "{got} entries found, checkpoint says {expected}"),
            Self::Missing { path } => write!(f, "{path} is missing"),
            Self::Malformed { path, what } => write!(f, "{path} is malformed: {what}"),
            Self::Differs { path, hash } => write!(f, "{path} does not fit the entries from hash {hash} on"),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckReport {
    /// Entries read.
    pub entries: u64,
    /// Root they lead to.
    pub root: Hash,
    /// Tiles compared.
    pub tiles: u64,
    /// Faults, in the order found; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Faults beyond that.
    pub dropped: u64,
}

impl FsckReport {
    /// True if nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.dropped == 0
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.dropped += 1;
        }
    }
}

/// Checks the tiles of a log against entries the caller reads, and the root against the checkpoint's `size` and `root`.
///
/// Entries beyond `size` are counted, not hashed, and make one finding. A partial tile may be answered by the full one.
///
/// # Errors
/// [`FsckError`] if entries or store cannot be read; everything else is a finding.
pub fn fsck<I, B, E>(size: u64, root: &Hash, entries: I, source: &mut dyn TileSource) -> Result<FsckReport, FsckError>
where
    I: IntoIterator<Item = Result<B, E>>,
    B: AsRef<[u8]>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut check = Check::new();
    let mut count = 0;
    for entry in entries {
        let entry = entry.map_err(|error| FsckError::Entry { index: count, source: error.into() })?;
        if count < size {
            check.leaf(leaf_hash(entry.as_ref()), source)?;
        }
        count += 1;
    }
    check.finish(count, size, root, source)
}

/// Checks a whole stored log: reads its entry bundles itself. A bundle that is missing or malformed is a finding, and
/// the check stops hashing there, since all that follows depends on it; the later bundles are still looked at, until
/// [`FINDINGS_MAX`] faults are found (so a forged size cannot keep it busy for ever).
///
/// # Errors
/// [`FsckError::Read`] if the store fails.
pub fn fsck_store(size: u64, root: &Hash, source: &mut dyn TileSource) -> Result<FsckReport, FsckError> {
    let mut check = Check::new();
    let mut whole = true;
    let mut count = 0;
    for bundle in (0..).map_while(|index| Bundle::at(index, size)) {
        if check.report.dropped > 0 {
            break;
        }
        let path = bundle.path();
        let read = bundle.fetch(source).map_err(|source| FsckError::Read { path: path.clone(), source })?;
        let Some(bytes) = read else {
            whole = false;
            check.report.add(Finding::Missing { path });
            continue;
        };
        match bundle.parse_or_full(&bytes) {
            Ok(entries) if whole => {
                for entry in entries {
                    check.leaf(leaf_hash(entry), source)?;
                    count += 1;
                }
            }
            Ok(_) => {}
            Err(error) => {
                whole = false;
                check.report.add(Finding::Malformed { path, what: error.to_string() });
            }
        }
    }
    check.finish(count, size, root, source)
}

struct Check {
    frontier: Frontier,
    tiles: TileWriter,
    report: FsckReport,
}

impl Check {
    fn new() -> Self {
        let report =
            FsckReport { entries: 0, root: crate::tree::EMPTY_ROOT, tiles: 0, findings: Vec::new(), dropped: 0 };
        Self { frontier: Frontier::new(), tiles: TileWriter::new(), report }
    }

    fn leaf(&mut self, leaf: Hash, source: &mut dyn TileSource) -> Result<(), FsckError> {
        self.frontier.append(leaf);
        // Cannot fail: the tiles are flushed every 256 leaves.
        if self.tiles.append(leaf).is_ok() && self.tiles.size().is_multiple_of(u64::from(TILE_WIDTH)) {
            for file in self.tiles.flush() {
                // Partial tiles of smaller sizes need not be kept; those of the last size come at the end.
                if file.full {
                    self.compare(&file, source)?;
                }
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        count: u64,
        size: u64,
        root: &Hash,
        source: &mut dyn TileSource,
    ) -> Result<FsckReport, FsckError> {
        if self.frontier.size() == size {
            for file in self.tiles.partials() {
                self.compare(&file, source)?;
            }
        }
        self.report.entries = count;
        self.report.root = self.frontier.root();
        if count != size {
            self.report.add(Finding::EntryCount { got: count, expected: size });
        }
        if self.report.root != *root {
            self.report.add(Finding::Root { got: self.report.root, expected: *root });
        }
        Ok(self.report)
    }

    /// Compares a stored tile with the computed one.
    fn compare(&mut self, file: &TileFile, source: &mut dyn TileSource) -> Result<(), FsckError> {
        let read = |source: &mut dyn TileSource, path: &str| {
            source.read(path).map_err(|source| FsckError::Read { path: path.to_owned(), source })
        };
        self.report.tiles += 1;
        let mut stored = read(source, &file.path)?;
        if stored.is_none()
            && let Some((full, _)) = file.path.split_once(".p/")
        {
            stored = read(source, full)?;
        }
        let Some(stored) = stored else {
            self.report.add(Finding::Missing { path: file.path.clone() });
            return Ok(());
        };
        if stored.len() != file.bytes.len() && stored.len() != TILE_BYTES {
            let what = format!("{} bytes where {} are needed", stored.len(), file.bytes.len());
            self.report.add(Finding::Malformed { path: file.path.clone(), what });
            return Ok(());
        }
        let mut pairs = stored.chunks(HASH_BYTES).zip(file.bytes.chunks(HASH_BYTES));
        if let Some(hash) = pairs.position(|(stored, computed)| stored != computed) {
            self.report.add(Finding::Differs { path: file.path.clone(), hash });
        }
        Ok(())
    }
}

/// Bytes of memory the check holds at most, besides one bundle: two tiles on each of 8 levels.
pub const FSCK_BYTES_MAX: usize = 8 * 2 * GROUP_LEAVES * HASH_BYTES;

/// Lists every file a log of `size` entries needs: bundles, then tiles. Streams; a log of n entries has about n / 128.
pub fn files_of(size: u64) -> impl Iterator<Item = String> {
    let bundles = (0..).map_while(move |index| Bundle::at(index, size)).map(|bundle| bundle.path());
    let tiles = (0..8).flat_map(move |level| (0..).map_while(move |index| Tile::at(level, index, size)));
    bundles.chain(tiles.map(|tile| tile.path()))
}
