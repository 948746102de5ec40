//! The Kafka adapter, for production.
//!
//! Every reader and writer is polled by the thread that owns it; nothing of the hot path runs elsewhere.
//! Keeps I-04 by transactions with group metadata taken afresh at each commit, and never resets a lost
//! position. Settings that carry these promises cannot be changed by configuration.

mod client;
mod reader;
mod topics;
mod watchdog;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::topics::{Admin, Identities};
use super::{
    Bus, BusError, BusErrorKind, Reader, ReaderSpec, TopicInfo, TopicPartition, TopicSpec, Writer, WriterSpec,
};

/// Settings of a Kafka bus.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port` of some brokers, separated by commas.
    pub bootstrap: String,
    /// Further settings of the client library, such as `security.protocol`; may hold secrets.
    pub properties: BTreeMap<String, String>,
    /// Replicas of topics made by us; -1 leaves it to the broker, the default.
    pub replication: i32,
    /// Name of the topic that keeps the identities of topics. Default `audit.topic.ids`.
    pub identity_topic: String,
    /// Longest wait for an answer of the cluster. Default 30 s.
    pub timeout: Duration,
}

impl KafkaConfig {
    /// The defaults, with these brokers.
    #[must_use]
    pub fn at(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            properties: BTreeMap::new(),
            replication: -1,
            identity_topic: "audit.topic.ids".into(),
            timeout: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("properties", &client::names(&self.properties))
            .field("replication", &self.replication)
            .field("identity_topic", &self.identity_topic)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The Kafka bus.
pub struct Kafka {
    config: KafkaConfig,
    admin: Admin,
    cluster_id: String,
    /// Identities read so far.
    identities: Mutex<HashMap<String, String>>,
}

impl Kafka {
    /// Connects and learns the cluster's id.
    ///
    /// # Errors
    /// `Fatal` for settings that cannot be; `Retriable` when no broker answers in time.
    pub fn connect(config: &KafkaConfig) -> Result<Arc<Self>, BusError> {
        client::check(config)?;
        let admin = Admin::new(config)?;
        let operation = format!("connect to Kafka at {}", config.bootstrap);
        admin.topics(&operation)?;
        let cluster_id = admin
            .client()
            .fetch_cluster_id(config.timeout)
            .filter(|id| !id.is_empty())
            .ok_or_else(|| BusError::new(BusErrorKind::Retriable, operation, "the cluster does not tell its id"))?;
        Ok(Arc::new(Self { config: config.clone(), admin, cluster_id, identities: Mutex::default() }))
    }

    fn identity(&self, topic: &str) -> Result<String, BusError> {
        let mut known = self.identities.lock();
        if !known.contains_key(topic) {
            let identities = Identities::new(&self.config, &self.admin);
            identities.prepare()?;
            *known = client::patiently(self.config.timeout, || identities.of(topic))?;
        }
        known.get(topic).cloned().ok_or_else(|| {
            BusError::new(BusErrorKind::Retriable, format!("describe topic {topic}"), "its identity could not be kept")
        })
    }
}

impl Bus for Kafka {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        let known = self.admin.topics("look up topics")?;
        let mut made = Vec::new();
        for spec in topics {
            match known.get(&spec.name) {
                Some(topic) => {
                    client::patiently(self.config.timeout, || self.admin.check(spec, topic.partitions))?;
                }
                None if self.admin.create(spec)? => made.push(spec.name.as_str()),
                None => {}
            }
        }
        let names: Vec<&str> = topics.iter().map(|spec| spec.name.as_str()).collect();
        self.admin.await_leaders(&names)?;
        if !made.is_empty() {
            let identities = Identities::new(&self.config, &self.admin);
            identities.prepare()?;
            identities.give(&made, true)?;
            self.identities.lock().retain(|name, _| !made.contains(&name.as_str()));
        }
        Ok(())
    }

    fn describe(&self, topic: &str) -> Result<TopicInfo, BusError> {
        let operation = format!("describe topic {topic}");
        let partitions = match self.admin.topics(&operation)?.get(topic) {
            Some(known) => known.partitions,
            None => return Err(BusError::new(BusErrorKind::Missing, operation, "no such topic")),
        };
        Ok(TopicInfo { cluster_id: self.cluster_id.clone(), topic_id: self.identity(topic)?, partitions })
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        let (topic, number) = (&partition.topic, partition.partition);
        let operation = format!("look up bounds of {topic} partition {number}");
        let known = self.admin.topics(&operation)?;
        if !known.get(topic).is_some_and(|known| (0..known.partitions).contains(&number)) {
            return Err(BusError::new(BusErrorKind::Missing, operation, "no such partition"));
        }
        client::patiently(self.config.timeout, || {
            let bounds = self.admin.client().fetch_watermarks(topic, number, self.config.timeout);
            bounds.map_err(|error| client::fail(operation.as_str(), &error))
        })
    }

    fn reader(&self, spec: &ReaderSpec) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(reader::KafkaReader::open(&self.config, spec)?))
    }

    fn writer(&self, spec: &WriterSpec) -> Result<Box<dyn Writer>, BusError> {
        Ok(Box::new(writer::KafkaWriter::open(&self.config, spec)?))
    }
}
