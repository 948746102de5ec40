//! What a client or a server can send: start-up packets, login messages, and whole conversations.

use ingest_proxy::protocol::postgres::codec::{Decoder, Limits, Step};
use ingest_proxy::protocol::postgres::facts::{Command, FrameHead, Observed, encode_command, encode_message};
use ingest_proxy::protocol::postgres::message::parse::{self, Authentication};
use ingest_proxy::protocol::postgres::message::{Side, startup};
use ingest_proxy::protocol::postgres::observe::{self, Observer, Sink};
use ingest_proxy::protocol::postgres::scram::Client;
use schemas::Record as _;
use schemas::v1::{RawFrame, Uuid};

/// Start-up packets: the length, then the packet.
pub(crate) fn startup(input: &[u8]) {
    if let Ok(Some(len)) = startup::packet_len(input)
        && let Some(packet) = input.get(..len)
        && let Ok(startup::Startup::Session(message)) = startup::Startup::read(packet)
    {
        assert!(message.minor_spoken() <= 2);
    }
}

/// Messages of the login phase, by a first byte that chooses.
pub(crate) fn login(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    match choice % 4 {
        0 => drop(Authentication::read(body)),
        1 => assert!(parse::sasl_mechanisms(body).count() <= body.len()),
        2 => {
            let client = Client::new("password", b"nonce");
            // The nonce of the proof continues ours, or there is no proof.
            if let Ok((proof, proved)) = client.prove(body) {
                assert!(proof.contains("r=bm9uY2U="), "the proof is for another nonce");
                assert!(proved.verify(body).is_err(), "a challenge is no proof of the server");
            }
        }
        _ => {
            if let Ok((name, value)) = parse::parameter_status(body) {
                assert!(name.len() + value.len() + 2 == body.len(), "a name and a value are the whole body");
            }
            if let Ok((_, key)) = parse::backend_key_data(body) {
                assert!(key.len() + 4 == body.len(), "the key is the rest of the body");
            }
        }
    }
}

/// Encodes what the observer says and reads it back.
#[derive(Default)]
struct Check {
    body: Vec<u8>,
    content: Vec<u8>,
}

fn head() -> FrameHead {
    FrameHead { event_id: Uuid([1; 16]), session_id: Uuid([2; 16]), sequence: 0, observed_at_us: 0, connection: 0 }
}

impl Sink for Check {
    fn message(&mut self, observed: &Observed<'_>) {
        self.body.clear();
        encode_message(&head(), observed, observed.content.bytes(), &mut self.body);
        RawFrame::from_body(&self.body).expect("a record reads back");
    }

    fn command(&mut self, command: &Command<'_>) {
        self.body.clear();
        self.content.clear();
        command.content.put(&mut self.content);
        encode_command(&head(), command, &self.content, &mut self.body);
        RawFrame::from_body(&self.body).expect("a record reads back");
    }
}

/// A conversation: turns of one byte of side and two of length, then that many bytes of stream.
pub(crate) fn session(input: &[u8]) {
    let mut observer = Observer::new(observe::Limits::default());
    let mut ends = [Side::Client, Side::Target].map(|side| (Decoder::new(side, Limits::default()), Vec::new()));
    let (mut rest, mut check, mut now_us) = (input, Check::default(), 0);
    while let Some((&[side, high, low], tail)) = rest.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        let (decoder, buffer) = &mut ends[usize::from(side & 1)];
        buffer.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            match decoder.next(&buffer[used..]) {
                Err(_) => return,
                Ok(Step::Need(want)) => {
                    assert!(want > buffer.len() - used, "the decoder asks for what it has");
                    break;
                }
                Ok(Step::Piece(piece)) => {
                    now_us += 1;
                    if side & 1 == 1 {
                        observer.response(&piece, now_us, &mut check);
                    } else if piece.over_limit || observer.request(&piece, now_us, &mut check).is_err() {
                        return;
                    }
                    used += piece.wire_len;
                }
            }
        }
        buffer.drain(..used);
    }
    observer.close(now_us, &mut check);
    assert_eq!(observer.outstanding(), 0, "a closed conversation waits for nothing");
}

fn packet(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = u32::try_from(body.len() + 4).expect("a short packet");
    [&len.to_be_bytes(), body.as_slice()].concat()
}

/// A session, an encryption request and a cancel.
pub(crate) fn startup_seeds() -> Vec<Vec<u8>> {
    vec![
        packet(&[&0x0003_0002u32.to_be_bytes(), b"user\0ada\0database\0app\0options\0-c geqo=off\0_pq_.x\0y\0\0"]),
        packet(&[&80_877_103u32.to_be_bytes()]),
        packet(&[&80_877_102u32.to_be_bytes(), &[0, 0, 0, 1, 2, 3, 4, 5]]),
    ]
}

/// One message of each kind.
pub(crate) fn login_seeds() -> Vec<Vec<u8>> {
    let texts: [(u8, &[u8]); 5] = [
        (0, b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
        (1, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        (2, b"r=bm9uY2U=server,s=c2FsdA==,i=4096"),
        (2, b"v=c2lnbmF0dXJl"),
        (3, b"server_version\x0018.1\0"),
    ];
    texts.into_iter().map(|(choice, text)| [&[choice], text].concat()).collect()
}

fn turn(side: u8, messages: &[(u8, &[u8])]) -> Vec<u8> {
    let bytes: Vec<u8> =
        messages.iter().flat_map(|(kind, body)| [&[*kind], packet(&[body]).as_slice()].concat()).collect();
    let len = u16::try_from(bytes.len()).expect("a short turn");
    [&[side], len.to_be_bytes().as_slice(), bytes.as_slice()].concat()
}

/// A simple query, the extended protocol, and a copy.
pub(crate) fn session_seeds() -> Vec<Vec<u8>> {
    let column = b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    let row = b"\0\x01\0\0\0\x011";
    vec![
        [
            turn(0, &[(b'Q', b"SELECT 1\0")]),
            turn(1, &[(b'T', column), (b'D', row), (b'C', b"SELECT 1\0"), (b'Z', b"I")]),
        ]
        .concat(),
        [
            turn(
                0,
                &[
                    (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
                    (b'B', b"\0s\0\0\0\0\x01\0\0\0\x011\0\0"),
                    (b'E', b"\0\0\0\0\0"),
                    (b'S', b""),
                ],
            ),
            turn(1, &[(b'1', b""), (b'2', b""), (b'D', row), (b'C', b"SELECT 1\0"), (b'Z', b"I")]),
        ]
        .concat(),
        [
            turn(0, &[(b'Q', b"COPY t FROM STDIN\0")]),
            turn(1, &[(b'G', b"\0\0\x01\0\0")]),
            turn(0, &[(b'd', b"1\n"), (b'c', b"")]),
            turn(1, &[(b'E', b"SERROR\0C22P02\0Mbad\0\0"), (b'Z', b"E")]),
        ]
        .concat(),
    ]
}
