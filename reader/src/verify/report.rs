//! What a verification says: findings, streams, outcome. Serialisable for machines, every finding kept.

use serde::Serialize;

/// Most findings kept; the rest is counted in [`Report::findings_dropped`].
pub const FINDINGS_MAX: usize = 10_000;

/// One fault, with the code and words of the integrity reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `T01`…`T30`.
    pub code: &'static str,
    /// Where: `audit.events/17 seal 123`, `log`, `log entry 7`, an object name.
    pub place: String,
    /// What is wrong.
    pub text: String,
    /// The object concerned.
    pub object: Option<String>,
    /// First and last row concerned, counted from 0 within the sealed batch (or the row group, where no seal covers it).
    pub rows: Option<(i64, i64)>,
}

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything fits, and an anchor says how long the log must be.
    Proven,
    /// At least one finding.
    Tampered,
    /// Nothing is wrong, but not everything can be known: the tail has no anchor, or seals wait for their object.
    Incomplete,
    /// The log is not signed by a key of the caller's.
    PolicyNotMet,
}

impl Outcome {
    /// Exit code: 0 proven, 1 tampered, 3 incomplete, 4 policy not met (2 is for what could not be read).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Tampered => 1,
            Self::Incomplete => 3,
            Self::PolicyNotMet => 4,
        }
    }
}

/// One stream, as its seals say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// Stream id, hexadecimal.
    pub stream_id: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Seals in the log, heartbeats too.
    pub seals: i64,
    /// Sealed events.
    pub events: i64,
    /// First sealed offset; -1 before the first.
    pub first_offset: i64,
    /// Last sealed offset; -1 before the first.
    pub last_offset: i64,
    /// Offsets between them that carry no record (transaction marks and the like).
    pub empty_offsets: i64,
    /// Newest seals whose object is not due yet, see `Options::archive_lag_s`.
    pub waiting_seals: i64,
}

/// The result of [`super::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Log origin.
    pub origin: String,
    /// Tree size of the checkpoint.
    pub size: u64,
    /// Root of the checkpoint, hexadecimal; empty without a readable checkpoint.
    pub root: String,
    /// Entries read and hashed.
    pub entries: u64,
    /// Every stream of the log, by topic and partition.
    pub streams: Vec<StreamSummary>,
    /// Everything that is wrong, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub findings_dropped: u64,
    /// What is not wrong, but should be known.
    pub notes: Vec<String>,
    /// A pin or a fresh newest seal says that the tail is whole.
    pub anchored: bool,
    /// Seconds from the newest seal to the caller's time; `None` without one.
    pub tail_age_s: Option<i64>,
    /// Objects read under the two tables.
    pub objects: u64,
    /// Rows hashed.
    pub rows: u64,
    /// Bytes of those objects.
    pub bytes: u64,
    /// What it comes to.
    pub outcome: Outcome,
    /// Exit code of it.
    pub exit_code: u8,
}

/// Collects findings up to [`FINDINGS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    pub(crate) dropped: u64,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn add(&mut self, code: &'static str, place: impl Into<String>, text: impl Into<String>) {
        self.push(Finding { code, place: place.into(), text: text.into(), object: None, rows: None });
    }

    /// A finding about an object.
    pub(crate) fn object(&mut self, code: &'static str, place: impl Into<String>, text: impl Into<String>, name: &str) {
        let object = Some(name.to_owned());
        self.push(Finding { code, place: place.into(), text: text.into(), object, rows: None });
    }

    /// A finding about rows of an object.
    pub(crate) fn rows(&mut self, code: &'static str, place: String, text: String, name: &str, rows: (i64, i64)) {
        self.push(Finding { code, place, text, object: Some(name.to_owned()), rows: Some(rows) });
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.dropped += other.dropped;
        other.list.into_iter().for_each(|finding| self.push(finding));
    }

    /// Log first, then objects by name and row: the same archive gives the same report.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by(|a, b| (&a.object, a.rows, a.code).cmp(&(&b.object, b.rows, b.code)));
    }

    /// The outcome of these findings. A log that no key of the caller's signed is a matter of policy as long as
    /// nothing else is wrong; everything else found is tampering.
    pub(crate) fn outcome(&self, anchored: bool, waiting: bool) -> Outcome {
        let policy = |finding: &Finding| matches!(finding.code, "T12" | "T18");
        if self.dropped > 0 || self.list.iter().any(|finding| !policy(finding)) {
            Outcome::Tampered
        } else if !self.list.is_empty() {
            Outcome::PolicyNotMet
        } else if anchored && !waiting {
            Outcome::Proven
        } else {
            Outcome::Incomplete
        }
    }
}

/// `1,048,577`: digits in groups of three.
#[must_use]
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_have_a_limit_and_decide_the_outcome() {
        let mut findings = Findings::default();
        assert_eq!(findings.outcome(true, false), Outcome::Proven);
        assert_eq!(findings.outcome(true, true), Outcome::Incomplete);
        assert_eq!(findings.outcome(false, false), Outcome::Incomplete);
        findings.add("T12", "log", "wrong origin");
        assert_eq!(findings.outcome(true, false).exit_code(), 4);
        for _ in 0..FINDINGS_MAX + 3 {
            findings.add("T06", "x", "gone");
        }
        assert_eq!((findings.list.len(), findings.dropped), (FINDINGS_MAX, 4));
        assert_eq!(findings.outcome(true, false).exit_code(), 1);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"].map(str::to_owned));
    }
}
