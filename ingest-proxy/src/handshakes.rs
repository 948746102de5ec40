//! Connections whose principal is not verified yet: at the limit, the one that has waited longest goes (I-10, I-11).
//!
//! A stranger can open connections and say nothing. If they counted as sessions, a thousand of them would shut everybody
//! out for as long as a handshake may take. So they are counted apart, and a newcomer is never turned away for them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Those under way, oldest first; ids rise.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// The handshakes of a process.
#[derive(Debug)]
pub(crate) struct Handshakes {
    limit: usize,
    queue: Mutex<Queue>,
}

impl Handshakes {
    /// At most `limit` at a time, at least one.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), queue: Mutex::default() })
    }

    /// Adds one, and ends the oldest if there are now too many: true then.
    pub(crate) fn enter(self: &Arc<Self>) -> (Handshake, bool) {
        let (end, ended) = oneshot::channel();
        let mut queue = self.queue.lock();
        let id = queue.next;
        queue.next += 1;
        queue.waiting.push_back((id, end));
        // dropping its sender is the word to go
        let evicted = if queue.waiting.len() > self.limit { queue.waiting.pop_front() } else { None };
        drop(queue);
        (Handshake { all: Arc::clone(self), id, ended }, evicted.is_some())
    }
}

/// One handshake under way; over when dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    all: Arc<Handshakes>,
    id: u64,
    ended: oneshot::Receiver<()>,
}

impl Handshake {
    /// Returns when this one has to go.
    pub(crate) async fn evicted(&mut self) {
        // nobody sends: the channel only closes
        while (&mut self.ended).await.is_ok() {}
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut queue = self.all.queue.lock();
        if let Ok(at) = queue.waiting.binary_search_by_key(&self.id, |(id, _)| *id) {
            queue.waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_and_those_that_are_done_do_not_count() {
        let all = Handshakes::new(2);
        let (mut first, none) = all.enter();
        let (second, also_none) = all.enter();
        assert!(!none && !also_none);
        drop(second);
        let (mut third, none) = all.enter();
        assert!(!none, "one of the two was done");
        assert!(timeout(Duration::from_millis(20), first.evicted()).await.is_err(), "it has a place");
        let (fourth, evicted) = all.enter();
        assert!(evicted);
        timeout(Duration::from_secs(5), first.evicted()).await.unwrap();
        assert!(timeout(Duration::from_millis(20), third.evicted()).await.is_err());
        drop((first, third, fourth));
        assert!(all.queue.lock().waiting.is_empty());
    }
}
