//! PgBouncer before a PostgreSQL, as a peer to compare with.
//!
//! Users log in with the verifiers copied from the server, and PgBouncer logs in there with the keys it learns from
//! them, so no password lies on disk.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::ports::Port;
use crate::postgres::{Account, PASSWORD, Postgres, USER};
use crate::process::{Folder, Server, run};
use crate::tools;

/// How it is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// `session` or `transaction`. Version 1.18 has no prepared statements in transaction pooling.
    pub pool_mode: String,
    /// Server connections per database and user.
    pub pool_size: u16,
    /// Clients it takes.
    pub clients_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { pool_mode: "session".to_owned(), pool_size: 50, clients_max: 500 }
    }
}

/// A running PgBouncer.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    port: Port,
    _folder: Folder,
}

impl PgBouncer {
    /// Starts it before `target` and waits until a query through it is answered.
    ///
    /// # Errors
    /// When it cannot be installed or does not start: shows its log.
    pub fn start(target: &Postgres, options: &Options) -> Result<Self> {
        let (program, port, folder) = (tools::pgbouncer()?, Port::free()?, Folder::new("pgbouncer")?);
        let account = Account::for_servers()?;
        let users = target.psql(
            "postgres",
            "select '\"'||rolname||'\" \"'||rolpassword||'\"' from pg_authid where rolpassword is not null",
        )?;
        ensure!(!users.trim().is_empty(), "the server has no user with a password");
        let list = folder.write("users.txt", users)?;
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {}\nmax_client_conn = {}\n\
             default_pool_size = {}\nignore_startup_parameters = extra_float_digits,options\n",
            target.port(),
            port.number(),
            list.display(),
            options.pool_mode,
            options.clients_max,
            options.pool_size,
        );
        let config = folder.write("pgbouncer.ini", config)?;
        for path in [folder.path(), &list, &config] {
            account.give(path)?;
        }
        fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).context("close the list of users")?;
        let mut command = account.command(&program)?;
        command.current_dir(folder.path()).arg(&config);
        let mut server = Server::spawn("pgbouncer", &mut command, &folder.join("log"))?;
        let url = format!("postgresql://{USER}:{PASSWORD}@{}/postgres", port.addr());
        let psql = target.program("psql");
        server.ready(|| Ok(run(Command::new(&psql).args(["-X", "-A", "-t", "-c", "select 1", &url])).is_ok()))?;
        Ok(Self { server, port, _folder: folder })
    }

    /// Id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Where clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
