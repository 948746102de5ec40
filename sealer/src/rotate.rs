//! When an epoch is over: by age, or because an operator asked; and the operator's own entries.
//!
//! The time decides only when a KEY entry is proposed. Nothing in the log says when: a key is valid for tree sizes.

use std::path::{Path, PathBuf};

use crate::error::NotaryError;
use crate::lock::write_synced;
use crate::notary::Notary;
use crate::orders::{Orders, ROTATE};

const HOUR_MS: i64 = 3_600_000;
/// Milliseconds between two looks at clock and orders.
const LOOK_MS: i64 = 250;
/// Milliseconds after which a rotation that has not come about is proposed again.
const AGAIN_MS: i64 = 60_000;

/// Begins epochs.
pub(crate) struct Rotation {
    file: PathBuf,
    period_ms: i64,
    /// Epoch and when it was first seen.
    since: (i64, i64),
    looked_ms: i64,
    /// Epoch in which the next one was proposed, and when.
    proposed: Option<(i64, i64)>,
    sent: Vec<Vec<u8>>,
}

impl Rotation {
    /// The rotation of the notary whose state is in `folder`; `hours` 0 rotates only when asked.
    pub(crate) fn open(folder: &Path, hours: u32) -> Self {
        let file = folder.join("epoch");
        let since = std::fs::read_to_string(&file).ok().and_then(|text| {
            let (epoch, ms) = text.trim().split_once(' ')?;
            Some((epoch.parse().ok()?, ms.parse().ok()?))
        });
        let period_ms = i64::from(hours) * HOUR_MS;
        Self { file, period_ms, since: since.unwrap_or((-1, 0)), looked_ms: 0, proposed: None, sent: Vec::new() }
    }

    /// Looks at clock and orders, and proposes what is due through `send`.
    ///
    /// # Errors
    /// [`NotaryError::Mark`], [`NotaryError::Bus`]. A key that cannot be made is told and tried again.
    pub(crate) fn step(
        &mut self,
        notary: &Notary,
        now_ms: i64,
        send: &mut dyn FnMut(&[u8]) -> Result<(), NotaryError>,
    ) -> Result<(), NotaryError> {
        if (0..LOOK_MS).contains(&now_ms.saturating_sub(self.looked_ms)) {
            return Ok(());
        }
        self.looked_ms = now_ms;
        for (_, entry) in notary.orders().entries() {
            if !self.sent.contains(&entry) {
                send(&entry)?;
                self.sent.push(entry);
            }
        }
        let epoch = notary.integrator().epoch().number;
        if self.since.0 != epoch || self.since.1 > now_ms {
            if self.proposed.take().is_some_and(|(before, _)| before < epoch) {
                notary.orders().done(ROTATE);
            }
            self.since = (epoch, now_ms);
            write_synced(&self.file, format!("{epoch} {now_ms}\n").as_bytes())
                .map_err(|source| NotaryError::Mark { path: self.file.clone(), source })?;
            crate::metrics::epoch(epoch);
            return Ok(());
        }
        let old = self.period_ms > 0 && now_ms.saturating_sub(self.since.1) >= self.period_ms;
        let waiting = self.proposed.is_some_and(|(_, at)| (0..AGAIN_MS).contains(&now_ms.saturating_sub(at)));
        if waiting || !(old || notary.orders().wants_rotation()) {
            return Ok(());
        }
        self.proposed = Some((epoch, now_ms));
        match notary.rotation() {
            Ok(entry) => send(&entry),
            Err(error) => {
                tracing::error!(epoch, error = &error as &dyn std::error::Error, "the next key epoch cannot begin");
                Ok(())
            }
        }
    }
}

/// An answered proposal that was an operator's order is done with.
pub(crate) fn answered(orders: &Orders, proposal: &[u8]) {
    for (name, entry) in orders.entries() {
        if entry == proposal {
            orders.done(name);
        }
    }
}
