//! `bench`: builds with optimisation and runs a benchmark; asserts nothing about time.

use anyhow::{Result, bail};

use crate::shell;

/// Runs the benchmark `what`.
pub(crate) fn run(what: &str, rest: &[&str]) -> Result<()> {
    let (package, example, first): (_, _, &[&str]) = match what {
        "proxy" | "stages" | "verify" => ("tests", "bench", &[what]),
        "isolation" => ("tests", "isolation", &[]),
        "bus" => ("stage", "bus_speed", &[]),
        "codec" => ("schemas", "codec_speed", &[]),
        _ => bail!("bench knows proxy, stages, verify, isolation, bus and codec; not `{what}`"),
    };
    if what == "proxy" || what == "isolation" {
        shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "cli"])?)?;
    }
    let mut command = shell::cargo(&["run", "--quiet", "--release", "--package", package, "--example", example, "--"])?;
    command.args(first).args(rest).env("SEALTRAIL_BIN", shell::target()?.join("release/sealtrail"));
    shell::run(&mut command)
}
