//! An OpenID Connect issuer for the demo: discovery, JWKS and signed tokens for two made-up people.
//!
//! It exists so that the demo shows the real identity path (discovery, key fetch, signature, audience, expiry)
//! without a server to install. It signs for whoever holds this struct and must never be anything but a demo.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// Audience of the demo's tokens.
pub(crate) const AUDIENCE: &str = "sealtrail-demo";
/// Longest request line and header block read, bytes.
const REQUEST_BYTES_MAX: u64 = 16 * 1024;

/// A person of the demo.
pub(crate) struct Person {
    /// OIDC subject.
    pub(crate) subject: &'static str,
    /// E-mail claim.
    pub(crate) email: &'static str,
    /// Display name.
    pub(crate) name: &'static str,
    /// Groups claim.
    pub(crate) groups: &'static [&'static str],
}

/// A running issuer; it ends with the process.
pub(crate) struct Issuer {
    url: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// Listens on a free loopback port and serves discovery and keys.
    pub(crate) fn start() -> Result<Self> {
        let random = SystemRandom::new();
        let refused = |_| anyhow!("make the issuer's signing key");
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(refused)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|_| anyhow!("read the issuer's signing key"))?;
        let listener =
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("listen for the issuer")?;
        let url = format!("http://{}", listener.local_addr().context("issuer address")?);
        let (discovery, jwks) = (discovery(&url), jwks(key.public_key().as_ref())?);
        std::thread::Builder::new().name("demo-issuer".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                // a client that breaks off is its own problem: the next one is served
                drop(answer(stream, &discovery, &jwks));
            }
        })?;
        Ok(Self { url, key, random })
    }

    /// Issuer URL, as in discovery and in each token.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A signed access token (RFC 9068) that ends after `lifetime`.
    pub(crate) fn token(&self, person: &Person, lifetime: Duration) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("clock is before 1970")?.as_secs();
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "demo-1"});
        let claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": person.subject, "email": person.email, "name": person.name,
            "groups": person.groups, "iat": now, "auth_time": now, "exp": now + lifetime.as_secs(),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| anyhow!("sign a token"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

fn discovery(url: &str) -> String {
    json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
    .to_string()
}

fn jwks(point: &[u8]) -> Result<String> {
    let (x, y) = point
        .get(1..)
        .filter(|xy| xy.len() == 64)
        .and_then(|xy| xy.split_at_checked(32))
        .context("public key is no P-256 point")?;
    let key = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo-1",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    Ok(json!({ "keys": [key] }).to_string())
}

fn answer(mut stream: TcpStream, discovery: &str, jwks: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new((&stream).take(REQUEST_BYTES_MAX));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let (status, body) = match request.split(' ').nth(1) {
        Some("/.well-known/openid-configuration") => ("200 OK", discovery),
        Some("/jwks") => ("200 OK", jwks),
        _ => ("404 Not Found", "{}"),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
