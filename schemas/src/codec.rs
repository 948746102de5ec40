//! Avro binary primitives, strict form only (Avro 1.12 specification, "Binary Encoding").
//!
//! Refused although legal Avro: over-long varints, arrays in several blocks or with byte sizes. So each value
//! has exactly one encoding, and decoding is the canonical gate.

/// Why a body is not the canonical encoding of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends inside a value.
    #[error("body ends inside a value")]
    Short,
    /// Bytes follow the last field.
    #[error("bytes follow the last field")]
    Trailing,
    /// A varint is over-long or does not fit its type.
    #[error("varint is over-long or out of range")]
    Varint,
    /// A length or count is negative or larger than the rest of the body.
    #[error("length is negative or passes the end of the body")]
    Length,
    /// A boolean byte is neither 0 nor 1, or a union branch does not exist.
    #[error("boolean or union branch out of range")]
    Branch,
    /// An enum index has no symbol.
    #[error("enum index has no symbol")]
    Symbol,
    /// A string is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
    /// An array is not one positive block and an end mark.
    #[error("array is not in one block")]
    Block,
}

/// Appends a long: zigzag, then base-128 varint.
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if rest < 0x80 {
        out.push(low_byte(rest));
        return;
    }
    let mut buffer = [0u8; 10];
    let mut used = 0;
    for slot in &mut buffer {
        used += 1;
        if rest < 0x80 {
            *slot = low_byte(rest);
            break;
        }
        *slot = low_byte(rest) | 0x80;
        rest >>= 7;
    }
    out.extend_from_slice(buffer.get(..used).unwrap_or(&buffer));
}

#[inline]
fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Appends a length as a long.
#[inline]
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    put_long(out, i64::try_from(len).unwrap_or(i64::MAX));
}

/// Appends bytes or a string: length, then the bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_len(out, value.len());
    out.extend_from_slice(value);
}

/// Reads values off the front of a body.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `body`.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Succeeds when everything was read.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Takes `len` raw bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes a fixed of `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes a long in its shortest form.
    ///
    /// # Errors
    /// [`DecodeError::Varint`], [`DecodeError::Short`].
    #[inline]
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(unzigzag(u64::from(first)));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7u32;
        loop {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return if byte == 0 { Err(DecodeError::Varint) } else { Ok(unzigzag(value)) };
            }
            shift += 7;
            if shift > 63 {
                return Err(DecodeError::Varint);
            }
        }
    }

    /// Takes an int in its shortest form.
    ///
    /// # Errors
    /// [`DecodeError::Varint`], [`DecodeError::Short`].
    #[inline]
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        i32::try_from(self.long()?).map_err(|_| DecodeError::Varint)
    }

    /// Takes a boolean.
    ///
    /// # Errors
    /// [`DecodeError::Branch`], [`DecodeError::Short`].
    #[inline]
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Branch),
        }
    }

    /// Takes the branch of a `[null, T]` union: true when a value follows.
    ///
    /// # Errors
    /// [`DecodeError::Branch`], [`DecodeError::Short`].
    #[inline]
    pub fn some(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            2 => Ok(true),
            _ => Err(DecodeError::Branch),
        }
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// [`DecodeError::Length`], [`DecodeError::Varint`], [`DecodeError::Short`].
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.long()?).map_err(|_| DecodeError::Length)?;
        if len > self.rest.len() {
            return Err(DecodeError::Length);
        }
        self.take(len)
    }

    /// Takes a string.
    ///
    /// # Errors
    /// [`DecodeError::Utf8`] and those of [`Cursor::bytes`].
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Utf8)
    }

    /// Takes the count that opens an array; 0 for an empty one, whose end mark this was.
    /// `item_min` is the least number of bytes of an item: it bounds what a forged count can allocate.
    ///
    /// # Errors
    /// [`DecodeError::Block`], [`DecodeError::Length`], [`DecodeError::Varint`], [`DecodeError::Short`].
    #[inline]
    pub fn array(&mut self, item_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.long()?).map_err(|_| DecodeError::Block)?;
        if count > self.rest.len() / item_min.max(1) {
            return Err(DecodeError::Length);
        }
        Ok(count)
    }

    /// Takes the end mark of a non-empty array.
    ///
    /// # Errors
    /// [`DecodeError::Block`] when a second block follows.
    #[inline]
    pub fn array_end(&mut self) -> Result<(), DecodeError> {
        if self.byte()? == 0 { Ok(()) } else { Err(DecodeError::Block) }
    }
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}
