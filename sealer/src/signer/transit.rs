//! Keys that never leave OpenBao or Vault: the transit engine signs, one Ed25519 key per epoch, `<key>-<epoch>`.
//!
//! The everyday token may only sign with the keys of the epochs and read their public halves; the secret is at no time in
//! this process. Making the next key and deleting an old one want a second token with more rights, held here or by an
//! operator who does both by hand: then rotation waits until the next key is there.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tlog::VerifierKey;
use zeroize::Zeroizing;

use super::{Keyring, Signer, SignerError, named};

/// Longest token file and longest answer read, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Where the keys are.
#[derive(Debug, Clone)]
pub struct TransitKeyring {
    service: Service,
    key: String,
    origin: String,
    manage_token: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Service {
    agent: ureq::Agent,
    address: String,
    mount: String,
    token: PathBuf,
}

impl TransitKeyring {
    /// Keys `<key>-<epoch>` of the transit engine at `<address>/v1/<mount>`; `token` is a file, read at each call so that
    /// an agent may renew it, `manage_token` the one that may make and delete keys.
    #[must_use]
    pub fn new(
        address: &str,
        mount: &str,
        key: &str,
        origin: &str,
        token: PathBuf,
        manage_token: Option<PathBuf>,
    ) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let address = address.trim_end_matches('/').to_owned();
        let service = Service { agent, address, mount: mount.trim_matches('/').to_owned(), token };
        Self { service, key: key.to_owned(), origin: origin.to_owned(), manage_token }
    }

    fn name(&self, epoch: i64) -> String {
        format!("{}-{epoch}", self.key)
    }

    fn manager(&self) -> Option<Service> {
        self.manage_token.clone().map(|token| Service { token, ..self.service.clone() })
    }
}

/// How an answer ended.
enum Answer {
    Good(Value),
    NotFound,
}

impl Service {
    fn failed(&self, operation: &'static str, reason: String, retriable: bool) -> SignerError {
        SignerError::Service { operation, address: self.address.clone(), reason, retriable }
    }

    fn call(
        &self,
        operation: &'static str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, SignerError> {
        let read = |source| SignerError::Read { path: self.token.clone(), source };
        let token = Zeroizing::new(std::fs::read_to_string(&self.token).map_err(read)?);
        let url = format!("{}/v1/{}/{path}", self.address, self.mount);
        let token = token.trim();
        let sent = match method {
            "GET" => self.agent.get(&url).header("X-Vault-Token", token).call(),
            "DELETE" => self.agent.delete(&url).header("X-Vault-Token", token).call(),
            _ => {
                let text = body.map(ToString::to_string).unwrap_or_default();
                self.agent.post(&url).header("X-Vault-Token", token).content_type("application/json").send(text)
            }
        };
        let mut answer = sent.map_err(|error| self.failed(operation, error.to_string(), true))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|error| self.failed(operation, error.to_string(), true))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        match status {
            200..=299 => Ok(Answer::Good(value)),
            404 => Ok(Answer::NotFound),
            _ => {
                let said = value.get("errors").map(ToString::to_string).unwrap_or_default();
                let retriable = status == 429 || status >= 500;
                Err(self.failed(operation, format!("status {status} {}", said.trim()), retriable))
            }
        }
    }

    /// The public half of a key; `None` when there is no such key.
    fn public(&self, name: &str) -> Result<Option<[u8; 32]>, SignerError> {
        const WHAT: &str = "read the public key";
        let Answer::Good(answer) = self.call(WHAT, "GET", &format!("keys/{name}"), None)? else { return Ok(None) };
        let kind = answer.pointer("/data/type").and_then(Value::as_str);
        if kind != Some("ed25519") {
            return Err(self.failed(WHAT, format!("key `{name}` is not of type ed25519"), false));
        }
        let text = answer.pointer("/data/keys/1/public_key").and_then(Value::as_str).unwrap_or_default();
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        bytes.map(Some).ok_or_else(|| self.failed(WHAT, format!("key `{name}` has no version 1 of 32 bytes"), false))
    }
}

impl Keyring for TransitKeyring {
    fn open(&self, epoch: i64) -> Result<Box<dyn Signer>, SignerError> {
        let name = self.name(epoch);
        let public = self.service.public(&name)?.ok_or_else(|| SignerError::Missing(name.clone()))?;
        let verifier = named(&self.origin, &public)?;
        Ok(Box::new(TransitSigner { service: self.service.clone(), name, verifier }))
    }

    fn make(&self, epoch: i64) -> Result<Box<dyn Signer>, SignerError> {
        match (self.open(epoch), self.manager()) {
            (Err(SignerError::Missing(name)), Some(manager)) => {
                // not exportable, no plaintext backup: the defaults; deletion is allowed so that the epoch can be erased
                manager.call("make a key", "POST", &format!("keys/{name}"), Some(&json!({ "type": "ed25519" })))?;
                self.open(epoch)
            }
            (opened, _) => opened,
        }
    }

    fn erase(&self, epoch: i64) -> Result<(), SignerError> {
        let name = self.name(epoch);
        let Some(manager) = self.manager() else {
            return match self.open(epoch) {
                Err(SignerError::Missing(_)) => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Err(self.service.failed(
                    "delete a key",
                    format!("key `{name}` is over and still there; delete it, or give signer.manage_token_file"),
                    false,
                )),
            };
        };
        if manager.public(&name)?.is_none() {
            return Ok(());
        }
        let allow = json!({ "deletion_allowed": true });
        manager.call("allow the deletion of a key", "POST", &format!("keys/{name}/config"), Some(&allow))?;
        manager.call("delete a key", "DELETE", &format!("keys/{name}"), None)?;
        Ok(())
    }
}

/// Signs with one key of the engine.
struct TransitSigner {
    service: Service,
    name: String,
    verifier: VerifierKey,
}

impl Signer for TransitSigner {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        const WHAT: &str = "sign";
        let body = json!({ "input": STANDARD.encode(message), "key_version": 1 });
        let answer = self.service.call(WHAT, "POST", &format!("sign/{}", self.name), Some(&body))?;
        let Answer::Good(answer) = answer else { return Err(SignerError::Missing(self.name.clone())) };
        let text = answer.pointer("/data/signature").and_then(Value::as_str).unwrap_or_default();
        // `vault:v1:<base64>`: the version is the one asked for
        let signature = text
            .strip_prefix("vault:v1:")
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| <[u8; 64]>::try_from(bytes.as_slice()).ok())
            .ok_or_else(|| self.service.failed(WHAT, "the answer holds no signature of version 1".into(), false))?;
        // a service that signs with another key, or something else, must not reach the log
        if !self.verifier.verify_message(message, &signature) {
            return Err(self.service.failed(WHAT, "the signature does not verify".into(), false));
        }
        Ok(signature)
    }
}
