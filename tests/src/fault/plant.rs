//! The line as a cluster runs it: three brokers behind relays, Postgres with its statement log, an S3 server with Object
//! Lock behind a gate, and every stage as a process of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Places;
use super::account::{Truth, Verdict};
use super::gate::Gate;
use super::plan::Target;
use super::relay::Relay;
use super::witness::{self, letters};
use super::workload::Door;
use crate::http;
use crate::kafka::{self, Kafka};
use crate::line::{StoreVariables, Surroundings, TARGET, lay_out};
use crate::oidc::{self, Oidc};
use crate::ports::Port;
use crate::postgres::{self, Postgres, USER};
use crate::process::{Folder, Server, sealtrail_bin};
use crate::s3::S3;
use crate::wait;

/// Partitions of the keyed topics.
pub const PARTITIONS: i32 = 4;
const BUCKET: &str = "evidence";
/// The target whose requests wait for the bus; [`TARGET`]'s wait for the journal.
const FIRM: &str = "firm";
/// Longest drain of one stage.
const DRAIN: Duration = Duration::from_secs(90);

/// Everything that runs.
pub struct Plant {
    stages: BTreeMap<Target, Process>,
    second: BTreeMap<Target, Process>,
    gate: Gate,
    relays: Vec<Relay>,
    kafka: Kafka,
    s3: S3,
    oidc: Oidc,
    postgres: Postgres,
    port: Port,
    archive: String,
    store: StoreVariables,
    keys: (PathBuf, PathBuf),
    folder: Folder,
}

/// One stage.
#[derive(Debug)]
struct Process {
    server: Option<Server>,
    admin: Port,
}

impl Plant {
    /// Starts the servers and then the stages, and waits until all are ready.
    ///
    /// # Errors
    /// When one does not start: shows its log.
    pub fn start(brokers: u16, workers: u64) -> Result<Self> {
        let postgres = Postgres::start(&postgres::Options { tls: false, ..postgres::Options::default() })?;
        postgres.psql(USER, witness::TABLE)?;
        for worker in 0..workers {
            postgres.psql(USER, &format!("INSERT INTO fault_counter VALUES ('{}', 0)", letters(worker)))?;
        }
        let oidc = Oidc::start(&oidc::Options { ttl_seconds: 24 * 3600, ..oidc::Options::default() })?;
        let s3 = S3::start()?;
        s3.create_bucket(BUCKET, true)?;
        let kafka = Kafka::start(&kafka::Options { nodes: brokers, fronted: true, ..kafka::Options::default() })?;
        let relays =
            kafka.fronts().into_iter().map(|(front, back)| Relay::start(front, back)).collect::<Result<Vec<_>>>()?;
        let (gate, folder, port) = (Gate::start(s3.addr())?, Folder::new("fault")?, Port::free()?);
        let extra = format!(
            "\n[proxy.targets.{FIRM}]\naddress = \"localhost:{}\"\nuser = \"{USER}\"\ntls = \"disable\"\n\
             password = {{ file = \"{}\" }}\nallowed_groups = [\"*\"]\ncapture = {{ guarantee = \"acked\" }}\n\
             \n[bus.properties]\n\"session.timeout.ms\" = \"6000\"\n\n[archiver]\ntarget_bytes = 262144\n",
            postgres.port(),
            folder.join("target-password").display(),
        );
        let around = Surroundings {
            kafka: Some(&kafka),
            s3: Some((&s3, BUCKET)),
            tls: false,
            extra: &extra,
            ..Surroundings::embedded(&postgres, &oidc)
        };
        let (archive, store) = lay_out(&folder, &port, &around)?;
        let keys = (folder.write("access", s3.writer().access_key)?, folder.write("secret", s3.writer().secret_key)?);
        let (stages, second) = (BTreeMap::new(), BTreeMap::new());
        let mut plant =
            Self { stages, second, gate, relays, kafka, s3, oidc, postgres, port, archive, store, keys, folder };
        plant.start_stages()?;
        Ok(plant)
    }

    /// Starts every stage, the last first, each when the one after it is ready.
    ///
    /// # Errors
    /// When one does not become ready: shows its log.
    pub fn start_stages(&mut self) -> Result<()> {
        for target in Target::STAGES.into_iter().rev() {
            self.spawn(target)?;
            self.await_ready(target)?;
        }
        Ok(())
    }

    /// How clients come in.
    ///
    /// # Errors
    /// When the provider does not log them in.
    pub fn door(&self) -> Result<Door> {
        let token = self.oidc.login("alice")?.access;
        let targets = vec![TARGET.to_owned(), FIRM.to_owned()];
        Ok(Door { addr: self.port.addr(), user: "alice".into(), token, targets })
    }

    /// Where the evidence lies.
    #[must_use]
    pub fn places(&self) -> Places {
        Places {
            bootstrap: self.kafka.bootstrap(),
            partitions: PARTITIONS,
            store: self.s3.addr(),
            archive: self.archive.clone(),
            keys: self.keys.clone(),
            region: self.s3.region().to_owned(),
        }
    }

    /// The target, for what goes behind the proxy's back.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The gate before the S3 server.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The relay before a broker.
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn relay(&self, broker: usize) -> Result<&Relay> {
        self.relays.get(broker).context("no such broker")
    }

    /// Brokers, running or not.
    #[must_use]
    pub fn brokers(&self) -> usize {
        self.relays.len()
    }

    /// Starts a process without waiting for it; one that runs is killed first.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, target: Target) -> Result<()> {
        if let Target::Broker(node) = target {
            return self.kafka.start_node(node);
        }
        let admin = match self.stages.remove(&target) {
            Some(process) => process.admin,
            None => Port::free()?,
        };
        let server = Some(self.process(target, "", &admin)?);
        self.stages.insert(target, Process { server, admin });
        Ok(())
    }

    /// Starts a second instance of a stage.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_second(&mut self, target: Target) -> Result<()> {
        let admin = Port::free()?;
        let server = Some(self.process(target, "second", &admin)?);
        self.second.insert(target, Process { server, admin });
        Ok(())
    }

    fn process(&self, target: Target, instance: &str, admin: &Port) -> Result<Server> {
        let name = target.command();
        let mut command = Command::new(sealtrail_bin()?);
        command.arg(name).arg("--config").arg(self.folder.join("sealtrail.toml"));
        command.env("SEALTRAIL__STORE__ENDPOINT", format!("http://{}", self.gate.addr()));
        command.env("SEALTRAIL__ADMIN__LISTEN", admin.addr().to_string());
        command.env("SEALTRAIL__PROXY__JOURNAL__SEGMENT_BYTES", "1048576");
        command
            .envs(self.store.iter().filter(|(name, _)| *name != "AWS_ENDPOINT_URL").map(|(name, value)| (name, value)));
        if !instance.is_empty() {
            command.env("SEALTRAIL__INSTANCE", instance);
        }
        Server::spawn(&format!("sealtrail {name}"), &mut command, &self.log_path(target))
    }

    fn log_path(&self, target: Target) -> PathBuf {
        self.folder.join(format!("{target}.log"))
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn kill(&mut self, target: Target) -> Result<()> {
        match (target, self.stages.get_mut(&target)) {
            (Target::Broker(node), _) => self.kafka.kill9(node),
            (_, Some(process)) => {
                process.server = None;
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    /// SIGSTOP or SIGCONT; a process that is down feels nothing.
    pub fn signal(&mut self, target: Target, signal: &str) {
        let result = match target {
            Target::Broker(node) => self.kafka.signal(node, signal),
            stage => match self.stages.get_mut(&stage).and_then(|process| process.server.as_mut()) {
                Some(server) => server.signal(signal),
                None => Ok(()),
            },
        };
        drop(result);
    }

    /// Sends the second instance away: SIGKILL, or SIGTERM and at most 30 s.
    pub fn leave(&mut self, target: Target, kill: bool) {
        if let Some(mut server) = self.second.remove(&target).and_then(|process| process.server)
            && !kill
        {
            // killed when it takes too long
            drop(server.stop(Duration::from_secs(30)));
        }
    }

    /// Whether a process is down or has ended by itself.
    pub fn is_gone(&mut self, target: Target) -> bool {
        match target {
            Target::Broker(node) => self.kafka.pid(node).is_none(),
            stage => {
                let server = self.stages.get_mut(&stage).and_then(|process| process.server.as_mut());
                server.is_none_or(|server| !server.alive())
            }
        }
    }

    /// Whether it does its work: a broker knows the others, a stage says so at `/readyz`, the proxy takes connections.
    #[must_use]
    pub fn is_ready(&self, target: Target) -> bool {
        match target {
            Target::Broker(node) => self.kafka.is_up(node),
            stage => self.stages.get(&stage).is_some_and(|process| {
                let answer = http::get(process.admin.addr(), "/readyz");
                answer.is_ok_and(|answer| answer.status == 200)
                    && (stage != Target::Proxy || wait::accepts(self.port.addr()))
            }),
        }
    }

    /// Waits until [`Plant::is_ready`].
    ///
    /// # Errors
    /// After [`wait::START_LIMIT`]: with the end of its log.
    pub fn await_ready(&self, target: Target) -> Result<()> {
        wait::eventually(&format!("{target} is ready"), wait::START_LIMIT, || Ok(self.is_ready(target).then_some(())))
            .with_context(|| self.log_tail(target))
    }

    /// The end of a stage's log.
    #[must_use]
    pub fn log_tail(&self, target: Target) -> String {
        let text = std::fs::read_to_string(self.log_path(target)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join("\n")
    }

    /// Empties the line in its order. The sealer seals what is there before the archiver is drained, and once more after
    /// it, because the archiver leaves receipts for the log.
    ///
    /// # Errors
    /// When a stage does not end in time.
    pub fn drain(&mut self) -> Result<()> {
        let order = [Target::Proxy, Target::Enricher, Target::Masker, Target::Sealer, Target::Archiver];
        for target in order {
            self.drain_one(target)?;
        }
        self.spawn(Target::Sealer)?;
        self.await_ready(Target::Sealer)?;
        self.drain_one(Target::Sealer)
    }

    fn drain_one(&mut self, target: Target) -> Result<()> {
        let server = self.stages.get_mut(&target).and_then(|process| process.server.take());
        let mut server = server.with_context(|| format!("{target} does not run"))?;
        server.stop(DRAIN).with_context(|| format!("drain {target}; its log:\n{}", self.log_tail(target)))
    }

    /// What Postgres says.
    ///
    /// # Errors
    /// When its log or table cannot be read.
    pub fn truth(&self, acknowledged: &BTreeMap<String, u64>) -> Result<Truth> {
        Ok(Truth {
            executed: witness::executed(&self.postgres)?,
            counters: witness::counters(&self.postgres)?,
            acknowledged: acknowledged.clone(),
        })
    }

    /// Runs `sealtrail verify` on an archive, the line's own when `archive` is empty.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn verify(&self, archive: &str) -> Result<Verdict> {
        let archive = if archive.is_empty() { &self.archive } else { archive };
        let mut command = Command::new(sealtrail_bin()?);
        command.args(["verify", archive, "--json", "--now", "now", "--vkey"]).arg(self.folder.join("keys/log.vkey"));
        let output = command.envs(self.store.iter().map(|(name, value)| (name, value))).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("verify: {}", String::from_utf8_lossy(&output.stderr)))?;
        let list = |key: &str| report.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut sealed_to = BTreeMap::new();
        for stream in list("streams") {
            let topic = text(&stream, "topic");
            let table = topic.rsplit('.').next().unwrap_or_default().to_owned();
            let partition = stream.get("partition").and_then(Value::as_i64).context("partition of a stream")?;
            let last = stream.get("last_offset").and_then(Value::as_i64).context("last offset of a stream")?;
            sealed_to.insert((table, i32::try_from(partition)?), last);
        }
        let shown = |finding: &Value| {
            format!("verify {} {} {}", text(finding, "code"), text(finding, "place"), text(finding, "text"))
        };
        let findings = list("findings").iter().map(shown).collect();
        Ok(Verdict { exit_code: output.status.code(), findings, sealed_to })
    }
}
