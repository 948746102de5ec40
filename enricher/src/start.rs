//! Config to running stage.

use schemas::v1::{DeadLetter, EnrichedFrame, EnricherState};
use stage::runner::{Limits, StageSpec, run};
use stage::{Env, Running, StageFailure, clock};

use crate::config::EnricherConfig;
use crate::transform::{EnrichFactory, STATE};

/// Starts the enricher.
///
/// # Errors
/// Wrong configuration, or a registry that does not answer.
pub fn start(config: &EnricherConfig, env: &Env) -> Result<Running, StageFailure> {
    config.check()?;
    let (topics, factory, env) = (env.topics.clone(), EnrichFactory(config.clone()), env.clone());
    let outputs = vec![topics.enriched.clone(), topics.enricher_state.clone()];
    let framings =
        vec![env.framing::<EnrichedFrame>(&topics.enriched)?, env.framing::<EnricherState>(&topics.enricher_state)?];
    let spec = StageSpec {
        name: "enricher".into(),
        input: topics.raw,
        outputs,
        framings,
        table: Some(topics.sessions),
        state_slot: Some(STATE),
        dlq_framing: env.framing::<DeadLetter>(&topics.dlq)?,
        dlq: topics.dlq,
        instance: env.instance.clone(),
        limits: Limits { wait_ms: config.session_wait_ms.into(), ..Limits::default() },
    };
    let shutdown = env.shutdown.clone();
    Ok(Running::spawn("enricher", &shutdown, move || {
        Ok(run(env.bus.as_ref(), &spec, &factory, &env.shutdown, &clock::now_us)?)
    })?)
}
