//! One Parquet object: its footer, and its rows one row group at a time.
//!
//! Strict: the object must end in one whole footer whose keys all parse. Memory: the object's bytes, plus one record
//! batch of at most [`BATCH_ROWS`] rows. Statistics, page indexes and bloom filters are never used to leave rows out:
//! nothing proves them, so a forged one must not be able to hide a row.

use std::ops::Range;

use bytes::Bytes;
use columns::footer::Footer;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use schemas::layout::Table;

/// Rows of one record batch.
pub const BATCH_ROWS: usize = 4096;
/// Bytes of a Parquet magic, at both ends.
const MAGIC_LEN: usize = 4;
/// Magic and footer length, at the end.
const TAIL_LEN: usize = 8;

/// Why an object cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Not a Parquet object, or damaged.
    #[error("read Parquet")]
    Parquet(#[from] ParquetError),
    /// A record batch cannot be decoded.
    #[error("read rows")]
    Rows(#[from] arrow::error::ArrowError),
    /// The footer keys are not those of an archive object.
    #[error("read footer keys")]
    Footer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The columns are not those of the table.
    #[error("map columns")]
    Columns(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such row group or column.
    #[error("read row group {group}: no such row group or column")]
    NoGroup {
        /// Row group asked for.
        group: usize,
    },
}

/// An object's bytes with its decoded footer.
#[derive(Debug)]
pub struct ObjectRows {
    bytes: Bytes,
    table: Table,
    metadata: ArrowReaderMetadata,
    footer: Footer,
}

impl ObjectRows {
    /// Decodes the footer of a whole object.
    ///
    /// # Errors
    /// [`ObjectError::Parquet`], [`ObjectError::Footer`].
    pub fn open(table: Table, bytes: Bytes) -> Result<Self, ObjectError> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&bytes, options)?;
        let pairs = metadata.metadata().file_metadata().key_value_metadata().into_iter().flatten();
        let pairs = pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()));
        let footer = Footer::from_key_values(pairs).map_err(|error| ObjectError::Footer(error.into()))?;
        Ok(Self { bytes, table, metadata, footer })
    }

    /// The archive's own footer keys.
    #[must_use]
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The Parquet footer.
    #[must_use]
    pub fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// The table whose columns the object must have.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// The object's bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Number of row groups.
    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    /// Rows of a row group as the Parquet footer says; 0 for one that is not there.
    #[must_use]
    pub fn rows_of(&self, group: usize) -> i64 {
        self.metadata().row_groups().get(group).map_or(0, |group| group.num_rows())
    }

    /// The rows of one row group, all columns, in record batches of [`BATCH_ROWS`].
    ///
    /// # Errors
    /// [`ObjectError::NoGroup`], [`ObjectError::Parquet`].
    pub fn group(&self, group: usize) -> Result<ParquetRecordBatchReader, ObjectError> {
        self.reader(group, None)
    }

    /// As [`ObjectRows::group`], with only these top-level columns.
    ///
    /// # Errors
    /// [`ObjectError::NoGroup`] also when a column is not there, [`ObjectError::Parquet`].
    pub fn columns(&self, group: usize, names: &[&str]) -> Result<ParquetRecordBatchReader, ObjectError> {
        let fields = self.metadata.schema().fields();
        if names.iter().any(|name| fields.iter().all(|field| field.name() != name)) {
            return Err(ObjectError::NoGroup { group });
        }
        self.reader(group, Some(names))
    }

    fn reader(&self, group: usize, names: Option<&[&str]>) -> Result<ParquetRecordBatchReader, ObjectError> {
        if group >= self.row_groups() {
            return Err(ObjectError::NoGroup { group });
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(BATCH_ROWS);
        let builder = match names {
            None => builder,
            Some(names) => {
                let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
                builder.with_projection(mask)
            }
        };
        Ok(builder.build()?)
    }

    /// Byte ranges of the object that belong to nothing a Parquet reader knows: not a page, filter, index, footer or
    /// magic; and ranges that two of those claim. Empty for an object the archiver wrote.
    #[must_use]
    pub fn stray_bytes(&self) -> Vec<Range<u64>> {
        let mut known = self.known_ranges();
        known.sort_by_key(|range| (range.start, range.end));
        let len = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        let mut stray = Vec::new();
        let mut end = 0;
        for range in known {
            if range.start > end {
                stray.push(end..range.start);
            } else if range.start < end && range.start < range.end {
                stray.push(range.start..range.end.min(end));
            }
            end = end.max(range.end);
        }
        if end != len {
            stray.push(end.min(len)..end.max(len));
        }
        stray
    }

    fn known_ranges(&self) -> Vec<Range<u64>> {
        let mut known = Vec::new();
        let len = self.bytes.len();
        let tail = self.bytes.get(len.saturating_sub(TAIL_LEN)..).and_then(|tail| tail.first_chunk::<4>());
        let footer = tail.map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let magic = u64::try_from(MAGIC_LEN).unwrap_or(0);
        let tail_len = u64::try_from(TAIL_LEN).unwrap_or(0);
        known.push(0..magic);
        known.push(len.saturating_sub(tail_len).saturating_sub(footer)..len);
        let metadata = self.metadata();
        let mut push = |offset: Option<i64>, length: Option<i32>| {
            if let (Some(Ok(start)), Some(Ok(length))) = (offset.map(u64::try_from), length.map(u64::try_from)) {
                known.push(start..start.saturating_add(length));
            }
        };
        for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            push(column.bloom_filter_offset(), column.bloom_filter_length());
            push(column.column_index_offset(), column.column_index_length());
            push(column.offset_index_offset(), column.offset_index_length());
        }
        for (number, group) in metadata.row_groups().iter().enumerate() {
            for (at, column) in group.columns().iter().enumerate() {
                let offset = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
                let (Ok(start), Ok(length)) = (u64::try_from(offset), u64::try_from(column.compressed_size())) else {
                    continue;
                };
                let chunk = start..start.saturating_add(length);
                match self.page_ranges(number, at, &chunk, column.data_page_offset()) {
                    Some(pages) => known.extend(pages),
                    None => known.push(chunk),
                }
            }
        }
        known
    }

    /// The pages of a column chunk by its offset index, the dictionary page as what lies before the first; `None`
    /// without an index. A page outside the chunk is left as it is and shows as an overlap or a gap.
    fn page_ranges(&self, group: usize, column: usize, chunk: &Range<u64>, data: i64) -> Option<Vec<Range<u64>>> {
        let pages = self.metadata().offset_index()?.get(group)?.get(column)?.page_locations();
        let mut ranges = Vec::with_capacity(pages.len() + 1);
        let data = u64::try_from(data).ok()?;
        if data > chunk.start {
            ranges.push(chunk.start..data);
        }
        for page in pages {
            let start = u64::try_from(page.offset).ok()?;
            ranges.push(start..start.saturating_add(u64::try_from(page.compressed_page_size).ok()?));
        }
        Some(ranges)
    }
}
