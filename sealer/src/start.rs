//! Config to running sealer.
