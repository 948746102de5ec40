//! Processes and folders that go away: with the value that owns them, and at the latest with this process.
//!
//! A killed test process runs no `Drop`, and a `static` is never dropped at all. So each process has one helper, a shell
//! that reads the ids of what is running from a pipe: when the pipe closes, it kills and removes what is left.
//! Only processes started here are ended, by id.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::wait;

const REAPER: &str = include_str!("../support/reaper.sh");
/// How many lines of a log an error shows.
const TAIL_LINES: usize = 40;

/// The numeric id of the user that runs this process.
///
/// # Errors
/// When `/proc` is not there.
pub fn uid() -> Result<u32> {
    Ok(fs::metadata("/proc/self").context("read /proc/self")?.uid())
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    uid().is_ok_and(|uid| uid == 0)
}

/// Where `program` lies on `PATH`, if it does.
#[must_use]
pub fn which(program: &str) -> Option<PathBuf> {
    std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| {
            fs::metadata(candidate).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    })
}

/// Runs a command to its end with no standard input and returns what it printed.
///
/// # Errors
/// When it cannot be started or ends with another status than 0: the error names the program and shows the end of what
/// it printed.
pub fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start `{program}`"))?;
    if output.status.success() {
        return Ok(output);
    }
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    bail!("`{program}` ended with {}: {}", output.status, tail(&printed).trim())
}

/// As [`run`], with the standard output as text.
///
/// # Errors
/// As [`run`].
pub fn run_text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&run(command)?.stdout).into_owned())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or(&lines).join("\n")
}

/// The `sealtrail` binary under test: `SEALTRAIL_BIN`, else the one beside the running test in the target folder.
///
/// # Errors
/// When there is none: says to build it.
pub fn sealtrail_bin() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SEALTRAIL_BIN") {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe().context("find the running test")?;
    let beside = test.parent().and_then(Path::parent).map(|folder| folder.join("sealtrail"));
    match beside {
        Some(path) if path.is_file() => Ok(path),
        _ => bail!("no sealtrail binary beside the tests: run `cargo build -p cli` first, or set SEALTRAIL_BIN"),
    }
}

struct Reaper {
    input: ChildStdin,
    _process: Child,
}

/// Tells the helper one line; starts it at the first call.
fn tell_reaper(line: &str) -> Result<()> {
    static HELPER: OnceLock<Mutex<Option<Reaper>>> = OnceLock::new();
    let mut slot = HELPER.get_or_init(|| Mutex::new(None)).lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() {
        let mut process = Command::new("sh")
            .args(["-c", REAPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the clean-up helper")?;
        let input = process.stdin.take().context("pipe to the clean-up helper")?;
        *slot = Some(Reaper { input, _process: process });
    }
    let reaper = slot.as_mut().context("clean-up helper")?;
    writeln!(reaper.input, "{line}").context("tell the clean-up helper")
}

/// A temporary folder, entered by every user (servers run as others), removed when dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes an empty folder with `name` in its name.
    ///
    /// # Errors
    /// When the temporary folder of the machine cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(&format!("sealtrail-{name}-")).tempdir().context("make a folder")?;
        let path = made.keep();
        tell_reaper(&format!("d+{}", path.display()))?;
        let folder = Self { path };
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o711)).context("open the folder to others")?;
        Ok(folder)
    }

    /// The absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file into it and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content).with_context(|| format!("write `{}`", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A server killed a moment ago may still have written a file: once more then.
        let gone = fs::remove_dir_all(&self.path).is_ok()
            || wait::eventually("remove folder", Duration::from_secs(2), || {
                fs::remove_dir_all(&self.path)?;
                Ok(Some(()))
            })
            .is_ok();
        if gone {
            tell_reaper(&format!("d-{}", self.path.display())).unwrap_or_default();
        }
    }
}

/// A running server: killed (SIGKILL, by id) when dropped or when this process ends.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with no standard input; both outputs are appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log).context("open the server's log")?;
        let err = out.try_clone().context("open the server's log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name} (`{}`)", command.get_program().to_string_lossy()))?;
        tell_reaper(&format!("p+{}", child.id()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has not ended.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what the server printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
    }

    /// Waits until `probe` says yes; a dead server ends the wait at once.
    ///
    /// # Errors
    /// When the server dies or does not answer within [`wait::START_LIMIT`]: with the end of its log.
    pub fn ready(&mut self, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
        let what = format!("{} answers", self.name);
        let answered = wait::until(&what, wait::START_LIMIT, |verdict| {
            if let Ok(Some(status)) = self.child.try_wait() {
                verdict.give_up(format!("the process ended with {status}"));
                return Ok(None);
            }
            Ok(probe()?.then_some(()))
        });
        answered.map_err(|error| error.context(format!("{} did not start; its log:\n{}", self.name, self.log_tail())))
    }

    /// Kills it (SIGKILL) and waits for its end. Repeating does nothing.
    pub fn kill9(&mut self) {
        // Both fail only when it has ended already.
        if self.child.kill().is_ok() && self.child.wait().is_ok() {
            tell_reaper(&format!("p-{}", self.child.id())).unwrap_or_default();
        }
    }

    /// Asks it to end (SIGTERM) and waits for that, at most `limit`.
    ///
    /// # Errors
    /// When it has not ended by then: it is killed.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        self.signal("TERM")?;
        let ended = wait::eventually(&format!("{} ends", self.name), limit, || Ok((!self.alive()).then_some(())));
        self.kill9();
        ended
    }

    /// Sends a signal by name (`TERM`, `HUP`, `STOP`, `CONT`, ...).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        if !self.alive() {
            bail!("{} is not running", self.name);
        }
        run(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.pid().to_string()]))
            .map(drop)
            .map_err(|error| anyhow!("signal {}: {error}", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Takes the lock at `path`, waiting for another process that holds it. Released when dropped.
///
/// # Errors
/// When the file cannot be made or locked.
pub fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create `{}`", path.display()))?;
    file.lock().with_context(|| format!("lock `{}`", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_server_and_folder_are_gone() {
        let folder = Folder::new("unit").unwrap();
        let path = folder.path().to_owned();
        let server = Server::spawn("sleep", Command::new("sleep").arg("600"), &folder.join("log")).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", server.pid()));
        assert!(proc.exists());
        drop(server);
        drop(folder);
        assert!(!proc.exists() && !path.exists());
    }

    #[test]
    fn a_server_that_dies_shows_its_log() {
        let folder = Folder::new("unit").unwrap();
        let mut server =
            Server::spawn("failing", Command::new("sh").args(["-c", "echo bad flag >&2; exit 3"]), &folder.join("log"))
                .unwrap();
        let error = format!("{:#}", server.ready(|| Ok(false)).unwrap_err());
        assert!(error.contains("bad flag") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_helper_ends_what_is_left() {
        // The helper alone, as the test process would leave it: it must kill the process and remove the folder.
        let folder = Folder::new("unit").unwrap();
        let left = folder.join("sealtrail-left");
        fs::create_dir(&left).unwrap();
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let mut helper = Command::new("sh").args(["-c", REAPER]).stdin(Stdio::piped()).spawn().unwrap();
        let lines = format!("p+{}\nd+/nonexistent\np+1\np-1\nd+{}\nd-/nonexistent\n", sleeper.id(), left.display());
        helper.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(helper.wait().unwrap().success());
        assert!(!sleeper.wait().unwrap().success());
        assert!(!left.exists());
    }
}
