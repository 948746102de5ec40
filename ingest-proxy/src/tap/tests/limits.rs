//! What happens at the limits, by guarantee: a stalled disk, a silent bus, a window that does not drain.
use super::*;

/// A disk whose syncs do not return while it is stalled.
#[derive(Debug, Default)]
struct Stalling(AtomicBool);

impl journal::Disk for Stalling {
    fn write_at(&self, file: &std::fs::File, bytes: &[u8], at: u64) -> std::io::Result<()> {
        journal::System.write_at(file, bytes, at)
    }
    fn sync(&self, file: &std::fs::File) -> std::io::Result<()> {
        while self.0.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        journal::System.sync(file)
    }
}

#[test]
fn a_stalled_disk_refuses_journaled_and_bounds_buffered_by_its_window() {
    let world = World::new();
    let disk = Arc::new(Stalling::default());
    let (journal, tap) = world.open_on(1 << 24, disk.clone());
    let mut journaled = tap.session(Uuid([3; 16]), Guarantee::Journaled, 1 << 16);
    let mut buffered = tap.session(Uuid([4; 16]), Guarantee::Buffered, 2000);
    let mut window = tap.session(Uuid([5; 16]), Guarantee::Journaled, 2000);
    let big = |session: &SessionTap, id: u8, sequence: i64| {
        let made = RawFrame { session_id: Uuid([id; 16]), sequence, payload: vec![1; 900], ..RawFrame::default() };
        session.raw(|out| made.encode(out))
    };
    disk.0.store(true, Ordering::SeqCst);
    assert_eq!(block(record(&mut journaled, 0)).unwrap_err().kind(), "journal_stalled");
    let refused = block(async {
        let mut sequence = 0;
        loop {
            let body = big(&buffered, 4, sequence);
            if let Err(error) = buffered.record(&[body]).await {
                return error;
            }
            // In memory is enough, as it is configured to be.
            buffered.settle().await.unwrap();
            sequence += 1;
        }
    });
    assert_eq!((refused.kind(), refused.sqlstate()), ("window_exceeded", "57P01"));
    // Responses: recorded, not settled.
    let refused = block(async {
        let mut sequence = 0;
        loop {
            let body = big(&window, 5, sequence);
            if let Err(error) = window.record(&[body]).await {
                return error;
            }
            sequence += 1;
        }
    });
    assert_eq!(refused.kind(), "window_exceeded");
    drop((journaled, buffered, window));
    disk.0.store(false, Ordering::SeqCst);
    // 1 + 3 + 3 records and three ends: nothing was dropped, and each decision is told.
    let frames = raw_frames(&world.wait(10));
    let ends = frames.iter().filter(|frame| frame.kind == FrameKind::SessionClosed);
    let mut reasons: Vec<_> = ends.map(|end| end.facts.as_ref().unwrap().reason_code.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["journal_stalled", "window_exceeded", "window_exceeded"]);
    assert_eq!((frames.len(), tap.accounting().unrecorded), (10, 0));
    tap.stop();
    journal.close();
}

#[test]
fn an_acked_session_ahead_of_a_silent_bus_by_its_window_is_refused() {
    let world = World::new();
    let (journal, tap) = world.open(1 << 24);
    let mut session = tap.session(Uuid([3; 16]), Guarantee::Acked, 2000);
    session = session.waiting(Duration::from_secs(2));
    block(record(&mut session, 0)).unwrap();
    world.bus.down.store(true, Ordering::SeqCst);
    let refused = block(async {
        for sequence in 1.. {
            let made = RawFrame { payload: vec![1; 900], ..frame(sequence) };
            let body = session.raw(|out| made.encode(out));
            if let Err(error) = session.record(&[body]).await {
                return Some(error);
            }
        }
        None
    });
    assert_eq!(refused.unwrap().kind(), "window_exceeded");
    drop(session);
    world.bus.down.store(false, Ordering::SeqCst);
    assert_end(&raw_frames(&world.wait(5)), "window_exceeded", 0);
    tap.stop();
    journal.close();
}

#[test]
fn p17_a_bus_that_stalls_for_less_than_the_wait_drops_and_refuses_nothing() {
    let world = World::new();
    world.bus.down.store(true, Ordering::SeqCst);
    let (journal, tap) = world.open(1 << 24);
    std::thread::scope(|scope| {
        for (id, guarantee) in (1u8..).zip(Guarantee::ALL) {
            let tap = &tap;
            scope.spawn(move || {
                let session = tap.session(Uuid([id; 16]), guarantee, 1 << 20);
                let mut session = session.waiting(Duration::from_secs(60));
                block(async {
                    for sequence in 0..30 {
                        let made = RawFrame { session_id: Uuid([id; 16]), sequence, ..RawFrame::default() };
                        let body = session.raw(|out| made.encode(out));
                        session.record(&[body]).await.unwrap();
                        session.settle().await.unwrap();
                    }
                });
            });
        }
        // Long beyond the tap's own wait of 150 ms.
        std::thread::sleep(Duration::from_millis(900));
        assert!(world.bus.seen.lock().is_empty());
        world.bus.down.store(false, Ordering::SeqCst);
    });
    let frames = raw_frames(&world.wait(93));
    for id in 1u8..=3 {
        let own: Vec<RawFrame> = frames.iter().filter(|frame| frame.session_id == Uuid([id; 16])).cloned().collect();
        assert_end(&own, "session_aborted", 0);
        assert_eq!(own.len(), 31);
    }
    assert_eq!(tap.counters().refused.load(Ordering::Relaxed), 0);
    tap.stop();
    journal.close();
}
