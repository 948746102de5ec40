//! Who must have cosigned a checkpoint: the log, witness, group and quorum lines of `c2sp.org/tlog-policy`.
//!
//! [`WitnessPolicy::parse`] reads any policy file of that format that is UTF-8; [`WitnessPolicy`]'s `Display` writes the one
//! normal form that a root-signed policy holds. A key with two roles, or under two names, is refused: it would count twice.

use std::collections::HashMap;
use std::fmt;

use crate::note::{KeyKind, NoteError, Verified, VerifierKey};

/// Most log lines, witness lines and group lines of a policy, each.
pub const POLICY_PARTS_MAX: usize = 64;
/// Largest policy file in bytes.
pub const POLICY_BYTES_MAX: usize = 256 << 10;
/// Longest URL in bytes.
const URL_BYTES_MAX: usize = 1024;

/// Why a policy is refused (`verify` exits 4). A retry never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Above [`POLICY_BYTES_MAX`].
    #[error("parse policy: {0} bytes, at most {POLICY_BYTES_MAX} are read")]
    TooLong(usize),
    /// A line breaks a rule of the format.
    #[error("parse policy line {line}: {what}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A key in a line is malformed or of the wrong type.
    #[error("parse policy line {line}: key")]
    Key {
        /// Number of the line, from 1.
        line: usize,
        /// Cause.
        #[source]
        source: NoteError,
    },
    /// The policy as a whole breaks a rule.
    #[error("check policy: {0}")]
    Whole(&'static str),
    /// The note around the policy is malformed, or no trusted root key signed it.
    #[error("open policy note")]
    Note(#[source] NoteError),
}

impl PolicyError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::Line { .. } | Self::Key { .. } => "malformed",
            Self::Whole(_) => "inconsistent",
            Self::Note(error) => error.kind(),
        }
    }
}

/// A log that a policy accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its key; the name is the origin.
    pub key: VerifierKey,
    /// Where it is to be had.
    pub url: Option<String>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name inside the policy.
    pub name: String,
    /// Its key, of kind [`KeyKind::Cosignature`].
    pub key: VerifierKey,
    /// Submission prefix, to which `/add-checkpoint` is appended.
    pub url: Option<String>,
}

/// A group of witnesses and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name inside the policy.
    pub name: String,
    /// How many members must have witnessed; 1 to their number.
    pub threshold: usize,
    /// Names of witnesses and of groups defined before.
    pub members: Vec<String>,
}

/// Logs, witnesses, groups and the quorum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessPolicy {
    /// Accepted logs; may be empty when they are known from elsewhere.
    pub logs: Vec<LogLine>,
    /// Witnesses.
    pub witnesses: Vec<Witness>,
    /// Groups, each after its members.
    pub groups: Vec<Group>,
    /// Witness or group that must have witnessed; `None` asks for no cosignature.
    pub quorum: Option<String>,
}

impl WitnessPolicy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(text.len()));
        }
        let body = text.strip_suffix('\n').ok_or(PolicyError::Whole("the last newline is missing"))?;
        let mut policy = Self::default();
        let mut ended = false;
        for (line, text) in (1_usize..).zip(body.split('\n')) {
            if text.contains(|c: char| c.is_ascii_control() && c != '\t') {
                return Err(PolicyError::Line { line, what: "control character" });
            }
            let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            match words.split_first() {
                None => {}
                Some((first, _)) if first.starts_with('#') => {}
                Some((&keyword, rest)) => {
                    let known = policy.take(line, keyword, rest, &mut ended)?;
                    if !known {
                        return Err(PolicyError::Line { line, what: "unknown keyword" });
                    }
                }
            }
        }
        if !ended {
            return Err(PolicyError::Whole("no quorum line"));
        }
        Ok(policy)
    }

    /// Takes one line; false when its keyword is not of this format. `ended` says whether the quorum line was there.
    pub(crate) fn take(
        &mut self,
        line: usize,
        keyword: &str,
        rest: &[&str],
        ended: &mut bool,
    ) -> Result<bool, PolicyError> {
        let bad = |what| Err(PolicyError::Line { line, what });
        match (keyword, rest) {
            ("log", [key, url @ ..]) => {
                let (key, url) = (self.key(line, key, KeyKind::Ed25519)?, optional_url(line, url)?);
                self.logs.push(LogLine { key, url });
                if self.logs.len() > POLICY_PARTS_MAX {
                    return bad("too many logs");
                }
            }
            ("witness", [name, key, url @ ..]) => {
                self.check_new(line, name)?;
                let (key, url) = (self.key(line, key, KeyKind::Cosignature)?, optional_url(line, url)?);
                self.witnesses.push(Witness { name: (*name).to_owned(), key, url });
                if self.witnesses.len() > POLICY_PARTS_MAX {
                    return bad("too many witnesses");
                }
            }
            ("group", [name, threshold, members @ ..]) if !members.is_empty() => {
                self.check_new(line, name)?;
                let group = self.group(line, name, threshold, members)?;
                self.groups.push(group);
                if self.groups.len() > POLICY_PARTS_MAX {
                    return bad("too many groups");
                }
            }
            ("quorum", [name]) => {
                if std::mem::replace(ended, true) {
                    return bad("second quorum line");
                }
                if *name != "none" {
                    if !self.is_defined(name) {
                        return bad("quorum is no witness and no group defined before");
                    }
                    self.quorum = Some((*name).to_owned());
                }
            }
            ("log" | "witness" | "group" | "quorum", _) => return bad("wrong number of words"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn group(&self, line: usize, name: &str, threshold: &str, members: &[&str]) -> Result<Group, PolicyError> {
        let bad = |what| Err(PolicyError::Line { line, what });
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            number => match crate::checkpoint::parse_decimal(number).and_then(|number| usize::try_from(number).ok()) {
                Some(number) if (1..=members.len()).contains(&number) => number,
                _ => return bad("threshold is not any, all, or 1 to the number of members"),
            },
        };
        for member in members {
            if !self.is_defined(member) {
                return bad("group member is no witness and no group defined before");
            }
            let used = self.groups.iter().any(|group| group.members.iter().any(|one| one == member));
            if used || members.iter().filter(|one| *one == member).count() > 1 {
                return bad("a name is a group member twice");
            }
        }
        let members = members.iter().map(|&member| member.to_owned()).collect();
        Ok(Group { name: name.to_owned(), threshold, members })
    }

    /// A key of this kind that no other line has.
    fn key(&self, line: usize, vkey: &str, kind: KeyKind) -> Result<VerifierKey, PolicyError> {
        let key = VerifierKey::parse(vkey).map_err(|source| PolicyError::Key { line, source })?;
        if key.kind() != kind {
            return Err(PolicyError::Line { line, what: "key is of the wrong type for its role" });
        }
        if self.keys().any(|other| other.public() == key.public()) {
            return Err(PolicyError::Line { line, what: "one public key twice" });
        }
        Ok(key)
    }

    fn is_defined(&self, name: &str) -> bool {
        self.witnesses.iter().any(|witness| witness.name == name) || self.groups.iter().any(|group| group.name == name)
    }

    fn check_new(&self, line: usize, name: &str) -> Result<(), PolicyError> {
        if name == "none" {
            return Err(PolicyError::Line { line, what: "the name none is taken" });
        }
        if self.is_defined(name) {
            return Err(PolicyError::Line { line, what: "name defined twice" });
        }
        Ok(())
    }

    /// Every log and witness key.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.logs.iter().map(|log| &log.key).chain(self.witnesses.iter().map(|witness| &witness.key))
    }

    /// True when the witnesses for which `has` holds are enough.
    pub fn is_met_by(&self, mut has: impl FnMut(&VerifierKey) -> bool) -> bool {
        let Some(quorum) = &self.quorum else { return true };
        let mut met: HashMap<&str, bool> = HashMap::new();
        for witness in &self.witnesses {
            met.insert(&witness.name, has(&witness.key));
        }
        for group in &self.groups {
            let count = group.members.iter().filter(|member| met.get(member.as_str()) == Some(&true)).count();
            met.insert(&group.name, count >= group.threshold);
        }
        met.get(quorum.as_str()) == Some(&true)
    }

    /// True when enough witnesses have cosigned a note that was verified with [`WitnessPolicy::keys`].
    #[must_use]
    pub fn is_met(&self, verified: &Verified) -> bool {
        self.is_met_by(|key| verified.is_by(key))
    }
}

impl fmt::Display for WitnessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |url: &Option<String>| url.as_ref().map_or(String::new(), |url| format!(" {url}"));
        for log in &self.logs {
            writeln!(f, "log {}{}", log.key, url(&log.url))?;
        }
        for witness in &self.witnesses {
            writeln!(f, "witness {} {}{}", witness.name, witness.key, url(&witness.url))?;
        }
        for group in &self.groups {
            writeln!(f, "group {} {} {}", group.name, group.threshold, group.members.join(" "))?;
        }
        writeln!(f, "quorum {}", self.quorum.as_deref().unwrap_or("none"))
    }
}

fn optional_url(line: usize, words: &[&str]) -> Result<Option<String>, PolicyError> {
    match words {
        [] => Ok(None),
        [url] if url.len() <= URL_BYTES_MAX => Ok(Some((*url).to_owned())),
        [_] => Err(PolicyError::Line { line, what: "URL is too long" }),
        _ => Err(PolicyError::Line { line, what: "wrong number of words" }),
    }
}
