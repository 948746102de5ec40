//! Receipts: what the log says about whole objects, every byte of them (T28).
//!
//! Seals cover rows. A receipt covers what else Parquet stores and what decides which rows a query engine reads: page
//! headers, statistics, page indexes, filters. The rules are the notary's own: a stream's receipts follow each other
//! without gap or overlap, so a receipt that was left out shows.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemas::layout::{ObjectName, Table, parse_object_name};
use schemas::v1::ArchiveBody;
use sha2::{Digest as _, Sha256};

use super::chain::{Chains, StreamKey};
use super::report::{Findings, grouped};

/// What is kept of a receipt: about 200 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) stream: StreamKey,
    pub(crate) first_seal: i64,
    pub(crate) last_seal: i64,
    sha256: [u8; 32],
    bytes: i64,
    index: u64,
}

/// Every receipt of a log, by object name; of two for one name the first counts.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    objects: HashMap<String, Receipt>,
    /// Each stream's next seal without a receipt.
    next: BTreeMap<StreamKey, i64>,
}

impl Receipts {
    /// The receipt of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Receipt> {
        self.objects.get(name)
    }

    /// The next seal of a stream without a receipt.
    pub(crate) fn next(&self, key: &StreamKey) -> i64 {
        self.next.get(key).copied().unwrap_or(0)
    }

    /// Takes the receipt at log index `index`; `chains` holds the seals before it.
    pub(crate) fn take(
        &mut self,
        index: u64,
        receipt: ArchiveBody,
        origin: &str,
        chains: &Chains,
        findings: &mut Findings,
    ) {
        let place = format!("log entry {index}");
        let id = StreamKey(receipt.stream_id.0);
        let Some(stream) = chains.get(&receipt.stream_id) else {
            let text = format!("receipt of a stream without seals: {}", receipt.stream_id);
            return findings.object("T09", place, text, &receipt.object);
        };
        let fits = || {
            parse_object_name(&receipt.object).is_some_and(|name| {
                name.first_seal == receipt.first_seal
                    && name.partition == stream.partition
                    && stream.topic.ends_with(name.table.as_str())
            })
        };
        let checks = [
            ("version", receipt.version == 1),
            ("bytes", receipt.bytes > 0),
            ("first_seal", receipt.first_seal >= 0),
            ("last_seal", receipt.last_seal >= receipt.first_seal && stream.seal(receipt.last_seal).is_some()),
            ("object", fits()),
        ];
        if let Some((field, _)) = checks.iter().find(|(_, good)| !good) {
            let text = format!("entry not canonical: field {field} has a value no receipt may have");
            findings.object("T09", place.clone(), text, &receipt.object);
        }
        if receipt.origin != origin {
            let text = format!("wrong origin: receipt is of `{}`", receipt.origin);
            findings.object("T12", place.clone(), text, &receipt.object);
        }
        let next = self.next.entry(id).or_insert(0);
        if receipt.first_seal != *next {
            let text = format!(
                "receipt missing or out of order: {} seal {} is next, this one begins with {}",
                stream.name(),
                grouped(*next),
                grouped(receipt.first_seal)
            );
            findings.object("T08", place.clone(), text, &receipt.object);
        }
        *next = (*next).max(receipt.last_seal.saturating_add(1));
        let kept = Receipt {
            stream: id,
            first_seal: receipt.first_seal,
            last_seal: receipt.last_seal,
            sha256: receipt.object_sha256.0,
            bytes: receipt.bytes,
            index,
        };
        match self.objects.entry(receipt.object) {
            std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(kept)),
            std::collections::hash_map::Entry::Occupied(entry) => {
                let text = format!("second receipt of this object, the first is log entry {}", entry.get().index);
                findings.object("T09", place, text, entry.key());
            }
        }
    }

    /// Compares an object's bytes with its receipt; says nothing about one without.
    pub(crate) fn check_bytes(&self, name: &str, bytes: &[u8], findings: &mut Findings) {
        let Some(receipt) = self.get(name) else { return };
        let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let what = if length != receipt.bytes {
            format!("{} bytes, not {}", grouped(length), grouped(receipt.bytes))
        } else if Sha256::digest(bytes)[..] != receipt.sha256 {
            "another SHA-256".to_owned()
        } else {
            return;
        };
        let text = format!("object bytes differ from ARCHIVE receipt (log entry {}): {what}", receipt.index);
        findings.object("T28", name, text, name);
    }

    /// Receipts without an object, and objects without a receipt, which only a stream's newest may lack, and newer
    /// ones whose first seal was closed at `due_ms` or later. True when there are such, noted as all that is without one.
    pub(crate) fn check_names(
        &self,
        names: &[String],
        chains: &Chains,
        due_ms: Option<i64>,
        expired_ms: Option<i64>,
        notes: &mut Vec<String>,
        findings: &mut Findings,
    ) -> bool {
        let listed: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut gone: Vec<_> = self.objects.iter().filter(|(name, _)| !listed.contains(name.as_str())).collect();
        gone.sort_by_key(|(name, _)| *name);
        for (name, receipt) in gone {
            let closed = chains.streams.get(&receipt.stream).and_then(|stream| stream.seal(receipt.last_seal));
            if closed.is_some_and(|seal| expired_ms.is_some_and(|expired| seal.closed_at < expired)) {
                continue; // its seals are counted as expired
            }
            let text = format!("object of an ARCHIVE receipt missing (log entry {})", receipt.index);
            findings.object("T06", name.as_str(), text, name);
        }
        let mut newest: HashMap<(Table, i32), (&str, i64)> = HashMap::new();
        let parsed = || names.iter().filter_map(|name| Some((name.as_str(), parse_object_name(name)?)));
        for (name, object) in parsed() {
            let slot = newest.entry(key(&object)).or_insert((name, object.first_seal));
            let other = (name, object.first_seal);
            if place(&other) > place(slot) {
                *slot = other;
            }
        }
        let mut waits = false;
        for (name, object) in parsed().filter(|(name, _)| self.get(name).is_none()) {
            let is_newest = newest.get(&key(&object)).is_some_and(|(newest, _)| *newest == name);
            if is_newest || due_ms.is_some_and(|due| self.may_wait(&object, chains, due)) {
                waits |= !is_newest;
                notes.push(format!("{name} has no ARCHIVE receipt yet: its rows are proven, its other bytes are not"));
            } else {
                findings.object("T28", name, "object without ARCHIVE receipt, and not its stream's newest", name);
            }
        }
        waits
    }

    /// True for an object after its stream's last receipt that was sealed at `due_ms` or later.
    fn may_wait(&self, object: &ObjectName, chains: &Chains, due_ms: i64) -> bool {
        chains.streams.iter().any(|(key, stream)| {
            stream.partition == object.partition
                && stream.topic.ends_with(object.table.as_str())
                && object.first_seal >= self.next.get(key).copied().unwrap_or(0)
                && stream.seal(object.first_seal).is_some_and(|seal| seal.closed_at >= due_ms)
        })
    }
}

fn key(object: &ObjectName) -> (Table, i32) {
    (object.table, object.partition)
}

/// Order of an object within its stream: its sealed hour, then its first seal.
fn place<'a>((name, first_seal): &(&'a str, i64)) -> (&'a str, i64) {
    (name.rsplit_once('/').map_or("", |(folder, _)| folder), *first_seal)
}
