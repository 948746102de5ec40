//! The log's entries as they are stored, each bundle proven against the locked root before a byte of it is used.

use std::collections::{BTreeMap, HashMap};

use schemas::entry::{Entry, TAG_HEADS, TAG_KEY};
use tlog::{
    Bundle, Hash, ReadError, Tile, TileMap, VerifierKey, inclusion_proof, inclusion_tiles, leaf_hash, verify_inclusion,
};

use crate::error::NotaryError;
use crate::store::LogStore;

/// Entries per bundle (tlog-tiles).
const BUNDLE_ENTRIES: u64 = 256;
/// Bundles kept between looking back for HEADS and reading forward again; the distance is bounded by it for every log
/// whose HEADS are where they belong.
const BUNDLES_KEPT: usize = 64;

/// Where a restart begins to read.
#[derive(Debug)]
pub(crate) struct Start {
    /// First entry to replay: part 0 of the newest complete HEADS, or 0.
    pub(crate) index: u64,
    /// Key of the newest epoch named from there on; `None` when the log is of epoch 0 and too short to say so.
    pub(crate) key: Option<VerifierKey>,
}

/// A reader of one log size.
pub(crate) struct Stored<'a> {
    store: &'a dyn LogStore,
    size: u64,
    root: Hash,
    bundles: BTreeMap<u64, Vec<Vec<u8>>>,
    tiles: HashMap<String, Vec<u8>>,
}

impl<'a> Stored<'a> {
    /// A reader of the log of this size and root.
    pub(crate) fn new(store: &'a dyn LogStore, size: u64, root: Hash) -> Self {
        Self { store, size, root, bundles: BTreeMap::new(), tiles: HashMap::new() }
    }

    /// Looks back for the newest HEADS of which every part is in the log.
    ///
    /// # Errors
    /// [`NotaryError::ForkGuard`] for entries that are missing, malformed or not those of the root; [`NotaryError::Store`].
    pub(crate) fn start(&mut self) -> Result<Start, NotaryError> {
        let (mut key, size) = (None, self.size);
        for number in (0..self.size.div_ceil(BUNDLE_ENTRIES)).rev() {
            let entries = self.bundle(number)?;
            for (offset, entry) in entries.iter().enumerate().rev() {
                let index = number * BUNDLE_ENTRIES + u64::try_from(offset).unwrap_or(0);
                if !matches!(entry.first(), Some(&(TAG_HEADS | TAG_KEY))) {
                    continue;
                }
                let decoded = Entry::decode(entry)
                    .map_err(|error| NotaryError::fork(format!("stored log entry {index} is unreadable: {error}")))?;
                let vkey = match &decoded {
                    Entry::Heads(part) => Some(&part.vkey),
                    Entry::Key(key) => Some(&key.vkey),
                    _ => None,
                };
                key = key.or_else(|| vkey.and_then(|vkey| VerifierKey::parse(vkey).ok()));
                if let Entry::Heads(part) = decoded
                    && part.part == 0
                    && u64::try_from(part.parts).is_ok_and(|parts| index + parts <= size)
                {
                    return Ok(Start { index, key });
                }
            }
        }
        Ok(Start { index: 0, key })
    }

    /// Calls `take` with each entry from index `from` on.
    ///
    /// # Errors
    /// As [`Stored::start`]; what `take` says.
    pub(crate) fn for_each(
        &mut self,
        from: u64,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), NotaryError>,
    ) -> Result<(), NotaryError> {
        let mut index = from;
        while index < self.size {
            let number = index / BUNDLE_ENTRIES;
            let entries = self.bundle(number)?;
            let skip = usize::try_from(index % BUNDLE_ENTRIES).unwrap_or(0);
            for entry in entries.iter().skip(skip) {
                take(index, entry)?;
                index += 1;
            }
            self.bundles.remove(&number);
        }
        Ok(())
    }

    /// The entries of a bundle, read once as long as it is kept.
    fn bundle(&mut self, number: u64) -> Result<&[Vec<u8>], NotaryError> {
        if !self.bundles.contains_key(&number) {
            let entries = self.read(number)?;
            if self.bundles.len() >= BUNDLES_KEPT {
                self.bundles.pop_last();
            }
            self.bundles.insert(number, entries);
        }
        Ok(self.bundles.get(&number).map(Vec::as_slice).unwrap_or_default())
    }

    fn read(&mut self, number: u64) -> Result<Vec<Vec<u8>>, NotaryError> {
        let bundle = Bundle::at(number, self.size)
            .ok_or_else(|| NotaryError::fork(format!("entry {} has no bundle", number * BUNDLE_ENTRIES)))?;
        let path = bundle.path();
        let bytes = match self.store.read(&path)? {
            None if !bundle.is_full() => self.store.read(&bundle.full().path())?,
            found => found,
        };
        let bytes = bytes.ok_or_else(|| NotaryError::fork(format!("entry bundle `{path}` is missing")))?;
        let parsed = bundle.parse(&bytes).or_else(|error| bundle.full().parse(&bytes).map_err(|_| error));
        let mut entries: Vec<Vec<u8>> = parsed.map_err(NotaryError::Log)?.into_iter().map(<[u8]>::to_vec).collect();
        entries.truncate(usize::from(bundle.width()));
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut failed = None;
        if let Err(what) = self.prove(number * BUNDLE_ENTRIES, &leaves, &mut failed) {
            return Err(failed.unwrap_or_else(|| {
                NotaryError::fork(format!("entry bundle `{path}` is not that of the locked root: {what}"))
            }));
        }
        Ok(entries)
    }

    /// Proves all leaves of a bundle at once: the path of the first one is made from the others' hashes. A failure of the
    /// store is left in `failed`.
    fn prove(&mut self, first: u64, leaves: &[Hash], failed: &mut Option<NotaryError>) -> Result<(), String> {
        let leaf = leaves.first().ok_or("it holds no entry")?;
        let own = Tile::holding(0, first, self.size).map(|tile| tile.path()).ok_or("it has no tile")?;
        let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        let (store, cached) = (self.store, &mut self.tiles);
        let mut source = |path: &str| {
            if path == own {
                return Ok(Some(hashes.clone()));
            }
            if let Some(bytes) = cached.get(path) {
                return Ok(Some(bytes.clone()));
            }
            let bytes = store.read(path).map_err(|error| {
                let source = ReadError::Store(error.to_string().into());
                *failed = Some(error);
                source
            })?;
            if let Some(bytes) = &bytes {
                cached.insert(path.to_owned(), bytes.clone());
            }
            Ok(bytes)
        };
        let tiles = inclusion_tiles(first, self.size).map_err(|error| error.to_string())?;
        let map = TileMap::load(self.size, &tiles, &mut source).map_err(|error| error.to_string())?;
        let proof = inclusion_proof(first, self.size, &map).map_err(|error| error.to_string())?;
        verify_inclusion(leaf, first, self.size, &proof, &self.root).map_err(|error| error.to_string())
    }
}
