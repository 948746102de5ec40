//! Bodies of every record: what decodes is the one canonical encoding of its value (I-08). The first byte chooses.

use schemas::framing::{Framing, split};
use schemas::layout::parse_object_name;
use schemas::{Record, v1};

fn body<R: Record + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(value) = R::from_body(bytes) {
        assert!(value.to_body() == bytes, "{} decodes what it does not encode", R::NAME);
    }
}

macro_rules! records {
    ($($record:ident),* $(,)?) => {
        const DECODERS: &[fn(&[u8])] = &[$(body::<v1::$record>),*];

        fn framed() -> Vec<Vec<u8>> {
            let mut number = 0;
            vec![$({
                let mut out = vec![number];
                v1::$record::default().encode(&mut out);
                number += 1;
                let _ = number;
                out
            }),*]
        }
    };
}

records!(
    ArchiveBody,
    CommandContent,
    DeadLetter,
    EnrichedFrame,
    EnricherState,
    Event,
    Frame,
    HeadsBody,
    IncidentBody,
    KeyBody,
    MaskerState,
    RawFrame,
    SealBody,
    SealEnvelope,
    Session,
    SessionContent,
);

/// One body, or with the highest numbers a framed value or an object's name.
pub(crate) fn decode(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match DECODERS.get(usize::from(*choice)) {
        Some(decode) => decode(bytes),
        None if choice % 2 == 0 => {
            if let Ok((framing, body)) = split(bytes) {
                let mut again = Vec::new();
                framing.prefix(&mut again);
                again.extend_from_slice(body);
                assert!(again == bytes, "a framed value is not its prefix and its body");
            }
        }
        None => {
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Some(name) = parse_object_name(text)
            {
                let end = format!("/p{}-{:012}.parquet", name.partition, name.first_seal);
                assert!(text.starts_with(name.table.as_str()) && text.ends_with(&end), "a name is not what was read");
            }
        }
    }
}

/// The default of every record, and a framed one.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = framed();
    let mut value = vec![0xfe];
    Framing::single_object::<v1::Frame>().prefix(&mut value);
    v1::Frame::default().encode(&mut value);
    seeds.push(value);
    seeds.push(b"\xfffames/dt=2026-01-01/hour=00/p0-000000000000.parquet".to_vec());
    seeds
}
