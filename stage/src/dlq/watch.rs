//! How many dead letters wait, and how old the oldest is: alarms ring long before the topic drops it.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::Record as _;
use schemas::framing::split;
use schemas::v1::DeadLetter;

use super::{LETTERS_MAX, REDRIVEN, STAGE, limit, open};
use crate::bus::{Batch, Bus, BusError, Reader, TopicPartition};
use crate::clock::now_ms;
use crate::env::{Env, Running};
use crate::metrics::{Gauge, gauge};
use crate::shutdown::Shutdown;

/// How often the topic is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Polls per look; the rest comes at the next one.
const POLLS: usize = 1_000;

struct Gauges {
    open: Gauge,
    age_ms: Gauge,
}

/// Watches the dead letters on a thread of its own until it is asked to stop: `dlq_open_letters` and
/// `dlq_oldest_age_ms`. Both are -1 while the topic cannot be read; that stops nothing.
///
/// # Errors
/// When the thread cannot be made.
pub fn watch(env: &Env) -> std::io::Result<Running> {
    let (bus, topic, partitions) = (env.bus.clone(), env.topics.dlq.clone(), env.partitions);
    let stop = env.shutdown.clone();
    Running::spawn("dead-letters", &env.shutdown, move || {
        let gauges = Gauges {
            open: gauge("dlq_open_letters", "Dead letters that nobody has sent back; -1 when not known.", &[]),
            age_ms: gauge(
                "dlq_oldest_age_ms",
                "Age of the oldest dead letter that nobody has sent back, milliseconds; 0 without one, -1 when not known.",
                &[],
            ),
        };
        loop {
            let Err(error) = look(bus.as_ref(), &topic, partitions, &gauges, &stop) else { return Ok(()) };
            tracing::warn!(%error, "the dead letters cannot be watched");
            gauges.open.set(-1);
            gauges.age_ms.set(-1);
            if stop.wait(LOOK * 6) {
                return Ok(());
            }
        }
    })
}

fn look(bus: &dyn Bus, topic: &str, partitions: i32, gauges: &Gauges, stop: &Shutdown) -> Result<(), BusError> {
    let (mut reader, _) = open(bus, topic, 0..partitions)?;
    let mut waiting = Waiting::default();
    loop {
        waiting.read(reader.as_mut(), topic)?;
        for partition in 0..partitions {
            let (start, _) = bus.bounds(&TopicPartition { topic: topic.to_owned(), partition })?;
            waiting.at_ms.retain(|(place, offset), _| *place != partition || *offset >= start);
        }
        gauges.open.set(i64::try_from(waiting.at_ms.len()).unwrap_or(i64::MAX));
        let oldest = waiting.at_ms.values().min();
        gauges.age_ms.set(oldest.map_or(0, |oldest| now_ms().saturating_sub(*oldest).max(0)));
        if stop.wait(LOOK) {
            return Ok(());
        }
    }
}

/// Letters that nobody has sent back, by place, with their time.
#[derive(Default)]
struct Waiting {
    at_ms: BTreeMap<(i32, i64), i64>,
}

impl Waiting {
    fn read(&mut self, reader: &mut dyn Reader, topic: &str) -> Result<(), BusError> {
        let mut batch = Batch::default();
        for _ in 0..POLLS {
            reader.poll(&mut batch, limit())?;
            for record in batch.iter() {
                let place = (record.partition, record.offset);
                let body = record.value.and_then(|value| split(value).ok()).map(|(_, body)| body);
                let note = body.and_then(|body| DeadLetter::from_body(body).ok()).filter(|note| note.stage == STAGE);
                match note {
                    Some(note) if note.code == REDRIVEN && note.topic == topic => {
                        self.at_ms.remove(&(note.partition, note.offset));
                    }
                    Some(_) => {}
                    // the oldest are kept: they are what the alarm is about
                    None if self.at_ms.len() < LETTERS_MAX => drop(self.at_ms.insert(place, record.timestamp_ms)),
                    None => {}
                }
            }
            if batch.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
