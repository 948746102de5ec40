//! Nanoseconds per record of the generated codecs beside apache-avro, alternating in one run.
//! `cargo run --release -p schemas --example codec_speed`
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used, deprecated)]

use std::hint::black_box;
use std::time::Instant;

use schemas::{Record, v1};

const ROUNDS: u32 = 200_000;
const SLOW_ROUNDS: u32 = 4_000;

/// A typical frame: a row of one column, 266 bytes or so.
fn frame() -> v1::Frame {
    v1::Frame {
        event_id: v1::Uuid([7; 16]),
        session_id: v1::Uuid([9; 16]),
        sequence: 123_456,
        observed_at_us: 1_770_000_000_123_456,
        protocol: v1::Protocol::Postgres,
        direction: v1::Direction::ToClient,
        message_id: 123_000,
        last: true,
        message_type: "DataRow".into(),
        size_bytes: 96,
        command_id: 41_000,
        statement_id: -1,
        attribution: v1::Attribution::Attributed,
        principal_issuer: "https://login.example.com/realms/audit".into(),
        principal_subject: "alice".into(),
        target_name: "orders".into(),
        payload: vec![0x41; 92],
        payload_state: v1::PayloadState::Clear,
        mask_version: "2026-11-24.1".into(),
        ..v1::Frame::default()
    }
}

fn time(rounds: u32, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..rounds).for_each(|_| work());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

fn main() {
    let frame = frame();
    let body = frame.to_body();
    let schema = apache_avro::Schema::parse_str(v1::Frame::SCHEMA).unwrap();
    let value = apache_avro::from_avro_datum(&schema, &mut body.as_slice(), None).unwrap();
    let (mut out, mut reused) = (Vec::new(), v1::Frame::default());
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..5 {
        figures[0].push(time(ROUNDS, || {
            out.clear();
            black_box(&frame).encode(&mut out);
            black_box(&out);
        }));
        figures[1].push(time(ROUNDS, || reused.decode(black_box(&body)).unwrap()));
        figures[2]
            .push(time(SLOW_ROUNDS, || drop(black_box(apache_avro::to_avro_datum(&schema, value.clone()).unwrap()))));
        figures[3].push(time(SLOW_ROUNDS, || {
            drop(black_box(apache_avro::from_avro_datum(&schema, &mut black_box(body.as_slice()), None).unwrap()));
        }));
    }
    println!("body {} bytes; ns per record: min / median / max of {}", body.len(), figures[0].len());
    for (name, figures) in
        ["encode", "decode", "apache-avro encode", "apache-avro decode"].into_iter().zip(&mut figures)
    {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        println!("{name:20} {:8.0} / {:8.0} / {:8.0}", at(0), at(figures.len() / 2), at(figures.len() - 1));
    }
}
