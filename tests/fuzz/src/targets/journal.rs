//! A segment file of any bytes: opening never panics, and what is read back was whole.

use std::cell::RefCell;
use std::time::Duration;

use ingest_proxy::journal::{Journal, Options};
use tempfile::TempDir;

/// A journal folder whose one segment is the input.
pub(crate) fn open(input: &[u8]) {
    thread_local!(static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) });
    FOLDER.with_borrow_mut(|slot| {
        let folder = slot.get_or_insert_with(|| TempDir::new().expect("make a folder"));
        let place = folder.path().join("journal");
        drop(std::fs::remove_dir_all(&place));
        std::fs::create_dir_all(&place).expect("make the journal's folder");
        std::fs::write(place.join(SEGMENT), input).expect("write the segment");
        let options = Options { segment_bytes: 1 << 20, bytes_max: 4 << 20, ..Options::at(&place) };
        if let Ok((journal, _recovery)) = Journal::open(options) {
            let (first, end) = journal.bounds();
            drop(journal.read(first, 1 << 20));
            assert!(first <= end);
            journal.close();
        }
    });
}

/// Name of the first segment.
const SEGMENT: &str = "00000000000000000000.segment";

/// A segment of three records.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let folder = TempDir::new().expect("make a folder");
    let options = Options { segment_bytes: 4096, bytes_max: 1 << 20, ..Options::at(folder.path()) };
    let (journal, _recovery) = Journal::open(options).expect("open a journal");
    let end = journal.append(&[b"one".as_slice(), b"two", b"three"]).expect("append");
    assert!(journal.wait_durable(end, Duration::from_secs(10)), "the records become durable");
    journal.close();
    let segment = std::fs::read_dir(folder.path()).expect("list the folder").filter_map(Result::ok);
    let segment = segment.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "segment"));
    segment.map(|path| std::fs::read(path).expect("read the segment")).collect()
}
