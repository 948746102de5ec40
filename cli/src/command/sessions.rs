//! `sealtrail sessions ARCHIVE`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use reader::Archive;

use crate::args::SessionsArgs;
use crate::output::{json, line, table, time};

pub(super) fn run(args: &SessionsArgs) -> Result<ExitCode> {
    let archive = Archive::open(&args.archive.archive).context("open the archive")?;
    let sessions = reader::sessions(&archive).context("list sessions")?;
    if args.output.json {
        json(&serde_json::to_value(&sessions)?);
        return Ok(ExitCode::SUCCESS);
    }
    if sessions.is_empty() {
        line("no sessions");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            let who =
                if session.principal_email.is_empty() { &session.principal_subject } else { &session.principal_email };
            let state = if session.complete {
                "complete"
            } else if session.closed_at_us.is_some() {
                "INCOMPLETE"
            } else {
                "open"
            };
            vec![
                session.session_id.to_string(),
                time(session.opened_at_us),
                who.clone(),
                session.target_name.clone(),
                session.commands.to_string(),
                session.errors.to_string(),
                session.rows.to_string(),
                session.reason_code.clone(),
                state.to_owned(),
            ]
        })
        .collect();
    line(&table(&["session", "opened", "who", "target", "commands", "errors", "rows", "ended", "records"], &rows, 40));
    Ok(ExitCode::SUCCESS)
}
