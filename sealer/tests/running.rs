//! A whole sealer on the embedded bus: rotation by order and by age, the policy beside the log, an incident as an order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::topics::Topics;
use schemas::v1::IncidentBody;
use sealer::SealerConfig;
use sealer::notary::LogStore as _;
use sealer::offline::{incident_entry, recovery_name, root_name, sign_policy};
use sealer::orders::{INCIDENT, ROTATE};
use sealer::signer::{FileSigner, Signer as _};
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{Bus as _, Cleanup, TopicSpec};
use stage::{Env, Level};
use support::{Memory, ORIGIN};
use tlog::{Checkpoint, Policy, VerifierKey, checkpoint_path};

fn env(folder: &Path) -> Env {
    let bus = Embedded::open(&EmbeddedConfig { sync: false, ..EmbeddedConfig::at(folder) }).unwrap();
    let topics = Topics::default();
    let spec =
        |name: &String| TopicSpec { name: name.clone(), partitions: 1, cleanup: Cleanup::Delete { retention_ms: -1 } };
    bus.ensure_topics(&[&topics.frames, &topics.events, &topics.seals, &topics.seal_proposals].map(spec)).unwrap();
    let registry = Arc::new(stage::registry::Registry::none());
    Env { bus, topics, partitions: 1, registry, shutdown: stage::Shutdown::new(), instance: "t".into() }
}

fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let began = Instant::now();
    while !probe() {
        assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn epoch(state: &Path) -> i64 {
    let text = std::fs::read_to_string(state.join("epoch")).unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(-1)
}

/// Sizes of heads that both keys have signed.
fn closings(store: &Memory, keys: &[VerifierKey]) -> Vec<u64> {
    let paths: Vec<String> = store.0.lock().unwrap().objects.keys().cloned().collect();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.starts_with("checkpoints/")) {
        let opened = Checkpoint::open(&store.read(path).unwrap().unwrap(), ORIGIN, keys).unwrap();
        assert_eq!(*path, checkpoint_path(opened.checkpoint.size()));
        if opened.verified.signatures.len() == 2 {
            found.push(opened.checkpoint.size());
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_running_sealer_rotates_by_order_and_by_age_and_obeys_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (env, store, state) = (env(&folder.join("bus")), Memory::default(), folder.join("state"));
    let place = |name: &str| folder.join(name);
    let log = FileSigner::create(&place("log.key"), &[7; 32], ORIGIN).unwrap();
    let root = FileSigner::create(&place("root.key"), &[8; 32], &root_name(ORIGIN)).unwrap();
    let recovery = FileSigner::create(&place("recovery.key"), &[9; 32], &recovery_name(ORIGIN)).unwrap();
    let mut policy = Policy::new(log.verifier_key().clone());
    policy.recovery.push(recovery.verifier_key().clone());
    std::fs::write(place("policy"), sign_policy(&policy, &root).unwrap()).unwrap();
    std::fs::write(place("root.vkey"), format!("{}\n", root.verifier_key())).unwrap();
    let config = SealerConfig {
        origin: ORIGIN.into(),
        key_file: place("log.key"),
        state_folder: state.clone(),
        root_vkey_file: place("root.vkey"),
        policy_file: place("policy"),
        heartbeat_ms: 100,
        publish_interval_ms: 20,
        ..SealerConfig::default()
    };
    let start = || sealer::start::start(&config, &env.apart(), Box::new(store.clone())).unwrap();
    let running = start();
    eventually("a head", || store.text("checkpoint").is_some());
    assert_eq!(store.text("policy").unwrap(), store.text("policies/00000000").unwrap());
    // by order
    std::fs::write(state.join(ROTATE), "").unwrap();
    eventually("epoch 1", || epoch(&state) == 1 && !state.join(ROTATE).exists());
    let mut keys = vec![log.verifier_key().clone()];
    keys.push(FileSigner::open(&place("log.key.1"), ORIGIN).unwrap().verifier_key().clone());
    assert!(!place("log.key").exists(), "the old secret is gone");
    // an incident, said by the root
    let incident = IncidentBody {
        version: 1,
        origin: ORIGIN.into(),
        first_offset: -1,
        last_offset: -1,
        resume_offset: -1,
        text: "the clock was an hour off on the first of May".into(),
        ..IncidentBody::default()
    };
    std::fs::write(state.join(INCIDENT), incident_entry(incident, &root).unwrap()).unwrap();
    eventually("the incident is in the log", || !state.join(INCIDENT).exists());
    running.workers.stop(Level::Drain).unwrap();
    running.notary.stop(Level::Drain).unwrap();
    assert_eq!(closings(&store, &keys).len(), 1);
    // by age, while the sealer was down: at its start
    std::fs::write(state.join("epoch"), "1 1000\n").unwrap();
    let running = start();
    eventually("epoch 2", || epoch(&state) == 2);
    keys.push(FileSigner::open(&place("log.key.2"), ORIGIN).unwrap().verifier_key().clone());
    running.workers.stop(Level::Drain).unwrap();
    running.notary.stop(Level::Drain).unwrap();
    assert_eq!(closings(&store, &keys).len(), 2);
    assert!(!place("log.key.1").exists());
    // a policy that revokes the key in force stops the next start
    policy.number = 1;
    policy.revoked.push(tlog::Revocation { key: keys[2].clone(), last_good_size: 3 });
    std::fs::write(place("policy"), sign_policy(&policy, &root).unwrap()).unwrap();
    let refused = sealer::start::start(&config, &env.apart(), Box::new(store.clone())).err().unwrap();
    assert!(refused.to_string().contains("revoked"), "{refused}");
    // an older policy than the stored one is refused too
    policy.number = 0;
    policy.revoked.clear();
    std::fs::write(place("policy"), sign_policy(&policy, &root).unwrap()).unwrap();
    let refused = sealer::start::start(&config, &env.apart(), Box::new(store.clone())).err().unwrap();
    assert!(refused.to_string().contains("higher number"), "{refused}");
}
