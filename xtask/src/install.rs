//! `install`: the testkit knows what the tests need; it is built and asked.

use anyhow::Result;

use crate::shell;

/// Installs everything the tests need.
pub(crate) fn run() -> Result<()> {
    shell::run(&mut shell::cargo(&["run", "--quiet", "--package", "tests", "--bin", "testkit", "--", "install"])?)
}
