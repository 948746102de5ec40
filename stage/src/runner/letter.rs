//! Dead letters: what a stage could not take, byte for byte (I-04).
//!
//! Framed as every other record: with a registry's id where there is one, so that other programs can read them too. Our
//! own tools go by the topic and ask no registry.

use schemas::{Record as _, v1};

use super::StageSpec;
use crate::bus::RecordRef;
use crate::transform::{Refused, Rejection};

/// Code of an input with an output larger than the bus takes.
pub(super) const TOO_LARGE: &str = "S-001";
/// Code of an input on which the stage's code panicked.
pub(super) const PANICKED: &str = "S-002";
/// Room for everything in a letter but the value: names, code, detail, key.
const ROOM: usize = 64 * 1024;
/// End of the detail of a letter whose value was cut.
const CUT: &str = " bytes kept";

/// One dead letter on its way.
pub(super) struct Letter {
    /// Offset of the refused input; -1 for what was no input.
    pub(super) offset: i64,
    pub(super) code: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// True when the letter has not the whole value: it stands at its origin as long as that topic keeps it.
#[must_use]
pub fn is_cut(letter: &v1::DeadLetter) -> bool {
    letter.detail.ends_with(CUT)
}

impl Letter {
    pub(super) fn of_input(spec: &StageSpec, record: &RecordRef<'_>, rejection: &Rejection, bytes_max: usize) -> Self {
        let letter = v1::DeadLetter {
            stage: spec.name.clone(),
            code: rejection.code.to_owned(),
            detail: rejection.detail.clone(),
            topic: spec.input.clone(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        };
        Self::of(spec, letter, rejection.code, bytes_max)
    }

    pub(super) fn of_refused(
        spec: &StageSpec,
        refused: &Refused,
        partition: i32,
        now_us: i64,
        bytes_max: usize,
    ) -> Self {
        let letter = v1::DeadLetter {
            stage: spec.name.clone(),
            code: refused.rejection.code.to_owned(),
            detail: refused.rejection.detail.clone(),
            topic: refused.topic.clone(),
            partition,
            offset: -1,
            timestamp_ms: now_us / 1000,
            key: Some(refused.key.clone()),
            value: refused.value.clone(),
        };
        Self::of(spec, letter, refused.rejection.code, bytes_max)
    }

    fn of(spec: &StageSpec, mut letter: v1::DeadLetter, code: &'static str, bytes_max: usize) -> Self {
        let kept = bytes_max.saturating_sub(ROOM);
        if let Some(value) = letter.value.as_mut().filter(|value| value.len() > kept) {
            letter.detail = format!("{}; first {kept} of {}{CUT}", letter.detail, value.len());
            value.truncate(kept);
        }
        let mut value = Vec::new();
        spec.dlq_framing.prefix(&mut value);
        letter.encode(&mut value);
        let key = format!("{}-{}", letter.topic, letter.partition).into_bytes();
        Self { offset: letter.offset, code, key, value }
    }
}
