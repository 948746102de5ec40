//! A real PostgreSQL with TLS and SCRAM, and its own statement log as the witness of what ran.
//!
//! The server refuses to run as root: as root it runs as the user `postgres` (else `nobody`). The witness is what the
//! server itself wrote: LOG lines carry `message` (statement, parameters in `detail`), a statement that failed before it
//! ran leaves only an ERROR line with `statement`; `remote_port` ties a line to a client's socket.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::certs::Authority;
use crate::ports::Port;
use crate::process::{Folder, Server, is_root, run, run_text};
use crate::{tools, wait};

/// The superuser.
pub const USER: &str = "postgres";
/// The superuser's password, SCRAM-SHA-256.
pub const PASSWORD: &str = "postgres-test-password";

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Offer TLS (certificate for `localhost` and `127.0.0.1`); clients may still come without.
    pub tls: bool,
    /// Log every statement with its parameters; see [`Postgres::statement_log`].
    pub statement_log: bool,
    /// Tuned for benches: larger buffers. Turn `statement_log` off with it.
    pub fast: bool,
    /// Further lines of `postgresql.conf`; they win over the testkit's. Values are quoted by the testkit.
    pub settings: Vec<(String, String)>,
    /// Lines put first into `pg_hba.conf`.
    pub hba: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { tls: true, statement_log: true, fast: false, settings: Vec::new(), hba: Vec::new() }
    }
}

impl Options {
    /// No statement log, larger buffers.
    #[must_use]
    pub fn bench() -> Self {
        Self { statement_log: false, fast: true, ..Self::default() }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Server>,
    account: Account,
    bin: PathBuf,
    port: Port,
    folder: Folder,
}

impl Postgres {
    /// Makes a new cluster in a folder of its own, starts it and waits until it takes connections.
    ///
    /// # Errors
    /// When PostgreSQL cannot be installed or does not start: shows its log.
    pub fn start(options: &Options) -> Result<Self> {
        let (bin, port, folder) = (tools::postgres()?, Port::free()?, Folder::new("postgres")?);
        let account = Account::for_servers()?;
        account.give(folder.path())?;
        let mut postgres = Self { server: None, account, bin, port, folder };
        postgres.init(options)?;
        postgres.spawn()?;
        Ok(postgres)
    }

    /// 127.0.0.1 and the port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The port alone.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder of the Unix socket, on which every user is trusted.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate of the authority that signed the server's, as a file.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A connection URL of the superuser, e.g. `url("postgres", "verify-full")`; the authority is in it.
    #[must_use]
    pub fn url(&self, database: &str, sslmode: &str) -> String {
        let ca = crate::http::encode(&self.ca_path().to_string_lossy());
        format!("postgresql://{USER}:{PASSWORD}@{}/{database}?sslmode={sslmode}&sslrootcert={ca}", self.addr())
    }

    /// The path of a program of this version: `psql`, `pgbench`, `pg_dump`, ...
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Runs SQL as the superuser over the Unix socket; returns `psql -At` output. Several statements are sent as one.
    ///
    /// # Errors
    /// When the server refuses a statement: its message.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = client(&self.program("psql"));
        command.arg("-h").arg(self.socket_folder()).args(["-p", &self.port().to_string(), "-U", USER, "-d", database]);
        run_text(command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    /// A `psql` command for a URL, with no user configuration and an empty environment of `PG*`.
    #[must_use]
    pub fn psql_at(&self, url: &str) -> Command {
        let mut command = client(&self.program("psql"));
        command.args(["-X", "-v", "ON_ERROR_STOP=1", url]);
        command
    }

    /// The witness: every line of the server's JSON log so far.
    ///
    /// # Errors
    /// When the log is not there or a line is no JSON (a line still being written is left out).
    pub fn statement_log(&self) -> Result<Vec<Value>> {
        let path = self.folder.join("witness").join("pg.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).context("line of the statement log")).collect()
    }

    /// Process id of the postmaster, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Kills postmaster and backends with SIGKILL; the data stay.
    pub fn kill9(&mut self) {
        if let Some(mut server) = self.server.take() {
            let backends = children(server.pid());
            server.kill9();
            // Orphans see the postmaster's death by themselves, this only makes it sooner; those gone are no failure.
            let ids = backends.join(" ");
            let ended = run(Command::new("sh").args(["-c", "kill -9 $0 2>/dev/null; true", &ids]));
            drop(ended);
        }
    }

    /// Ends it by a fast shutdown; the data stay.
    ///
    /// # Errors
    /// When it has not ended within 60 s: it is killed.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.signal("INT")?;
        wait::eventually("postgres ends", Duration::from_secs(60), || Ok((!server.alive()).then_some(())))
    }

    /// Starts it again on its data and port (killing it first if it runs).
    ///
    /// # Errors
    /// When it does not start: shows its log.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9();
        self.spawn()
    }

    fn init(&self, options: &Options) -> Result<()> {
        let (data, folder) = (self.folder.join("data"), self.folder.path());
        let password = self.folder.write("pw", format!("{PASSWORD}\n"))?;
        self.account.give(&password)?;
        let mut initdb = self.account.command(&self.program("initdb"))?;
        initdb.current_dir(folder).arg("-D").arg(&data).args(["-U", USER, "-E", "UTF8", "--locale=C", "-N"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]).arg("--pwfile").arg(&password);
        run(&mut initdb).context("make the PostgreSQL cluster")?;

        let authority = Authority::new("testkit")?;
        self.folder.write("ca.pem", authority.pem())?;
        let issued = authority.loopback()?;
        for (name, content) in [("server.crt", issued.certificate_pem), ("server.key", issued.key_pem)] {
            let path = data.join(name);
            fs::write(&path, content).context("write the server's certificate")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context("close the server's key")?;
            self.account.give(&path)?;
        }
        let mut hba = String::from("local all all trust\n");
        for line in &options.hba {
            writeln!(hba, "{line}").context("format pg_hba.conf")?;
        }
        hba.push_str("host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n");
        fs::write(data.join("pg_hba.conf"), hba).context("write pg_hba.conf")?;
        let config = data.join("postgresql.conf");
        let text = fs::read_to_string(&config).context("read postgresql.conf")?;
        fs::write(&config, text + &self.settings(options)?).context("write postgresql.conf")
    }

    fn settings(&self, options: &Options) -> Result<String> {
        let on = |flag: bool| if flag { "on" } else { "off" };
        let socket = self.folder.path().to_string_lossy().into_owned();
        let witness = self.folder.join("witness").to_string_lossy().into_owned();
        let mut settings: Vec<(&str, &str)> = vec![
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &socket),
            ("ssl", on(options.tls)),
            ("password_encryption", "scram-sha-256"),
            // The tests' data may be lost with the machine; a kill of the process loses nothing.
            ("fsync", "off"),
            ("synchronous_commit", on(!options.fast)),
            ("full_page_writes", "off"),
            ("max_connections", "200"),
            ("max_prepared_transactions", "10"),
            ("log_timezone", "UTC"),
        ];
        if options.fast {
            settings.extend([("shared_buffers", "256MB"), ("wal_level", "minimal"), ("max_wal_senders", "0")]);
        } else {
            settings.push(("wal_level", "logical"));
        }
        if options.statement_log {
            settings.extend([
                ("log_statement", "all"),
                ("log_connections", "on"),
                ("log_disconnections", "on"),
                ("log_replication_commands", "on"),
                ("log_parameter_max_length", "-1"),
                ("log_parameter_max_length_on_error", "-1"),
                ("log_destination", "stderr,jsonlog"),
                ("logging_collector", "on"),
                ("log_directory", &witness),
                ("log_filename", "pg.log"),
                ("log_rotation_age", "0"),
                ("log_rotation_size", "0"),
            ]);
        }
        settings.extend(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut text = String::from("\n");
        for (name, value) in settings {
            writeln!(text, "{name} = '{}'", value.replace('\'', "''")).context("format postgresql.conf")?;
        }
        Ok(text)
    }

    fn spawn(&mut self) -> Result<()> {
        let (data, port) = (self.folder.join("data"), self.port().to_string());
        let ready = self.program("pg_isready");
        // After a kill the old shared memory may be in use for a moment: the server says so and ends, and is asked again.
        wait::eventually("postgres starts", Duration::from_secs(60), || {
            let mut command = self.account.command(&self.program("postgres"))?;
            command.current_dir(self.folder.path()).arg("-D").arg(&data).args(["-p", &port]);
            let mut server = Server::spawn("postgres", &mut command, &self.folder.join("log"))?;
            server.ready(|| Ok(run(client(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port])).is_ok()))?;
            Ok(Some(server))
        })
        .map(|server| self.server = Some(server))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A client program that ignores the caller's `PG*` variables and pages nothing.
fn client(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("PAGER", "cat").env("PGCONNECT_TIMEOUT", "20");
    command
}

/// Ids of the processes whose parent is `pid`, from `/proc`.
fn children(pid: u32) -> Vec<String> {
    let parent = pid.to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // pid (name) state ppid ...: the name may hold anything, so read from its closing bracket.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(parent.as_str())
    })
    .collect()
}

/// The user that servers which refuse root run as; nobody else than the caller when that is not root.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    ids: Option<(u32, u32)>,
}

impl Account {
    pub(crate) fn for_servers() -> Result<Self> {
        if !is_root() {
            return Ok(Self { ids: None });
        }
        let id = |flag: &str, user: &str| -> Result<u32> {
            run_text(Command::new("id").args([flag, user]))?.trim().parse().context("numeric id")
        };
        let user = if id("-u", "postgres").is_ok() { "postgres" } else { "nobody" };
        Ok(Self { ids: Some((id("-u", user)?, id("-g", user)?)) })
    }

    /// Makes `path` theirs.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        match self.ids {
            Some((user, group)) => chown(path, Some(user), Some(group))
                .with_context(|| format!("change the owner of `{}`", path.display())),
            None => Ok(()),
        }
    }

    /// A command that runs `program` as them, keeping the process id.
    pub(crate) fn command(&self, program: &Path) -> Result<Command> {
        let Some((user, group)) = self.ids else { return Ok(client(program)) };
        let mut command = client(&tools::program("setpriv")?);
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
        Ok(command)
    }
}
