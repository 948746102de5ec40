//! The short run of the fault harness, on three brokers, and then the accountant under test: it must fail a statement
//! behind the proxy's back, a record doubled, and one taken out of the archive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use testkit::fault::account::Verdict;
use testkit::fault::{Account, Evidence as _, Options, Outcome, Recorded, account, run, witness};
use testkit::postgres::USER;

#[path = "fault/evidence.rs"]
mod evidence;

/// Kills of the short run.
const KILLS: u32 = 40;

#[test]
fn forty_kills_lose_nothing_and_the_accountant_can_fail() {
    let seed = std::env::var("FAULT_SEED").map_or(1, |seed| seed.parse().unwrap());
    let options = Options { seed, kills: KILLS, brokers: 3, workers: 3 };
    let mut outcome = run(&options, &evidence::Collector, &|text| println!("{text}")).unwrap();
    println!("{}{}\n{}", outcome.account.explain(), outcome.table(), outcome.line());
    assert!(outcome.account.is_clean(), "{}\n{}", outcome.account.explain(), outcome.line());
    assert_eq!(outcome.tally.kills.values().sum::<u64>(), u64::from(KILLS));
    assert!(outcome.tally.clients[1] > 100, "the clients got hardly anything done: {:?}", outcome.tally.clients);

    let recorded = evidence::Collector.collect(&outcome.plant.places()).unwrap();
    taken_out(&outcome, &recorded);
    behind_the_back(&outcome, &recorded);
    doubled(&mut outcome);
}

fn judge(outcome: &Outcome, recorded: &Recorded, verdict: &Verdict) -> Account {
    account(recorded, &outcome.plant.truth(&outcome.acknowledged).unwrap(), verdict)
}

/// One object of a copy of the archive is deleted: its rows are lost, and `verify` says so.
fn taken_out(outcome: &Outcome, recorded: &Recorded) {
    let folder = testkit::process::Folder::new("taken-out").unwrap();
    let store = evidence::store(&outcome.plant.places()).unwrap();
    let mut frames = Vec::new();
    for table in ["frames", "events", "log"] {
        for name in store.list(table).unwrap() {
            let path = folder.join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, store.get(&name).unwrap().unwrap()).unwrap();
            if table == "frames" {
                frames.push(path);
            }
        }
    }
    let copy = format!("file://{}", folder.path().display());
    let whole = outcome.plant.verify(&copy).unwrap();
    assert_eq!(whole.exit_code, Some(0), "the copy itself is good: {:?}", whole.findings);
    std::fs::remove_file(&frames[0]).unwrap();
    let verdict = outcome.plant.verify(&copy).unwrap();
    let local = stage::store::StoreConfig { url: copy, allow_unlocked: true, ..Default::default() };
    let archived = evidence::archived(&stage::store::Store::open(&local).unwrap()).unwrap();
    let account = judge(outcome, &Recorded { archived, ..recorded.clone() }, &verdict);
    assert!(account.lost.count > 0 && account.unsealed.count > 0, "{}", account.explain());
}

/// One statement straight to Postgres.
fn behind_the_back(outcome: &Outcome, recorded: &Recorded) {
    let verdict = outcome.plant.verify("").unwrap();
    let mark = witness::mark(false, 99, 0);
    outcome.plant.postgres().psql(USER, &format!("SELECT '{mark}'")).unwrap();
    let seen = judge(outcome, recorded, &verdict);
    assert_eq!((seen.unrecorded.count, seen.lost.count, seen.twice.count), (1, 0, 0), "{}", seen.explain());
}

/// One frame is written once more by somebody with access to the topic: first no seal covers it; then the line seals and
/// archives it like any other, and the archive holds it twice.
fn doubled(outcome: &mut Outcome) {
    evidence::double_a_frame(&outcome.plant.places()).unwrap();
    let mut see = |settle: bool| {
        if settle {
            outcome.plant.start_stages().unwrap();
            outcome.plant.drain().unwrap();
        }
        let recorded = evidence::Collector.collect(&outcome.plant.places()).unwrap();
        judge(outcome, &recorded, &outcome.plant.verify("").unwrap())
    };
    let seen = see(false);
    assert!(seen.unsealed.count > 0 && seen.twice.count == 0, "{}", seen.explain());
    let seen = see(true);
    assert!(seen.twice.count > 0, "{}", seen.explain());
}
