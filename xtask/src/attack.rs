//! `attack`: every tampering of the integrity page against `verify`, as a table; the last line counts.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Distance of the bytes that are changed one by one; `--all` is every byte.
const STEP: &str = "211";

/// Runs the suite. Options: `--all`.
pub(crate) fn run(rest: &[&str]) -> Result<()> {
    let step = if rest.contains(&"--all") { "1" } else { STEP };
    let mut command = shell::cargo(&["test", "--quiet", "--package", "reader", "--test", "attack", "--"])?;
    command.args(["--nocapture", "--test-threads", "1"]).env("SEALTRAIL_ATTACK_STEP", step).stdout(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).context("run the attack suite")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let counts = |line: &&str| line.starts_with("attacks=") || line.starts_with("bytes_changed=");
    text.lines().filter(|line| !counts(line)).for_each(shell::say);
    let find = |start: &str| text.lines().find(|line| line.starts_with(start)).map(str::to_owned);
    find("bytes_changed=").iter().for_each(|line| shell::say(line));
    let Some(last) = find("attacks=") else { bail!("the attack suite did not come to its end") };
    if !output.status.success() {
        bail!("not every attack was named: {last}");
    }
    shell::say(&last);
    Ok(())
}
