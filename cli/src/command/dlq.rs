//! `sealtrail dlq ls|show|redrive`: what the stages refused. Bytes stay as they came, encrypted before the masker.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use schemas::topics::Topics;
use schemas::v1::DeadLetter;
use serde_json::json;
use stage::dlq::{Filed, Letters, Outcome, redrive, tally};
use stage::registry::Registry;

use crate::args::DlqCommand;
use crate::compose::open_bus;
use crate::config::Config;
use crate::exit;
use crate::output::{clean, json as print_json, line, table, time};

pub(super) fn run(command: &DlqCommand) -> Result<ExitCode> {
    match command {
        DlqCommand::Ls { config, output } => {
            let letters = read(&Config::load(config)?)?;
            if output.json {
                print_json(&json!(letters.filed.values().map(value).collect::<Vec<_>>()));
            } else {
                list(&letters);
            }
        }
        DlqCommand::Show { config, partition, offset, output } => {
            let letters = read(&Config::load(config)?)?;
            let Some(found) = letters.filed.get(&(*partition, *offset)) else {
                bail!("no dead letter at partition {partition} offset {offset}; `sealtrail dlq ls` lists them");
            };
            if output.json {
                print_json(&value(found));
            } else {
                show(found);
            }
        }
        DlqCommand::Redrive { config, partition, offset, all: _, stage, code, output } => {
            let place = partition.zip(*offset);
            let chosen = |filed: &Filed| {
                place.map_or(filed.redriven_ms.is_none(), |place| place == (filed.partition, filed.offset))
                    && stage.as_ref().is_none_or(|stage| *stage == filed.letter.stage)
                    && code.as_ref().is_none_or(|code| *code == filed.letter.code)
            };
            return send_back(&Config::load(config)?, &chosen, place.is_some(), output.json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(config: &Config) -> Result<Letters> {
    let bus = open_bus(config)?;
    let topic = Topics::new(&config.topics.prefix).dlq;
    stage::dlq::read(bus.as_ref(), &topic, config.topics.partitions).with_context(|| format!("read {topic}"))
}

fn list(letters: &Letters) {
    let row = |filed: &Filed| {
        let l = &filed.letter;
        vec![
            format!("{} {}", filed.partition, filed.offset),
            time(filed.at_ms * 1000),
            l.stage.clone(),
            l.code.clone(),
            format!("{}/{}@{}", l.topic, l.partition, l.offset),
            filed.redriven_ms.map_or_else(String::new, |at_ms| time(at_ms * 1000)),
            l.detail.clone(),
        ]
    };
    let rows: Vec<_> = letters.filed.values().map(row).collect();
    line(&table(&["letter", "time", "stage", "code", "origin", "redriven", "detail"], &rows, 60));
    for (count, what) in
        [(letters.more, "letters more are not shown"), (letters.unreadable, "records are no dead letters")]
    {
        if count > 0 {
            line(&format!("{count} {what}"));
        }
    }
}

fn show(filed: &Filed) {
    let letter = &filed.letter;
    let bytes = letter.value.as_deref().unwrap_or_default();
    line(&format!("stage   {}\ncode    {}\ndetail  {}", letter.stage, letter.code, clean(&letter.detail)));
    line(&format!("origin  {}/{} offset {}", letter.topic, letter.partition, letter.offset));
    if let Some(at_ms) = filed.redriven_ms {
        line(&format!("redrive {}", time(at_ms * 1000)));
    }
    line(&format!(
        "key     {}\nvalue   {} bytes",
        clean(&String::from_utf8_lossy(letter.key.as_deref().unwrap_or_default())),
        bytes.len()
    ));
    bytes.chunks(32).for_each(|chunk| {
        line(&format!("        {}", chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
    });
}

fn value(filed: &Filed) -> serde_json::Value {
    use base64::Engine as _;
    let encode =
        |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes));
    let l = &filed.letter;
    json!({
        "partition": filed.partition, "offset": filed.offset, "at_ms": filed.at_ms, "redriven_ms": filed.redriven_ms,
        "stage": l.stage, "code": l.code, "detail": l.detail,
        "origin": {"topic": l.topic, "partition": l.partition, "offset": l.offset, "timestamp_ms": l.timestamp_ms},
        "key": encode(&l.key), "value": encode(&l.value),
    })
}

/// Sends letters back; `one`: the caller named it, so that none is an error.
fn send_back(config: &Config, chosen: &dyn Fn(&Filed) -> bool, one: bool, as_json: bool) -> Result<ExitCode> {
    let (bus, topics) = (open_bus(config)?, Topics::new(&config.topics.prefix));
    let registry = if config.registry.url.is_empty() { Registry::none() } else { Registry::at(&config.registry.url) };
    let framing = registry.framing::<DeadLetter>(&topics.dlq)?;
    let inputs = [topics.raw, topics.enriched];
    let outcomes = redrive(bus.as_ref(), &topics.dlq, config.topics.partitions, &framing, &inputs, chosen)
        .context("redrive; what was sent back is noted, so the command may be given again")?;
    if one && outcomes.is_empty() {
        bail!("no such dead letter; `sealtrail dlq ls` lists them");
    }
    let tally = tally(&outcomes);
    let word = |outcome: &Outcome| match outcome {
        Outcome::Redriven => "redriven".to_owned(),
        Outcome::Before => "redriven before; nothing was done".to_owned(),
        Outcome::Refused(reason) => format!("refused: {reason}"),
    };
    if as_json {
        let each = outcomes.iter().map(
            |(filed, outcome)| json!({"partition": filed.partition, "offset": filed.offset, "outcome": word(outcome)}),
        );
        print_json(&json!({"letters": each.collect::<Vec<_>>(), "tally": tally}));
    } else {
        for (filed, outcome) in &outcomes {
            line(&format!("{} {}  {}", filed.partition, filed.offset, clean(&word(outcome))));
        }
        let counts: Vec<String> = tally.iter().map(|(name, count)| format!("{count} {name}")).collect();
        line(&counts.join(", "));
    }
    let refused = tally.get("refused").is_some_and(|count| *count > 0);
    Ok(if refused { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS })
}
