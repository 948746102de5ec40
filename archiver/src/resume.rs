//! Where each stream goes on: after its newest object. No committed position is trusted.

use std::collections::HashMap;

use schemas::layout::{Table, parse_object_name};
use stage::store::Store;
use tlog::Hash;

use crate::error::ArchiveError;
use crate::readback::{ReadbackError, seal_of, stored_footer};
use crate::rolling::StreamFacts;

/// What a stream's next seal must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its `seal_seq`.
    pub seal_seq: i64,
    /// Its `first_seq`.
    pub first_seq: i64,
    /// Its `prev_seal_hash`.
    pub prev: Hash,
}

impl Next {
    /// Of a stream without archive.
    pub const FIRST: Self = Self { seal_seq: 0, first_seq: 0, prev: Hash::ZERO };
}

/// The newest object of each partition of each table. Names sort by sealed hour, and a stream's hours never go back.
///
/// # Errors
/// [`ArchiveError::Store`].
pub fn newest_objects(store: &Store) -> Result<HashMap<(Table, i32), String>, ArchiveError> {
    let mut newest: HashMap<(Table, i32), (i64, String)> = HashMap::new();
    for table in Table::ALL {
        for name in store.list(table.as_str())? {
            let Some(parsed) = parse_object_name(&name) else { continue };
            let day_hour = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
            let slot = newest.entry((parsed.table, parsed.partition)).or_default();
            if (day_hour(&name), parsed.first_seal) >= (day_hour(&slot.1), slot.0) {
                *slot = (parsed.first_seal, name);
            }
        }
    }
    Ok(newest.into_iter().map(|(key, (_, name))| (key, name)).collect())
}

/// Where `stream` goes on, given its partition's newest object.
///
/// # Errors
/// [`ArchiveError::Resume`] for an object that is not one of ours.
pub fn next_of(store: &Store, stream: &StreamFacts, newest: Option<&String>) -> Result<Next, ArchiveError> {
    let Some(name) = newest else { return Ok(Next::FIRST) };
    let failed = |source| ArchiveError::Resume { name: name.clone(), source };
    let footer = stored_footer(store, name).map_err(failed)?;
    if footer.stream_id != stream.id {
        tracing::warn!(object = %name, topic = %stream.topic, partition = stream.partition,
            "the newest object is of another topic of this name; the archive of this one begins");
        return Ok(Next::FIRST);
    }
    let last = footer.batches.last().ok_or_else(|| failed(ReadbackError::Whole("it holds no batch")))?;
    let seal = seal_of(&footer, last).map_err(failed)?;
    Ok(Next {
        seal_seq: seal.body.seal_seq + 1,
        first_seq: seal.body.first_seq.saturating_add(seal.body.count),
        prev: seal.leaf,
    })
}
