//! A segment: the records one transaction wrote to one partition, as one value of the store.
//!
//! One value per transaction and partition, not one per record, is what makes the bus fast whatever the
//! store. Layout, little endian: crc32 of all that follows, version, record count, base offset, base
//! timestamp, then per record offset delta, timestamp delta, key length, value length (-1 for null), bytes.

use std::borrow::Cow;

/// Bytes before the first record.
const HEADER: usize = 28;
/// Bytes of a record besides key and value.
pub(super) const RECORD_OVERHEAD: usize = 16;
const VERSION: u32 = 1;

/// One record inside a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

/// A segment being written. Offsets and time are set by [`Builder::seal`], at commit.
#[derive(Debug, Clone)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u32,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEADER], count: 0 }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Appends a record whose offset is the next of a dense run.
    pub(super) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<()> {
        self.push_at(self.count, 0, key, value)
    }

    /// Appends a record at `delta` after the base offset, `later_ms` after the base timestamp.
    /// `None` when a length does not fit; the builder is then unchanged.
    pub(super) fn push_at(
        &mut self,
        delta: u32,
        later_ms: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Option<()> {
        let key_len = length(key)?;
        let value_len = length(value)?;
        let count = self.count.checked_add(1)?;
        self.bytes.extend_from_slice(&delta.to_le_bytes());
        self.bytes.extend_from_slice(&later_ms.to_le_bytes());
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&value_len.to_le_bytes());
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.count = count;
        Some(())
    }

    /// Writes offset, time and checksum; the bytes to store. May be called again with other values.
    pub(super) fn seal(&mut self, base_offset: i64, timestamp_ms: i64) -> &[u8] {
        let mut header = [0u8; HEADER];
        put(&mut header, 4, &VERSION.to_le_bytes());
        put(&mut header, 8, &self.count.to_le_bytes());
        put(&mut header, 12, &base_offset.to_le_bytes());
        put(&mut header, 20, &timestamp_ms.to_le_bytes());
        put(&mut self.bytes, 0, &header);
        let crc = crc32fast::hash(self.bytes.get(4..).unwrap_or_default());
        put(&mut self.bytes, 0, &crc.to_le_bytes());
        &self.bytes
    }
}

fn length(part: Option<&[u8]>) -> Option<i32> {
    part.map_or(Some(-1), |bytes| i32::try_from(bytes.len()).ok())
}

fn put(target: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = target.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

/// A checked segment being read.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    rest: &'a [u8],
    left: u32,
    base_offset: i64,
    timestamp_ms: i64,
}

impl<'a> Segment<'a> {
    /// Checks checksum, version and base offset. The error says what is wrong, without content.
    pub(super) fn open(bytes: &'a [u8], base_offset: i64) -> Result<Self, Cow<'static, str>> {
        let mut at = Cursor(bytes);
        let crc = at.u32().ok_or("segment shorter than its header")?;
        if crc32fast::hash(at.0) != crc {
            return Err("segment checksum does not match".into());
        }
        let version = at.u32().ok_or("segment shorter than its header")?;
        let left = at.u32().ok_or("segment shorter than its header")?;
        let base = at.i64().ok_or("segment shorter than its header")?;
        let timestamp_ms = at.i64().ok_or("segment shorter than its header")?;
        if version != VERSION {
            return Err(format!("segment version {version} is not known").into());
        }
        if base != base_offset {
            return Err(format!("segment of offset {base} is stored at offset {base_offset}").into());
        }
        Ok(Self { rest: at.0, left, base_offset, timestamp_ms })
    }

    /// Time of the segment's first record.
    pub(super) fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }
}

impl<'a> Iterator for Segment<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut at = Cursor(self.rest);
        let delta = at.u32()?;
        let later = at.u32()?;
        let key_len = at.u32()?;
        let value_len = at.u32()?;
        let key = at.part(key_len)?;
        let value = at.part(value_len)?;
        self.rest = at.0;
        Some(Entry {
            offset: self.base_offset.saturating_add(i64::from(delta)),
            timestamp_ms: self.timestamp_ms.saturating_add(i64::from(later)),
            key,
            value,
        })
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
    /// `len` is the two's complement form of an `i32`: all ones is null.
    fn part(&mut self, len: u32) -> Option<Option<&'a [u8]>> {
        if len == u32::MAX {
            return Some(None);
        }
        let (head, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

    proptest! {
        #[test]
        fn what_is_sealed_reads_back(pairs in proptest::collection::vec(any::<Pair>(), 0..20), base in 0i64..1 << 60) {
            let mut builder = Builder::new();
            for (key, value) in &pairs {
                builder.push(key.as_deref(), value.as_deref()).unwrap();
            }
            let bytes = builder.seal(base, 77).to_vec();
            let read: Vec<_> = Segment::open(&bytes, base).unwrap().collect();
            prop_assert_eq!(read.len(), pairs.len());
            for (index, (entry, (key, value))) in read.iter().zip(&pairs).enumerate() {
                prop_assert_eq!(entry.offset, base + i64::try_from(index).unwrap());
                prop_assert_eq!(entry.timestamp_ms, 77);
                prop_assert_eq!(entry.key, key.as_deref());
                prop_assert_eq!(entry.value, value.as_deref());
            }
        }

        #[test]
        fn a_changed_byte_is_found(at in 0usize..60, flip in 1u8..) {
            let mut builder = Builder::new();
            builder.push(Some(b"key"), Some(b"a value of some length")).unwrap();
            let mut bytes = builder.seal(5, 6).to_vec();
            let index = at % bytes.len();
            bytes[index] ^= flip;
            prop_assert!(Segment::open(&bytes, 5).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(segment) = Segment::open(&bytes, 0) {
                prop_assert!(segment.count() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_segment_at_the_wrong_offset_is_refused() {
        let mut builder = Builder::new();
        builder.push(None, None).unwrap();
        let bytes = builder.seal(5, 6).to_vec();
        assert!(Segment::open(&bytes, 6).unwrap_err().contains("offset 5"));
    }
}
