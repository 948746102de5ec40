//! Receipts: every byte of an object, and every object, is accounted for (I-08, T28).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::print_stderr,
    missing_docs
)]

mod world;

use reader::{Options, Outcome};
use schemas::Record as _;
use schemas::layout::{Table, object_name};
use schemas::v1::ArchiveBody;
use world::*;

/// Flips bits all over one object, and in every part of it that no row lives in: each is reported, with the object.
#[test]
fn any_changed_byte_of_an_object_is_reported() {
    let world = World::of(&[(Table::Frames, 2)], &[&[30]]);
    let dir = tempfile::tempdir().unwrap();
    world.write(dir.path());
    let options = Options { threads: 1, ..world.options() };
    let name = world.objects[0].name.clone();
    let good = std::fs::read(dir.path().join(&name)).unwrap();
    assert_eq!(check_dir(dir.path(), &options).findings, []);
    let object = reader::ObjectRows::open(Table::Frames, good.clone().into()).unwrap();
    let at = |offset: i64| usize::try_from(offset).unwrap();
    let mut places: Vec<usize> = (0..good.len()).step_by((good.len() / 300).max(1)).collect();
    // both magics, the footer's length, the first bytes of the footer
    let footer = good.len() - 8 - u32::from_le_bytes(good[good.len() - 8..][..4].try_into().unwrap()) as usize;
    places.extend((0..4).chain(good.len() - 8..good.len()).chain(footer..footer + 16));
    let mut filters = 0;
    for column in object.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        // page headers with their statistics, filter, page indexes
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        places.extend([at(start), at(start) + 3, at(column.data_page_offset()) + 5]);
        if let (Some(start), Some(length)) = (column.bloom_filter_offset(), column.bloom_filter_length()) {
            filters += 1;
            places.extend([at(start), at(start) + at(i64::from(length)) / 2]);
        }
        for start in [column.column_index_offset(), column.offset_index_offset()].into_iter().flatten() {
            places.push(at(start) + 1);
        }
    }
    assert!(filters > 0 && places.len() > 400);
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        put(dir.path(), &name, &bad);
        let report = check_dir(dir.path(), &options);
        let named = report.findings.iter().any(|one| {
            one.code == "T28"
                && one.object.as_deref() == Some(&name)
                && one.text.contains("differ from ARCHIVE receipt")
        });
        assert!(named && report.exit_code == 1, "byte {at}: {:#?}", report.findings);
    }
}

#[test]
fn objects_and_receipts_must_fit_each_other() {
    let world = World::of(&[(Table::Events, 0), (Table::Frames, 2)], &[&[5, 0, 30], &[6, 9], &[4, 0], &[3]]);
    let bytes = world.bytes();
    let with_lag = |archive_lag_s: Option<i64>, change: &dyn Fn(&mut Vec<ArchiveBody>)| {
        let mut receipts: Vec<ArchiveBody> =
            world.objects.iter().zip(&bytes).map(|(object, bytes)| World::receipt(object, bytes)).collect();
        change(&mut receipts);
        let receipts = receipts.iter().map(|receipt| [vec![4], receipt.to_body()].concat());
        let log: Vec<_> = world.entries.iter().cloned().chain(receipts).collect();
        let dir = tempfile::tempdir().unwrap();
        world.write_log(dir.path(), &log);
        for (object, bytes) in world.objects.iter().zip(&bytes) {
            put(dir.path(), &object.name, bytes);
        }
        check_dir(dir.path(), &Options { archive_lag_s, ..world.options() })
    };
    let with = |change: &dyn Fn(&mut Vec<ArchiveBody>)| with_lag(None, change);
    // a stream's newest object may wait for its receipt, which is said; an older one may not
    let report = with(&|receipts| drop(receipts.remove(1)));
    assert_eq!((report.findings.len(), report.outcome), (0, Outcome::Proven));
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("no ARCHIVE receipt yet") && note.contains(&world.objects[1].name))
    );
    // in an archive that is being written, what was sealed just now may wait: the result says so
    let report = with_lag(Some(60), &|receipts| drop(receipts.drain(..2)));
    assert_eq!((report.findings.len(), report.outcome, report.notes.len()), (0, Outcome::Incomplete, 2));
    expect(&with_lag(Some(10), &|receipts| drop(receipts.drain(..2))), &["T28"]);
    expect(&with_lag(Some(60), &|receipts| drop(receipts.remove(0))), &["T08", "T28"]);
    let report = with(&|receipts| drop(receipts.drain(..2)));
    expect(&report, &["T28"]);
    assert_eq!(
        (report.findings.len(), report.findings[0].object.as_deref()),
        (1, Some(world.objects[0].name.as_str()))
    );
    expect(&with(&|receipts| drop(receipts.remove(0))), &["T08", "T28"]);
    expect(&with(&|receipts| receipts[0].object_sha256.0[7] ^= 1), &["T28"]);
    expect(&with(&|receipts| receipts[0].bytes += 1), &["T28"]);
    expect(&with(&|receipts| receipts[1].last_seal -= 1), &["T28"]);
    let report = with(&|receipts| receipts[1].origin.push('x'));
    assert_eq!((codes(&report), report.exit_code), (vec!["T12"], 4));
    expect(&with(&|receipts| receipts[1].last_seal += 1), &["T09", "T28"]);
    expect(&with(&|receipts| receipts[1].version = 2), &["T09"]);
    expect(&with(&|receipts| receipts[1].stream_id.0[0] ^= 1), &["T09"]);
    expect(&with(&|receipts| receipts.push(receipts[0].clone())), &["T08", "T09"]);
    // the receipt of an object that is not there, one past the stream's last seal
    let more = |receipts: &mut Vec<ArchiveBody>| {
        receipts[0].last_seal = 2;
        let name = object_name(Table::Events, 0, 3, START_MS + 5000 * 4);
        receipts.insert(1, ArchiveBody { object: name, first_seal: 3, last_seal: 4, ..receipts[0].clone() });
    };
    expect(&with(&more), &["T06", "T28"]);
}
