//! A carrier of bytes between clients and one broker, that can cut, silence or slow them.
//!
//! Two threads per connection; at most [`CONNECTIONS_MAX`] connections, further ones are refused.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// Most connections at once.
pub const CONNECTIONS_MAX: usize = 512;
/// How often a silenced connection looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

const CUT: u64 = u64::MAX;
const SILENT: u64 = u64::MAX - 1;
const END: u64 = u64::MAX - 2;

/// A running relay; ends when dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    front: SocketAddr,
}

#[derive(Debug, Default)]
struct Shared {
    /// [`CUT`], [`SILENT`], [`END`], or milliseconds by which each piece is late.
    state: AtomicU64,
    count: AtomicUsize,
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
}

impl Relay {
    /// Listens at `front` and carries to `back`.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(front: SocketAddr, back: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(front).with_context(|| format!("relay at {front}"))?;
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        std::thread::Builder::new().name("relay".into()).spawn(move || {
            for client in listener.incoming() {
                let state = ours.state.load(Ordering::Relaxed);
                if state == END {
                    return;
                }
                let (Ok(client), true) = (client, state != CUT) else { continue };
                if ours.count.load(Ordering::Relaxed) < CONNECTIONS_MAX {
                    // a client that cannot be carried sees a closed connection, as with a broker that is down
                    drop(carry(client, back, &ours));
                }
            }
        })?;
        Ok(Self { shared, front })
    }

    /// Closes every connection and takes no more.
    pub fn cut(&self) {
        self.shared.state.store(CUT, Ordering::Relaxed);
        self.close();
    }

    /// Connections stay and carry nothing.
    pub fn silence(&self) {
        self.shared.state.store(SILENT, Ordering::Relaxed);
    }

    /// Every piece comes `delay_ms` late, at most a minute; 0 heals everything.
    pub fn slow(&self, delay_ms: u64) {
        self.shared.state.store(delay_ms.min(60_000), Ordering::Relaxed);
    }

    fn close(&self) {
        for (client, server) in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // closed by its own side already: nothing to do
            drop(client.shutdown(Shutdown::Both));
            drop(server.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.state.store(END, Ordering::Relaxed);
        self.close();
        // wakes the listener, which then sees that it is over
        drop(TcpStream::connect_timeout(&self.front, Duration::from_millis(200)));
    }
}

fn carry(client: TcpStream, back: SocketAddr, shared: &Arc<Shared>) -> Result<()> {
    let server = TcpStream::connect_timeout(&back, Duration::from_secs(2))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    {
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(client, _)| client.peer_addr().is_ok());
        open.push((client.try_clone()?, server.try_clone()?));
    }
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let shared = shared.clone();
        shared.count.fetch_add(1, Ordering::Relaxed);
        std::thread::Builder::new().name("relay".into()).spawn(move || {
            pump(from, to, &shared);
            shared.count.fetch_sub(1, Ordering::Relaxed);
        })?;
    }
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        loop {
            match shared.state.load(Ordering::Relaxed) {
                CUT | END => return,
                SILENT => std::thread::sleep(LOOK),
                delay_ms => {
                    std::thread::sleep(Duration::from_millis(delay_ms));
                    break;
                }
            }
        }
        if to.write_all(piece.get(..length).unwrap_or_default()).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Port;

    #[test]
    fn carries_cuts_and_heals() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let back = echo.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || {
                    let (mut read, mut write) = (stream.try_clone().unwrap(), stream);
                    drop(std::io::copy(&mut read, &mut write));
                });
            }
        });
        let port = Port::free().unwrap();
        let relay = Relay::start(port.addr(), back).unwrap();
        let talk = || -> std::io::Result<[u8; 4]> {
            let mut stream = TcpStream::connect(port.addr())?;
            stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            stream.write_all(b"ping")?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        assert_eq!(&talk().unwrap(), b"ping");
        relay.cut();
        assert!(talk().is_err());
        relay.silence();
        assert!(talk().is_err());
        relay.slow(0);
        assert_eq!(&talk().unwrap(), b"ping");
    }
}
