//! From columns back to records and leaf inputs.

use arrow::array::RecordBatch;
use schemas::layout::Table;
use schemas::leaf::{FLAG_KEY, FLAG_OPAQUE, FLAG_VALUE, LeafInput, TIMESTAMP_LOG_APPEND};
use schemas::v1::{self, StreamId};

use crate::builder::{RowMeta, schema};
use crate::error::ColumnsError;
use crate::kind::{Bytes, Int, Kind, Long};
use crate::tables::{EventArrays, FrameArrays, open};

enum Typed {
    Frames(Box<FrameArrays>),
    Events(Box<EventArrays>),
}

/// The rows of one batch, checked as they are read.
pub struct Rows {
    typed: Typed,
    seq: <Long as Kind>::Array,
    offset: <Long as Kind>::Array,
    ts: <Long as Kind>::Array,
    ts_type: <Int as Kind>::Array,
    flags: <Int as Kind>::Array,
    key: <Bytes as Kind>::Array,
    raw: <Bytes as Kind>::Array,
    rows: usize,
}

impl Rows {
    /// Takes a batch that has exactly the table's columns.
    ///
    /// # Errors
    /// [`ColumnsError::Schema`].
    pub fn new(table: Table, batch: &RecordBatch) -> Result<Self, ColumnsError> {
        let want = schema(table);
        if let Some(extra) = batch.schema().fields().iter().find(|field| want.field_with_name(field.name()).is_err()) {
            return Err(ColumnsError::Schema { column: extra.name().clone(), reason: "is no column of the table" });
        }
        if batch.num_columns() != want.fields().len() {
            return Err(ColumnsError::Schema { column: "*".into(), reason: "is there twice, or one is missing" });
        }
        let typed = match table {
            Table::Frames => Typed::Frames(Box::new(FrameArrays::open(batch)?)),
            Table::Events => Typed::Events(Box::new(EventArrays::open(batch)?)),
        };
        Ok(Self {
            typed,
            seq: open::<Long>(batch, "_seq")?,
            offset: open::<Long>(batch, "_offset")?,
            ts: open::<Long>(batch, "_ts")?,
            ts_type: open::<Int>(batch, "_ts_type")?,
            flags: open::<Int>(batch, "_flags")?,
            key: open::<Bytes>(batch, "_key")?,
            raw: open::<Bytes>(batch, "_raw")?,
            rows: batch.num_rows(),
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The flags of a row, checked against key and raw bytes.
    fn flags(&self, row: usize) -> Result<u8, ColumnsError> {
        let cell = |column, reason| ColumnsError::Cell { column, row, reason };
        if row >= self.rows {
            return Err(ColumnsError::Row(row));
        }
        let mut flags = 0;
        Int::get(&self.flags, row, &mut flags).map_err(|reason| cell("_flags", reason))?;
        let flags = u8::try_from(flags)
            .ok()
            .filter(|flags| flags & !(FLAG_KEY | FLAG_VALUE | FLAG_OPAQUE) == 0)
            .filter(|flags| flags & FLAG_OPAQUE == 0 || flags & FLAG_VALUE != 0)
            .ok_or_else(|| cell("_flags", "is no set of flags"))?;
        if Bytes::is_null(&self.key, row) == (flags & FLAG_KEY != 0) {
            return Err(cell("_key", "disagrees with the flags"));
        }
        if Bytes::is_null(&self.raw, row) == (flags & FLAG_OPAQUE != 0) {
            return Err(cell("_raw", "disagrees with the flags"));
        }
        Ok(flags)
    }

    fn ts_type(&self, row: usize) -> Result<bool, ColumnsError> {
        let mut number = 0;
        let wrong = |reason| ColumnsError::Cell { column: "_ts_type", row, reason };
        Int::get(&self.ts_type, row, &mut number).map_err(wrong)?;
        match u8::try_from(number) {
            Ok(0) => Ok(false),
            Ok(TIMESTAMP_LOG_APPEND) => Ok(true),
            _ => Err(wrong("is neither 0 nor 1")),
        }
    }

    fn long(column: &'static str, array: &<Long as Kind>::Array, row: usize) -> Result<i64, ColumnsError> {
        let mut number = 0;
        Long::get(array, row, &mut number).map_err(|reason| ColumnsError::Cell { column, row, reason })?;
        Ok(number)
    }

    /// What a row says beside its record.
    ///
    /// # Errors
    /// [`ColumnsError::Cell`], [`ColumnsError::Row`].
    pub fn meta(&self, row: usize) -> Result<RowMeta, ColumnsError> {
        let flags = self.flags(row)?;
        Ok(RowMeta {
            seq: Self::long("_seq", &self.seq, row)?,
            offset: Self::long("_offset", &self.offset, row)?,
            timestamp_ms: Self::long("_ts", &self.ts, row)?,
            log_append_time: self.ts_type(row)?,
            key: (flags & FLAG_KEY != 0).then(|| self.key.value(row).to_vec()),
            opaque: flags & FLAG_OPAQUE != 0,
        })
    }

    /// The dense number of a row, without the rest of its facts.
    ///
    /// # Errors
    /// [`ColumnsError::Cell`], [`ColumnsError::Row`].
    pub fn seq(&self, row: usize) -> Result<i64, ColumnsError> {
        if row >= self.rows {
            return Err(ColumnsError::Row(row));
        }
        Self::long("_seq", &self.seq, row)
    }

    /// The raw bytes of an opaque row; `None` for any other.
    ///
    /// # Errors
    /// [`ColumnsError::Cell`], [`ColumnsError::Row`].
    pub fn raw(&self, row: usize) -> Result<Option<&[u8]>, ColumnsError> {
        Ok((self.flags(row)? & FLAG_OPAQUE != 0).then(|| self.raw.value(row)))
    }

    /// The frame of a row; false for a row that holds none (opaque, or without value).
    ///
    /// # Errors
    /// [`ColumnsError`]; `frame` then holds an unspecified but valid value.
    pub fn frame(&self, row: usize, frame: &mut v1::Frame) -> Result<bool, ColumnsError> {
        let has = self.flags(row)? & (FLAG_VALUE | FLAG_OPAQUE) == FLAG_VALUE;
        let Typed::Frames(typed) = &self.typed else { return Err(ColumnsError::Row(row)) };
        if has {
            typed.get(row, frame)?
        } else {
            typed.none(row)?
        }
        Ok(has)
    }

    /// The event of a row; false for a row that holds none (opaque, or without value).
    ///
    /// # Errors
    /// [`ColumnsError`]; `event` then holds an unspecified but valid value.
    pub fn event(&self, row: usize, event: &mut v1::Event) -> Result<bool, ColumnsError> {
        let has = self.flags(row)? & (FLAG_VALUE | FLAG_OPAQUE) == FLAG_VALUE;
        let Typed::Events(typed) = &self.typed else { return Err(ColumnsError::Row(row)) };
        if has {
            typed.get(row, event)?
        } else {
            typed.none(row)?
        }
        Ok(has)
    }

    /// Number and offset of a row, without the rest of its facts.
    ///
    /// # Errors
    /// [`ColumnsError::Cell`], [`ColumnsError::Row`].
    pub fn place(&self, row: usize) -> Result<(i64, i64), ColumnsError> {
        Ok((self.seq(row)?, Self::long("_offset", &self.offset, row)?))
    }

    /// Appends the leaf input of a row: the exact bytes that were hashed when the record was sealed. They are made of the
    /// columns directly; a test compares them with those of the decoded record.
    ///
    /// # Errors
    /// [`ColumnsError`]; `out` then holds the beginning of one.
    pub fn leaf_input(&self, row: usize, stream_id: StreamId, out: &mut Vec<u8>) -> Result<(), ColumnsError> {
        let flags = self.flags(row)?;
        let opaque = flags & FLAG_OPAQUE != 0;
        let has = flags & (FLAG_VALUE | FLAG_OPAQUE) == FLAG_VALUE;
        let leaf = LeafInput {
            stream_id,
            offset: Self::long("_offset", &self.offset, row)?,
            timestamp_ms: Self::long("_ts", &self.ts, row)?,
            log_append_time: self.ts_type(row)?,
            key: (flags & FLAG_KEY != 0).then(|| self.key.value(row)),
            value: if opaque { Some(self.raw.value(row)) } else { has.then_some(&[]) },
            opaque,
        };
        leaf.write(out);
        let body = out.len();
        match &self.typed {
            Typed::Frames(typed) if has => typed.put(row, out)?,
            Typed::Events(typed) if has => typed.put(row, out)?,
            Typed::Frames(typed) => typed.none(row)?,
            Typed::Events(typed) => typed.none(row)?,
        }
        if has {
            // the length stood before the value, which was not there yet
            let length = u32::try_from(out.len() - body).unwrap_or(u32::MAX).to_be_bytes();
            if let Some(place) = body.checked_sub(4).and_then(|at| out.get_mut(at..body)) {
                place.copy_from_slice(&length);
            }
        }
        Ok(())
    }
}
