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
    let options = Options {
        keys,
        pin,
        now_s,
        max_tail_age_s: i64::try_from(args.max_tail_age).unwrap_or(i64::MAX),
        threads: args.threads,
        ..Options::default()
    };
    let result = Archive::open(&args.archive.archive).and_then(|archive| check(&archive, &options, args.output.json));
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            crate::exit::report(&anyhow::Error::from(error).context("read the archive"));
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    if args.output.json {
        json(&serde_json::to_value(&report)?);
    } else {
        print(&report);
    }
    Ok(ExitCode::from(report.exit_code))
}

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

fn key(text: &str) -> Result<VerifierKey> {
    let wrong =
        |reason: String| Usage(format!("verifier key `{text}`: {reason}; give the text of log.vkey, or its path"));
    let vkey = if Path::new(text).is_file() {
        std::fs::read_to_string(text).map_err(|error| wrong(error.to_string()))?
    } else {
        text.to_owned()
    };
    Ok(VerifierKey::parse(vkey.trim()).map_err(|error| wrong(error.to_string()))?)
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
