//! Tokens against an issuer of the test's own, good ones and every kind of bad one.
use super::*;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOW_US: i64 = 1_800_000_000_000_000;
const NOW: i64 = NOW_US / 1_000_000;

/// An issuer over plain HTTP with ES256 keys that can be rotated, and a count of what was asked.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Vec<(String, EcdsaKeyPair)>>>,
    asked: Arc<AtomicUsize>,
    down: Arc<AtomicUsize>,
}

fn key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap()
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self {
            url: url.clone(),
            keys: Arc::new(Mutex::new(vec![("k1".into(), key())])),
            asked: Arc::default(),
            down: Arc::default(),
        };
        let (keys, asked, down) = (issuer.keys.clone(), issuer.asked.clone(), issuer.down.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0u8; 4096];
                let read = stream.read(&mut request).unwrap();
                if down.load(Ordering::SeqCst) == 1 {
                    continue;
                }
                let body = if request[..read].starts_with(b"GET /jwks") {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let keys: Vec<Value> = keys.lock().iter().map(|(id, key)| jwk(id, key)).collect();
                    json!({ "keys": keys })
                } else {
                    json!({
                        "issuer": url, "authorization_endpoint": format!("{url}/auth"), "jwks_uri": format!("{url}/jwks"),
                        "response_types_supported": ["code"], "subject_types_supported": ["public"],
                        "id_token_signing_alg_values_supported": ["ES256"],
                    })
                };
                let body = body.to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        issuer
    }

    fn verifier(&self) -> Verifier {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Verifier::new(Options::new(&self.url, "sealtrail"), tls).unwrap()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": ["other", "sealtrail"], "sub": "u-1", "exp": NOW + 600, "iat": NOW - 5,
            "auth_time": NOW - 60, "email": "ada@example.test", "name": "Ada", "groups": ["ops", "dba", "ops"],
        })
    }

    fn sign(&self, header: &Value, claims: &Value) -> Vec<u8> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let keys = self.keys.lock();
        let signature = keys.last().unwrap().1.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
    }

    fn token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> Vec<u8> {
        let kid = self.keys.lock().last().unwrap().0.clone();
        let (mut header, mut claims) = (json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), self.claims());
        change(&mut header, &mut claims);
        self.sign(&header, &claims)
    }
}

fn jwk(id: &str, key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let part = |from: usize, to: usize| URL_SAFE_NO_PAD.encode(&point[from..to]);
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": part(1, 33), "y": part(33, 65)})
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_valid_token_names_its_principal() {
    let issuer = Issuer::start();
    let verifier = issuer.verifier();
    let identity = block(verifier.verify(&issuer.token(|_, _| ()), NOW_US)).unwrap();
    assert_eq!(identity.expires_at_us, (NOW + 600) * 1_000_000);
    let principal = identity.principal;
    assert_eq!((principal.subject.as_str(), principal.email.as_str()), ("u-1", "ada@example.test"));
    assert_eq!(principal.groups, ["dba", "ops"]);
    assert_eq!(principal.authenticated_at_us, (NOW - 60) * 1_000_000);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn every_bad_token_has_its_reason() {
    let issuer = Issuer::start();
    let verifier = issuer.verifier();
    type Change = fn(&mut Value, &mut Value);
    let cases: [(Change, IdentityError); 14] = [
        (|header, _| header["alg"] = json!("none"), IdentityError::Algorithm),
        (|header, _| header["alg"] = json!("HS256"), IdentityError::Algorithm),
        (|header, _| header["alg"] = json!("RS256"), IdentityError::Signature),
        (|header, _| header["typ"] = json!("logout+jwt"), IdentityError::Type),
        (|header, _| header["crit"] = json!(["b64"]), IdentityError::Type),
        (|_, claims| claims["iss"] = json!("https://else.test"), IdentityError::Issuer),
        (|_, claims| claims["aud"] = json!("else"), IdentityError::Audience),
        (|_, claims| claims["aud"] = json!(null), IdentityError::Audience),
        (|_, claims| claims["exp"] = json!(NOW - 31), IdentityError::Expired),
        (|_, claims| claims["exp"] = json!("later"), IdentityError::Claims),
        (|_, claims| claims["nbf"] = json!(NOW + 31), IdentityError::NotYet),
        (|_, claims| claims["sub"] = json!(""), IdentityError::Claims),
        (|_, claims| claims["groups"] = json!([1]), IdentityError::Claims),
        (|header, _| header["kid"] = json!("unheard"), IdentityError::UnknownKey),
    ];
    for (change, reason) in cases {
        assert_eq!(block(verifier.verify(&issuer.token(change), NOW_US)), Err(reason), "{}", reason.kind());
    }
    let mut forged = issuer.token(|_, _| ());
    let place = forged.len() - 10;
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    assert_eq!(block(verifier.verify(&forged, NOW_US)), Err(IdentityError::Signature));
    for malformed in [&b""[..], b"password", b"a.b", b"a.b.c.d", b"..", &vec![b'x'; TOKEN_BYTES_MAX + 1]] {
        assert_eq!(block(verifier.verify(malformed, NOW_US)), Err(IdentityError::Malformed));
    }
}

#[test]
fn rotated_keys_are_found_and_floods_of_unknown_keys_do_not_reach_the_issuer() {
    let issuer = Issuer::start();
    let verifier = issuer.verifier();
    block(verifier.verify(&issuer.token(|_, _| ()), NOW_US)).unwrap();
    issuer.keys.lock().push(("k2".into(), key()));
    let rotated = issuer.token(|_, _| ());
    assert_eq!(block(verifier.verify(&rotated, NOW_US + 1)), Err(IdentityError::UnknownKey));
    for _ in 0..20 {
        let _refused =
            block(verifier.verify(&issuer.token(|header, _| header["kid"] = json!("x")), NOW_US + 2)).unwrap_err();
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    block(verifier.verify(&rotated, NOW_US + 11_000_000)).unwrap();
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn cached_keys_outlive_an_outage_until_their_age() {
    let issuer = Issuer::start();
    let verifier = issuer.verifier();
    let long = issuer.token(|_, claims| claims["exp"] = json!(NOW + 1_000_000));
    block(verifier.verify(&long, NOW_US)).unwrap();
    issuer.down.store(1, Ordering::SeqCst);
    block(verifier.verify(&long, NOW_US + 3_600_000_000)).unwrap();
    let late = block(verifier.verify(&long, NOW_US + 24 * 3_600_000_000 + 1)).unwrap_err();
    assert_eq!((late.kind(), late.sqlstate()), ("identity_unavailable", "57P03"));
}
