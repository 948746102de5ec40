//! Encrypts a session's content to the masker (I-05): the only place that seals a payload.
//!
//! A session key is 32 random bytes, made when the session opens, held in memory only and never used again after a
//! restart, so a nonce (which follows from the sequence) never repeats. Layouts: `schemas::payload`.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeS, Serializable as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use schemas::payload;
use schemas::v1::{FrameKind, Uuid};
use zeroize::Zeroizing;

type PublicKey = <X25519HkdfSha256 as hpke::Kem>::PublicKey;

/// Why content or a key could not be encrypted. Never holds key or content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// The masker's public key is not an X25519 key.
    #[error("masker public key is not 32 bytes of X25519")]
    PublicKey,
    /// The system gives no random bytes.
    #[error("system random source failed")]
    Random,
    /// The session key could not be wrapped.
    #[error("wrap the session key by HPKE")]
    Wrap,
    /// AES-GCM refused: content too long.
    #[error("seal the payload by AES-256-GCM")]
    Seal,
    /// A sequence is used again or goes back: refused, as the nonce would repeat.
    #[error("sequence was sealed before")]
    Sequence,
}

impl EncryptError {
    /// Stable name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PublicKey => "public_key",
            Self::Random => "random",
            Self::Wrap => "wrap",
            Self::Seal => "seal",
            Self::Sequence => "sequence",
        }
    }
}

/// The masker's public key, and its id as it stands in session records.
#[derive(Clone)]
pub struct MaskerKey {
    id: String,
    key: PublicKey,
}

impl std::fmt::Debug for MaskerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaskerKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl MaskerKey {
    /// Reads 32 bytes of an X25519 public key (RFC 7748).
    ///
    /// # Errors
    /// [`EncryptError::PublicKey`].
    pub fn new(id: impl Into<String>, bytes: &[u8]) -> Result<Self, EncryptError> {
        let key = PublicKey::from_bytes(bytes).map_err(|_| EncryptError::PublicKey)?;
        Ok(Self { id: id.into(), key })
    }

    /// Id of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A session's cipher. Dropping it drops the only copy of the key outside the masker.
pub struct SessionCipher {
    session_id: Uuid,
    key: LessSafeKey,
    wrapped: Vec<u8>,
    next: i64,
}

impl std::fmt::Debug for SessionCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCipher").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

impl SessionCipher {
    /// Makes a new key and wraps it to the masker.
    ///
    /// # Errors
    /// `Random`, `Wrap`.
    pub fn new(session_id: Uuid, masker: &MaskerKey) -> Result<Self, EncryptError> {
        let mut secret = Zeroizing::new([0u8; payload::SESSION_KEY_LEN]);
        SystemRandom::new().fill(secret.as_mut_slice()).map_err(|_| EncryptError::Random)?;
        let (encapsulation, sealed) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256, _>(
            &OpModeS::Base,
            &masker.key,
            payload::WRAP_INFO,
            secret.as_slice(),
            &session_id.0,
            &mut rand::rng(),
        )
        .map_err(|_| EncryptError::Wrap)?;
        let mut wrapped = encapsulation.to_bytes().to_vec();
        wrapped.extend_from_slice(&sealed);
        Self::with_key(session_id, secret.as_slice(), wrapped)
    }

    fn with_key(session_id: Uuid, secret: &[u8], wrapped: Vec<u8>) -> Result<Self, EncryptError> {
        let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| EncryptError::Seal)?;
        Ok(Self { session_id, key: LessSafeKey::new(key), wrapped, next: 0 })
    }

    /// The wrapped key: [`payload::WRAPPED_KEY_LEN`] bytes, for the session record.
    #[must_use]
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// Replaces `out` by ciphertext and tag of `content`; empty content gives no bytes. Sequences only rise, so a
    /// nonce cannot be used twice.
    ///
    /// # Errors
    /// `Sequence`, `Seal`; `out` is then empty.
    pub fn seal(
        &mut self,
        sequence: i64,
        kind: FrameKind,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EncryptError> {
        out.clear();
        if sequence < self.next {
            return Err(EncryptError::Sequence);
        }
        self.next = sequence + 1;
        if content.is_empty() {
            return Ok(());
        }
        out.reserve(content.len() + payload::TAG_LEN);
        out.extend_from_slice(content);
        let nonce = Nonce::assume_unique_for_key(payload::nonce(sequence));
        let aad = Aad::from(payload::aad(&self.session_id.0, sequence, kind.index()));
        if self.key.seal_in_place_append_tag(nonce, aad, out).is_err() {
            out.clear();
            return Err(EncryptError::Seal);
        }
        Ok(())
    }
}

/// Public half of a masker key pair made for tests and demos: derives (secret, public) from 32 bytes of seed.
#[must_use]
pub fn derive_key_pair(seed: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 32]) {
    let (secret, public) = X25519HkdfSha256::derive_keypair(seed);
    (Zeroizing::new(secret.to_bytes().into()), public.to_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpke::OpModeR;

    fn open(secret: &[u8], session: &Uuid, wrapped: &[u8]) -> Vec<u8> {
        let secret = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(secret).unwrap();
        let encapsulation = <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&wrapped[..32]).unwrap();
        hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapsulation,
            payload::WRAP_INFO,
            &wrapped[32..],
            &session.0,
        )
        .unwrap()
    }

    #[test]
    fn the_masker_opens_what_was_sealed_and_only_in_its_place() {
        let (secret, public) = derive_key_pair(&[7; 32]);
        let session = Uuid([9; 16]);
        let mut cipher = SessionCipher::new(session, &MaskerKey::new("k1", &public).unwrap()).unwrap();
        assert_eq!(cipher.wrapped().len(), payload::WRAPPED_KEY_LEN);
        let data_key = open(secret.as_slice(), &session, cipher.wrapped());
        let mut sealed = Vec::new();
        cipher.seal(5, FrameKind::Message, b"select 1", &mut sealed).unwrap();
        assert_eq!(sealed.len(), 8 + payload::TAG_LEN);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &data_key).unwrap());
        let at = |sequence, kind: FrameKind| {
            let aad = Aad::from(payload::aad(&session.0, sequence, kind.index()));
            let mut copy = sealed.clone();
            let nonce = Nonce::assume_unique_for_key(payload::nonce(sequence));
            key.open_in_place(nonce, aad, &mut copy).map(|plain| plain.to_vec())
        };
        assert_eq!(at(5, FrameKind::Message).unwrap(), b"select 1");
        assert!(at(5, FrameKind::Command).is_err());
        assert!(at(6, FrameKind::Message).is_err());
    }

    #[test]
    fn a_sequence_is_sealed_once_and_empty_content_stays_empty() {
        let (_, public) = derive_key_pair(&[1; 32]);
        let mut cipher = SessionCipher::new(Uuid([1; 16]), &MaskerKey::new("k", &public).unwrap()).unwrap();
        let mut out = vec![1];
        cipher.seal(0, FrameKind::Message, b"", &mut out).unwrap();
        assert!(out.is_empty());
        assert_eq!(cipher.seal(0, FrameKind::Message, b"x", &mut out), Err(EncryptError::Sequence));
        assert!(MaskerKey::new("k", &[0; 31]).is_err());
        assert!(!format!("{cipher:?}").contains("wrapped"));
    }
}
