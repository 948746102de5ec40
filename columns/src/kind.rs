//! How one field type lies in a column: one impl per kind, so that writing and reading stand side by side.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, GenericByteArray,
    Int32Array, Int32Builder, Int64Array, Int64Builder, PrimitiveArray, StringArray, StringBuilder,
    TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{ByteArrayType, DataType, TimeUnit};
use schemas::{codec, v1};

/// A cell that no writer of ours can have made.
pub(crate) type Wrong = &'static str;

pub(crate) const NULL: Wrong = "is null";

/// One kind of column.
pub(crate) trait Kind {
    type Value;
    type Builder;
    type Array;
    fn data_type() -> DataType;
    fn builder() -> Self::Builder;
    fn push(builder: &mut Self::Builder, value: &Self::Value);
    fn null(builder: &mut Self::Builder);
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
    fn open(array: &ArrayRef) -> Option<Self::Array>;
    fn is_null(array: &Self::Array, row: usize) -> bool;
    fn get(array: &Self::Array, row: usize, value: &mut Self::Value) -> Result<(), Wrong>;
    /// Appends the cell's Avro bytes: what encoding the value of [`Kind::get`] would give, without making the value.
    fn put(array: &Self::Array, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong>;
    /// True when every row holds the same, non-null value. May say false of such a column, never true of another.
    fn constant(_array: &Self::Array) -> bool {
        false
    }
}

/// True when every text or byte string of an array is the same: equally long, and the bytes repeat with that period.
fn same_strings<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>) -> bool {
    let offsets = array.value_offsets();
    let bound = |at: Option<&i32>| at.and_then(|at| usize::try_from(*at).ok());
    let (Some(first), Some(second), Some(last)) =
        (bound(offsets.first()), bound(offsets.get(1)), bound(offsets.last()))
    else {
        return false;
    };
    let width = second.saturating_sub(first);
    let step = |two: &[i32]| matches!(two, [from, to] if usize::try_from(to - from) == Ok(width));
    if array.null_count() > 0 || !offsets.windows(2).all(step) {
        return false;
    }
    let bytes = array.value_data();
    let (head, tail) = (bytes.get(first..last - width), bytes.get(second..last));
    head.is_some() && head == tail
}

/// True when every number of an array is the same.
fn same_numbers<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> bool
where
    T::Native: PartialEq,
{
    let first = array.values().first();
    array.null_count() == 0 && first.is_some_and(|first| array.values().iter().all(|value| value == first))
}

fn typed<A: Array + Clone + 'static>(array: &ArrayRef, want: &DataType) -> Option<A> {
    (array.data_type() == want).then(|| array.as_any().downcast_ref::<A>().cloned()).flatten()
}

macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $value:ty, $builder:ty, $array:ty, $type:expr, $new:expr, $ref:ident, $set:expr, $same:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;
        impl Kind for $name {
            type Value = $value;
            type Builder = $builder;
            type Array = $array;
            fn data_type() -> DataType {
                $type
            }
            fn builder() -> Self::Builder {
                $new
            }
            fn push(builder: &mut Self::Builder, $ref: &Self::Value) {
                builder.append_value($set);
            }
            fn null(builder: &mut Self::Builder) {
                builder.append_null();
            }
            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
            fn open(array: &ArrayRef) -> Option<Self::Array> {
                typed(array, &Self::data_type())
            }
            fn is_null(array: &Self::Array, row: usize) -> bool {
                array.is_null(row)
            }
            fn get(array: &Self::Array, row: usize, value: &mut Self::Value) -> Result<(), Wrong> {
                if array.is_null(row) {
                    return Err(NULL);
                }
                Self::set(array.value(row), value)
            }
            #[inline]
            fn put(array: &Self::Array, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
                if array.is_null(row) {
                    return Err(NULL);
                }
                Self::write(array.value(row), out)
            }
            fn constant(array: &Self::Array) -> bool {
                $same(array)
            }
        }
    };
}

/// UTC microseconds.
fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

plain!(
    Id,
    v1::Uuid,
    StringBuilder,
    StringArray,
    DataType::Utf8,
    StringBuilder::new(),
    value,
    value.to_text().as_str(),
    same_strings
);
plain!(Text, String, StringBuilder, StringArray, DataType::Utf8, StringBuilder::new(), value, value, same_strings);
plain!(Bytes, Vec<u8>, BinaryBuilder, BinaryArray, DataType::Binary, BinaryBuilder::new(), value, value, same_strings);
plain!(Int, i32, Int32Builder, Int32Array, DataType::Int32, Int32Builder::new(), value, *value, same_numbers);
plain!(Long, i64, Int64Builder, Int64Array, DataType::Int64, Int64Builder::new(), value, *value, same_numbers);
plain!(
    Bool,
    bool,
    BooleanBuilder,
    BooleanArray,
    DataType::Boolean,
    BooleanBuilder::new(),
    value,
    *value,
    same_booleans
);
plain!(
    /// Timestamp, microseconds.
    Micros,
    i64,
    TimestampMicrosecondBuilder,
    TimestampMicrosecondArray,
    micros(),
    TimestampMicrosecondBuilder::new().with_timezone("UTC"),
    value,
    *value,
    same_numbers
);

fn same_booleans(array: &BooleanArray) -> bool {
    let set = array.values().count_set_bits();
    array.null_count() == 0 && !array.is_empty() && (set == 0 || set == array.len())
}

impl Id {
    #[inline]
    fn write(text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let id = uuid_bytes(text.as_bytes()).ok_or("is no lower-case UUID")?;
        out.extend_from_slice(&id);
        Ok(())
    }
    fn set(text: &str, value: &mut v1::Uuid) -> Result<(), Wrong> {
        *value = text.parse().map_err(|_| "is no lower-case UUID")?;
        Ok(())
    }
}
impl Text {
    #[inline]
    #[allow(clippy::unnecessary_wraps)] // one shape for all kinds
    fn write(text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
        codec::put_bytes(out, text.as_bytes());
        Ok(())
    }
    fn set(text: &str, value: &mut String) -> Result<(), Wrong> {
        value.clear();
        value.push_str(text);
        Ok(())
    }
}
impl Bytes {
    #[inline]
    #[allow(clippy::unnecessary_wraps)] // one shape for all kinds
    fn write(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        codec::put_bytes(out, bytes);
        Ok(())
    }
    fn set(bytes: &[u8], value: &mut Vec<u8>) -> Result<(), Wrong> {
        value.clear();
        value.extend_from_slice(bytes);
        Ok(())
    }
}
macro_rules! copied {
    ($($name:ident $value:ty, $from:ident, $out:ident, $put:expr;)*) => {$(
        impl $name {
            #[inline]
            #[allow(clippy::unnecessary_wraps)] // one shape for all kinds
            fn write($from: $value, $out: &mut Vec<u8>) -> Result<(), Wrong> {
                $put;
                Ok(())
            }
            #[allow(clippy::unnecessary_wraps)] // one shape for all kinds
            fn set(from: $value, value: &mut $value) -> Result<(), Wrong> {
                *value = from;
                Ok(())
            }
        }
    )*};
}
copied!(
    Int i32, value, out, codec::put_long(out, i64::from(value));
    Long i64, value, out, codec::put_long(out, value);
    Bool bool, value, out, out.push(u8::from(value));
    Micros i64, value, out, codec::put_long(out, value);
);

macro_rules! symbol {
    ($($name:ident $value:ty),*) => {$(
        plain!(
            /// An enum, by symbol.
            $name, $value, StringBuilder, StringArray, DataType::Utf8, StringBuilder::new(), value, value.as_str(), same_strings
        );
        impl $name {
            #[inline]
            fn write(text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
                let symbol = <$value>::from_symbol(text).ok_or("is no symbol of its enum")?;
                codec::put_long(out, i64::from(symbol.index()));
                Ok(())
            }
            fn set(text: &str, value: &mut $value) -> Result<(), Wrong> {
                *value = <$value>::from_symbol(text).ok_or("is no symbol of its enum")?;
                Ok(())
            }
        }
    )*};
}
symbol!(
    Protocol v1::Protocol, Direction v1::Direction, Attribution v1::Attribution, PayloadState v1::PayloadState,
    EventKind v1::EventKind
);

/// A `[null, T]` union: the column's null is the union's.
pub(crate) struct Opt<K>(std::marker::PhantomData<K>);

impl<K: Kind> Kind for Opt<K>
where
    K::Value: Default,
{
    type Value = Option<K::Value>;
    type Builder = K::Builder;
    type Array = K::Array;
    fn data_type() -> DataType {
        K::data_type()
    }
    fn builder() -> Self::Builder {
        K::builder()
    }
    fn push(builder: &mut Self::Builder, value: &Self::Value) {
        match value {
            Some(value) => K::push(builder, value),
            None => K::null(builder),
        }
    }
    fn null(builder: &mut Self::Builder) {
        K::null(builder);
    }
    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        K::finish(builder)
    }
    fn open(array: &ArrayRef) -> Option<Self::Array> {
        K::open(array)
    }
    fn is_null(array: &Self::Array, row: usize) -> bool {
        K::is_null(array, row)
    }
    fn get(array: &Self::Array, row: usize, value: &mut Self::Value) -> Result<(), Wrong> {
        if K::is_null(array, row) {
            *value = None;
            return Ok(());
        }
        K::get(array, row, value.get_or_insert_default())
    }
    #[inline]
    fn put(array: &Self::Array, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        if K::is_null(array, row) {
            out.push(0);
            return Ok(());
        }
        out.push(2);
        K::put(array, row, out)
    }
    fn constant(array: &Self::Array) -> bool {
        K::constant(array)
    }
}

/// The bytes of a lower-case UUID with its four hyphens.
fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut id = [0; 16];
    let mut bad = 0;
    for (byte, at) in id.iter_mut().zip(UUID_PLACES) {
        let digit = |at: usize| text.get(at).and_then(|byte| HEX.get(usize::from(*byte))).copied().unwrap_or(0xff);
        let (high, low) = (digit(at), digit(at + 1));
        bad |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    let hyphens = [8, 13, 18, 23].iter().all(|at| text.get(*at) == Some(&b'-'));
    (bad < 16 && hyphens).then_some(id)
}

/// Where each byte's two digits begin in a UUID's text.
const UUID_PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Value of a lower-case hexadecimal digit; 255 of anything else.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let digits = b"0123456789abcdef";
    let mut at = 0;
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)] // evaluated by the compiler, at is below 16
    while at < 16 {
        table[digits[at] as usize] = at as u8;
        at += 1;
    }
    table
};
