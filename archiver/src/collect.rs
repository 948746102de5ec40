//! The records of one sealed batch: columns and tree, built side by side from the same bytes.

use arrow::array::RecordBatch;
use columns::{Builder, ColumnsError, RowMeta};
use schemas::layout::Table;
use schemas::leaf::LeafInput;
use schemas::v1::{self, StreamId};
use schemas::{Record as _, framing};
use stage::bus::RecordRef;
use tlog::{BatchTree, leaf_hash};

/// Rows of one slice. Slices are counted from the start of the batch, so that the Parquet bytes do not depend on polls.
const SLICE_ROWS: usize = 8192;
/// Leaf bytes after which a slice ends; a column must stay far below 2 GiB.
const SLICE_BYTES: usize = 32 << 20;

/// Collects one batch; bounded by the seal's count.
pub struct Collector {
    table: Table,
    stream_id: StreamId,
    builder: Builder,
    slices: Vec<RecordBatch>,
    slice_bytes: usize,
    tree: BatchTree,
    leaf_bytes: u64,
    first_offset: i64,
    last_offset: i64,
    frame: v1::Frame,
    event: v1::Event,
    meta: RowMeta,
    scratch: Vec<u8>,
}

/// A whole batch.
pub struct Collected {
    /// Its rows, in order.
    pub slices: Vec<RecordBatch>,
    /// Its tree.
    pub tree: BatchTree,
    /// Bytes of its leaf inputs.
    pub leaf_bytes: u64,
    /// First offset; -1 without rows.
    pub first_offset: i64,
    /// Last offset; -1 without rows.
    pub last_offset: i64,
}

impl Collector {
    /// Nothing collected.
    #[must_use]
    pub fn new(table: Table, stream_id: StreamId) -> Self {
        Self {
            table,
            stream_id,
            builder: Builder::new(table),
            slices: Vec::new(),
            slice_bytes: 0,
            tree: BatchTree::new(),
            leaf_bytes: 0,
            first_offset: -1,
            last_offset: -1,
            frame: v1::Frame::default(),
            event: v1::Event::default(),
            meta: RowMeta::default(),
            scratch: Vec::new(),
        }
    }

    /// Rows so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Adds a record as number `seq` of its stream; one that fails the canonical gate becomes an opaque row.
    ///
    /// # Errors
    /// [`ColumnsError`].
    pub fn push(&mut self, seq: i64, record: &RecordRef<'_>) -> Result<(), ColumnsError> {
        self.meta.seq = seq;
        self.meta.offset = record.offset;
        self.meta.timestamp_ms = record.timestamp_ms;
        self.meta.log_append_time = record.log_append_time;
        match record.key {
            Some(key) => {
                let own = self.meta.key.get_or_insert_default();
                own.clear();
                own.extend_from_slice(key);
            }
            None => self.meta.key = None,
        }
        let body = record.value.and_then(|value| framing::split(value).ok()).map(|(_, body)| body);
        let body = body.filter(|body| match self.table {
            Table::Frames => self.frame.decode(body).is_ok(),
            Table::Events => self.event.decode(body).is_ok(),
        });
        match (body, self.table) {
            (Some(_), Table::Frames) => self.builder.push_frame(&self.frame, &self.meta)?,
            (Some(_), Table::Events) => self.builder.push_event(&self.event, &self.meta)?,
            (None, _) => self.builder.push_opaque(record.value, &self.meta),
        }
        let leaf = LeafInput {
            stream_id: self.stream_id,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            log_append_time: record.log_append_time,
            key: record.key,
            value: body.or(record.value),
            opaque: record.value.is_some() && body.is_none(),
        };
        self.scratch.clear();
        leaf.write(&mut self.scratch);
        self.tree.push(leaf_hash(&self.scratch)).map_err(|error| ColumnsError::Build(error.to_string()))?;
        self.leaf_bytes = self.leaf_bytes.saturating_add(u64::try_from(self.scratch.len()).unwrap_or(u64::MAX));
        self.slice_bytes = self.slice_bytes.saturating_add(self.scratch.len());
        if self.first_offset < 0 {
            self.first_offset = record.offset;
        }
        self.last_offset = record.offset;
        if self.builder.len() >= SLICE_ROWS || self.slice_bytes >= SLICE_BYTES {
            self.cut()?;
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<(), ColumnsError> {
        if !self.builder.is_empty() {
            self.slices.push(self.builder.finish()?);
        }
        self.slice_bytes = 0;
        Ok(())
    }

    /// The whole batch.
    ///
    /// # Errors
    /// [`ColumnsError`].
    pub fn finish(mut self) -> Result<Collected, ColumnsError> {
        self.cut()?;
        let Self { slices, tree, leaf_bytes, first_offset, last_offset, .. } = self;
        Ok(Collected { slices, tree, leaf_bytes, first_offset, last_offset })
    }
}
