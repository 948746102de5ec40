//! Logging in at a target: SCRAM-SHA-256 as a pure state machine (RFC 5802, RFC 7677), MD5 and nothing else.
//!
//! The nonce is passed in. Channel binding is not offered: TLS ends at the proxy, so `-PLUS` would bind nothing
//! that the client sees. The server's signature is checked, so a target that does not know the password is found out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// Most iterations accepted: a hostile target could otherwise burn the proxy's time.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// Fewest iterations accepted (RFC 7677, section 4).
pub const ITERATIONS_MIN: u32 = 4096;
/// Longest server message read.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Why a target's login answer is refused. No variant holds what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The message is not of the form that is due.
    #[error("read the target's scram message")]
    Message,
    /// The server's nonce does not continue ours.
    #[error("check the target's scram nonce")]
    Nonce,
    /// The iteration count is out of bounds.
    #[error("check the target's scram iteration count")]
    Iterations,
    /// The target refused the proof.
    #[error("log in at the target")]
    Refused,
    /// The target's signature is wrong: it does not know the password.
    #[error("check the target's scram signature")]
    Signature,
}

impl ScramError {
    /// Stable name, for metrics and reason codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message => "scram_message",
            Self::Nonce => "scram_nonce",
            Self::Iterations => "scram_iterations",
            Self::Refused => "scram_refused",
            Self::Signature => "scram_signature",
        }
    }
}

/// A client that has sent its first message.
pub struct Client {
    password: Zeroizing<Vec<u8>>,
    nonce: String,
    user: String,
}

/// A client that has sent its proof.
pub struct Proved {
    signature: [u8; 32],
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(hidden)")
    }
}

impl std::fmt::Debug for Proved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proved(hidden)")
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is legal, so `new_from_slice` cannot fail for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// `Hi` of RFC 5802: PBKDF2 with one block.
fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
    let mut last = hmac(password, &[salt, &1u32.to_be_bytes()]);
    let mut sum = Zeroizing::new(last);
    for _ in 1..iterations {
        last = hmac(password, &[&last]);
        sum.iter_mut().zip(last).for_each(|(to, from)| *to ^= from);
    }
    sum
}

impl Client {
    /// `password` as configured; `nonce` 18 or more random bytes, fresh for each login.
    /// A password that SASLprep refuses is used as it is, as the server does.
    #[must_use]
    pub fn new(password: &str, nonce: &[u8]) -> Self {
        let prepared =
            stringprep::saslprep(password).map_or_else(|_| password.to_owned(), std::borrow::Cow::into_owned);
        let password = Zeroizing::new(prepared.into_bytes());
        // The server takes the user of the start-up packet and ignores this one.
        Self { password, nonce: STANDARD.encode(nonce), user: String::new() }
    }

    /// The `SASLInitialResponse` data.
    #[must_use]
    pub fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    /// Answers the target's challenge: the `SASLResponse` data, and the state that checks its last message.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn prove(self, challenge: &[u8]) -> Result<(String, Proved), ScramError> {
        let challenge = text(challenge)?;
        let mut parts = challenge.split(',');
        let mut part = |prefix| parts.next().and_then(|part| part.strip_prefix(prefix)).ok_or(ScramError::Message);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Message)?;
        let iterations: u32 = iterations.parse().map_err(|_| ScramError::Iterations)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::Iterations);
        }
        let salted = salted(&self.password, &salt, iterations);
        let mut proof = Zeroizing::new(hmac(&*salted, &[b"Client Key"]));
        let stored: [u8; 32] = Sha256::digest(*proof).into();
        let without_proof = format!("c=biws,r={nonce}");
        let bare = self.bare();
        let message: [&[u8]; 5] = [bare.as_bytes(), b",", challenge.as_bytes(), b",", without_proof.as_bytes()];
        let signature = hmac(&stored, &message);
        proof.iter_mut().zip(signature).for_each(|(to, from)| *to ^= from);
        let server_key = Zeroizing::new(hmac(&*salted, &[b"Server Key"]));
        let signature = hmac(&*server_key, &message);
        Ok((format!("{without_proof},p={}", STANDARD.encode(*proof)), Proved { signature }))
    }
}

impl Proved {
    /// Checks the target's last message.
    ///
    /// # Errors
    /// [`ScramError::Refused`], [`ScramError::Signature`], [`ScramError::Message`].
    pub fn verify(&self, last: &[u8]) -> Result<(), ScramError> {
        let last = text(last)?;
        if last.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = last.split(',').next().and_then(|part| part.strip_prefix("v=")).ok_or(ScramError::Message)?;
        let signature = STANDARD.decode(signature).map_err(|_| ScramError::Message)?;
        if bool::from(signature.as_slice().ct_eq(&self.signature)) { Ok(()) } else { Err(ScramError::Signature) }
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::Message);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Message)
}

/// The MD5 answer: `md5` and the digest of (digest of password and user) and salt. Weak: only where configured.
#[must_use]
pub fn md5_password(user: &str, password: &str, salt: [u8; 4]) -> Zeroizing<String> {
    let mut digest = Md5::new();
    digest.update(password);
    digest.update(user);
    let inner = Zeroizing::new(hex(&digest.finalize()));
    let mut digest = Md5::new();
    digest.update(inner.as_bytes());
    digest.update(salt);
    Zeroizing::new(format!("md5{}", hex(&digest.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The exchange of RFC 7677, section 3.
    fn rfc_client() -> Client {
        let nonce = STANDARD.decode("rOprNGfwEbeRWgbNEkqO").unwrap();
        Client { user: "user".to_owned(), ..Client::new("pencil", &nonce) }
    }
    const CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_rfc_exchange_gives_the_rfc_bytes() {
        assert_eq!(rfc_client().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (proof, proved) = rfc_client().prove(CHALLENGE).unwrap();
        assert_eq!(
            proof,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proved.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(proved.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="), Err(ScramError::Message));
        assert_eq!(proved.verify(b"v=AAAA"), Err(ScramError::Signature));
        assert_eq!(proved.verify(b"e=invalid-proof"), Err(ScramError::Refused));
    }

    #[test]
    fn forged_challenges_are_refused() {
        let nonce = "r=rOprNGfwEbeRWgbNEkqOx";
        for (challenge, error) in [
            ("r=other,s=AAAA,i=4096".to_owned(), ScramError::Nonce),
            ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096".to_owned(), ScramError::Nonce),
            (format!("{nonce},s=AAAA,i=1"), ScramError::Iterations),
            (format!("{nonce},s=AAAA,i=4000000000"), ScramError::Iterations),
            (format!("{nonce},s=*,i=4096"), ScramError::Message),
            ("m=x".to_owned(), ScramError::Message),
        ] {
            assert_eq!(rfc_client().prove(challenge.as_bytes()).err(), Some(error), "{challenge}");
        }
    }

    #[test]
    fn md5_has_the_form_the_server_stores() {
        // Made by the server's rule: md5(md5("secret" "ada") hex, salt).
        let answer = md5_password("ada", "secret", [1, 2, 3, 4]);
        assert_eq!(*answer, "md5164dbcd37c01a78e869e72965960a754");
        assert_ne!(*answer, *md5_password("ada", "secret", [1, 2, 3, 5]));
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(rfc_client().prove(&bytes).is_err());
        }
    }
}
