//! The threads that serve sessions: each with an event loop of its own, and a session stays on one (I-11).
//!
//! A loop shared by several threads would wake one for another's work at almost every message: with few processors that
//! costs more than what it balances. Each takes all that its sockets have, then all whose records became durable
//! by one sync, so a wake-up serves many sessions.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Longest wait for the tasks of a worker that do not end by themselves.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// All workers of a process.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Runtime>);

impl Workers {
    /// Starts `threads` workers; 0 is half of the processors, at least one.
    ///
    /// # Errors
    /// When a thread or its poller cannot be made.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        // One worker of the many-threaded kind: it is woken once for all that another thread makes ready meanwhile.
        let worker = |number: usize| {
            Builder::new_multi_thread().worker_threads(1).thread_name(format!("proxy-{number}")).enable_all().build()
        };
        (0..count(threads)).map(worker).collect::<std::io::Result<_>>().map(Self)
    }

    /// What places tasks on them.
    pub(crate) fn places(&self) -> Places {
        Places(self.0.iter().map(|worker| (worker.handle().clone(), Arc::default())).collect())
    }

    /// Ends all workers; sessions that still run are cut.
    pub(crate) fn stop(self) {
        for worker in self.0 {
            worker.shutdown_timeout(STOP_WAIT);
        }
    }
}

/// Places tasks on workers.
#[derive(Debug)]
pub(crate) struct Places(Vec<(Handle, Arc<()>)>);

impl Places {
    /// Runs `task` to its end on the worker that has the fewest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Every task holds a share of its worker's counter while it lives.
        if let Some((worker, counter)) = self.0.iter().min_by_key(|(_, counter)| Arc::strong_count(counter)) {
            let counter = Arc::clone(counter);
            worker.spawn(async move {
                task.await;
                drop(counter);
            });
        }
    }
}

/// Workers for a configured number.
fn count(threads: usize) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    if threads > 0 { threads } else { (processors() / 2).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_go_where_fewest_are_and_stay_there() {
        assert!(count(0) >= 1);
        let workers = Workers::start(3).unwrap();
        let places = workers.places();
        let (told, heard) = std::sync::mpsc::channel();
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let place = |stays: tokio::sync::oneshot::Receiver<()>| {
            let told = told.clone();
            places.spawn(async move {
                let before = name();
                told.send(before.clone()).unwrap();
                let _ended = stays.await;
                assert_eq!(name(), before);
            });
            heard.recv().unwrap()
        };
        let (ends, stays): (Vec<_>, Vec<_>) = (0..3).map(|_| tokio::sync::oneshot::channel()).unzip();
        let names: Vec<String> = stays.into_iter().map(place).collect();
        assert_eq!(names, ["proxy-0", "proxy-1", "proxy-2"]);
        let mut ends = ends.into_iter();
        drop((ends.next(), ends.next_back()));
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while places.0.iter().map(|(_, counter)| Arc::strong_count(counter)).ne([1, 2, 1]) {
            assert!(std::time::Instant::now() < until);
            std::thread::yield_now();
        }
        let (_end, stays) = tokio::sync::oneshot::channel();
        assert_eq!(place(stays), "proxy-0");
        let (_other_end, stays) = tokio::sync::oneshot::channel();
        assert_eq!(place(stays), "proxy-2");
        workers.stop();
    }
}
