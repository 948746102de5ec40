//! The only place that asks the system for the time; transforms get it in their context (I-12).

use std::time::{SystemTime, UNIX_EPOCH};

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
