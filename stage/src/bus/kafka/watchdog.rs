//! A reader that has gone silent while its partition grows: the client library knows of such hangs, and nothing else
//! would show one, as heartbeats go on (I-03).
//!
//! Offsets alone cannot tell: a topic may end in control records, and an open transaction holds back what comes after it.
//! So what counts is news of a partition (a record, or word that its end is reached) after it was seen to grow. A silence
//! of [`STALL`] is longer than any transaction may stay open, and ends the reader with a lasting error: the stage ends,
//! readiness turns false, and the process exits for its supervisor to start it again.

use std::time::{Duration, Instant};

/// Longest silence of a partition that grows.
pub(super) const STALL: Duration = Duration::from_secs(180);
/// How often one of the partitions is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// What the watchdog knows of one partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// The end up to which there was news.
    end: i64,
    /// The end was reached since the last look.
    reached: bool,
    /// When it was first seen to have grown past `end`.
    grown: Option<Instant>,
}

impl Watched {
    /// A record came; `next` is the offset after it.
    pub(super) fn record(&mut self, next: i64) {
        self.end = self.end.max(next);
        self.grown = None;
    }

    /// The end was reached.
    pub(super) fn reached(&mut self) {
        self.reached = true;
        self.grown = None;
    }

    /// Looks at the partition's end; how long it has been silent, when that is too long.
    pub(super) fn look(&mut self, end: i64, now: Instant, stall: Duration) -> Option<Duration> {
        if std::mem::take(&mut self.reached) {
            self.end = self.end.max(end);
        }
        if end <= self.end {
            self.grown = None;
            return None;
        }
        let silent = now.saturating_duration_since(*self.grown.get_or_insert(now));
        (silent >= stall).then_some(silent)
    }

    /// Nothing is expected of a partition that is paused.
    pub(super) fn rest(&mut self) {
        self.grown = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rdkafka::consumer::Consumer as _;

    use crate::bus::kafka::reader::KafkaReader;
    use crate::bus::kafka::{Kafka, KafkaConfig};
    use crate::bus::{
        Assign, Batch, Bus as _, BusErrorKind, Cleanup, PollLimit, Position, Reader as _, ReaderSpec, TopicPartition,
        TopicSpec, WriteMode, WriterSpec,
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// The hang itself, on a real broker: the client fetches no more, although records come; and an idle topic that ends
    /// in a control record is no hang.
    #[test]
    fn a_client_that_hangs_ends_its_reader() {
        let broker = testkit::kafka::Kafka::one().unwrap();
        let config = KafkaConfig::at(&broker.bootstrap());
        let bus = Kafka::connect(&config).unwrap();
        let keep = Cleanup::Delete { retention_ms: -1 };
        bus.ensure_topics(&[TopicSpec { name: "t".into(), partitions: 1, cleanup: keep }]).unwrap();
        let mut writer = bus.writer(&WriterSpec { name: "w".into(), mode: WriteMode::Transactional }).unwrap();
        let mut write = |text: &str| {
            writer.begin().unwrap();
            writer.send("t", 0, None, Some(text.as_bytes())).unwrap();
            writer.commit(None).unwrap();
        };
        write("one");
        let place = TopicPartition { topic: "t".into(), partition: 0 };
        let start = Position { topic_partition: place, next_offset: 0 };
        let spec = ReaderSpec { topics: vec!["t".into()], assign: Assign::Manual(vec![start]), instance: "r".into() };
        let mut reader = KafkaReader::open(&config, &spec).unwrap();
        reader.stall = SECOND * 2;
        let limit = PollLimit { records: 10, bytes: 1 << 20, wait: SECOND / 10 };
        let (mut batch, mut seen) = (Batch::default(), 0);
        let idle = Instant::now();
        while seen < 1 || idle.elapsed() < SECOND * 6 {
            reader.poll(&mut batch, limit).unwrap();
            seen += batch.len();
        }
        assert_eq!(seen, 1);
        // behind the reader's back
        reader.consumer.pause(&reader.consumer.assignment().unwrap()).unwrap();
        write("two");
        let until = Instant::now() + SECOND * 60;
        let error = loop {
            assert!(Instant::now() < until, "the hang is not seen");
            match reader.poll(&mut batch, limit) {
                Ok(_) => assert!(batch.is_empty()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, BusErrorKind::Fatal);
        assert!(error.to_string().contains("nothing has come for"), "{error}");
    }

    #[test]
    fn silence_counts_from_growth_and_news_ends_it() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        let at = |seconds: u32| start + SECOND * seconds;
        watched.record(10);
        // the topic ends in a control record: the library says so, and that is no silence
        watched.reached();
        assert_eq!(watched.look(11, at(0), STALL), None);
        assert_eq!(watched.look(11, at(10_000), STALL), None);
        assert_eq!(watched.look(12, at(10_005), STALL), None);
        assert_eq!(watched.look(15, at(10_180), STALL), None, "counted from the first growth");
        watched.record(13);
        assert_eq!(watched.look(15, at(10_190), STALL), None, "news begins it anew");
        assert_eq!(watched.look(15, at(10_370), STALL), Some(SECOND * 180));
        watched.rest();
        assert_eq!(watched.look(15, at(10_380), STALL), None);
        watched.reached();
        assert_eq!(watched.look(15, at(20_000), STALL), None);
        assert_eq!(watched.look(15, at(30_000), STALL), None);
    }
}
