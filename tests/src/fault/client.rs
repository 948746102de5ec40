//! A small Postgres client: simple and extended queries over TCP without TLS, so that the harness knows each byte sent.
//!
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", version 3.0.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest message read.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How the server took a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It ran.
    Done,
    /// It was refused or failed: the SQLSTATE.
    Refused(String),
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects and logs in with a password in clear.
    ///
    /// # Errors
    /// When nobody answers within `limit`, or the login is refused.
    pub fn connect(addr: SocketAddr, user: &str, database: &str, password: &str, limit: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, limit).context("connect")?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream };
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, ""] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        let length = u32::try_from(body.len().saturating_add(4))?;
        client.stream.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
        loop {
            let (kind, body) = client.message()?;
            match kind {
                b'R' => match body.get(..4) {
                    Some([0, 0, 0, 0]) => {}
                    Some([0, 0, 0, 3]) => client.stream.write_all(&message(b'p', &[password.as_bytes(), &[0]])?)?,
                    _ => bail!("asked for another authentication"),
                },
                b'E' => bail!("refused: {}", sqlstate(&body)),
                b'Z' => return Ok(client),
                _ => {}
            }
        }
    }

    /// Sends a simple query and reads to its end.
    ///
    /// # Errors
    /// When the connection breaks or is silent: whether it ran is then unknown.
    pub fn simple(&mut self, sql: &str) -> Result<Reply> {
        self.stream.write_all(&message(b'Q', &[sql.as_bytes(), &[0]])?)?;
        self.finish()
    }

    /// Parse, Bind, Execute and Sync with text parameters, in one write.
    ///
    /// # Errors
    /// As [`Client::simple`].
    pub fn extended(&mut self, sql: &str, parameters: &[&str]) -> Result<Reply> {
        let mut bytes = message(b'P', &[&[0], sql.as_bytes(), &[0, 0, 0]])?;
        let mut bind = vec![0, 0, 0, 0];
        bind.extend_from_slice(&u16::try_from(parameters.len())?.to_be_bytes());
        for text in parameters {
            bind.extend_from_slice(&u32::try_from(text.len())?.to_be_bytes());
            bind.extend_from_slice(text.as_bytes());
        }
        bind.extend_from_slice(&[0, 0]);
        bytes.extend(message(b'B', &[&bind])?);
        bytes.extend(message(b'E', &[&[0, 0, 0, 0, 0]])?);
        bytes.extend(message(b'S', &[])?);
        self.stream.write_all(&bytes)?;
        self.finish()
    }

    /// Says goodbye.
    pub fn close(mut self) {
        // the other side may be gone: then it needs no goodbye
        drop(message(b'X', &[]).map(|bytes| self.stream.write_all(&bytes)));
    }

    fn finish(&mut self) -> Result<Reply> {
        let mut reply = Reply::Done;
        loop {
            let (kind, body) = self.message()?;
            match kind {
                b'E' => reply = Reply::Refused(sqlstate(&body)),
                b'Z' => return Ok(reply),
                _ => {}
            }
        }
    }

    fn message(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).context("read a message")?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length))?.checked_sub(4).context("length of a message")?;
        if length > MESSAGE_BYTES_MAX {
            bail!("message of {length} bytes");
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("read a message")?;
        Ok((kind, body))
    }
}

fn message(kind: u8, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>().saturating_add(4);
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&u32::try_from(length)?.to_be_bytes());
    bytes.extend(parts.iter().flat_map(|part| part.iter()));
    Ok(bytes)
}

fn sqlstate(body: &[u8]) -> String {
    let code = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&b'C'));
    String::from_utf8_lossy(code.and_then(|field| field.get(1..)).unwrap_or_default()).into_owned()
}
