//! The tap's promises: guarantees, refusals at the limits, replay after a restart, a bus that is down.
use super::*;
use crate::journal;
use schemas::Record as _;
use schemas::v1::{FrameKind, RawFrame, Session, SessionState};
use stage::bus::{BusError, BusErrorKind, Writer, WriterSpec};
use stage::bus::{Membership, Position, Reader, ReaderSpec, TopicInfo, TopicPartition, TopicSpec};

mod limits;

type Seen = (String, Vec<u8>, Vec<u8>);

/// Values above this are refused for good, as a broker refuses what passes its limit.
const TOO_LARGE: usize = 50_000;

/// A bus that keeps what was committed, and can be taken down.
#[derive(Default)]
struct FakeBus {
    /// Sizes are judged at the commit, as a broker does, and of the batch too.
    at_commit: Arc<AtomicBool>,
    down: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct FakeWriter {
    at_commit: Arc<AtomicBool>,
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
        let (at_commit, down, seen) = (self.at_commit.clone(), self.down.clone(), self.seen.clone());
        Ok(Box::new(FakeWriter { at_commit, down, seen, open: Vec::new() }))
    }
}

impl Writer for FakeWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        self.open.clear();
        Ok(())
    }
    fn send(&mut self, topic: &str, _: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        if value.unwrap().len() > TOO_LARGE && !self.at_commit.load(Ordering::SeqCst) {
            return Err(BusError::new(BusErrorKind::TooLarge, "send", "the record is too large"));
        }
        self.open.push((topic.to_owned(), key.unwrap().to_vec(), value.unwrap().to_vec()));
        Ok(())
    }
    fn commit(&mut self, _: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(BusError::new(BusErrorKind::Retriable, "commit", "down"));
        }
        let whole: usize = self.open.iter().map(|(_, _, value)| value.len()).sum();
        let largest = self.open.iter().map(|(_, _, value)| value.len()).max().unwrap_or(0);
        if self.at_commit.load(Ordering::SeqCst) && (largest > TOO_LARGE || whole > 2 * TOO_LARGE) {
            return Err(BusError::new(BusErrorKind::TooLarge, "commit", "too large"));
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
        self.open_on(bytes_max, Arc::new(journal::System))
    }

    fn open_on(&self, bytes_max: u64, disk: Arc<dyn journal::Disk>) -> (Arc<Journal>, Arc<Tap>) {
        let at = journal::Options { bytes_max, segment_bytes: 4096, disk, ..journal::Options::at(self.folder.path()) };
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
            ephemeral: false,
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

/// A session that waits for a busy disk, where what is tested is not the wait.
fn patient(tap: &Arc<Tap>, id: u8, guarantee: Guarantee) -> SessionTap {
    tap.session(Uuid([id; 16]), guarantee, 1 << 24).waiting(Duration::from_secs(2))
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
    let mut session = patient(&tap, 3, Guarantee::Acked);
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
    let mut journaled = patient(&tap, 4, Guarantee::Journaled);
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
    let mut session = patient(&tap, 3, Guarantee::Journaled);
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
    // Its end is written in its name, as the process that knew it is gone.
    let frames = raw_frames(&world.wait(121));
    assert!(frames.iter().map(|frame| frame.sequence).eq(0..121));
    assert_end(&frames, "proxy_restarted", 0);
    tap.stop();
    journal.close();
}

fn raw_frames(seen: &[Seen]) -> Vec<RawFrame> {
    let raw = seen.iter().filter(|(topic, _, _)| topic == "audit.raw");
    raw.map(|(_, _, value)| RawFrame::from_body(schemas::framing::split(value).unwrap().1).unwrap()).collect()
}

fn session_states(seen: &[Seen]) -> Vec<SessionState> {
    let sessions = seen.iter().filter(|(topic, _, _)| topic == "audit.sessions");
    sessions.map(|(_, _, value)| Session::from_body(schemas::framing::split(value).unwrap().1).unwrap().state).collect()
}

/// The last record is the only end, dense, and counts everything before it.
fn assert_end(frames: &[RawFrame], reason: &str, messages: i64) {
    let ends = frames.iter().filter(|frame| frame.kind == FrameKind::SessionClosed);
    assert_eq!(ends.count(), 1);
    let end = frames.last().unwrap();
    let facts = end.facts.as_ref().unwrap();
    let count = i64::try_from(frames.len()).unwrap();
    assert_eq!((end.kind, end.sequence, end.payload.len()), (FrameKind::SessionClosed, count - 1, 0));
    assert_eq!(facts.reason_code, reason);
    assert_eq!((facts.record_count, facts.message_count), (Some(count), Some(messages)));
}

fn message(sequence: i64) -> RawFrame {
    RawFrame { kind: FrameKind::Message, last: sequence % 2 == 1, payload: vec![5; 300], ..frame(sequence) }
}

#[test]
fn p21_a_process_that_dies_leaves_each_session_one_end_also_when_the_restart_dies() {
    let world = World::new();
    let (journal, tap) = world.open(1 << 20);
    let mut session = patient(&tap, 3, Guarantee::Acked);
    block(async {
        let open = Session { session_id: Uuid([3; 16]), state: SessionState::Open, ..Session::default() };
        session.session(&open).await.unwrap();
        // Several segments, so that most of the session is known from the checkpoint alone.
        for sequence in 0..40 {
            let body = session.raw(|out| message(sequence).encode(out));
            session.record(&[body]).await.unwrap();
            session.settle().await.unwrap();
        }
    });
    assert!(journal.bounds().0 > 10, "nothing was trimmed");
    world.bus.down.store(true, Ordering::SeqCst);
    tap.stop();
    journal.close();
    drop((session, tap, journal));
    // Twice more: each time the process dies before the bus takes anything.
    for _ in 0..2 {
        let (journal, tap) = world.open(1 << 20);
        std::thread::sleep(Duration::from_millis(30));
        tap.stop();
        journal.close();
    }
    world.bus.down.store(false, Ordering::SeqCst);
    let (journal, tap) = world.open(1 << 20);
    let seen = world.wait(43);
    assert_end(&raw_frames(&seen), "proxy_restarted", 20);
    assert_eq!(session_states(&seen), [SessionState::Open, SessionState::Closed]);
    let accounting = tap.accounting();
    assert_eq!((accounting.unrecorded, accounting.waiting), (0, 0));
    tap.stop();
    journal.close();
    drop((tap, journal));
    // And nothing more once all is told.
    let (journal, tap) = world.open(1 << 20);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(world.bus.seen.lock().len(), 43);
    tap.stop();
    journal.close();
}

#[test]
fn a_session_whose_task_ends_without_an_end_gets_one() {
    let world = World::new();
    let (journal, tap) = world.open(1 << 20);
    let mut session = patient(&tap, 3, Guarantee::Journaled);
    block(record(&mut session, 0)).unwrap();
    drop(session);
    let frames = raw_frames(&world.wait(2));
    assert_end(&frames, "session_aborted", 0);
    tap.stop();
    journal.close();
}

#[test]
fn a_session_refused_before_its_first_record_is_told_once_there_is_room() {
    let world = World::new();
    world.bus.down.store(true, Ordering::SeqCst);
    let (journal, tap) = world.open(2000);
    let mut filler = patient(&tap, 4, Guarantee::Journaled);
    let mut sequence = 0;
    while block(record(&mut filler, sequence)).is_ok() {
        sequence += 1;
    }
    let mut late = tap.session(Uuid([9; 16]), Guarantee::Journaled, 1 << 16);
    let open = Session { session_id: Uuid([9; 16]), state: SessionState::Open, ..Session::default() };
    assert_eq!(block(late.session(&open)).unwrap_err().kind(), "journal_full");
    drop((late, filler));
    world.bus.down.store(false, Ordering::SeqCst);
    let seen = world.wait(usize::try_from(sequence).unwrap() + 3);
    assert_eq!(session_states(&seen), [SessionState::Refused]);
    let frames: Vec<RawFrame> = raw_frames(&seen);
    let refused: Vec<_> = frames.iter().filter(|frame| frame.session_id == Uuid([9; 16])).collect();
    assert_eq!((refused.len(), refused[0].kind, refused[0].sequence), (1, FrameKind::SessionRefused, 0));
    assert_eq!(refused[0].facts.as_ref().unwrap().reason_code, "journal_full");
    tap.stop();
    journal.close();
}

#[test]
fn a_full_journal_refuses_in_words_and_recovers_by_itself() {
    let world = World::new();
    world.bus.down.store(true, Ordering::SeqCst);
    let (journal, tap) = world.open(2000);
    let mut session = patient(&tap, 3, Guarantee::Journaled);
    let mut sequence = 0;
    let refused = loop {
        if let Err(error) = block(record(&mut session, sequence)) {
            break error;
        }
        sequence += 1;
    };
    assert_eq!((refused.kind(), refused.sqlstate()), ("journal_full", "53100"));
    world.bus.down.store(false, Ordering::SeqCst);
    drop(session);
    let frames = raw_frames(&world.wait(usize::try_from(sequence).unwrap() + 1));
    assert_eq!(i64::try_from(frames.len()).unwrap(), sequence + 1);
    assert_end(&frames, "journal_full", 0);
    let mut next = patient(&tap, 4, Guarantee::Journaled);
    block(record(&mut next, 0)).unwrap();
    let accounting = tap.accounting();
    assert_eq!((accounting.unrecorded, accounting.refused), (0, 1));
    tap.stop();
    journal.close();
}

/// Records 0 to 20, of which 7 is too large: the others arrive, 7 has a stand-in, a dead letter and a file.
fn oversize(at_commit: bool) {
    let world = World::new();
    world.bus.at_commit.store(at_commit, Ordering::SeqCst);
    let (journal, tap) = world.open(1 << 24);
    let mut session = patient(&tap, 3, Guarantee::Journaled);
    block(async {
        for sequence in 0..20 {
            // At the commit the batch itself is too large, so that the culprit has to be found.
            let len = if sequence == 7 { TOO_LARGE + 1 } else { 20_000 };
            let made = RawFrame { payload: vec![9; len], ..frame(sequence) };
            let body = session.raw(|out| made.encode(out));
            session.record(&[body]).await.unwrap();
        }
        session.settle().await.unwrap();
    });
    let seen = world.wait(21);
    let frames = raw_frames(&seen);
    assert!(frames.iter().map(|frame| frame.sequence).eq(0..20), "dense and in order");
    assert!(frames.iter().all(|frame| frame.payload.len() == if frame.sequence == 7 { 0 } else { 20_000 }));
    assert_eq!(frames[7].facts.as_ref().unwrap().reason_code, "oversize");
    let letters: Vec<_> = seen.iter().filter(|(topic, _, _)| topic == "audit.dlq").collect();
    let letter = schemas::v1::DeadLetter::from_body(schemas::framing::split(&letters[0].2).unwrap().1).unwrap();
    assert_eq!((letters.len(), letter.code.as_str(), letter.topic.as_str()), (1, "P-001", "audit.raw"));
    for _ in 0..200 {
        if tap.committed() == 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((tap.committed(), tap.counters().quarantined.load(Ordering::Relaxed)), (20, 1));
    let files: Vec<_> = std::fs::read_dir(world.folder.path().join("quarantine")).unwrap().collect();
    let body = std::fs::read(files[0].as_ref().unwrap().path()).unwrap();
    assert_eq!((files.len(), RawFrame::from_body(&body[HEAD..]).unwrap().sequence), (1, 7));
    tap.stop();
    journal.close();
}

#[test]
fn a_record_refused_as_too_large_becomes_a_dead_letter_and_the_rest_goes_on() {
    oversize(false);
}

#[test]
fn a_record_refused_at_the_commit_is_found_and_becomes_a_dead_letter() {
    oversize(true);
}
