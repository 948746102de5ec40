//! The admin server of a process: `/metrics`, `/healthz`, `/readyz` over plain HTTP/1.1 on its own thread.
//!
//! Meant for loopback or a private network: it tells counts, never content (I-05), and takes no commands. Bounded
//! (I-10): one connection at a time, [`HEAD_BYTES_MAX`] bytes of request, [`PATIENCE`] for the whole exchange; a slow
//! client holds up other scrapes at most that long, and no stage ever (I-11).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::env::{Running, StageFailure};
use crate::metrics;
use crate::shutdown::{Level, Shutdown};

/// Longest request head read, bytes; a longer one is answered 431.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Longest exchange with one client.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Says whether the process can do its work now; the reason when it cannot.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A running admin server.
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its thread.
    pub running: Running,
}

/// Listens on `address` (port 0 takes a free one) until `shutdown` says [`Level::Stop`].
///
/// # Errors
/// When the address cannot be bound; the error names it.
pub fn start(address: SocketAddr, ready: Ready, shutdown: &Shutdown) -> Result<Admin, StageFailure> {
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("listen for admin requests on {address}: {error}; set another admin address"))?;
    let address = listener.local_addr()?;
    let stop = shutdown.clone();
    let running = Running::spawn("admin", shutdown, move || {
        while stop.level() != Level::Stop {
            match listener.accept() {
                // a client that goes away in the middle is its own trouble
                Ok((client, _)) => drop(serve(client, &ready)),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        Ok(())
    })?;
    Ok(Admin { address, running })
}

fn serve(mut client: TcpStream, ready: &Ready) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_write_timeout(Some(PATIENCE))?;
    let (status, kind, body) = match head(&mut client)? {
        None => ("431 Request Header Fields Too Large", "text/plain", "the request head is too long\n".to_owned()),
        Some(head) => answer(&head, ready),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}

/// The request's head; `None` when it is too long or takes too long.
fn head(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let until = Instant::now() + PATIENCE;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
        client.set_read_timeout(Some(left))?;
        let count = client.read(&mut part)?;
        head.extend_from_slice(part.get(..count).unwrap_or_default());
        if count == 0 || head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
}

fn answer(head: &[u8], ready: &Ready) -> (&'static str, &'static str, String) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", "text/plain; version=0.0.4", metrics::process().render()),
        (Some(b"GET"), Some(b"/healthz")) => ("200 OK", "text/plain", "alive\n".to_owned()),
        (Some(b"GET"), Some(b"/readyz")) => match ready() {
            Ok(()) => ("200 OK", "text/plain", "ready\n".to_owned()),
            Err(reason) => ("503 Service Unavailable", "text/plain", format!("{reason}\n")),
        },
        (Some(b"GET"), Some(_)) => {
            ("404 Not Found", "text/plain", "there are /metrics, /healthz and /readyz\n".to_owned())
        }
        _ => ("405 Method Not Allowed", "text/plain", "only GET is answered\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request).unwrap();
        let mut text = Vec::new();
        // the server may close before it has read all of a request that it refuses
        drop(client.read_to_end(&mut text));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn it_answers_what_it_knows_and_refuses_the_rest() {
        let shutdown = Shutdown::new();
        let ready: Ready = Arc::new(|| Err("bus: not reached".into()));
        let admin = start(SocketAddr::from(([127, 0, 0, 1], 0)), ready, &shutdown).unwrap();
        metrics::counter("admin_test_total", "Test.", &[]).add(3);
        let get = |path: &str| ask(admin.address, format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        assert!(get("/metrics").contains("admin_test_total 3"));
        assert!(get("/healthz").starts_with("HTTP/1.1 200 OK"));
        let unready = get("/readyz");
        assert!(unready.starts_with("HTTP/1.1 503") && unready.ends_with("bus: not reached\n"), "{unready}");
        assert!(get("/other").starts_with("HTTP/1.1 404"));
        assert!(ask(admin.address, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(start(admin.address, Arc::new(|| Ok(())), &shutdown).is_err(), "the address is taken");
        admin.running.stop(Level::Stop).unwrap();
    }

    /// I-10: neither an endless head nor a silent client holds the server.
    #[test]
    fn long_heads_and_silent_clients_are_let_go() {
        let shutdown = Shutdown::new();
        let admin = start(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(|| Ok(())), &shutdown).unwrap();
        let long = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; HEAD_BYTES_MAX + 1]].concat();
        assert!(ask(admin.address, &long).starts_with("HTTP/1.1 431"));
        let silent = TcpStream::connect(admin.address).unwrap();
        let began = Instant::now();
        assert!(ask(admin.address, b"GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        assert!(began.elapsed() < PATIENCE + Duration::from_secs(1));
        drop(silent);
        admin.running.stop(Level::Stop).unwrap();
    }
}
