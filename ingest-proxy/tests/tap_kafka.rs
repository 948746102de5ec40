//! The tap on a real broker whose topic takes less than a record needs: the record at fault is found among those that
//! were refused with it, becomes a dead letter, and nobody else waits for it (I-04).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ingest_proxy::journal::{Journal, Options as JournalOptions};
use ingest_proxy::tap::{Guarantee, Options, Tap};
use schemas::Record;
use schemas::framing::{Framing, split};
use schemas::topics::Topics;
use schemas::v1::{DeadLetter, FrameKind, RawFrame, Session, SessionState, Uuid};
use stage::bus::kafka::{Kafka, KafkaConfig};
use stage::bus::{Assign, Batch, Bus, PollLimit, Position, ReaderSpec, TopicPartition};

/// Bytes of a batch that `audit.raw` takes.
const TOPIC_BYTES: &str = "20000";
const RECORDS: i64 = 60;

fn read<R: Record>(bus: &Kafka, topic: &str) -> Vec<R> {
    let topic_partition = TopicPartition { topic: topic.into(), partition: 0 };
    let assign = Assign::Manual(vec![Position { topic_partition, next_offset: 0 }]);
    let spec = ReaderSpec { topics: vec![topic.into()], assign, instance: "test".into() };
    let (mut reader, mut batch, mut found) = (bus.reader(&spec).unwrap(), Batch::default(), Vec::new());
    let mut until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let limit = PollLimit { records: 1000, bytes: 8 << 20, wait: Duration::from_millis(200) };
        reader.poll(&mut batch, limit).unwrap();
        if !batch.is_empty() {
            until = Instant::now() + Duration::from_secs(3);
        }
        found.extend(batch.iter().map(|record| R::from_body(split(record.value.unwrap()).unwrap().1).unwrap()));
    }
    found
}

#[test]
fn a_record_too_large_for_its_topic_becomes_a_dead_letter_and_holds_up_nobody() {
    let broker = testkit::kafka::Kafka::one().unwrap();
    let topics = Topics::default();
    broker.create_topic(&topics.raw, 1, &[("max.message.bytes", TOPIC_BYTES)]).unwrap();
    broker.create_topic(&topics.sessions, 1, &[]).unwrap();
    broker.create_topic(&topics.dlq, 1, &[]).unwrap();
    let mut config = KafkaConfig::at(&broker.bootstrap());
    config.identity_topic = "test.topic.ids".into();
    // Contents of these tests are alike: compressed they would fit.
    config.properties.insert("compression.type".into(), "none".into());
    let bus = Kafka::connect(&config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(JournalOptions::at(&folder.path().join("journal"))).unwrap();
    let options = Options {
        topics: topics.clone(),
        partitions: 1,
        raw_framing: Framing::single_object::<RawFrame>(),
        session_framing: Framing::single_object::<Session>(),
        instance: "proxy-0".into(),
        wait_max: Duration::from_secs(60),
        batch_bytes: 1 << 20,
        quarantine: folder.path().join("quarantine"),
        ephemeral: false,
    };
    let tap = Tap::start(journal.clone(), bus.clone(), options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = |session: u8| Uuid([session; 16]);
    runtime.block_on(async {
        let mut all: Vec<_> = (1..=2u8).map(|one| tap.session(id(one), Guarantee::Journaled, 8 << 20)).collect();
        for (one, session) in (1u8..).zip(&mut all) {
            let open = Session { session_id: id(one), state: SessionState::Open, ..Session::default() };
            session.session(&open).await.unwrap();
        }
        for sequence in 0..RECORDS {
            for (one, session) in (1u8..).zip(&mut all) {
                // Two of the first session are too large for the topic in themselves.
                let len = if one == 1 && [20, 40].contains(&sequence) { 50_000 } else { 3_000 };
                let kind = if sequence == RECORDS - 1 { FrameKind::SessionClosed } else { FrameKind::Message };
                let payload = (0..len).map(|byte: u32| byte.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
                let frame =
                    RawFrame { session_id: id(one), sequence, kind, last: true, payload, ..RawFrame::default() };
                let made = session.raw(|out| frame.encode(out));
                session.record(&[made]).await.unwrap();
            }
        }
        for session in &mut all {
            session.settle().await.unwrap();
        }
    });
    let (_, next) = journal.bounds();
    let until = Instant::now() + Duration::from_secs(90);
    while tap.committed() < next && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((tap.committed(), tap.accounting().unrecorded), (next, 0));
    assert_eq!(tap.counters().quarantined.load(Ordering::Relaxed), 2);
    let mut found: BTreeMap<[u8; 16], BTreeMap<i64, RawFrame>> = BTreeMap::new();
    for frame in read::<RawFrame>(&bus, &topics.raw) {
        // At least once: a batch that was refused for one partition may be sent again.
        found.entry(frame.session_id.0).or_default().insert(frame.sequence, frame);
    }
    for one in 1..=2u8 {
        let frames = &found[&id(one).0];
        assert!(frames.keys().copied().eq(0..RECORDS), "session {one} is not dense");
        for (sequence, frame) in frames {
            let large = one == 1 && [20, 40].contains(sequence);
            assert_eq!(frame.payload.len(), if large { 0 } else { 3_000 });
            assert_eq!(frame.facts.as_ref().map(|facts| facts.reason_code.as_str()), large.then_some("oversize"));
        }
    }
    let mut letters: BTreeMap<Vec<u8>, DeadLetter> = BTreeMap::new();
    for letter in read::<DeadLetter>(&bus, &topics.dlq) {
        letters.insert(letter.value.clone().unwrap(), letter);
    }
    assert_eq!(letters.len(), 2);
    for letter in letters.values() {
        assert_eq!((letter.code.as_str(), letter.stage.as_str(), letter.offset), ("P-001", "ingest-proxy", -1));
        let whole = RawFrame::from_body(split(letter.value.as_ref().unwrap()).unwrap().1).unwrap();
        assert_eq!(whole.payload.len(), 50_000);
    }
    // The topic is compacted by key: the newest counts, and a repeat changes nothing.
    let states: BTreeMap<[u8; 16], SessionState> =
        read::<Session>(&bus, &topics.sessions).iter().map(|session| (session.session_id.0, session.state)).collect();
    assert!(states.len() == 2 && states.values().all(|state| *state == SessionState::Closed), "{states:?}");
    tap.stop();
    journal.close();
}
