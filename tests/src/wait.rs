//! Waiting by asking: a probe is repeated until it answers, a limit is reached, or the asked server is dead.
//!
//! Every wait has a limit (I-10); no wait is a fixed sleep.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// The longest a server may take to answer after its start. Generous, because machines that run tests are busy: it is
/// only ever used up by a failure.
pub const START_LIMIT: Duration = Duration::from_secs(120);

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Repeats `probe` until it returns `Ok(Some(value))` and returns that value.
///
/// `Ok(None)` and `Err` both mean "not yet"; the pause between two tries grows from 5 ms to 100 ms.
///
/// # Errors
/// When `limit` has passed: names `what`, the limit and the last error of the probe.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until(what, limit, |_| probe())
}

/// As [`eventually`], with a second way out: the probe gets a [`Verdict`] to call when waiting on is pointless.
///
/// # Errors
/// As [`eventually`]; also the error of [`Verdict::give_up`] as soon as the probe returns after calling it.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut(&mut Verdict) -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut verdict = Verdict::default();
    loop {
        let last = match probe(&mut verdict) {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if let Some(reason) = verdict.hopeless.take() {
            return Err(anyhow!("{what}: {reason}"));
        }
        if started.elapsed() >= limit {
            return Err(match last {
                Some(error) => error.context(format!("{what}: not within {limit:?}")),
                None => anyhow!("{what}: not within {limit:?}"),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// What a probe of [`until`] may decide besides "yes" and "not yet".
#[derive(Debug, Default)]
pub struct Verdict {
    hopeless: Option<String>,
}

impl Verdict {
    /// Ends the wait with `reason`, for instance because the server has died.
    pub fn give_up(&mut self, reason: impl Into<String>) {
        self.hopeless = Some(reason.into());
    }
}

/// Repeats `probe` until it returns `expected`.
///
/// # Errors
/// When `limit` has passed: shows the last value seen.
pub fn becomes<T: PartialEq + Debug>(
    what: &str,
    limit: Duration,
    expected: &T,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<()> {
    eventually(what, limit, || {
        let seen = probe()?;
        if seen == *expected { Ok(Some(())) } else { Err(anyhow!("is {seen:?}, expected {expected:?}")) }
    })
}

/// Whether something accepts TCP connections at `addr` (one try, 500 ms at most).
#[must_use]
pub fn accepts(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_millis(500)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value_once_it_is_there() {
        let mut tries = 0;
        let value = eventually("third try", Duration::from_secs(5), || {
            tries += 1;
            Ok((tries == 3).then_some(tries))
        })
        .unwrap();
        assert_eq!(value, 3);
    }

    #[test]
    fn limit_names_the_last_error() {
        let error = eventually::<()>("never", Duration::from_millis(20), || Err(anyhow!("still closed"))).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("never: not within 20ms") && text.contains("still closed"), "{text}");
    }

    #[test]
    fn gives_up_at_once_when_told_so() {
        let started = Instant::now();
        let error = until::<()>("dead", Duration::from_secs(60), |verdict| {
            verdict.give_up("process ended");
            Ok(None)
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "dead: process ended");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
