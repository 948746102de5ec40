//! A real schema registry (Apicurio, in memory) with Confluent's API.
//!
//! It differs from Confluent's in one default: compatibility starts as NONE, so a test that means BACKWARD sets it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::ports::Port;
use crate::process::{Folder, Server};
use crate::tools;

const API: &str = "/apis/ccompat/v7";

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    _server: Server,
    _folder: Folder,
    port: Port,
}

impl Registry {
    /// Starts one and waits until it lists its subjects.
    ///
    /// # Errors
    /// When it cannot be installed or does not start; shows its log.
    pub fn start() -> Result<Self> {
        let home = tools::registry()?;
        let jar = fs::read_dir(&home).context("list the registry's folder")?.flatten().map(|entry| entry.path());
        let jar = jar.into_iter().find(|path| path.to_string_lossy().ends_with("-runner.jar"));
        let jar = jar.with_context(|| format!("no runner jar in `{}`", home.display()))?;
        let (folder, port) = (Folder::new("registry")?, Port::free()?);
        let mut command = Command::new(tools::program("java")?);
        command.current_dir(folder.path()).args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dquarkus.http.host=127.0.0.1").arg(format!("-Dquarkus.http.port={}", port.number()));
        let mut server = Server::spawn("schema registry", command.arg("-jar").arg(jar), &folder.join("log"))?;
        server.ready(|| Ok(http::get(port.addr(), &format!("{API}/subjects"))?.status == 200))?;
        Ok(Self { _server: server, _folder: folder, port })
    }

    /// The base URL for clients that speak Confluent's API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{API}", self.port.addr())
    }

    /// Sends one request; `path` begins with `/` and is relative to [`Registry::url`].
    ///
    /// # Errors
    /// When no answer comes.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = [("Content-Type", "application/vnd.schemaregistry.v1+json")];
        http::request(method, self.port.addr(), &format!("{API}{path}"), &headers, body.as_bytes())
    }

    /// Registers an Avro schema (its JSON text) under `subject` and returns its id.
    ///
    /// # Errors
    /// When the registry refuses it, for instance as incompatible (409) or invalid (422).
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let body = json!({"schemaType": "AVRO", "schema": schema});
        let answer = self.request("POST", &format!("/subjects/{}/versions", http::encode(subject)), Some(&body))?;
        let id = answer.ok()?.json()?.get("id").and_then(Value::as_u64).context("no id in the answer")?;
        u32::try_from(id).context("schema id")
    }

    /// The text of the schema with that id.
    ///
    /// # Errors
    /// When there is none.
    pub fn schema(&self, id: u32) -> Result<String> {
        let answer = self.request("GET", &format!("/schemas/ids/{id}"), None)?.ok()?.json()?;
        answer.get("schema").and_then(Value::as_str).map(str::to_owned).context("no schema in the answer")
    }

    /// Sets the global compatibility, e.g. `BACKWARD`.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub fn set_compatibility(&self, level: &str) -> Result<()> {
        self.request("PUT", "/config", Some(&json!({"compatibility": level})))?.ok().map(drop)
    }
}
