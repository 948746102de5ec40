//! Views of message bodies. They borrow, allocate nothing, and check every count against the bytes that are there.

mod fields;
#[cfg(test)]
mod tests;

pub use fields::{Fields, Int16s, Oids};

use super::MessageError;

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

    /// What there is of the body from the first value on.
    #[must_use]
    pub fn tail(&self) -> &'a [u8] {
        self.values.rest()
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
