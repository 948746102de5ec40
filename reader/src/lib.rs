//! Object store to rows and proofs, read only.
