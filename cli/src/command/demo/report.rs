//! What the demo shows at its end: who did what, that no secret is left, that verify holds, and how to go on.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use reader::Archive;
use reader::verify::Options;
use schemas::v1::{Event, EventKind};
use serde_json::json;
use tlog::VerifierKey;

use crate::args::DemoArgs;
use crate::command::keys::Keys;
use crate::command::verify::{check, print};
use crate::output::{clean, json as print_json, line, table, time};

use super::Place;
use super::script::Secrets;
use super::tamper::tamper;

/// Most events shown.
const EVENTS_MAX: usize = 10_000;

/// Shows everything; exit code 0 only when every promise of the demo held.
pub(super) fn run(args: &DemoArgs, place: &Place, keys: &Keys, secrets: &Secrets, psql_said: &str) -> Result<ExitCode> {
    let archive = Archive::open(&place.archive().display().to_string())?;
    let events = reader::events(&archive, EVENTS_MAX).context("read the archive")?;
    ensure!(
        events.iter().any(|event| event.kind == EventKind::Command),
        "the archive holds no command: the line recorded nothing"
    );
    let seen: Vec<_> = secrets.all().into_iter().map(|(what, secret)| (what, psql_said.contains(secret))).collect();
    let leaks = leaks(&archive, secrets, &events)?;
    let options = || -> Result<Options> {
        let key = VerifierKey::parse(&keys.vkey).context("read the log's verifier key")?;
        Ok(Options {
            keys: vec![key],
            now_s: Some(stage::clock::now_ms() / 1000),
            max_tail_age_s: 600,
            ..Options::default()
        })
    };
    let good = check(&archive, &options()?, args.json)?;
    let copy = place.path("tampered-copy");
    let change = tamper(&place.archive(), &copy)?;
    let bad = check(&Archive::open(&copy.display().to_string())?, &options()?, args.json)?;
    let held = leaks == 0 && good.exit_code == 0 && bad.exit_code == 1;
    if args.json {
        print_json(&json!({
            "events": events.len(), "secrets_planted": seen.len(), "secrets_in_archive": leaks,
            "verify": serde_json::to_value(&good)?, "verify_tampered": serde_json::to_value(&bad)?, "held": held,
        }));
        return Ok(ExitCode::from(u8::from(!held)));
    }
    who_did_what(&events);
    line("\nSecrets made up for this run:");
    for (what, in_psql) in seen {
        line(&format!("  {what}{}", if in_psql { " (psql showed it to its user)" } else { "" }));
    }
    line(&format!("  found anywhere in the archive: {leaks}"));
    line("\nVerify the archive:");
    print(&good);
    line(&format!("\nChange one byte of a copy ({}, byte {}) and verify again:", change.object, change.offset));
    print(&bad);
    next(args, place, keys, &events);
    ensure!(held, "a promise of the demo did not hold: see above");
    Ok(ExitCode::SUCCESS)
}

/// Counts the planted secrets that appear anywhere in the archive's rows, as they are.
fn leaks(archive: &Archive, secrets: &Secrets, events: &[Event]) -> Result<usize> {
    let mut sessions: Vec<String> = events.iter().map(|event| event.session_id.to_string()).collect();
    sessions.sort();
    sessions.dedup();
    let mut found = vec![false; secrets.all().len()];
    for session in sessions {
        let (frames, events) = reader::session(archive, &session)?;
        let texts = frames.iter().map(schemas::Record::to_body).chain(events.iter().map(schemas::Record::to_body));
        for body in texts {
            for ((_, secret), found) in secrets.all().iter().zip(&mut found) {
                *found |= body.windows(secret.len()).any(|window| window == secret.as_bytes());
            }
        }
    }
    Ok(found.into_iter().filter(|found| *found).count())
}

fn who_did_what(events: &[Event]) {
    line("\nWho did what (as an analyst sees it, secrets masked):");
    let rows: Vec<_> = events
        .iter()
        .filter(|event| event.kind == EventKind::Command)
        .map(|event| {
            let outcome = event.error_code.as_ref().map_or_else(
                || event.rows.map_or("ok".into(), |rows| format!("{rows} rows")),
                |code| format!("ERROR {}", clean(code)),
            );
            let parameters: Vec<_> =
                event.parameters.iter().map(|parameter| parameter.value.as_deref().unwrap_or("NULL")).collect();
            let with = if parameters.is_empty() { String::new() } else { format!(" [{}]", parameters.join(", ")) };
            let at = time(event.observed_at_us);
            let at = at.split(' ').nth(1).unwrap_or("").to_owned();
            vec![
                at,
                event.principal_email.clone(),
                event.command_kind.clone(),
                outcome,
                format!("{}{with}", event.statement.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    line(&table(&["time", "who", "command", "outcome", "statement"], &rows, 96));
}

fn next(args: &DemoArgs, place: &Place, keys: &Keys, events: &[Event]) {
    let Some(kept) = &args.keep else {
        line("\nEverything is removed again. Keep it with `sealtrail demo --keep DIR`, then go on with:");
        line(
            "  sealtrail sessions DIR/archive\n  sealtrail replay DIR/archive SESSION\n  sealtrail verify DIR/archive --vkey DIR/keys/log.vkey --now now",
        );
        line(
            "  duckdb -c \"SELECT principal_email, command_kind, count(*) FROM read_parquet('DIR/archive/events/**/*.parquet') GROUP BY ALL\"",
        );
        return;
    };
    let archive = place.archive();
    let session = events.first().map(|event| event.session_id.to_string()).unwrap_or_default();
    line(&format!("\nKept in {}. Go on with:", kept.display()));
    line(&format!("  sealtrail sessions {}", archive.display()));
    line(&format!("  sealtrail replay {} {session}", archive.display()));
    line(&format!("  sealtrail verify {} --vkey {} --now now", archive.display(), keys.log_vkey.display()));
    line(&format!(
        "  duckdb -c \"SELECT principal_email, command_kind, count(*) FROM read_parquet('{}/events/**/*.parquet') GROUP BY ALL\"",
        archive.display()
    ));
}
