//! Config to running sealer: one notary thread and one worker thread per sealed topic.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use schemas::Record as _;
use schemas::v1::SealEnvelope;
use stage::bus::{Assign, Batch, PollLimit, Position, ReaderSpec, TopicPartition, WriteMode, WriterSpec};
use stage::{Env, Level, Running, Shutdown, StageFailure, clock};

use crate::batch::Limits;
use crate::config::SealerConfig;
use crate::error::NotaryError;
use crate::integrate::Accepted;
use crate::leaf::Kind;
use crate::notary::{LogStore, Notary, Setup};
use crate::policy::Rooted;
use crate::rotate::Rotation;
use crate::shared::Shared;
use crate::signer::keyring;
use crate::worker::{Place, Rules, Worker, stream_of};

/// Failures in a row of a retriable kind after which the sealer gives up, with growing pauses between.
const RETRIES_MAX: u32 = 30;
/// Longest time a stopping worker waits for the notary's answers, and a stopping notary for proposals that are there.
const SETTLE: Duration = Duration::from_secs(30);

/// A running sealer: two handles, because a line is emptied from its head and the archiver stands between them.
///
/// Stop `workers` first (a drain returns when their seals are published and on the seals topic), then whoever archives
/// what they sealed, then `notary`, which takes the last receipts. Should one end by itself, the other ends too.
pub struct Started {
    /// Reads the sealed topics, proposes seals.
    pub workers: Running,
    /// Takes proposals, signs, publishes.
    pub notary: Running,
}

/// Starts the sealer over `store`, the object store under the log's prefix. The workers obey `env.shutdown`.
///
/// # Errors
/// Wrong configuration, key or state; a fork guard.
pub fn start(config: &SealerConfig, env: &Env, store: Box<dyn LogStore>) -> Result<Started, StageFailure> {
    config.check()?;
    std::fs::create_dir_all(&config.state_folder)
        .map_err(|source| NotaryError::Mark { path: config.state_folder.clone(), source })?;
    let rooted = Rooted::read(config)?;
    let mut places = Vec::new();
    let mut streams = HashMap::new();
    for (kind, topic) in [(Kind::Frames, &env.topics.frames), (Kind::Events, &env.topics.events)] {
        let info = env.bus.describe(topic)?;
        let own: Vec<_> =
            (0..info.partitions).map(|partition| stream_of(&config.origin, &info, topic, partition, kind)).collect();
        streams.extend(own.iter().map(|stream| (stream.id, (stream.topic.clone(), stream.partition))));
        let (proposals, instance) = (env.topics.seal_proposals.clone(), env.instance.clone());
        places.push(Place { kind, streams: own, proposals, instance });
    }
    let (_, end) = env.bus.bounds(&proposals(env))?;
    rooted.store(config, store.as_ref())?;
    let notary = Notary::open(Setup {
        origin: config.origin.clone(),
        streams,
        trust: rooted.trust.clone(),
        first_key: rooted.policy().map(|policy| policy.first_key.clone()),
        store,
        keys: keyring(config),
        cosigner: rooted.cosigner(config)?,
        state_folder: config.state_folder.clone(),
        proposals_end: end,
    })?;
    if notary.orders().entry(crate::orders::RECOVER).is_none() {
        rooted.check(config, notary.integrator().epoch())?;
    }
    let shared = Shared::default();
    for (stream, head) in notary.integrator().heads() {
        shared.accepted(*stream, *head, notary.lock().size);
    }
    let (size, root) = notary.published();
    shared.published(size, root);
    let notary = {
        let (config, env, shared) = (config.clone(), env.apart(), shared.clone());
        let stop = env.shutdown.clone();
        Running::spawn("notary", &stop, move || {
            let _end = EndOnDrop(shared.clone());
            Ok(notarise(&config, &env, notary, &shared)?)
        })?
    };
    let workers = {
        let (rules, env, own) = (rules(config), env.clone(), shared.clone());
        let stop = env.shutdown.clone();
        Running::spawn("sealer", &stop, move || Ok(seal(rules, &env, places, &own)?))
    };
    match workers {
        Ok(workers) => Ok(Started { workers, notary }),
        Err(error) => {
            shared.end();
            notary.stop(Level::Stop)?;
            Err(error.into())
        }
    }
}

/// Tells the workers that the notary is gone, however it went.
struct EndOnDrop(Shared);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn proposals(env: &Env) -> TopicPartition {
    TopicPartition { topic: env.topics.seal_proposals.clone(), partition: 0 }
}

fn rules(config: &SealerConfig) -> Rules {
    Rules {
        limits: Limits {
            events: i64::from(config.batch_events_max),
            bytes: usize::try_from(config.batch_bytes_max).unwrap_or(usize::MAX),
            age_ms: i64::from(config.batch_age_ms),
        },
        heartbeat_ms: i64::from(config.heartbeat_ms),
        hash_twice: config.hash_twice,
    }
}

/// One thread per place, until all have ended; one that fails ends the others and the notary.
fn seal(rules: Rules, env: &Env, places: Vec<Place>, shared: &Shared) -> Result<(), NotaryError> {
    let stop = &env.shutdown;
    let result = std::thread::scope(|scope| {
        let workers: Vec<_> =
            places.into_iter().map(|place| scope.spawn(move || work(env, place, rules, shared, stop))).collect();
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            // a thread that ends before it was asked has failed: the others stop too
            let early = stop.level() == Level::Run && workers.iter().any(std::thread::ScopedJoinHandle::is_finished);
            if early || shared.is_over() {
                stop.raise(Level::Stop);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut result = Ok(());
        for worker in workers {
            result = result.and(join(worker.join()));
        }
        result
    });
    if result.is_err() {
        shared.end();
    }
    result
}

fn join(ended: std::thread::Result<Result<(), NotaryError>>) -> Result<(), NotaryError> {
    ended.unwrap_or_else(|_| Err(NotaryError::fork("a thread of the sealer panicked")))
}

/// Tries a step again while it fails for a passing reason, with pauses of up to 3 s.
fn again(what: &str, failures: &mut u32, stop: &Shutdown, result: Result<(), NotaryError>) -> Result<(), NotaryError> {
    match result {
        Ok(()) => *failures = 0,
        Err(error) if error.is_retriable() && *failures < RETRIES_MAX && stop.level() != Level::Stop => {
            *failures += 1;
            tracing::warn!(what, failures = *failures, error = &error as &dyn std::error::Error, "sealer tries again");
            std::thread::sleep(Duration::from_millis(50 << (*failures).min(6)));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn work(env: &Env, place: Place, rules: Rules, shared: &Shared, stop: &Shutdown) -> Result<(), NotaryError> {
    let mut worker = Worker::open(env.bus.as_ref(), place, rules, shared.clone(), clock::now_ms())?;
    let mut failures = 0;
    let mut idle = 0;
    loop {
        let mut read = 0;
        let step = worker.step(clock::now_ms()).map(|count| read = count);
        again("read and propose", &mut failures, stop, step)?;
        idle = if read == 0 { idle + 1 } else { 0 };
        match stop.level() {
            Level::Run => {}
            // two empty polls: what had arrived when the request came is in a batch
            Level::Drain if idle < 2 => {}
            Level::Drain | Level::Stop => break,
        }
    }
    worker.finish(clock::now_ms())?;
    let began = Instant::now();
    // whoever is drained next must find every seal on the seals topic: accepted is not enough
    while !(worker.is_settled() && shared.anchor().0 >= shared.accepted_size()) {
        if stop.level() == Level::Stop || shared.is_over() {
            break;
        }
        if began.elapsed() >= SETTLE {
            tracing::warn!("the notary has not published every seal in time; it does when it goes on");
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn notarise(config: &SealerConfig, env: &Env, mut notary: Notary, shared: &Shared) -> Result<(), NotaryError> {
    let stop = &env.shutdown;
    let position = Position { topic_partition: proposals(env), next_offset: notary.next_offset() };
    let mut reader = env.bus.reader(&ReaderSpec {
        topics: vec![env.topics.seal_proposals.clone()],
        assign: Assign::Manual(vec![position]),
        instance: format!("{}-notary", env.instance),
    })?;
    let mut envelopes = Envelopes::open(env, &config.state_folder)?;
    let mut rotation = Rotation::open(&config.state_folder, config.epoch_hours);
    let mut orders =
        env.bus.writer(&WriterSpec { name: format!("{}-orders", env.instance), mode: WriteMode::Idempotent })?;
    let interval = Duration::from_millis(config.publish_interval_ms.into());
    let (mut batch, mut published, mut failures) = (Batch::default(), Instant::now(), 0);
    let mut bound = None;
    let step = |notary: &mut Notary, envelopes: &mut Envelopes| -> Result<(), NotaryError> {
        match notary.publish() {
            // nobody hears of this head before its witnesses have cosigned; the next turn asks them again
            Err(error @ NotaryError::Quorum { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a head waits for its witnesses");
                return Ok(());
            }
            published => published?,
        }
        envelopes.send(notary)?;
        let (size, root) = notary.published();
        shared.published(size, root);
        crate::metrics::published(size, clock::now_ms());
        Ok(())
    };
    again("publish", &mut failures, stop, step(&mut notary, &mut envelopes))?;
    loop {
        if stop.level() == Level::Run {
            rotation.step(&notary, clock::now_ms(), &mut |entry| {
                orders.begin()?;
                orders.send(&env.topics.seal_proposals, 0, None, Some(entry))?;
                Ok(orders.commit(None)?)
            })?;
        }
        reader.poll(&mut batch, PollLimit { records: 1024, bytes: 1 << 20, wait: Duration::from_millis(50) })?;
        for record in batch.iter() {
            take(&mut notary, shared, record.offset, record.value.unwrap_or_default(), &mut |notary| {
                again("publish", &mut failures, stop, step(notary, &mut envelopes))?;
                let size = notary.lock().size;
                if stop.level() == Level::Stop && notary.published().0 < size {
                    return Err(NotaryError::Quorum { size, have: 0, said: String::new() });
                }
                Ok(())
            })?;
        }
        let ending = stop.level() == Level::Stop
            || shared.is_over()
            || match (stop.level(), bound) {
                (Level::Run, _) => false,
                (_, None) => {
                    // what was proposed when the request came is taken, however long it is in coming
                    bound = Some((env.bus.bounds(&proposals(env))?.1, Instant::now()));
                    false
                }
                (_, Some((end, since))) => notary.next_offset() >= end || since.elapsed() >= SETTLE,
            };
        if notary.is_behind() && (published.elapsed() >= interval || ending) {
            again("publish", &mut failures, stop, step(&mut notary, &mut envelopes))?;
            published = Instant::now();
        }
        let given_up = stop.level() == Level::Stop || bound.is_some_and(|(_, since)| since.elapsed() >= SETTLE);
        if ending && (!notary.is_behind() || given_up) {
            return Ok(());
        }
    }
}

fn take(
    notary: &mut Notary,
    shared: &Shared,
    offset: i64,
    proposal: &[u8],
    publish: &mut dyn FnMut(&mut Notary) -> Result<(), NotaryError>,
) -> Result<(), NotaryError> {
    let mut result = notary.offer(offset, proposal);
    // with witnesses that must cosign, an epoch's closing checkpoint may take a while: what follows it waits here
    while matches!(&result, Err(refusal) if refusal.is_passing()) {
        publish(notary)?;
        result = notary.offer(offset, proposal);
        if matches!(&result, Err(refusal) if refusal.is_passing()) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    crate::metrics::answered(result.is_ok());
    crate::rotate::answered(notary.orders(), proposal);
    match result {
        Ok(Accepted { stream_id: Some(stream_id), .. }) => {
            if let Some(head) = notary.integrator().heads().get(&stream_id) {
                shared.accepted(stream_id, *head, notary.integrator().log().size());
            }
        }
        Ok(Accepted { index, stream_id: None, .. }) => {
            let epoch = notary.integrator().epoch().number;
            tracing::warn!(index, epoch, "a key or an incident was taken into the log");
        }
        Err(refusal) => {
            tracing::info!(offset, error = &refusal as &dyn std::error::Error, "proposal refused");
            if let Ok(seal) = crate::entry::decode_seal(proposal) {
                shared.refuse(seal.stream_id);
            }
        }
    }
    Ok(())
}

/// Writes envelopes to `audit.seals`, and remembers how far; a lost memory repeats envelopes, never loses one.
struct Envelopes {
    writer: Box<dyn stage::bus::Writer>,
    topic: String,
    framing: schemas::framing::Framing,
    file: std::path::PathBuf,
    next: u64,
}

impl Envelopes {
    fn open(env: &Env, folder: &Path) -> Result<Self, NotaryError> {
        let file = folder.join("envelopes-next");
        let next = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let writer =
            env.bus.writer(&WriterSpec { name: format!("{}-envelopes", env.instance), mode: WriteMode::Idempotent })?;
        let topic = env.topics.seals.clone();
        let framing = env.framing::<SealEnvelope>(&topic).map_err(|error| NotaryError::Store {
            operation: "register the schema of",
            path: topic.clone(),
            reason: error.to_string(),
            retriable: false,
        })?;
        Ok(Self { writer, topic, framing, file, next })
    }

    fn send(&mut self, notary: &Notary) -> Result<(), NotaryError> {
        let (size, _) = notary.published();
        if self.next >= size {
            return Ok(());
        }
        self.writer.begin()?;
        let mut value = Vec::new();
        let (writer, topic, framing) = (&mut self.writer, &self.topic, self.framing);
        notary.envelopes(self.next, |_, envelope| {
            value.clear();
            framing.prefix(&mut value);
            envelope.encode(&mut value);
            let seal =
                crate::entry::decode_seal(&envelope.entry).map_err(|error| NotaryError::fork(error.to_string()))?;
            Ok(writer.send(topic, 0, Some(seal.stream_id.to_string().as_bytes()), Some(&value))?)
        })?;
        self.writer.commit(None)?;
        self.next = size;
        std::fs::write(&self.file, format!("{}\n", self.next))
            .map_err(|source| NotaryError::Mark { path: self.file.clone(), source })
    }
}
