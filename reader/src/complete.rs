//! Were all records archived that the proxy made? Sequences are dense per session; their gaps were never sealed.
//!
//! No seal can prove what never reached the bus; the proxy's own counting can. Bounded by [`RUNS_MAX`].

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array as _, Int64Array, StringArray};
use schemas::layout::{Table, parse_object_name};
use serde::Serialize;

use crate::fetch::{ObjectError, ObjectRows};
use crate::{Archive, ReadError};

/// Most runs of neighbouring sequences kept, over all sessions.
pub const RUNS_MAX: usize = 20_000_000;
/// Most gaps listed; the rest is counted.
pub const GAPS_MAX: usize = 10_000;

/// Records of one session that are in no object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Session.
    pub session_id: String,
    /// First sequence missing.
    pub first: i64,
    /// Last sequence missing; at the end of a closed session, by its own count.
    pub last: i64,
}

/// What the sessions of an archive come to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Completeness {
    /// Sessions with at least one record.
    pub sessions: u64,
    /// Sessions without a record that says how many there were: open, or ended by a crash.
    pub unended: u64,
    /// Records found, repeats once.
    pub records: u64,
    /// Gaps, by session.
    pub gaps: Vec<Gap>,
    /// Gaps beyond [`GAPS_MAX`].
    pub gaps_dropped: u64,
}

impl Completeness {
    /// No session lacks a record between its first and its last, or its counted end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }
}

#[derive(Default)]
struct Session {
    /// First to last of each run of neighbours.
    runs: BTreeMap<i64, i64>,
    count: Option<i64>,
}

impl Session {
    /// Adds a sequence; the change in the number of runs.
    fn add(&mut self, sequence: i64) -> isize {
        let before = self.runs.range(..=sequence).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= sequence) {
            return 0;
        }
        let first = before.filter(|(_, last)| *last + 1 == sequence).map_or(sequence, |(first, _)| first);
        let joined = self.runs.remove(&sequence.saturating_add(1));
        let last = joined.unwrap_or(sequence);
        let grown = first != sequence;
        self.runs.insert(first, last);
        1 - isize::from(grown) - isize::from(joined.is_some())
    }
}

/// Counts the records of every session.
///
/// # Errors
/// [`ReadError`]; [`ReadError::TooLarge`] above [`RUNS_MAX`].
pub fn completeness(archive: &Archive) -> Result<Completeness, ReadError> {
    let mut sessions: HashMap<String, Session> = HashMap::new();
    let mut runs: isize = 0;
    for table in Table::ALL {
        let names: &[&str] = match table {
            Table::Events => &["session_id", "sequence", "record_count"],
            Table::Frames => &["session_id", "sequence"],
        };
        for name in archive.list(table.as_str())?.iter().filter(|name| parse_object_name(name).is_some()) {
            let failed = |source: ObjectError| ReadError::Object { name: name.clone(), source };
            let object = ObjectRows::open(table, archive.get(name)?).map_err(failed)?;
            for group in 0..object.row_groups() {
                for batch in object.columns(group, names).map_err(failed)? {
                    let batch = batch.map_err(|error| failed(error.into()))?;
                    let column = |name: &str| batch.column_by_name(name).map(|column| column.as_any());
                    let ids = column("session_id").and_then(|column| column.downcast_ref::<StringArray>());
                    let longs = |name: &str| column(name).and_then(|column| column.downcast_ref::<Int64Array>());
                    let (Some(ids), Some(sequences)) = (ids, longs("sequence")) else {
                        return Err(failed(ObjectError::NoGroup { group }));
                    };
                    let counts = longs("record_count");
                    for row in (0..batch.num_rows()).filter(|row| !ids.is_null(*row) && !sequences.is_null(*row)) {
                        if !sessions.contains_key(ids.value(row)) {
                            sessions.insert(ids.value(row).to_owned(), Session::default());
                        }
                        let Some(session) = sessions.get_mut(ids.value(row)) else { continue };
                        runs += session.add(sequences.value(row));
                        session.count = counts
                            .filter(|counts| !counts.is_null(row))
                            .map(|counts| counts.value(row))
                            .or(session.count);
                    }
                }
            }
            if usize::try_from(runs).unwrap_or(0) > RUNS_MAX {
                let limit = u64::try_from(RUNS_MAX).unwrap_or(u64::MAX);
                return Err(ReadError::TooLarge { name: name.clone(), limit, unit: "runs of sequences" });
            }
        }
    }
    Ok(sum(sessions))
}

fn sum(sessions: HashMap<String, Session>) -> Completeness {
    let mut sessions: Vec<(String, Session)> = sessions.into_iter().collect();
    sessions.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out =
        Completeness { sessions: u64::try_from(sessions.len()).unwrap_or(u64::MAX), ..Completeness::default() };
    for (session_id, session) in sessions {
        out.unended += u64::from(session.count.is_none());
        let end = session.count.unwrap_or(0);
        let mut next = 0;
        for (first, last) in session.runs.into_iter().chain([(end, end - 1)]) {
            if first > next {
                if out.gaps.len() < GAPS_MAX {
                    out.gaps.push(Gap { session_id: session_id.clone(), first: next, last: first - 1 });
                } else {
                    out.gaps_dropped += 1;
                }
            }
            out.records += u64::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
            next = next.max(last.saturating_add(1));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_a_missing_end_are_found() {
        let mut one = Session::default();
        let runs: isize = [0, 1, 5, 3, 2, 2, 9, 8].map(|sequence| one.add(sequence)).iter().sum();
        assert_eq!((runs, one.runs.len()), (3, 3));
        one.count = Some(12);
        let mut two = Session::default();
        two.add(0);
        let sum = sum(HashMap::from([("a".to_owned(), one), ("b".to_owned(), two)]));
        let gaps: Vec<_> = sum.gaps.iter().map(|gap| (gap.session_id.as_str(), gap.first, gap.last)).collect();
        assert_eq!(gaps, [("a", 4, 4), ("a", 6, 7), ("a", 10, 11)]);
        assert_eq!((sum.sessions, sum.unended, sum.records, sum.is_whole()), (2, 1, 8, false));
    }
}
