//! Holds the generated codecs against apache-avro, the oracle, and against bytes kept for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]
#![allow(deprecated)] // the datum functions resolve the schema at each call: slow, and all that an oracle needs

use apache_avro::schema::{RecordSchema, Schema};
use apache_avro::types::Value;
use apache_avro::{from_avro_datum, to_avro_datum};
use proptest::prelude::*;
use proptest::test_runner::TestRng;
use schemas::{Record, v1};

/// A random value of `schema`, drawn from `rng`.
fn draw(schema: &Schema, names: &std::collections::HashMap<String, Schema>, rng: &mut TestRng) -> Value {
    let n = rng.next_u64();
    match schema {
        Schema::Boolean => Value::Boolean(n.is_multiple_of(2)),
        Schema::Int => Value::Int((n >> (n % 32)) as u32 as i32),
        Schema::Long => Value::Long((n >> (n % 64)) as i64),
        Schema::TimestampMicros => Value::TimestampMicros((n >> (n % 64)) as i64),
        Schema::String => Value::String("aé≠😀\u{0}'".chars().cycle().take((n % 40) as usize).collect()),
        Schema::Bytes => Value::Bytes((0..n % 300).map(|i| (n >> (i % 57)) as u8).collect()),
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, (0..fixed.size).map(|_| rng.next_u64() as u8).collect()),
        Schema::Enum(symbols) => {
            let index = (n % symbols.symbols.len() as u64) as usize;
            Value::Enum(index as u32, symbols.symbols[index].clone())
        }
        Schema::Array(array) => Value::Array((0..n % 4).map(|_| draw(&array.items, names, rng)).collect()),
        Schema::Union(union) => {
            let branch = (n % 2) as u32;
            Value::Union(branch, Box::new(draw(&union.variants()[branch as usize], names, rng)))
        }
        Schema::Null => Value::Null,
        Schema::Record(RecordSchema { fields, .. }) => {
            Value::Record(fields.iter().map(|field| (field.name.clone(), draw(&field.schema, names, rng))).collect())
        }
        Schema::Ref { name } => draw(&names[&name.to_string()], names, rng),
        other => panic!("{other:?} is not allowed in the contract"),
    }
}

fn named(schema: &Schema, names: &mut std::collections::HashMap<String, Schema>) {
    match schema {
        Schema::Record(record) => {
            names.insert(record.name.to_string(), schema.clone());
            record.fields.iter().for_each(|field| named(&field.schema, names));
        }
        Schema::Fixed(fixed) => drop(names.insert(fixed.name.to_string(), schema.clone())),
        Schema::Enum(symbols) => drop(names.insert(symbols.name.to_string(), schema.clone())),
        Schema::Array(array) => named(&array.items, names),
        Schema::Union(union) => union.variants().iter().for_each(|variant| named(variant, names)),
        _ => {}
    }
}

fn oracle<R: Record + PartialEq + Clone>(rounds: usize) {
    let schema = Schema::parse_str(R::SCHEMA).unwrap();
    // apache-avro 0.22 leaves `{"type":"long"}` where the specification's PRIMITIVES rule says `"long"`
    let simple = schema.canonical_form().replace(r#"{"type":"long"}"#, r#""long""#);
    let fingerprint = Schema::parse_str(&simple).unwrap().fingerprint::<apache_avro::rabin::Rabin>();
    assert_eq!(fingerprint.bytes, R::FINGERPRINT.to_le_bytes(), "{}: fingerprint", R::NAME);
    let mut names = std::collections::HashMap::new();
    named(&schema, &mut names);
    let mut rng = TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha);
    let mut reused = R::default();
    for _ in 0..rounds {
        let value = draw(&schema, &names, &mut rng);
        let bytes = to_avro_datum(&schema, value.clone()).unwrap();
        reused.decode(&bytes).unwrap_or_else(|error| panic!("{}: {error}", R::NAME));
        assert_eq!(reused.to_body(), bytes, "{}: encoded differently from apache-avro", R::NAME);
        assert!(reused == R::from_body(&bytes).unwrap(), "{}: a reused buffer decodes differently", R::NAME);
        assert_eq!(from_avro_datum(&schema, &mut bytes.as_slice(), None).unwrap(), value);
        // every shorter or longer body is refused
        for cut in [0, 1, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            assert!(cut == bytes.len() || R::from_body(&bytes[..cut]).is_err(), "{}: cut at {cut} accepted", R::NAME);
        }
        assert_eq!(R::from_body(&[bytes.as_slice(), &[0]].concat()).err(), Some(schemas::DecodeError::Trailing));
        // one changed byte: refused, or the canonical form of another value
        let at = (rng.next_u64() % bytes.len() as u64) as usize;
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (rng.next_u64() % 8);
        if let Ok(other) = R::from_body(&changed) {
            assert_eq!(other.to_body(), changed, "{}: decoding is no canonical gate", R::NAME);
        }
    }
}

#[test]
fn codecs_agree_with_apache_avro() {
    oracle::<v1::RawFrame>(200);
    oracle::<v1::EnrichedFrame>(200);
    oracle::<v1::Frame>(200);
    oracle::<v1::Event>(200);
    oracle::<v1::Session>(200);
    oracle::<v1::CommandContent>(200);
    oracle::<v1::SessionContent>(200);
    oracle::<v1::EnricherState>(200);
    oracle::<v1::MaskerState>(200);
    oracle::<v1::DeadLetter>(200);
    oracle::<v1::SealBody>(200);
    oracle::<v1::SealEnvelope>(200);
    oracle::<v1::ArchiveBody>(200);
    oracle::<v1::KeyBody>(200);
    oracle::<v1::HeadsBody>(200);
    oracle::<v1::IncidentBody>(200);
}

#[test]
fn content_is_not_printed() {
    let content = v1::CommandContent { statement: b"hunter2".to_vec(), ..Default::default() };
    assert_eq!(format!("{content:?}"), "CommandContent(hidden)");
}

#[test]
fn non_canonical_forms_are_refused() {
    use schemas::DecodeError::{Block, Branch, Length, Varint};
    use schemas::codec::Cursor;
    // over-long varint, 10-byte varint with high bits, negative array count, forged array count
    assert_eq!(Cursor::new(&[0x80, 0x00]).long(), Err(Varint));
    assert_eq!(Cursor::new(&[0xff; 10]).long(), Err(Varint));
    let max = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(Cursor::new(&max).long(), Ok(i64::MAX));
    assert_eq!(Cursor::new(&[0x01]).array(1), Err(Block));
    assert_eq!(Cursor::new(&max).array(1), Err(Length));
    assert_eq!(Cursor::new(&[0x02]).boolean(), Err(Branch));
    assert_eq!(Cursor::new(&[0x04]).bytes(), Err(Length));
}

/// Golden bytes of each record, kept for ever: `UPDATE_GOLDEN=1` writes those that lack, never replaces one.
#[test]
fn goldens_still_read() {
    fn golden<R: Record>() {
        let short = R::NAME.rsplit('.').next().unwrap();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1");
        let (bin, json) = (folder.join(format!("{short}.bin")), folder.join(format!("{short}.json")));
        let schema = Schema::parse_str(R::SCHEMA).unwrap();
        if !bin.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            let mut names = std::collections::HashMap::new();
            named(&schema, &mut names);
            let mut rng = TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha);
            let value = draw(&schema, &names, &mut rng);
            std::fs::write(&bin, to_avro_datum(&schema, value).unwrap()).unwrap();
        }
        let bytes =
            std::fs::read(&bin).unwrap_or_else(|_| panic!("{short}: golden bytes lack; run with UPDATE_GOLDEN=1"));
        assert_eq!(R::from_body(&bytes).unwrap().to_body(), bytes, "{short}");
        let value = from_avro_datum(&schema, &mut bytes.as_slice(), None).unwrap();
        let text = serde_json::to_string_pretty(&serde_json::Value::try_from(value).unwrap()).unwrap() + "\n";
        if !json.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&json, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&json).unwrap(), text, "{short}");
    }
    golden::<v1::RawFrame>();
    golden::<v1::EnrichedFrame>();
    golden::<v1::Frame>();
    golden::<v1::Event>();
    golden::<v1::Session>();
    golden::<v1::CommandContent>();
    golden::<v1::SessionContent>();
    golden::<v1::EnricherState>();
    golden::<v1::MaskerState>();
    golden::<v1::DeadLetter>();
    golden::<v1::SealBody>();
    golden::<v1::SealEnvelope>();
    golden::<v1::ArchiveBody>();
    golden::<v1::KeyBody>();
    golden::<v1::HeadsBody>();
    golden::<v1::IncidentBody>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    /// Arbitrary bytes never panic; what decodes is canonical.
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(value) = v1::RawFrame::from_body(&bytes) { prop_assert_eq!(value.to_body(), bytes.clone()); }
        if let Ok(value) = v1::Event::from_body(&bytes) { prop_assert_eq!(value.to_body(), bytes.clone()); }
        if let Ok(value) = v1::CommandContent::from_body(&bytes) { prop_assert_eq!(value.to_body(), bytes.clone()); }
        if let Ok((framing, body)) = schemas::framing::split(&bytes) {
            let mut out = Vec::new();
            framing.prefix(&mut out);
            out.extend_from_slice(body);
            prop_assert_eq!(out, bytes);
        }
    }
}
