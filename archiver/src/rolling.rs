//! One file: whole sealed batches of one stream, and the rule where it ends.
//!
//! The rule looks at seals and leaf bytes only. It never looks at a clock, at memory or at how records arrived, so that
//! a second try gives the same files with the same bytes (I-04, I-12).

use columns::{Footer, FooterBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::Record as _;
use schemas::layout::{Table, object_name};
use schemas::v1::{self, StreamId};

use crate::collect::Collected;
use crate::config::ArchiverConfig;
use crate::error::ArchiveError;
use crate::seal::Seal;

/// Leading heartbeats of an idle stream that one file carries; then they are archived without rows.
pub const HEARTBEATS_MAX: usize = 1440;
/// Batches of one file.
const BATCHES_MAX: usize = 16_384;
const HOUR_MS: i64 = 3_600_000;
const REASON_SHUTDOWN: i32 = 6;

/// Constant facts of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFacts {
    /// Table.
    pub table: Table,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Cluster id.
    pub cluster_id: String,
    /// Topic UUID.
    pub topic_id: String,
    /// Stream id.
    pub id: StreamId,
}

/// The record schema's exact text.
#[must_use]
pub fn schema_json(table: Table) -> &'static str {
    match table {
        Table::Frames => v1::Frame::SCHEMA,
        Table::Events => v1::Event::SCHEMA,
    }
}

/// A file that is being written; its finished pages are in memory, compressed.
pub struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    footer: Footer,
    row_group_rows: u64,
    target_bytes: u64,
    leaf_bytes: u64,
    rows_in_group: u64,
    row_group: u32,
    data_batches: usize,
    named_ms: i64,
}

/// A file that is complete.
#[derive(Debug)]
pub struct Finished {
    /// Object name.
    pub name: String,
    /// The whole Parquet file.
    pub bytes: bytes::Bytes,
    /// Its footer.
    pub footer: Footer,
}

fn properties(row_group_rows: u32) -> Result<WriterProperties, ParquetError> {
    let path = |name: &str| ColumnPath::from(name);
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by("sealtrail".to_owned())
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(None);
    for name in ["event_id", "session_id"] {
        builder = builder
            .set_column_bloom_filter_enabled(path(name), true)
            .set_column_bloom_filter_max_ndv(path(name), row_group_rows.into());
    }
    builder = builder.set_column_dictionary_enabled(path("event_id"), false);
    for name in ["sequence", "observed_at_us", "_seq", "_offset", "_ts"] {
        builder = builder
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(builder.build())
}

impl OpenFile {
    /// A file whose first seal is `seal`; add it next.
    ///
    /// # Errors
    /// [`ArchiveError::Parquet`].
    pub fn new(facts: &StreamFacts, config: &ArchiverConfig, seal: &Seal) -> Result<Self, ArchiveError> {
        let named_ms = seal.body.closed_at;
        let failed = |source| ArchiveError::Parquet {
            name: object_name(facts.table, facts.partition, seal.body.seal_seq, named_ms),
            source,
        };
        let options = ArrowWriterOptions::new()
            .with_properties(properties(config.row_group_rows).map_err(failed)?)
            .with_skip_arrow_metadata(true);
        let schema = columns::schema(facts.table);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).map_err(failed)?;
        let footer = Footer {
            schema_json: schema_json(facts.table).to_owned(),
            topic: facts.topic.clone(),
            partition: facts.partition,
            cluster_id: facts.cluster_id.clone(),
            topic_id: facts.topic_id.clone(),
            stream_id: facts.id,
            table: facts.table,
            batches: Vec::new(),
        };
        Ok(Self {
            writer,
            footer,
            row_group_rows: config.row_group_rows.into(),
            target_bytes: config.target_bytes,
            leaf_bytes: 0,
            rows_in_group: 0,
            row_group: 0,
            data_batches: 0,
            named_ms,
        })
    }

    /// Object name: its hour is that of the first seal with rows (of the first seal when none has), so that an idle
    /// night's heartbeats do not move a morning's rows into the evening.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.footer.batches.first().map_or(0, |batch| batch.seal_seq);
        object_name(self.footer.table, self.footer.partition, first, self.named_ms)
    }

    /// True when the file ends before this seal, whose batch has `leaf_bytes`.
    #[must_use]
    pub fn ends_before(&self, seal: &Seal, leaf_bytes: u64) -> bool {
        if self.data_batches == 0 {
            return seal.body.count == 0 && self.footer.batches.len() >= HEARTBEATS_MAX;
        }
        let hour = |ms: i64| ms.div_euclid(HOUR_MS);
        (seal.body.count > 0 && self.leaf_bytes.saturating_add(leaf_bytes) > self.target_bytes)
            || hour(seal.body.closed_at) != hour(self.named_ms)
            || self.footer.batches.len() >= BATCHES_MAX
    }

    /// True when the file ends after the seal just added: a heartbeat or the sealer's last seal, after rows.
    #[must_use]
    pub fn ends_after(&self, seal: &Seal) -> bool {
        self.data_batches > 0 && (seal.body.count == 0 || seal.body.reason == REASON_SHUTDOWN)
    }

    /// Adds a batch that was checked against its seal.
    ///
    /// # Errors
    /// [`ArchiveError::Parquet`]; the file must then be dropped.
    pub fn add(&mut self, seal: &Seal, batch: &Collected) -> Result<(), ArchiveError> {
        let count = u64::try_from(seal.body.count).unwrap_or(0);
        let mut place = (0, 0);
        if count > 0 {
            if self.data_batches == 0 {
                self.named_ms = seal.body.closed_at;
            }
            if self.rows_in_group > 0 && self.rows_in_group.saturating_add(count) > self.row_group_rows {
                self.writer.flush().map_err(|source| self.failed(source))?;
                self.row_group += 1;
                self.rows_in_group = 0;
            }
            place = (self.row_group, self.rows_in_group);
            for slice in &batch.slices {
                if let Err(source) = self.writer.write(slice) {
                    return Err(self.failed(source));
                }
            }
            self.rows_in_group += count;
            self.data_batches += 1;
            self.leaf_bytes = self.leaf_bytes.saturating_add(batch.leaf_bytes);
        }
        self.footer.batches.push(FooterBatch {
            seal_seq: seal.body.seal_seq,
            row_group: place.0,
            first_row_in_group: place.1,
            count,
            group_hashes: batch.tree.group_hashes().into_iter().map(Into::into).collect(),
            envelope: seal.envelope.clone(),
        });
        Ok(())
    }

    fn failed(&self, source: ParquetError) -> ArchiveError {
        ArchiveError::Parquet { name: self.name(), source }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`ArchiveError::Parquet`].
    pub fn finish(mut self) -> Result<Finished, ArchiveError> {
        let name = self.name();
        for (key, value) in self.footer.to_key_values() {
            self.writer.append_key_value_metadata(KeyValue::new(key, value));
        }
        let bytes = self.writer.into_inner().map_err(|source| ArchiveError::Parquet { name: name.clone(), source })?;
        Ok(Finished { name, bytes: bytes.into(), footer: self.footer })
    }
}
