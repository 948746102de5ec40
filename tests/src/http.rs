//! Enough HTTP/1.1 over plain TCP to ask the servers of the tests, so that no HTTP stack has to be compiled for it.
//!
//! One request per connection, no redirects, no TLS. Answers are bounded (I-10).

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Largest answer read: 256 MiB.
pub const ANSWER_BYTES_MAX: u64 = 256 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// An answer: status, headers with lower-case names, body without transfer coding.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code, e.g. 200.
    pub status: u16,
    /// Header names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, with replacement characters for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; shows status and text.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON in answer {}: {}", self.status, self.text()))
    }

    /// Itself if the status is 2xx.
    ///
    /// # Errors
    /// Otherwise; shows status and text.
    pub fn ok(self) -> Result<Self> {
        if (200..300).contains(&self.status) { Ok(self) } else { bail!("answer {}: {}", self.status, self.text()) }
    }
}

/// Sends one request and reads the whole answer.
///
/// `path` includes the query; `Host`, `Content-Length` and `Connection: close` are added.
///
/// # Errors
/// When the server does not accept, is silent for 30 s, or its answer cannot be understood or is over the limit.
pub fn request(method: &str, addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT).with_context(|| format!("connect to {addr}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("set the read limit")?;
    stream.set_write_timeout(Some(LIMIT)).context("set the write limit")?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").context("format a header")?;
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).context("format a header")?;
    let mut message = head.into_bytes();
    message.extend_from_slice(body);
    stream.write_all(&message).with_context(|| format!("send {method} {path}"))?;
    let mut raw = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut raw)
        .with_context(|| format!("read the answer to {method} {path}"))?;
    parse(&raw).with_context(|| format!("answer to {method} {path}"))
}

/// GET without headers.
///
/// # Errors
/// As [`request`].
pub fn get(addr: SocketAddr, path: &str) -> Result<Answer> {
    request("GET", addr, path, &[], b"")
}

fn parse(raw: &[u8]) -> Result<Answer> {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").context("no end of headers")?;
    let (head, rest) = raw.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let head = std::str::from_utf8(head).context("headers are not text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    answer.body = match (answer.header("transfer-encoding"), answer.header("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => unchunk(body)?,
        (_, Some(length)) => {
            let length: usize = length.parse().context("content-length")?;
            body.get(..length.min(body.len())).unwrap_or_default().to_vec()
        }
        _ => body.to_vec(),
    };
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|two| two == b"\r\n").context("chunk without size")?;
        let (size, after) = rest.split_at(line_end);
        let size = std::str::from_utf8(size).context("chunk size")?;
        let size =
            usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).context("chunk size")?;
        if size == 0 {
            return Ok(body);
        }
        let data_end = size.checked_add(2).context("chunk size")?;
        body.extend_from_slice(after.get(2..data_end).context("chunk cut short")?);
        rest = after.get(data_end.saturating_add(2)..).context("chunk cut short")?;
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3), for one query value or path segment.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_chunked_answer() {
        let answer = parse(
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        )
        .unwrap();
        assert_eq!((answer.status, answer.text().as_str(), answer.header("x-a")), (201, "abcde", Some("b")));
    }

    #[test]
    fn refuses_an_answer_cut_short() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc").is_err());
        assert!(parse(b"HTTP/1.1 200").is_err());
    }

    #[test]
    fn encodes_reserved_characters() {
        assert_eq!(encode("a/b c~ü"), "a%2Fb%20c~%C3%BC");
    }
}
