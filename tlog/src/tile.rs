//! The files of a tiled log: where they lie and what is in them.
//!
//! Layout of C2SP tlog-tiles (v0.1.0): `tile/<L>/<N>[.p/<W>]` hold 256 hashes of tree level 8 L, `tile/entries/<N>[.p/<W>]`
//! hold 256 entries, each with its length in front. Content is a function of the tree size alone, I-12: two writers
//! of the same size write the same bytes. Paths and bytes only; storing them is somebody else's work.

use std::collections::BTreeMap;

use crate::hash::{HASH_BYTES, Hash};
use crate::proof::{HashReader, ReadError};
use crate::tree::{TREE_SIZE_MAX, root_of};

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Bytes of a full hash tile.
pub const TILE_BYTES: usize = 8192;
/// Largest entry: its length is a 16-bit number.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Largest entry bundle: 256 of the largest entries with their lengths.
pub const BUNDLE_BYTES_MAX: usize = 256 * (ENTRY_BYTES_MAX + 2);
/// Most leaves that may be written as tiles in one go (32 MiB of leaf hashes).
pub const GROWTH_LEAVES_MAX: u64 = 1 << 20;
/// Where the newest checkpoint lies.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Why bytes are not the tile or bundle they should be, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// A hash tile of another length than its width asks for.
    #[error("parse tile `{path}`: {got} bytes where {expected} are needed")]
    TileLength {
        /// Path of the tile.
        path: String,
        /// Bytes given.
        got: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// An entry bundle that ends inside an entry, or holds fewer or more entries than its width.
    #[error("parse entry bundle: entry {entry} of {expected} at byte {offset}: {what}")]
    Bundle {
        /// Entry being read, from 0.
        entry: u16,
        /// Entries the bundle should hold.
        expected: u16,
        /// Byte offset of the fault.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// An entry of more than [`ENTRY_BYTES_MAX`] bytes.
    #[error("write entry: {0} bytes, at most {ENTRY_BYTES_MAX} fit")]
    EntryTooLong(usize),
    /// The tree would shrink, or grow by more than [`GROWTH_LEAVES_MAX`] between two flushes.
    #[error("write tiles from size {old} to size {new}: shrinks or grows too much")]
    Growth {
        /// Size already written.
        old: u64,
        /// Size asked for.
        new: u64,
    },
    /// Too much is waiting to be flushed.
    #[error("add entry to log: {0} bytes wait to be flushed")]
    PendingFull(usize),
    /// A stored file is needed and cannot be read.
    #[error("restore log writer: read `{path}`")]
    Read {
        /// Path of the file.
        path: String,
        /// What the store said.
        #[source]
        source: ReadError,
    },
    /// A node needed for a tile cannot be read.
    #[error("make tile `{path}`")]
    Node {
        /// Path of the tile.
        path: String,
        /// What the reader said.
        #[source]
        source: ReadError,
    },
    /// Stored files contradict each other: a hash tile against the tile above or against the entries.
    #[error("restore log writer: `{0}` does not fit the other tiles")]
    Inconsistent(String),
}

impl TileError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TileLength { .. } => "tile_length",
            Self::Bundle { .. } => "bundle",
            Self::EntryTooLong(_) => "entry_too_long",
            Self::Growth { .. } => "growth",
            Self::PendingFull(_) => "pending_full",
            Self::Read { .. } | Self::Node { .. } => "read",
            Self::Inconsistent(_) => "inconsistent",
        }
    }
}

/// Reads the files of a log by path. Implemented by every `FnMut(&str) -> Result<Option<Vec<u8>>, ReadError>`.
pub trait TileSource {
    /// The whole content, or `None` if there is no such file.
    ///
    /// # Errors
    /// [`ReadError::Store`] if the store fails; absence is not an error.
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, ReadError>;
}

impl<F: FnMut(&str) -> Result<Option<Vec<u8>>, ReadError>> TileSource for F {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self(path)
    }
}

/// Path where the checkpoint of this size is kept for ever: `checkpoints/<20 digits>`.
#[must_use]
pub fn checkpoint_path(size: u64) -> String {
    format!("checkpoints/{size:020}")
}

/// Encodes `index` in 3-digit elements (`1234067` is `x001/x234/067`) and adds `.p/<W>` for a partial width.
fn index_path(prefix: &str, index: u64, width: u16) -> String {
    let mut elements = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        elements.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    elements.reverse();
    let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
    format!("{prefix}/{}{partial}", elements.join("/"))
}

/// One hash tile: tile level, index within it, and width in hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile at this level (0..=7) and index in a log of `size` leaves; `None` if the log has no such tile.
    #[must_use]
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        if level > 7 || size > TREE_SIZE_MAX {
            return None;
        }
        let hashes = size >> (8 * u32::from(level));
        let left = hashes.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(left.min(u64::from(TILE_WIDTH))).ok()?;
        (width > 0).then_some(Self { level, index, width })
    }

    /// The tile from which the complete node at tree level `level` and `index` is read in a log of `size` leaves;
    /// `None` if the node is not complete at that size.
    #[must_use]
    pub fn holding(level: u8, index: u64, size: u64) -> Option<Self> {
        let below = 1_u64 << (level % 8);
        let end = index.checked_add(1)?.checked_mul(below)?;
        let tile = Self::at(level / 8, (index * below) / u64::from(TILE_WIDTH), size)?;
        (end <= tile.first() + u64::from(tile.width)).then_some(tile)
    }

    /// All tiles of a log of `size` leaves that are partial, lowest level first: at most 8.
    #[must_use]
    pub fn partials(size: u64) -> Vec<Self> {
        (0..8_u8)
            .filter_map(|level| Self::at(level, (size >> (8 * u32::from(level))) / u64::from(TILE_WIDTH), size))
            .collect()
    }

    /// Tile level: its hashes are nodes of tree level 8 * this.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Index within the level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Number of hashes, 1..=256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// True for 256 hashes: such a tile never changes again.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile of the same place, which a store may hold instead of a partial one.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self { level: self.level, index: self.index, width: TILE_WIDTH }
    }

    /// `tile/<L>/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(&self) -> String {
        index_path(&format!("tile/{}", self.level), self.index, self.width)
    }

    /// Index within the level of its first hash.
    const fn first(&self) -> u64 {
        self.index * TILE_WIDTH as u64
    }

    /// Reads the hashes. The bytes of the full tile are accepted for a partial one; only the first hashes count then.
    ///
    /// # Errors
    /// [`TileError::TileLength`] for any other length.
    pub fn parse(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        let expected = usize::from(self.width) * HASH_BYTES;
        if bytes.len() != expected && bytes.len() != TILE_BYTES {
            return Err(TileError::TileLength { path: self.path(), got: bytes.len(), expected });
        }
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        Ok(hashes.iter().take(usize::from(self.width)).copied().map(Hash::new).collect())
    }

    /// Reads this tile from a store, falling back to the full tile; `None` if neither is there.
    pub(crate) fn fetch(&self, source: &mut dyn TileSource) -> Result<Option<Vec<u8>>, ReadError> {
        fetch(source, &self.path(), &self.full().path())
    }
}

/// One entry bundle: index and number of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// The bundle with this index in a log of `size` entries; `None` if the log has no such bundle.
    #[must_use]
    pub fn at(index: u64, size: u64) -> Option<Self> {
        Tile::at(0, index, size).map(|tile| Self { index, width: tile.width })
    }

    /// The bundle that holds entry `entry` in a log of `size` entries.
    #[must_use]
    pub fn holding(entry: u64, size: u64) -> Option<Self> {
        (entry < size).then(|| Self::at(entry / u64::from(TILE_WIDTH), size)).flatten()
    }

    /// Index of the bundle; its first entry is 256 times this.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Number of entries, 1..=256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// True for 256 entries.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full bundle of the same place.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self { index: self.index, width: TILE_WIDTH }
    }

    /// `tile/entries/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(&self) -> String {
        index_path("tile/entries", self.index, self.width)
    }

    /// Reads the entries, borrowed from `bytes`, strictly: exactly [`Bundle::width`] of them, no byte left.
    ///
    /// # Errors
    /// [`TileError::Bundle`] with the place.
    pub fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, TileError> {
        parse_bundle(bytes, self.width)
    }

    /// Reads this bundle from a store, falling back to the full bundle; `None` if neither is there.
    pub(crate) fn fetch(&self, source: &mut dyn TileSource) -> Result<Option<Vec<u8>>, ReadError> {
        fetch(source, &self.path(), &self.full().path())
    }

    /// As [`Bundle::parse`], but the bytes may also be those of the full bundle (all 256 entries must be well formed).
    pub(crate) fn parse_or_full<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, TileError> {
        self.parse(bytes).or_else(|error| {
            let mut entries = parse_bundle(bytes, TILE_WIDTH).map_err(|_| error)?;
            entries.truncate(usize::from(self.width));
            Ok(entries)
        })
    }
}

fn fetch(source: &mut dyn TileSource, path: &str, full: &str) -> Result<Option<Vec<u8>>, ReadError> {
    match source.read(path)? {
        None if path != full => source.read(full),
        found => Ok(found),
    }
}

/// Reads exactly `count` entries (at most 256) of a bundle; each is a u16 big-endian length and that many bytes.
///
/// # Errors
/// [`TileError::Bundle`] if the bytes end early, or go on after the last entry.
pub fn parse_bundle(bytes: &[u8], count: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(usize::from(count.min(TILE_WIDTH)));
    for entry in 0..count {
        let fault =
            |rest: &[u8], what| TileError::Bundle { entry, expected: count, offset: bytes.len() - rest.len(), what };
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(|| fault(rest, "no length"))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (data, after) = after.split_at_checked(length).ok_or_else(|| fault(rest, "ends inside the entry"))?;
        entries.push(data);
        rest = after;
    }
    if rest.is_empty() {
        return Ok(entries);
    }
    let offset = bytes.len() - rest.len();
    Err(TileError::Bundle { entry: count, expected: count, offset, what: "bytes after the last entry" })
}

/// Appends one entry with its length to the bytes of a bundle.
///
/// # Errors
/// [`TileError::EntryTooLong`]; nothing is appended then.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// A file to write: its path under the log's prefix and its whole content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileFile {
    /// Path, without a leading slash.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// True if it never changes again (to the locked bucket); false for a partial one.
    pub full: bool,
}

impl TileFile {
    pub(crate) fn of_hashes(tile: &Tile, hashes: &[Hash]) -> Self {
        let mut bytes = Vec::with_capacity(hashes.len() * HASH_BYTES);
        for hash in hashes {
            bytes.extend_from_slice(hash.as_bytes());
        }
        Self { path: tile.path(), bytes, full: tile.is_full() }
    }
}

/// The hash tiles that must be written when the log grows from `old` to `new` leaves, lowest level first. Pure: the same
/// sizes and tree give the same files. Empty if the sizes are equal.
///
/// # Errors
/// [`TileError::Growth`] if `new < old`, above 2^63 - 1, or more than [`GROWTH_LEAVES_MAX`] apart; [`TileError::Node`].
pub fn tiles_to_write(old: u64, new: u64, reader: &dyn HashReader) -> Result<Vec<TileFile>, TileError> {
    if new < old || new > TREE_SIZE_MAX || new - old > GROWTH_LEAVES_MAX {
        return Err(TileError::Growth { old, new });
    }
    let mut files = Vec::new();
    for level in 0..8_u8 {
        let shift = 8 * u32::from(level);
        if old >> shift == new >> shift {
            break;
        }
        let mut index = (old >> shift) / u64::from(TILE_WIDTH);
        while let Some(tile) = Tile::at(level, index, new) {
            let hashes = (tile.first()..tile.first() + u64::from(tile.width))
                .map(|node| reader.node(8 * level, node))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| TileError::Node { path: tile.path(), source })?;
            files.push(TileFile::of_hashes(&tile, &hashes));
            index += 1;
        }
    }
    Ok(files)
}

/// Tiles held in memory as a [`HashReader`] for one log size. Holds what the caller puts in: for one proof at most
/// about 16 tiles. It does not check them; a proof made from wrong tiles fails its check.
#[derive(Debug, Clone)]
pub struct TileMap {
    size: u64,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl TileMap {
    /// An empty map for a log of `size` leaves.
    #[must_use]
    pub const fn new(size: u64) -> Self {
        Self { size, tiles: BTreeMap::new() }
    }

    /// Adds the content of a tile (or of the full tile in its place).
    ///
    /// # Errors
    /// [`TileError::TileLength`].
    pub fn insert(&mut self, tile: &Tile, bytes: &[u8]) -> Result<(), TileError> {
        self.tiles.insert((tile.level, tile.index), tile.parse(bytes)?);
        Ok(())
    }

    /// Reads these tiles from a source; a tile that is not there is left out and shows as missing later.
    ///
    /// # Errors
    /// [`TileError::Read`] if the store fails, [`TileError::TileLength`].
    pub fn load(size: u64, tiles: &[Tile], source: &mut dyn TileSource) -> Result<Self, TileError> {
        let mut map = Self::new(size);
        for tile in tiles {
            let read = tile.fetch(source).map_err(|source| TileError::Read { path: tile.path(), source })?;
            if let Some(bytes) = read {
                map.insert(tile, &bytes)?;
            }
        }
        Ok(map)
    }
}

impl HashReader for TileMap {
    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError> {
        let missing = || ReadError::Missing { level, index };
        let tile = Tile::holding(level, index, self.size).ok_or_else(missing)?;
        let hashes = self.tiles.get(&(tile.level, tile.index)).ok_or_else(missing)?;
        let width = 1_usize << (level % 8);
        let first = usize::try_from((index << (level % 8)) - tile.first()).map_err(|_| missing())?;
        Ok(root_of(hashes.get(first..first + width).ok_or_else(missing)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_specification() {
        let path = |level, index, size| Tile::at(level, index, size).unwrap().path();
        // The example of tlog-tiles: 273 full level 0 tiles, a partial of 112; one full level 1, a partial of 17; 1 above.
        assert_eq!(path(0, 272, 70_000), "tile/0/272");
        assert_eq!(path(0, 273, 70_000), "tile/0/273.p/112");
        assert_eq!(path(1, 0, 70_000), "tile/1/000");
        assert_eq!(path(1, 1, 70_000), "tile/1/001.p/17");
        assert_eq!(path(2, 0, 70_000), "tile/2/000.p/1");
        assert_eq!(Tile::at(0, 274, 70_000), None);
        assert_eq!(Tile::at(3, 0, 70_000), None);
        assert_eq!(Tile::partials(70_000).len(), 3);
        assert_eq!(Tile::partials(256).iter().map(Tile::path).collect::<Vec<_>>(), ["tile/1/000.p/1"]);
        assert_eq!(path(0, 1_234_067, 1 << 40), "tile/0/x001/x234/067");
        assert_eq!(Bundle::at(1_234_067, 1_234_067 * 256 + 8).unwrap().path(), "tile/entries/x001/x234/067.p/8");
        assert_eq!(Bundle::at(0, 256).unwrap().path(), "tile/entries/000");
        assert_eq!(Bundle::holding(256, 256), None);
        assert_eq!(checkpoint_path(42), "checkpoints/00000000000000000042");
    }

    #[test]
    fn extreme_coordinates_do_not_overflow() {
        assert_eq!(Tile::at(0, u64::MAX, TREE_SIZE_MAX), None);
        assert_eq!(Tile::at(8, 0, TREE_SIZE_MAX), None);
        assert_eq!(Tile::at(0, 0, u64::MAX), None);
        assert_eq!(Tile::holding(63, u64::MAX, TREE_SIZE_MAX), None);
        assert_eq!(Tile::holding(255, 0, TREE_SIZE_MAX), None);
        assert!(Tile::holding(62, 0, TREE_SIZE_MAX).is_some());
    }

    #[test]
    fn bundles_are_read_strictly() {
        let mut bytes = Vec::new();
        push_entry(&mut bytes, b"abc").unwrap();
        push_entry(&mut bytes, b"").unwrap();
        assert_eq!(bytes, b"\x00\x03abc\x00\x00");
        assert_eq!(parse_bundle(&bytes, 2).unwrap(), [&b"abc"[..], b""]);
        assert!(parse_bundle(&bytes, 1).is_err(), "extra");
        assert!(parse_bundle(&bytes, 3).is_err(), "short");
        assert!(parse_bundle(&bytes[..bytes.len() - 1], 2).is_err(), "truncated");
        assert!(parse_bundle(&[], 0).unwrap().is_empty());
        assert!(matches!(push_entry(&mut bytes, &[0; 65_536]), Err(TileError::EntryTooLong(65_536))));
        assert_eq!(bytes.len(), 7, "nothing appended");
        push_entry(&mut bytes, &[0; 65_535]).unwrap();
    }

    #[test]
    fn tiles_are_read_strictly() {
        let tile = Tile::at(0, 0, 3).unwrap();
        assert_eq!(tile.parse(&[7; 96]).unwrap(), vec![Hash::new([7; 32]); 3]);
        assert_eq!(tile.parse(&[7; TILE_BYTES]).unwrap().len(), 3, "the full tile may stand in");
        for length in [0, 32, 95, 97, 128, TILE_BYTES + 32] {
            assert!(matches!(tile.parse(&vec![7; length]), Err(TileError::TileLength { .. })), "{length}");
        }
    }
}
