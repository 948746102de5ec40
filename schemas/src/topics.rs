//! Topic names, partitioning, and who writes and reads what.

/// Every topic of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Messages as the proxy saw them, content encrypted.
    pub raw: String,
    /// The same with context.
    pub enriched: String,
    /// Masked messages; sealed.
    pub frames: String,
    /// Masked activity; sealed.
    pub events: String,
    /// Identity and context of sessions; compacted.
    pub sessions: String,
    /// What the enricher must know after a restart; compacted.
    pub enricher_state: String,
    /// What the masker must know after a restart; compacted.
    pub masker_state: String,
    /// Unsigned seals and receipts of archived objects, one partition.
    pub seal_proposals: String,
    /// Seals with place and signature.
    pub seals: String,
    /// Approvals.
    pub approvals: String,
    /// Refused inputs.
    pub dlq: String,
}

/// Default partition count of the keyed topics.
pub const PARTITIONS_DEFAULT: i32 = 12;

impl Topics {
    /// Names under `prefix`, which ends in a dot (`audit.` by default).
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let name = |rest: &str| format!("{prefix}{rest}");
        Self {
            raw: name("raw"),
            enriched: name("enriched"),
            frames: name("frames"),
            events: name("events"),
            sessions: name("sessions"),
            enricher_state: name("enricher.state"),
            masker_state: name("masker.state"),
            seal_proposals: name("seal.proposals"),
            seals: name("seals"),
            approvals: name("approvals"),
            dlq: name("dlq"),
        }
    }
}

/// How long a topic keeps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// This many days.
    Days(i64),
    /// For ever.
    Forever,
    /// The newest record of each key.
    Compact,
}

/// One topic: what it holds, who writes and who reads it. One writer principal per topic, seal
/// proposals, approvals and dlq excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Full name.
    pub name: String,
    /// Partitions; fixed for the topic's life.
    pub partitions: i32,
    /// Retention.
    pub retention: Retention,
    /// What the record key is.
    pub key: &'static str,
    /// Who writes.
    pub writers: &'static [&'static str],
    /// Who reads.
    pub readers: &'static [&'static str],
}

impl Topics {
    /// Every topic with its plan; keyed topics share `partitions`, so that a session stays on one number all along.
    #[must_use]
    pub fn plan(&self, partitions: i32) -> Vec<Plan> {
        use Retention::{Compact, Days, Forever};
        type Row<'a> = (&'a str, i32, Retention, &'static str, &'static [&'static str], &'static [&'static str]);
        let rows: [Row<'_>; 11] = [
            (&self.raw, partitions, Days(7), "session_id", &["ingest-proxy"], &["enricher"]),
            (&self.enriched, partitions, Days(2), "session_id", &["enricher"], &["masker"]),
            (&self.frames, partitions, Days(7), "session_id", &["masker"], &["sealer", "archiver"]),
            (&self.events, partitions, Days(30), "session_id", &["masker"], &["sealer", "archiver", "soc"]),
            (&self.sessions, partitions, Compact, "session_id", &["ingest-proxy"], &["enricher"]),
            (&self.enricher_state, partitions, Compact, "session_id", &["enricher"], &["enricher"]),
            (&self.masker_state, partitions, Compact, "session_id", &["masker"], &["masker"]),
            (&self.seal_proposals, 1, Forever, "stream_id", &["sealer", "archiver"], &["sealer"]),
            (&self.seals, 1, Forever, "stream_id", &["sealer"], &["archiver"]),
            (&self.approvals, 1, Forever, "approval_id", &["ingest-proxy", "cli"], &["ingest-proxy"]),
            (
                &self.dlq,
                partitions,
                Days(90),
                "origin topic-partition",
                &["ingest-proxy", "enricher", "masker"],
                &["cli"],
            ),
        ];
        rows.into_iter()
            .map(|(name, partitions, retention, key, writers, readers)| Plan {
                name: name.to_owned(),
                partitions,
                retention,
                key,
                writers,
                readers,
            })
            .collect()
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self::new("audit.")
    }
}

/// The partition of a key: Java's murmur2, masked positive, modulo the count, as Kafka's default partitioner does.
#[must_use]
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    let positive = i32::from_ne_bytes((murmur2(key) & 0x7fff_ffff).to_ne_bytes());
    positive.checked_rem(partitions.max(1)).unwrap_or(0)
}

/// Murmur2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0u32, |word, byte| (word << 8) | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        hash ^= tail.iter().rev().fold(0u32, |word, byte| (word << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_kafka() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key).cast_signed(), expected);
        }
    }
}
