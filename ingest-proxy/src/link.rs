//! A connection whose first bytes are read message by message, and which is then handed on whole.
//!
//! Reads are exact: nothing behind a message is taken out of the socket, so no byte that came in clear can slip into
//! what is read after TLS began.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::protocol::postgres::codec::HEADER_LEN;
use crate::protocol::postgres::message::startup::packet_len;

/// Longest message read during login: a password of 64 KiB, or a target's notice.
pub(crate) const LOGIN_MESSAGE_BYTES_MAX: usize = 65_535 + 4;

/// Longest time for the last words to a peer that may not read any more.
pub(crate) const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);
/// Most bytes read and dropped after the last words.
pub(crate) const FAREWELL_BYTES_MAX: usize = 8 << 20;

/// A byte stream in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A socket, with or without TLS.
pub(crate) struct Link(Box<dyn Io>);

/// One message: type byte and body.
pub(crate) struct Message {
    /// Type byte.
    pub(crate) kind: u8,
    /// Body. Wiped when dropped, since it may be a password.
    pub(crate) body: zeroize::Zeroizing<Vec<u8>>,
}

impl Message {
    /// Wire bytes, header included.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::try_from(self.body.len() + HEADER_LEN).unwrap_or(u64::MAX)
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

impl Link {
    /// A link over `stream`.
    pub(crate) fn new(stream: impl Io + 'static) -> Self {
        Self(Box::new(stream))
    }

    /// Reads one message of at most [`LOGIN_MESSAGE_BYTES_MAX`].
    pub(crate) async fn message(&mut self) -> io::Result<Message> {
        let mut header = [0u8; HEADER_LEN];
        self.0.read_exact(&mut header).await?;
        let [kind, a, b, c, d] = header;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !(4..=LOGIN_MESSAGE_BYTES_MAX).contains(&len) {
            return Err(invalid("login message has an impossible length"));
        }
        let mut body = zeroize::Zeroizing::new(vec![0; len - 4]);
        self.0.read_exact(&mut body).await?;
        Ok(Message { kind, body })
    }

    /// Writes all of `bytes`.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Ends the writing side, with TLS's goodbye.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    /// Says the last words and closes, without losing them: what the peer still sends is read for a short time, since
    /// closing over unread bytes would reset the connection and drop the words.
    pub(crate) async fn farewell(mut self, words: &[u8]) {
        let said = tokio::time::timeout(FAREWELL, async {
            self.send(words).await?;
            self.0.shutdown().await?;
            let mut rest = [0u8; 4096];
            let mut left = FAREWELL_BYTES_MAX;
            while left > 0 {
                match self.0.read(&mut rest).await? {
                    0 => break,
                    bytes => left = left.saturating_sub(bytes),
                }
            }
            io::Result::Ok(())
        });
        if !matches!(said.await, Ok(Ok(()))) {
            tracing::debug!("a connection ended before it heard why");
        }
    }
}

/// Reads one start-up packet, its length field included; `None` when the peer left before its first byte.
///
/// # Errors
/// `InvalidData` for an impossible length; what the socket says.
pub(crate) async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0u8; 4];
    if stream.read(length.get_mut(..1).ok_or_else(|| invalid("no room"))?).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(length.get_mut(1..).ok_or_else(|| invalid("no room"))?).await?;
    let len = packet_len(&length).ok().flatten().ok_or_else(|| invalid("start-up packet has an impossible length"))?;
    let mut packet = length.to_vec();
    packet.resize(len, 0);
    stream.read_exact(packet.get_mut(4..).ok_or_else(|| invalid("no room"))?).await?;
    Ok(Some(packet))
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
