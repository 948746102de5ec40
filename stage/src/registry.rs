//! Schema registry: the three calls we need of the Confluent API, or none at all.
//!
//! Without a registry values carry the single-object prefix and need nobody. With one, each record type is registered
//! under `<topic>-<record full name>` (TopicRecordNameStrategy: `audit.raw` may hold several types one day) when a stage
//! starts; an id once known is never asked again, so an outage later stops nothing.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::Record;
use schemas::framing::Framing;

/// Longest answer read, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A failed registry call.
#[derive(Debug, thiserror::Error)]
#[error("{operation} at schema registry {url}: {reason}; start it, or remove [registry] to go without")]
pub struct RegistryError {
    operation: String,
    url: String,
    reason: String,
}

/// The registry of one installation.
#[derive(Debug)]
pub struct Registry {
    url: Option<String>,
    agent: ureq::Agent,
    known: Mutex<HashMap<(String, &'static str), u32>>,
}

impl Registry {
    /// No registry: single-object framing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(None)
    }

    /// A registry with the Confluent API at `url`.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self::new(Some(url.trim_end_matches('/').to_owned()))
    }

    fn new(url: Option<String>) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).http_status_as_error(false);
        Self { url, agent: config.build().into(), known: Mutex::default() }
    }

    /// The prefix of `R` on `topic`; registers the schema when it is new.
    ///
    /// # Errors
    /// [`RegistryError`] when the registry refuses or does not answer.
    pub fn framing<R: Record>(&self, topic: &str) -> Result<Framing, RegistryError> {
        let Some(url) = &self.url else { return Ok(Framing::single_object::<R>()) };
        let key = (topic.to_owned(), R::NAME);
        if let Some(id) = self.known.lock().get(&key) {
            return Ok(Framing::Confluent(*id));
        }
        let subject = format!("{topic}-{}", R::NAME);
        let failed = |reason: String| RegistryError {
            operation: format!("register subject `{subject}`"),
            url: url.clone(),
            reason,
        };
        let body = serde_json::json!({ "schemaType": "AVRO", "schema": R::SCHEMA }).to_string();
        let mut answer = self
            .agent
            .post(format!("{url}/subjects/{subject}/versions"))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .send(body)
            .map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|error| failed(error.to_string()))?;
        let id = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|value| value.get("id")?.as_u64());
        let id = id.and_then(|id| u32::try_from(id).ok()).filter(|_| status.is_success());
        let id =
            id.ok_or_else(|| failed(format!("status {status}: {}", text.chars().take(300).collect::<String>())))?;
        self.known.lock().insert(key, id);
        Ok(Framing::Confluent(id))
    }
}
