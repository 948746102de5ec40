//! Writers on Kafka: one producer, polled by the thread that owns the writer.
//!
//! The library's own flush polls in steps of 100 ms, and its abort waits for reports nobody polls: here the
//! queue is drained by short polls before a commit and in the middle of an abort.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaConfig;
use super::client::{Role, Trouble, kind_of, kind_of_code, log, settings};
use super::reader::Token;
use crate::bus::{BusError, BusErrorKind, Membership, Position, WriteMode, Writer, WriterSpec};

/// Rest between two looks at delivery reports while the queue drains. A poll with a wait is no rest: the
/// library counts in whole milliseconds and spins through the last one.
const REST: Duration = Duration::from_micros(300);
/// Records between two looks at delivery reports while sending.
const REPORT_EVERY: u32 = 512;
/// What the protocol may add to a record, bytes.
const FRAME_BYTES: usize = 1024;

#[derive(Default)]
struct Callbacks {
    /// First delivery that failed since the transaction began.
    failed: Arc<Mutex<Option<Code>>>,
    trouble: Trouble,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        log(level, fac, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.note(format!("{error}: {reason}"));
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            // What an abort throws away is reported too, sometimes after the next transaction has begun.
            if !matches!(code, Code::PurgeQueue | Code::PurgeInflight) {
                self.failed.lock().get_or_insert(code);
            }
        }
    }
}

/// A writer.
pub(super) struct KafkaWriter {
    producer: BaseProducer<Callbacks>,
    name: String,
    mode: WriteMode,
    open: bool,
    since_report: u32,
    record_bytes_max: usize,
    timeout: Duration,
}

impl KafkaWriter {
    pub(super) fn open(config: &KafkaConfig, spec: &WriterSpec) -> Result<Self, BusError> {
        let mut settings = settings(config, Role::Producer);
        if spec.mode == WriteMode::Transactional {
            settings.set("transactional.id", &spec.name);
            if settings.get("transaction.timeout.ms").is_none() {
                settings.set("transaction.timeout.ms", "60000");
            }
            if settings.get("message.timeout.ms").is_none() && settings.get("delivery.timeout.ms").is_none() {
                // Must be below the transaction's: a record that cannot be sent fails before the broker gives up.
                settings.set("message.timeout.ms", "45000");
            }
        }
        let message_bytes: usize = settings.get("message.max.bytes").and_then(|text| text.parse().ok()).unwrap_or(0);
        let record_bytes_max = message_bytes.saturating_sub(FRAME_BYTES);
        let producer: BaseProducer<Callbacks> = settings
            .create_with_context(Callbacks::default())
            .map_err(|error| BusError::new(BusErrorKind::Fatal, format!("open writer {}", spec.name), error))?;
        let writer = Self {
            producer,
            name: spec.name.clone(),
            mode: spec.mode,
            open: false,
            since_report: 0,
            record_bytes_max,
            timeout: config.timeout,
        };
        if spec.mode == WriteMode::Transactional {
            writer.insist("open", |producer, left| producer.init_transactions(left))?;
        }
        Ok(writer)
    }

    fn fail(&self, operation: &str, error: &KafkaError) -> BusError {
        let mut kind = kind_of(error);
        let mut reason = self.producer.context().trouble.explain(error);
        // A producer that is finished says so here, whatever the call answered.
        if let Some((code, text)) = self.producer.client().fatal_error() {
            kind = match kind_of_code(code) {
                BusErrorKind::Fenced => BusErrorKind::Fenced,
                _ => BusErrorKind::Fatal,
            };
            reason = text;
        }
        BusError::new(kind, format!("{operation} as {}", self.name), reason)
    }

    fn refuse(&self, operation: &str, kind: BusErrorKind, reason: impl ToString) -> BusError {
        BusError::new(kind, format!("{operation} as {}", self.name), reason)
    }

    /// Calls again while the library says that it may be, up to the timeout.
    fn insist(
        &self,
        operation: &str,
        call: impl Fn(&BaseProducer<Callbacks>, Duration) -> KafkaResult<()>,
    ) -> Result<(), BusError> {
        let until = Instant::now() + self.timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
            let Err(error) = call(&self.producer, left) else { return Ok(()) };
            let failed = self.fail(operation, &error);
            if failed.kind != BusErrorKind::Retriable || Instant::now() >= until {
                return Err(failed);
            }
            self.producer.poll(Duration::from_millis(20));
        }
    }

    /// Waits until all records are acknowledged, by short polls.
    fn drain(&self, operation: &str) -> Result<(), BusError> {
        let until = Instant::now() + self.timeout;
        loop {
            match self.producer.flush(Duration::ZERO) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Flush(Code::OperationTimedOut)) => {}
                Err(error) => return Err(self.fail(operation, &error)),
            }
            if Instant::now() >= until {
                let reason = self.producer.context().trouble.explain("records are not acknowledged in time");
                return Err(self.refuse(operation, BusErrorKind::Abort, reason));
            }
            self.look();
        }
    }

    /// Polls until no record is under way, or for as long as `wait`.
    fn settle(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            self.look();
        }
    }

    /// Takes one delivery report, or rests when there is none.
    fn look(&self) {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() == before {
            std::thread::sleep(REST);
        }
    }

    fn send_positions(&self, membership: &Membership, positions: &[Position]) -> Result<(), BusError> {
        let token = membership
            .token
            .downcast_ref::<Token>()
            .ok_or_else(|| self.refuse("commit", BusErrorKind::Fatal, "the membership is of another bus"))?;
        let mut list = TopicPartitionList::new();
        for position in positions {
            let at = &position.topic_partition;
            list.add_partition_offset(&at.topic, at.partition, Offset::Offset(position.next_offset))
                .map_err(|error| self.fail("commit", &error))?;
        }
        self.insist("commit positions", |producer, left| producer.send_offsets_to_transaction(&list, &token.0, left))
    }
}

impl Writer for KafkaWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        if self.open {
            return Err(self.refuse("begin", BusErrorKind::Fatal, "a transaction is open already"));
        }
        *self.producer.context().failed.lock() = None;
        if self.mode == WriteMode::Transactional {
            self.producer.begin_transaction().map_err(|error| self.fail("begin", &error))?;
        }
        self.open = true;
        Ok(())
    }

    fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        if !self.open {
            return Err(self.refuse("send", BusErrorKind::Fatal, "no transaction is open"));
        }
        self.since_report += 1;
        if self.since_report >= REPORT_EVERY {
            self.since_report = 0;
            self.producer.poll(Duration::ZERO);
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        let until = Instant::now() + self.timeout;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) if Instant::now() < until => {
                    record = back;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(self.fail("send", &error)),
            }
        }
    }

    fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    fn commit(&mut self, positions: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        if !self.open {
            return Err(self.refuse("commit", BusErrorKind::Fatal, "no transaction is open"));
        }
        if self.mode == WriteMode::Idempotent && positions.is_some() {
            return Err(self.refuse("commit", BusErrorKind::Fatal, "positions need a transactional writer"));
        }
        if let Some((membership, positions)) = positions
            && !positions.is_empty()
        {
            self.send_positions(membership, positions)?;
        }
        self.drain("commit")?;
        let failed = *self.producer.context().failed.lock();
        if let Some(code) = failed {
            return Err(match self.producer.client().fatal_error() {
                Some(_) => self.fail("commit", &KafkaError::MessageProduction(code)),
                None => {
                    // the topic may take less than the client was told
                    let large = code == Code::MessageSizeTooLarge;
                    let kind = if large { BusErrorKind::TooLarge } else { BusErrorKind::Abort };
                    self.refuse("commit", kind, format!("a record was not accepted: {code}"))
                }
            });
        }
        if self.mode == WriteMode::Transactional {
            self.insist("commit", |producer, left| producer.commit_transaction(left))?;
        }
        self.open = false;
        Ok(())
    }

    fn abort(&mut self) -> Result<(), BusError> {
        if !self.open {
            return Ok(());
        }
        self.open = false;
        if self.mode == WriteMode::Idempotent {
            self.producer.purge(PurgeConfig::default().queue());
            self.settle(self.timeout);
            return Ok(());
        }
        // The first call only begins: it drops what is queued and then waits for reports that nobody polls.
        // Purging by ourselves instead would leave a gap in the sequence, and the next commit would fail.
        match self.producer.abort_transaction(Duration::from_millis(1)) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let failed = self.fail("abort", &error);
                if failed.kind != BusErrorKind::Retriable {
                    return Err(failed);
                }
            }
        }
        self.settle(self.timeout);
        self.insist("abort", |producer, left| producer.abort_transaction(left))
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        // The library's drop waits for all records: an open transaction is given up at once instead.
        if self.open {
            self.producer.purge(PurgeConfig::default().queue().inflight());
            self.settle(Duration::from_secs(1));
        }
    }
}
