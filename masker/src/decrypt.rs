//! Opening payloads: the masker's key, the session keys wrapped to it, and content (I-05).
//!
//! No other package opens a payload. Layouts: [`schemas::payload`]. Keys never reach `Debug`, an error or a
//! log, and are zeroised when dropped.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use base64::Engine as _;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, Serializable};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use schemas::payload::{SESSION_KEY_LEN, TAG_LEN, WRAP_INFO, WRAPPED_KEY_LEN, aad, nonce};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::reason;

/// Sessions whose key is kept; the least recently added goes first.
pub const SESSIONS_MAX: usize = 10_000;

/// Why a payload or key could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// The wrapped key is missing or of the wrong length.
    #[error("wrapped session key has the wrong length")]
    WrappedLength,
    /// The session key was wrapped to another masker key, or changed.
    #[error("wrapped session key does not open")]
    Unwrap,
    /// The content does not authenticate.
    #[error("payload does not authenticate")]
    Payload,
}

impl DecryptError {
    /// Stable code, used as `mask_reason`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::WrappedLength => reason::NO_KEY,
            Self::Unwrap => reason::KEY_UNWRAP,
            Self::Payload => reason::DECRYPT,
        }
    }
}

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not readable.
    #[error("read masker key file")]
    Read(#[source] std::io::Error),
    /// Others may read it.
    #[error("masker key file must be readable by its owner alone (mode 0600 or 0400)")]
    Permissions,
    /// Not 32 bytes in base64 or hex.
    #[error("masker key file is not 32 bytes in base64 or hex")]
    Format,
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Random,
}

impl KeyError {
    /// Stable code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read(_) => "key_read",
            Self::Permissions => "key_permissions",
            Self::Format => "key_format",
            Self::Random => "key_random",
        }
    }
}

/// The masker's private key, X25519.
pub struct MaskerKey {
    private: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for MaskerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskerKey(hidden)")
    }
}

impl MaskerKey {
    /// A new key from the operating system's random source.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut private = Zeroizing::new([0u8; 32]);
        SystemRandom::new().fill(private.as_mut()).map_err(|_| KeyError::Random)?;
        Ok(Self { private })
    }

    /// A key from its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { private: Zeroizing::new(bytes) }
    }

    /// A key from text: 32 bytes in base64 (44 characters) or hex (64 characters), white space around.
    ///
    /// # Errors
    /// [`KeyError::Format`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let decoded = if text.len() == 64 {
            hex::decode(text).ok()
        } else {
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        };
        let mut bytes = Zeroizing::new(decoded.ok_or(KeyError::Format)?);
        let private = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Format)?;
        bytes.zeroize();
        Ok(Self::from_bytes(private))
    }

    /// A key from a file as [`MaskerKey::to_text`] writes it; refused when group or others may read it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path).map_err(KeyError::Read)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(KeyError::Permissions);
            }
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(KeyError::Read)?);
        Self::from_text(&text)
    }

    /// The file's content: base64 and a newline.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(self.private.as_ref()) + "\n")
    }

    /// The public key that ingest-proxy wraps session keys to.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        let Ok(private) = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.private.as_ref()) else {
            return [0; 32];
        };
        X25519HkdfSha256::sk_to_pk(&private).to_bytes().into()
    }

    /// Id of the key: the first 8 bytes of SHA-256 of the public key, 16 hex digits.
    #[must_use]
    pub fn key_id(&self) -> String {
        key_id(&self.public_key())
    }

    /// A key for another purpose, by HMAC-SHA256 over its name.
    #[must_use]
    pub fn derive(&self, purpose: &[u8]) -> Zeroizing<Vec<u8>> {
        use hmac::Mac as _;
        let Ok(mut mac) = hmac::Hmac::<Sha256>::new_from_slice(self.private.as_ref()) else {
            return Zeroizing::new(Vec::new());
        };
        mac.update(b"sealtrail/v1/derive/");
        mac.update(purpose);
        Zeroizing::new(mac.finalize().into_bytes().to_vec())
    }

    /// Opens a wrapped session key.
    ///
    /// # Errors
    /// [`DecryptError::WrappedLength`], [`DecryptError::Unwrap`].
    pub fn unwrap_key(&self, session_id: &[u8; 16], wrapped: &[u8]) -> Result<SessionKey, DecryptError> {
        if wrapped.len() != WRAPPED_KEY_LEN {
            return Err(DecryptError::WrappedLength);
        }
        let (encapsulated, sealed) = wrapped.split_first_chunk::<32>().ok_or(DecryptError::WrappedLength)?;
        let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.private.as_ref());
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated);
        let (Ok(private), Ok(encapsulated)) = (private, encapsulated) else { return Err(DecryptError::Unwrap) };
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            WRAP_INFO,
            sealed,
            session_id,
        );
        let key = Zeroizing::new(opened.map_err(|_| DecryptError::Unwrap)?);
        if key.len() != SESSION_KEY_LEN {
            return Err(DecryptError::Unwrap);
        }
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| DecryptError::Unwrap)?;
        Ok(SessionKey(LessSafeKey::new(key)))
    }
}

/// Id of a masker public key: first 8 bytes of its SHA-256, in hex.
#[must_use]
pub fn key_id(public_key: &[u8; 32]) -> String {
    hex::encode(Sha256::digest(public_key).get(..8).unwrap_or_default())
}

/// A session's content key.
pub struct SessionKey(LessSafeKey);

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

impl SessionKey {
    /// Opens content; empty content stays empty.
    ///
    /// # Errors
    /// [`DecryptError::Payload`].
    pub fn open(&self, session: &[u8; 16], sequence: i64, kind: i32, sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        let mut buffer = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce(sequence));
        let opened = self.0.open_in_place(nonce, Aad::from(aad(session, sequence, kind)), &mut buffer);
        let len = opened.map_err(|_| DecryptError::Payload)?.len();
        debug_assert_eq!(len + TAG_LEN, sealed.len());
        buffer.truncate(len);
        Ok(buffer)
    }
}

/// The key that state is put aside under.
///
/// The nonce is HMAC-SHA-256 over place and content, cut to 96 bits: the same state gives the same bytes (I-12), and
/// another one another nonce.
pub struct StateKey {
    seal: LessSafeKey,
    nonce: Zeroizing<Vec<u8>>,
    id: String,
}

impl std::fmt::Debug for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl StateKey {
    /// The state key of a masker key; `None` when the cipher does not take it.
    #[must_use]
    pub fn of(own: &MaskerKey) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &own.derive(b"state")).ok()?;
        Some(Self { seal: LessSafeKey::new(key), nonce: own.derive(b"state nonce"), id: own.key_id() })
    }

    /// Id of the masker key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn place(session: &[u8; 16], sequence: i64) -> [u8; 24] {
        let mut place = [0; 24];
        let (head, tail) = place.split_at_mut(16);
        head.copy_from_slice(session);
        tail.copy_from_slice(&sequence.to_be_bytes());
        place
    }

    /// Seals the state of a session after its record `sequence`; empty when the cipher refuses.
    #[must_use]
    pub fn seal(&self, session: &[u8; 16], sequence: i64, clear: &[u8]) -> Vec<u8> {
        use hmac::Mac as _;
        let place = Self::place(session, sequence);
        let Ok(mut mac) = hmac::Hmac::<Sha256>::new_from_slice(&self.nonce) else { return Vec::new() };
        mac.update(&place);
        mac.update(clear);
        let tag = mac.finalize().into_bytes();
        let Some(nonce) = tag.first_chunk::<12>() else { return Vec::new() };
        let mut sealed = clear.to_vec();
        let done =
            self.seal.seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut sealed);
        if done.is_err() { Vec::new() } else { [nonce.as_slice(), &sealed].concat() }
    }

    /// Opens what [`StateKey::seal`] gave; `None` for anything else.
    #[must_use]
    pub fn open(&self, session: &[u8; 16], sequence: i64, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(Self::place(session, sequence));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self.seal.open_in_place(nonce, aad, &mut buffer).ok()?.len();
        buffer.truncate(len);
        Some(buffer)
    }
}

/// Session keys already unwrapped, at most [`SESSIONS_MAX`].
#[derive(Debug, Default)]
pub struct Keys {
    open: HashMap<[u8; 16], (Vec<u8>, SessionKey)>,
    order: VecDeque<[u8; 16]>,
}

impl Keys {
    /// The key of a session, unwrapped at its first use or when the wrapped key changed.
    ///
    /// # Errors
    /// As [`MaskerKey::unwrap_key`].
    pub fn get(&mut self, own: &MaskerKey, session: &[u8; 16], wrapped: &[u8]) -> Result<&SessionKey, DecryptError> {
        if self.open.get(session).is_none_or(|(known, _)| known != wrapped) {
            let key = own.unwrap_key(session, wrapped)?;
            if self.open.insert(*session, (wrapped.to_vec(), key)).is_none() {
                self.order.push_back(*session);
            }
            while self.order.len() > SESSIONS_MAX {
                if let Some(oldest) = self.order.pop_front() {
                    self.open.remove(&oldest);
                }
            }
        }
        self.open.get(session).map(|(_, key)| key).ok_or(DecryptError::Unwrap)
    }

    /// Forgets a closed session.
    pub fn forget(&mut self, session: &[u8; 16]) {
        if self.open.remove(session).is_some() {
            self.order.retain(|known| known != session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_hide() {
        let key = MaskerKey::from_bytes([7; 32]);
        let again = MaskerKey::from_text(&key.to_text()).unwrap();
        assert_eq!(key.public_key(), again.public_key());
        assert_eq!(MaskerKey::from_text(&"07".repeat(32)).unwrap().key_id(), key.key_id());
        assert_eq!(key.key_id().len(), 16);
        assert_eq!(format!("{key:?}"), "MaskerKey(hidden)");
        assert_eq!(MaskerKey::from_text("short").unwrap_err().kind(), "key_format");
    }

    #[test]
    fn state_opens_at_its_place_only() {
        let key = StateKey::of(&MaskerKey::from_bytes([7; 32])).unwrap();
        let sealed = key.seal(&[1; 16], 5, b"held hunter2");
        assert_eq!(sealed, key.seal(&[1; 16], 5, b"held hunter2"));
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(key.open(&[1; 16], 5, &sealed).unwrap().as_slice(), b"held hunter2");
        assert!(key.open(&[1; 16], 6, &sealed).is_none() && key.open(&[2; 16], 5, &sealed).is_none());
        assert!(StateKey::of(&MaskerKey::from_bytes([8; 32])).unwrap().open(&[1; 16], 5, &sealed).is_none());
        assert!(key.open(&[1; 16], 5, b"short").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masker.key");
        std::fs::write(&path, MaskerKey::generate().unwrap().to_text().as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(MaskerKey::from_file(&path).unwrap_err().kind(), "key_permissions");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(MaskerKey::from_file(&path).is_ok());
    }
}
