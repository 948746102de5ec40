//! Fields and lists of a message body, read off its front.

use super::super::MessageError;

/// Reads fields off the front of a body, big-endian.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
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

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`MessageError::Short`].
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(MessageError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(MessageError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes a byte.
    ///
    /// # Errors
    /// [`MessageError::Short`].
    #[inline]
    pub fn byte(&mut self) -> Result<u8, MessageError> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    /// Takes an Int16.
    ///
    /// # Errors
    /// [`MessageError::Short`].
    #[inline]
    pub fn int16(&mut self) -> Result<i16, MessageError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Takes an Int16 that counts something. The server reads it unsigned where up to 65 535 is legal.
    ///
    /// # Errors
    /// [`MessageError::Short`].
    #[inline]
    pub fn count(&mut self) -> Result<usize, MessageError> {
        self.fixed().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    /// Takes an Int32.
    ///
    /// # Errors
    /// [`MessageError::Short`].
    #[inline]
    pub fn int32(&mut self) -> Result<i32, MessageError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Takes an OID.
    ///
    /// # Errors
    /// [`MessageError::Short`].
    #[inline]
    pub fn oid(&mut self) -> Result<u32, MessageError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Takes a zero-terminated string, without its end.
    ///
    /// # Errors
    /// [`MessageError::Short`] when no end follows.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], MessageError> {
        let at = memchr::memchr(0, self.rest).ok_or(MessageError::Short)?;
        let text = self.take(at)?;
        self.take(1)?;
        Ok(text)
    }

    /// Takes an Int32 length and as many bytes; -1 is SQL NULL.
    ///
    /// # Errors
    /// [`MessageError::Range`] below -1, [`MessageError::Short`].
    #[inline]
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, MessageError> {
        match self.int32()? {
            -1 => Ok(None),
            len => self.take(usize::try_from(len).map_err(|_| MessageError::Range)?).map(Some),
        }
    }

    /// Succeeds when everything was read.
    ///
    /// # Errors
    /// [`MessageError::Trailing`].
    pub fn finish(&self) -> Result<(), MessageError> {
        if self.rest.is_empty() { Ok(()) } else { Err(MessageError::Trailing) }
    }
}

/// A list of Int16 on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Int16s<'a>(&'a [u8]);

impl<'a> Int16s<'a> {
    pub(in crate::protocol::postgres) fn take(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        let count = fields.count()?;
        fields.take(count * 2).map(Self)
    }

    /// Entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// True without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<i16> {
        let [a, b] = self.0.get(index * 2..)?.first_chunk::<2>()?;
        Some(i16::from_be_bytes([*a, *b]))
    }

    /// The format that counts for item `index`: none listed means text, one listed means all.
    #[must_use]
    #[inline]
    pub fn format(&self, index: usize) -> i16 {
        match self.len() {
            0 => 0,
            1 => self.get(0).unwrap_or(0),
            _ => self.get(index).unwrap_or(0),
        }
    }

    /// The list's wire bytes, without its count.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// A list over wire bytes without a count, such as [`Int16s::bytes`].
    #[must_use]
    pub fn over(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// A list of OIDs on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oids<'a>(&'a [u8]);

impl<'a> Oids<'a> {
    pub(in crate::protocol::postgres) fn take(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        let count = fields.count()?;
        fields.take(count * 4).map(Self)
    }

    /// The OIDs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
