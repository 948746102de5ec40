//! Rows of a row group dealt to the seals they belong to, and what is wrong with a batch that misses its root.

use tlog::tree::GROUP_LEAVES;
use tlog::{BatchTree, Hash, root_of};

use super::chain::{Seal, Stream};
use super::report::{Findings, grouped};

/// Rows kept beyond what a seal says, per batch; further ones are only counted.
const EXTRA_ROWS_MAX: i64 = 1024;

/// One sealed batch while its rows arrive; 48 bytes a row, at most [`super::chain::SEAL_EVENTS_MAX`] of them.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    seal: &'a Seal,
    /// The footer's 256-row hashes: only to be used if they lead to the sealed root.
    groups: Vec<Hash>,
    first_row: i64,
    leaves: Vec<Hash>,
    /// Event number and offset of each row.
    rows: Vec<(i64, i64)>,
    /// Rows found, kept or not.
    found: i64,
}

impl<'a> Batch<'a> {
    /// An empty batch of `seal`.
    pub(crate) fn new(seal: &'a Seal, groups: Vec<Hash>, first_row: i64) -> Self {
        Self { seal, groups, first_row, leaves: Vec::new(), rows: Vec::new(), found: 0 }
    }

    fn push(&mut self, seq: i64, offset: i64, leaf: Hash) {
        self.found += 1;
        if self.found <= self.seal.count.saturating_add(EXTRA_ROWS_MAX) {
            self.leaves.push(leaf);
            self.rows.push((seq, offset));
        }
    }

    fn covers(&self, offset: i64) -> bool {
        (self.seal.first_offset..=self.seal.last_offset).contains(&offset)
    }
}

/// Deals the rows of one row group.
#[derive(Debug)]
pub(crate) struct Deal<'a> {
    name: &'a str,
    group: usize,
    stream: &'a Stream,
    batches: Vec<Batch<'a>>,
    /// True when the row group has as many rows as its seals say.
    by_position: bool,
    current: usize,
    row: i64,
    /// Rows of no batch here, that another seal covers, and that none covers: first, last, number.
    foreign: Option<(i64, i64, i64)>,
    stray: Option<(i64, i64, i64)>,
    moved: Option<(i64, i64, i64)>,
}

impl<'a> Deal<'a> {
    /// `batches` of row group `group`, which has `rows` rows by its Parquet footer.
    pub(crate) fn new(name: &'a str, group: usize, mut batches: Vec<Batch<'a>>, rows: i64, stream: &'a Stream) -> Self {
        batches.sort_by_key(|batch| (batch.first_row, batch.seal.first_offset));
        let sealed = batches.iter().map(|batch| batch.seal.count).fold(0, i64::saturating_add);
        let by_position = sealed == rows;
        if !by_position {
            batches.sort_by_key(|batch| batch.seal.first_offset);
        }
        Self { name, group, stream, batches, by_position, current: 0, row: 0, foreign: None, stray: None, moved: None }
    }

    /// Number of the next row in the row group.
    pub(crate) fn row(&self) -> i64 {
        self.row
    }

    fn place(&self, batch: &Batch<'_>) -> String {
        format!("{} seal {}", self.stream.name(), grouped(batch.seal.seal_seq))
    }

    /// Takes the next row of the row group.
    pub(crate) fn take(&mut self, seq: i64, offset: i64, leaf: Hash, findings: &mut Findings) {
        let row = self.row;
        self.row += 1;
        if self.by_position {
            while let Some(batch) = self.batches.get_mut(self.current) {
                if batch.found < batch.seal.count {
                    return batch.push(seq, offset, leaf);
                }
                self.current += 1;
            }
            return count(&mut self.stray, row);
        }
        let after = self.batches.partition_point(|batch| batch.seal.first_offset <= offset);
        let Some(at) = after.checked_sub(1).filter(|at| self.batches.get(*at).is_some_and(|b| b.covers(offset))) else {
            let list = if self.stream.covering(offset).is_some() { &mut self.foreign } else { &mut self.stray };
            return count(list, row);
        };
        if at < self.current {
            let known = self.batches.get(at).is_some_and(|batch| batch.rows.iter().any(|(_, own)| *own == offset));
            if known {
                let place = self.batches.get(at).map(|batch| self.place(batch)).unwrap_or_default();
                let text = format!("event twice: offset {} lies in a later batch again", grouped(offset));
                return findings.rows("T27", place, text, self.name, (row, row));
            }
            count(&mut self.moved, row);
        }
        self.current = self.current.max(at);
        if let Some(batch) = self.batches.get_mut(at) {
            batch.push(seq, offset, leaf);
        }
    }

    /// All rows are in: compares every batch with its seal.
    pub(crate) fn finish(self, findings: &mut Findings) {
        let place = format!("{} rg {}", self.name, self.group);
        let lists = [
            (self.foreign, "T27", "event twice: rows of another batch"),
            (self.stray, "T23", "rows no seal covers"),
            (self.moved, "T04", "rows out of order: rows of an earlier batch"),
        ];
        for (list, code, text) in lists {
            if let Some((first, last, number)) = list {
                findings.rows(code, place.clone(), format!("{text}, {number} in all"), self.name, (first, last));
            }
        }
        let mut next_row = 0_i64;
        for batch in &self.batches {
            let place = self.place(batch);
            if batch.first_row != next_row {
                let text = format!(
                    "footer differs from seal: batch starts at row {next_row}, footer says {}",
                    batch.first_row
                );
                findings.object("T28", place.clone(), text, self.name);
            }
            next_row = next_row.saturating_add(batch.seal.count);
            Verdict { batch, place, name: self.name, group: self.group, findings }.judge();
        }
    }
}

/// Adds a row to a run of rows: first, last, number.
fn count(list: &mut Option<(i64, i64, i64)>, row: i64) {
    let (first, _, number) = list.unwrap_or((row, row, 0));
    *list = Some((first, row, number + 1));
}

/// Says what is wrong with one batch.
struct Verdict<'a> {
    batch: &'a Batch<'a>,
    place: String,
    name: &'a str,
    group: usize,
    findings: &'a mut Findings,
}

impl Verdict<'_> {
    fn find(&mut self, code: &'static str, what: &str, first: i64, last: i64) {
        let seq = self.batch.seal.first_seq;
        let text = format!(
            "{what}: rows {}-{} (events {}-{}) rg {}",
            grouped(first),
            grouped(last),
            grouped(seq.saturating_add(first)),
            grouped(seq.saturating_add(last)),
            self.group
        );
        self.findings.rows(code, self.place.clone(), text, self.name, (first, last));
    }

    fn judge(mut self) {
        let (batch, seal) = (self.batch, self.batch.seal);
        if batch.found == seal.count && root_of(&batch.leaves) == seal.root {
            // the event number is no part of the leaf: it must be what the seal says
            let dense = (seal.first_seq..).zip(&batch.rows).position(|(expected, (seq, _))| *seq != expected);
            if let Some(row) = dense.and_then(|row| i64::try_from(row).ok()) {
                self.find("T01", "row altered: its event number", row, row);
            }
        } else if batch.found == 0 {
            let text = "data of a sealed batch missing: the object holds none of its rows";
            self.findings.object("T06", self.place.clone(), text, self.name);
        } else if batch.found < seal.count {
            self.missing();
        } else if batch.found > seal.count {
            self.inserted();
        } else if !self.out_of_order() {
            self.altered();
        }
    }

    /// Fewer rows than sealed: the gaps in the event numbers, or, when they have been closed, the number of rows.
    fn missing(&mut self) {
        let seal = self.batch.seal;
        let end = seal.first_seq.saturating_add(seal.count);
        let mut seqs: Vec<i64> = self.batch.rows.iter().map(|(seq, _)| *seq).collect();
        seqs.sort_unstable();
        let lost = seal.count - self.batch.found;
        let mut next = seal.first_seq;
        let mut named = 0;
        for seq in seqs.into_iter().chain([end]) {
            if seq > next && seq <= end {
                let (first, last) = (next - seal.first_seq, seq - 1 - seal.first_seq);
                named += last - first + 1;
                self.find("T02", "event missing", first, last);
            }
            next = next.max(seq.saturating_add(1));
        }
        if named != lost {
            let text = format!("event missing: {lost} fewer rows than the seal's {}", grouped(seal.count));
            let rows = (0, self.batch.found - 1);
            self.findings.rows("T02", self.place.clone(), text, self.name, rows);
        }
    }

    /// More rows than sealed: the first row that repeats or goes back, else the whole batch.
    fn inserted(&mut self) {
        let rows = &self.batch.rows;
        let repeats =
            rows.windows(2).position(|pair| matches!(pair, [a, b] if b.1 <= a.1 || b.0 != a.0.saturating_add(1)));
        let extra = self.batch.found - self.batch.seal.count;
        let what = format!("event inserted, {extra} more than sealed");
        match repeats.and_then(|row| i64::try_from(row + 1).ok()) {
            Some(row) => self.find("T03", &what, row, row),
            None => self.find("T03", &what, 0, self.batch.found - 1),
        }
    }

    /// The right rows in another order: sorted by offset they lead to the sealed root.
    fn out_of_order(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.batch.rows.len()).collect();
        order.sort_by_key(|row| self.batch.rows.get(*row).map_or(i64::MAX, |(_, offset)| *offset));
        let sorted: Vec<Hash> = order.iter().filter_map(|row| self.batch.leaves.get(*row)).copied().collect();
        if root_of(&sorted) != self.batch.seal.root {
            return false;
        }
        let wrong = || order.iter().enumerate().filter(|(at, row)| at != *row).map(|(at, _)| at);
        let (first, last) = (wrong().next().unwrap_or(0), wrong().next_back().unwrap_or(0));
        self.find("T04", "rows out of order", number(first), number(last));
        true
    }

    /// As many rows as sealed, other content: the 256-row ranges if the footer's hashes can be trusted.
    fn altered(&mut self) {
        let batch = self.batch;
        let tree = BatchTree::from_leaf_hashes(batch.leaves.clone());
        let (Ok(tree), true) = (tree, root_of(&batch.groups) == batch.seal.root) else {
            let last = batch.found - 1;
            return self.find("T05", "batch root mismatch, place unknown", 0, last);
        };
        // neighbouring groups are one finding each: the reader of a report wants the smallest range that is known
        for range in tree.differing_groups(&batch.groups) {
            let last = range.end.min(range.start + GROUP_LEAVES).min(batch.leaves.len()).saturating_sub(1);
            self.find("T01", "row altered", number(range.start), number(last));
        }
    }
}

fn number(row: usize) -> i64 {
    i64::try_from(row).unwrap_or(i64::MAX)
}
