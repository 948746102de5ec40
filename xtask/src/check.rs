//! `check`: every gate that needs no server. All run, then the failures are named.

use anyhow::{Result, bail};

use crate::{r#gen, layers, licences, shell, tidy};

/// A gate: its name and how it runs.
type Gate = (&'static str, fn() -> Result<()>);

/// Runs all gates.
pub(crate) fn run() -> Result<()> {
    let gates: [Gate; 6] = [
        ("format", || shell::run(&mut shell::cargo(&["fmt", "--all", "--check"])?)),
        ("layers", || layers::run(false)),
        ("licences", licences::run),
        ("tidy", tidy::run),
        ("generated", || r#gen::run(true)),
        ("clippy", || {
            shell::run(&mut shell::cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])?)
        }),
    ];
    let mut failed = Vec::new();
    for (name, gate) in gates {
        match gate() {
            Ok(()) => println!("ok    {name}"),
            Err(error) => {
                println!("FAIL  {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}
