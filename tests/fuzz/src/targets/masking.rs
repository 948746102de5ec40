//! A payload of any bytes under facts of any shape: masked whole or in part, one record out for one in, the same
//! each time (I-12).

use hpke::{Deserializable as _, Serializable as _};
use masker::{Masker, MaskerConfig, MaskerFactory, MaskerKey};
use schemas::framing::{Framing, split};
use schemas::v1::{
    Attribution, Column, EnrichedFrame, Event, Facts, Frame, FrameKind, ParameterFact, Protocol, RawFrame, Uuid,
};
use schemas::{Record as _, payload};
use stage::transform::{Context, Factory as _, Input, Out, Transform as _};

type X25519 = hpke::kem::X25519HkdfSha256;
const SESSION: [u8; 16] = [9; 16];
const KEY: [u8; 32] = [3; 32];
/// Message types with a structure of their own; the input's first byte chooses.
const TYPES: [&str; 12] = [
    "Query",
    "Parse",
    "Bind",
    "DataRow",
    "CopyData",
    "ErrorResponse",
    "NoticeResponse",
    "NotificationResponse",
    "CommandComplete",
    "FunctionCall",
    "RowDescription",
    "Unknown(0x01)",
];

fn wrap(own: &MaskerKey) -> Vec<u8> {
    let public = <X25519 as hpke::Kem>::PublicKey::from_bytes(&own.public_key()).expect("read a public key");
    let (encapsulated, sealed) = hpke::single_shot_seal::<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, X25519, _>(
        &hpke::OpModeS::Base,
        &public,
        payload::WRAP_INFO,
        &KEY,
        &SESSION,
        &mut rand::rng(),
    )
    .expect("wrap a key");
    [encapsulated.to_bytes().to_vec(), sealed].concat()
}

fn seal(sequence: i64, content: &[u8]) -> Vec<u8> {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    if content.is_empty() {
        return Vec::new();
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("take a key"));
    let mut sealed = content.to_vec();
    let aad = payload::aad(&SESSION, sequence, FrameKind::Message.index());
    let nonce = Nonce::assume_unique_for_key(payload::nonce(sequence));
    key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).expect("seal a payload");
    sealed
}

struct Bench {
    masker: Masker,
    out: Out,
    sequence: i64,
    wrapped: Vec<u8>,
}

impl Bench {
    fn new(factory: &MaskerFactory, wrapped: &[u8]) -> Self {
        let out = Out::new(vec![Framing::single_object::<Frame>(), Framing::single_object::<Event>()]);
        Self { masker: factory.make(0), out, sequence: 0, wrapped: wrapped.to_vec() }
    }

    fn message(&mut self, message: &str, facts: &Facts, content: &[u8]) -> Option<Frame> {
        let mut frame = EnrichedFrame { attribution: Attribution::Attributed, ..EnrichedFrame::default() };
        frame.context.wrapped_key.clone_from(&self.wrapped);
        frame.raw = RawFrame {
            session_id: Uuid(SESSION),
            sequence: self.sequence,
            kind: FrameKind::Message,
            protocol: Protocol::Postgres,
            last: true,
            message_type: message.to_owned(),
            facts: Some(facts.clone()),
            payload: seal(self.sequence, content),
            ..RawFrame::default()
        };
        self.sequence += 1;
        let mut value = Vec::new();
        Framing::single_object::<EnrichedFrame>().prefix(&mut value);
        frame.encode(&mut value);
        self.out.clear();
        let ctx = Context { now_us: 0, wait_over: false };
        let input = Input { offset: 0, timestamp_ms: 0, key: None, value: Some(&value) };
        self.masker.apply(&ctx, input, &mut self.out).expect("a message is never refused");
        let record = self.out.get(0)?.value?;
        Frame::from_body(split(record).expect("read the prefix").1).ok()
    }
}

/// Type, number of columns and formats, then the payload.
pub(crate) fn apply(input: &[u8]) {
    thread_local!(static MADE: (MaskerFactory, Vec<u8>) = {
        let key = || MaskerKey::from_bytes([7; 32]);
        (MaskerFactory::new(key(), b"pseudonym", &MaskerConfig::default()), wrap(&key()))
    });
    let Some((&[kind, shape], content)) = input.split_first_chunk::<2>() else { return };
    let message = TYPES[usize::from(kind) % TYPES.len()];
    let names = ["id", "password", "note", "token"];
    let count = usize::from(shape & 3) + 1;
    let format = i32::from(shape >> 2 & 1);
    let facts = Facts {
        columns: names
            .iter()
            .take(count)
            .map(|name| Column { name: (*name).to_owned(), format, ..Column::default() })
            .collect(),
        parameters: names
            .iter()
            .take(count)
            .map(|name| ParameterFact { name: (*name).to_owned(), format, ..ParameterFact::default() })
            .collect(),
        copy_format: ["text", "csv", "binary", ""][usize::from(shape >> 3 & 3)].to_owned(),
        ..Facts::default()
    };
    MADE.with(|(factory, wrapped)| {
        let once = Bench::new(factory, wrapped).message(message, &facts, content);
        let again = Bench::new(factory, wrapped).message(message, &facts, content);
        assert!(once == again, "the same state and input gave two outputs");
    });
}

/// Statements and rows with something to mask.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let row = b"\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bc";
    let texts: [(u8, &[u8]); 5] = [
        (0, b"ALTER ROLE ada PASSWORD 'word'\0"),
        (1, b"s\0SELECT 'x' /* c */ \0\x00\x00"),
        (3, row),
        (4, b"1\tword\tnote\n"),
        (5, b"SERROR\0C23505\0Mduplicate key\0DKey (email)=(a@b.example) already exists.\0\0"),
    ];
    texts.into_iter().map(|(kind, text)| [&[kind, 1], text].concat()).collect()
}
