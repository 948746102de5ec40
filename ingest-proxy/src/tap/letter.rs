//! What becomes of a record that the bus will never take, since it is larger than the topic allows.
//!
//! Nothing of it is lost and its session stays dense: a stand-in without content takes its place, with the reason
//! `oversize`; the record itself goes to the dead letters (code `P-001`), cut if need be, and whole into a file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use schemas::Record as _;
use schemas::framing::Framing;
use schemas::v1::{DeadLetter, Facts, RawFrame, Session};

/// Code of the dead letter of a record that is too large for its topic.
pub(super) const OVERSIZE_CODE: &str = "P-001";
/// Reason code of its stand-in.
const OVERSIZE: &str = "oversize";
/// Longest value kept in a dead letter, as the stages keep it: buses refuse records above 1 MiB.
const VALUE_BYTES_MAX: usize = 1_000_000 - 64 * 1024;

/// How much of a record still goes to the bus. Each refusal takes the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Stand-in and dead letter with the value.
    Value,
    /// Stand-in and dead letter without the value.
    Notice,
}

/// The body that takes the place of a raw record; none when it is none.
pub(super) fn raw_stand_in(body: &[u8]) -> Option<Vec<u8>> {
    let frame = RawFrame::from_body(body).ok()?;
    let facts = frame.facts.map(|facts| Facts {
        columns: Vec::new(),
        parameters: Vec::new(),
        relations: Vec::new(),
        reason_code: OVERSIZE.to_owned(),
        ..facts
    });
    let facts =
        facts.or_else(|| Some(Facts { statement_id: -1, reason_code: OVERSIZE.to_owned(), ..Facts::default() }));
    let mut out = Vec::new();
    RawFrame { facts, payload: Vec::new(), ..frame }.encode(&mut out);
    Some(out)
}

/// The body that takes the place of a session: the same without its lists.
pub(super) fn session_stand_in(body: &[u8]) -> Option<Vec<u8>> {
    let mut session = Session::from_body(body).ok()?;
    session.context.principal.groups.clear();
    session.context.target.labels.clear();
    let mut out = Vec::new();
    session.encode(&mut out);
    Some(out)
}

/// The dead letter of a record for `topic`, framed.
pub(super) fn dead_letter(topic: &str, partition: i32, key: &[u8], value: &[u8], part: Part, now_us: i64) -> Vec<u8> {
    let kept = match part {
        Part::Value => value.get(..VALUE_BYTES_MAX).unwrap_or(value),
        Part::Notice => &[],
    };
    let letter = DeadLetter {
        stage: "ingest-proxy".to_owned(),
        code: OVERSIZE_CODE.to_owned(),
        detail: format!(
            "the bus refuses the record as too large; {} of {} bytes kept here, all in the proxy's quarantine",
            kept.len(),
            value.len()
        ),
        topic: topic.to_owned(),
        partition,
        offset: -1,
        timestamp_ms: now_us / 1000,
        key: Some(key.to_vec()),
        value: Some(kept.to_vec()),
    };
    let mut out = Vec::new();
    Framing::single_object::<DeadLetter>().prefix(&mut out);
    letter.encode(&mut out);
    out
}

/// Keeps a record whole, in a file of its own.
pub(super) fn set_aside(folder: &Path, index: u64, record: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{index:020}.record"));
    let mut file = File::create(&path)?;
    file.write_all(record)?;
    file.sync_all()?;
    tracing::error!(index, path = %path.display(), "a record that the bus refuses as too large was set aside");
    Ok(())
}
