//! Dead letters: what a stage could not take, byte for byte (I-04).
//!
//! Always in single-object framing, also with a registry: a dead letter is what an operator reads when something is
//! broken, so it must need nobody.

use schemas::framing::Framing;
use schemas::{Record as _, v1};

use super::StageSpec;
use super::watch::Watch;
use crate::bus::{BusError, RecordRef, Writer};
use crate::transform::{Refused, Rejection};

/// Longest value kept in a dead letter; buses refuse records above 1 MiB, and a refused dead letter would stop the stage.
const LETTER_BYTES_MAX: usize = 1_000_000 - 64 * 1024;

/// One dead letter on its way.
pub(super) struct Letter<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    rejection: &'a Rejection,
}

impl<'a> Letter<'a> {
    pub(super) fn of_input(record: &RecordRef<'a>, topic: &'a str, rejection: &'a Rejection) -> Self {
        Self {
            topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            rejection,
        }
    }

    pub(super) fn of_refused(refused: &'a Refused, partition: i32, now_us: i64) -> Self {
        Self {
            topic: &refused.topic,
            partition,
            offset: -1,
            timestamp_ms: now_us / 1000,
            key: Some(&refused.key),
            value: refused.value.as_deref(),
            rejection: &refused.rejection,
        }
    }

    pub(super) fn send(&self, spec: &StageSpec, watch: &Watch, writer: &mut dyn Writer) -> Result<(), BusError> {
        let kept = |value: &[u8]| value.get(..LETTER_BYTES_MAX).unwrap_or(value).to_vec();
        let (code, detail) = (self.rejection.code, &self.rejection.detail);
        let detail = match self.value {
            Some(value) if value.len() > LETTER_BYTES_MAX => {
                format!("{detail}; first {LETTER_BYTES_MAX} of {} bytes kept", value.len())
            }
            _ => detail.clone(),
        };
        let letter = v1::DeadLetter {
            stage: spec.name.clone(),
            code: code.to_owned(),
            detail,
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(kept),
        };
        let mut value = Vec::new();
        Framing::single_object::<v1::DeadLetter>().prefix(&mut value);
        letter.encode(&mut value);
        let key = format!("{}-{}", self.topic, self.partition);
        watch.reject(code);
        tracing::warn!(stage = %spec.name, partition = self.partition, offset = self.offset, code, "record goes to dlq");
        writer.send(&spec.dlq, self.partition, Some(key.as_bytes()), Some(&value))
    }
}
