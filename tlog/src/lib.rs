//! RFC 6962 trees, proofs, tiles, signed notes and checkpoints; verifies, never signs.
