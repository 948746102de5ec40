//! Nanoseconds per message of codec, observer and record encoding, on conversations like those of `pgbench -S`.
//!
//! `cargo run --release -p ingest-proxy --example observe_speed [transactions]`; one thread, no I/O; and
//! the same encrypted.
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use ingest_proxy::encrypt::{MaskerKey, SessionCipher, derive_key_pair};
use ingest_proxy::protocol::postgres::codec::{self, Decoder, Step};
use ingest_proxy::protocol::postgres::facts::{Command, FrameHead, Observed, encode_command, encode_message};
use ingest_proxy::protocol::postgres::message::{Side, build};
use ingest_proxy::protocol::postgres::observe::{Limits, Observer, Sink};
use schemas::v1::{FrameKind, Uuid};

/// Encodes every record into one buffer, as the proxy does before it encrypts and journals.
struct Records {
    head: FrameHead,
    out: Vec<u8>,
    content: Vec<u8>,
    messages: u64,
    commands: u64,
    bytes: u64,
    cipher: Option<SessionCipher>,
    payload: Vec<u8>,
}

impl Records {
    /// What a record carries: ciphertext, or the content itself.
    fn payload(&mut self, kind: FrameKind, content: &[u8]) {
        match &mut self.cipher {
            Some(cipher) => {
                if let Err(error) = cipher.seal(self.head.sequence, kind, content, &mut self.payload) {
                    println!("not encrypted: {error}");
                }
            }
            None => {
                self.payload.clear();
                self.payload.extend_from_slice(content);
            }
        }
    }

    fn count(&mut self) {
        self.head.sequence += 1;
        self.bytes += black_box(&self.out).len() as u64;
    }
}

impl Sink for Records {
    fn message(&mut self, observed: &Observed<'_>) {
        self.out.clear();
        self.payload(FrameKind::Message, observed.content.bytes());
        encode_message(&self.head, observed, &self.payload, &mut self.out);
        self.messages += 1;
        self.count();
    }

    fn command(&mut self, command: &Command<'_>) {
        self.content.clear();
        self.out.clear();
        command.content.put(&mut self.content);
        let content = std::mem::take(&mut self.content);
        self.payload(FrameKind::Command, &content);
        self.content = content;
        encode_command(&self.head, command, &self.payload, &mut self.out);
        self.commands += 1;
        self.count();
    }
}

fn row_description(out: &mut Vec<u8>) {
    build::message(out, b'T', |out| {
        out.extend_from_slice(b"\0\x01abalance\0\0\0\x40\0\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0");
    });
}

fn answer(out: &mut Vec<u8>) {
    row_description(out);
    build::message(out, b'D', |out| out.extend_from_slice(b"\0\x01\0\0\0\x05-1234"));
    build::message(out, b'C', |out| out.extend_from_slice(b"SELECT 1\0"));
    build::ready_for_query(out, b'I');
}

fn simple(number: u64) -> (Vec<u8>, Vec<u8>) {
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    let aid = number * 7919 % 100_000 + 1;
    build::query(&mut asked, format!("SELECT abalance FROM pgbench_accounts WHERE aid = {aid};").as_bytes());
    answer(&mut told);
    (asked, told)
}

fn prepared(number: u64) -> (Vec<u8>, Vec<u8>) {
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    if number == 0 {
        build::message(&mut asked, b'P', |out| {
            out.extend_from_slice(b"P_0\0SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0\0\0");
        });
        build::sync(&mut asked);
        build::message(&mut told, b'1', |_| {});
        build::ready_for_query(&mut told, b'I');
    }
    let aid = (number * 7919 % 100_000 + 1).to_string();
    build::message(&mut asked, b'B', |out| {
        out.extend_from_slice(b"\0P_0\0\0\0\0\x01");
        out.extend_from_slice(&u32::try_from(aid.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(aid.as_bytes());
        out.extend_from_slice(b"\0\x01\0\0");
    });
    build::message(&mut asked, b'D', |out| out.extend_from_slice(b"P\0"));
    build::message(&mut asked, b'E', |out| out.extend_from_slice(b"\0\0\0\0\0"));
    build::sync(&mut asked);
    build::message(&mut told, b'2', |_| {});
    answer(&mut told);
    (asked, told)
}

fn feed(observer: &mut Observer, decoder: &mut Decoder, side: Side, mut bytes: &[u8], now_us: i64, sink: &mut Records) {
    while let Ok(Step::Piece(piece)) = decoder.next(bytes) {
        match side {
            Side::Client => {
                if let Err(error) = observer.request(&piece, now_us, sink) {
                    println!("not observed: {error}");
                    return;
                }
            }
            Side::Target => observer.response(&piece, now_us, sink),
        }
        bytes = bytes.get(piece.wire_len..).unwrap_or_default();
    }
}

fn measure(name: &str, turns: &[(Vec<u8>, Vec<u8>)], encrypted: bool) {
    let head =
        FrameHead { event_id: Uuid([1; 16]), session_id: Uuid([2; 16]), sequence: 0, observed_at_us: 1, connection: 0 };
    let mut best = f64::MAX;
    for _ in 0..5 {
        let (_, public) = derive_key_pair(&[1; 32]);
        let cipher = MaskerKey::new("k", &public).and_then(|key| SessionCipher::new(head.session_id, &key));
        let mut sink = Records {
            head,
            out: Vec::new(),
            content: Vec::new(),
            messages: 0,
            commands: 0,
            bytes: 0,
            cipher: cipher.ok().filter(|_| encrypted),
            payload: Vec::new(),
        };
        let mut observer = Observer::new(Limits::default());
        let mut client = Decoder::new(Side::Client, codec::Limits::default());
        let mut target = Decoder::new(Side::Target, codec::Limits::default());
        let start = Instant::now();
        for (now_us, (asked, told)) in (1i64..).zip(turns) {
            feed(&mut observer, &mut client, Side::Client, asked, now_us, &mut sink);
            feed(&mut observer, &mut target, Side::Target, told, now_us, &mut sink);
        }
        let seconds = start.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // Counts far below 2^53.
        let (messages, commands, bytes) = (sink.messages as f64, sink.commands as f64, sink.bytes as f64);
        let each = seconds * 1e9 / messages;
        if each < best {
            best = each;
            println!(
                "{name:>8}: {each:6.0} ns per message, {:9.0} messages/s, {:8.0} commands/s, {:5.0} record bytes per message",
                messages / seconds,
                commands / seconds,
                bytes / messages,
            );
        }
    }
}

fn main() {
    let count = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(200_000);
    for encrypted in [false, true] {
        println!("{}", if encrypted { "encrypted" } else { "not encrypted" });
        measure("simple", &(0..count).map(simple).collect::<Vec<_>>(), encrypted);
        measure("prepared", &(0..count).map(prepared).collect::<Vec<_>>(), encrypted);
    }
}
