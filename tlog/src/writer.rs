//! The growing log: entries in, files out.
//!
//! What the sealer's notary keeps between two checkpoints: the frontier, the partial tiles (at most 255 hashes on each of
//! 8 levels) and the partial entry bundle. Files are a function of the sizes and entries alone, I-12, so a second writer
//! or a repeat after a crash writes the same bytes. It reads and writes nothing itself.

use crate::hash::Hash;
use crate::proof::ReadError;
use crate::tile::{Bundle, GROWTH_LEAVES_MAX, TILE_WIDTH, Tile, TileError, TileFile, TileSource, push_entry};
use crate::tree::{Frontier, GROUP_LEAVES, leaf_hash, root_of};

/// Most bytes of entries that may wait for [`LogWriter::flush`].
pub const PENDING_BYTES_MAX: usize = 256 << 20;

/// The hashes of one tile level since its last full tile that was flushed.
#[derive(Debug, Clone, Default)]
struct Level {
    /// Index of the tile in which `hashes` starts.
    tile: u64,
    hashes: Vec<Hash>,
    /// How many of `hashes` the last flush has given out.
    flushed: usize,
}

/// Hash tiles of a growing log, without its entries. [`LogWriter`] is the one with entries.
#[derive(Debug, Clone, Default)]
pub struct TileWriter {
    size: u64,
    flushed: u64,
    levels: Vec<Level>,
}

impl TileWriter {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf hash.
    ///
    /// # Errors
    /// [`TileError::Growth`] if [`GROWTH_LEAVES_MAX`] leaves wait for a flush; nothing is added.
    pub fn append(&mut self, leaf: Hash) -> Result<(), TileError> {
        if self.size - self.flushed >= GROWTH_LEAVES_MAX {
            return Err(TileError::Growth { old: self.flushed, new: self.size + 1 });
        }
        self.size += 1;
        let mut hash = leaf;
        let mut at = 0;
        loop {
            if self.levels.len() == at {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(at) else { return Ok(()) };
            level.hashes.push(hash);
            if level.hashes.len() % GROUP_LEAVES != 0 {
                return Ok(());
            }
            let (_, tile) = level.hashes.split_at(level.hashes.len() - GROUP_LEAVES);
            hash = root_of(tile);
            at += 1;
        }
    }

    /// Gives the tiles that are new or wider than at the last flush, lowest level first, and forgets full ones.
    pub fn flush(&mut self) -> Vec<TileFile> {
        let mut files = Vec::new();
        for (number, level) in (0_u8..).zip(&mut self.levels) {
            for (index, chunk) in (level.tile..).zip(level.hashes.chunks(GROUP_LEAVES)) {
                let end = chunk.len() + usize::try_from(index - level.tile).unwrap_or(0) * GROUP_LEAVES;
                let tile = Tile::at(number, index, self.size).filter(|_| end > level.flushed);
                files.extend(tile.map(|tile| TileFile::of_hashes(&tile, chunk)));
            }
            let full = level.hashes.len() / GROUP_LEAVES;
            level.hashes.drain(..full * GROUP_LEAVES);
            level.tile += u64::try_from(full).unwrap_or(0);
            level.flushed = level.hashes.len();
        }
        self.flushed = self.size;
        files
    }
}

impl TileWriter {
    /// The partial tiles of the present size, whether flushed or not. Call after [`TileWriter::flush`].
    pub(crate) fn partials(&self) -> Vec<TileFile> {
        let last = |(number, level): (u8, &Level)| {
            let tile =
                Tile::at(number, level.tile + u64::try_from(level.hashes.len() / GROUP_LEAVES).ok()?, self.size)?;
            let chunk = level.hashes.chunks(GROUP_LEAVES).next_back()?;
            (!tile.is_full()).then(|| TileFile::of_hashes(&tile, chunk))
        };
        (0_u8..).zip(&self.levels).filter_map(last).collect()
    }
}

/// A growing log: takes entries, gives leaf hashes, the root, and the files to write.
#[derive(Debug, Clone, Default)]
pub struct LogWriter {
    frontier: Frontier,
    tiles: TileWriter,
    /// Full bundles since the last flush.
    full: Vec<TileFile>,
    /// The partial bundle: its bytes, and how many entries of it the last flush has given out.
    bundle: Vec<u8>,
    bundle_flushed: u64,
    pending_bytes: usize,
}

impl LogWriter {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Restores the writer of a log of `size` entries from its stored tiles: at most 9 reads. The caller must compare
    /// [`LogWriter::root`] with a signed or locked root before it goes on.
    ///
    /// # Errors
    /// [`TileError::Read`] if a file is missing or the store fails, [`TileError::TileLength`], [`TileError::Bundle`],
    /// [`TileError::Inconsistent`] if the entries do not hash to the level 0 tile.
    pub fn restore(size: u64, source: &mut dyn TileSource) -> Result<Self, TileError> {
        let mut levels: Vec<Level> = Vec::new();
        let mut nodes = Vec::new();
        let mut tile_level = 0_u8;
        while size >> (8 * u32::from(tile_level)) > 0 {
            let index = (size >> (8 * u32::from(tile_level))) / u64::from(TILE_WIDTH);
            let hashes = match Tile::at(tile_level, index, size) {
                Some(tile) => {
                    let bytes = required(tile.fetch(source), tile.path())?;
                    tile.parse(&bytes)?
                }
                None => Vec::new(),
            };
            nodes.push(Frontier::from_leaves(&hashes));
            levels.push(Level { tile: index, flushed: hashes.len(), hashes });
            tile_level += 1;
        }
        // The log's frontier is that of its partial tiles, the highest level first.
        let hashes = nodes.iter().rev().flat_map(|frontier| frontier.hashes().iter().copied()).collect();
        let frontier = Frontier::from_parts(size, hashes).map_err(|_| TileError::Growth { old: size, new: size })?;
        let width = size % u64::from(TILE_WIDTH);
        let bundle = match Bundle::at(size / u64::from(TILE_WIDTH), size) {
            Some(bundle) => restore_bundle(&bundle, levels.first(), source)?,
            None => Vec::new(),
        };
        let tiles = TileWriter { size, flushed: size, levels };
        Ok(Self { frontier, tiles, bundle, bundle_flushed: width, full: Vec::new(), pending_bytes: 0 })
    }

    /// Number of entries; the index of the next one.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root of all entries so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The frontier, to be stored or compared.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds an entry at index [`LogWriter::size`] and gives its leaf hash.
    ///
    /// # Errors
    /// [`TileError::EntryTooLong`], or [`TileError::PendingFull`] and [`TileError::Growth`] when too much waits for
    /// [`LogWriter::flush`]; nothing is added then, and a flush and a retry help with the last two.
    pub fn append(&mut self, entry: &[u8]) -> Result<Hash, TileError> {
        let pending = self.pending_bytes + entry.len();
        if pending > PENDING_BYTES_MAX {
            return Err(TileError::PendingFull(self.pending_bytes));
        }
        let kept = self.bundle.len();
        push_entry(&mut self.bundle, entry)?;
        let leaf = leaf_hash(entry);
        if let Err(error) = self.tiles.append(leaf) {
            self.bundle.truncate(kept);
            return Err(error);
        }
        self.frontier.append(leaf);
        self.pending_bytes = pending;
        let size = self.size();
        if size.is_multiple_of(u64::from(TILE_WIDTH)) {
            let bundle = Bundle::at(size / u64::from(TILE_WIDTH) - 1, size);
            let bytes = std::mem::take(&mut self.bundle);
            self.full.extend(bundle.map(|bundle| TileFile { path: bundle.path(), bytes, full: true }));
            self.bundle_flushed = 0;
        }
        Ok(leaf)
    }

    /// Gives every file that is new or wider since the last flush: entry bundles, then hash tiles. All must be stored
    /// before the checkpoint of this size is signed. Without new entries it gives nothing.
    pub fn flush(&mut self) -> Vec<TileFile> {
        let mut files = std::mem::take(&mut self.full);
        let width = self.size() % u64::from(TILE_WIDTH);
        if width > self.bundle_flushed {
            let bundle = Bundle::at(self.size() / u64::from(TILE_WIDTH), self.size());
            let bytes = self.bundle.clone();
            files.extend(bundle.map(|bundle| TileFile { path: bundle.path(), bytes, full: false }));
            self.bundle_flushed = width;
        }
        files.extend(self.tiles.flush());
        self.pending_bytes = 0;
        files
    }
}

fn required(read: Result<Option<Vec<u8>>, ReadError>, path: String) -> Result<Vec<u8>, TileError> {
    match read {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => {
            let source = ReadError::NoFile;
            Err(TileError::Read { path, source })
        }
        Err(source) => Err(TileError::Read { path, source }),
    }
}

/// Reads the partial bundle and checks it against the partial level 0 tile.
fn restore_bundle(bundle: &Bundle, leaves: Option<&Level>, source: &mut dyn TileSource) -> Result<Vec<u8>, TileError> {
    let bytes = required(bundle.fetch(source), bundle.path())?;
    let entries = bundle.parse_or_full(&bytes)?;
    let hashes = entries.iter().map(|entry| leaf_hash(entry));
    if !leaves.is_some_and(|level| hashes.eq(level.hashes.iter().copied())) {
        return Err(TileError::Inconsistent(bundle.path()));
    }
    let mut kept = Vec::new();
    for entry in entries {
        push_entry(&mut kept, entry)?;
    }
    Ok(kept)
}
