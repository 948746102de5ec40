//! Microseconds of CPU per record through the masker: a row of one column, and a command of 60 bytes; run with
//! `--release`.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use hpke::{Deserializable as _, Serializable as _};
use masker::{Masker, MaskerConfig, MaskerFactory, MaskerKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use schemas::framing::Framing;
use schemas::v1::{
    Attribution, Column, CommandContent, EnrichedFrame, Event, Facts, Frame, FrameKind, Protocol, RawFrame, Uuid,
};
use schemas::{Record as _, payload};
use stage::transform::{Context, Factory as _, Input, Out, Transform as _};

type X25519 = hpke::kem::X25519HkdfSha256;
const SESSION: [u8; 16] = [9; 16];
const KEY: [u8; 32] = [3; 32];
const ROUNDS: u32 = 300_000;

fn wrap(own: &MaskerKey) -> Vec<u8> {
    let public = <X25519 as hpke::Kem>::PublicKey::from_bytes(&own.public_key()).expect("a public key");
    let (encapsulated, sealed) = hpke::single_shot_seal::<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, X25519, _>(
        &hpke::OpModeS::Base,
        &public,
        payload::WRAP_INFO,
        &KEY,
        &SESSION,
        &mut rand::rng(),
    )
    .expect("wrapped");
    [encapsulated.to_bytes().to_vec(), sealed].concat()
}

fn value(wrapped: &[u8], kind: FrameKind, message: &str, facts: Facts, content: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("a key"));
    let mut sealed = content.to_vec();
    let aad = payload::aad(&SESSION, 7, kind.index());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(payload::nonce(7)), Aad::from(aad), &mut sealed)
        .expect("sealed");
    let mut frame = EnrichedFrame { attribution: Attribution::Attributed, ..EnrichedFrame::default() };
    frame.context.wrapped_key = wrapped.to_vec();
    frame.context.principal.issuer = "https://issuer.example.com".into();
    frame.context.principal.subject = "00u1a2b3c4d5e6f7g8".into();
    frame.context.principal.email = "ada@example.com".into();
    frame.context.principal.groups = vec!["engineering".into(), "dba".into()];
    frame.context.target.name = "orders-production".into();
    frame.context.database = "orders".into();
    frame.context.client_ip = "192.0.2.7".into();
    frame.context.application = "psql".into();
    frame.raw = RawFrame {
        session_id: Uuid(SESSION),
        sequence: 7,
        kind,
        protocol: Protocol::Postgres,
        last: true,
        message_type: message.to_owned(),
        facts: Some(facts),
        payload: sealed,
        ..RawFrame::default()
    };
    let mut value = Vec::new();
    Framing::single_object::<EnrichedFrame>().prefix(&mut value);
    frame.encode(&mut value);
    value
}

fn apply(masker: &mut Masker, out: &mut Out, value: &[u8]) {
    out.clear();
    let input = Input { offset: 0, timestamp_ms: 0, key: None, value: Some(value) };
    masker.apply(&Context { now_us: 0, wait_over: false }, input, out).expect("applied");
}

/// CPU time of this process, microseconds; wall time where it cannot be read.
fn cpu_us() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    stat.split(' ').next()?.parse::<f64>().ok().map(|ns| ns / 1000.0)
}

fn main() {
    let wrapped = wrap(&MaskerKey::from_bytes([7; 32]));
    let factory = MaskerFactory::new(MaskerKey::from_bytes([7; 32]), b"pseudonym", &MaskerConfig::default());
    let mut masker = factory.make(0);
    let mut out = Out::new(vec![Framing::single_object::<Frame>(), Framing::single_object::<Event>()]);
    let column = Column { name: "name".to_owned(), ..Column::default() };
    let row = [b"\0\x01\0\0\0\x0c".as_slice(), b"Ada Lovelace"].concat();
    let row = value(
        &wrapped,
        FrameKind::Message,
        "DataRow",
        Facts { columns: vec![column], statement_id: 3, ..Facts::default() },
        &row,
    );
    let statement = b"SELECT id, total FROM orders WHERE customer_id = 4711 LIMIT 9".to_vec();
    let content = CommandContent {
        statement_bytes: i64::try_from(statement.len()).unwrap_or(0),
        statement,
        ..CommandContent::default()
    };
    let facts = Facts {
        command_kind: "SELECT".into(),
        relations: vec!["orders".into()],
        transaction_status: "I".into(),
        ..Facts::default()
    };
    let command = value(&wrapped, FrameKind::Command, "", facts, &content.to_body());
    for (name, value) in [("row", &row), ("command", &command)] {
        for _ in 0..1000 {
            apply(&mut masker, &mut out, value);
        }
        let (wall, cpu) = (std::time::Instant::now(), cpu_us());
        for _ in 0..ROUNDS {
            apply(&mut masker, &mut out, value);
        }
        let wall = wall.elapsed().as_secs_f64() * 1e6;
        let cpu = cpu.zip(cpu_us()).map_or(wall, |(before, after)| after - before);
        println!("{name}: {:.2} us CPU, {:.2} us wall", cpu / f64::from(ROUNDS), wall / f64::from(ROUNDS));
    }
}
