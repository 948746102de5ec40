//! Node programs with the pinned packages (pg, oidc-provider, jose).

use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Folder, run_text};
use crate::tools;

/// A folder in which an ES module finds the pinned packages, holding `script` as `script.mjs`.
///
/// # Errors
/// When the packages cannot be installed or the folder cannot be written.
pub fn folder(name: &str, script: &str) -> Result<Folder> {
    let folder = Folder::new(name)?;
    symlink(tools::node_modules()?, folder.join("node_modules")).context("link node_modules")?;
    folder.write("script.mjs", script)?;
    Ok(folder)
}

/// The command that runs the script of such a folder.
///
/// # Errors
/// When node is missing and cannot be installed.
pub fn command(folder: &Folder) -> Result<Command> {
    let mut command = Command::new(tools::program("node")?);
    command.current_dir(folder.path()).arg("script.mjs");
    Ok(command)
}

/// Runs an ES module (its text) with arguments and returns its standard output.
///
/// # Errors
/// When it ends with another status than 0: shows what it printed.
pub fn run(script: &str, arguments: &[&str]) -> Result<String> {
    let folder = folder("node", script)?;
    run_text(command(&folder)?.args(arguments))
}
