//! `sealtrail prove`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use reader::{Archive, Wanted, check_proof, prove, prove_consistency};
use serde_json::json;

use crate::args::ProveArgs;
use crate::exit::Usage;
use crate::output::{json as print_json, line};

pub(super) fn run(args: &ProveArgs) -> Result<ExitCode> {
    if let Some(file) = &args.check {
        return check(args, file);
    }
    let archive = Archive::open(args.archive.as_deref().unwrap_or_default()).context("open the archive")?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("make folder {}", args.out.display()))?;
    let write = |name: &str, text: &str| -> Result<String> {
        let path = args.out.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path.display().to_string())
    };
    let mut made = Vec::new();
    if let Some(old) = args.consistency {
        let text = prove_consistency(&archive, old).context("make the consistency proof")?;
        let path = write(&format!("consistency-{old}.txt"), &text)?;
        made.push(json!({ "file": path, "old_size": old, "bytes": text.len() }));
    } else {
        let wanted = match (&args.event, &args.session) {
            (Some(id), _) => Wanted::Event(id.to_lowercase()),
            (_, Some(id)) => Wanted::Session(id.to_lowercase()),
            _ => return Err(Usage("give --event, --session, --consistency or --check".to_owned()).into()),
        };
        for (number, proof) in prove(&archive, &wanted).context("make the proof")?.into_iter().enumerate() {
            let name = if proof.event_id.is_empty() { format!("record-{number}") } else { proof.event_id.clone() };
            let path = write(&format!("{name}.tlog-proof"), &proof.text)?;
            made.push(json!({
                "file": path, "event_id": proof.event_id, "place": proof.place, "seq": proof.seq,
                "object": proof.object, "bytes": proof.text.len(),
            }));
        }
    }
    if args.output.json {
        print_json(&serde_json::Value::Array(made));
    } else {
        for one in &made {
            let text =
                |key: &str| one.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            let place = text("place").unwrap_or_default();
            line(&format!(
                "{}  {} bytes  {place}",
                text("file").unwrap_or_default(),
                text("bytes").unwrap_or_default()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks a proof file with nothing but keys.
fn check(args: &ProveArgs, file: &Path) -> Result<ExitCode> {
    let keys = args.vkeys.iter().map(|text| super::verify::key(text)).collect::<Result<Vec<_>>>()?;
    let origin = keys.iter().find(|key| key.kind() == tlog::KeyKind::Ed25519).map(|key| key.name().to_owned());
    let origin = origin.ok_or_else(|| Usage("no --vkey is a log's key".to_owned()))?;
    let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let old = args.old.as_ref().map(std::fs::read).transpose().context("read the older checkpoint")?;
    let proven = match check_proof(&bytes, &origin, &keys, old.as_deref()) {
        Ok(proven) => proven,
        Err(error) => {
            let code = error.code().unwrap_or("T25");
            let exit = if code == "T12" { 4 } else { 1 };
            if args.output.json {
                print_json(
                    &json!({ "valid": false, "code": code, "error": format!("{:#}", anyhow::Error::from(error)) }),
                );
            } else {
                line(&format!("FOUND    {code} {:#}", anyhow::Error::from(error)));
                line(&format!("RESULT   INVALID  exit {exit}"));
            }
            return Ok(ExitCode::from(exit));
        }
    };
    let place = proven.seal.as_ref().map(|seal| format!("{}/{} seal {}", seal.topic, seal.partition, seal.seal_seq));
    if args.output.json {
        print_json(&json!({
            "valid": true, "origin": origin, "size": proven.head.size(), "root": proven.head.root().to_string(),
            "place": place, "witnessed": proven.witnessed,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    line(&format!("head     {origin}, {} entries, root {}", proven.head.size(), proven.head.root()));
    for (name, time) in &proven.witnessed {
        line(&format!("witness  {name} at {time}"));
    }
    match place {
        Some(place) => line(&format!("event    {place}, leaf of {} bytes", proven.leaf_input.len())),
        None => line("head     extends the older one"),
    }
    line("RESULT   VALID  exit 0");
    Ok(ExitCode::SUCCESS)
}
