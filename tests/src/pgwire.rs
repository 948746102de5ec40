//! A PostgreSQL client of a few lines, for what drivers will not do: stall in mid-result, flood, keep thousands of
//! sessions. Simple protocol, clear-text password, no TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A session that is logged in.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// When the server refuses, with its own words.
    pub fn connect(addr: SocketAddr, user: &str, database: &str, password: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut client = Self { stream, buffer: vec![0; 1 << 16] };
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        startup.push(0);
        client.stream.write_all(&with_len(&startup)?)?;
        let (kind, body) = client.message()?;
        if kind != b'R' || body.get(..4) != Some(&3_u32.to_be_bytes()) {
            bail!("asked for something else than a password: {}", String::from_utf8_lossy(&body));
        }
        client.send(b'p', password)?;
        client.ready()?;
        Ok(client)
    }

    /// Sends a statement and reads its whole answer; returns the bytes of the answer.
    ///
    /// # Errors
    /// When the connection ends or an error is answered.
    pub fn query(&mut self, sql: &str) -> Result<u64> {
        self.start(sql)?;
        self.ready()
    }

    /// Sends a statement and reads nothing.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn start(&mut self, sql: &str) -> Result<()> {
        self.send(b'Q', sql)
    }

    /// Reads up to the end of an answer; returns its bytes.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn ready(&mut self) -> Result<u64> {
        let mut bytes = 0;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).context("read a message")?;
            let len = u64::from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).saturating_sub(4);
            bytes += len + 5;
            if head[0] == b'E' {
                let mut text = Vec::new();
                Read::by_ref(&mut self.stream).take(len).read_to_end(&mut text)?;
                bail!("{}", String::from_utf8_lossy(&text).replace('\0', " "));
            }
            self.skip(len)?;
            if head[0] == b'Z' {
                return Ok(bytes);
            }
        }
    }

    fn skip(&mut self, mut len: u64) -> Result<()> {
        while len > 0 {
            let most = usize::try_from(len).unwrap_or(usize::MAX).min(self.buffer.len());
            let room = self.buffer.get_mut(..most).unwrap_or_default();
            let read = self.stream.read(room).context("read a message")?;
            if read == 0 {
                bail!("the connection ended in a message");
            }
            len = len.saturating_sub(read as u64);
        }
        Ok(())
    }

    fn message(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).context("read a message")?;
        let len = u64::from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).saturating_sub(4);
        let mut body = Vec::new();
        Read::by_ref(&mut self.stream).take(len.min(1 << 20)).read_to_end(&mut body)?;
        Ok((head[0], body))
    }

    fn send(&mut self, kind: u8, text: &str) -> Result<()> {
        let mut body = text.as_bytes().to_vec();
        body.push(0);
        let mut out = vec![kind];
        out.extend(with_len(&body)?);
        self.stream.write_all(&out).context("send a message")
    }
}

fn with_len(body: &[u8]) -> Result<Vec<u8>> {
    let len = u32::try_from(body.len() + 4).context("message too long")?;
    Ok([len.to_be_bytes().as_slice(), body].concat())
}
