//! What is signed with the keys that stay offline: policy notes and incidents by the root, epochs by a recovery key.

use schemas::entry::{EntryBody as _, KEY_RECOVER};
use schemas::v1::{IncidentBody, KeyBody, KeyId, Signature64};
use tlog::{NoteSignature, Policy, VerifierKey};

use crate::signer::{Signer, SignerError};

/// Name of the root key of a log.
#[must_use]
pub fn root_name(origin: &str) -> String {
    format!("{origin}/root")
}

/// Name of the recovery key of a log.
#[must_use]
pub fn recovery_name(origin: &str) -> String {
    format!("{origin}/recovery")
}

/// The note of a policy.
///
/// # Errors
/// [`SignerError`].
pub fn sign_policy(policy: &Policy, root: &dyn Signer) -> Result<String, SignerError> {
    let signature = root.sign(policy.to_string().as_bytes())?;
    policy
        .to_note(vec![NoteSignature::new(root.verifier_key(), &signature)])
        .map(|note| note.to_string())
        .map_err(|source| SignerError::Origin(policy.origin.clone(), source))
}

/// The KEY entry that begins epoch `epoch` with `new` because the key before is lost or stolen.
///
/// # Errors
/// [`SignerError`].
pub fn recover_entry(epoch: i64, new: &VerifierKey, recovery: &dyn Signer) -> Result<Vec<u8>, SignerError> {
    let mut key = KeyBody {
        version: 1,
        origin: new.name().to_owned(),
        action: KEY_RECOVER.into(),
        epoch,
        vkey: new.to_string(),
        key_id: KeyId(recovery.verifier_key().id().to_be_bytes()),
        signature: Signature64::default(),
    };
    key.signature = Signature64(recovery.sign(&key.signed_bytes())?);
    Ok(key.to_entry())
}

/// The INCIDENT entry that says `incident`; its key id and signature are filled in.
///
/// # Errors
/// [`SignerError`].
pub fn incident_entry(mut incident: IncidentBody, root: &dyn Signer) -> Result<Vec<u8>, SignerError> {
    incident.key_id = KeyId(root.verifier_key().id().to_be_bytes());
    incident.signature = Signature64(root.sign(&incident.signed_bytes())?);
    Ok(incident.to_entry())
}
