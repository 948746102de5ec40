//! Records to columns and back, and the leaf inputs of both: property tests over arbitrary records.
#![allow(
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]
//! Records to columns and back; leaf inputs equal to those of the bus bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use columns::{Builder, ColumnsError, RowMeta, Rows};
use proptest::prelude::*;
use schemas::Record;
use schemas::layout::Table;
use schemas::leaf::LeafInput;
use schemas::v1::{self, StreamId};

const STREAM: StreamId = StreamId([9; 16]);

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn frame() -> impl Strategy<Value = v1::Frame> {
    let numbers = (any::<[u8; 16]>(), any::<i64>(), any::<i32>(), any::<bool>());
    let symbols = (0..6usize, 0..4usize, 0..3usize, 0..6usize);
    let bodies = (text(), prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(text(), 0..3));
    (numbers, symbols, bodies).prop_map(|((id, long, int, flag), symbols, (text, bytes, texts))| v1::Frame {
        event_id: v1::Uuid(id),
        sequence: long,
        observed_at_us: long,
        protocol: v1::Protocol::ALL[symbols.0],
        direction: v1::Direction::ALL[symbols.1],
        attribution: v1::Attribution::ALL[symbols.2],
        payload_state: v1::PayloadState::ALL[symbols.3],
        connection: int,
        last: flag,
        message_type: text.clone(),
        mask_version: text,
        payload: bytes,
        mask_rules: texts,
        ..v1::Frame::default()
    })
}

fn event() -> impl Strategy<Value = v1::Event> {
    let numbers = (any::<[u8; 16]>(), any::<i64>(), any::<Option<i64>>(), any::<bool>(), 0..9usize);
    let texts = (text(), prop::option::of(text()), prop::collection::vec(text(), 0..3));
    let labels = prop::collection::vec((text(), text()), 0..3);
    let parameters = prop::collection::vec((text(), any::<i64>(), prop::option::of(text())), 0..3);
    (numbers, texts, labels, parameters).prop_map(|(numbers, texts, labels, parameters)| v1::Event {
        session_id: v1::Uuid(numbers.0),
        authenticated_at_us: numbers.1,
        rows: numbers.2,
        duration_us: numbers.2,
        statement_truncated: numbers.3,
        kind: v1::EventKind::ALL[numbers.4],
        principal_email: texts.0,
        statement: texts.1.clone(),
        error_code: texts.1,
        principal_groups: texts.2.clone(),
        relations: texts.2,
        target_labels: labels.into_iter().map(|(key, value)| v1::Label { key, value }).collect(),
        parameters: parameters
            .into_iter()
            .map(|(name, type_oid, value)| v1::EventParameter { name, type_oid, value })
            .collect(),
        ..v1::Event::default()
    })
}

fn meta() -> impl Strategy<Value = RowMeta> {
    let key = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    (any::<i64>(), 0..i64::MAX, any::<i64>(), any::<bool>(), key).prop_map(
        |(seq, offset, timestamp_ms, log_append_time, key)| RowMeta {
            seq,
            offset,
            timestamp_ms,
            log_append_time,
            key,
            opaque: false,
        },
    )
}

fn leaf(meta: &RowMeta, value: Option<&[u8]>, opaque: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (stream_id, offset, timestamp_ms) = (STREAM, meta.offset, meta.timestamp_ms);
    let (log_append_time, key) = (meta.log_append_time, meta.key.as_deref());
    LeafInput { stream_id, offset, timestamp_ms, log_append_time, key, value, opaque }.write(&mut out);
    out
}

#[derive(Debug, Clone)]
enum Row<R> {
    Record(R),
    Opaque(Option<Vec<u8>>),
}

fn row<R: std::fmt::Debug + Clone>(record: impl Strategy<Value = R>) -> impl Strategy<Value = (Row<R>, RowMeta)> {
    let opaque = prop::option::of(prop::collection::vec(any::<u8>(), 0..40)).prop_map(Row::Opaque);
    (prop_oneof![4 => record.prop_map(Row::Record), 1 => opaque], meta())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_come_back(rows in prop::collection::vec(row(frame()), 0..8)) {
        let mut builder = Builder::new(Table::Frames);
        for (row, meta) in &rows {
            match row {
                Row::Record(frame) => builder.push_frame(frame, meta).unwrap(),
                Row::Opaque(raw) => builder.push_opaque(raw.as_deref(), meta),
            }
        }
        let read = Rows::new(Table::Frames, &builder.finish().unwrap()).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for (index, (row, meta)) in rows.iter().enumerate() {
            let mut out = Vec::new();
            read.leaf_input(index, STREAM, &mut out).unwrap();
            let mut frame = v1::Frame::default();
            let has = read.frame(index, &mut frame).unwrap();
            match row {
                Row::Record(want) => {
                    prop_assert!(has);
                    prop_assert_eq!(&frame, want);
                    prop_assert_eq!(out, leaf(meta, Some(&want.to_body()), false));
                }
                Row::Opaque(raw) => {
                    prop_assert!(!has);
                    prop_assert_eq!(out, leaf(meta, raw.as_deref(), raw.is_some()));
                    prop_assert_eq!(read.raw(index).unwrap(), raw.as_deref());
                }
            }
            let opaque = matches!(row, Row::Opaque(Some(_)));
            prop_assert_eq!(read.meta(index).unwrap(), RowMeta { opaque, ..meta.clone() });
        }
    }

    #[test]
    fn events_come_back(rows in prop::collection::vec((event(), meta()), 0..8)) {
        let mut builder = Builder::new(Table::Events);
        for (event, meta) in &rows {
            builder.push_event(event, meta).unwrap();
        }
        let read = Rows::new(Table::Events, &builder.finish().unwrap()).unwrap();
        for (index, (want, meta)) in rows.iter().enumerate() {
            let (mut out, mut event) = (Vec::new(), v1::Event::default());
            read.leaf_input(index, STREAM, &mut out).unwrap();
            prop_assert!(read.event(index, &mut event).unwrap());
            prop_assert_eq!(&event, want);
            prop_assert_eq!(out, leaf(meta, Some(&want.to_body()), false));
        }
    }
}

/// The columns are the schema's fields, in its order, and every array item and union is nullable as the schema says.
#[test]
fn columns_follow_the_schema_text() {
    for (table, text) in [(Table::Frames, v1::Frame::SCHEMA), (Table::Events, v1::Event::SCHEMA)] {
        let schema = columns::schema(table);
        let mut rest = text;
        for field in &schema.fields()[..schema.fields().len() - 7] {
            let name = format!("\"name\": \"{}\"", field.name());
            let at = rest.find(&name).unwrap_or_else(|| panic!("{name} is not next in the schema"));
            rest = &rest[at + name.len()..];
        }
    }
}

fn replaced(column: &str, with: ArrayRef) -> Result<Vec<u8>, ColumnsError> {
    let mut builder = Builder::new(Table::Frames);
    builder.push_frame(&v1::Frame::default(), &RowMeta::default()).unwrap();
    let batch = builder.finish().unwrap();
    let index = batch.schema().index_of(column).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = with;
    let mut out = Vec::new();
    Rows::new(Table::Frames, &RecordBatch::try_new(batch.schema(), columns).unwrap())?
        .leaf_input(0, STREAM, &mut out)
        .map(|()| out)
}

#[test]
fn what_no_writer_makes_is_refused() {
    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    assert!(replaced("session_id", text(Some("00000000-0000-0000-0000-000000000000"))).is_ok());
    let cases = [
        ("session_id", text(Some("00000000-0000-0000-0000-00000000000A"))),
        ("session_id", text(Some("00000000000000000000000000000000"))),
        ("session_id", text(None)),
        ("protocol", text(Some("postgres"))),
        ("message_type", text(None)),
        ("_raw", Arc::new(arrow::array::BinaryArray::from_vec(vec![b"x"])) as ArrayRef),
        ("_key", Arc::new(arrow::array::BinaryArray::from_vec(vec![b"x"])) as ArrayRef),
        ("_flags", Arc::new(arrow::array::Int32Array::from(vec![8])) as ArrayRef),
        ("_flags", Arc::new(arrow::array::Int32Array::from(vec![0])) as ArrayRef),
        ("_ts_type", Arc::new(arrow::array::Int32Array::from(vec![2])) as ArrayRef),
    ];
    for (column, with) in cases {
        assert!(with.len() == 1 && replaced(column, with).is_err(), "{column}");
    }
}
