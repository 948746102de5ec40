//! How one field type lies in a column: one impl per kind, so that writing and reading stand side by side.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Int32Array, Int32Builder, Int64Array,
    Int64Builder, ListArray, ListBuilder, StringArray, StringBuilder, StructArray, StructBuilder,
    TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use schemas::v1;

/// A cell that no writer of ours can have made.
pub(crate) type Wrong = &'static str;

const NULL: Wrong = "is null";

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
}

fn typed<A: Array + Clone + 'static>(array: &ArrayRef, want: &DataType) -> Option<A> {
    (array.data_type() == want).then(|| array.as_any().downcast_ref::<A>().cloned()).flatten()
}

macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $value:ty, $builder:ty, $array:ty, $type:expr, $new:expr, $ref:ident, $set:expr) => {
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
        }
    };
}

/// UTC microseconds.
fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

plain!(Id, v1::Uuid, StringBuilder, StringArray, DataType::Utf8, StringBuilder::new(), value, value.to_text().as_str());
plain!(Text, String, StringBuilder, StringArray, DataType::Utf8, StringBuilder::new(), value, value);
plain!(Bytes, Vec<u8>, BinaryBuilder, BinaryArray, DataType::Binary, BinaryBuilder::new(), value, value);
plain!(Int, i32, Int32Builder, Int32Array, DataType::Int32, Int32Builder::new(), value, *value);
plain!(Long, i64, Int64Builder, Int64Array, DataType::Int64, Int64Builder::new(), value, *value);
plain!(Bool, bool, BooleanBuilder, BooleanArray, DataType::Boolean, BooleanBuilder::new(), value, *value);
plain!(
    /// Timestamp, microseconds.
    Micros,
    i64,
    TimestampMicrosecondBuilder,
    TimestampMicrosecondArray,
    micros(),
    TimestampMicrosecondBuilder::new().with_timezone("UTC"),
    value,
    *value
);

impl Id {
    fn set(text: &str, value: &mut v1::Uuid) -> Result<(), Wrong> {
        *value = text.parse().map_err(|_| "is no lower-case UUID")?;
        Ok(())
    }
}
impl Text {
    fn set(text: &str, value: &mut String) -> Result<(), Wrong> {
        value.clear();
        value.push_str(text);
        Ok(())
    }
}
impl Bytes {
    fn set(bytes: &[u8], value: &mut Vec<u8>) -> Result<(), Wrong> {
        value.clear();
        value.extend_from_slice(bytes);
        Ok(())
    }
}
macro_rules! copied {
    ($($name:ident $value:ty),*) => {$(
        impl $name {
            #[allow(clippy::unnecessary_wraps)] // one shape for all kinds
            fn set(from: $value, value: &mut $value) -> Result<(), Wrong> {
                *value = from;
                Ok(())
            }
        }
    )*};
}
copied!(Int i32, Long i64, Bool bool, Micros i64);

macro_rules! symbol {
    ($($name:ident $value:ty),*) => {$(
        plain!(
            /// An enum, by symbol.
            $name, $value, StringBuilder, StringArray, DataType::Utf8, StringBuilder::new(), value, value.as_str()
        );
        impl $name {
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
}

/// The rows of a list's child that belong to `row`.
fn span(list: &ListArray, row: usize) -> Result<std::ops::Range<usize>, Wrong> {
    if list.is_null(row) {
        return Err(NULL);
    }
    let bound = |at: usize| list.value_offsets().get(at).and_then(|offset| usize::try_from(*offset).ok());
    match (bound(row), bound(row + 1)) {
        (Some(from), Some(to)) => Ok(from..to),
        _ => Err("has no bounds"),
    }
}

/// `array<string>`.
pub(crate) struct Texts;

impl Kind for Texts {
    type Value = Vec<String>;
    type Builder = ListBuilder<StringBuilder>;
    type Array = (ListArray, StringArray);
    fn data_type() -> DataType {
        DataType::List(element(DataType::Utf8))
    }
    fn builder() -> Self::Builder {
        ListBuilder::new(StringBuilder::new()).with_field(element(DataType::Utf8))
    }
    fn push(builder: &mut Self::Builder, value: &Self::Value) {
        for item in value {
            builder.values().append_value(item);
        }
        builder.append(true);
    }
    fn null(builder: &mut Self::Builder) {
        builder.append(false);
    }
    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
    fn open(array: &ArrayRef) -> Option<Self::Array> {
        let list = array.as_any().downcast_ref::<ListArray>()?;
        let items = list.values().as_any().downcast_ref::<StringArray>()?;
        Some((list.clone(), items.clone()))
    }
    fn is_null(array: &Self::Array, row: usize) -> bool {
        array.0.is_null(row)
    }
    fn get((list, items): &Self::Array, row: usize, value: &mut Self::Value) -> Result<(), Wrong> {
        let span = span(list, row)?;
        value.clear();
        for item in span {
            if items.is_null(item) {
                return Err("holds a null item");
            }
            value.push(items.value(item).to_owned());
        }
        Ok(())
    }
}

fn element(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", of, false))
}

/// A record that is the item of an array.
pub(crate) trait Item: Default {
    fn fields() -> Fields;
    fn push(&self, to: &mut StructBuilder) -> Option<()>;
    fn get(from: &[ArrayRef], row: usize) -> Result<Self, Wrong>;
}

/// `array<record>`.
pub(crate) struct Records<T>(std::marker::PhantomData<T>);

impl<T: Item> Kind for Records<T> {
    type Value = Vec<T>;
    type Builder = ListBuilder<StructBuilder>;
    type Array = (ListArray, StructArray);
    fn data_type() -> DataType {
        DataType::List(element(DataType::Struct(T::fields())))
    }
    fn builder() -> Self::Builder {
        ListBuilder::new(StructBuilder::from_fields(T::fields(), 0)).with_field(element(DataType::Struct(T::fields())))
    }
    fn push(builder: &mut Self::Builder, value: &Self::Value) {
        for item in value {
            let to = builder.values();
            // the builder was made of the same fields, so each is there
            let pushed = item.push(to).is_some();
            to.append(pushed);
        }
        builder.append(true);
    }
    fn null(builder: &mut Self::Builder) {
        builder.append(false);
    }
    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
    fn open(array: &ArrayRef) -> Option<Self::Array> {
        let list = array.as_any().downcast_ref::<ListArray>()?;
        let items = list.values().as_any().downcast_ref::<StructArray>()?;
        let same = |(have, want): (&Arc<Field>, &Arc<Field>)| {
            have.name() == want.name() && have.data_type() == want.data_type()
        };
        let (have, want) = (items.fields(), T::fields());
        let same = have.len() == want.len() && have.iter().zip(want.iter()).all(same);
        same.then(|| (list.clone(), items.clone()))
    }
    fn is_null(array: &Self::Array, row: usize) -> bool {
        array.0.is_null(row)
    }
    fn get((list, items): &Self::Array, row: usize, value: &mut Self::Value) -> Result<(), Wrong> {
        let span = span(list, row)?;
        value.clear();
        for item in span {
            if items.is_null(item) {
                return Err("holds a null item");
            }
            value.push(T::get(items.columns(), item)?);
        }
        Ok(())
    }
}

fn text_at(from: &[ArrayRef], field: usize, row: usize) -> Result<Option<String>, Wrong> {
    let texts = from.get(field).and_then(|array| array.as_any().downcast_ref::<StringArray>()).ok_or("has no text")?;
    Ok((!texts.is_null(row)).then(|| texts.value(row).to_owned()))
}

impl Item for v1::Label {
    fn fields() -> Fields {
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)])
    }
    fn push(&self, to: &mut StructBuilder) -> Option<()> {
        to.field_builder::<StringBuilder>(0)?.append_value(&self.key);
        to.field_builder::<StringBuilder>(1)?.append_value(&self.value);
        Some(())
    }
    fn get(from: &[ArrayRef], row: usize) -> Result<Self, Wrong> {
        Ok(Self {
            key: text_at(from, 0, row)?.ok_or("holds a null key")?,
            value: text_at(from, 1, row)?.ok_or("holds a null value")?,
        })
    }
}

impl Item for v1::EventParameter {
    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("type_oid", DataType::Int64, false),
            Field::new("value", DataType::Utf8, true),
        ])
    }
    fn push(&self, to: &mut StructBuilder) -> Option<()> {
        to.field_builder::<StringBuilder>(0)?.append_value(&self.name);
        to.field_builder::<Int64Builder>(1)?.append_value(self.type_oid);
        to.field_builder::<StringBuilder>(2)?.append_option(self.value.as_deref());
        Some(())
    }
    fn get(from: &[ArrayRef], row: usize) -> Result<Self, Wrong> {
        let oids = from.get(1).and_then(|array| array.as_any().downcast_ref::<Int64Array>()).ok_or("has no number")?;
        if oids.is_null(row) {
            return Err("holds a null type_oid");
        }
        Ok(Self {
            name: text_at(from, 0, row)?.ok_or("holds a null name")?,
            type_oid: oids.value(row),
            value: text_at(from, 2, row)?,
        })
    }
}
