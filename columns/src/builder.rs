//! From records to columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use schemas::layout::Table;
use schemas::leaf::{FLAG_KEY, FLAG_OPAQUE, FLAG_VALUE, TIMESTAMP_LOG_APPEND};
use schemas::v1;

use crate::error::ColumnsError;
use crate::kind::{Bytes, Int, Kind, Long};
use crate::tables::{EventBuilders, FrameBuilders};

/// What a row says beside its record: the bus facts that are part of the leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowMeta {
    /// Dense number of the event in its stream, from 0.
    pub seq: i64,
    /// Bus offset.
    pub offset: i64,
    /// Bus timestamp, milliseconds since epoch UTC.
    pub timestamp_ms: i64,
    /// True when the bus set the timestamp.
    pub log_append_time: bool,
    /// Record key; `None` when null.
    pub key: Option<Vec<u8>>,
    /// The value failed the canonical gate; its raw bytes are kept.
    pub opaque: bool,
}

/// Names of the columns that are no field of the record, in order after the typed ones.
pub(crate) const SYSTEM: [&str; 7] = ["_seq", "_offset", "_ts", "_ts_type", "_flags", "_key", "_raw"];

/// The Arrow schema of a table: the record's fields in order, then `_seq`, `_offset`, `_ts`, `_ts_type`, `_flags`,
/// `_key`, `_raw`. Typed columns are nullable, because an opaque row has none of them.
#[must_use]
pub fn schema(table: Table) -> SchemaRef {
    let mut fields = match table {
        Table::Frames => FrameBuilders::fields(),
        Table::Events => EventBuilders::fields(),
    };
    let types = [
        DataType::Int64,
        DataType::Int64,
        DataType::Int64,
        DataType::Int32,
        DataType::Int32,
        DataType::Binary,
        DataType::Binary,
    ];
    for (name, data_type) in SYSTEM.into_iter().zip(types) {
        let nullable = data_type == DataType::Binary;
        fields.push(Field::new(name, data_type, nullable));
    }
    Arc::new(Schema::new(fields))
}

enum Typed {
    Frames(Box<FrameBuilders>),
    Events(Box<EventBuilders>),
}

/// Collects rows of one table. Not bounded by itself: the caller decides when to [`Builder::finish`], and must do so
/// before a column holds 2 GiB.
pub struct Builder {
    schema: SchemaRef,
    typed: Typed,
    seq: <Long as Kind>::Builder,
    offset: <Long as Kind>::Builder,
    ts: <Long as Kind>::Builder,
    ts_type: <Int as Kind>::Builder,
    flags: <Int as Kind>::Builder,
    key: <Bytes as Kind>::Builder,
    raw: <Bytes as Kind>::Builder,
    rows: usize,
}

impl Builder {
    /// An empty builder.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let typed = match table {
            Table::Frames => Typed::Frames(Box::new(FrameBuilders::new())),
            Table::Events => Typed::Events(Box::new(EventBuilders::new())),
        };
        Self {
            schema: schema(table),
            typed,
            seq: Long::builder(),
            offset: Long::builder(),
            ts: Long::builder(),
            ts_type: Int::builder(),
            flags: Int::builder(),
            key: Bytes::builder(),
            raw: Bytes::builder(),
            rows: 0,
        }
    }

    /// Rows since the last [`Builder::finish`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a frame; `meta.opaque` is not looked at.
    ///
    /// # Errors
    /// [`ColumnsError::Row`] when this builds the other table.
    pub fn push_frame(&mut self, frame: &v1::Frame, meta: &RowMeta) -> Result<(), ColumnsError> {
        let Typed::Frames(typed) = &mut self.typed else { return Err(ColumnsError::Row(self.rows)) };
        typed.push(frame);
        self.push_meta(meta, FLAG_VALUE, None);
        Ok(())
    }

    /// Adds an event; `meta.opaque` is not looked at.
    ///
    /// # Errors
    /// [`ColumnsError::Row`] when this builds the other table.
    pub fn push_event(&mut self, event: &v1::Event, meta: &RowMeta) -> Result<(), ColumnsError> {
        let Typed::Events(typed) = &mut self.typed else { return Err(ColumnsError::Row(self.rows)) };
        typed.push(event);
        self.push_meta(meta, FLAG_VALUE, None);
        Ok(())
    }

    /// Adds a value that failed the canonical gate, prefix included, or (`None`) a record without a value.
    pub fn push_opaque(&mut self, raw: Option<&[u8]>, meta: &RowMeta) {
        match &mut self.typed {
            Typed::Frames(typed) => typed.null(),
            Typed::Events(typed) => typed.null(),
        }
        self.push_meta(meta, if raw.is_some() { FLAG_VALUE | FLAG_OPAQUE } else { 0 }, raw);
    }

    fn push_meta(&mut self, meta: &RowMeta, flags: u8, raw: Option<&[u8]>) {
        let key_flag = if meta.key.is_some() { FLAG_KEY } else { 0 };
        self.seq.append_value(meta.seq);
        self.offset.append_value(meta.offset);
        self.ts.append_value(meta.timestamp_ms);
        self.ts_type.append_value(if meta.log_append_time { i32::from(TIMESTAMP_LOG_APPEND) } else { 0 });
        self.flags.append_value(i32::from(flags | key_flag));
        self.key.append_option(meta.key.as_deref());
        self.raw.append_option(raw);
        self.rows += 1;
    }

    /// The rows so far as one batch; the builder is empty again.
    ///
    /// # Errors
    /// [`ColumnsError::Build`].
    pub fn finish(&mut self) -> Result<RecordBatch, ColumnsError> {
        let mut columns = match &mut self.typed {
            Typed::Frames(typed) => typed.finish(),
            Typed::Events(typed) => typed.finish(),
        };
        let system: [ArrayRef; 7] = [
            Long::finish(&mut self.seq),
            Long::finish(&mut self.offset),
            Long::finish(&mut self.ts),
            Int::finish(&mut self.ts_type),
            Int::finish(&mut self.flags),
            Bytes::finish(&mut self.key),
            Bytes::finish(&mut self.raw),
        ];
        columns.extend(system);
        self.rows = 0;
        debug_assert!(columns.iter().all(|column| column.len() == columns.first().map_or(0, |first| first.len())));
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| ColumnsError::Build(error.to_string()))
    }
}
