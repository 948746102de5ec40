//! audit.enriched to audit.frames and audit.events: decrypts and redacts.
