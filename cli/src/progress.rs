//! Progress on a terminal; silence in a pipe.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of long work, one line each: a spinner while it runs, a tick when it is done.
pub(crate) struct Steps {
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// Steps that print nothing when `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, bar: None }
    }

    /// Ends the step before and begins the next.
    pub(crate) fn begin(&mut self, text: &str) {
        self.end();
        if self.quiet {
            return;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.bar = Some(bar);
    }

    /// Changes the text of the step that runs.
    pub(crate) fn say(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// Ends the step that runs and leaves its line.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            let (message, elapsed) = (bar.message(), bar.elapsed());
            bar.finish_and_clear();
            crate::output::line(&format!("  ✓ {message} ({:.1} s)", elapsed.as_secs_f32()));
        }
    }
}

/// A bar over `total` bytes or items; hidden when `quiet` or in a pipe.
pub(crate) fn bar(total: u64, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3}% {eta:>4} {msg}") {
        bar.set_style(style);
    }
    bar
}
