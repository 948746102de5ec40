//! Columns of several values: lists of texts and of records.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, Int64Builder, ListArray, ListBuilder, StringArray, StringBuilder, StructArray,
    StructBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use schemas::{codec, v1};

use crate::kind::{Kind, NULL, Wrong};

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
    fn put((list, items): &Self::Array, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let span = span(list, row)?;
        let count = span.len();
        array_start(count, out);
        for item in span {
            if items.is_null(item) {
                return Err("holds a null item");
            }
            codec::put_bytes(out, items.value(item).as_bytes());
        }
        array_end(count, out);
        Ok(())
    }
    fn constant((list, _): &Self::Array) -> bool {
        all_empty(list)
    }
}

/// What stands before the items: their count, nothing for none.
fn array_start(count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        codec::put_len(out, count);
    }
}

/// What stands after the items: the end mark, which alone is an empty array.
fn array_end(_count: usize, out: &mut Vec<u8>) {
    out.push(0);
}

/// True when no row has an item and none is null.
fn all_empty(list: &ListArray) -> bool {
    let offsets = list.value_offsets();
    list.null_count() == 0 && !list.is_empty() && offsets.first() == offsets.last()
}

fn element(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", of, false))
}

/// A record that is the item of an array.
pub(crate) trait Item: Default {
    fn fields() -> Fields;
    fn push(&self, to: &mut StructBuilder) -> Option<()>;
    fn get(from: &[ArrayRef], row: usize) -> Result<Self, Wrong>;
    fn put(from: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<(), Wrong>;
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
    fn put((list, items): &Self::Array, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let span = span(list, row)?;
        let count = span.len();
        array_start(count, out);
        for item in span {
            if items.is_null(item) {
                return Err("holds a null item");
            }
            T::put(items.columns(), item, out)?;
        }
        array_end(count, out);
        Ok(())
    }
    fn constant((list, _): &Self::Array) -> bool {
        all_empty(list)
    }
}

fn put_text_at(from: &[ArrayRef], field: usize, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let texts = from.get(field).and_then(|array| array.as_any().downcast_ref::<StringArray>()).ok_or("has no text")?;
    if texts.is_null(row) {
        return Err("holds a null text");
    }
    codec::put_bytes(out, texts.value(row).as_bytes());
    Ok(())
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
    fn put(from: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        put_text_at(from, 0, row, out)?;
        put_text_at(from, 1, row, out)
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
    fn put(from: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let oids = from.get(1).and_then(|array| array.as_any().downcast_ref::<Int64Array>()).ok_or("has no number")?;
        put_text_at(from, 0, row, out)?;
        if oids.is_null(row) {
            return Err("holds a null type_oid");
        }
        codec::put_long(out, oids.value(row));
        let value = from.get(2).ok_or("has no text")?;
        if value.is_null(row) {
            out.push(0);
            return Ok(());
        }
        out.push(2);
        put_text_at(from, 2, row, out)
    }
}
