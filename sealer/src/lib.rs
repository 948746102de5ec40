//! audit.frames and audit.events to audit.seals: leaves, batches, seals, the log.
