//! The product itself: `sealtrail up`, or its proxy alone, on a configuration of the test's, as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::certs::Authority;
use crate::kafka::Kafka;
use crate::oidc::Oidc;
use crate::ports::Port;
use crate::postgres::{PASSWORD, Postgres, USER};
use crate::process::{Folder, Server, run_text, sealtrail_bin};
use crate::registry::Registry;
use crate::s3::S3;
use crate::wait;

/// Name of the target in every configuration made here.
pub const TARGET: &str = "orders";
/// Origin of the log.
pub const ORIGIN: &str = "test.sealtrail.example/log";

/// What the line stands on.
pub struct Surroundings<'a> {
    /// The target.
    pub postgres: &'a Postgres,
    /// Who says who people are: issuer URL and audience.
    pub issuer: (String, String),
    /// Kafka; the embedded bus when absent.
    pub kafka: Option<&'a Kafka>,
    /// Schema registry; none when absent.
    pub registry: Option<&'a Registry>,
    /// Object store and bucket with Object Lock; a local folder when absent.
    pub s3: Option<(&'a S3, &'a str)>,
    /// `acked`, `journaled` or `buffered`.
    pub guarantee: &'a str,
    /// TLS on both sides of the proxy; without it tokens and passwords cross in clear.
    pub tls: bool,
    /// Only the proxy's stage runs: what it records stays on the bus.
    pub proxy_alone: bool,
    /// Sessions allowed at once, in all and of one person; the product's own limits when absent.
    pub sessions_max: Option<usize>,
    /// Another server in the target's place, reached without TLS.
    pub target: Option<SocketAddr>,
    /// Further TOML at the end, tables only.
    pub extra: &'a str,
    /// Another build of `sealtrail` than the one under test, to compare with it.
    pub bin: Option<PathBuf>,
}

impl<'a> Surroundings<'a> {
    /// The embedded bus and a local folder.
    #[must_use]
    pub fn embedded(postgres: &'a Postgres, oidc: &Oidc) -> Self {
        let issuer = (oidc.issuer(), oidc.audience().to_owned());
        Self {
            postgres,
            issuer,
            kafka: None,
            registry: None,
            s3: None,
            guarantee: "journaled",
            tls: true,
            proxy_alone: false,
            sessions_max: None,
            target: None,
            extra: "",
            bin: None,
        }
    }
}

/// A running line.
pub struct Line {
    server: Option<Server>,
    folder: Folder,
    port: Port,
    archive: String,
    tls: bool,
    /// The program and the subcommand that runs the stages.
    bin: PathBuf,
    command: &'static str,
    /// Endpoint and keys of the object store, for commands that read it.
    store: Vec<(&'static str, String)>,
}

impl Line {
    /// Makes keys and configuration, starts the stages in one process, and waits until the proxy takes connections.
    ///
    /// # Errors
    /// When a step fails: shows the process' log.
    pub fn start(around: &Surroundings<'_>) -> Result<Self> {
        let (folder, port) = (Folder::new("line")?, Port::free()?);
        let bin = around.bin.clone().map_or_else(sealtrail_bin, Ok)?;
        let (archive, store) = lay_out(&folder, &port, around)?;
        let command = if around.proxy_alone { "proxy" } else { "up" };
        let mut line = Self { server: None, folder, port, archive, tls: around.tls, bin, command, store };
        line.run()?;
        Ok(line)
    }

    fn run(&mut self) -> Result<()> {
        let mut command = self.sealtrail(&[self.command, "--config"])?;
        command.arg(self.folder.join("sealtrail.toml"));
        let mut server = Server::spawn(&format!("sealtrail {}", self.command), &mut command, &self.folder.join("log"))?;
        let addr = self.port.addr();
        server.ready(|| Ok(wait::accepts(addr)))?;
        self.server = Some(server);
        Ok(())
    }

    /// Where the proxy listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Id of its process while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// The archive as `sealtrail` commands take it.
    #[must_use]
    pub fn archive(&self) -> &str {
        &self.archive
    }

    /// The folder with keys, configuration, journal, log and, when local, the archive.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The file with the log's verifier key.
    #[must_use]
    pub fn vkey(&self) -> PathBuf {
        self.folder.join("keys/log.vkey")
    }

    /// A libpq connection string to the target through the proxy; the token goes into PGPASSWORD.
    #[must_use]
    pub fn connection(&self, user: &str, database: &str) -> String {
        if !self.tls {
            return format!("host=127.0.0.1 port={} user={user} dbname={database} sslmode=disable", self.port.number());
        }
        let authority = self.folder.join("authority.pem");
        format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={user} dbname={database} sslmode=verify-full sslrootcert={}",
            self.port.number(),
            authority.display()
        )
    }

    /// SIGTERM, then waits until everything is drained.
    ///
    /// # Errors
    /// When it does not end within a minute, or ended badly.
    pub fn drain(&mut self) -> Result<()> {
        let mut server = self.server.take().context("the line does not run")?;
        server.stop(Duration::from_secs(60))
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill9();
        }
    }

    /// Starts again on the same folders.
    ///
    /// # Errors
    /// As [`Line::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.run()
    }

    /// What the process wrote to its log.
    ///
    /// # Errors
    /// When there is no log.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.folder.join("log")).context("read the line's log")
    }

    /// Runs a `sealtrail` command.
    ///
    /// # Errors
    /// When there is no binary.
    pub fn sealtrail(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.bin);
        command.args(arguments).envs(self.store.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// How commands find the object store: names of variables and their values.
pub(crate) type StoreVariables = Vec<(&'static str, String)>;

/// Makes keys, certificates and the checked `sealtrail.toml` in `folder`; returns the archive's address and what commands
/// that read it need in their environment.
pub(crate) fn lay_out(folder: &Folder, port: &Port, around: &Surroundings<'_>) -> Result<(String, StoreVariables)> {
    let bin = around.bin.clone().map_or_else(sealtrail_bin, Ok)?;
    let keys = folder.join("keys");
    run_text(Command::new(&bin).args(["keys", "init", "--origin", ORIGIN, "--folder"]).arg(&keys))?;
    let authority = Authority::new("sealtrail test authority")?;
    let issued = authority.loopback()?;
    folder.write("authority.pem", authority.pem())?;
    folder.write("proxy.pem", &issued.certificate_pem)?;
    folder.write("proxy.key", &issued.key_pem)?;
    folder.write("target-password", PASSWORD)?;
    let archive = match &around.s3 {
        Some((_, bucket)) => format!("s3://{bucket}/audit"),
        None => format!("file://{}", folder.join("archive").display()),
    };
    let config = folder.write("sealtrail.toml", configuration(folder, port, &archive, around))?;
    run_text(Command::new(&bin).args(["config", "check", "--config"]).arg(&config))?;
    let store = around.s3.as_ref().map_or_else(Vec::new, |(s3, _)| {
        let keys = s3.writer();
        vec![
            ("AWS_ENDPOINT_URL", s3.endpoint()),
            ("AWS_REGION", s3.region().to_owned()),
            ("AWS_ACCESS_KEY_ID", keys.access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_key.to_owned()),
        ]
    });
    Ok((archive, store))
}

fn configuration(folder: &Folder, port: &Port, archive: &str, around: &Surroundings<'_>) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut text = String::from("instance = \"test\"\n\n[topics]\npartitions = 4\n\n[bus]\n");
    let mut put = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    match around.kafka {
        Some(kafka) => put(format!("kind = \"kafka\"\nbootstrap = \"{}\"", kafka.bootstrap())),
        None => put(format!("kind = \"embedded\"\nfolder = \"{}\"", path("bus"))),
    }
    if let Some(registry) = around.registry {
        put(format!("\n[registry]\nurl = \"{}\"", registry.url()));
    }
    put(format!("\n[store]\nurl = \"{archive}\""));
    if let Some((s3, _)) = &around.s3 {
        put(format!("endpoint = \"{}\"\nregion = \"{}\"\nallow_http = true", s3.endpoint(), s3.region()));
        put("lock_mode = \"compliance\"\nlock_days = 1".to_owned());
        put("access_key_id = { env = \"AWS_ACCESS_KEY_ID\" }\nsecret_access_key = { env = \"AWS_SECRET_ACCESS_KEY\" }"
            .to_owned());
    }
    put(format!(
        "\n[masker]\nkey_file = \"{}\"\npseudonym_key_file = \"{}\"",
        path("keys/masker.key"),
        path("keys/pseudonym.key")
    ));
    put(format!(
        "\n[sealer]\norigin = \"{ORIGIN}\"\nkey_file = \"{}\"\nstate_folder = \"{}\"",
        path("keys/log.key"),
        path("sealer-state")
    ));
    put("batch_age_ms = 300\npublish_interval_ms = 100".to_owned());
    put(format!("\n[proxy]\nlisten = \"{}\"", port.addr()));
    put(format!("tls_certificate = \"{}\"\ntls_key = \"{}\"", path("proxy.pem"), path("proxy.key")));
    if let Some(most) = around.sessions_max {
        put(format!("sessions_max = {most}\nsessions_per_principal_max = {most}"));
    }
    if !around.tls {
        put("allow_cleartext_password = true".to_owned());
    }
    put(format!("masker_public_key = \"{}\"", path("keys/masker.pub")));
    put(format!("\n[proxy.identity]\nissuer = \"{}\"\naudience = \"{}\"", around.issuer.0, around.issuer.1));
    put(format!("\n[proxy.journal]\nallow_ephemeral = true\nfolder = \"{}\"", path("journal")));
    put(format!("\n[proxy.capture]\nguarantee = \"{}\"", around.guarantee));
    let port = around.target.map_or(around.postgres.port(), |target| target.port());
    put(format!("\n[proxy.targets.{TARGET}]\naddress = \"localhost:{port}\"\nuser = \"{USER}\""));
    put(format!("password = {{ file = \"{}\" }}", path("target-password")));
    put(format!(
        "tls_authority = \"{}\"\nallowed_groups = [\"*\"]\nenvironment = \"test\"",
        around.postgres.ca_path().display()
    ));
    if !around.tls {
        put("tls = \"disable\"".to_owned());
    }
    put(around.extra.to_owned());
    text
}
