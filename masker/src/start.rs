//! Config to running stage; the only file of the crate that opens anything.

use schemas::v1::{DeadLetter, Event, Frame, MaskerState};
use stage::runner::{Limits, StageSpec, run};
use stage::{Env, Running, StageFailure, clock};

use crate::config::MaskerConfig;
use crate::decrypt::MaskerKey;
use crate::engine::{Engine, Setup};
use crate::error::MaskerError;
use crate::transform::{MaskerFactory, STATE};

/// Compiles the rules that a configuration asks for, its own among them, and says what is wrong with one.
///
/// # Errors
/// [`MaskerError::Rule`], [`MaskerError::Rules`].
pub fn check(config: &MaskerConfig) -> Result<(), MaskerError> {
    let rules = crate::user_rule::chosen(config)?;
    Engine::compile(&rules, Setup { pseudonym: b"", epoch: 0, names: &config.secret_columns })?;
    Ok(())
}

/// Reads the keys and compiles the rules.
///
/// # Errors
/// [`MaskerError`].
pub fn factory(config: &MaskerConfig) -> Result<MaskerFactory, MaskerError> {
    check(config)?;
    let key = MaskerKey::from_file(&config.key_file)?;
    let pseudonym = match &config.pseudonym_key_file {
        Some(path) => MaskerKey::from_file(path)?.derive(b"pseudonym"),
        None => key.derive(b"pseudonym"),
    };
    Ok(MaskerFactory::new(key, &pseudonym, config))
}

/// Starts the masker.
///
/// # Errors
/// Wrong configuration or key, or a registry that does not answer.
pub fn start(config: &MaskerConfig, env: &Env) -> Result<Running, StageFailure> {
    let (factory, topics, env) = (factory(config)?, env.topics.clone(), env.clone());
    let framings = vec![
        env.framing::<Frame>(&topics.frames)?,
        env.framing::<Event>(&topics.events)?,
        env.framing::<MaskerState>(&topics.masker_state)?,
    ];
    let spec = StageSpec {
        name: "masker".into(),
        input: topics.enriched,
        outputs: vec![topics.frames, topics.events, topics.masker_state],
        framings,
        table: None,
        state_slot: Some(STATE),
        dlq_framing: env.framing::<DeadLetter>(&topics.dlq)?,
        dlq: topics.dlq,
        instance: env.instance.clone(),
        limits: Limits::default(),
    };
    let shutdown = env.shutdown.clone();
    Ok(Running::spawn("masker", &shutdown, move || {
        Ok(run(env.bus.as_ref(), &spec, &factory, &env.shutdown, &clock::now_us)?)
    })?)
}
