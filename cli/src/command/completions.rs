//! `sealtrail completions SHELL`.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;

pub(super) fn run(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::args::Cli::command(), "sealtrail", &mut script);
    crate::output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}
