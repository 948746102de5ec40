//! Topics on Kafka: making and checking them, and their lasting identity.
//!
//! The client library's safe interface does not tell a topic's own UUID, so each topic gets one from us,
//! once, kept in the identity topic (see `docs/adr/0005-kafka-topic-identity.md`). It is part of every
//! leaf's stream id.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::KafkaConfig;
use super::client::{Plain, Role, block_on, fail, settings};
use super::reader::KafkaReader;
use super::writer::KafkaWriter;
use crate::bus::{
    Assign, Batch, BusError, BusErrorKind, Cleanup, PollLimit, Position, Reader, ReaderSpec, TopicPartition, TopicSpec,
    WriteMode, Writer, WriterSpec,
};

/// How long a topic made by another process may take to get its identity before it is given one here.
const ADOPT_AFTER: Duration = Duration::from_secs(2);

/// What the cluster says of a topic: its partitions, all with leaders or not.
pub(super) struct Known {
    pub(super) partitions: i32,
    led: bool,
}

/// Administers topics.
pub(super) struct Admin {
    admin: AdminClient<Plain>,
    config: KafkaConfig,
    context: Plain,
}

impl Admin {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, BusError> {
        let context = Plain::default();
        let admin = settings(config, Role::Admin)
            .create_with_context(context.clone())
            .map_err(|error| BusError::new(BusErrorKind::Fatal, "make a Kafka client", error))?;
        Ok(Self { admin, config: config.clone(), context })
    }

    pub(super) fn client(&self) -> &Client<Plain> {
        self.admin.inner()
    }

    fn explained(&self, mut error: BusError) -> BusError {
        error.reason = self.context.trouble.explain(error.reason);
        error
    }

    /// All topics. Asking for one by name could make it on some brokers.
    pub(super) fn topics(&self, operation: &str) -> Result<HashMap<String, Known>, BusError> {
        let metadata = self
            .client()
            .fetch_metadata(None, self.config.timeout)
            .map_err(|error| self.explained(fail(operation, &error)))?;
        Ok(metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none())
            .map(|topic| {
                let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
                (topic.name().to_owned(), Known { partitions, led })
            })
            .collect())
    }

    /// Makes a topic; false when it is there already.
    pub(super) fn create(&self, spec: &TopicSpec) -> Result<bool, BusError> {
        let operation = format!("create topic {}", spec.name);
        let retention;
        let replication = TopicReplication::Fixed(self.config.replication);
        let mut topic =
            NewTopic::new(&spec.name, spec.partitions, replication).set("message.timestamp.type", "LogAppendTime");
        topic = match spec.cleanup {
            Cleanup::Compact => topic.set("cleanup.policy", "compact"),
            Cleanup::Delete { retention_ms } => {
                retention = retention_ms.to_string();
                topic.set("cleanup.policy", "delete").set("retention.ms", &retention)
            }
        };
        let options =
            AdminOptions::new().operation_timeout(Some(self.config.timeout)).request_timeout(Some(self.config.timeout));
        let results = block_on(self.admin.create_topics(&[topic], &options))
            .map_err(|error| self.explained(fail(&operation, &error)))?;
        match results.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(BusError::new(BusErrorKind::Fatal, operation, code)),
            None => Err(BusError::new(BusErrorKind::Fatal, operation, "the broker gave no answer")),
        }
    }

    /// Waits until every partition of the topics has a leader.
    pub(super) fn await_leaders(&self, names: &[&str]) -> Result<(), BusError> {
        let until = Instant::now() + self.config.timeout;
        loop {
            let known = self.topics("wait for leaders")?;
            let waiting: Vec<_> =
                names.iter().filter(|name| !known.get(**name).is_some_and(|topic| topic.led)).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(BusError::new(
                    BusErrorKind::Retriable,
                    "wait for leaders",
                    format!("none for {waiting:?}"),
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks partitions, cleanup and the source of time of a topic that exists.
    pub(super) fn check(&self, spec: &TopicSpec, partitions: i32) -> Result<(), BusError> {
        let operation = format!("check topic {}", spec.name);
        let differs = |what: &str, is: &str, wanted: &str| {
            let reason = format!("its {what} is {is}, not {wanted}");
            Err(BusError::new(BusErrorKind::Fatal, operation.clone(), reason))
        };
        if partitions != spec.partitions {
            return differs("partition count", &partitions.to_string(), &spec.partitions.to_string());
        }
        let options = AdminOptions::new().request_timeout(Some(self.config.timeout));
        let results = block_on(self.admin.describe_configs(&[ResourceSpecifier::Topic(&spec.name)], &options))
            .map_err(|error| self.explained(fail(&operation, &error)))?;
        let Some(Ok(resource)) = results.into_iter().next() else {
            return Err(BusError::new(BusErrorKind::Fatal, operation, "the broker does not tell its settings"));
        };
        let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let mut wanted = vec![("message.timestamp.type", "LogAppendTime".to_owned())];
        match spec.cleanup {
            Cleanup::Compact => wanted.push(("cleanup.policy", "compact".to_owned())),
            Cleanup::Delete { retention_ms } => {
                wanted.push(("cleanup.policy", "delete".to_owned()));
                wanted.push(("retention.ms", retention_ms.to_string()));
            }
        }
        for (name, wanted) in wanted {
            let is = value(name);
            if is != wanted {
                return differs(name, &is, &wanted);
            }
        }
        Ok(())
    }
}

/// The identity topic: topic name -> UUID, one partition, kept for ever.
pub(super) struct Identities<'a> {
    config: &'a KafkaConfig,
    admin: &'a Admin,
}

impl<'a> Identities<'a> {
    pub(super) fn new(config: &'a KafkaConfig, admin: &'a Admin) -> Self {
        Self { config, admin }
    }

    fn place(&self) -> TopicPartition {
        TopicPartition { topic: self.config.identity_topic.clone(), partition: 0 }
    }

    /// Makes the identity topic when it lacks.
    pub(super) fn prepare(&self) -> Result<(), BusError> {
        let name = &self.config.identity_topic;
        if !self.admin.topics("look up the identity topic")?.contains_key(name) {
            let cleanup = Cleanup::Delete { retention_ms: -1 };
            self.admin.create(&TopicSpec { name: name.clone(), partitions: 1, cleanup })?;
        }
        self.admin.await_leaders(&[name])
    }

    /// Gives the topics new identities (`made`: this process has just made them), or first ones.
    pub(super) fn give(&self, names: &[&str], made: bool) -> Result<(), BusError> {
        if names.is_empty() {
            return Ok(());
        }
        let spec = WriterSpec { name: "identity".into(), mode: WriteMode::Idempotent };
        let mut writer = KafkaWriter::open(self.config, &spec)?;
        writer.begin()?;
        for name in names {
            let word = if made { "made" } else { "found" };
            let value = format!("{word} {}", uuid::Uuid::new_v4());
            writer.send(&self.config.identity_topic, 0, Some(name.as_bytes()), Some(value.as_bytes()))?;
        }
        writer.commit(None)
    }

    /// Reads all identities. Every reader gets the same answer, as all go by the order of the one partition:
    /// a topic made anew replaces its identity, a topic found keeps its first.
    pub(super) fn read(&self) -> Result<HashMap<String, String>, BusError> {
        let operation = "read topic identities";
        let at = self.place();
        let (start, end) = self
            .admin
            .client()
            .fetch_watermarks(&at.topic, at.partition, self.config.timeout)
            .map_err(|error| fail(operation, &error))?;
        let mut identities = HashMap::new();
        if start >= end {
            return Ok(identities);
        }
        let spec = ReaderSpec {
            topics: vec![at.topic.clone()],
            assign: Assign::Manual(vec![Position { topic_partition: at, next_offset: start }]),
            instance: "identity".into(),
        };
        let mut reader = KafkaReader::open(self.config, &spec)?;
        let mut batch = Batch::default();
        let limit = PollLimit { records: 10_000, bytes: 1 << 20, wait: Duration::from_millis(100) };
        let until = Instant::now() + self.config.timeout;
        loop {
            reader.poll(&mut batch, limit)?;
            for record in batch.iter() {
                apply(&mut identities, record.key, record.value);
                if record.offset + 1 >= end {
                    return Ok(identities);
                }
            }
            if Instant::now() >= until {
                return Err(BusError::new(BusErrorKind::Retriable, operation, "the records did not come in time"));
            }
        }
    }

    /// The identity of a topic that exists; gives it one when nobody else does.
    pub(super) fn of(&self, name: &str) -> Result<HashMap<String, String>, BusError> {
        let until = Instant::now() + ADOPT_AFTER;
        loop {
            let known = self.read()?;
            if known.contains_key(name) {
                return Ok(known);
            }
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.give(&[name], false)?;
        self.read()
    }
}

fn apply(identities: &mut HashMap<String, String>, key: Option<&[u8]>, value: Option<&[u8]>) {
    let (Some(key), Some(value)) = (key, value) else { return };
    let (Ok(name), Ok(value)) = (std::str::from_utf8(key), std::str::from_utf8(value)) else { return };
    let Some((word, id)) = value.split_once(' ') else { return };
    if uuid::Uuid::try_parse(id).is_err() {
        return;
    }
    match word {
        "made" => drop(identities.insert(name.to_owned(), id.to_owned())),
        "found" => drop(identities.entry(name.to_owned()).or_insert_with(|| id.to_owned())),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_follow_the_order_of_the_log() {
        let (one, two) = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222");
        let mut known = HashMap::new();
        let mut say = |key: &str, value: String| apply(&mut known, Some(key.as_bytes()), Some(value.as_bytes()));
        say("found twice", format!("found {one}"));
        say("found twice", format!("found {two}"));
        say("made again", format!("made {one}"));
        say("made again", format!("found {two}"));
        say("made again", format!("made {two}"));
        say("odd", "made nonsense".into());
        say("odd", format!("stolen {one}"));
        assert_eq!(known.get("found twice").map(String::as_str), Some(one));
        assert_eq!(known.get("made again").map(String::as_str), Some(two));
        assert_eq!(known.get("odd"), None);
    }
}
