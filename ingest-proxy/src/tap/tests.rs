//! The tap's promises: guarantees, refusals at the limits, replay after a restart, a bus that is down.
use super::*;
use crate::journal;
use schemas::v1::RawFrame;
use stage::bus::{Membership, Position, Reader, ReaderSpec, TopicInfo, TopicPartition, TopicSpec};

type Seen = (String, Vec<u8>, Vec<u8>);

/// Values above this are refused for good, as a broker refuses what passes its limit.
const TOO_LARGE: usize = 50_000;

/// A bus that keeps what was committed, and can be taken down.
#[derive(Default)]
struct FakeBus {
    down: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct FakeWriter {
    down: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Vec<Seen>,
}

fn missing() -> BusError {
    BusError::new(BusErrorKind::Missing, "fake", "not offered")
}

impl Bus for FakeBus {
    fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), BusError> {
        Ok(())
    }
    fn describe(&self, _: &str) -> Result<TopicInfo, BusError> {
        Err(missing())
    }
    fn bounds(&self, _: &TopicPartition) -> Result<(i64, i64), BusError> {
        Err(missing())
    }
    fn reader(&self, _: &ReaderSpec) -> Result<Box<dyn Reader>, BusError> {
        Err(missing())
    }
    fn writer(&self, _: &WriterSpec) -> Result<Box<dyn Writer>, BusError> {
        Ok(Box::new(FakeWriter { down: self.down.clone(), seen: self.seen.clone(), open: Vec::new() }))
    }
}

impl Writer for FakeWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        self.open.clear();
        Ok(())
    }
    fn send(&mut self, topic: &str, _: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        if value.unwrap().len() > TOO_LARGE {
            return Err(BusError::new(BusErrorKind::Fatal, "send", "the record is too large"));
        }
        self.open.push((topic.to_owned(), key.unwrap().to_vec(), value.unwrap().to_vec()));
        Ok(())
    }
    fn commit(&mut self, _: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(BusError::new(BusErrorKind::Retriable, "commit", "down"));
        }
        self.seen.lock().append(&mut self.open);
        Ok(())
    }
    fn abort(&mut self) -> Result<(), BusError> {
        self.open.clear();
        Ok(())
    }
}

struct World {
    folder: tempfile::TempDir,
    bus: Arc<FakeBus>,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), bus: Arc::new(FakeBus::default()) }
    }

    fn open(&self, bytes_max: u64) -> (Arc<Journal>, Arc<Tap>) {
        let at = journal::Options { bytes_max, segment_bytes: 4096, ..journal::Options::at(self.folder.path()) };
        let (journal, _) = Journal::open(at).unwrap();
        let options = Options {
            topics: Topics::default(),
            partitions: 4,
            raw_framing: Framing::single_object::<RawFrame>(),
            session_framing: Framing::single_object::<Session>(),
            instance: "proxy-0".into(),
            wait_max: Duration::from_millis(150),
            batch_bytes: 1 << 20,
            quarantine: self.folder.path().join("quarantine"),
        };
        let tap = Tap::start(journal.clone(), self.bus.clone(), options).unwrap();
        (journal, tap)
    }

    fn wait(&self, count: usize) -> Vec<Seen> {
        for _ in 0..200 {
            if self.bus.seen.lock().len() >= count {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.bus.seen.lock().clone()
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn frame(sequence: i64) -> RawFrame {
    RawFrame { session_id: Uuid([3; 16]), sequence, ..RawFrame::default() }
}

async fn record(session: &mut SessionTap, sequence: i64) -> Result<(), TapError> {
    let record = session.raw(|out| frame(sequence).encode(out));
    session.record(&[record]).await?;
    session.settle().await
}

#[test]
fn the_session_comes_first_and_order_is_kept() {
    let world = World::new();
    let (journal, tap) = world.open(1 << 20);
    let mut session = tap.session(Uuid([3; 16]), Guarantee::Acked, 1 << 16);
    block(async {
        session.session(&Session { session_id: Uuid([3; 16]), ..Session::default() }).await.unwrap();
        for sequence in 0..50 {
            record(&mut session, sequence).await.unwrap();
            // I-01: acked means that the bus has it when `settle` returns.
            assert_eq!(world.bus.seen.lock().len(), usize::try_from(sequence).unwrap() + 2);
        }
    });
    let seen = world.wait(51);
    assert_eq!(seen[0].0, "audit.sessions");
    for (sequence, (topic, key, value)) in (0i64..).zip(&seen[1..]) {
        assert_eq!((topic.as_str(), key.as_slice()), ("audit.raw", Uuid([3; 16]).to_text().as_bytes()));
        let (framing, body) = schemas::framing::split(value).unwrap();
        assert_eq!(framing, Framing::single_object::<RawFrame>());
        assert_eq!(RawFrame::from_body(body).unwrap(), frame(sequence));
    }
    tap.stop();
    journal.close();
}

#[test]
fn p17_a_bus_that_is_down_refuses_acked_and_lets_journaled_go_on() {
    let world = World::new();
    world.bus.down.store(true, Ordering::SeqCst);
    let (journal, tap) = world.open(1 << 20);
    let mut acked = tap.session(Uuid([3; 16]), Guarantee::Acked, 1 << 16);
    let refused = block(record(&mut acked, 0)).unwrap_err();
    assert_eq!((refused.kind(), refused.sqlstate()), ("bus_down", "57P01"));
    let mut journaled = tap.session(Uuid([4; 16]), Guarantee::Journaled, 1 << 16);
    block(record(&mut journaled, 0)).unwrap();
    world.bus.down.store(false, Ordering::SeqCst);
    // Nothing was dropped: the refused record is told too.
    assert_eq!(world.wait(2).len(), 2);
    tap.stop();
    journal.close();
}

#[test]
fn p13_what_the_bus_did_not_take_is_replayed_after_a_restart() {
    let world = World::new();
    world.bus.down.store(true, Ordering::SeqCst);
    let (journal, tap) = world.open(1 << 20);
    let mut session = tap.session(Uuid([3; 16]), Guarantee::Journaled, 1 << 16);
    block(async {
        for sequence in 0..120 {
            record(&mut session, sequence).await.unwrap();
        }
    });
    tap.stop();
    journal.close();
    drop((session, tap, journal));
    world.bus.down.store(false, Ordering::SeqCst);
    let (journal, tap) = world.open(1 << 20);
    let bodies: Vec<i64> = world
        .wait(120)
        .iter()
        .map(|(_, _, value)| RawFrame::from_body(schemas::framing::split(value).unwrap().1).unwrap().sequence)
        .collect();
    assert!(bodies.into_iter().eq(0..120));
    tap.stop();
    journal.close();
}

#[test]
fn a_full_journal_refuses_in_words_and_recovers_by_itself() {
    let world = World::new();
    world.bus.down.store(true, Ordering::SeqCst);
    let (journal, tap) = world.open(2000);
    let mut session = tap.session(Uuid([3; 16]), Guarantee::Journaled, 1 << 16);
    let mut sequence = 0;
    let refused = loop {
        if let Err(error) = block(record(&mut session, sequence)) {
            break error;
        }
        sequence += 1;
    };
    assert_eq!((refused.kind(), refused.sqlstate()), ("journal_full", "53100"));
    world.bus.down.store(false, Ordering::SeqCst);
    let count = usize::try_from(sequence).unwrap();
    assert_eq!(world.wait(count).len(), count);
    block(record(&mut session, sequence)).unwrap();
    tap.stop();
    journal.close();
}

#[test]
fn a_record_the_bus_refuses_for_good_is_set_aside_and_the_rest_goes_on() {
    let world = World::new();
    let (journal, tap) = world.open(1 << 24);
    let mut session = tap.session(Uuid([3; 16]), Guarantee::Acked, 1 << 20);
    block(async {
        record(&mut session, 0).await.unwrap();
        let poison = RawFrame { payload: vec![9; TOO_LARGE + 1], ..frame(1) };
        let body = session.raw(|out| poison.encode(out));
        session.record(&[body]).await.unwrap();
        record(&mut session, 2).await.unwrap();
    });
    let seen = world.wait(2);
    assert_eq!(seen.len(), 2);
    for _ in 0..200 {
        if tap.committed() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((tap.committed(), tap.counters().quarantined.load(Ordering::Relaxed)), (3, 1));
    let files: Vec<_> = std::fs::read_dir(world.folder.path().join("quarantine")).unwrap().collect();
    let body = std::fs::read(files[0].as_ref().unwrap().path()).unwrap();
    assert_eq!((files.len(), RawFrame::from_body(&body[HEAD..]).unwrap().sequence), (1, 1));
    tap.stop();
    journal.close();
}
