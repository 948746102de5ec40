//! `sealtrail replay ARCHIVE SESSION`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reader::Archive;
use serde_json::json;

use crate::args::ReplayArgs;
use crate::output::{json as print_json, line};
use crate::replay::steps;

pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let archive = Archive::open(&args.archive.archive).context("open the archive")?;
    let (frames, events) =
        reader::session(&archive, &args.session).with_context(|| format!("find session {}", args.session))?;
    let steps = steps(&frames, &events, args.rows);
    if args.output.json {
        print_json(&json!(
            steps.iter().map(|step| json!({"at_us": step.at_us, "text": step.text})).collect::<Vec<_>>()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let longest = Duration::try_from_secs_f64(args.idle_max.clamp(0.0, 3600.0)).unwrap_or_default();
    let mut before = None;
    for step in steps {
        if let (Some(before), false) = (before, args.fast) {
            let gap = u64::try_from(step.at_us.saturating_sub(before)).unwrap_or(0);
            std::thread::sleep(Duration::from_micros(gap).min(longest));
        }
        before = Some(step.at_us);
        line(&step.text);
    }
    Ok(ExitCode::SUCCESS)
}
