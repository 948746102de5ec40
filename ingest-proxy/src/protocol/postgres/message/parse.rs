//! Views of message bodies. They borrow, allocate nothing, and check every count against the bytes that are there.

use super::MessageError;

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
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
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
    fn take(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
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
    fn take(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        let count = fields.count()?;
        fields.take(count * 4).map(Self)
    }

    /// The OIDs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// `Parse`: statement name, text, and the parameter types the client fixed.
#[derive(Clone, Copy)]
pub struct Parse<'a> {
    /// Statement name; empty for the unnamed one.
    pub name: &'a [u8],
    /// SQL text.
    pub text: &'a [u8],
    /// Types given; 0 leaves one to the server.
    pub types: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(body);
        let parsed = Self { name: fields.string()?, text: fields.string()?, types: Oids::take(&mut fields)? };
        fields.finish()?;
        Ok(parsed)
    }
}

/// `Bind`, as far as its body is there: a long one is read from its first bytes.
#[derive(Clone, Copy)]
pub struct Bind<'a> {
    /// Portal name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// Statement name.
    pub statement: &'a [u8],
    /// Formats of the values.
    pub formats: Int16s<'a>,
    /// Number of values announced.
    pub count: usize,
    /// Body from the first value on.
    values: Fields<'a>,
}

impl<'a> Bind<'a> {
    /// Reads up to the values; the values are checked while they are read.
    ///
    /// # Errors
    /// [`MessageError::Short`] when even the names and formats are cut.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(body);
        let (portal, statement) = (fields.string()?, fields.string()?);
        let formats = Int16s::take(&mut fields)?;
        let count = fields.count()?;
        Ok(Self { portal, statement, formats, count, values: fields })
    }

    /// The values in order, at most `count`, ending early at the first that is not wholly there.
    pub fn values(&self) -> Values<'a> {
        Values { fields: self.values, left: self.count }
    }

    /// Formats of the result columns.
    ///
    /// # Errors
    /// [`MessageError`] when a value is cut or the tail is not a format list.
    #[inline]
    pub fn result_formats(&self) -> Result<Int16s<'a>, MessageError> {
        let mut fields = self.values;
        for _ in 0..self.count {
            fields.value()?;
        }
        let formats = Int16s::take(&mut fields)?;
        fields.finish()?;
        Ok(formats)
    }
}

/// Values of a `Bind` or `DataRow`. After a `None` from the iterator, [`Values::left`] counts those not read and
/// [`Values::cut`] is what there is of the first of them.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    fields: Fields<'a>,
    left: usize,
}

impl<'a> Values<'a> {
    /// Values not yet read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// The bytes present of a value whose end is missing.
    #[must_use]
    pub fn cut(&self) -> &'a [u8] {
        self.fields.rest().get(4..).unwrap_or_default()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left.checked_sub(1)?;
        let mut fields = self.fields;
        let value = fields.value().ok()?;
        self.left -= 1;
        self.fields = fields;
        Some(value)
    }
}

/// `DataRow`: the values of one row.
///
/// # Errors
/// [`MessageError`] unless the body is exactly its values.
pub fn data_row(body: &[u8]) -> Result<Values<'_>, MessageError> {
    let mut fields = Fields::new(body);
    let count = fields.count()?;
    let values = Values { fields, left: count };
    (0..count).try_for_each(|_| fields.value().map(|_| ()))?;
    fields.finish()?;
    Ok(values)
}

/// What a `Describe` or `Close` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

impl<'a> Object<'a> {
    /// Reads the body of a `Describe` or `Close`.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(body);
        let kind = fields.byte()?;
        let name = fields.string()?;
        fields.finish()?;
        match kind {
            b'S' => Ok(Self::Statement(name)),
            b'P' => Ok(Self::Portal(name)),
            _ => Err(MessageError::Range),
        }
    }
}

/// `Execute`: portal name and most rows to return (0: all).
///
/// # Errors
/// [`MessageError`].
#[inline]
pub fn execute(body: &[u8]) -> Result<(&[u8], i32), MessageError> {
    let mut fields = Fields::new(body);
    let parsed = (fields.string()?, fields.int32()?);
    fields.finish()?;
    Ok(parsed)
}

/// `Query`: the text.
///
/// # Errors
/// [`MessageError`].
#[inline]
pub fn query(body: &[u8]) -> Result<&[u8], MessageError> {
    let mut fields = Fields::new(body);
    let text = fields.string()?;
    fields.finish()?;
    Ok(text)
}

/// One column of a `RowDescription`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowColumn<'a> {
    /// Name or alias.
    pub name: &'a [u8],
    /// OID of its table; 0 for a derived column.
    pub table_oid: u32,
    /// Attribute number; 0 for a derived column.
    pub attribute: i16,
    /// Type OID.
    pub type_oid: u32,
    /// 0 text, 1 binary.
    pub format: i16,
}

/// `RowDescription`, checked as a whole.
#[derive(Clone, Copy)]
pub struct RowDescription<'a> {
    fields: Fields<'a>,
    count: usize,
}

impl<'a> RowDescription<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(body);
        let count = fields.count()?;
        let columns = Self { fields, count };
        (0..count).try_for_each(|_| Self::column(&mut fields).map(|_| ()))?;
        fields.finish()?;
        Ok(columns)
    }

    fn column(fields: &mut Fields<'a>) -> Result<RowColumn<'a>, MessageError> {
        let (name, table_oid, attribute, type_oid) = (fields.string()?, fields.oid()?, fields.int16()?, fields.oid()?);
        let (_size, _modifier) = (fields.int16()?, fields.int32()?);
        Ok(RowColumn { name, table_oid, attribute, type_oid, format: fields.int16()? })
    }

    /// The columns in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = RowColumn<'a>> + use<'a> {
        let mut fields = self.fields;
        (0..self.count).map(move |_| {
            let nothing = RowColumn { name: b"", table_oid: 0, attribute: 0, type_oid: 0, format: 0 };
            Self::column(&mut fields).unwrap_or(nothing) // `read` checked them all
        })
    }
}

/// `ParameterDescription`: the type OID of each parameter.
///
/// # Errors
/// [`MessageError`].
pub fn parameter_description(body: &[u8]) -> Result<Oids<'_>, MessageError> {
    let mut fields = Fields::new(body);
    let oids = Oids::take(&mut fields)?;
    fields.finish()?;
    Ok(oids)
}

/// `CopyInResponse`, `CopyOutResponse` or `CopyBothResponse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// True when the data as a whole is binary.
    pub binary: bool,
    /// Format of each column.
    pub formats: Int16s<'a>,
}

impl<'a> CopyResponse<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(body);
        let binary = fields.byte()? != 0;
        let formats = Int16s::take(&mut fields)?;
        fields.finish()?;
        Ok(Self { binary, formats })
    }
}

/// A `CommandComplete` tag: its command words and the rows its last number says, if it ends in one.
#[must_use]
#[inline]
pub fn command_tag(body: &[u8]) -> (&str, Option<i64>) {
    let tag = body.strip_suffix(&[0]).unwrap_or(body);
    let tag = std::str::from_utf8(tag).unwrap_or_default();
    let words = tag.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let rows = tag.get(words.len()..).and_then(|numbers| numbers.rsplit(' ').next()).and_then(|n| n.parse().ok());
    (words, rows)
}

/// Fields of an `ErrorResponse` or `NoticeResponse`; empty where absent.
#[derive(Clone, Copy, Default)]
pub struct ErrorFields<'a> {
    /// Severity that is never translated (`V`), or else `S`.
    pub severity: &'a [u8],
    /// SQLSTATE (`C`).
    pub code: &'a [u8],
    /// Primary message (`M`).
    pub message: &'a [u8],
    /// Detail (`D`).
    pub detail: &'a [u8],
    /// Hint (`H`).
    pub hint: &'a [u8],
    /// Context (`W`).
    pub context: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Reads what there is of a body; a field whose end is missing is taken as far as it goes.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Self {
        let (mut fields, mut found) = (Fields::new(body), Self::default());
        while let Ok(kind) = fields.byte() {
            if kind == 0 {
                break;
            }
            let (text, ended) = match fields.string() {
                Ok(text) => (text, false),
                Err(_) => (fields.rest(), true),
            };
            match kind {
                b'V' => found.severity = text,
                b'S' if found.severity.is_empty() => found.severity = text,
                b'C' => found.code = text,
                b'M' => found.message = text,
                b'D' => found.detail = text,
                b'H' => found.hint = text,
                b'W' => found.context = text,
                _ => {}
            }
            if ended {
                break;
            }
        }
        found
    }

    /// The SQLSTATE as text when it is five letters or digits; `XX000` otherwise, so that it stays bounded.
    #[must_use]
    pub fn sqlstate(&self) -> &'a str {
        match std::str::from_utf8(self.code) {
            Ok(code) if code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => code,
            _ => "XX000",
        }
    }
}

/// An `Authentication` request of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// 0: logged in.
    Ok,
    /// 3: cleartext password wanted.
    Cleartext,
    /// 5: MD5 wanted, with this salt.
    Md5([u8; 4]),
    /// 10: SASL mechanisms offered: a list of zero-terminated names.
    Sasl(&'a [u8]),
    /// 11: SASL challenge.
    SaslContinue(&'a [u8]),
    /// 12: SASL outcome.
    SaslFinal(&'a [u8]),
    /// Any other: GSS, SSPI and what is yet to come.
    Other(i32),
}

impl<'a> Authentication<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(body);
        Ok(match fields.int32()? {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => Self::Md5(fields.fixed()?),
            10 => Self::Sasl(fields.rest()),
            11 => Self::SaslContinue(fields.rest()),
            12 => Self::SaslFinal(fields.rest()),
            other => Self::Other(other),
        })
    }
}

/// The SASL mechanism names of [`Authentication::Sasl`].
pub fn sasl_mechanisms(list: &[u8]) -> impl Iterator<Item = &str> {
    list.split(|byte| *byte == 0).take_while(|name| !name.is_empty()).filter_map(|name| std::str::from_utf8(name).ok())
}

/// `ParameterStatus`: name and value.
///
/// # Errors
/// [`MessageError`].
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), MessageError> {
    let mut fields = Fields::new(body);
    let parsed = (fields.string()?, fields.string()?);
    fields.finish()?;
    Ok(parsed)
}

/// `BackendKeyData`: process id and secret key of 4 (protocol 3.0) or up to 256 bytes (3.2).
///
/// # Errors
/// [`MessageError::Range`] for another key size, [`MessageError::Short`].
pub fn backend_key_data(body: &[u8]) -> Result<(i32, &[u8]), MessageError> {
    let mut fields = Fields::new(body);
    let process = fields.int32()?;
    let key = fields.rest();
    if (4..=256).contains(&key.len()) { Ok((process, key)) } else { Err(MessageError::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_give_words_and_rows() {
        for (tag, words, rows) in [
            ("SELECT 3", "SELECT", Some(3)),
            ("INSERT 0 12", "INSERT", Some(12)),
            ("CREATE TABLE", "CREATE TABLE", None),
            ("BEGIN", "BEGIN", None),
            ("COPY 5", "COPY", Some(5)),
            ("", "", None),
            ("SELECT 99999999999999999999999", "SELECT", None),
        ] {
            assert_eq!(command_tag(tag.as_bytes()), (words, rows), "{tag}");
        }
        assert_eq!(command_tag(b"UPDATE 7\0"), ("UPDATE", Some(7)));
        assert_eq!(command_tag(&[0xff, 0]), ("", None));
    }

    #[test]
    fn bind_is_read_from_a_prefix_and_says_what_is_cut() {
        let mut body = b"p\0s\0\0\x01\0\x01\0\x02".to_vec();
        body.extend_from_slice(b"\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01");
        let bind = Bind::read(&body).unwrap();
        assert_eq!((bind.portal, bind.statement, bind.formats.format(1), bind.count), (&b"p"[..], &b"s"[..], 1, 2));
        assert_eq!(bind.values().collect::<Vec<_>>(), [Some(&b"ab"[..]), None]);
        assert_eq!(bind.result_formats().unwrap().format(9), 1);
        let cut = Bind::read(&body[..15]).unwrap();
        let mut values = cut.values();
        assert_eq!((values.next(), values.left(), values.cut()), (None, 2, &b"a"[..]));
        assert_eq!(cut.result_formats(), Err(MessageError::Short));
    }

    #[test]
    fn negative_value_lengths_below_null_are_refused() {
        assert_eq!(data_row(b"\0\x01\xff\xff\xff\xfe").err(), Some(MessageError::Range));
        assert!(data_row(b"\0\x01\xff\xff\xff\xff").is_ok());
        assert_eq!(data_row(b"\0\x01\xff\xff\xff\xff!").err(), Some(MessageError::Trailing));
    }

    #[test]
    fn errors_keep_their_fields_and_bound_their_code() {
        let error = ErrorFields::read(b"SFEHLER\0VERROR\0C22P02\0Mbad\0Dd\0Hh\0Ww\0\0");
        assert_eq!((error.severity, error.sqlstate(), error.message), (&b"ERROR"[..], "22P02", &b"bad"[..]));
        assert_eq!(ErrorFields::read(b"Cdrop table\0Mcut").sqlstate(), "XX000");
        assert_eq!(ErrorFields::read(b"Cdrop table\0Mcut").message, b"cut");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn no_parser_panics_and_every_view_stays_inside_the_body(
            body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..200),
        ) {
            if let Ok(row) = RowDescription::read(&body) {
                let names: usize = row.columns().map(|column| column.name.len() + 19).sum();
                prop_assert_eq!(names + 2, body.len());
            }
            if let Ok(bind) = Bind::read(&body) {
                let bytes: usize = bind.values().flatten().map(<[u8]>::len).sum();
                prop_assert!(bytes <= body.len());
                prop_assert!(bind.result_formats().map_or(0, |formats| formats.len()) <= body.len());
            }
            if let Ok(row) = data_row(&body) {
                let bytes: usize = row.map(|value| value.map_or(0, <[u8]>::len) + 4).sum();
                prop_assert_eq!(bytes + 2, body.len());
            }
            if let Ok(parsed) = Parse::read(&body) {
                prop_assert!(parsed.types.iter().len() * 4 + parsed.text.len() < body.len());
            }
            prop_assert!(parameter_description(&body).map_or(0, |oids| oids.iter().len()) <= body.len());
            prop_assert!(CopyResponse::read(&body).map_or(0, |copy| copy.formats.len()) <= body.len());
            prop_assert!(command_tag(&body).0.len() <= body.len());
            prop_assert!(ErrorFields::read(&body).message.len() <= body.len());
            prop_assert!(query(&body).map_or(0, <[u8]>::len) <= body.len());
            prop_assert!(execute(&body).map_or(0, |(portal, _)| portal.len()) <= body.len());
            prop_assert!(parameter_status(&body).map_or(0, |(name, _)| name.len()) <= body.len());
            prop_assert!(backend_key_data(&body).map_or(0, |(_, key)| key.len()) <= 256);
            prop_assert!(Authentication::read(&body).is_ok() || body.len() < 8);
            prop_assert!(Object::read(&body).is_err() || body.last() == Some(&0));
        }
    }
}
