//! What the operator leaves for a notary in its state folder: files, because a running notary holds the embedded bus.
//!
//! `rotate` asks for a new key epoch now. `recover.entry` and `incident.entry` are log entries made by `sealtrail keys`,
//! to be proposed as they are. Each is removed when it has been obeyed or refused for good.

use std::path::{Path, PathBuf};

use schemas::entry::ENTRY_BYTES_MAX;

/// File that asks for a new key epoch.
pub const ROTATE: &str = "rotate";
/// File with a KEY entry signed by a recovery key.
pub const RECOVER: &str = "recover.entry";
/// File with an INCIDENT entry signed by a root key.
pub const INCIDENT: &str = "incident.entry";

/// The orders in one state folder.
#[derive(Debug, Clone)]
pub struct Orders(PathBuf);

impl Orders {
    /// The orders of a notary.
    #[must_use]
    pub fn of(state_folder: &Path) -> Self {
        Self(state_folder.to_owned())
    }

    /// True when a rotation is asked for.
    #[must_use]
    pub fn wants_rotation(&self) -> bool {
        self.0.join(ROTATE).exists()
    }

    /// An entry to propose, by its file name. One that is not there, or longer than any entry, is none.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(name)).ok().filter(|bytes| bytes.len() <= ENTRY_BYTES_MAX)
    }

    /// The entries to propose, with their file names.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, Vec<u8>)> {
        [RECOVER, INCIDENT].into_iter().filter_map(|name| Some((name, self.entry(name)?))).collect()
    }

    /// Removes an order that was obeyed or refused.
    pub fn done(&self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.0.join(name))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(name, %error, "an order that was obeyed cannot be removed");
        }
    }
}
