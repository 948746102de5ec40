//! `sealtrail config check|print|schema`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::args::ConfigCommand;
use crate::config::Config;
use crate::exit::Usage;
use crate::output::{json, line};

pub(super) fn run(command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Check(arg) => {
            let config = Config::load(arg)?;
            // a process without the proxy leaves its table out
            if !config.proxy.targets.is_empty() || !config.proxy.identity.issuer.is_empty() {
                config.proxy.check().map_err(|error| Usage(error.to_string()))?;
            }
            masker::start::check(&config.masker).map_err(|error| Usage(format!("{:#}", anyhow::Error::from(error))))?;
            line(&format!(
                "ok: {} targets, bus {:?}, store {}",
                config.proxy.targets.len(),
                config.bus.kind,
                config.store.url
            ));
        }
        ConfigCommand::Print(arg) => {
            // secrets are sources in the configuration, so nothing has to be hidden here
            line(toml::to_string(&Config::load(arg)?).context("print the configuration")?.trim_end());
        }
        ConfigCommand::Schema => json(&serde_json::to_value(schemars::schema_for!(Config))?),
    }
    Ok(ExitCode::SUCCESS)
}
