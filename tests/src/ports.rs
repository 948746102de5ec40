//! Free loopback ports, held for as long as the server that uses them lives.
//!
//! A port from the system's own range can be taken by any outgoing connection between "is free" and "is bound", and two
//! test processes can pick the same one. So ports come from below that range, and each is reserved by a file lock that
//! the system releases when the process ends, however it ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::process;

/// First port handed out.
const FIRST: u32 = 10_240;
/// One past the last port handed out: below the range of outgoing connections (32768 by default on Linux).
const END: u32 = 32_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback port reserved for this process until the value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    /// Reserves a port on which nothing listens.
    ///
    /// # Errors
    /// When the reservation folder cannot be written or no port is left.
    pub fn free() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sealtrail-ports-{}", process::uid()?));
        fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
        let span = END - FIRST;
        // Processes begin at different places, so that they seldom meet; a clash costs one more try.
        let start = std::process::id().wrapping_mul(2_654_435_761) % span;
        for _ in 0..span {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span;
            let number = u16::try_from(FIRST + offset).context("port number")?;
            let path = folder.join(number.to_string());
            let file = File::create(&path).with_context(|| format!("create `{}`", path.display()))?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _reservation: file });
            }
        }
        bail!("no free loopback port between {FIRST} and {END}")
    }

    /// The port number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_distinct_while_held_and_can_be_bound() {
        let held: Vec<Port> = (0..20).map(|_| Port::free().unwrap()).collect();
        let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
        for port in &held {
            assert!(TcpListener::bind(port.addr()).is_ok(), "{}", port.number());
        }
    }
}
