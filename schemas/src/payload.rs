//! How content is encrypted between ingest-proxy and masker: names and byte layouts, no cipher and no key (I-05).
//!
//! A session has one data key, made when it opens and never used again after a restart. It is wrapped by HPKE
//! (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; `info` = [`WRAP_INFO`],
//! `aad` = the 16 session id bytes) to the masker's public key: 32 bytes of encapsulation, then 48 bytes of
//! ciphertext and tag. Content is AES-256-GCM (NIST SP 800-38D) under that key; the nonce follows from the
//! frame's sequence, so none repeats.

/// HPKE `info`.
pub const WRAP_INFO: &[u8] = b"sealtrail/v1/session-key";
/// Bytes of a session key.
pub const SESSION_KEY_LEN: usize = 32;
/// Bytes of a wrapped session key: encapsulation, key, tag.
pub const WRAPPED_KEY_LEN: usize = 32 + SESSION_KEY_LEN + 16;
/// Bytes that encryption adds to content.
pub const TAG_LEN: usize = 16;
/// Longest piece of a message in one record; longer messages are cut into chunks.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Longest statement text in a command record.
pub const STATEMENT_BYTES_MAX: usize = 256 * 1024;
/// Longest parameter value in a command record.
pub const PARAMETER_BYTES_MAX: usize = 64 * 1024;

/// The nonce of a frame: four zero bytes, then the sequence, big-endian.
#[must_use]
pub fn nonce(sequence: i64) -> [u8; 12] {
    let mut nonce = [0u8; 12];
    nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

/// The additional data of a frame: session id, sequence, kind. It binds content to its place.
#[must_use]
pub fn aad(session_id: &[u8; 16], sequence: i64, kind: i32) -> [u8; 28] {
    let mut aad = [0u8; 28];
    let parts = session_id.iter().copied().chain(sequence.to_be_bytes()).chain(kind.to_be_bytes());
    aad.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    aad
}
