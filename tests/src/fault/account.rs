//! The accountant: what must be true of everything that was recorded, as pure functions of it.
//!
//! | figure | what counts |
//! |---|---|
//! | `unrecorded` | a statement in Postgres' log, or a step of its counters, that no archived request holds (I-01) |
//! | `lost` | a record of `audit.raw` neither archived nor in `audit.dlq` (I-04); a number missing in a session or at its end (I-02); a record of a sealed topic that is not archived; one that stands after a later one of its session (I-03) |
//! | `twice` | a place in a session archived twice or held by two records, a record archived that was never raw, a request or an execution of one statement twice (I-04) |
//! | `unsealed` | each finding of `sealtrail verify`, each sealed-topic record beyond its stream's last seal, and a verdict other than proven (I-08) |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::witness::counted;

/// Most places that are named per figure; all are counted.
const NAMED_MAX: usize = 10;

/// Session id and sequence: a record's place.
pub type Place = ([u8; 16], i64);

/// One record, as far as the accountant needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Topic or table: `raw`, `frames` or `events`.
    pub table: &'static str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Session.
    pub session: [u8; 16],
    /// Number in it.
    pub sequence: i64,
    /// The record's own id.
    pub event_id: [u8; 16],
    /// Marks of a request towards the target, in clear only in frames.
    pub marks: Vec<String>,
    /// Records of the session, when this is its end.
    pub end: Option<i64>,
}

impl Row {
    /// Its place.
    #[must_use]
    pub fn place(&self) -> Place {
        (self.session, self.sequence)
    }
}

/// What bus and archive hold.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Committed records of `audit.raw`, repeats and all.
    pub raw: Vec<Row>,
    /// Committed records of `audit.frames` and `audit.events`.
    pub sealed_topics: Vec<Row>,
    /// Rows of the archive.
    pub archived: Vec<Row>,
    /// Places in `audit.dlq`.
    pub dead: Vec<Place>,
}

/// What `sealtrail verify` said.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Findings, as code and place.
    pub findings: Vec<String>,
    /// Last sealed offset by table and partition.
    pub sealed_to: BTreeMap<(String, i32), i64>,
}

/// What Postgres says, and what the clients were told.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Executions by mark.
    pub executed: BTreeMap<String, u64>,
    /// Counters by worker.
    pub counters: BTreeMap<String, u64>,
    /// Counting statements that clients were told are done, by worker.
    pub acknowledged: BTreeMap<String, u64>,
}

/// One figure, with some of the places behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figure {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub places: Vec<String>,
}

impl Figure {
    fn add(&mut self, place: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        if self.places.len() < NAMED_MAX {
            self.places.push(place());
        }
    }
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Recorded and gone.
    pub lost: Figure,
    /// More than once.
    pub twice: Figure,
    /// Executed without a record.
    pub unrecorded: Figure,
    /// Not proven by the log.
    pub unsealed: Figure,
    /// Distinct places that were recorded.
    pub records: usize,
    /// Sessions seen, and those with an end.
    pub sessions: (usize, usize),
    /// Records of raw delivered more than once: allowed, dropped by the enricher.
    pub repeats: usize,
}

impl Account {
    /// All four figures are 0, and something was recorded at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.twice, &self.unrecorded, &self.unsealed].iter().all(|figure| figure.count == 0)
            && self.records > 0
    }

    /// What time cannot mend: the line is behind, but not wrong, while this is false.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.twice.count > 0
    }

    /// The places, for people.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let figures = [
            ("lost", &self.lost),
            ("twice", &self.twice),
            ("unrecorded", &self.unrecorded),
            ("unsealed", &self.unsealed),
        ];
        for (name, figure) in figures {
            for place in &figure.places {
                writeln!(text, "  {name}: {place}").unwrap_or_default();
            }
        }
        text
    }
}

/// Compares everything.
#[must_use]
pub fn account(recorded: &Recorded, truth: &Truth, verdict: &Verdict) -> Account {
    let mut account = Account::default();
    let raw = by_place(&recorded.raw);
    let archived = by_place(&recorded.archived);
    let dead: BTreeSet<Place> = recorded.dead.iter().copied().collect();
    let topics: BTreeSet<Place> = recorded.sealed_topics.iter().map(Row::place).collect();
    account.repeats = recorded.raw.len().saturating_sub(raw.len());
    account.records = raw.len();

    let wanted: BTreeSet<Place> = raw.keys().copied().chain(topics).collect();
    for place in &wanted {
        if !archived.contains_key(place) && !dead.contains(place) {
            account.lost.add(|| format!("{} is not archived", show(place)));
        }
    }
    for (place, rows) in &archived {
        if rows.len() > 1 {
            account.twice.add(|| format!("{} is archived {} times: {}", show(place), rows.len(), at(rows)));
        }
        if !raw.contains_key(place) {
            account.twice.add(|| format!("{} is archived, but never came by raw: {}", show(place), at(rows)));
        }
    }
    one_record_a_place(&raw, &archived, &mut account);
    sessions(&raw, &archived, &dead, &mut account);
    order(&recorded.archived, &mut account);
    statements(recorded, truth, &mut account);
    seals(recorded, verdict, &mut account);
    account
}

fn by_place(rows: &[Row]) -> BTreeMap<Place, Vec<&Row>> {
    let mut places: BTreeMap<Place, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        places.entry(row.place()).or_default().push(row);
    }
    places
}

fn show(place: &Place) -> String {
    format!("session {} record {}", hex::encode(place.0), place.1)
}

fn at(rows: &[&Row]) -> String {
    let places: Vec<String> =
        rows.iter().map(|row| format!("{}/{}@{}", row.table, row.partition, row.offset)).collect();
    places.join(" ")
}

/// A place is one record: repeats on raw carry the same id, the archive carries it too, and no id has two places.
fn one_record_a_place(raw: &BTreeMap<Place, Vec<&Row>>, archived: &BTreeMap<Place, Vec<&Row>>, account: &mut Account) {
    let mut ids: BTreeMap<[u8; 16], Place> = BTreeMap::new();
    for (place, rows) in raw {
        let Some(first) = rows.first() else { continue };
        let copies = archived.get(place).into_iter().flatten();
        if rows.iter().chain(copies).any(|row| row.event_id != first.event_id) {
            account.twice.add(|| format!("{} is two records: {}", show(place), at(rows)));
        }
        if let Some(other) = ids.insert(first.event_id, *place) {
            account.twice.add(|| format!("{} and {} have one id", show(place), show(&other)));
        }
    }
}

fn sessions(
    raw: &BTreeMap<Place, Vec<&Row>>,
    archived: &BTreeMap<Place, Vec<&Row>>,
    dead: &BTreeSet<Place>,
    account: &mut Account,
) {
    let mut have: BTreeMap<[u8; 16], BTreeSet<i64>> = BTreeMap::new();
    for (session, sequence) in raw.keys().chain(archived.keys()) {
        have.entry(*session).or_default().insert(*sequence);
    }
    let rows = raw.values().chain(archived.values()).flatten();
    let ends: BTreeMap<[u8; 16], i64> = rows.filter_map(|row| Some((row.session, row.end?))).collect();
    account.sessions = (have.len(), ends.len());
    for (session, numbers) in &have {
        let last = numbers.last().copied().unwrap_or(-1);
        for missing in (0..=last).filter(|number| !numbers.contains(number)) {
            account.lost.add(|| format!("{} was never recorded, later ones were", show(&(*session, missing))));
        }
        if let Some(end) = ends.get(session) {
            let count = |place: &Place| archived.contains_key(place) || dead.contains(place);
            let kept = numbers.iter().filter(|number| count(&(*session, **number))).count();
            if i64::try_from(kept).unwrap_or(-1) != *end {
                account
                    .lost
                    .add(|| format!("session {} ended with {end} records, {kept} are there", hex::encode(session)));
            }
        }
    }
}

/// Within a table, a session's records stand in their order.
fn order(archived: &[Row], account: &mut Account) {
    let mut rows: Vec<&Row> = archived.iter().collect();
    rows.sort_by_key(|row| (row.table, row.session, row.partition, row.offset));
    for pair in rows.windows(2) {
        if let [one, next] = pair
            && (one.table, one.session) == (next.table, next.session)
            && next.sequence < one.sequence
        {
            account.lost.add(|| format!("{} stands after record {}: {}", show(&next.place()), one.sequence, at(pair)));
        }
    }
}

fn statements(recorded: &Recorded, truth: &Truth, account: &mut Account) {
    let mut requests: BTreeMap<&str, BTreeSet<Place>> = BTreeMap::new();
    for row in &recorded.archived {
        for mark in &row.marks {
            requests.entry(mark).or_default().insert(row.place());
        }
    }
    for (mark, places) in requests.iter().filter(|(_, places)| places.len() > 1) {
        account.twice.add(|| format!("statement {mark} is in {} requests, it was sent once", places.len()));
    }
    let mut counted_by: BTreeMap<&str, u64> = BTreeMap::new();
    for (mark, times) in &truth.executed {
        if !requests.contains_key(mark.as_str()) {
            account.unrecorded.add(|| format!("statement {mark} ran, no archived request holds it"));
        }
        if *times > 1 {
            account.twice.add(|| format!("statement {mark} ran {times} times, it was sent once"));
        }
        if let Some(worker) = counted(mark) {
            let sum = counted_by.entry(worker).or_default();
            *sum = sum.saturating_add(*times);
        }
    }
    for (worker, count) in &truth.counters {
        let logged = counted_by.get(worker.as_str()).copied().unwrap_or(0);
        for _ in logged..*count {
            account.unrecorded.add(|| format!("counter {worker} is {count}, its log has {logged} statements"));
        }
        let told = truth.acknowledged.get(worker).copied().unwrap_or(0);
        if told > *count {
            account.lost.add(|| format!("counter {worker} is {count}, clients were told of {told}"));
        }
    }
}

fn seals(recorded: &Recorded, verdict: &Verdict, account: &mut Account) {
    for row in &recorded.sealed_topics {
        let sealed_to = verdict.sealed_to.get(&(row.table.to_owned(), row.partition)).copied().unwrap_or(-1);
        if row.offset > sealed_to {
            account.unsealed.add(|| format!("{} is beyond the last seal", at(&[row])));
        }
    }
    for finding in &verdict.findings {
        account.unsealed.add(|| finding.clone());
    }
    if verdict.exit_code != Some(0) && verdict.findings.is_empty() {
        account.unsealed.add(|| format!("verify ended with {:?}", verdict.exit_code));
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
