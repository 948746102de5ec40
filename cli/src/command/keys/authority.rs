//! What the root and recovery keys sign, and the policy for other tools.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use schemas::topics::Topics;
use schemas::v1::IncidentBody;
use sealer::offline::{incident_entry, recover_entry, recovery_name, root_name, sign_policy};
use sealer::orders::RECOVER;
use sealer::signer::{FileSigner, keyring};
use serde_json::json;
use tlog::{ExpectedTopic, Note, Policy, Revocation, VerifierKey, WitnessPolicy};

use super::args::{IncidentArgs, PolicyArgs, RootArgs};
use crate::args::ConfigArg;
use crate::compose::open_bus;
use crate::config::Config;
use crate::exit::Usage;
use crate::output::{json as print_json, line};

/// A verifier key, or the first line of a file that holds one.
fn vkey(text: &str) -> Result<VerifierKey> {
    let from_file = std::fs::read_to_string(text).ok();
    let text = from_file.as_deref().unwrap_or(text).lines().next().unwrap_or_default();
    VerifierKey::parse(text.trim()).map_err(|error| Usage(format!("verifier key `{text}`: {error}")).into())
}

/// The text of a policy note, not verified: whoever signs the next one answers for it.
fn read(path: &Path) -> Result<Policy> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let note = Note::parse(&bytes).with_context(|| format!("read {}", path.display()))?;
    Policy::parse_text(note.text()).with_context(|| format!("read {}", path.display()))
}

fn finish(policy: &Policy, root: &Path, out: &Path) -> Result<()> {
    policy.check()?;
    let signer = FileSigner::open(root, &root_name(&policy.origin))?;
    super::write(out, &sign_policy(policy, &signer)?, 0o644)?;
    line(&format!(
        "{}  policy {}: give it to auditors, set sealer.policy_file to it, and restart the sealer",
        out.display(),
        policy.number
    ));
    Ok(())
}

pub(super) fn policy(args: &PolicyArgs) -> Result<()> {
    let mut policy = read(&args.policy)?;
    policy.number += 1;
    if args.config.config.is_some() {
        let config = Config::load(&args.config)?;
        let bus = open_bus(&config)?;
        let topics = Topics::new(&config.topics.prefix);
        policy.streams.clear();
        for topic in [topics.frames, topics.events] {
            let info = bus.describe(&topic).with_context(|| format!("look at topic {topic}"))?;
            policy.cluster = Some(info.cluster_id.clone());
            let partitions = u32::try_from(info.partitions).context("count partitions")?;
            policy.streams.push(ExpectedTopic { topic, topic_id: info.topic_id.clone(), partitions });
        }
    }
    policy.retention_days = args.retention_days.unwrap_or(policy.retention_days);
    policy.max_tail_age_s = args.max_tail_age.unwrap_or(policy.max_tail_age_s);
    if let Some(path) = &args.witnesses {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        policy.witnesses = WitnessPolicy::parse(&text).with_context(|| format!("read {}", path.display()))?;
    }
    for text in &args.recovery_vkey {
        policy.recovery.push(vkey(text)?);
    }
    match (&args.root, &args.out) {
        (Some(root), Some(out)) => finish(&policy, root, out),
        _ => {
            policy.check()?;
            line(policy.to_string().trim_end());
            Ok(())
        }
    }
}

pub(super) fn sign(text: &Path, root: &RootArgs) -> Result<()> {
    let text = std::fs::read_to_string(text).with_context(|| format!("read {}", text.display()))?;
    finish(&Policy::parse_text(&text)?, &root.root, &root.out)
}

pub(super) fn revoke(path: &Path, key: &str, last_good_size: u64, root: &RootArgs) -> Result<()> {
    let mut policy = read(path)?;
    policy.number += 1;
    policy.revoked.push(Revocation { key: vkey(key)?, last_good_size });
    finish(&policy, &root.root, &root.out)
}

pub(super) fn recover(config: &ConfigArg, recovery: &Path, epoch: Option<i64>, as_json: bool) -> Result<()> {
    let config = Config::load(config)?.sealer;
    let known = super::epoch(&config.state_folder).map(|epoch| epoch + 1);
    let epoch = epoch.or(known).ok_or_else(|| {
        anyhow!("{} does not say which epoch it is; give --epoch", config.state_folder.join("epoch").display())
    })?;
    let signer = FileSigner::open(recovery, &recovery_name(&config.origin))?;
    let made = keyring(&config).make(epoch)?;
    let entry = recover_entry(epoch, made.verifier_key(), &signer)?;
    let path = config.state_folder.join(RECOVER);
    std::fs::create_dir_all(&config.state_folder)?;
    super::write_bytes(&path, &entry, 0o600)?;
    if as_json {
        print_json(&json!({ "epoch": epoch, "vkey": made.verifier_key().to_string(), "entry": path }));
    } else {
        line(&format!("{}  begins epoch {epoch}: start the sealer. Then revoke the lost key", path.display()));
        line(&format!("new key: {}", made.verifier_key()));
    }
    Ok(())
}

pub(super) fn incident(args: &IncidentArgs) -> Result<()> {
    let signer = FileSigner::open(&args.root.root, &root_name(&args.origin))?;
    let incident = IncidentBody {
        version: 1,
        origin: args.origin.clone(),
        number: args.number,
        log_size: args.log_size,
        first_offset: -1,
        last_offset: -1,
        resume_offset: args.resume_offset,
        text: args.text.clone(),
        ..IncidentBody::default()
    };
    super::write_bytes(&args.root.out, &incident_entry(incident, &signer)?, 0o600)?;
    line(&format!("{}  put it into sealer.state_folder as incident.entry", args.root.out.display()));
    Ok(())
}

pub(super) fn export(path: &Path, root: &str, as_json: bool) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let policy = Policy::open(&bytes, &[vkey(root)?]).with_context(|| format!("read {}", path.display()))?;
    if !as_json {
        line(&format!("# policy {} of {}, in the form of c2sp.org/tlog-policy", policy.number, policy.origin));
        line("# the key of epoch 0; later ones are in the log's KEY entries");
        line(&format!("log {}", policy.first_key));
        line(policy.witnesses.to_string().trim_end());
        return Ok(());
    }
    let texts = |keys: &[VerifierKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    print_json(&json!({
        "origin": policy.origin,
        "number": policy.number,
        "first_key": policy.first_key.to_string(),
        "cluster": policy.cluster,
        "streams": policy.streams.iter().map(|one| json!({
            "topic": one.topic, "topic_id": one.topic_id, "partitions": one.partitions,
        })).collect::<Vec<_>>(),
        "retention_days": policy.retention_days,
        "max_tail_age": policy.max_tail_age_s,
        "recovery": texts(&policy.recovery),
        "revoked": policy.revoked.iter().map(|one| json!({
            "vkey": one.key.to_string(), "last_good_size": one.last_good_size,
        })).collect::<Vec<_>>(),
        "witnesses": policy.witnesses.witnesses.iter().map(|one| json!({
            "name": one.name, "vkey": one.key.to_string(), "url": one.url,
        })).collect::<Vec<_>>(),
        "quorum": policy.witnesses.quorum,
    }));
    Ok(())
}
