//! One object against the log: envelopes, schema, then every row to its leaf and every batch to its root (I-08).
//!
//! What a batch must be is taken from the log's seals alone; the object's footer only says where to look. Rows are
//! dealt to batches by position, or, when a row group has not the number of rows its seals say, by offset, so that one
//! row too many or too few is found in its own batch and does not spoil the next.
//!
//! # What is proven, and what is not
//! A changed byte is reported here when it changes a row, the archive's own footer keys, the place of a page, or when the
//! object can no longer be decoded. Parquet also stores what no seal covers: statistics, page indexes, bloom filters,
//! page header fields a reader ignores, spare bits of the compression, `created_by`. A byte changed there is found by the
//! object's receipt (`receipts`); of a stream's newest object, which may have none yet, it is not. No row can be changed
//! that way, and this crate never lets those parts decide which rows it reads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use columns::Rows;
use columns::footer::FooterBatch;
use schemas::entry::Entry;
use schemas::layout::{object_name, parse_object_name};
use schemas::v1::SealEnvelope;
use schemas::{Record as _, leaf};
use sha2::{Digest as _, Sha256};
use tlog::note::KeyKind;
use tlog::{Hash, VerifierKey, leaf_hash, leaf_hashes, root_of, seal_signed_bytes};

use super::batch::{Batch, Deal};
use super::chain::{Seal, Stream, StreamKey};
use super::layout;
use super::log::Log;
use super::report::{Findings, grouped};
use crate::fetch::ObjectRows;

/// Rows whose leaf inputs lie in the buffer together: few enough to stay in a core's own cache.
const CHUNK_ROWS: usize = 64;

/// What one object comes to.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) findings: Findings,
    /// Seals whose batch this object holds, whether or not it is sound.
    pub(crate) seen: Vec<(StreamKey, i64)>,
    pub(crate) rows: u64,
}

/// Checks one object, its row groups by up to `helpers` threads.
pub(crate) fn check(name: &str, bytes: Bytes, log: &Log, keys: &[VerifierKey], helpers: usize) -> Checked {
    let mut check = Check { name, log, keys, helpers, out: Checked::default() };
    check.object(bytes);
    check.out
}

struct Check<'a> {
    name: &'a str,
    log: &'a Log,
    keys: &'a [VerifierKey],
    helpers: usize,
    out: Checked,
}

impl Check<'_> {
    fn find(&mut self, code: &'static str, place: impl Into<String>, text: impl Into<String>) {
        self.out.findings.object(code, place, text, self.name);
    }

    fn object(&mut self, bytes: Bytes) {
        let name = self.name;
        let Some(parsed) = parse_object_name(name) else {
            return self.find("T23", name, "file no seal covers: not a name the archiver gives");
        };
        let object = match ObjectRows::open(parsed.table, bytes) {
            Ok(object) => object,
            Err(error) => return self.find("T28", name, format!("object cannot be read: {}", chain_text(&error))),
        };
        match layout::stray_bytes(&object) {
            Ok(stray) => stray.iter().for_each(|stray| self.find("T28", name, stray.to_string())),
            Err(error) => self.find("T28", name, format!("object cannot be read: {}", chain_text(&error))),
        }
        let footer = object.footer();
        let id = leaf::stream_id(&footer.cluster_id, &footer.topic, &footer.topic_id, footer.partition);
        if id != footer.stream_id || footer.partition != parsed.partition || footer.table != parsed.table {
            self.find("T23", name, "file no seal covers: its footer does not fit its stream id or its name");
        }
        let log = self.log;
        let Some(stream) = log.chains.get(&id) else {
            for origin in footer.batches.iter().take(1).filter_map(origin_of).filter(|origin| *origin != log.origin) {
                self.find("T12", name, format!("wrong origin: file of log `{origin}`"));
            }
            return self.find("T23", name, format!("file no seal covers: stream {id} is not in the log"));
        };
        let schema_hash: [u8; 32] = Sha256::digest(footer.schema_json.as_bytes()).into();
        let mut deals: Vec<Vec<(&FooterBatch, &Seal)>> = (0..object.row_groups()).map(|_| Vec::new()).collect();
        let mut first: Option<&Seal> = None;
        for batch in &footer.batches {
            let place = format!("{} seal {}", stream.name(), grouped(batch.seal_seq));
            let Some(seal) = stream.seal(batch.seal_seq) else {
                self.find("T23", place, "rows no seal covers: the log has no such seal");
                continue;
            };
            first = first.or(Some(seal));
            self.envelope(batch, seal, &place);
            if schema_hash != seal.schema_hash {
                self.find("T21", place.clone(), "schema does not match seal");
            }
            if i64::try_from(batch.count) != Ok(seal.count) || root_of(&group_hashes(batch)) != seal.root {
                let text = "footer differs from seal: count or 256-row hashes do not lead to the sealed root";
                self.find("T28", place.clone(), text);
            }
            match usize::try_from(batch.row_group).ok().and_then(|group| deals.get_mut(group)) {
                Some(deal) if seal.count > 0 => deal.push((batch, seal)),
                None if seal.count > 0 => continue, // no such row group: missing, T06
                _ => {}
            }
            self.out.seen.push((StreamKey(id.0), seal.seal_seq));
        }
        self.check_name(first, stream);
        self.check_receipt(StreamKey(id.0));
        self.groups(&object, deals, stream);
    }

    /// An object that lies elsewhere than its first seal says would be missed by who looks by time.
    fn check_name(&mut self, first: Option<&Seal>, stream: &Stream) {
        let (Some(seal), Some(parsed)) = (first, parse_object_name(self.name)) else { return };
        let expected = object_name(parsed.table, stream.partition, seal.seal_seq, seal.closed_at);
        if expected != self.name {
            self.find("T23", self.name, format!("file is not where its first seal says: {expected}"));
        }
    }

    /// The receipt must be of this stream, and of the very seals inside.
    fn check_receipt(&mut self, id: StreamKey) {
        let Some(receipt) = self.log.receipts.get(self.name) else { return };
        let name = self.name;
        if receipt.stream != id {
            self.find("T28", name, "object differs from ARCHIVE receipt: it is of another stream");
        }
        let inside = || self.out.seen.iter().map(|(_, seal_seq)| *seal_seq);
        if inside().min() != Some(receipt.first_seal) || inside().max() != Some(receipt.last_seal) {
            let (first, last) = (grouped(receipt.first_seal), grouped(receipt.last_seal));
            self.find(
                "T28",
                name,
                format!("object differs from ARCHIVE receipt: it does not hold seals {first}-{last}"),
            );
        }
    }

    /// The envelope kept beside the rows must hold the log's own entry, signed by a key of the caller's.
    fn envelope(&mut self, batch: &FooterBatch, seal: &Seal, place: &str) {
        let Ok(envelope) = SealEnvelope::from_body(&batch.envelope) else {
            return self.find("T29", place, "envelope in Parquet differs from log entry: not canonical");
        };
        let entry = leaf_hash(&envelope.entry);
        let index = u64::try_from(envelope.log_index).ok();
        let logged = usize::try_from(seal.index).ok().and_then(|index| self.log.leaves.get(index));
        if index != Some(seal.index) || logged != Some(&entry) {
            self.find("T29", place, "envelope in Parquet differs from log entry");
        }
        let size = u64::try_from(envelope.tree_size).unwrap_or(0);
        if size <= seal.index || size > self.log.size {
            let text = format!("envelope in Parquet differs from log entry: tree size {}", envelope.tree_size);
            self.find("T29", place, text);
        }
        let id = u32::from_be_bytes(envelope.key_id.0);
        let mut known = self.keys.iter().filter(|key| key.kind() == KeyKind::Ed25519 && key.id() == id).peekable();
        let may_sign = known.peek().is_none_or(|key| self.log.trust.may_sign(key, size));
        if !may_sign {
            let text = format!("key used outside its epoch: {id:08x} signed the envelope at tree size {size}");
            self.find("T13", place, text);
        }
        if known.peek().is_none() {
            self.find("T12", place, format!("no trusted log signature: envelope is signed by unknown key {id:08x}"));
        } else if !known.any(|key| key.verify_message(&seal_signed_bytes(&entry), &envelope.signature.0)) {
            self.find("T11", place, "bad signature of known key on the envelope");
        }
    }

    /// Every row group, by up to `helpers` threads; findings stay in the order of the groups.
    fn groups(&mut self, object: &ObjectRows, deals: Vec<Vec<(&FooterBatch, &Seal)>>, stream: &Stream) {
        let next = AtomicUsize::new(0);
        let slots: Vec<_> = deals.into_iter().map(|deal| Mutex::new((deal, Findings::default(), 0))).collect();
        let work = || {
            loop {
                let group = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = slots.get(group) else { return };
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                let members = std::mem::take(&mut slot.0);
                let mut rows = Group { name: self.name, group, stream, findings: Findings::default(), rows: 0 };
                if catch_unwind(AssertUnwindSafe(|| rows.check(object, members))).is_err() {
                    rows.unreadable("the decoder gave up");
                }
                (slot.1, slot.2) = (rows.findings, rows.rows);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.helpers.min(slots.len()) {
                scope.spawn(work);
            }
            work();
        });
        for slot in slots {
            let (_, findings, rows) = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.out.findings.extend(findings);
            self.out.rows += rows;
        }
    }
}

/// One row group on its way.
struct Group<'a> {
    name: &'a str,
    group: usize,
    stream: &'a Stream,
    findings: Findings,
    rows: u64,
}

impl Group<'_> {
    /// Every row to its batch, then every batch to its seal. One buffer holds the leaf inputs of [`CHUNK_ROWS`].
    fn check(&mut self, object: &ObjectRows, members: Vec<(&FooterBatch, &Seal)>) {
        let (name, group) = (self.name, self.group);
        let batches = members.into_iter().map(|(footer, seal)| {
            let first_row = i64::try_from(footer.first_row_in_group).unwrap_or(i64::MAX);
            Batch::new(seal, group_hashes(footer), first_row)
        });
        let mut deal = Deal::new(name, group, batches.collect(), object.rows_of(group), self.stream);
        let reader = match object.group(group) {
            Ok(reader) => reader,
            Err(error) => return self.unreadable(&chain_text(&error)),
        };
        let id = object.footer().stream_id;
        let (mut input, mut ends, mut leaves, mut bad) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for batch in reader {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return self.unreadable(&chain_text(&error)),
            };
            let rows = match Rows::new(object.table(), &batch) {
                Ok(rows) => rows,
                Err(error) => {
                    let text = format!("schema does not match seal: {}", chain_text(&error));
                    return self.findings.object("T21", format!("{name} rg {group}"), text, name);
                }
            };
            for from in (0..batch.num_rows()).step_by(CHUNK_ROWS) {
                let to = from.saturating_add(CHUNK_ROWS).min(batch.num_rows());
                input.clear();
                ends.clear();
                leaves.clear();
                bad.clear();
                for row in from..to {
                    let start = input.len();
                    if let Err(error) = rows.leaf_input(row, id, &mut input) {
                        input.truncate(start);
                        bad.push((row - from, chain_text(&error)));
                    }
                    ends.push(input.len());
                }
                leaf_hashes(&input, &ends, &mut leaves);
                for (at, text) in bad.drain(..) {
                    if let Some(leaf) = leaves.get_mut(at) {
                        *leaf = Hash::ZERO;
                    }
                    let at = deal.row().saturating_add(i64::try_from(at).unwrap_or(0));
                    let place = format!("{} rg {group}", self.stream.name());
                    self.findings.rows("T09", place, format!("row not canonical: {text}"), name, (at, at));
                }
                for (row, leaf) in (from..to).zip(&leaves) {
                    // a cell that cannot be read has made the leaf fail already
                    let (seq, offset) = rows.place(row).unwrap_or_default();
                    deal.take(seq, offset, *leaf, &mut self.findings);
                }
                self.rows += u64::try_from(to - from).unwrap_or(0);
            }
        }
        deal.finish(&mut self.findings);
    }

    fn unreadable(&mut self, text: &str) {
        let place = format!("{} rg {}", self.name, self.group);
        self.findings.object("T28", place, format!("object cannot be read: {text}"), self.name);
    }
}

/// Origin that a batch's own seal names.
fn origin_of(batch: &FooterBatch) -> Option<String> {
    let envelope = SealEnvelope::from_body(&batch.envelope).ok()?;
    match Entry::decode(&envelope.entry).ok()? {
        Entry::Seal(seal) => Some(seal.origin),
        _ => None,
    }
}

fn group_hashes(batch: &FooterBatch) -> Vec<Hash> {
    batch.group_hashes.iter().copied().map(Hash::new).collect()
}

/// An error with its causes, for a finding.
fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    // errors of libraries: a cycle would be a defect, but costs nothing to bound
    for _ in 0..8 {
        let Some(cause) = next else { break };
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
