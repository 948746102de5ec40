//! Whom the log's heads are believed from: the caller's keys, or a root-signed policy and the key epochs that follow
//! from it (T12 to T15, T18).
//!
//! A key is good for a range of tree sizes, never for a span of clock time: the key of epoch e signs heads above the
//! index of its KEY entry, up to and with the closing head just after the next one. Nothing here is learnt from the
//! archive but what a trusted key has signed.

use schemas::entry::{KEY_RECOVER, KEY_ROTATE};
use schemas::v1::KeyBody;
use tlog::note::KeyKind;
use tlog::quorum::PolicyError;
use tlog::{Checkpoint, CheckpointError, NoteError, POLICY_PATH, Policy, Verified, VerifierKey, WitnessPolicy};

use super::Options;
use super::log::log_name;
use super::report::Findings;
use crate::{Archive, ReadError};

/// One key epoch.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) key: VerifierKey,
    /// Heads must be above this size.
    pub(crate) above: u64,
    /// Largest head, the closing one; `None` for the current epoch.
    pub(crate) until: Option<u64>,
}

/// Keys, epochs, witnesses.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    pub(crate) origin: String,
    /// Log and witness keys that are believed.
    pub(crate) keys: Vec<VerifierKey>,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) policy: Option<Policy>,
    pub(crate) roots: Vec<VerifierKey>,
    witnesses: WitnessPolicy,
}

/// A note that was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) head: Checkpoint,
    /// A key signed that may sign this size, and nothing is wrong with the note.
    pub(crate) trusted: bool,
    pub(crate) verified: Option<Verified>,
}

impl Trust {
    /// The caller's keys, and the policy if there are root keys: the caller's own copy, else the archive's.
    pub(crate) fn open(archive: &Archive, options: &Options, findings: &mut Findings) -> Result<Self, ReadError> {
        let mut trust = Self { roots: options.roots.clone(), keys: options.keys.clone(), ..Self::default() };
        trust.witnesses = options.witnesses.clone().unwrap_or_default();
        if !options.roots.is_empty() {
            let note = match &options.policy {
                Some(note) => Some(note.clone()),
                None => archive.find(&log_name(POLICY_PATH))?.map(|bytes| bytes.to_vec()),
            };
            match note.map(|note| Policy::open(&note, &options.roots)) {
                Some(Ok(policy)) => trust.take_policy(policy),
                Some(Err(error)) => findings.add("T12", "policy", policy_text(&error)),
                None => findings.add("T12", "policy", "no trusted policy: none given and none in the archive"),
            }
        }
        trust.keys.extend(trust.witnesses.keys().cloned());
        let log_key = trust.keys.iter().find(|key| key.kind() == KeyKind::Ed25519);
        let first = trust.policy.as_ref().map(|policy| policy.first_key.clone()).or_else(|| log_key.cloned());
        trust.origin =
            options.origin.clone().or_else(|| first.as_ref().map(|key| key.name().to_owned())).unwrap_or_default();
        trust.epochs.extend(first.map(|key| Epoch { key, above: 0, until: None }));
        let two_roles =
            |witness: &tlog::Witness| trust.epochs.iter().any(|epoch| epoch.key.public() == witness.key.public());
        if trust.witnesses.witnesses.iter().any(two_roles) {
            findings.add("T12", "policy", "policy: one public key is a witness and the log's own");
        }
        Ok(trust)
    }

    fn take_policy(&mut self, policy: Policy) {
        self.keys.push(policy.first_key.clone());
        if self.witnesses.quorum.is_none() {
            self.witnesses = policy.witnesses.clone();
        }
        self.policy = Some(policy);
    }

    /// Takes the KEY entry at `index`. Only one that a trusted key signed begins an epoch.
    pub(crate) fn take(&mut self, index: u64, body: &KeyBody, findings: &mut Findings) {
        let place = format!("log entry {index}");
        if self.epochs.is_empty() {
            return findings.add("T12", place, "no trusted key: that of the first epoch is unknown");
        }
        let next = i64::try_from(self.epochs.len()).unwrap_or(i64::MAX);
        let key = VerifierKey::parse(&body.vkey).ok();
        let key = key.filter(|key| key.kind() == KeyKind::Ed25519 && key.name() == self.origin);
        let checks = [
            ("version", body.version == 1),
            ("origin", body.origin == self.origin),
            ("epoch", body.epoch == next),
            ("action", body.action == KEY_ROTATE || body.action == KEY_RECOVER),
            ("vkey", key.is_some()),
        ];
        if let Some((field, _)) = checks.iter().find(|(_, good)| !good) {
            let text = format!("entry not canonical: field {field} has a value no KEY entry may have here");
            return findings.add("T09", place, text);
        }
        let (Some(key), Some(last)) = (key, self.epochs.last_mut()) else {
            return;
        };
        let id = u32::from_be_bytes(body.key_id.0);
        let by_recovery = body.action == KEY_RECOVER;
        let signer = if by_recovery {
            let recovery = self.policy.iter().flat_map(|policy| &policy.recovery);
            recovery.into_iter().find(|key| key.id() == id).cloned()
        } else {
            Some(last.key.clone()).filter(|key| key.id() == id)
        };
        let Some(signer) = signer else {
            let (code, text) = match by_recovery {
                true => ("T12", format!("no trusted signature: recovery key {id:08x} is in no policy")),
                false => ("T13", format!("key used outside its epoch: {id:08x} began epoch {next}")),
            };
            return findings.add(code, place, text);
        };
        if !signer.verify_message(&body.signed_bytes(), &body.signature.0) {
            return findings.add("T11", place, format!("bad signature of known key {id:08x} on a KEY entry"));
        }
        if !by_recovery
            && self.policy.as_ref().and_then(|policy| policy.last_good_size(&signer)).is_some_and(|good| index >= good)
        {
            findings.add("T14", place.clone(), format!("KEY entry by revoked key {id:08x}"));
        }
        last.until = Some(index.saturating_add(1));
        self.keys.push(key.clone());
        self.epochs.push(Epoch { key, above: index, until: None });
    }

    /// False for an epoch key outside its range; true for one of the caller's own that is no epoch's.
    pub(crate) fn may_sign(&self, key: &VerifierKey, size: u64) -> bool {
        let mut own = self.epochs.iter().filter(|epoch| epoch.key == *key).peekable();
        let of_epoch = own.peek().is_some();
        let inside =
            |epoch: &Epoch| (size > epoch.above || epoch.above == 0) && epoch.until.is_none_or(|until| size <= until);
        own.any(inside) || (!of_epoch && self.policy.is_none())
    }

    /// Opens a head; a fault is a finding, and the text is used all the same if it can be read at all, so that everything
    /// that is wrong gets reported.
    pub(crate) fn judge(&self, bytes: &[u8], place: &str, findings: &mut Findings) -> Option<Judged> {
        let opened = match Checkpoint::open(bytes, &self.origin, &self.keys) {
            Ok(opened) => opened,
            Err(error) => {
                let (code, text) = self.fault(&error);
                findings.add(code, place, text);
                let head = Checkpoint::parse_note(bytes).ok()?.0;
                return Some(Judged { head, trusted: false, verified: None });
            }
        };
        let head = opened.checkpoint;
        let size = head.size();
        let (mut good, mut faults) = (0, Vec::new());
        let log_keys = opened.verified.signatures.iter().map(|signature| &signature.key);
        for key in log_keys.filter(|key| key.kind() == KeyKind::Ed25519 && key.name() == self.origin) {
            let last_good = self.policy.as_ref().and_then(|policy| policy.last_good_size(key));
            if last_good.is_some_and(|last| size > last) {
                faults.push(("T14", format!("checkpoint by revoked key {:08x} at size {size}", key.id())));
            } else if !self.may_sign(key, size) {
                faults.push(("T13", format!("key used outside its epoch: {:08x} signed size {size}", key.id())));
            } else {
                good += 1;
            }
        }
        let trusted = good > 0 && faults.is_empty();
        faults.into_iter().for_each(|(code, text)| findings.add(code, place, text));
        Some(Judged { head, trusted, verified: Some(opened.verified) })
    }

    fn fault(&self, error: &CheckpointError) -> (&'static str, String) {
        let witness = |name: &str, id: u32| {
            let own = |key: &&VerifierKey| key.kind() == KeyKind::Cosignature && key.id() == id && key.name() == name;
            self.keys.iter().any(|key| own(&key))
        };
        match error {
            CheckpointError::WrongOrigin { got, expected } => {
                ("T12", format!("wrong origin: `{got}`, not `{expected}`"))
            }
            CheckpointError::NoLogSignature | CheckpointError::Note(NoteError::NoTrustedSignature) => {
                ("T12", "no trusted log signature".to_owned())
            }
            CheckpointError::Malformed(what) => ("T11", format!("malformed note: {what}")),
            CheckpointError::Note(NoteError::BadSignature { name, id, .. }) if witness(name, *id) => (
                "T18",
                format!(
                    "cosignature invalid: {error}",
                    error = NoteError::BadSignature { name: name.clone(), id: *id, line: 0 }
                ),
            ),
            CheckpointError::Note(error @ NoteError::BadSignature { .. }) => {
                ("T11", format!("bad signature of known key: {error}"))
            }
            CheckpointError::Note(error) => ("T11", format!("malformed note: {error}")),
        }
    }

    /// When the quorum had seen this head, seconds since the epoch: the time by which enough witnesses had signed it.
    /// `None` without a quorum to meet or when it is not met, which is a finding (T18).
    pub(crate) fn quorum(&self, judged: &Judged, notes: &mut Vec<String>, findings: &mut Findings) -> Option<u64> {
        self.witnesses.quorum.as_ref()?;
        let times: Vec<(&str, u64)> = self
            .witnesses
            .witnesses
            .iter()
            .filter_map(|witness| Some((witness.name.as_str(), judged.verified.as_ref()?.cosigned_at(&witness.key)?)))
            .collect();
        if !judged.verified.as_ref().is_some_and(|verified| self.witnesses.is_met(verified)) {
            let names: Vec<&str> = times.iter().map(|(name, _)| *name).collect();
            let text = format!("witness quorum not met: head of size {} has {names:?}", judged.head.size());
            findings.add("T18", "checkpoint", text);
            return None;
        }
        let seen: Vec<String> = times.iter().map(|(name, time)| format!("{name} at {time}")).collect();
        notes.push(format!("witness quorum met: {}", seen.join(", ")));
        times.iter().map(|(_, time)| *time).min()
    }
}

fn policy_text(error: &PolicyError) -> String {
    use std::error::Error as _;
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("no trusted policy: {error}{cause}")
}
