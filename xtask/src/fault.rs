//! `fault`: builds the product and the fault harness, and runs the long run. Its last line is for machines; the exit code
//! is 0 only when nothing was lost, doubled, unrecorded or unsealed.

use anyhow::Result;

use crate::shell;

/// Runs `cargo xtask fault ARGS`.
pub(crate) fn run(rest: &[&str]) -> Result<()> {
    shell::run(&mut shell::cargo(&["build", "--quiet", "--package", "cli"])?)?;
    let mut command = shell::cargo(&["run", "--quiet", "--package", "tests", "--example", "fault", "--"])?;
    command.args(rest).env("SEALTRAIL_BIN", shell::target()?.join("debug/sealtrail"));
    shell::run(&mut command)
}
