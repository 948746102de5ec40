//! Python programs with the pinned packages: clients in another language than ours.

use std::process::Command;

use anyhow::Result;

use crate::process::{Folder, run_text};
use crate::tools;

/// A command that runs Python with the pinned packages (boto3, confluent-kafka, duckdb, fastavro, psycopg, requests).
///
/// # Errors
/// When Python or the packages cannot be installed.
pub fn command() -> Result<Command> {
    let mut command = Command::new(tools::program("python3")?);
    command.env("PYTHONPATH", tools::python_packages()?).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Runs a script (its text, not its path) with arguments and returns its standard output.
///
/// # Errors
/// When it ends with another status than 0: shows what it printed.
pub fn run(script: &str, arguments: &[&str]) -> Result<String> {
    let folder = Folder::new("python")?;
    let path = folder.write("script.py", script)?;
    run_text(command()?.arg(path).args(arguments))
}
