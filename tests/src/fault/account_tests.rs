//! The accountant must see each kind of wrong, and nothing wrong in a good run.

use super::*;

fn row(table: &'static str, sequence: i64, marks: &[&str], end: Option<i64>) -> Row {
    let id = u8::try_from(sequence).unwrap();
    Row {
        table,
        offset: sequence,
        session: [7; 16],
        sequence,
        event_id: [id; 16],
        marks: marks.iter().map(|mark| (*mark).to_owned()).collect(),
        end,
        ..Row::default()
    }
}

/// A session of four records, two of them requests, archived, sealed, executed; one raw record came twice.
fn good() -> (Recorded, Truth, Verdict) {
    let rows = vec![
        row("events", 0, &[], None),
        row("frames", 1, &["mark_u_a_b"], None),
        row("frames", 2, &["mark_s_a_c"], None),
        row("events", 3, &[], Some(4)),
    ];
    let mut raw: Vec<Row> = rows.iter().map(|row| Row { table: "raw", marks: vec![], ..row.clone() }).collect();
    raw.push(raw[1].clone());
    let recorded = Recorded { raw, sealed_topics: rows.clone(), archived: rows, dead: vec![] };
    let truth = Truth {
        executed: [("mark_u_a_b".to_owned(), 1), ("mark_s_a_c".to_owned(), 1)].into(),
        counters: [("a".to_owned(), 1)].into(),
        acknowledged: [("a".to_owned(), 1)].into(),
    };
    let sealed_to = [(("frames".to_owned(), 0), 3), (("events".to_owned(), 0), 3)].into();
    (recorded, truth, Verdict { exit_code: Some(0), findings: vec![], sealed_to })
}

fn figures(recorded: &Recorded, truth: &Truth, verdict: &Verdict) -> [u64; 4] {
    let account = account(recorded, truth, verdict);
    [account.lost.count, account.twice.count, account.unrecorded.count, account.unsealed.count]
}

#[test]
fn a_good_run_is_clean() {
    let (recorded, truth, verdict) = good();
    let account = account(&recorded, &truth, &verdict);
    assert!(account.is_clean(), "{}", account.explain());
    assert_eq!((account.records, account.sessions, account.repeats), (4, (1, 1), 1));
}

#[test]
fn nothing_recorded_is_not_clean() {
    let verdict = Verdict { exit_code: Some(0), ..Verdict::default() };
    assert!(!account(&Recorded::default(), &Truth::default(), &verdict).is_clean());
}

#[test]
fn a_record_taken_out_of_the_archive() {
    let (mut recorded, truth, verdict) = good();
    recorded.archived.remove(2);
    // not archived, the session's count, and its statement
    assert_eq!(figures(&recorded, &truth, &verdict), [2, 0, 1, 0]);
    // as a dead letter it is accounted for, but its statement cannot be found
    recorded.dead.push(([7; 16], 2));
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 0, 1, 0]);
}

#[test]
fn a_record_that_never_came() {
    let (mut recorded, truth, verdict) = good();
    for rows in [&mut recorded.raw, &mut recorded.sealed_topics, &mut recorded.archived] {
        rows.retain(|row| row.sequence != 0);
    }
    assert_eq!(figures(&recorded, &truth, &verdict), [2, 0, 0, 0]);
}

#[test]
fn a_record_doubled() {
    let (mut recorded, truth, verdict) = good();
    recorded.archived.push(Row { offset: 9, ..recorded.archived[2].clone() });
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 1, 0, 0]);
}

#[test]
fn a_place_with_two_records_and_a_record_with_two_places() {
    let (mut recorded, truth, verdict) = good();
    recorded.raw.push(Row { event_id: [99; 16], ..recorded.raw[1].clone() });
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 1, 0, 0]);
    let (mut recorded, truth, verdict) = good();
    for row in recorded.raw.iter_mut().chain(&mut recorded.archived).filter(|row| row.sequence == 2) {
        row.event_id = [1; 16];
    }
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 1, 0, 0]);
}

#[test]
fn records_out_of_order() {
    let (mut recorded, truth, verdict) = good();
    (recorded.archived[1].offset, recorded.archived[2].offset) = (2, 1);
    assert_eq!(figures(&recorded, &truth, &verdict), [1, 0, 0, 0]);
}

#[test]
fn an_archived_record_out_of_nowhere() {
    let (mut recorded, truth, verdict) = good();
    recorded.archived.push(Row { session: [8; 16], ..row("frames", 0, &[], None) });
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 1, 0, 0]);
}

#[test]
fn a_statement_behind_the_proxys_back() {
    let (recorded, mut truth, verdict) = good();
    truth.executed.insert("mark_s_a_z".into(), 1);
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 0, 1, 0]);
    // without a mark, the counter tells
    let (recorded, mut truth, verdict) = good();
    truth.counters.insert("a".into(), 3);
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 0, 2, 0]);
}

#[test]
fn a_statement_sent_or_run_twice() {
    let (recorded, mut truth, verdict) = good();
    truth.executed.insert("mark_s_a_c".into(), 2);
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 1, 0, 0]);
    let (mut recorded, truth, verdict) = good();
    recorded.archived[1].marks.push("mark_s_a_c".into());
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 1, 0, 0]);
}

#[test]
fn an_answer_without_its_effect() {
    let (recorded, mut truth, verdict) = good();
    truth.acknowledged.insert("a".into(), 2);
    assert_eq!(figures(&recorded, &truth, &verdict), [1, 0, 0, 0]);
}

#[test]
fn what_no_seal_proves() {
    let (recorded, truth, mut verdict) = good();
    verdict.sealed_to.insert(("events".into(), 0), 2);
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 0, 0, 1]);
    let (recorded, truth, mut verdict) = good();
    (verdict.exit_code, verdict.findings) = (Some(1), vec!["T06 a".into(), "T23 b".into()]);
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 0, 0, 2]);
    let (recorded, truth, mut verdict) = good();
    verdict.exit_code = None;
    assert_eq!(figures(&recorded, &truth, &verdict), [0, 0, 0, 1]);
}
