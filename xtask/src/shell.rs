//! What the commands share: the root of the tree, cargo with the right target folder, the list of files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the work tree: the folder above this package.
pub(crate) fn root() -> Result<PathBuf> {
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_owned).context("xtask has no folder above it")
}

/// The caller's target folder, else one outside the clone, so that a second fresh clone builds quickly.
pub(crate) fn target() -> Result<PathBuf> {
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(PathBuf::from(target));
    }
    if let Some(cache) = std::env::var_os("SEALTRAIL_CACHE") {
        return Ok(Path::new(&cache).join("target"));
    }
    let home = std::env::var_os("HOME").context("neither CARGO_TARGET_DIR nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/sealtrail/target"))
}

/// Cargo, building into [`target`].
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env("CARGO_TARGET_DIR", target()?).args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Runs a command whose output goes to the caller's terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
}

/// Runs a command and returns its standard output; its errors go to the caller's terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All files of the tree that git tracks or would add, relative to the root.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = output(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]))?;
    let mut files: Vec<String> = list.lines().filter(|path| Path::new(path).is_file()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Whether a Rust file is test code as a whole.
pub(crate) fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || ["/tests/", "/benches/", "/examples/", "/fuzz/"].iter().any(|part| path.contains(part))
        || path.ends_with("/sim.rs")
        || path.contains("/sim/") // the simulation of the runner, compiled for tests only
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// The lines of a Rust file before its unit tests, without comment lines.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
    numbered.take_while(|(_, line)| *line != "#[cfg(test)]").filter(|(_, line)| !line.starts_with("//"))
}

/// Prints one line.
pub(crate) fn say(line: &str) {
    println!("{line}");
}
