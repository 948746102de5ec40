//! C2SP signed notes: text, then lines of `— <key name> <base64(key id ‖ signature)>`.
//!
//! The parser is strict, because a note that two verifiers read differently is a way to show two heads (I-09). Unknown
//! signature lines are kept and listed, since keys rotate and witnesses come and go; a line that names a known key and
//! does not verify is an error (T11), never skipped. Nothing here signs: the sealer signs [`Note::text`] (log key) and
//! hands the 64 bytes to [`NoteSignature::new`]. Sources: c2sp.org/signed-note v1.0.0, c2sp.org/tlog-cosignature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::hash::Hash;

/// Largest note in bytes, text and signature lines together. A checkpoint has about 500.
pub const NOTE_BYTES_MAX: usize = 1 << 20;
/// Most signature lines of a note (the specification asks for at least 16).
pub const NOTE_SIGNATURES_MAX: usize = 100;
/// Longest key name in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// Em dash and space, with which each signature line begins.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note or key is refused. A retry never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Above [`NOTE_BYTES_MAX`].
    #[error("parse note: {0} bytes, at most {NOTE_BYTES_MAX} are read")]
    TooLong(usize),
    /// The note breaks a rule of the format.
    #[error("parse note: {0}")]
    Malformed(&'static str),
    /// A signature line breaks a rule of the format.
    #[error("parse signature line {line}: {what}")]
    MalformedLine {
        /// Number of the signature line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A verifier key that is not `<name>+<8 hex digits>+<base64(type ‖ key)>`, of a known type, with the right id.
    #[error("parse verifier key: {0}")]
    Key(&'static str),
    /// Two different trusted keys have one name and id, so a line cannot be attributed.
    #[error("verify note: two trusted keys are called `{name}+{id:08x}`")]
    AmbiguousKey {
        /// Key name.
        name: String,
        /// Key id.
        id: u32,
    },
    /// The signature of a trusted key does not verify (T11).
    #[error("verify note: bad signature of `{name}+{id:08x}` in line {line}")]
    BadSignature {
        /// Key name.
        name: String,
        /// Key id.
        id: u32,
        /// Number of the signature line, from 1.
        line: usize,
    },
    /// No line is by a trusted key (T12).
    #[error("verify note: no signature by a trusted key")]
    NoTrustedSignature,
}

impl NoteError {
    /// Stable label for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::Malformed(_) | Self::MalformedLine { .. } => "malformed",
            Self::Key(_) => "key",
            Self::AmbiguousKey { .. } => "ambiguous_key",
            Self::BadSignature { .. } => "bad_signature",
            Self::NoTrustedSignature => "no_trusted_signature",
        }
    }
}

/// What a key signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Type 01: Ed25519 over the note text. Logs.
    Ed25519,
    /// Type 04: Ed25519 over time and note text, `cosignature/v1`. Witnesses.
    Cosignature,
}

impl KeyKind {
    /// The type byte of the key id and the verifier key.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// Key id: the first four bytes of SHA-256(name ‖ 0A ‖ type ‖ key), as a number.
#[must_use]
pub fn key_id(name: &str, kind: KeyKind, public: &[u8; 32]) -> u32 {
    let mut sha = Sha256::new();
    sha.update(name);
    sha.update([b'\n', kind.byte()]);
    sha.update(public);
    let [a, b, c, d, ..] = <[u8; 32]>::from(sha.finalize());
    u32::from_be_bytes([a, b, c, d])
}

/// True for a usable key name (and origin): not empty, at most [`KEY_NAME_BYTES_MAX`] bytes, no space of any script, no
/// control character, no plus.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && name.len() <= KEY_NAME_BYTES_MAX && !name.contains(bad)
}

/// A public key with its name and kind: who may sign what.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: KeyKind,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Makes a key from its parts; the id follows from them.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a bad name, bytes that are no point, or a point of small order.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::Key("name is empty, too long, or holds a space, a control character or a plus"));
        }
        let key = VerifyingKey::from_bytes(public).map_err(|_| NoteError::Key("not an Ed25519 public key"))?;
        if key.is_weak() {
            return Err(NoteError::Key("Ed25519 public key of small order"));
        }
        Ok(Self { name: name.to_owned(), id: key_id(name, kind, public), kind, key })
    }

    /// Reads a vkey, `<name>+<key id>+<base64(type ‖ key)>`; `to_string` gives exactly the text that was read.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("not three parts joined by plus"));
        };
        let data = STANDARD.decode(data).map_err(|_| NoteError::Key("key is not strict base64"))?;
        let (kind, public) = data.split_first().ok_or(NoteError::Key("key is empty"))?;
        let kind = KeyKind::from_byte(*kind).ok_or(NoteError::Key("unknown key type"))?;
        let public = public.try_into().map_err(|_| NoteError::Key("key is not 32 bytes"))?;
        let key = Self::new(name, kind, public)?;
        if format!("{:08x}", key.id) != id {
            return Err(NoteError::Key("key id does not fit name and key"));
        }
        Ok(key)
    }

    /// Key name; for a log key its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What the key signs.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Checks a bare Ed25519 signature by this key over `message`, strictly (RFC 8032, no malleable or small-order
    /// case): for seal envelopes, see [`seal_signed_bytes`], and for KEY and INCIDENT entries.
    #[must_use]
    pub fn verify_message(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    /// Checks the payload of a signature line over a note text; gives the time of a cosignature.
    fn verify_payload(&self, text: &str, payload: &[u8]) -> Option<Option<u64>> {
        match self.kind {
            KeyKind::Ed25519 => {
                let signature = payload.try_into().ok()?;
                self.verify_message(text.as_bytes(), signature).then_some(None)
            }
            KeyKind::Cosignature => {
                let (time, signature) = payload.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                let signature = signature.try_into().ok()?;
                let valid = i64::try_from(time).is_ok()
                    && self.verify_message(&cosignature_signed_bytes(time, text), signature);
                valid.then_some(Some(time))
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = vec![self.kind.byte()];
        data.extend_from_slice(self.public());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(data))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a witness signs at `time` (seconds since the epoch): `cosignature/v1`, the time, the note text.
#[must_use]
pub fn cosignature_signed_bytes(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// What the log key signs for the envelope of one entry: "audit-seal/v1\n" ‖ entry leaf hash.
#[must_use]
pub fn seal_signed_bytes(entry_leaf: &Hash) -> Vec<u8> {
    [b"audit-seal/v1\n", entry_leaf.as_bytes().as_slice()].concat()
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: u32,
    payload: Vec<u8>,
}

impl NoteSignature {
    /// A line by a log key, from the signature it made over [`Note::text`]. Nothing is verified here.
    #[must_use]
    pub fn new(key: &VerifierKey, signature: &[u8; 64]) -> Self {
        Self { name: key.name.clone(), id: key.id, payload: signature.to_vec() }
    }

    /// A line by a witness key, from the signature it made over [`cosignature_signed_bytes`].
    #[must_use]
    pub fn cosignature(key: &VerifierKey, time: u64, signature: &[u8; 64]) -> Self {
        let payload = [time.to_be_bytes().as_slice(), signature].concat();
        Self { name: key.name.clone(), id: key.id, payload }
    }

    /// Reads one line without its newline, as in the answer of a witness.
    ///
    /// # Errors
    /// [`NoteError::MalformedLine`], with line 1.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        Self::parse_line(line).map_err(|what| NoteError::MalformedLine { line: 1, what })
    }

    fn parse_line(line: &str) -> Result<Self, &'static str> {
        let rest = line.strip_prefix(SIGNATURE_PREFIX).ok_or("does not begin with em dash and space")?;
        let (name, data) = rest.split_once(' ').ok_or("no space between name and signature")?;
        if !is_key_name(name) {
            return Err("bad key name");
        }
        let data = STANDARD.decode(data).map_err(|_| "signature is not strict base64")?;
        match data.split_first_chunk::<4>() {
            Some((id, payload)) if !payload.is_empty() => {
                Ok(Self { name: name.to_owned(), id: u32::from_be_bytes(*id), payload: payload.to_vec() })
            }
            _ => Err("signature is shorter than 5 bytes"),
        }
    }

    /// Name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key that is said to have signed.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What follows the key id: a signature, for a witness with 8 bytes of time in front.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = [self.id.to_be_bytes().as_slice(), &self.payload].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(data))
    }
}

/// A text with its signature lines, well formed but not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts a note together from a text and signature lines made elsewhere.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] if the text is empty, lacks the last newline or holds another control character, or if
    /// there are no or too many signatures; [`NoteError::TooLong`].
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed("text does not end in a newline"));
        }
        if signatures.is_empty() || signatures.len() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::Malformed("no signature lines, or too many"));
        }
        let note = Self { text, signatures };
        let length = note.to_string().len();
        if length > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(length));
        }
        Ok(note)
    }

    /// Reads a note. `to_string` of the result gives exactly the bytes read.
    ///
    /// # Errors
    /// [`NoteError::TooLong`], [`NoteError::Malformed`], [`NoteError::MalformedLine`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        check_characters(note)?;
        // The last empty line parts text and signatures; the text may hold empty lines of its own.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed("no empty line before signatures"))?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("no newline after the last signature"))?;
        let mut signatures = Vec::new();
        for (line, text) in (1_usize..).zip(lines.split('\n')) {
            if line > NOTE_SIGNATURES_MAX {
                return Err(NoteError::Malformed("no signature lines, or too many"));
            }
            signatures.push(NoteSignature::parse_line(text).map_err(|what| NoteError::MalformedLine { line, what })?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The signed text, with its last newline: the message that a type 01 key signs.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signature lines, known or not, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, such as a cosignature, at the end.
    ///
    /// # Errors
    /// As [`Note::new`]; the note is unchanged then.
    pub fn with_signature(&self, signature: NoteSignature) -> Result<Self, NoteError> {
        let mut signatures = self.signatures.clone();
        signatures.push(signature);
        Self::new(self.text.clone(), signatures)
    }

    /// Verifies every line that names one of `keys` (name and id), and lists the others as unknown.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if any such line does not verify, even next to a good one (T11);
    /// [`NoteError::NoTrustedSignature`] if there is no such line (T12); [`NoteError::AmbiguousKey`].
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Verified, NoteError> {
        let mut verified = Verified { signatures: Vec::new(), unknown: Vec::new() };
        for (line, signature) in (1_usize..).zip(&self.signatures) {
            let mut known = keys.iter().filter(|key| key.name == signature.name && key.id == signature.id);
            let Some(key) = known.next() else {
                verified.unknown.push(signature.clone());
                continue;
            };
            if known.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey { name: key.name.clone(), id: key.id });
            }
            let time = key.verify_payload(&self.text, &signature.payload).ok_or_else(|| NoteError::BadSignature {
                name: key.name.clone(),
                id: key.id,
                line,
            })?;
            verified.signatures.push(VerifiedSignature { key: key.clone(), time });
        }
        if verified.signatures.is_empty() { Err(NoteError::NoTrustedSignature) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// No control character but newline. DEL and the C1 range are refused too, which the specification leaves open.
fn check_characters(text: &str) -> Result<(), NoteError> {
    if text.contains(|c: char| c.is_control() && c != '\n') {
        return Err(NoteError::Malformed("control character other than newline"));
    }
    Ok(())
}

/// The outcome of [`Note::verify`]: at least one good signature, and no bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Good signatures, in the order of their lines.
    pub signatures: Vec<VerifiedSignature>,
    /// Lines by keys that are not trusted, in order: not an error, and worth nothing.
    pub unknown: Vec<NoteSignature>,
}

impl Verified {
    /// True if this key signed.
    #[must_use]
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.signatures.iter().any(|signature| signature.key == *key)
    }

    /// Earliest time (seconds since the epoch) at which this witness key cosigned; `None` if it did not.
    #[must_use]
    pub fn cosigned_at(&self, key: &VerifierKey) -> Option<u64> {
        self.signatures.iter().filter(|signature| signature.key == *key).filter_map(|signature| signature.time).min()
    }
}

/// One good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The trusted key that made it.
    pub key: VerifierKey,
    /// Seconds since the epoch; only a cosignature has it.
    pub time: Option<u64>,
}
