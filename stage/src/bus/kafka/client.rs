//! What all our Kafka clients share: settings, callbacks, and errors told apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::KafkaConfig;
use crate::bus::{BusError, BusErrorKind};

/// Settings that carry the bus's promises: an operator may not change them.
const OURS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "transactional.id",
];

/// Prefixes of settings that only a consumer knows.
const CONSUMER: &[&str] =
    &["fetch.", "queued.", "session.timeout", "heartbeat.", "max.poll.", "max.partition.fetch", "group."];
/// Prefixes of settings that only a producer knows.
const PRODUCER: &[&str] = &[
    "linger.",
    "queue.buffering.",
    "batch.",
    "compression.",
    "delivery.timeout",
    "message.timeout",
    "message.send.max.retries",
    "retries",
    "sticky.",
    "transaction.",
];

/// Which client a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Consumer,
    Producer,
    Admin,
}

/// Refuses properties that would break a promise.
pub(super) fn check(config: &KafkaConfig) -> Result<(), BusError> {
    for name in config.properties.keys() {
        if OURS.contains(&name.as_str()) {
            let reason = format!("property {name} is fixed: the bus's promises rest on it");
            return Err(BusError::new(BusErrorKind::Fatal, "configure Kafka", reason));
        }
    }
    Ok(())
}

/// The settings of a client; the operator's win over our defaults.
pub(super) fn settings(config: &KafkaConfig, role: Role) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &config.bootstrap).set("client.id", "sealtrail");
    let defaults: &[(&str, &str)] = match role {
        Role::Consumer => &[
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // the watchdog lives on it
            ("enable.partition.eof", "true"),
            // A lost position stops the stage. The first start of a group asks for the earliest explicitly.
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "range"),
            ("allow.auto.create.topics", "false"),
            ("fetch.queue.backoff.ms", "20"),
            ("queued.max.messages.kbytes", "65536"),
            ("session.timeout.ms", "30000"),
        ],
        Role::Producer => &[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("compression.type", "lz4"),
            ("linger.ms", "5"),
            ("message.max.bytes", "1048576"),
            ("queue.buffering.max.kbytes", "65536"),
        ],
        Role::Admin => &[],
    };
    for (name, value) in defaults {
        settings.set(*name, *value);
    }
    for (name, value) in &config.properties {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let fits = match role {
            Role::Consumer => !begins(PRODUCER),
            Role::Producer => !begins(CONSUMER),
            Role::Admin => !begins(CONSUMER) && !begins(PRODUCER),
        };
        if fits {
            settings.set(name, value);
        }
    }
    settings
}

/// Newest trouble a client told of; timeouts say nothing by themselves.
#[derive(Debug, Default, Clone)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(super) fn note(&self, text: String) {
        *self.0.lock() = Some(text);
    }
    /// `reason`, with the last trouble behind it.
    pub(super) fn explain(&self, reason: impl ToString) -> String {
        let reason = reason.to_string();
        match self.0.lock().as_ref() {
            Some(trouble) => format!("{reason}; last trouble of the client: {trouble}"),
            None => reason,
        }
    }
}

/// Callbacks of clients without any special ones.
#[derive(Debug, Default, Clone)]
pub(super) struct Plain {
    pub(super) trouble: Trouble,
}

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        log(level, fac, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.note(format!("{error}: {reason}"));
    }
}

/// The library's log goes to ours; its errors repeat in our own errors, so they are warnings here.
pub(super) fn log(level: RDKafkaLogLevel, fac: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Debug => tracing::debug!(target: "kafka", "{fac}: {text}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::info!(target: "kafka", "{fac}: {text}"),
        _ => tracing::warn!(target: "kafka", "{fac}: {text}"),
    }
}

/// What an error code asks of the caller.
pub(super) fn kind_of_code(code: Code) -> BusErrorKind {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
            BusErrorKind::Fenced
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
            BusErrorKind::Missing
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => BusErrorKind::Missing,
        Code::QueueFull => BusErrorKind::Full,
        Code::MessageSizeTooLarge => BusErrorKind::TooLarge,
        // The poll came too late and the group took the partitions away; the next poll joins again.
        Code::PollExceeded => BusErrorKind::Abort,
        Code::State | Code::PurgeQueue | Code::PurgeInflight | Code::MessageTimedOut => BusErrorKind::Abort,
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        // a connection the library gave up while the request waited for it: the next one takes another
        | Code::DestroyBroker
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::Resolve
        | Code::TimedOutQueue
        | Code::NotCoordinator
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::NetworkException => BusErrorKind::Retriable,
        _ => BusErrorKind::Fatal,
    }
}

/// What an error asks of the caller.
pub(super) fn kind_of(error: &KafkaError) -> BusErrorKind {
    if let KafkaError::Transaction(error) = error {
        let by_code = kind_of_code(error.code());
        return if by_code == BusErrorKind::Fenced {
            by_code
        } else if error.is_fatal() {
            BusErrorKind::Fatal
        } else if error.txn_requires_abort() {
            BusErrorKind::Abort
        } else if error.is_retriable() {
            BusErrorKind::Retriable
        } else {
            by_code
        };
    }
    error.rdkafka_error_code().map_or(BusErrorKind::Fatal, kind_of_code)
}

/// Makes a bus error.
pub(super) fn fail(operation: impl Into<String>, error: &KafkaError) -> BusError {
    BusError::new(kind_of(error), operation, error)
}

/// Rest between two tries of [`patiently`].
const REST: Duration = Duration::from_millis(100);

/// Asks again while the answer is `Retriable` and `limit` has not passed: a partition without a leader or a broker that
/// went away a moment ago is no reason for a process to end. The last try may take its own time beyond the limit.
pub(super) fn patiently<T>(limit: Duration, mut ask: impl FnMut() -> Result<T, BusError>) -> Result<T, BusError> {
    let began = std::time::Instant::now();
    loop {
        match ask() {
            Err(error) if error.kind == BusErrorKind::Retriable && began.elapsed() < limit => {
                tracing::debug!(%error, "asks the cluster again");
                std::thread::sleep(REST);
            }
            answer => return answer,
        }
    }
}

/// Runs an admin request to its end; its future is woken by the library's own thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Names of properties, values left out: some are secrets.
pub(super) fn names(properties: &BTreeMap<String, String>) -> Vec<&str> {
    properties.keys().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_again_within_the_limit_and_only_what_may_pass() {
        let ask = |kind, limit, good_at| {
            let mut asked = 0;
            let answer = patiently(limit, || {
                asked += 1;
                if asked == good_at { Ok(()) } else { Err(BusError::new(kind, "look up bounds", "no leader")) }
            });
            (answer.map_err(|error| error.kind), asked)
        };
        let long = Duration::from_secs(60);
        assert_eq!(ask(BusErrorKind::Retriable, long, 3), (Ok(()), 3));
        assert_eq!(ask(BusErrorKind::Retriable, Duration::ZERO, 3), (Err(BusErrorKind::Retriable), 1));
        assert_eq!(ask(BusErrorKind::Fatal, long, 3), (Err(BusErrorKind::Fatal), 1));
    }

    #[test]
    fn promises_cannot_be_configured_away() {
        for name in OURS {
            let mut config = KafkaConfig::at("127.0.0.1:1");
            config.properties.insert((*name).into(), "x".into());
            let error = check(&config).unwrap_err();
            assert_eq!(error.kind, BusErrorKind::Fatal);
            assert!(error.to_string().contains(name));
        }
    }

    #[test]
    fn operators_settings_reach_the_right_clients() {
        let mut config = KafkaConfig::at("127.0.0.1:1");
        for (name, value) in [("linger.ms", "50"), ("session.timeout.ms", "9000"), ("sasl.username", "u")] {
            config.properties.insert(name.into(), value.into());
        }
        check(&config).unwrap();
        let (consumer, producer, admin) =
            (settings(&config, Role::Consumer), settings(&config, Role::Producer), settings(&config, Role::Admin));
        assert_eq!(consumer.get("linger.ms"), None);
        assert_eq!(consumer.get("session.timeout.ms"), Some("9000"));
        assert_eq!(producer.get("linger.ms"), Some("50"));
        assert_eq!(producer.get("session.timeout.ms"), None);
        assert_eq!(admin.get("linger.ms"), None);
        for settings in [consumer, producer, admin] {
            assert_eq!(settings.get("sasl.username"), Some("u"));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = KafkaConfig::at("127.0.0.1:1");
        config.properties.insert("sasl.password".into(), "hunter2".into());
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
