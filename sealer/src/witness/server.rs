//! A small witness of our own, for sites that want a second host: `c2sp.org/tlog-witness` for the logs it is told of.
//!
//! It remembers the newest head of each log in a file, flushed before it answers, and cosigns a head only if it extends that
//! one. Beyond the standard, `POST <prefix>/add-key` takes a log's KEY entry: the key before vouches for the next, so that a
//! log that rotates its key daily needs no hand here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use schemas::entry::{Entry, KEY_ROTATE};
use sha2::Digest as _;
use stage::{Level, Shutdown, clock};
use tlog::note::KeyKind;
use tlog::{
    Checkpoint, CheckpointError, ConsistencyFile, EMPTY_ROOT, Hash, NoteError, NoteSignature, VerifierKey,
    cosignature_signed_bytes,
};

use crate::lock::write_synced;
use crate::signer::{FileSigner, Signer as _, SignerError};

/// Largest body read, bytes: a proof of 63 hashes and a note.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest request head, bytes.
const HEAD_BYTES_MAX: u64 = 8 << 10;
/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;
/// Longest time for one request.
const REQUEST: Duration = Duration::from_secs(10);
/// Keys of one log kept; the newest count.
const KEYS_MAX: usize = 4096;

/// Why a witness cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// No key.
    #[error("open the witness key")]
    Signer(#[from] SignerError),
    /// The state cannot be read or written.
    #[error("keep witness state `{path}`")]
    State {
        /// File or folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of the state is damaged: cosigning on could vouch for a fork.
    #[error("witness state `{0}` is unreadable; restore it, or remove the log with all that trusts this witness")]
    Damaged(PathBuf),
    /// The port cannot be opened.
    #[error("listen on `{0}`")]
    Listen(String, #[source] std::io::Error),
}

/// An answer: status, content type, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content: &'static str,
    /// Body.
    pub body: String,
}

fn answer(status: u16, body: impl Into<String>) -> Answer {
    Answer { status, content: "text/plain; charset=utf-8", body: body.into() }
}

/// A witness over a state folder: per log a file of keys, which an operator may write too, and a file of its newest head.
pub struct WitnessServer {
    signer: FileSigner,
    key: VerifierKey,
    folder: PathBuf,
    /// One request at a time: reading, comparing and writing a head is one step.
    turn: Mutex<()>,
}

impl WitnessServer {
    /// A witness called `name` with the key file `key_file` and its state in `folder`.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn open(name: &str, key_file: &Path, folder: &Path) -> Result<Self, WitnessError> {
        let signer = FileSigner::open(key_file, name)?;
        let key = VerifierKey::new(name, KeyKind::Cosignature, signer.verifier_key().public())
            .map_err(|source| SignerError::Origin(name.to_owned(), source))?;
        std::fs::create_dir_all(folder).map_err(|source| WitnessError::State { path: folder.to_owned(), source })?;
        Ok(Self { signer, key, folder: folder.to_owned(), turn: Mutex::new(()) })
    }

    /// Its verifier key, for policies.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    fn file(&self, origin: &str, what: &str) -> PathBuf {
        let name: String = sha2::Sha256::digest(origin).iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}.{what}"))
    }

    /// Adds a key of a log; the log is known from then on.
    ///
    /// # Errors
    /// [`WitnessError::State`].
    pub fn add_log(&self, key: &VerifierKey) -> Result<(), WitnessError> {
        let mut keys = self.keys(key.name())?;
        if keys.contains(key) {
            return Ok(());
        }
        keys.push(key.clone());
        let text: String = keys.iter().rev().take(KEYS_MAX).rev().map(|key| format!("{key}\n")).collect();
        let path = self.file(key.name(), "keys");
        write_synced(&path, text.as_bytes()).map_err(|source| WitnessError::State { path, source })
    }

    fn read(path: &Path) -> Result<Option<String>, WitnessError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WitnessError::State { path: path.to_owned(), source }),
        }
    }

    fn keys(&self, origin: &str) -> Result<Vec<VerifierKey>, WitnessError> {
        let path = self.file(origin, "keys");
        let text = Self::read(&path)?.unwrap_or_default();
        let parsed: Result<Vec<_>, NoteError> = text.lines().map(VerifierKey::parse).collect();
        parsed.map_err(|_| WitnessError::Damaged(path))
    }

    /// Size and root of the newest head cosigned.
    fn head(&self, origin: &str) -> Result<(u64, Hash), WitnessError> {
        let path = self.file(origin, "head");
        let Some(text) = Self::read(&path)? else { return Ok((0, EMPTY_ROOT)) };
        let parsed = Checkpoint::parse_text(&text).ok().filter(|head| head.origin() == origin);
        parsed.map(|head| (head.size(), *head.root())).ok_or(WitnessError::Damaged(path))
    }

    /// Answers a request to cosign; `time_s` is the time that the cosignature says.
    ///
    /// # Errors
    /// [`WitnessError`]; nothing was cosigned.
    pub fn add_checkpoint(&self, body: &[u8], time_s: u64) -> Result<Answer, WitnessError> {
        let Ok(file) = ConsistencyFile::parse(body) else { return Ok(answer(400, "not an add-checkpoint body\n")) };
        let Ok((new, _)) = Checkpoint::parse_note(file.checkpoint.as_bytes()) else {
            return Ok(answer(400, "not a checkpoint\n"));
        };
        let _turn = self.turn.lock();
        let keys = self.keys(new.origin())?;
        if keys.is_empty() {
            return Ok(answer(404, "unknown log\n"));
        }
        match Checkpoint::open(file.checkpoint.as_bytes(), new.origin(), &keys) {
            Ok(_) => {}
            Err(
                CheckpointError::NoLogSignature
                | CheckpointError::Note(NoteError::NoTrustedSignature | NoteError::BadSignature { .. }),
            ) => return Ok(answer(403, "no good signature of a known key of this log\n")),
            Err(_) => return Ok(answer(400, "not a checkpoint\n")),
        }
        let (size, root) = self.head(new.origin())?;
        if file.old > new.size() {
            return Ok(answer(400, "old size is above the checkpoint's\n"));
        }
        if file.old != size {
            return Ok(Answer { status: 409, content: "text/x.tlog.size", body: format!("{size}\n") });
        }
        let extends = if size == 0 { file.path.is_empty() } else { file.verify(&root, &new).is_ok() };
        if !extends {
            return Ok(answer(422, "the proof does not lead from the head I know to this one\n"));
        }
        let path = self.file(new.origin(), "head");
        write_synced(&path, new.to_string().as_bytes()).map_err(|source| WitnessError::State { path, source })?;
        let signature = self.signer.sign(&cosignature_signed_bytes(time_s, &new.to_string()))?;
        Ok(answer(200, format!("{}\n", NoteSignature::cosignature(&self.key, time_s, &signature))))
    }

    /// Takes the next key of a log from its KEY entry, which a key known here has signed.
    ///
    /// # Errors
    /// [`WitnessError`]; nothing was changed.
    pub fn add_key(&self, entry: &[u8]) -> Result<Answer, WitnessError> {
        let Ok(Entry::Key(key)) = Entry::decode(entry) else { return Ok(answer(400, "not a KEY entry\n")) };
        let next = VerifierKey::parse(&key.vkey).ok();
        let Some(next) = next.filter(|next| next.name() == key.origin && next.kind() == KeyKind::Ed25519) else {
            return Ok(answer(400, "not a log key\n"));
        };
        let _turn = self.turn.lock();
        let keys = self.keys(&key.origin)?;
        if keys.is_empty() {
            return Ok(answer(404, "unknown log\n"));
        }
        // only the newest key may name the next: an erased one that was copied in time may not come back
        let vouches = |known: &VerifierKey| {
            known.id().to_be_bytes() == key.key_id.0 && known.verify_message(&key.signed_bytes(), &key.signature.0)
        };
        if keys.contains(&next) {
            return Ok(answer(200, ""));
        }
        if key.version != 1 || key.action != KEY_ROTATE || !keys.last().is_some_and(vouches) {
            return Ok(answer(403, "not signed by the newest known key of this log\n"));
        }
        self.add_log(&next)?;
        Ok(answer(200, ""))
    }

    /// Serves requests until `shutdown`, at most 32 connections at a time.
    ///
    /// # Errors
    /// [`WitnessError::Listen`].
    pub fn serve(self: Arc<Self>, listener: &TcpListener, shutdown: &Shutdown) -> Result<(), WitnessError> {
        let failed = |source| WitnessError::Listen("the open port".into(), source);
        listener.set_nonblocking(true).map_err(failed)?;
        let open = Arc::new(AtomicUsize::new(0));
        while shutdown.level() == Level::Run {
            if open.load(Ordering::Acquire) >= CONNECTIONS_MAX {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was lost before it was accepted");
                    continue;
                }
            };
            let (server, count) = (self.clone(), open.clone());
            count.fetch_add(1, Ordering::AcqRel);
            let spawned = std::thread::Builder::new().name("witness".into()).spawn(move || {
                if let Err(error) = server.request(stream) {
                    tracing::info!(%error, "a request broke off");
                }
                count.fetch_sub(1, Ordering::AcqRel);
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Ok(())
    }

    /// One request per connection.
    fn request(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(REQUEST))?;
        stream.set_write_timeout(Some(REQUEST))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut line) = (Vec::new(), String::new());
        let mut limited = (&mut reader).take(HEAD_BYTES_MAX);
        while limited.read_line(&mut line)? > 2 {
            head.push(std::mem::take(&mut line));
        }
        let length = head.iter().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let given = match (head.first().map(String::as_str).unwrap_or_default().split(' ').collect::<Vec<_>>(), length)
        {
            (words, Some(length)) if words.first() == Some(&"POST") && length <= BODY_BYTES_MAX => {
                let mut body = vec![0; length];
                reader.read_exact(&mut body)?;
                self.dispatch(words.get(1).copied().unwrap_or_default(), &body)
            }
            (words, Some(_)) if words.first() == Some(&"POST") => answer(413, "body too large\n"),
            (words, None) if words.first() == Some(&"POST") => answer(411, "content-length is missing\n"),
            _ => answer(405, "only POST\n"),
        };
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {} -\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
            given.status,
            given.content,
            given.body.len(),
            given.body
        )?;
        stream.flush()
    }

    fn dispatch(&self, path: &str, body: &[u8]) -> Answer {
        let time_s = u64::try_from(clock::now_ms() / 1000).unwrap_or(0);
        let result = match path.rsplit('/').next() {
            Some("add-checkpoint") => self.add_checkpoint(body, time_s),
            Some("add-key") => self.add_key(body),
            _ => return answer(404, "no such path\n"),
        };
        result.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a request failed");
            answer(500, "see the witness' own log\n")
        })
    }
}
