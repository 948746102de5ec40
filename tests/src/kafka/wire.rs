//! Three requests of Kafka's protocol, spoken by hand: who is there, make a topic, has it leaders.
//!
//! Source: Kafka protocol guide; Metadata version 7 and `CreateTopics` version 3, both served by Kafka 2.1 and later.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const LIMIT: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u32 = 16 << 20;
const METADATA: (i16, i16) = (3, 7);
const CREATE_TOPICS: (i16, i16) = (19, 3);

/// How many brokers `addr` knows to be alive.
///
/// # Errors
/// When it does not answer.
pub fn brokers(addr: SocketAddr) -> Result<usize> {
    // An empty list of topics, none to be made.
    let answer = ask(addr, METADATA, &[0, 0, 0, 0, 0])?;
    let mut reader = Reader(&answer);
    reader.i32()?;
    usize::try_from(reader.i32()?).context("number of brokers")
}

/// Whether `topic` is known at `addr` with `partitions` partitions that all have a leader.
///
/// # Errors
/// When it does not answer.
pub fn topic_ready(addr: SocketAddr, topic: &str, partitions: i32) -> Result<bool> {
    let mut body = vec![0, 0, 0, 1];
    string(&mut body, topic)?;
    body.push(0);
    let answer = ask(addr, METADATA, &body)?;
    let mut reader = Reader(&answer);
    reader.i32()?;
    for _ in 0..reader.i32()? {
        reader.i32()?;
        reader.string()?;
        reader.i32()?;
        reader.string()?;
    }
    reader.string()?;
    reader.i32()?;
    if reader.i32()? != 1 || reader.i16()? != 0 {
        return Ok(false);
    }
    reader.string()?;
    reader.take(1)?;
    let count = reader.i32()?;
    let mut led = 0;
    for _ in 0..count {
        let error = reader.i16()?;
        reader.i32()?;
        let leader = reader.i32()?;
        reader.i32()?;
        for _ in 0..3 {
            for _ in 0..reader.i32()? {
                reader.i32()?;
            }
        }
        if error == 0 && leader >= 0 {
            led += 1;
        }
    }
    Ok(count == partitions && led == partitions)
}

/// Makes one topic.
///
/// # Errors
/// When the broker refuses: its code and text.
pub fn create_topic(
    addr: SocketAddr,
    topic: &str,
    partitions: i32,
    replicas: i16,
    settings: &[(&str, &str)],
) -> Result<()> {
    let mut body = vec![0, 0, 0, 1];
    string(&mut body, topic)?;
    body.extend(partitions.to_be_bytes());
    body.extend(replicas.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(i32::try_from(settings.len()).context("settings")?.to_be_bytes());
    for (name, value) in settings {
        string(&mut body, name)?;
        string(&mut body, value)?;
    }
    body.extend(15_000_i32.to_be_bytes());
    body.push(0);
    let answer = ask(addr, CREATE_TOPICS, &body)?;
    let mut reader = Reader(&answer);
    reader.i32()?;
    reader.i32()?;
    reader.string()?;
    let code = reader.i16()?;
    let text = reader.string()?;
    if code == 0 { Ok(()) } else { bail!("create topic {topic}: broker's error {code}: {text}") }
}

fn string(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend(i16::try_from(text.len()).context("string too long")?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Sends one request (key, version) on a connection of its own and returns the answer's body.
fn ask(addr: SocketAddr, (key, version): (i16, i16), body: &[u8]) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    message.extend(key.to_be_bytes());
    message.extend(version.to_be_bytes());
    message.extend(1_i32.to_be_bytes());
    string(&mut message, "testkit")?;
    message.extend_from_slice(body);
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT).with_context(|| format!("connect to {addr}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("set the read limit")?;
    stream.write_all(&u32::try_from(message.len()).context("request size")?.to_be_bytes()).context("send")?;
    stream.write_all(&message).context("send")?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).context("read the answer's size")?;
    let size = u32::from_be_bytes(size);
    if size > ANSWER_BYTES_MAX {
        bail!("answer of {size} bytes is over the limit");
    }
    let mut answer = vec![0; usize::try_from(size).context("answer size")?];
    stream.read_exact(&mut answer).context("read the answer")?;
    // The correlation id; there was one request only.
    Ok(answer.get(4..).context("answer too short")?.to_vec())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (head, rest) = self.0.split_at_checked(count).context("answer cut short")?;
        self.0 = rest;
        Ok(head)
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().context("two bytes")?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().context("four bytes")?))
    }

    /// A string, or "" for null.
    fn string(&mut self) -> Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or_default();
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}
