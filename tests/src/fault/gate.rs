//! A gate before the S3 server: an HTTP proxy that passes requests on as they are, refuses, delays, cuts or lies.
//!
//! One request per connection, so that each is judged alone; the `Host` header stays, so signatures hold. While a mood
//! lasts it hits every other request. Heads are limited to [`HEAD_BYTES_MAX`], bodies to [`BODY_BYTES_MAX`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::plan::Mood;
use crate::ports::Port;

/// Longest head of a request or an answer.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest body.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// Longest silence of either side.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running gate; ends when dropped.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    port: Port,
}

#[derive(Debug)]
struct Shared {
    back: SocketAddr,
    mood: Mutex<Mood>,
    over: AtomicBool,
    requests: AtomicU64,
    hits: AtomicU64,
}

impl Gate {
    /// Opens a gate before the server at `back`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(back: SocketAddr) -> Result<Self> {
        let port = Port::free()?;
        let listener = TcpListener::bind(port.addr()).context("gate")?;
        let shared = Arc::new(Shared {
            back,
            mood: Mutex::new(Mood::Honest),
            over: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        });
        let ours = shared.clone();
        std::thread::Builder::new().name("gate".into()).spawn(move || {
            for client in listener.incoming() {
                if ours.over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), shared) = (client, ours.clone()) else { continue };
                // a request that fails here fails at the client: that is what it has retries for
                drop(std::thread::Builder::new().name("gate".into()).spawn(move || drop(pass(client, &shared))));
            }
        })?;
        Ok(Self { shared, port })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// What happens to every other request from now on.
    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Requests so far, and those that were not simply passed on.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.requests.load(Ordering::Relaxed), self.shared.hits.load(Ordering::Relaxed))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // wakes the listener
        drop(TcpStream::connect_timeout(&self.port.addr(), Duration::from_millis(200)));
    }
}

fn pass(mut client: TcpStream, shared: &Shared) -> Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let request = read_request(&mut client)?;
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let mut mood = *shared.mood.lock().unwrap_or_else(PoisonError::into_inner);
    if number % 2 == 1 {
        mood = Mood::Honest;
    }
    if mood == Mood::Lies && !is_object_put(&request) {
        mood = Mood::Honest;
    }
    if mood != Mood::Honest {
        shared.hits.fetch_add(1, Ordering::Relaxed);
    }
    match mood {
        Mood::Refuses => return answer(&mut client, "503 Slow Down", "SlowDown"),
        Mood::Lies => {
            let head = "HTTP/1.1 200 OK\r\nETag: \"0123456789abcdef0123456789abcdef\"\r\n";
            client.write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())?;
            return Ok(());
        }
        Mood::Slow(ms) => std::thread::sleep(Duration::from_millis(ms)),
        Mood::Honest | Mood::Denies | Mood::Cuts => {}
    }
    let mut server = TcpStream::connect_timeout(&shared.back, Duration::from_secs(5))?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(&request)?;
    let mut reply = Vec::new();
    server.take(u64::try_from(BODY_BYTES_MAX)?).read_to_end(&mut reply)?;
    match mood {
        Mood::Denies => answer(&mut client, "500 Internal Server Error", "InternalError"),
        Mood::Cuts => Ok(client.write_all(reply.get(..reply.len() / 2).unwrap_or_default())?),
        _ => Ok(client.write_all(&reply)?),
    }
}

fn answer(client: &mut TcpStream, status: &str, code: &str) -> Result<()> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n");
    Ok(client.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?)
}

/// The PUT of an object of evidence; log and lock probes are left alone, since nobody can read back what he just asked for
/// before he knows that it was taken.
fn is_object_put(request: &[u8]) -> bool {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    line.starts_with("PUT ") && line.contains(".parquet")
}

/// Reads one request, with `Connection: close` instead of what the client said.
fn read_request(client: &mut TcpStream) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    let mut piece = [0; 16 << 10];
    let end = loop {
        if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let length = client.read(&mut piece)?;
        if length == 0 || raw.len() > HEAD_BYTES_MAX {
            bail!("no whole head");
        }
        raw.extend_from_slice(piece.get(..length).unwrap_or_default());
    };
    let (head, body) = raw.split_at(end);
    let mut body = body.get(4..).unwrap_or_default().to_vec();
    let head = std::str::from_utf8(head).context("head is not text")?;
    let (mut out, mut length) = (String::new(), 0_usize);
    for line in head.split("\r\n") {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name == "content-length" {
            length = line.split(':').nth(1).unwrap_or_default().trim().parse().context("content-length")?;
        }
        if name != "connection" {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str("Connection: close\r\n\r\n");
    if length > BODY_BYTES_MAX {
        bail!("body of {length} bytes");
    }
    let missing = u64::try_from(length.saturating_sub(body.len()))?;
    client.take(missing).read_to_end(&mut body)?;
    let mut request = out.into_bytes();
    request.extend_from_slice(&body);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn passes_refuses_denies_and_lies() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let back = server.local_addr().unwrap();
        let seen = Arc::new(AtomicU64::new(0));
        let counted = seen.clone();
        std::thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                let request = read_request(&mut stream).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let body = request.len().to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        let gate = Gate::start(back).unwrap();
        let put = || http::request("PUT", gate.addr(), "/b/events/x.parquet", &[], b"abc");
        assert_eq!(put().unwrap().status, 200);
        for (mood, status) in [(Mood::Refuses, 503), (Mood::Denies, 500), (Mood::Lies, 200)] {
            gate.set(mood);
            let mut answers = [put().unwrap().status, put().unwrap().status];
            answers.sort_unstable();
            let mut expected = [200, status];
            expected.sort_unstable();
            assert_eq!(answers, expected, "{mood:?}");
        }
        gate.set(Mood::Cuts);
        assert!([put().is_err(), put().is_err()].contains(&true));
        // refused and lied about: the server never saw them
        assert_eq!((seen.load(Ordering::Relaxed), gate.counts().0), (7, 9));
    }
}
