//! What an archive file says of itself, as the key-value pairs of its Parquet footer.
//!
//! Everything here can be checked: the envelopes against the log, the group hashes against a seal's root. So nothing in
//! it is trusted, and reading it is bounded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::layout::Table;
use schemas::v1::StreamId;

/// Version of the layout of these pairs.
const VERSION: &str = "1";
/// Batches in one file.
pub const BATCHES_MAX: usize = 65_536;
/// Bytes of one value of the footer.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// Bytes of one envelope.
pub const ENVELOPE_BYTES_MAX: usize = 128 << 10;
/// Rows that share one group hash.
pub const GROUP_ROWS: u64 = 256;
const COUNT_MAX: u64 = 1 << 20;

/// One sealed batch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FooterBatch {
    /// `seal_seq` of its seal.
    pub seal_seq: i64,
    /// Row group that holds its rows; 0 when it has none.
    pub row_group: u32,
    /// First row, counted in that row group; 0 when it has none.
    pub first_row_in_group: u64,
    /// Rows; 0 for a heartbeat.
    pub count: u64,
    /// One hash per 256 leaves, the last group may be smaller; their tree has the seal's root.
    pub group_hashes: Vec<[u8; 32]>,
    /// Avro body of the seal's `SealEnvelope`.
    pub envelope: Vec<u8>,
}

/// The footer of a file: which stream, and its batches in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The record schema's exact text; its SHA-256 is each seal's `schema_hash`.
    pub schema_json: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Cluster id.
    pub cluster_id: String,
    /// Topic UUID in text form.
    pub topic_id: String,
    /// Stream id; the hash of the four fields before.
    pub stream_id: StreamId,
    /// Table.
    pub table: Table,
    /// Batches, dense by `seal_seq`.
    pub batches: Vec<FooterBatch>,
}

/// A footer that no file of ours has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("footer key `{key}` {reason}")]
pub struct FooterError {
    /// Key.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

const KEYS: [&str; 9] = [
    "sealtrail.version",
    "sealtrail.table",
    "sealtrail.topic",
    "sealtrail.partition",
    "sealtrail.cluster_id",
    "sealtrail.topic_id",
    "sealtrail.stream_id",
    "sealtrail.schema",
    "sealtrail.batches",
];
const BATCHES: &str = "sealtrail.batches";

impl Footer {
    /// The pairs in their fixed order.
    #[must_use]
    pub fn to_key_values(&self) -> Vec<(String, String)> {
        let mut batches = String::new();
        for batch in &self.batches {
            let hashes = STANDARD.encode(batch.group_hashes.concat());
            let envelope = STANDARD.encode(&batch.envelope);
            let FooterBatch { seal_seq, row_group, first_row_in_group, count, .. } = batch;
            batches.push_str(&format!("{seal_seq} {row_group} {first_row_in_group} {count} {envelope} {hashes}\n"));
        }
        let values = [
            VERSION.to_owned(),
            self.table.as_str().to_owned(),
            self.topic.clone(),
            self.partition.to_string(),
            self.cluster_id.clone(),
            self.topic_id.clone(),
            self.stream_id.to_string(),
            self.schema_json.clone(),
            batches,
        ];
        KEYS.iter().map(|key| (*key).to_owned()).zip(values).collect()
    }

    /// Reads the pairs; keys that are not ours are passed over (a writer adds its own), ours must be there once.
    ///
    /// # Errors
    /// [`FooterError`].
    pub fn from_key_values<'a>(
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, FooterError> {
        let mut found: [Option<&str>; 9] = [None; 9];
        for (key, value) in pairs {
            let Some((key, slot)) = KEYS.iter().zip(found.iter_mut()).find(|(known, _)| **known == key) else {
                continue;
            };
            let value = value.ok_or_else(|| wrong(key, "has no value"))?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(wrong(key, "is too long"));
            }
            if slot.replace(value).is_some() {
                return Err(wrong(key, "is there twice"));
            }
        }
        let mut values = KEYS.iter().zip(found).map(|(key, value)| value.ok_or_else(|| wrong(key, "is missing")));
        let mut next = || values.next().unwrap_or_else(|| Err(wrong(BATCHES, "is missing")));
        if next()? != VERSION {
            return Err(wrong("sealtrail.version", "is a version this program does not read"));
        }
        let table = next()?;
        let table = Table::ALL.into_iter().find(|known| known.as_str() == table);
        let table = table.ok_or_else(|| wrong("sealtrail.table", "is no table"))?;
        let topic = next()?.to_owned();
        let text = next()?;
        let partition: i32 = text.parse().map_err(|_| wrong("sealtrail.partition", "is no number"))?;
        if partition < 0 || partition.to_string() != text {
            return Err(wrong("sealtrail.partition", "is no partition"));
        }
        let (cluster_id, topic_id) = (next()?.to_owned(), next()?.to_owned());
        let stream_id = schemas::leaf::stream_id(&cluster_id, &topic, &topic_id, partition);
        if next()? != stream_id.to_string() {
            return Err(wrong("sealtrail.stream_id", "is not the id of this cluster, topic and partition"));
        }
        let schema_json = next()?.to_owned();
        let batches = parse_batches(next()?)?;
        Ok(Self { schema_json, topic, partition, cluster_id, topic_id, stream_id, table, batches })
    }
}

fn wrong(key: &'static str, reason: impl Into<String>) -> FooterError {
    FooterError { key, reason: reason.into() }
}

fn parse_batches(text: &str) -> Result<Vec<FooterBatch>, FooterError> {
    let mut batches: Vec<FooterBatch> = Vec::new();
    // row group and next row in it, after the batches so far
    let mut place: Option<(u32, u64)> = None;
    let body = text.strip_suffix('\n').ok_or_else(|| wrong(BATCHES, "is empty or cut"))?;
    for (number, line) in body.split('\n').enumerate() {
        let failed = |reason: &str| wrong(BATCHES, format!("line {number} {reason}"));
        if number >= BATCHES_MAX {
            return Err(failed("is one too many"));
        }
        let batch = parse_batch(line).ok_or_else(|| failed("is malformed"))?;
        if batches.last().is_some_and(|last| last.seal_seq.checked_add(1) != Some(batch.seal_seq)) {
            return Err(failed("leaves out a seal"));
        }
        let here = (batch.row_group, batch.first_row_in_group);
        if batch.count == 0 {
            if here != (0, 0) {
                return Err(failed("has a place but no rows"));
            }
        } else {
            let next_group = place.map_or(0, |(group, _)| group.saturating_add(1));
            if place != Some(here) && here != (next_group, 0) {
                return Err(failed("does not follow the rows before"));
            }
            place = Some((batch.row_group, batch.first_row_in_group.saturating_add(batch.count)));
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn parse_batch(line: &str) -> Option<FooterBatch> {
    let mut parts = line.split(' ');
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    let seal_seq = i64::try_from(number(parts.next()?)?).ok()?;
    let row_group = u32::try_from(number(parts.next()?)?).ok()?;
    let first_row_in_group = number(parts.next()?)?;
    let count = number(parts.next()?)?;
    let envelope = parts.next().filter(|text| text.len() <= ENVELOPE_BYTES_MAX * 2)?;
    let envelope = STANDARD.decode(envelope).ok().filter(|bytes| bytes.len() <= ENVELOPE_BYTES_MAX)?;
    let hashes = STANDARD.decode(parts.next()?).ok()?;
    let (groups, left) = hashes.as_chunks::<32>();
    let dense = left.is_empty() && u64::try_from(groups.len()).ok()? == count.div_ceil(GROUP_ROWS);
    (parts.next().is_none() && dense && count <= COUNT_MAX && !envelope.is_empty()).then(|| FooterBatch {
        seal_seq,
        row_group,
        first_row_in_group,
        count,
        group_hashes: groups.to_vec(),
        envelope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        let batch = |seal_seq, row_group, first_row_in_group, count: u64| FooterBatch {
            seal_seq,
            row_group,
            first_row_in_group,
            count,
            group_hashes: vec![[7; 32]; usize::try_from(count.div_ceil(GROUP_ROWS)).unwrap()],
            envelope: vec![1, 2, 3],
        };
        Footer {
            schema_json: "{\n}".into(),
            topic: "audit.frames".into(),
            partition: 3,
            cluster_id: "c".into(),
            topic_id: "t".into(),
            stream_id: schemas::leaf::stream_id("c", "audit.frames", "t", 3),
            table: Table::Frames,
            batches: vec![batch(4, 0, 0, 0), batch(5, 0, 0, 300), batch(6, 0, 300, 1), batch(7, 1, 0, 256)],
        }
    }

    fn read(pairs: &[(String, String)]) -> Result<Footer, FooterError> {
        Footer::from_key_values(pairs.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))))
    }

    #[test]
    fn round_trips_and_refuses_changes() {
        let footer = footer();
        let pairs = footer.to_key_values();
        assert_eq!(read(&pairs).unwrap(), footer);
        for missing in 0..pairs.len() {
            let mut fewer = pairs.clone();
            fewer.remove(missing);
            assert!(read(&fewer).is_err(), "without {}", pairs[missing].0);
            let mut twice = pairs.clone();
            twice.push(pairs[missing].clone());
            assert!(read(&twice).unwrap_err().reason.contains("twice"));
        }
        for (from, to) in [("5 0 0 300", "6 0 0 300"), ("6 0 300 1", "6 0 301 1"), ("7 1 0", "7 2 0"), ("\n", "")] {
            let mut changed = pairs.clone();
            changed[8].1 = pairs[8].1.replacen(from, to, 9);
            assert!(read(&changed).is_err(), "{from} -> {to}");
        }
        let mut moved = pairs.clone();
        moved[3].1 = "4".into();
        assert_eq!(read(&moved).unwrap_err().key, "sealtrail.stream_id");
    }
}
