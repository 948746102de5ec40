//! What the archiver counts; called once per object.

use stage::metrics::{counter, gauge};

/// An object is in the store.
pub(crate) fn archived(rows: u64, bytes: u64, now_ms: i64) {
    counter("archiver_objects_total", "Objects put, or found equal.", &[]).add(1);
    counter("archiver_rows_total", "Rows in them.", &[]).add(rows);
    counter("archiver_bytes_total", "Bytes in them.", &[]).add(bytes);
    gauge("archiver_archived_at_ms", "When the newest object was put, milliseconds since epoch.", &[]).set(now_ms);
}

/// The archive of one stream stopped.
pub(crate) fn stopped() {
    counter("archiver_stopped_streams_total", "Streams that stopped on an error until the archiver starts again.", &[])
        .add(1);
}
