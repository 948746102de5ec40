//! An archive object of any bytes, as `verify` opens it: an error or rows, never a panic.

use columns::{Builder, Footer, RowMeta};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use reader::ObjectRows;
use schemas::layout::Table;
use schemas::v1;

/// Footer and all rows of all row groups.
pub(crate) fn open(input: &[u8]) {
    for table in [Table::Frames, Table::Events] {
        let Ok(object) = ObjectRows::open(table, input.to_vec().into()) else { continue };
        for group in 0..object.row_groups().min(4) {
            let Ok(rows) = object.group(group) else { continue };
            for batch in rows.take(4) {
                if batch.is_err() {
                    break;
                }
            }
        }
    }
}

/// A small valid object of each table.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [Table::Frames, Table::Events].into_iter().map(object).collect()
}

fn object(table: Table) -> Vec<u8> {
    let mut builder = Builder::new(table);
    for seq in 0..3 {
        let meta = RowMeta { seq, offset: seq, key: Some(b"key".to_vec()), ..RowMeta::default() };
        let pushed = match table {
            Table::Frames => builder.push_frame(&v1::Frame::default(), &meta),
            Table::Events => builder.push_event(&v1::Event::default(), &meta),
        };
        pushed.expect("add a row");
    }
    let rows = builder.finish().expect("finish the rows");
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("begin an object");
    writer.write(&rows).expect("write the rows");
    let footer = Footer {
        schema_json: "{}".to_owned(),
        topic: "audit.frames".to_owned(),
        partition: 0,
        cluster_id: "cluster".to_owned(),
        topic_id: "0a1b2c3d-0000-4000-8000-000000000001".to_owned(),
        stream_id: v1::StreamId([1; 16]),
        table,
        batches: Vec::new(),
    };
    for (key, value) in footer.to_key_values() {
        writer.append_key_value_metadata(KeyValue::new(key, value));
    }
    writer.into_inner().expect("end the object")
}
