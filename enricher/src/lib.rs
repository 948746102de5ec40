//! audit.raw to audit.enriched: principal, target, network context.
