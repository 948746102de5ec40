//! RFC 6962 trees, proofs, tiles, signed notes and checkpoints; verifies, never signs.
//!
//! Pure maths: no I/O, no clock, no async, no other crate of this workspace. Whoever stores a file or holds a key is
//! somebody else; this crate says which bytes go where, and whether bytes that were found are the right ones.
//! Invariants kept here: I-08 (archived rows hash to their leaves), I-09 (one text per size), I-10 (limits are the
//! `*_MAX` constants), I-12 (same input, same bytes), I-13 (dense leaf index), I-14 (consistent checkpoints).
//!
//! | who | needs | starts with |
//! |---|---|---|
//! | sealer, worker | batch root | [`LeafHasher`] or [`leaf_hash`], [`Frontier`] |
//! | sealer, notary | log files, root, note | [`LogWriter`], [`Checkpoint`], [`NoteSignature`], [`seal_signed_bytes`] |
//! | archiver | rows equal the seal; 256-row hashes | [`hash_leaves`], [`BatchTree::group_hashes`] |
//! | reader | paths and proofs | [`BatchTree::inclusion_path`], [`inclusion_tiles`], [`TileMap`], [`inclusion_proof`] |
//! | verify, keys | what the root key says | [`Policy`], [`WitnessPolicy`] |
//! | verify | everything checked | [`Checkpoint::open`], [`fsck()`], [`verify_inclusion`], [`verify_consistency`] |
//! | prove | files for other tools | [`EntryProof`], [`EventExtra`], [`ConsistencyFile`] |
//!
//! ```
//! use tlog::{Checkpoint, EMPTY_ROOT, LogWriter, TileMap, inclusion_proof, inclusion_tiles, leaf_hash, verify_inclusion};
//! # use std::collections::BTreeMap;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Sealer: entries in, files out. All files are stored before the checkpoint text is signed.
//! let mut log = LogWriter::new();
//! assert_eq!(log.root(), EMPTY_ROOT);
//! for number in 0..300_u32 {
//!     log.append(&number.to_be_bytes())?;
//! }
//! let store: BTreeMap<String, Vec<u8>> = log.flush().into_iter().map(|file| (file.path, file.bytes)).collect();
//! assert!(store.contains_key("tile/0/001.p/44"));
//! let head = Checkpoint::new("audit.example.com/prod", log.size(), log.root())?;
//! let _text_to_sign: String = head.to_string();
//!
//! // Reader: ask which tiles a proof needs, fetch them, prove.
//! let mut map = TileMap::new(head.size());
//! for tile in inclusion_tiles(17, head.size())? {
//!     map.insert(&tile, &store[&tile.path()])?;
//! }
//! let path = inclusion_proof(17, head.size(), &map)?;
//!
//! // Verify: only the entry, the path and the (opened) checkpoint.
//! verify_inclusion(&leaf_hash(&17_u32.to_be_bytes()), 17, head.size(), &path, head.root())?;
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
pub mod fsck;
pub mod hash;
pub mod lanes;
pub mod note;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod quorum;
pub mod tile;
pub mod tree;
pub mod writer;

pub use checkpoint::{Checkpoint, CheckpointError, Opened};
pub use fsck::{Finding, FsckError, FsckReport, fsck, fsck_store};
pub use hash::Hash;
pub use lanes::leaf_hashes;
pub use note::{
    KeyKind, Note, NoteError, NoteSignature, Verified, VerifiedSignature, VerifierKey, cosignature_signed_bytes,
    key_id, seal_signed_bytes,
};
pub use policy::{ExpectedTopic, POLICY_PATH, Policy, Revocation, policy_path};
pub use proof::{
    HashReader, ProofError, ReadError, consistency_proof, consistency_tiles, inclusion_proof, inclusion_tiles, root_at,
    root_from_inclusion, root_tiles, verify_consistency, verify_inclusion,
};
pub use proof_file::{ConsistencyFile, EntryProof, EventExtra, ProofFileError};
pub use quorum::{Group, PolicyError, Witness, WitnessPolicy};
pub use tile::{
    Bundle, CHECKPOINT_PATH, ENTRY_BYTES_MAX, Tile, TileError, TileFile, TileMap, TileSource, checkpoint_path,
    parse_bundle, push_entry, tiles_to_write,
};
pub use tree::{
    BatchProofs, BatchTree, EMPTY_ROOT, Frontier, LeafHasher, TreeError, hash_leaves, leaf_hash, leaf_hash_parts,
    node_hash, root_of,
};
pub use writer::{LogWriter, TileWriter};
