//! Reading back what a partition's transform must know before its first input (I-04).

use std::time::Duration;

use crate::bus::{Batch, BusError, BusErrorKind, PollLimit, Reader};
use crate::clock::Clock;
use crate::transform::Transform;

/// Longest silence while the state is read back, before the attempt is given up and made again.
const RESTORE_IDLE: Duration = Duration::from_secs(30);
/// Silence after which a table topic counts as read: what comes later comes by the tail.
const TABLE_IDLE: Duration = Duration::from_millis(500);
/// Key, in front of the instance, of the marker that a restore reads up to; no session has such a key.
pub(super) const MARKER: &str = "restore-marker ";

/// Gives the transform every state record up to the marker just written.
pub(super) fn restore<T: Transform>(
    reader: &mut dyn Reader,
    topic: &str,
    partition: i32,
    marker: &[u8],
    transform: &mut T,
    clock: &dyn Clock,
) -> Result<(), BusError> {
    let limit = PollLimit { records: 10_000, bytes: 8 << 20, wait: Duration::from_millis(100) };
    let mut batch = Batch::default();
    let mut heard = clock.elapsed();
    while clock.elapsed().saturating_sub(heard) < RESTORE_IDLE {
        reader.poll(&mut batch, limit)?;
        for record in batch.iter() {
            let key = record.key.unwrap_or_default();
            if !key.starts_with(MARKER.as_bytes()) {
                transform.restore(key, record.value);
            } else if record.value == Some(marker) {
                return Ok(());
            }
        }
        if !batch.is_empty() {
            heard = clock.elapsed();
        }
    }
    let operation = format!("restore state from {topic} partition {partition}");
    let reason = "this instance's own marker did not arrive; another writer may hold a transaction open there";
    Err(BusError::new(BusErrorKind::Retriable, operation, reason))
}

/// Reads a table topic to the end it had; its last offsets may be holes, and what is late comes by the tail.
pub(super) fn read_table<T: Transform>(
    reader: &mut dyn Reader,
    end: i64,
    transform: &mut T,
    clock: &dyn Clock,
) -> Result<(), BusError> {
    let limit = PollLimit { records: 10_000, bytes: 8 << 20, wait: Duration::from_millis(50) };
    let mut batch = Batch::default();
    let (mut next, mut heard) = (0, clock.elapsed());
    while next < end && clock.elapsed().saturating_sub(heard) < TABLE_IDLE {
        reader.poll(&mut batch, limit)?;
        for record in batch.iter() {
            next = record.offset + 1;
            heard = clock.elapsed();
            transform.table(record.key.unwrap_or_default(), record.value);
        }
    }
    Ok(())
}
