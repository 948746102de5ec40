//! Every byte of an object must belong to something a Parquet reader knows (T28): nothing appended, nothing hidden.
//!
//! Rows are read without the page index, page after page; here the index is only asked whether its pages, together
//! with dictionary, filters, indexes, footer and the two magics, tile the object without a gap or an overlap.

use std::fmt;
use std::ops::Range;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData};

use crate::fetch::{ObjectError, ObjectRows};

/// Bytes of a Parquet magic, at both ends.
const MAGIC_LEN: u64 = 4;
/// Footer length and magic, at the end.
const TAIL_LEN: usize = 8;

/// Bytes that fit nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stray {
    /// Bytes that belong to nothing.
    Gap(Range<u64>),
    /// Bytes that two parts claim, or that lie outside the object.
    Overlap(Range<u64>),
    /// A page that begins after the last row.
    Page { group: usize, column: usize },
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |range: &Range<u64>| range.end.saturating_sub(1);
        match self {
            Self::Gap(range) => {
                write!(f, "object bytes {}-{} belong to no page, index or footer", range.start, last(range))
            }
            Self::Overlap(range) => write!(f, "object bytes {}-{} are claimed twice", range.start, last(range)),
            Self::Page { group, column } => write!(f, "a page of rg {group} column {column} holds none of its rows"),
        }
    }
}

/// What is stray in an object; empty for one the archiver wrote.
///
/// # Errors
/// [`ObjectError`] when the page index cannot be read.
pub(crate) fn stray_bytes(object: &ObjectRows) -> Result<Vec<Stray>, ObjectError> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(object.bytes(), options)?;
    let metadata = metadata.metadata();
    let len = object.bytes().len();
    let tail = object.bytes().get(len.saturating_sub(TAIL_LEN)..).and_then(|tail| tail.first_chunk::<4>());
    let footer = tail.map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
    let footer = footer.saturating_add(u64::try_from(TAIL_LEN).unwrap_or(0));
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    let mut stray = Vec::new();
    let mut known = vec![0..MAGIC_LEN, len.saturating_sub(footer)..len];
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        for (at, column) in row_group.columns().iter().enumerate() {
            side_ranges(column, &mut known);
            if !chunk_ranges(metadata, (group, at), column, row_group.num_rows(), &mut known) {
                stray.push(Stray::Page { group, column: at });
            }
        }
    }
    tile(known, len, &mut stray);
    Ok(stray)
}

fn push(known: &mut Vec<Range<u64>>, offset: Option<i64>, length: Option<i64>) {
    if let (Some(Ok(start)), Some(Ok(length))) = (offset.map(u64::try_from), length.map(u64::try_from)) {
        known.push(start..start.saturating_add(length));
    }
}

/// Filter and indexes of a column chunk.
fn side_ranges(column: &ColumnChunkMetaData, known: &mut Vec<Range<u64>>) {
    push(known, column.bloom_filter_offset(), column.bloom_filter_length().map(i64::from));
    push(known, column.column_index_offset(), column.column_index_length().map(i64::from));
    push(known, column.offset_index_offset(), column.offset_index_length().map(i64::from));
}

/// The pages of a column chunk by its offset index, the dictionary page as what lies before the first; the chunk as a
/// whole without an index. False when a page begins after the last row.
fn chunk_ranges(
    metadata: &ParquetMetaData,
    (group, at): (usize, usize),
    column: &ColumnChunkMetaData,
    rows: i64,
    known: &mut Vec<Range<u64>>,
) -> bool {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let index = metadata.page_index_for_row_group(group);
    let Some(pages) = index.offset_index(at).map(|index| index.page_locations()) else {
        push(known, Some(start), Some(column.compressed_size()));
        return true;
    };
    let mut size = column.data_page_offset().saturating_sub(start);
    push(known, Some(start), Some(size));
    let mut good = true;
    for page in pages {
        push(known, Some(page.offset), Some(i64::from(page.compressed_page_size)));
        size = size.saturating_add(i64::from(page.compressed_page_size));
        good &= (0..rows.max(1)).contains(&page.first_row_index);
    }
    // pages beyond what the chunk says, or fewer, would be read by one reader and not by another
    good && size == column.compressed_size()
}

/// Gaps and overlaps of `known` in an object of `len` bytes.
fn tile(mut known: Vec<Range<u64>>, len: u64, stray: &mut Vec<Stray>) {
    known.retain(|range| !range.is_empty());
    known.sort_by_key(|range| (range.start, range.end));
    let mut end = 0;
    for range in known {
        if range.start > end {
            stray.push(Stray::Gap(end..range.start));
        } else if range.start < end {
            stray.push(Stray::Overlap(range.start..range.end.min(end)));
        }
        end = end.max(range.end);
    }
    match end.cmp(&len) {
        std::cmp::Ordering::Less => stray.push(Stray::Gap(end..len)),
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => stray.push(Stray::Overlap(len..end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stray(known: Vec<Range<u64>>, len: u64) -> Vec<Stray> {
        let mut stray = Vec::new();
        tile(known, len, &mut stray);
        stray
    }

    #[test]
    fn gaps_and_overlaps_are_found() {
        assert!(stray(vec![4..9, 0..4, 9..12, 9..9], 12).is_empty());
        assert_eq!(stray(vec![0..4, 6..12], 12), [Stray::Gap(4..6)]);
        assert_eq!(stray(vec![0..4, 3..12], 12), [Stray::Overlap(3..4)]);
        assert_eq!(stray(std::iter::once(0..4).collect(), 12), [Stray::Gap(4..12)]);
        assert_eq!(stray(std::iter::once(0..14).collect(), 12), [Stray::Overlap(12..14)]);
    }
}
