//! The only place that asks the system for the time; transforms get it in their context (I-12).

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since epoch UTC; 0 for a clock before 1970.
#[must_use]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds since epoch UTC.
#[must_use]
pub fn now_ms() -> i64 {
    now_us() / 1000
}

/// Time as the runner sees it. The simulation brings its own, in which nothing ever really waits.
pub trait Clock {
    /// Microseconds since epoch UTC; may jump.
    fn now_us(&self) -> i64;
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&self, pause: Duration);
}

/// The system's time, with `now_us` as given.
pub(crate) struct SystemClock<'a>(pub(crate) &'a dyn Fn() -> i64);

impl Clock for SystemClock<'_> {
    fn now_us(&self) -> i64 {
        (self.0)()
    }

    fn elapsed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}
