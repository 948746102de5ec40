//! The one place that names every stage: from configuration to a running line, and back to rest in order.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use schemas::topics::{Retention, Topics};
use sealer::store::StoreLog;
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::kafka::{Kafka, KafkaConfig};
use stage::bus::{Bus, Cleanup, TopicSpec};
use stage::config::BusKind;
use stage::registry::Registry;
use stage::store::Store;
use stage::{Env, Level, Running, Shutdown};

use crate::config::Config;

const DAY_MS: i64 = 86_400_000;

/// Which stages run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Sockets to audit.raw.
    Proxy,
    /// audit.raw to audit.enriched.
    Enricher,
    /// audit.enriched to audit.frames and audit.events.
    Masker,
    /// The sealed topics to the log.
    Sealer,
    /// Sealed records to Parquet.
    Archiver,
}

impl Stage {
    /// All of them, in pipeline order.
    pub(crate) const ALL: [Self; 5] = [Self::Proxy, Self::Enricher, Self::Masker, Self::Sealer, Self::Archiver];
}

/// Opens the configured bus.
pub(crate) fn open_bus(config: &Config) -> Result<Arc<dyn Bus>> {
    match config.bus.kind {
        BusKind::Embedded => {
            Ok(Embedded::open(&EmbeddedConfig::at(&config.bus.folder)).context("open the embedded bus")?)
        }
        BusKind::Kafka => {
            let mut properties = config.bus.properties.clone();
            for (name, source) in &config.bus.secrets {
                properties.insert(name.clone(), source.read()?.expose().to_owned());
            }
            let identity_topic = format!("{}topic.ids", config.topics.prefix);
            let kafka = KafkaConfig {
                properties,
                replication: config.bus.replication,
                identity_topic,
                ..KafkaConfig::at(&config.bus.bootstrap)
            };
            let bus =
                Kafka::connect(&kafka).with_context(|| format!("connect to Kafka at {}", config.bus.bootstrap))?;
            Ok(bus)
        }
    }
}

/// The topics of this installation as the bus wants them.
pub(crate) fn topic_specs(config: &Config) -> Vec<TopicSpec> {
    let plan = Topics::new(&config.topics.prefix).plan(config.topics.partitions);
    plan.into_iter()
        .map(|plan| {
            let cleanup = match plan.retention {
                Retention::Days(days) => Cleanup::Delete { retention_ms: days * DAY_MS },
                Retention::Forever => Cleanup::Delete { retention_ms: -1 },
                Retention::Compact => Cleanup::Compact,
            };
            TopicSpec { name: plan.name, partitions: plan.partitions, cleanup }
        })
        .collect()
}

/// Running stages.
pub(crate) struct Line {
    stages: Vec<Running>,
    /// Where the proxy listens, when it runs here.
    pub(crate) proxy: Option<std::net::SocketAddr>,
}

impl Line {
    /// Starts the stages in `which`, the last of the pipeline first, so that none writes before its reader is there.
    pub(crate) fn start(config: &Config, bus: &Arc<dyn Bus>, which: &[Stage]) -> Result<Self> {
        bus.ensure_topics(&topic_specs(config)).context("create the topics")?;
        let registry =
            if config.registry.url.is_empty() { Registry::none() } else { Registry::at(&config.registry.url) };
        let env = Env {
            bus: bus.clone(),
            topics: Topics::new(&config.topics.prefix),
            partitions: config.topics.partitions,
            registry: Arc::new(registry),
            shutdown: Shutdown::new(),
            instance: config.instance.clone(),
        };
        let mut line = Self { stages: Vec::new(), proxy: None };
        line.stages.push(stage::dlq::watch(&env.apart()).context("watch the dead letters")?);
        let store = if which.iter().any(|stage| matches!(stage, Stage::Sealer | Stage::Archiver)) {
            Some(open_store(config)?)
        } else {
            None
        };
        for stage in Stage::ALL.into_iter().rev().filter(|stage| which.contains(stage)) {
            let started = line.start_one(config, &env.apart(), stage, store.as_ref());
            if let Err(error) = started {
                // what started already stops again: no half line stays
                line.stop(Level::Stop).context("stop after a failed start")?;
                return Err(error);
            }
        }
        Ok(line)
    }

    fn start_one(&mut self, config: &Config, env: &Env, stage: Stage, store: Option<&Arc<Store>>) -> Result<()> {
        let store = || store.cloned().context("no store is open");
        let named =
            |name: &'static str| move |error: stage::StageFailure| anyhow!(error).context(format!("start the {name}"));
        let running = match stage {
            Stage::Archiver => archiver::start::start(&config.archiver, env, store()?).map_err(named("archiver"))?,
            Stage::Sealer => {
                let log = Box::new(StoreLog::new(store()?));
                let started = sealer::start::start(&config.sealer, env, log).map_err(named("sealer"))?;
                // the notary comes last of all: it takes the receipts of what the archiver puts while it is drained
                self.stages.push(started.notary);
                started.workers
            }
            Stage::Masker => masker::start::start(&config.masker, env).map_err(named("masker"))?,
            Stage::Enricher => enricher::start::start(&config.enricher, env).map_err(named("enricher"))?,
            Stage::Proxy => {
                let proxy = ingest_proxy::start::start(&config.proxy, env).map_err(named("proxy"))?;
                self.proxy = Some(proxy.listen_addr());
                proxy.into_running()
            }
        };
        self.stages.insert(0, running);
        Ok(())
    }

    /// The name of a stage that ended without being asked.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.stages.iter().find(|stage| stage.is_finished()).map(Running::name)
    }

    /// Stops the stages in pipeline order; with [`Level::Drain`] each empties its input before the next is asked.
    pub(crate) fn stop(&mut self, level: Level) -> Result<()> {
        let mut result = Ok(());
        for stage in std::mem::take(&mut self.stages) {
            let name = stage.name().to_owned();
            let stopped = stage.stop(level).map_err(|error| anyhow!(error).context(format!("stage {name} failed")));
            result = result.and(stopped);
        }
        result
    }
}

fn open_store(config: &Config) -> Result<Arc<Store>> {
    let store = Store::open(&config.store).context("open the object store")?;
    store.check_lock().context("check the object store")?;
    Ok(Arc::new(store))
}
