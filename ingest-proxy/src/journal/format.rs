//! Bytes of a journal segment, pure.
//!
//! Segment: header `SEALJRN1`, first index (u64), CRC-32 of the 16 bytes before it; then records back to back; the rest
//! of the preallocated file is zero. Record: length of the body (u32, never 0), CRC-32 of index and body, index (u64),
//! body. All big-endian. A record of length 0 is the end. The index rises by one per record across segments.

use std::ops::Range;

/// First bytes of a segment.
pub(super) const MAGIC: [u8; 8] = *b"SEALJRN1";
/// Bytes of a segment header.
pub(super) const SEGMENT_HEADER: usize = 20;
/// Bytes before a record's body.
pub(super) const RECORD_HEADER: usize = 16;
/// Longest body of a record, bytes: a 64 KiB chunk or a 256 KiB statement with its parameters fits many times.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// Appends a segment header.
pub(super) fn put_segment_header(out: &mut Vec<u8>, first_index: u64) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&first_index.to_be_bytes());
    let sum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_be_bytes());
}

/// Appends a record. The caller has checked the bound of the body.
pub(super) fn put_record(out: &mut Vec<u8>, index: u64, body: &[u8]) {
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&checksum(index, body).to_be_bytes());
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(body);
}

fn checksum(index: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// The body of one whole record, if it is the record at `index` and intact.
#[must_use]
pub(super) fn body(record: &[u8], index: u64) -> Option<&[u8]> {
    match self::record(record, 0, index) {
        Found::Body(range) => record.get(range),
        Found::End | Found::Broken => None,
    }
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By zeros or the end of the file, at this byte.
    Clean(usize),
    /// By something that is no record, at this byte: a torn tail in the newest segment, damage in any other.
    Broken(usize),
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Index of the first record.
    pub(super) first_index: u64,
    /// Places of the bodies, in order of their index.
    pub(super) bodies: Vec<Range<usize>>,
    /// How it ends.
    pub(super) ending: Ending,
}

/// Reads a segment; `None` when the header is not whole.
#[must_use]
pub(super) fn scan(bytes: &[u8]) -> Option<Scan> {
    let header = bytes.get(..SEGMENT_HEADER)?;
    let (head, sum) = header.split_last_chunk::<4>()?;
    let first_index = u64::from_be_bytes(*head.last_chunk::<8>()?);
    if !head.starts_with(&MAGIC) || crc32fast::hash(head) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut scan = Scan { first_index, bodies: Vec::new(), ending: Ending::Clean(SEGMENT_HEADER) };
    let (mut at, mut index) = (SEGMENT_HEADER, first_index);
    loop {
        match record(bytes, at, index) {
            Found::Body(body) => {
                at = body.end;
                index = index.saturating_add(1);
                scan.bodies.push(body);
            }
            Found::End => return Some(Scan { ending: Ending::Clean(at), ..scan }),
            Found::Broken => return Some(Scan { ending: Ending::Broken(at), ..scan }),
        }
    }
}

enum Found {
    Body(Range<usize>),
    End,
    Broken,
}

fn record(bytes: &[u8], at: usize, index: u64) -> Found {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(header) = rest.first_chunk::<RECORD_HEADER>() else {
        return if rest.iter().all(|byte| *byte == 0) { Found::End } else { Found::Broken };
    };
    let [a, b, c, d, e, f, g, h, number @ ..] = *header;
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len == 0 {
        // Only zeros may follow an end, so that damage to a length is never taken for the end.
        return if rest.iter().all(|byte| *byte == 0) { Found::End } else { Found::Broken };
    }
    let start = at + RECORD_HEADER;
    match bytes.get(start..start + len.min(BODY_BYTES_MAX + 1)) {
        Some(body)
            if len <= BODY_BYTES_MAX
                && u64::from_be_bytes(number) == index
                && checksum(index, body) == u32::from_be_bytes([e, f, g, h]) =>
        {
            Found::Body(start..start + len)
        }
        _ => Found::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(bodies: &[Vec<u8>], pad: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_segment_header(&mut out, 40);
        for (index, body) in (40u64..).zip(bodies) {
            put_record(&mut out, index, body);
        }
        out.resize(out.len() + pad, 0);
        out
    }

    proptest! {
        /// Damage of any one byte is named, or the bodies before it are exactly what was written.
        #[test]
        fn damage_is_named(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..8),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let whole = segment(&bodies, 64);
            let read = scan(&whole).unwrap();
            prop_assert_eq!(read.bodies.len(), bodies.len());
            prop_assert!(matches!(read.ending, Ending::Clean(_)));
            let mut bad = whole.clone();
            let place = at.index(bad.len());
            bad[place] ^= flip;
            match scan(&bad) {
                None => prop_assert!(place < SEGMENT_HEADER),
                Some(read) => {
                    prop_assert!(matches!(read.ending, Ending::Broken(_)));
                    for (range, body) in read.bodies.iter().zip(&bodies) {
                        prop_assert_eq!(&bad[range.clone()], body.as_slice());
                    }
                }
            }
        }

        #[test]
        fn a_cut_keeps_the_whole_records_before_it(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..8),
            at in any::<prop::sample::Index>(),
        ) {
            let whole = segment(&bodies, 0);
            let cut = &whole[..at.index(whole.len())];
            if let Some(read) = scan(cut) {
                let end = read.bodies.last().map_or(SEGMENT_HEADER, |range| range.end);
                let next = bodies.get(read.bodies.len()).map_or(usize::MAX, |body| RECORD_HEADER + body.len());
                prop_assert!(cut.len() - end < next);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut with_header = Vec::new();
            put_segment_header(&mut with_header, 0);
            with_header.extend_from_slice(&bytes);
            prop_assert!(scan(&with_header).is_some());
            prop_assert!(scan(&bytes).is_none() || bytes.starts_with(&MAGIC));
        }
    }
}
