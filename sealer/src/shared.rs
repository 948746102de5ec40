//! What the notary tells the workers of its process: heads, refusals, the newest published head; and either the other,
//! that it is gone.

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
    accepted: i64,
    over: bool,
}

/// Shared by one notary and its workers; a lock is held for a look-up, never across I/O (I-11).
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Default for Shared {
    fn default() -> Self {
        let state =
            State { heads: HashMap::new(), refused: HashSet::new(), anchor: (0, EMPTY_ROOT), accepted: 0, over: false };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Shared {
    /// The notary's head of a stream.
    #[must_use]
    pub fn head(&self, stream: &StreamId) -> Option<Head> {
        self.0.lock().heads.get(stream).copied()
    }

    /// Sets a stream's head after a proposal was accepted; the log has `size` entries then.
    pub fn accepted(&self, stream: StreamId, head: Head, size: u64) {
        let mut state = self.0.lock();
        state.heads.insert(stream, head);
        state.accepted = state.accepted.max(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// Size of the log with every accepted seal; published when [`Shared::anchor`] has come so far.
    #[must_use]
    pub fn accepted_size(&self) -> i64 {
        self.0.lock().accepted
    }

    /// Says that the notary has ended, or that the workers have failed: the other part ends too.
    pub fn end(&self) {
        self.0.lock().over = true;
    }

    /// True after [`Shared::end`].
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.lock().over
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
