//! One Parquet object: its footer, and its rows one row group at a time.
//!
//! Strict: the object must end in one whole footer whose keys all parse. Memory: the object's bytes, plus one record
//! batch of at most [`BATCH_ROWS`] rows. Statistics, page indexes and bloom filters are never used to leave rows out:
//! nothing proves them, so a forged one must not be able to hide a row.

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
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        let metadata = ArrowReaderMetadata::load(&bytes, options)?;
        let pairs = metadata.metadata().file_metadata().key_value_metadata().into_iter().flatten();
        let pairs = pairs.map(|pair| (pair.key.as_str(), pair.value.as_deref()));
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
}
