//! Who connects: validates an OIDC token before the first byte may reach a target (I-06).
//!
//! Keys come from the issuer's discovery document, are cached, and fetched again for an unknown key id, at most once in
//! `refresh_min`. When the issuer is down the cached keys go on until `jwks_max_age`. A token is a JWT (RFC 7519): ID
//! token or access token (RFC 9068); signature algorithms are an allow-list of asymmetric ones, so `none` and HMAC are
//! never reached. Errors say what was wrong and never hold the token (I-05).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm, CoreProviderMetadata};
use openidconnect::{IssuerUrl, JsonWebKey as _};
use schemas::v1::Principal;
use serde_json::{Map, Value};

/// Longest token, bytes: the server's own limit of a password message.
pub const TOKEN_BYTES_MAX: usize = 65_531;
/// Most groups taken from a token; a token with more is refused.
pub const GROUPS_MAX: usize = 512;
/// Longest answer of the issuer, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What tokens are accepted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Issuer, exactly as in the token.
    pub issuer: String,
    /// Audience that must be in the token.
    pub audience: String,
    /// Claim that holds the groups. Usually `groups`.
    pub groups_claim: String,
    /// Clock difference allowed, seconds. At most 300.
    pub skew_s: i64,
    /// Shortest time between two fetches of the keys.
    pub refresh_min_us: i64,
    /// Cached keys older than this are not used any more.
    pub jwks_max_age_us: i64,
    /// Limit of one HTTP exchange with the issuer.
    pub timeout: Duration,
}

impl Options {
    /// Defaults: claim `groups`, 30 s of skew, a fetch at most every 10 s, keys for 24 h, 5 s per exchange.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            groups_claim: "groups".into(),
            skew_s: 30,
            refresh_min_us: 10_000_000,
            jwks_max_age_us: 24 * 3_600_000_000,
            timeout: Duration::from_secs(5),
        }
    }
}

/// Why nobody was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not three base64url parts of JSON, or too long.
    #[error("password is not a JWT")]
    Malformed,
    /// `typ` is neither absent, `JWT` nor `at+jwt`.
    #[error("token type is not accepted")]
    Type,
    /// `alg` is not in the allow-list.
    #[error("token algorithm is not accepted")]
    Algorithm,
    /// The issuer has no such key.
    #[error("token is signed by an unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("token signature does not verify")]
    Signature,
    /// Another issuer.
    #[error("token is of another issuer")]
    Issuer,
    /// Not for this audience.
    #[error("token is for another audience")]
    Audience,
    /// `exp` has passed.
    #[error("token has expired")]
    Expired,
    /// `nbf` or `iat` is to come.
    #[error("token is not valid yet")]
    NotYet,
    /// `sub` or `exp` is missing, or a claim has another type or too many items.
    #[error("token lacks a required claim")]
    Claims,
    /// No usable keys: the issuer does not answer and the cached keys are too old.
    #[error("identity provider is unavailable")]
    Unavailable,
}

impl IdentityError {
    /// Stable reason code.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Type => "token_type",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::Claims => "token_claims",
            Self::Unavailable => "identity_unavailable",
        }
    }

    /// SQLSTATE: invalid password, or cannot connect now.
    #[must_use]
    pub fn sqlstate(self) -> &'static str {
        if self == Self::Unavailable { "57P03" } else { "28P01" }
    }
}

/// A verified principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who, as session records say it.
    pub principal: Principal,
    /// When the token, and so the session, ends; microseconds since epoch UTC.
    pub expires_at_us: i64,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, CoreJsonWebKey>,
    unnamed: Vec<CoreJsonWebKey>,
    fetched_at_us: i64,
    tried_at_us: Option<i64>,
}

/// Validates the tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    options: Options,
    http: reqwest::Client,
    keys: parking_lot::RwLock<Arc<Keys>>,
    /// One fetch at a time; never held while a session with a known key is served.
    fetching: tokio::sync::Mutex<()>,
}

impl Verifier {
    /// A verifier without keys; they are fetched at the first token, or by [`Verifier::refresh`]. `tls` is what is
    /// trusted when the issuer is reached by https.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(options: Options, tls: rustls::ClientConfig) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(options.timeout)
            .build()?;
        Ok(Self { options, http, keys: parking_lot::RwLock::default(), fetching: tokio::sync::Mutex::default() })
    }

    /// Fetches the issuer's keys, unless that was tried less than `refresh_min` ago.
    ///
    /// # Errors
    /// `Unavailable`; keys held before stay.
    pub async fn refresh(&self, now_us: i64) -> Result<(), IdentityError> {
        let _one = self.fetching.lock().await;
        let tried = self.keys.read().tried_at_us;
        if tried.is_some_and(|tried| now_us.saturating_sub(tried) < self.options.refresh_min_us) {
            return Ok(());
        }
        let fetched = self.fetch().await;
        let mut keys = self.keys.write();
        match fetched {
            Ok(found) => {
                *keys = Arc::new(sort_keys(found, now_us));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(error, "the identity provider's keys could not be fetched");
                let old = Arc::clone(&keys);
                *keys = Arc::new(Keys {
                    by_id: old.by_id.clone(),
                    unnamed: old.unnamed.clone(),
                    fetched_at_us: old.fetched_at_us,
                    tried_at_us: Some(now_us),
                });
                Err(IdentityError::Unavailable)
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<CoreJsonWebKey>, String> {
        let issuer = IssuerUrl::new(self.options.issuer.clone()).map_err(|error| error.to_string())?;
        let http = |request| exchange(self.http.clone(), request);
        // Checks that the document names the same issuer, and fetches the keys it points to.
        let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.map_err(|error| error.to_string())?;
        Ok(metadata.jwks().keys().clone())
    }

    /// Validates `token` at `now_us` (microseconds since epoch UTC).
    ///
    /// # Errors
    /// [`IdentityError`]; only `Unavailable` may pass by itself.
    pub async fn verify(&self, token: &[u8], now_us: i64) -> Result<Identity, IdentityError> {
        let parts = Parts::read(token)?;
        let known = |keys: &Keys| parts.candidates(keys).next().is_some();
        let fresh = |keys: &Keys| now_us.saturating_sub(keys.fetched_at_us) <= self.options.jwks_max_age_us;
        let mut keys = Arc::clone(&self.keys.read());
        if !known(&keys) || !fresh(&keys) {
            let fetched = self.refresh(now_us).await;
            keys = Arc::clone(&self.keys.read());
            if !fresh(&keys) || (!known(&keys) && fetched.is_err()) {
                return Err(IdentityError::Unavailable);
            }
        }
        if !known(&keys) {
            return Err(IdentityError::UnknownKey);
        }
        let signed =
            |key: &CoreJsonWebKey| key.verify_signature(&parts.algorithm, parts.signed, &parts.signature).is_ok();
        if !parts.candidates(&keys).any(signed) {
            return Err(IdentityError::Signature);
        }
        claims(&self.options, &parts.claims()?, now_us)
    }
}

fn sort_keys(found: Vec<CoreJsonWebKey>, now_us: i64) -> Keys {
    let mut keys = Keys { fetched_at_us: now_us, tried_at_us: Some(now_us), ..Keys::default() };
    for key in found {
        match key.key_id().map(|id| id.as_str().to_owned()) {
            Some(id) => drop(keys.by_id.insert(id, key)),
            None => keys.unnamed.push(key),
        }
    }
    keys
}

#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("exchange with the identity provider")]
    Http(#[from] reqwest::Error),
    #[error("answer of the identity provider is too long")]
    TooLong,
    #[error("answer of the identity provider is no HTTP message")]
    Message(#[from] openidconnect::http::Error),
}

async fn exchange(
    client: reqwest::Client,
    request: openidconnect::HttpRequest,
) -> Result<openidconnect::HttpResponse, ExchangeError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut built = openidconnect::http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        built = built.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ExchangeError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(built.body(body)?)
}

/// A token taken apart, nothing believed yet.
struct Parts<'a> {
    algorithm: CoreJwsSigningAlgorithm,
    key_id: Option<String>,
    signed: &'a [u8],
    body: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn read(token: &'a [u8]) -> Result<Self, IdentityError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::Malformed);
        }
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(IdentityError::Malformed);
        };
        let part = |from: usize, to: usize| token.get(from..to).ok_or(IdentityError::Malformed);
        let header = object(part(0, first)?)?;
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let known = |kind: &str| ["jwt", "at+jwt", "application/at+jwt"].contains(&kind.to_ascii_lowercase().as_str());
        if header.contains_key("crit") || header.get("typ").is_some_and(|kind| !kind.as_str().is_some_and(known)) {
            return Err(IdentityError::Type);
        }
        let algorithm = match text("alg").ok_or(IdentityError::Algorithm)? {
            "RS256" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            "RS384" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
            "RS512" => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
            "PS256" => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            "ES256" => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            "ES384" => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
            "EdDSA" => CoreJwsSigningAlgorithm::EdDsa,
            _ => return Err(IdentityError::Algorithm),
        };
        Ok(Self {
            algorithm,
            key_id: text("kid").map(str::to_owned),
            signed: part(0, second)?,
            body: part(first + 1, second)?,
            signature: decode(part(second + 1, token.len())?)?,
        })
    }

    /// The keys that may have signed: the named one, or all when the token names none.
    fn candidates<'k>(&'k self, keys: &'k Keys) -> impl Iterator<Item = &'k CoreJsonWebKey> {
        let named = self.key_id.as_ref().and_then(|id| keys.by_id.get(id));
        let all = self.key_id.is_none().then(|| keys.by_id.values().chain(&keys.unnamed));
        named.into_iter().chain(all.into_iter().flatten())
    }

    fn claims(&self) -> Result<Map<String, Value>, IdentityError> {
        object(self.body)
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, IdentityError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| IdentityError::Malformed)
}

fn object(part: &[u8]) -> Result<Map<String, Value>, IdentityError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| IdentityError::Malformed)
}

fn claims(options: &Options, claims: &Map<String, Value>, now_us: i64) -> Result<Identity, IdentityError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let seconds = |name: &str| claims.get(name).map(|value| value.as_i64().ok_or(IdentityError::Claims)).transpose();
    let now = now_us.div_euclid(1_000_000);
    if text("iss") != options.issuer {
        return Err(IdentityError::Issuer);
    }
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => *one == options.audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(options.audience.as_str())),
        _ => false,
    };
    if !audience {
        return Err(IdentityError::Audience);
    }
    let expires = seconds("exp")?.ok_or(IdentityError::Claims)?;
    if now >= expires.saturating_add(options.skew_s) {
        return Err(IdentityError::Expired);
    }
    let later = |at: Option<i64>| at.is_some_and(|at| at > now.saturating_add(options.skew_s));
    if later(seconds("nbf")?) || later(seconds("iat")?) {
        return Err(IdentityError::NotYet);
    }
    if text("sub").is_empty() {
        return Err(IdentityError::Claims);
    }
    let signed_in = seconds("auth_time")?.or(seconds("iat")?).unwrap_or(now);
    Ok(Identity {
        principal: Principal {
            issuer: options.issuer.clone(),
            subject: text("sub").into(),
            email: text("email").into(),
            name: text("name").into(),
            groups: groups(claims.get(&options.groups_claim))?,
            authenticated_at_us: signed_in.saturating_mul(1_000_000),
            method: "oidc-jwt".into(),
        },
        expires_at_us: expires.saturating_mul(1_000_000),
    })
}

fn groups(claim: Option<&Value>) -> Result<Vec<String>, IdentityError> {
    let mut groups = match claim {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) if many.len() <= GROUPS_MAX => many
            .iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or(IdentityError::Claims))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(IdentityError::Claims),
    };
    groups.sort();
    groups.dedup();
    Ok(groups)
}

#[cfg(test)]
mod tests;
