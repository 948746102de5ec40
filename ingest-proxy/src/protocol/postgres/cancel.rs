//! Cancel requests: the proxy hands out keys of its own, and knows which key at which target each stands for.
//!
//! A cancel comes over a connection of its own, without identity. It belongs to the session whose key it names: that
//! session records it, and only then is it forwarded (I-01). The target's own key never reaches a client.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};

/// Key bytes for protocol 3.0.
const KEY_LEN: usize = 4;
/// Key bytes for protocol 3.2.
const KEY_LEN_LONG: usize = 32;
/// Cancels of one session that wait to be recorded; more are dropped, as the target would fold them into one.
const WAITING_MAX: usize = 4;

/// Tells a session that it is to be cancelled.
#[derive(Debug)]
pub struct Notice {
    /// Wire bytes of the request.
    pub size_bytes: u64,
    /// Answered once it is recorded.
    pub recorded: oneshot::Sender<()>,
}

/// Where a cancel goes.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Configured name of the target.
    pub(crate) target: String,
    /// The target's process id.
    pub(crate) process: i32,
    /// The target's key; empty when it gave none.
    pub(crate) key: Vec<u8>,
    notices: mpsc::Sender<Notice>,
    minted: Vec<u8>,
}

/// The keys handed out by this process, one a session.
#[derive(Default)]
pub(crate) struct Cancels(Mutex<HashMap<i32, Entry>>);

/// A session's place in the table; leaves it when dropped.
pub(crate) struct Registered {
    table: Arc<Cancels>,
    /// Process id given to the client.
    pub(crate) process: i32,
    /// Key given to the client.
    pub(crate) key: Vec<u8>,
    /// The session's cancels.
    pub(crate) notices: mpsc::Receiver<Notice>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.table.0.lock().remove(&self.process);
    }
}

impl Cancels {
    /// Makes a key for a session that speaks protocol 3.`minor`; `None` when the system gives no random bytes.
    pub(crate) fn register(
        self: &Arc<Self>,
        target: &str,
        process: i32,
        key: Vec<u8>,
        minor: u16,
    ) -> Option<Registered> {
        let random = SystemRandom::new();
        let mut minted = vec![0u8; if minor >= 2 { KEY_LEN_LONG } else { KEY_LEN }];
        random.fill(&mut minted).ok()?;
        let (sender, notices) = mpsc::channel(WAITING_MAX);
        let mut table = self.0.lock();
        loop {
            let mut id = [0u8; 4];
            random.fill(&mut id).ok()?;
            let id = i32::from_be_bytes(id) & i32::MAX;
            if id == 0 || table.contains_key(&id) {
                continue; // ends: sessions are far fewer than ids
            }
            let entry = Entry { target: target.to_owned(), process, key, notices: sender, minted: minted.clone() };
            table.insert(id, entry);
            return Some(Registered { table: Arc::clone(self), process: id, key: minted, notices });
        }
    }

    /// The session that `process` and `key` were given to.
    pub(crate) fn find(&self, process: i32, key: &[u8]) -> Option<Entry> {
        let table = self.0.lock();
        table.get(&process).filter(|entry| bool::from(entry.minted.ct_eq(key))).cloned()
    }
}

impl Entry {
    /// Waits until the session recorded the cancel; false when it has ended or has enough of them.
    pub(crate) async fn record(&self, size_bytes: u64) -> bool {
        let (recorded, done) = oneshot::channel();
        self.notices.try_send(Notice { size_bytes, recorded }).is_ok() && done.await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_minted_key_finds_a_session_and_only_while_it_lives() {
        let cancels = Arc::new(Cancels::default());
        let one = cancels.register("crm", 77, vec![9; 4], 0).unwrap();
        let two = cancels.register("crm", 78, vec![8; 32], 2).unwrap();
        assert_eq!((one.key.len(), two.key.len()), (4, 32));
        assert_eq!(cancels.find(one.process, &one.key).unwrap().process, 77);
        assert!(cancels.find(one.process, &two.key).is_none());
        assert!(cancels.find(one.process, b"").is_none());
        let (process, key) = (one.process, one.key.clone());
        drop(one);
        assert!(cancels.find(process, &key).is_none());
        assert!(cancels.find(two.process, &two.key).is_some());
    }
}
