//! `sealtrail dlq ls|show`: what the stages refused. Bytes stay as they came, encrypted before the masker.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use schemas::topics::Topics;
use schemas::v1::DeadLetter;
use schemas::{Record as _, framing};
use serde_json::json;
use stage::bus::{Assign, Batch, Bus, PollLimit, Position, ReaderSpec, TopicPartition};

use crate::args::DlqCommand;
use crate::compose::open_bus;
use crate::config::Config;
use crate::output::{clean, json as print_json, line, table, time};

/// Most letters listed.
const LETTERS_MAX: usize = 100_000;

struct Letter {
    partition: i32,
    offset: i64,
    at_ms: i64,
    letter: DeadLetter,
}

pub(super) fn run(command: &DlqCommand) -> Result<ExitCode> {
    match command {
        DlqCommand::Ls { config, output } => {
            let letters = read(&Config::load(config)?)?;
            if output.json {
                print_json(&json!(letters.iter().map(value).collect::<Vec<_>>()));
                return Ok(ExitCode::SUCCESS);
            }
            let rows: Vec<_> = letters
                .iter()
                .map(|l| {
                    vec![
                        format!("{} {}", l.partition, l.offset),
                        time(l.at_ms * 1000),
                        l.letter.stage.clone(),
                        l.letter.code.clone(),
                        format!("{}/{}@{}", l.letter.topic, l.letter.partition, l.letter.offset),
                        l.letter.detail.clone(),
                    ]
                })
                .collect();
            line(&table(&["letter", "time", "stage", "code", "origin", "detail"], &rows, 60));
        }
        DlqCommand::Show { config, partition, offset, output } => {
            let letters = read(&Config::load(config)?)?;
            let Some(found) = letters.iter().find(|letter| letter.partition == *partition && letter.offset == *offset)
            else {
                bail!("no dead letter at partition {partition} offset {offset}; `sealtrail dlq ls` lists them");
            };
            if output.json {
                print_json(&value(found));
            } else {
                let bytes = found.letter.value.as_deref().unwrap_or_default();
                line(&format!(
                    "stage   {}\ncode    {}\ndetail  {}",
                    found.letter.stage,
                    found.letter.code,
                    clean(&found.letter.detail)
                ));
                line(&format!(
                    "origin  {}/{} offset {}",
                    found.letter.topic, found.letter.partition, found.letter.offset
                ));
                line(&format!(
                    "key     {}\nvalue   {} bytes",
                    clean(&String::from_utf8_lossy(found.letter.key.as_deref().unwrap_or_default())),
                    bytes.len()
                ));
                bytes.chunks(32).for_each(|chunk| {
                    line(&format!("        {}", chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
                });
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn value(letter: &Letter) -> serde_json::Value {
    use base64::Engine as _;
    let encode =
        |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes));
    let l = &letter.letter;
    json!({
        "partition": letter.partition, "offset": letter.offset, "at_ms": letter.at_ms, "stage": l.stage, "code": l.code, "detail": l.detail,
        "origin": {"topic": l.topic, "partition": l.partition, "offset": l.offset, "timestamp_ms": l.timestamp_ms},
        "key": encode(&l.key), "value": encode(&l.value),
    })
}

fn read(config: &Config) -> Result<Vec<Letter>> {
    let bus = open_bus(config)?;
    let topic = Topics::new(&config.topics.prefix).dlq;
    let mut letters = Vec::new();
    for partition in 0..config.topics.partitions {
        read_partition(bus.as_ref(), &topic, partition, &mut letters)
            .with_context(|| format!("read {topic}/{partition}"))?;
    }
    Ok(letters)
}

fn read_partition(bus: &dyn Bus, topic: &str, partition: i32, letters: &mut Vec<Letter>) -> Result<()> {
    let place = TopicPartition { topic: topic.to_owned(), partition };
    let (first, end) = bus.bounds(&place)?;
    let assign = Assign::Manual(vec![Position { topic_partition: place, next_offset: first }]);
    let mut reader =
        bus.reader(&ReaderSpec { topics: vec![topic.to_owned()], assign, instance: "dlq-reader".into() })?;
    let (mut batch, mut next, mut idle) = (Batch::default(), first, 0);
    while next < end && idle < 20 && letters.len() < LETTERS_MAX {
        reader.poll(&mut batch, PollLimit { records: 1000, bytes: 4 << 20, wait: Duration::from_millis(100) })?;
        idle = if batch.is_empty() { idle + 1 } else { 0 };
        for record in batch.iter() {
            next = record.offset + 1;
            let body = record.value.and_then(|value| framing::split(value).ok()).map(|(_, body)| body);
            let letter =
                body.and_then(|body| DeadLetter::from_body(body).ok()).context("a dead letter is unreadable")?;
            letters.push(Letter { partition, offset: record.offset, at_ms: record.timestamp_ms, letter });
        }
    }
    Ok(())
}
