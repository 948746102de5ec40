//! A masker on its own, and records as the proxy and the enricher write them.
#![allow(unreachable_pub, dead_code)] // each suite uses its part of it

use hpke::{Deserializable as _, Serializable as _};
use masker::{MaskerConfig, MaskerFactory, MaskerKey};
use schemas::framing::{Framing, split};
use schemas::v1::*;
use schemas::{Record as _, payload};
use stage::transform::{Context, Factory as _, Input, Out, Transform as _};

pub type X25519 = hpke::kem::X25519HkdfSha256;
pub const SESSION: [u8; 16] = [9; 16];
pub const KEY: [u8; 32] = [3; 32];

pub fn wrap(own: &MaskerKey) -> Vec<u8> {
    let public = <X25519 as hpke::Kem>::PublicKey::from_bytes(&own.public_key()).unwrap();
    let (encapsulated, sealed) = hpke::single_shot_seal::<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, X25519, _>(
        &hpke::OpModeS::Base,
        &public,
        payload::WRAP_INFO,
        &KEY,
        &SESSION,
        &mut rand::rng(),
    )
    .unwrap();
    [encapsulated.to_bytes().to_vec(), sealed].concat()
}

pub fn seal(sequence: i64, kind: FrameKind, content: &[u8]) -> Vec<u8> {
    use ring::aead::*;
    if content.is_empty() {
        return Vec::new();
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
    let mut sealed = content.to_vec();
    let aad = payload::aad(&SESSION, sequence, kind.index());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(payload::nonce(sequence)), Aad::from(aad), &mut sealed)
        .unwrap();
    sealed
}

pub struct Bench {
    masker: masker::Masker,
    wrapped: Vec<u8>,
    pub sequence: i64,
    out: Out,
}

impl Bench {
    pub fn new() -> Self {
        let wrapped = wrap(&MaskerKey::from_bytes([7; 32]));
        let factory = MaskerFactory::new(MaskerKey::from_bytes([7; 32]), b"pseudonym", &MaskerConfig::default());
        let out = Out::new(vec![
            Framing::single_object::<Frame>(),
            Framing::single_object::<Event>(),
            Framing::single_object::<MaskerState>(),
        ]);
        let mut bench = Self { masker: factory.make(0), wrapped, sequence: 0, out };
        bench.send(FrameKind::SessionOpened, "", None, &[]);
        bench
    }

    /// The body written, framing cut off.
    pub fn send(&mut self, kind: FrameKind, message: &str, facts: Option<Facts>, content: &[u8]) -> Vec<u8> {
        self.part(kind, message, facts, content, (0, true))
    }

    /// The same for one chunk: its number, and whether it is the last.
    pub fn part(
        &mut self,
        kind: FrameKind,
        message: &str,
        facts: Option<Facts>,
        content: &[u8],
        (chunk, last): (i32, bool),
    ) -> Vec<u8> {
        let mut frame = EnrichedFrame { attribution: Attribution::Attributed, ..EnrichedFrame::default() };
        frame.context.wrapped_key = self.wrapped.clone();
        frame.raw = RawFrame {
            session_id: Uuid(SESSION),
            sequence: self.sequence,
            kind,
            protocol: Protocol::Postgres,
            chunk,
            last,
            message_type: message.to_owned(),
            facts,
            payload: seal(self.sequence, kind, content),
            ..RawFrame::default()
        };
        self.sequence += 1;
        self.apply(&frame)
    }

    pub fn apply(&mut self, frame: &EnrichedFrame) -> Vec<u8> {
        let mut value = Vec::new();
        Framing::single_object::<EnrichedFrame>().prefix(&mut value);
        frame.encode(&mut value);
        self.out.clear();
        let ctx = Context { now_us: 0, wait_over: false };
        self.masker
            .apply(&ctx, Input { offset: 0, timestamp_ms: 0, key: None, value: Some(&value) }, &mut self.out)
            .unwrap();
        assert_eq!(self.out.len(), 1);
        split(self.out.get(0).unwrap().value.unwrap()).unwrap().1.to_vec()
    }

    /// What the end of a transaction writes to the state topic: keys and values.
    pub fn flush(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.out.clear();
        self.masker.flush(&Context { now_us: 0, wait_over: false }, &mut self.out);
        self.out.iter().map(|record| (record.key.to_vec(), record.value.map(<[u8]>::to_vec))).collect()
    }

    /// Ends the transaction, and goes on with a new masker that knows only what was written.
    pub fn restart(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let state = self.flush();
        let factory = MaskerFactory::new(MaskerKey::from_bytes([7; 32]), b"pseudonym", &MaskerConfig::default());
        self.masker = factory.make(0);
        for (key, value) in &state {
            self.masker.restore(key, value.as_deref());
        }
        state
    }

    pub fn message(&mut self, message: &str, facts: Option<Facts>, content: &[u8]) -> Frame {
        Frame::from_body(&self.send(FrameKind::Message, message, facts, content)).unwrap()
    }

    pub fn chunk(&mut self, message: &str, facts: Option<Facts>, content: &[u8], place: (i32, bool)) -> Frame {
        Frame::from_body(&self.part(FrameKind::Message, message, facts, content, place)).unwrap()
    }

    pub fn command(&mut self, content: &CommandContent, facts: Facts) -> Event {
        Event::from_body(&self.send(FrameKind::Command, "", Some(facts), &content.to_body())).unwrap()
    }
}

pub fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.payload).into_owned()
}

pub fn row(values: &[&[u8]]) -> Vec<u8> {
    let mut out = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        out.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
        out.extend_from_slice(value);
    }
    out
}

pub fn columns(names: &[&str]) -> Facts {
    let columns = names.iter().map(|name| Column { name: (*name).to_owned(), ..Column::default() }).collect();
    Facts { columns, copy_format: "text".to_owned(), ..Facts::default() }
}
