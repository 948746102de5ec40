//! The one way a process is asked to stop: in two steps, so that a line can be emptied in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing: go on.
    Run,
    /// Take what has arrived by now, write it out, then stop.
    Drain,
    /// Finish the batch in hand and stop.
    Stop,
}

/// A cloneable request to stop; it only ever rises.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<(Mutex<Level>, Condvar)>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Level::Run), Condvar::new())))
    }
}

impl Shutdown {
    /// A request not yet made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the request; a lower one changes nothing.
    pub fn raise(&self, level: Level) {
        let (state, changed) = &*self.0;
        let mut now = state.lock();
        *now = (*now).max(level);
        changed.notify_all();
    }

    /// What was asked so far.
    #[must_use]
    pub fn level(&self) -> Level {
        *self.0.0.lock()
    }

    /// Waits at most `limit` for a request above [`Level::Run`]; true when there is one.
    pub fn wait(&self, limit: Duration) -> bool {
        let (state, changed) = &*self.0;
        let until = Instant::now() + limit;
        let mut now = state.lock();
        while *now == Level::Run {
            if changed.wait_until(&mut now, until).timed_out() {
                return *now > Level::Run;
            }
        }
        true
    }
}
