//! litewitness, a witness that we did not write: its key is in an ssh-agent, its state in SQLite.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::ports::Port;
use crate::process::{Folder, Server, run, run_text};
use crate::{tools, wait};

/// What `witnessctl add-log` and `add-key` do, in its tables.
const ADD: &str = r"
import base64, hashlib, sqlite3, sys
db, origin, keys = sys.argv[1], sys.argv[2], sys.argv[3:]
c = sqlite3.connect(db, timeout=10)
c.executescript('''CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));''')
empty = base64.b64encode(hashlib.sha256(b'').digest()).decode()
c.execute('INSERT OR IGNORE INTO log(origin, tree_size, tree_hash) VALUES (?, 0, ?)', (origin, empty))
for key in keys:
    c.execute('INSERT INTO key(origin, key) VALUES (?, ?)', (origin, key))
c.commit()
";

/// A running witness.
pub struct Litewitness {
    _server: Server,
    _agent: Server,
    folder: Folder,
    url: String,
    vkey: String,
}

impl Litewitness {
    /// Starts one called `name` that knows no log.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub fn start(name: &str) -> Result<Self> {
        let (folder, port) = (Folder::new("lw")?, Port::free()?);
        let (key, socket, db) = (folder.join("key"), folder.join("agent"), folder.join("w.db"));
        run(Command::new(tools::program("ssh-keygen")?).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let shown = run_text(Command::new(tools::program("ssh-keygen")?).arg("-lf").arg(key.with_extension("pub")))?;
        let fingerprint = shown.split_whitespace().nth(1).context("read the key's fingerprint")?.to_owned();
        let mut agent = Command::new(tools::program("ssh-agent")?);
        let mut agent = Server::spawn("ssh-agent", agent.arg("-D").arg("-a").arg(&socket), &folder.join("agent.log"))?;
        agent.ready(|| Ok(socket.exists()))?;
        run(Command::new(tools::program("ssh-add")?).arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket))?;
        add(&db, "unused.example/log", &[])?;
        let mut command = Command::new(tools::litewitness()?);
        command.arg("-db").arg(&db).args(["-name", name, "-key", &fingerprint]).arg("-ssh-agent").arg(&socket);
        command.arg("-listen").arg(port.addr().to_string());
        let log = folder.join("lw.log");
        let mut server = Server::spawn("litewitness", &mut command, &log)?;
        let addr = port.addr();
        server.ready(|| Ok(wait::accepts(addr)))?;
        let vkey = wait::eventually("litewitness tells its key", wait::START_LIMIT, || {
            let text = std::fs::read_to_string(&log)?;
            let word = text.split("vkey=").nth(1).and_then(|rest| rest.split_whitespace().next());
            Ok(word.map(|word| word.trim_matches('"').to_owned()))
        })?;
        Ok(Self { _server: server, _agent: agent, folder, url: format!("http://{addr}"), vkey })
    }

    /// Tells it of a log, or of a further key of one.
    ///
    /// # Errors
    /// When its database cannot be written.
    pub fn add_key(&self, origin: &str, vkey: &str) -> Result<()> {
        add(&self.folder.join("w.db"), origin, &[vkey])
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its verifier key.
    #[must_use]
    pub fn vkey(&self) -> &str {
        &self.vkey
    }
}

fn add(db: &Path, origin: &str, keys: &[&str]) -> Result<()> {
    run(Command::new(tools::program("python3")?).arg("-c").arg(ADD).arg(db).arg(origin).args(keys)).map(drop)
}
