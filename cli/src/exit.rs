//! Exit codes, and the one place where an error becomes one.

use std::process::ExitCode;

/// Configuration or command line is wrong; nothing was started.
pub(crate) const USAGE: u8 = 64;
/// Something failed.
pub(crate) const FAILED: u8 = 1;

/// A wrong configuration: exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Prints an error with its causes, each on its line, and gives the exit code.
#[allow(clippy::print_stderr)] // the command line's own error channel
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    let usage = error.chain().any(|cause| cause.is::<Usage>());
    ExitCode::from(if usage { USAGE } else { FAILED })
}
