//! What the sealer counts; called once per batch or publication, never per record.

use stage::metrics::{counter, gauge};

use crate::witness::Outcome;

/// A seal was proposed over `records` records.
pub(crate) fn proposed(records: i64) {
    counter("sealer_proposed_seals_total", "Seals proposed, heartbeats included.", &[]).add(1);
    let records = u64::try_from(records).unwrap_or(0);
    counter("sealer_sealed_records_total", "Records in proposed seals.", &[]).add(records);
}

/// The notary answered a proposal.
pub(crate) fn answered(accepted: bool) {
    if accepted {
        counter("sealer_accepted_entries_total", "Proposals taken into the log.", &[]).add(1);
    } else {
        counter("sealer_refused_proposals_total", "Proposals that did not continue their stream.", &[]).add(1);
    }
}

/// A head of `size` entries was published at `now_ms`.
pub(crate) fn published(size: u64, now_ms: i64) {
    gauge("sealer_log_entries", "Entries of the published log.", &[]).set(i64::try_from(size).unwrap_or(i64::MAX));
    gauge("sealer_published_at_ms", "When the newest head was published, milliseconds since epoch.", &[]).set(now_ms);
}

/// The secret of an epoch that is over could not be erased.
pub(crate) fn not_erased() {
    counter("sealer_keys_not_erased_total", "Secrets of closed epochs that could not be erased.", &[]).add(1);
}

/// The key epoch in force.
pub(crate) fn epoch(number: i64) {
    gauge("sealer_key_epoch", "Number of the key epoch in force.", &[]).set(number);
}

/// A witness was asked.
pub(crate) fn witness(outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Cosigned => "cosigned",
        Outcome::Refused => "refused",
        Outcome::Failed => "failed",
    };
    counter("sealer_witness_answers_total", "Answers of witnesses.", &[("outcome", outcome)]).add(1);
}

/// The newest head has the quorum of witnesses, or not.
pub(crate) fn quorum(met: bool) {
    gauge("sealer_quorum_met", "1 when the newest head has the quorum of witnesses.", &[]).set(i64::from(met));
}
