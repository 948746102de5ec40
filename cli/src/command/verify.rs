//! `sealtrail verify ARCHIVE`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use reader::Archive;
use reader::verify::{Options, Outcome, Progress, Report, verify};
use tlog::VerifierKey;

use crate::args::VerifyArgs;
use crate::exit::Usage;
use crate::output::{json, line};

/// Exit code for an archive that cannot be read.
const UNREADABLE: u8 = 2;

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let keys = args.vkeys.iter().map(|text| key(text)).collect::<Result<Vec<_>>>()?;
    let pin = match &args.pin {
        Some(path) => Some(std::fs::read(path).with_context(|| format!("read pinned checkpoint {}", path.display()))?),
        None => None,
    };
    let now_s = match args.now.as_deref() {
        None => None,
        Some("now") => Some(stage::clock::now_ms() / 1000),
        Some(text) => {
            Some(text.parse().map_err(|_| Usage(format!("--now `{text}` is neither `now` nor seconds since epoch")))?)
        }
    };
    let read = |path: &std::path::PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let witnesses = match &args.witnesses {
        None => None,
        Some(path) => {
            let text = String::from_utf8(read(path)?).map_err(|_| Usage(format!("{} is not UTF-8", path.display())))?;
            let policy = tlog::WitnessPolicy::parse(&text);
            match policy {
                Ok(policy) => Some(policy),
                Err(error) => {
                    crate::exit::report(&anyhow::Error::from(error).context("witness policy"));
                    return Ok(ExitCode::from(POLICY));
                }
            }
        }
    };
    let options = Options {
        roots: args.roots.iter().map(|text| key(text)).collect::<Result<Vec<_>>>()?,
        policy: args.policy.as_ref().map(read).transpose()?,
        witnesses,
        keys,
        pin,
        now_s,
        max_tail_age_s: i64::try_from(args.max_tail_age).unwrap_or(i64::MAX),
        resume: args.resume.clone(),
        since_ms: args.since.map(|since| since.saturating_mul(1000)),
        threads: args.threads,
        ..Options::default()
    };
    let result = Archive::open(&args.archive.archive).and_then(|archive| {
        let report = check(&archive, &options, args.output.json)?;
        // what cannot be decoded is a finding already
        let whole = args.completeness.then(|| reader::completeness(&archive)).transpose();
        Ok((whole.or_else(|error| if report.exit_code == 1 { Ok(None) } else { Err(error) })?, report))
    });
    let (whole, report) = match result {
        Ok(both) => both,
        Err(error) => {
            crate::exit::report(&anyhow::Error::from(error).context("read the archive"));
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    let gaps = whole.as_ref().is_some_and(|whole| !whole.is_whole());
    let exit_code = if report.exit_code == 0 && gaps { Outcome::Incomplete.exit_code() } else { report.exit_code };
    if args.output.json {
        let mut value = serde_json::to_value(&report)?;
        if let (Some(object), Some(whole)) = (value.as_object_mut(), &whole) {
            object.insert("completeness".to_owned(), serde_json::to_value(whole)?);
            object.insert("exit_code".to_owned(), exit_code.into());
        }
        json(&value);
    } else {
        if let Some(whole) = &whole {
            print_completeness(whole);
        }
        print(&report);
    }
    Ok(ExitCode::from(exit_code))
}

/// Exit code for a policy that cannot be met.
const POLICY: u8 = 4;

/// Verifies with a progress bar.
pub(crate) fn check(archive: &Archive, options: &Options, quiet: bool) -> Result<Report, reader::ReadError> {
    let bar = crate::progress::bar(0, quiet);
    let report = verify(archive, options, &|progress| {
        let (what, done, total) = match progress {
            Progress::Log { done, total } => ("log", done, total),
            Progress::Objects { done, total, .. } => ("objects", done, total),
        };
        bar.set_message(what);
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    report
}

/// A verifier key given as text or as a file.
pub(super) fn key(text: &str) -> Result<VerifierKey> {
    let wrong =
        |reason: String| Usage(format!("verifier key `{text}`: {reason}; give the text of log.vkey, or its path"));
    let vkey = if Path::new(text).is_file() {
        std::fs::read_to_string(text).map_err(|error| wrong(error.to_string()))?
    } else {
        text.to_owned()
    };
    Ok(VerifierKey::parse(vkey.trim()).map_err(|error| wrong(error.to_string()))?)
}

fn print_completeness(whole: &reader::Completeness) {
    line(&format!(
        "sessions {} with {} records, {} without a counted end, {} gaps",
        whole.sessions,
        whole.records,
        whole.unended,
        u64::try_from(whole.gaps.len()).unwrap_or(u64::MAX).saturating_add(whole.gaps_dropped)
    ));
    for gap in &whole.gaps {
        let session = crate::output::clean(&gap.session_id);
        line(&format!("GAP      session {session}: records {}-{} were never sealed (exit 3)", gap.first, gap.last));
    }
}

/// Prints a report for people.
pub(crate) fn print(report: &Report) {
    line(&format!("origin   {}", report.origin));
    line(&format!("log      {} entries, root {}", report.size, report.root));
    for stream in report.streams.iter().filter(|stream| stream.events > 0) {
        line(&format!(
            "stream   {}/{}: {} seals, {} events, offsets {} to {}",
            stream.topic, stream.partition, stream.seals, stream.events, stream.first_offset, stream.last_offset
        ));
    }
    let idle = report.streams.iter().filter(|stream| stream.events == 0).count();
    if idle > 0 {
        line(&format!("         {idle} idle streams"));
    }
    line(&format!("rows     {} rows in {} bytes hashed back to their leaves", report.rows, report.bytes));
    for finding in &report.findings {
        line(&format!("FOUND    {} {}: {}", finding.code, finding.place, finding.text));
    }
    for note in &report.notes {
        line(&format!("note     {}", crate::output::clean(note)));
    }
    line(&format!(
        "tail     {}",
        if report.anchored { "anchored" } else { "not anchored: pin a checkpoint (--pin) or give the time (--now)" }
    ));
    line(&format!(
        "RESULT   {}  {} findings  exit {}",
        outcome(report.outcome),
        report.findings.len(),
        report.exit_code
    ));
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Proven => "PROVEN",
        Outcome::Tampered => "TAMPERED",
        Outcome::Incomplete => "INCOMPLETE",
        Outcome::PolicyNotMet => "POLICY NOT MET",
    }
}
