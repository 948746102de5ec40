//! Config to running archiver.

use std::sync::Arc;
use std::time::Duration;

use stage::shutdown::{Level, Shutdown};
use stage::store::Store;
use stage::{Env, Running, StageFailure};

use crate::archive::Archive;
use crate::config::ArchiverConfig;
use crate::error::ArchiveError;

/// Failures in a row after which the stage gives up; with the waits, about ten minutes.
const FAILURES_MAX: u32 = 64;
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Starts the archiver on a thread of its own. The store's lock is checked and each stream's place is found before this
/// returns. On [`Level::Drain`] it archives what is sealed by then and stops.
///
/// # Errors
/// [`ArchiveError`], or when the thread cannot be made.
pub fn start(config: &ArchiverConfig, env: &Env, store: Arc<Store>) -> Result<Running, StageFailure> {
    store.check_lock()?;
    let archive = Archive::open(config, env, store)?;
    let shutdown = env.shutdown.clone();
    Ok(Running::spawn("archiver", &env.shutdown, move || run(archive, &shutdown))?)
}

fn run(mut archive: Archive, shutdown: &Shutdown) -> Result<(), StageFailure> {
    let mut failures = 0;
    loop {
        let level = shutdown.level();
        if level == Level::Stop {
            break;
        }
        match turn(&mut archive, level) {
            Ok(true) => break,
            Ok(false) => failures = 0,
            Err(ArchiveError::Stopped) => break,
            Err(error) if error.is_retriable() && failures < FAILURES_MAX => {
                failures += 1;
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, failures, "the archiver tries again");
                let wait = (Duration::from_millis(100) * failures).min(WAIT_MAX);
                if level == Level::Run {
                    shutdown.wait(wait);
                } else {
                    std::thread::sleep(wait);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let counts = archive.counts();
    tracing::info!(counts.objects, counts.rows, counts.bytes, counts.stopped, "the archiver stops");
    archive.take_failure().map_or(Ok(()), |error| Err(error.into()))
}

/// One step; true when everything was drained.
fn turn(archive: &mut Archive, level: Level) -> Result<bool, ArchiveError> {
    archive.step()?;
    if level == Level::Drain && archive.is_at_end()? {
        archive.flush()?;
        return Ok(true);
    }
    Ok(false)
}
