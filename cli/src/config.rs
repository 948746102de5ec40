//! The whole configuration file: one table per stage, each owned by its package.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stage::config::{BusConfig, RegistryConfig, TopicsConfig};
use stage::store::StoreConfig;

use crate::args::ConfigArg;
use crate::exit::Usage;

/// `sealtrail.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Name of this process among its like; stable across restarts. Default: `sealtrail`.
    pub(crate) instance: String,
    /// The bus.
    pub(crate) bus: BusConfig,
    /// Topics.
    pub(crate) topics: TopicsConfig,
    /// Schema registry.
    pub(crate) registry: RegistryConfig,
    /// The object store of archive and log.
    pub(crate) store: StoreConfig,
    /// Metrics and health.
    pub(crate) admin: AdminConfig,
    /// The proxy.
    pub(crate) proxy: ingest_proxy::config::ProxyConfig,
    /// The enricher.
    pub(crate) enricher: enricher::EnricherConfig,
    /// The masker.
    pub(crate) masker: masker::config::MaskerConfig,
    /// The sealer.
    pub(crate) sealer: sealer::SealerConfig,
    /// The archiver.
    pub(crate) archiver: archiver::config::ArchiverConfig,
}

/// The `[admin]` table.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminConfig {
    /// Address of `/metrics`, `/healthz` and `/readyz`; empty opens no port. No secret is ever shown there.
    pub(crate) listen: String,
}

impl Config {
    /// Reads defaults, file and variables, and checks every bound.
    ///
    /// # Errors
    /// [`Usage`], with everything that is wrong.
    pub(crate) fn load(arg: &ConfigArg) -> anyhow::Result<Self> {
        Self::read(arg.config.as_deref())
    }

    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut config: Self = stage::config::load(path, variables).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            Usage(format!("{error}{cause}"))
        })?;
        if config.instance.is_empty() {
            config.instance = "sealtrail".into();
        }
        let checks = [config.enricher.check(), config.sealer.check(), config.archiver.check(), config.check_shared()];
        let wrong: Vec<String> = checks.into_iter().filter_map(Result::err).collect();
        if wrong.is_empty() { Ok(config) } else { Err(Usage(wrong.join("\n")).into()) }
    }

    fn check_shared(&self) -> Result<(), String> {
        if !(1..=1000).contains(&self.topics.partitions) {
            return Err(format!("topics.partitions is {}, must be 1 to 1000", self.topics.partitions));
        }
        if !self.topics.prefix.ends_with('.') {
            return Err(format!("topics.prefix `{}` must end in a dot", self.topics.prefix));
        }
        if self.bus.kind == stage::config::BusKind::Kafka && self.bus.bootstrap.is_empty() {
            return Err("bus.bootstrap is empty; name at least one broker as host:port".into());
        }
        Ok(())
    }
}
