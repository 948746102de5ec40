//! `sealtrail topics create|list`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::json;
use stage::bus::TopicPartition;

use crate::args::TopicsCommand;
use crate::compose::{open_bus, topic_specs};
use crate::config::Config;
use crate::output::{json as print_json, line, table};

pub(super) fn run(command: &TopicsCommand) -> Result<ExitCode> {
    match command {
        TopicsCommand::Create(arg) => {
            let config = Config::load(arg)?;
            let specs = topic_specs(&config);
            open_bus(&config)?.ensure_topics(&specs).context("create the topics")?;
            line(&format!("{} topics are there", specs.len()));
        }
        TopicsCommand::List { config, output } => {
            let config = Config::load(config)?;
            let bus = open_bus(&config)?;
            let mut rows = Vec::new();
            for spec in topic_specs(&config) {
                for partition in 0..spec.partitions {
                    let place = TopicPartition { topic: spec.name.clone(), partition };
                    let (first, end) =
                        bus.bounds(&place).with_context(|| format!("look at {}/{partition}", spec.name))?;
                    rows.push((spec.name.clone(), partition, first, end));
                }
            }
            if output.json {
                let rows: Vec<_> = rows.iter().map(|(topic, partition, first, end)| json!({"topic": topic, "partition": partition, "first": first, "end": end})).collect();
                print_json(&json!(rows));
            } else {
                let rows: Vec<_> = rows
                    .into_iter()
                    .map(|(topic, partition, first, end)| {
                        vec![topic, partition.to_string(), first.to_string(), end.to_string()]
                    })
                    .collect();
                line(&table(&["topic", "partition", "first", "end"], &rows, 60));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
