//! The policy note: what an offline root key says about a log, so that nobody else's word is needed (T13 to T15, T18, T22).
//!
//! A C2SP signed note of the root key over the text below: one line per fact, in this order, words parted by one space.
//! `[]` may lack, `*` may repeat. The last lines are those of `c2sp.org/tlog-policy`, without log lines.
//!
//! ```text
//! sealtrail-policy/v1
//! origin <origin>
//! number <n>                                 dense from 0; the highest is in force
//! first_key <vkey>                           key of epoch 0
//! [cluster <cluster id>]
//! stream* <topic> <topic UUID> <partitions>  each partition is a stream that must be there
//! retention_days <n>                         0 is for ever
//! max_tail_age <seconds>
//! recovery* <vkey>                           may begin an epoch when the current key is lost
//! revoke* <vkey> <last good size>            heads of that key above that size are worth nothing
//! witness* <name> <vkey> [<url>]
//! group* <name> <threshold> <name>…
//! quorum <name>
//! ```
//!
//! There is one text per policy: parsing accepts only what `Display` writes.

use std::fmt;

use crate::checkpoint::parse_decimal;
use crate::note::{KeyKind, Note, NoteError, NoteSignature, VerifierKey, is_key_name};
use crate::quorum::{POLICY_BYTES_MAX, PolicyError, WitnessPolicy};

/// Where the policy in force lies beside the log's files.
pub const POLICY_PATH: &str = "policy";
/// Most stream lines; each covers every partition of a topic.
pub const POLICY_STREAMS_MAX: usize = 64;
/// Most recovery lines.
pub const POLICY_RECOVERY_MAX: usize = 8;
/// Most revoke lines.
pub const POLICY_REVOKED_MAX: usize = 1024;

const HEADING: &str = "sealtrail-policy/v1";

/// Where the policy of this number is kept for ever.
#[must_use]
pub fn policy_path(number: u64) -> String {
    format!("policies/{number:08}")
}

/// A topic whose partitions must all be in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTopic {
    /// Topic.
    pub topic: String,
    /// Its UUID on the bus.
    pub topic_id: String,
    /// Partitions; 1 to 2^31 - 1.
    pub partitions: u32,
}

/// A key that is no longer to be believed above a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The key.
    pub key: VerifierKey,
    /// Largest tree size at which its heads stand, if something anchors them.
    pub last_good_size: u64,
}

/// What the root key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Origin of the log.
    pub origin: String,
    /// Number of this policy.
    pub number: u64,
    /// Key of epoch 0.
    pub first_key: VerifierKey,
    /// Cluster id of the bus, from which with the streams the stream ids follow.
    pub cluster: Option<String>,
    /// Topics that must be there.
    pub streams: Vec<ExpectedTopic>,
    /// Days for which data must be there; 0 is for ever.
    pub retention_days: u64,
    /// Most seconds between the newest seal and now.
    pub max_tail_age_s: u64,
    /// Keys that may begin an epoch in place of the key before.
    pub recovery: Vec<VerifierKey>,
    /// Keys no longer believed.
    pub revoked: Vec<Revocation>,
    /// Witnesses and quorum; no log lines.
    pub witnesses: WitnessPolicy,
}

impl Policy {
    /// Policy 0 of a log without streams, witnesses and recovery keys: fill in what applies.
    #[must_use]
    pub fn new(first_key: VerifierKey) -> Self {
        Self {
            origin: first_key.name().to_owned(),
            number: 0,
            first_key,
            cluster: None,
            streams: Vec::new(),
            retention_days: 0,
            max_tail_age_s: 300,
            recovery: Vec::new(),
            revoked: Vec::new(),
            witnesses: WitnessPolicy::default(),
        }
    }

    /// Reads the text of a policy.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse_text(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(text.len()));
        }
        let body = text.strip_suffix('\n').ok_or(PolicyError::Whole("the last newline is missing"))?;
        let mut parts = Parts::default();
        for (line, text) in (1_usize..).zip(body.split('\n')) {
            if line == 1 {
                if text != HEADING {
                    return Err(PolicyError::Line { line, what: "not a policy of this version" });
                }
                continue;
            }
            let words: Vec<&str> = text.split(' ').collect();
            let (keyword, rest) = words.split_first().ok_or(PolicyError::Line { line, what: "empty line" })?;
            parts.take(line, keyword, rest)?;
        }
        let policy = parts.finish()?;
        policy.check()?;
        if policy.to_string() != text {
            return Err(PolicyError::Whole("lines are out of order, repeated, or not in the one spelling"));
        }
        Ok(policy)
    }

    /// Opens a policy note: a signature by one of `roots` and no bad one of any of them.
    ///
    /// # Errors
    /// [`PolicyError::Note`] for a malformed note or one that no root key signed; any other for the text.
    pub fn open(note: &[u8], roots: &[VerifierKey]) -> Result<Self, PolicyError> {
        let note = Note::parse(note).map_err(PolicyError::Note)?;
        note.verify(roots).map_err(PolicyError::Note)?;
        Self::parse_text(note.text())
    }

    /// Puts the signed note together from a signature made elsewhere over `to_string` with the root key.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn to_note(&self, signatures: Vec<NoteSignature>) -> Result<Note, NoteError> {
        Note::new(self.to_string(), signatures)
    }

    /// Checks what must hold between the fields.
    ///
    /// # Errors
    /// [`PolicyError::Whole`].
    pub fn check(&self) -> Result<(), PolicyError> {
        let log_key = |key: &VerifierKey| key.kind() == KeyKind::Ed25519;
        let word = |text: &str| is_key_name(text);
        let mut keys: Vec<&VerifierKey> = self.witnesses.keys().chain(&self.recovery).collect();
        keys.push(&self.first_key);
        let mut publics: Vec<_> = keys.iter().map(|key| key.public()).collect();
        publics.sort_unstable();
        let rules = [
            (log_key(&self.first_key) && self.first_key.name() == self.origin, "first key is not the log's"),
            (self.recovery.iter().all(log_key), "recovery key is of the wrong type"),
            (self.revoked.iter().all(|one| log_key(&one.key)), "revoked key is of the wrong type"),
            (publics.windows(2).all(|two| two.first() != two.last()), "one public key has two roles"),
            (self.witnesses.logs.is_empty(), "log lines have no place in a root-signed policy"),
            (self.streams.is_empty() || self.cluster.is_some(), "stream lines without a cluster line"),
            (self.cluster.as_deref().is_none_or(word), "cluster id is no single word"),
            (self.streams.iter().all(|one| word(&one.topic) && word(&one.topic_id)), "topic is no single word"),
            (self.streams.iter().all(|one| i32::try_from(one.partitions).is_ok_and(|n| n > 0)), "partitions"),
            (self.streams.len() <= POLICY_STREAMS_MAX, "too many streams"),
            (self.recovery.len() <= POLICY_RECOVERY_MAX, "too many recovery keys"),
            (self.revoked.len() <= POLICY_REVOKED_MAX, "too many revocations"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(PolicyError::Whole(what)),
            None => Ok(()),
        }
    }

    /// The size above which heads of `key` are worth nothing, if it was revoked; the lowest if it was more than once.
    #[must_use]
    pub fn last_good_size(&self, key: &VerifierKey) -> Option<u64> {
        let same = |one: &&Revocation| one.key.public() == key.public();
        self.revoked.iter().filter(same).map(|one| one.last_good_size).min()
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADING}\norigin {}\nnumber {}\nfirst_key {}", self.origin, self.number, self.first_key)?;
        if let Some(cluster) = &self.cluster {
            writeln!(f, "cluster {cluster}")?;
        }
        for one in &self.streams {
            writeln!(f, "stream {} {} {}", one.topic, one.topic_id, one.partitions)?;
        }
        writeln!(f, "retention_days {}\nmax_tail_age {}", self.retention_days, self.max_tail_age_s)?;
        for key in &self.recovery {
            writeln!(f, "recovery {key}")?;
        }
        for one in &self.revoked {
            writeln!(f, "revoke {} {}", one.key, one.last_good_size)?;
        }
        write!(f, "{}", self.witnesses)
    }
}

/// What the lines said so far.
#[derive(Default)]
struct Parts {
    origin: Option<String>,
    number: Option<u64>,
    first_key: Option<VerifierKey>,
    cluster: Option<String>,
    streams: Vec<ExpectedTopic>,
    retention_days: Option<u64>,
    max_tail_age_s: Option<u64>,
    recovery: Vec<VerifierKey>,
    revoked: Vec<Revocation>,
    witnesses: WitnessPolicy,
    ended: bool,
}

impl Parts {
    fn take(&mut self, line: usize, keyword: &str, rest: &[&str]) -> Result<(), PolicyError> {
        let number = |text: &str| {
            parse_decimal(text).ok_or(PolicyError::Line { line, what: "not a decimal number without leading zeros" })
        };
        let key = |text: &str| VerifierKey::parse(text).map_err(|source| PolicyError::Key { line, source });
        match (keyword, rest) {
            ("origin", [one]) => self.origin = Some((*one).to_owned()),
            ("number", [one]) => self.number = Some(number(one)?),
            ("first_key", [one]) => self.first_key = Some(key(one)?),
            ("cluster", [one]) => self.cluster = Some((*one).to_owned()),
            ("stream", [topic, topic_id, partitions]) => self.streams.push(ExpectedTopic {
                topic: (*topic).to_owned(),
                topic_id: (*topic_id).to_owned(),
                partitions: u32::try_from(number(partitions)?)
                    .map_err(|_| PolicyError::Line { line, what: "too many partitions" })?,
            }),
            ("retention_days", [one]) => self.retention_days = Some(number(one)?),
            ("max_tail_age", [one]) => self.max_tail_age_s = Some(number(one)?),
            ("recovery", [one]) => self.recovery.push(key(one)?),
            ("revoke", [vkey, size]) => {
                self.revoked.push(Revocation { key: key(vkey)?, last_good_size: number(size)? });
            }
            _ => {
                if !self.witnesses.take(line, keyword, rest, &mut self.ended)? {
                    return Err(PolicyError::Line { line, what: "unknown keyword or wrong number of words" });
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        let missing = |what| PolicyError::Whole(what);
        if !self.ended {
            return Err(missing("no quorum line"));
        }
        Ok(Policy {
            origin: self.origin.ok_or(missing("no origin line"))?,
            number: self.number.ok_or(missing("no number line"))?,
            first_key: self.first_key.ok_or(missing("no first_key line"))?,
            cluster: self.cluster,
            streams: self.streams,
            retention_days: self.retention_days.ok_or(missing("no retention_days line"))?,
            max_tail_age_s: self.max_tail_age_s.ok_or(missing("no max_tail_age line"))?,
            recovery: self.recovery,
            revoked: self.revoked,
            witnesses: self.witnesses,
        })
    }
}
