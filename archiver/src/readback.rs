//! From a file's bytes back to leaves, and from those to the seals: before a put, and when an object is there already.

use bytes::Bytes;
use columns::{ColumnsError, Footer, FooterBatch, FooterError, Rows};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use sha2::Digest as _;
use stage::store::{Store, StoreError};
use tlog::{BatchTree, leaf_hash};

use crate::seal::Seal;

/// Rows decoded at once.
const ROWS: usize = 4096;
/// Bytes of a file's end: length of the metadata, and the mark.
const TAIL: u64 = 8;
/// Most bytes of metadata read when a stream is resumed.
const METADATA_MAX: u64 = 256 << 20;

/// Why a file does not hold what was sealed.
#[derive(Debug, thiserror::Error)]
pub enum ReadbackError {
    /// Not the Parquet that we write.
    #[error("it is no readable Parquet file: {0}")]
    Parquet(#[from] ParquetError),
    /// Its footer is not ours.
    #[error("its footer is not one of ours: {0}")]
    Footer(FooterError),
    /// Its columns do not go back to records.
    #[error("its rows do not go back to records: {0}")]
    Columns(#[from] ColumnsError),
    /// An envelope in its footer is no seal.
    #[error("the envelope of seal {seal_seq}: {reason}")]
    Seal {
        /// Seal.
        seal_seq: i64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A batch does not have the root that was sealed.
    #[error("seal {seal_seq}: {reason}")]
    Differs {
        /// Seal.
        seal_seq: i64,
        /// What differs.
        reason: &'static str,
    },
    /// The file as a whole is not what it says.
    #[error("{0}")]
    Whole(&'static str),
    /// It cannot be read from the store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

fn footer_of(metadata: &ParquetMetaData) -> Result<Footer, ReadbackError> {
    let pairs = metadata.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let pairs = pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref()));
    Ok(Footer::from_key_values(pairs)?)
}

/// The footer of a stored object, from its end alone.
///
/// # Errors
/// [`ReadbackError`].
pub fn stored_footer(store: &Store, name: &str) -> Result<Footer, ReadbackError> {
    const GONE: ReadbackError = ReadbackError::Whole("it is gone");
    const SHORT: ReadbackError = ReadbackError::Whole("it is too short for a Parquet file");
    let size = store.size(name)?.ok_or(GONE)?;
    let tail_start = size.checked_sub(TAIL).ok_or(SHORT)?;
    let tail = store.get_range(name, tail_start..size)?.ok_or(GONE)?;
    let (length, mark) = tail.split_first_chunk::<4>().ok_or(SHORT)?;
    let length = u64::from(u32::from_le_bytes(*length));
    if mark != b"PAR1" || length > METADATA_MAX {
        return Err(ReadbackError::Whole("its end is not that of a Parquet file"));
    }
    let start = tail_start.checked_sub(length).ok_or(SHORT)?;
    let metadata = store.get_range(name, start..tail_start)?.ok_or(GONE)?;
    footer_of(&ParquetMetaDataReader::decode_metadata(&metadata)?)
}

/// The seal of a batch, if the two agree.
///
/// # Errors
/// [`ReadbackError::Seal`].
pub fn seal_of(footer: &Footer, batch: &FooterBatch) -> Result<Seal, ReadbackError> {
    let wrong = |reason| ReadbackError::Seal { seal_seq: batch.seal_seq, reason };
    let seal = Seal::parse(&batch.envelope).map_err(wrong)?;
    let body = &seal.body;
    if body.stream_id != footer.stream_id || body.topic != footer.topic || body.partition != footer.partition {
        return Err(wrong("is of another stream"));
    }
    if body.seal_seq != batch.seal_seq || u64::try_from(body.count) != Ok(batch.count) {
        return Err(wrong("is of another batch"));
    }
    let schema_hash: [u8; 32] = sha2::Sha256::digest(footer.schema_json.as_bytes()).into();
    if body.schema_hash.0 != schema_hash {
        return Err(wrong("names another schema"));
    }
    Ok(seal)
}

/// The rows of a file, one after the other over all row groups.
struct Cursor {
    reader: ParquetRecordBatchReader,
    footer: Footer,
    rows: Option<Rows>,
    next: usize,
    leaf: Vec<u8>,
}

impl Cursor {
    /// Leaf hash and dense number of the next row; `None` after the last.
    fn next(&mut self) -> Result<Option<(tlog::Hash, i64)>, ReadbackError> {
        loop {
            if let Some(rows) = self.rows.as_mut().filter(|rows| self.next < rows.len()) {
                self.leaf.clear();
                rows.leaf_input(self.next, self.footer.stream_id, &mut self.leaf)?;
                let seq = rows.seq(self.next)?;
                self.next += 1;
                return Ok(Some((leaf_hash(&self.leaf), seq)));
            }
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(|error| ParquetError::General(error.to_string()))?;
            self.rows = Some(Rows::new(self.footer.table, &batch)?);
            self.next = 0;
        }
    }
}

/// Rebuilds every leaf of a file and compares each batch's root and group hashes with its seal. Memory: one row group's
/// pages and one batch's hashes.
///
/// # Errors
/// [`ReadbackError`], naming the first thing that differs.
pub fn verify(bytes: &Bytes) -> Result<Footer, ReadbackError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?.with_batch_size(ROWS);
    let metadata = builder.metadata().clone();
    let footer = footer_of(&metadata)?;
    check_groups(&footer, &metadata)?;
    let mut cursor = Cursor { reader: builder.build()?, footer: footer.clone(), rows: None, next: 0, leaf: Vec::new() };
    let mut before: Option<Seal> = None;
    for batch in &footer.batches {
        let differs = |reason| ReadbackError::Differs { seal_seq: batch.seal_seq, reason };
        let seal = seal_of(&footer, batch)?;
        if let Some(before) = &before {
            if seal.body.prev_seal_hash.0 != *before.leaf.as_bytes() {
                return Err(differs("does not chain to the seal before"));
            }
            if before.body.first_seq.checked_add(before.body.count) != Some(seal.body.first_seq) {
                return Err(differs("does not number its rows after those before"));
            }
        }
        let mut tree = BatchTree::new();
        for number in 0..seal.body.count {
            let (leaf, seq) = cursor.next()?.ok_or_else(|| differs("rows are missing"))?;
            if seal.body.first_seq.checked_add(number) != Some(seq) {
                return Err(differs("a row has another number"));
            }
            tree.push(leaf).map_err(|_| differs("has too many rows"))?;
        }
        if tree.root() != seal.root() {
            return Err(differs("the rows do not hash to the sealed root"));
        }
        if !tree.group_hashes().iter().map(tlog::Hash::as_bytes).eq(batch.group_hashes.iter()) {
            return Err(differs("the footer's group hashes are not those of the rows"));
        }
        before = Some(seal);
    }
    if cursor.next()?.is_some() {
        return Err(ReadbackError::Whole("it holds rows that no seal covers"));
    }
    Ok(footer)
}

/// Each row group holds exactly the rows that the footer places in it.
fn check_groups(footer: &Footer, metadata: &ParquetMetaData) -> Result<(), ReadbackError> {
    let mut want: Vec<u64> = Vec::new();
    for batch in footer.batches.iter().filter(|batch| batch.count > 0) {
        let end = batch.first_row_in_group.saturating_add(batch.count);
        // the footer's own check made row groups dense
        match usize::try_from(batch.row_group).ok().and_then(|group| want.get_mut(group)) {
            Some(rows) => *rows = end,
            None => want.push(end),
        }
    }
    let have = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    if have.eq(want) { Ok(()) } else { Err(ReadbackError::Whole("its row groups are not those of its footer")) }
}
