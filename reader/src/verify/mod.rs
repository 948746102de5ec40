//! The whole check of an archive, offline, from the signed checkpoint down to the last row (I-08, I-13, I-14).
//!
//! Order: checkpoint note, tree from the entry bundles, stored tiles, pin, strict decoding and chain of every entry,
//! every object's bytes against its receipt and rows against their seals, seals and receipts whose object is nowhere, tail. All findings are reported. Finding
//! nothing to check is a finding (T30); a tail without an anchor is never "proven".
//!
//! Objects are checked by several threads; one thread holds one object and one batch's hashes at a time. What one
//! object proves and what no seal covers is said in `rows`.

mod batch;
mod chain;
mod heads;
mod layout;
mod log;
mod receipts;
mod report;
mod resume;
mod rows;
mod trust;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use schemas::layout::Table;
use schemas::v1::StreamId;
use tlog::{VerifierKey, WitnessPolicy};

pub use self::chain::SEAL_EVENTS_MAX;
pub use self::log::{CHECKPOINTS_MAX, ENTRIES_MAX};
pub use self::report::{FINDINGS_MAX, Finding, Outcome, Report, StreamSummary, grouped};

use self::chain::StreamKey;
use self::log::Log;
use self::report::Findings;
use crate::{Archive, ReadError};

/// Most threads.
pub const THREADS_MAX: usize = 64;
/// A newest seal this many seconds after the caller's time is post-dated (T20).
pub const CLOCK_SLACK_S: i64 = 300;

/// What to check against.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keys the caller trusts to sign the log (and witnesses, once there are any). None: policy not met.
    pub keys: Vec<VerifierKey>,
    /// Offline root keys: with one, the policy note must be signed by it and says which key signs the log's first epoch,
    /// which streams must be there, for how long, and which witnesses must have seen the head.
    pub roots: Vec<VerifierKey>,
    /// The policy note; the archive's own (`log/policy`) if `None`. Used only with `roots`.
    pub policy: Option<Vec<u8>>,
    /// Witnesses and quorum the caller demands, in place of the policy's.
    pub witnesses: Option<WitnessPolicy>,
    /// A file in which a run keeps what it found sound, object by object, and from which the next run goes on. It counts
    /// only for the same log head; an object changed after its line was written is not read again.
    pub resume: Option<std::path::PathBuf>,
    /// Rows sealed before this time, milliseconds since the epoch, are not read again if their object has a receipt; the
    /// log is checked as a whole all the same.
    pub since_ms: Option<i64>,
    /// The log's origin; the first key's name if `None`.
    pub origin: Option<String>,
    /// A checkpoint note the caller kept: the log must be an extension of it.
    pub pin: Option<Vec<u8>>,
    /// The caller's time, seconds since the epoch: the newest seal must not be older than `max_tail_age_s`.
    pub now_s: Option<i64>,
    /// Greatest age of the newest seal, seconds. Idle streams are sealed every 60 s.
    pub max_tail_age_s: i64,
    /// Threads for the objects, at most [`THREADS_MAX`]; 0: as many as cores.
    pub threads: usize,
    /// Streams that must be in the log.
    pub expected_streams: Vec<StreamId>,
    /// How long after a seal its object, or the object's receipt, may still be missing, seconds, for an archive that is
    /// being written; needs `now_s`. Only a stream's newest seals may wait, and the result is then "incomplete". `None`:
    /// none may wait, but that a stream's newest object without a receipt is a note.
    pub archive_lag_s: Option<i64>,
}

/// How far the check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Log entries.
    Log {
        /// Read so far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Objects.
    Objects {
        /// Checked so far.
        done: u64,
        /// In all.
        total: u64,
        /// Bytes of those checked.
        bytes: u64,
    },
}

/// Checks the whole archive.
///
/// # Errors
/// [`ReadError`] if the archive could not be read; whatever is wrong with what was read is a [`Finding`].
pub fn verify(archive: &Archive, options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, ReadError> {
    let mut findings = Findings::default();
    let mut step = |done, total| progress(Progress::Log { done, total });
    // before the log: in an archive that is being written, an object's seals are in the log before it is there
    let mut names = Vec::new();
    for table in Table::ALL {
        names.extend(archive.list(table.as_str())?);
    }
    let log = log::read(archive, options, &mut step, &mut findings)?;
    let readable = log.as_ref().is_some_and(|log| log.root.is_some());
    let log = log.unwrap_or_default();
    let mut objects = Objects::default();
    let (mut notes, mut unreceipted) = (log.notes.clone(), false);
    if readable {
        objects = check_objects(archive, &names, &log, options, progress)?;
        findings.extend(std::mem::take(&mut objects.findings));
        unreceipted = log.receipts.check_names(
            &names,
            &log.chains,
            due_ms(options),
            expired_ms(&log, options),
            &mut notes,
            &mut findings,
        );
    } else if !names.is_empty() {
        findings.add("T23", "log", format!("{} files no seal covers: no checkpoint could be read", names.len()));
    }
    let (waiting, expired) = missing(&log, &objects.seen, options, &mut findings);
    let (anchored, tail_age_s) = tail(&log, options, &mut findings, &mut notes);
    let waits = waiting.values().sum::<i64>();
    if waits > 0 {
        notes.push(format!("{} newest seals wait for their object", grouped(waits)));
    }
    if let Some(since) = options.since_ms {
        let skipped = names.iter().filter(|name| log.settled_before(name, Some(since)).is_some()).count();
        notes.push(format!("rows of {skipped} objects sealed before {since} ms were not read"));
    }
    if expired > 0 {
        notes.push(format!("{} batches expired by policy", grouped(expired)));
    }
    findings.sort();
    let outcome = findings.outcome(anchored, waits > 0 || unreceipted || expired > 0);
    let summary = |(key, stream): (&StreamKey, &chain::Stream)| {
        stream.summary(&StreamId(key.0), waiting.get(key).copied().unwrap_or(0))
    };
    let mut streams: Vec<StreamSummary> = log.chains.streams.iter().map(summary).collect();
    streams.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(Report {
        origin: log.origin,
        size: log.size,
        root: log.root.map(|root| root.to_string()).unwrap_or_default(),
        entries: u64::try_from(log.leaves.len()).unwrap_or(u64::MAX),
        streams,
        findings: findings.list,
        findings_dropped: findings.dropped,
        notes,
        anchored,
        tail_age_s,
        objects: u64::try_from(names.len()).unwrap_or(u64::MAX),
        rows: objects.rows,
        bytes: objects.bytes,
        outcome,
        exit_code: outcome.exit_code(),
    })
}

#[derive(Debug, Default)]
struct Objects {
    findings: Findings,
    seen: HashMap<(StreamKey, i64), usize>,
    rows: u64,
    bytes: u64,
}

/// Checks every object; the queue is a counter over `names`, so nothing piles up.
fn check_objects(
    archive: &Archive,
    names: &[String],
    log: &Log,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Objects, ReadError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if options.threads == 0 { cores() } else { options.threads }.clamp(1, THREADS_MAX);
    // few objects: their row groups are shared out
    let helpers = threads.div_ceil(names.len().max(1));
    let resume = match (&options.resume, log.root) {
        (Some(path), Some(root)) => Some(resume::Resume::open(path, &root, log.size)?),
        _ => None,
    };
    let total = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let (next, bytes, done) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let merged = Mutex::new(Ok(Objects::default()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = names.get(index) else { return };
            let known = log.settled_before(name, options.since_ms).map(|checked| (checked, 0));
            let known = known.or_else(|| resume.as_ref().and_then(|resume| resume.known(name)));
            let result = match known {
                Some(known) => Ok(known),
                None => check_one(archive, name, log, helpers).and_then(|(checked, bytes)| {
                    resume.as_ref().map_or(Ok(()), |resume| resume.keep(name, &checked, bytes))?;
                    Ok((checked, bytes))
                }),
            };
            let size = result.as_ref().map_or(0, |(_, size)| *size);
            let mut merged = merged.lock().unwrap_or_else(PoisonError::into_inner);
            let (Ok(objects), Ok((checked, _))) = (merged.as_mut(), &result) else {
                if let Err(error) = result {
                    *merged = Err(error);
                }
                // the others stop at their next object
                next.store(names.len(), Ordering::Relaxed);
                return;
            };
            objects.rows += checked.rows;
            objects.bytes += size;
            for key in &checked.seen {
                if let Some(first) = objects.seen.insert(*key, index) {
                    let other = names.get(first).map_or("", String::as_str);
                    let place = log.chains.streams.get(&key.0).map(chain::Stream::name).unwrap_or_default();
                    let text = format!("event twice: this batch is also in {other}");
                    objects.findings.object("T27", format!("{place} seal {}", grouped(key.1)), text, name);
                }
            }
            if let Ok((checked, _)) = result {
                objects.findings.extend(checked.findings);
            }
            drop(merged);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let bytes = bytes.fetch_add(size, Ordering::Relaxed) + size;
            progress(Progress::Objects { done, total, bytes });
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(names.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    merged.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Checks one object. A decoder that panics on forged bytes must not end the check: it is a finding like any other.
fn check_one(archive: &Archive, name: &str, log: &Log, helpers: usize) -> Result<(rows::Checked, u64), ReadError> {
    let broken = |text: &str| {
        let mut checked = rows::Checked::default();
        checked.findings.object("T28", name, text, name);
        checked
    };
    let bytes = match archive.find(name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok((broken("object is listed but not there"), 0)),
        Err(ReadError::TooLarge { limit, .. }) => {
            return Ok((broken(&format!("object cannot be read: more than {limit} bytes")), 0));
        }
        Err(error) => return Err(error),
    };
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut findings = Findings::default();
    log.receipts.check_bytes(name, &bytes, &mut findings);
    let checked = catch_unwind(AssertUnwindSafe(|| rows::check(name, bytes, log, &log.trust.keys, helpers)));
    let mut checked = checked.unwrap_or_else(|_| broken("object cannot be read: the decoder gave up"));
    checked.findings.extend(findings);
    Ok((checked, size))
}

/// What was sealed since then may lack its object or receipt; milliseconds since the epoch.
fn due_ms(options: &Options) -> Option<i64> {
    options.now_s.zip(options.archive_lag_s).map(|(now, lag)| now.saturating_sub(lag).saturating_mul(1000))
}

/// What was sealed before then may be gone, by the policy's retention; milliseconds since the epoch.
fn expired_ms(log: &Log, options: &Options) -> Option<i64> {
    let days = log.trust.policy.as_ref().map(|policy| policy.retention_days).filter(|days| *days > 0)?;
    let seconds = i64::try_from(days.saturating_mul(86_400)).unwrap_or(i64::MAX);
    options.now_s.map(|now| now.saturating_sub(seconds).saturating_mul(1000))
}

/// Seals whose batch is in no object, and streams without any. Gives the number of seals that may still wait, and how
/// many are gone by the policy.
fn missing(
    log: &Log,
    seen: &HashMap<(StreamKey, i64), usize>,
    options: &Options,
    findings: &mut Findings,
) -> (HashMap<StreamKey, i64>, i64) {
    let mut waiting = HashMap::new();
    let (due, expired, mut expired_count) = (due_ms(options), expired_ms(log, options), 0);
    for (key, stream) in &log.chains.streams {
        let absent = |seal: &&chain::Seal| !seen.contains_key(&(*key, seal.seal_seq));
        // the newest seals, as long as nothing of them is lost yet: heartbeats hold no row
        let may_wait =
            |seal: &&chain::Seal| absent(seal) && (seal.count == 0 || due.is_some_and(|due| seal.closed_at >= due));
        let late = stream.seals.iter().rev().take_while(may_wait).count();
        let settled = stream.seals.len() - late;
        let data = stream.seals.iter().skip(settled).filter(|seal| seal.count > 0).count();
        waiting.insert(*key, i64::try_from(data).unwrap_or(i64::MAX));
        let (mut gone, mut gone_by_policy) = (0, 0);
        for seal in stream.seals.iter().take(settled).filter(absent) {
            gone += 1;
            if expired.is_some_and(|expired| seal.closed_at < expired) {
                expired_count += 1;
                gone_by_policy += 1;
                continue;
            }
            let text = format!("data of a sealed batch missing: {} events in no object", grouped(seal.count));
            findings.add("T06", format!("{} seal {}", stream.name(), grouped(seal.seal_seq)), text);
        }
        if settled > 0 && gone == settled && gone_by_policy < gone {
            findings.add("T22", stream.name(), "stream missing: no object holds any of its batches");
        }
    }
    let known: HashSet<[u8; 16]> = log.chains.streams.keys().map(|key| key.0).collect();
    for expected in options.expected_streams.iter().filter(|id| !known.contains(&id.0)) {
        findings.add("T22", format!("stream {expected}"), "stream missing: the log has no seal of it");
    }
    let policy = log.trust.policy.as_ref();
    for (policy, topic) in policy.iter().flat_map(|policy| policy.streams.iter().map(move |topic| (policy, topic))) {
        let cluster = policy.cluster.as_deref().unwrap_or_default();
        for partition in 0..i32::try_from(topic.partitions).unwrap_or(i32::MAX).min(PARTITIONS_MAX) {
            let id = schemas::leaf::stream_id(cluster, &topic.topic, &topic.topic_id, partition);
            if !known.contains(&id.0) {
                let place = format!("{}/{partition}", topic.topic);
                findings.add("T22", place, "stream missing: the policy expects it and the log has no seal of it");
            }
        }
    }
    (waiting, expired_count)
}

/// Most partitions of one topic that are looked for.
const PARTITIONS_MAX: i32 = 100_000;

/// What is known about the log's end: anchored or not, and the age of the newest seal.
fn tail(log: &Log, options: &Options, findings: &mut Findings, notes: &mut Vec<String>) -> (bool, Option<i64>) {
    let newest = log.chains.newest_closed_at.map(|ms| ms.div_euclid(1000));
    let age = options.now_s.zip(newest).map(|(now, newest)| now.saturating_sub(newest));
    let mut anchored = log.pinned;
    let policy_age = log.trust.policy.as_ref().and_then(|policy| i64::try_from(policy.max_tail_age_s).ok());
    let max_age = policy_age.map_or(options.max_tail_age_s, |age| age.min(options.max_tail_age_s));
    // a quorum had seen this very head: an anchor as of then, and of now if then is not long ago
    let witnessed = log.witnessed_s.and_then(|time| i64::try_from(time).ok());
    if let (Some(time), None) = (witnessed, options.now_s) {
        notes.push(format!("tail anchored by the witnesses as of {time}; what came later is not known"));
        anchored = true;
    }
    if let Some(age) = age {
        if age < -CLOCK_SLACK_S {
            findings.add("T20", "tail", format!("time outside anchor window: newest seal is {} s ahead", -age));
        } else if age > max_age {
            let text = format!("tail stale: newest seal is {age} s old, at most {max_age} allowed");
            findings.add("T19", "tail", text);
        } else {
            anchored = true;
        }
    }
    if !anchored && options.pin.is_none() && options.now_s.is_none() {
        notes.push("tail not anchored: without a pinned checkpoint or a time nobody can tell a cut-off log".to_owned());
    }
    let rests = !log.pinned && witnessed.is_none() && (!anchored || log.trust.epochs.len() > 1);
    if log.root.is_some() && rests {
        notes.push("current epoch rests on its key alone: neither a pin nor a witness has seen its heads".to_owned());
    }
    (anchored, age)
}
