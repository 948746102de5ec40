//! What the notary tells the workers of its process: heads, refusals, the newest published head.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::v1::StreamId;
use tlog::{EMPTY_ROOT, Hash};

use crate::integrate::Head;

#[derive(Debug)]
struct State {
    heads: HashMap<StreamId, Head>,
    refused: HashSet<StreamId>,
    anchor: (i64, Hash),
}

/// Shared by one notary and its workers; a lock is held for a look-up, never across I/O (I-11).
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Default for Shared {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { heads: HashMap::new(), refused: HashSet::new(), anchor: (0, EMPTY_ROOT) })))
    }
}

impl Shared {
    /// The notary's head of a stream.
    #[must_use]
    pub fn head(&self, stream: &StreamId) -> Option<Head> {
        self.0.lock().heads.get(stream).copied()
    }

    /// Sets a stream's head after a proposal was accepted.
    pub fn accepted(&self, stream: StreamId, head: Head) {
        self.0.lock().heads.insert(stream, head);
    }

    /// Marks a stream whose proposal was refused: its worker must read the head again.
    pub fn refuse(&self, stream: StreamId) {
        self.0.lock().refused.insert(stream);
    }

    /// True once after a refusal.
    #[must_use]
    pub fn take_refusal(&self, stream: &StreamId) -> bool {
        self.0.lock().refused.remove(stream)
    }

    /// Sets the newest published head.
    pub fn published(&self, size: u64, root: Hash) {
        self.0.lock().anchor = (i64::try_from(size).unwrap_or(i64::MAX), root);
    }

    /// The newest published head: size and root.
    #[must_use]
    pub fn anchor(&self) -> (i64, Hash) {
        self.0.lock().anchor
    }
}
