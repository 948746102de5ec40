//! A real OpenID provider (`oidc-provider`) with people, real flows, and controls to misbehave.
//!
//! Alice (groups `dba`, `sre`) and Bob (`developers`) log in by the authorization code flow with PKCE; access tokens
//! are JWTs (`at+jwt`, RS256) whose audience is [`Oidc::audience`]. [`Oidc::bad_tokens`] are the forgeries every
//! verifier must refuse (I-06).

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::ports::Port;
use crate::process::{Folder, Server};
use crate::{http, node};

/// How the provider is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Audience of access tokens.
    pub audience: String,
    /// Seconds that access and ID tokens live.
    pub ttl_seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { audience: "sealtrail".to_owned(), ttl_seconds: 300 }
    }
}

/// What a login brought.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// JWT for the resource; audience as in the options.
    pub access: String,
    /// JWT about the person; audience is the client id `app`.
    pub id: String,
}

/// A token of the testkit's own making; see [`Oidc::mint`].
#[derive(Debug, Clone)]
pub struct Mint {
    /// `RS256`, `ES256`, `none`, or `HS256` (keyed with the live RSA key's modulus).
    pub alg: &'static str,
    /// `current`, `old` (published, no longer signing), or `rogue` (never published).
    pub key: &'static str,
    /// Key id in the header instead of the key's own.
    pub kid: Option<String>,
    /// Claims that replace the default ones; `null` removes one.
    pub claims: Value,
}

impl Default for Mint {
    fn default() -> Self {
        Self { alg: "RS256", key: "current", kid: None, claims: json!({}) }
    }
}

/// A running provider.
#[derive(Debug)]
pub struct Oidc {
    server: Server,
    _folder: Folder,
    port: Port,
    options: Options,
}

impl Oidc {
    /// Starts it and waits until it shows its configuration.
    ///
    /// # Errors
    /// When it cannot be installed or does not start: shows its log.
    pub fn start(options: &Options) -> Result<Self> {
        let (folder, port) = (node::folder("oidc", include_str!("../support/op.mjs"))?, Port::free()?);
        let mut command = node::command(&folder)?;
        command.env("PORT", port.number().to_string()).env("AUDIENCE", &options.audience);
        command.env("TTL", options.ttl_seconds.to_string()).env("NODE_NO_WARNINGS", "1");
        let mut server = Server::spawn("oidc provider", &mut command, &folder.join("log"))?;
        server.ready(|| Ok(http::get(port.addr(), "/.well-known/openid-configuration")?.status == 200))?;
        Ok(Self { server, _folder: folder, port, options: options.clone() })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The issuer, as in `iss`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.port.addr())
    }

    /// The audience of access tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.options.audience
    }

    /// Where the public keys are.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.issuer())
    }

    /// The public keys.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn jwks(&self) -> Result<Value> {
        http::get(self.addr(), "/jwks")?.ok()?.json()
    }

    /// Logs a person in (code flow with PKCE, over HTTP).
    ///
    /// # Errors
    /// When the provider refuses, for instance an unknown or blocked person.
    pub fn login(&self, user: &str) -> Result<Tokens> {
        let answer = self.control(&format!("login?user={}", http::encode(user)), b"")?;
        match (answer.get("access_token").and_then(Value::as_str), answer.get("id_token").and_then(Value::as_str)) {
            (Some(access), Some(id)) => Ok(Tokens { access: access.to_owned(), id: id.to_owned() }),
            _ => bail!("log {user} in: {answer}"),
        }
    }

    /// An access token of the service client `proxy` (client credentials): no person in it.
    ///
    /// # Errors
    /// When the provider refuses.
    pub fn service_token(&self) -> Result<String> {
        // `proxy:proxy-test-secret` by Basic authentication, the client's default.
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Authorization", "Basic cHJveHk6cHJveHktdGVzdC1zZWNyZXQ="),
        ];
        let form = b"grant_type=client_credentials";
        let answer = http::request("POST", self.addr(), "/token", &headers, form)?.ok()?.json()?;
        answer.get("access_token").and_then(Value::as_str).map(str::to_owned).context("no access token in the answer")
    }

    /// New keys sign from now on; the old ones stay published. Returns all published key ids.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn rotate_keys(&self) -> Result<Vec<String>> {
        Ok(strings(&self.control("rotate", b"")?, "kids"))
    }

    /// The old keys leave the published set.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn drop_old_keys(&self) -> Result<()> {
        self.control("drop", b"").map(drop)
    }

    /// Key ids of the keys that sign now.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn current_kids(&self) -> Result<Vec<String>> {
        Ok(strings(&self.control("keys", b"")?, "kids"))
    }

    /// Changes a person's groups (makes the person if new).
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn set_groups(&self, user: &str, groups: &[&str]) -> Result<()> {
        let path = format!("groups?user={}&groups={}", http::encode(user), http::encode(&groups.join(",")));
        self.control(&path, b"").map(drop)
    }

    /// Refuses a person from now on.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn block(&self, user: &str) -> Result<()> {
        self.control(&format!("block?user={}", http::encode(user)), b"").map(drop)
    }

    /// Answers 503 to everything but the controls for `ms` milliseconds.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn down(&self, ms: u32) -> Result<()> {
        self.control(&format!("down?ms={ms}"), b"").map(drop)
    }

    /// Signs any token. By default it is a good one for Alice; every field can be made wrong.
    ///
    /// # Errors
    /// When the provider cannot make it.
    pub fn mint(&self, mint: &Mint) -> Result<String> {
        let kid = mint.kid.as_ref().map(|kid| format!("&kid={}", http::encode(kid))).unwrap_or_default();
        let path = format!("mint?alg={}&key={}{kid}", mint.alg, mint.key);
        let answer = self.control(&path, mint.claims.to_string().as_bytes())?;
        answer.get("token").and_then(Value::as_str).map(str::to_owned).with_context(|| format!("mint: {answer}"))
    }

    /// One token per kind of forgery or fault, with a name for messages. Every verifier must refuse each.
    ///
    /// # Errors
    /// When the provider cannot make one.
    pub fn bad_tokens(&self) -> Result<Vec<(&'static str, String)>> {
        let live = self.current_kids()?.into_iter().next();
        let good = Mint::default;
        let kinds = [
            ("alg none", Mint { alg: "none", ..good() }),
            ("HS256 keyed with the RSA modulus", Mint { alg: "HS256", ..good() }),
            ("unpublished key", Mint { key: "rogue", ..good() }),
            ("unpublished key under a live kid", Mint { key: "rogue", kid: live, ..good() }),
            ("wrong audience", Mint { claims: json!({"aud": "other"}), ..good() }),
            ("no audience", Mint { claims: json!({"aud": null}), ..good() }),
            ("wrong issuer", Mint { claims: json!({"iss": "http://127.0.0.1:1"}), ..good() }),
            ("expired", Mint { claims: json!({"exp": 1_000_000_000, "iat": 999_999_000}), ..good() }),
            ("no expiry", Mint { claims: json!({"exp": null}), ..good() }),
            ("no subject", Mint { claims: json!({"sub": null}), ..good() }),
        ];
        kinds.into_iter().map(|(name, mint)| Ok((name, self.mint(&mint)?))).collect()
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn control(&self, path: &str, body: &[u8]) -> Result<Value> {
        http::request("POST", self.addr(), &format!("/ctl/{path}"), &[], body)?.ok()?.json()
    }
}

fn strings(answer: &Value, name: &str) -> Vec<String> {
    let list = answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
