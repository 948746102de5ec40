//! `sealtrail keys` and `sealtrail witness` as their users run them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tlog::{Policy, VerifierKey};

const ORIGIN: &str = "cli.test.example/log";

fn sealtrail(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sealtrail")).env_clear().current_dir(folder).args(arguments).output().unwrap()
}

fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = sealtrail(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn vkey(path: &Path) -> VerifierKey {
    VerifierKey::parse(std::fs::read_to_string(path).unwrap().trim()).unwrap()
}

fn init() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path(), &["keys", "init", "--origin", ORIGIN]);
    folder
}

#[test]
fn the_first_policy_is_signed_by_the_root_and_names_log_and_recovery_key() {
    let folder = init();
    let keys = folder.path().join("keys");
    for name in ["offline/root.key", "offline/recovery.key"] {
        assert_eq!(std::fs::metadata(keys.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let root = vkey(&keys.join("root.vkey"));
    let policy = Policy::open(&std::fs::read(keys.join("policy")).unwrap(), &[root]).unwrap();
    assert_eq!((policy.number, policy.first_key), (0, vkey(&keys.join("log.vkey"))));
    assert_eq!(policy.recovery.len(), 1);
}

#[test]
fn policies_follow_each_other_signed_here_or_elsewhere() {
    let folder = init();
    let folder = folder.path();
    std::fs::write(folder.join("witnesses"), "quorum none\n").unwrap();
    let draft = ["keys", "policy", "--policy", "keys/policy", "--retention-days", "30", "--witnesses", "witnesses"];
    let text = good(folder, &draft);
    std::fs::write(folder.join("draft"), &text).unwrap();
    good(folder, &["keys", "sign", "draft", "--root", "keys/offline/root.key", "--out", "policy-1"]);
    let log = vkey(&folder.join("keys/log.vkey")).to_string();
    let revoke = ["keys", "revoke", "--policy", "policy-1", "--vkey", &log, "--last-good-size", "17", "--root"];
    good(folder, &[&revoke[..], &["keys/offline/root.key", "--out", "policy-2"]].concat());
    let export = ["keys", "export", "--policy", "policy-2", "--root-vkey", "keys/root.vkey"];
    let shown: serde_json::Value = serde_json::from_str(&good(folder, &[&export[..], &["--json"]].concat())).unwrap();
    assert_eq!((shown["number"].as_u64(), shown["retention_days"].as_u64()), (Some(2), Some(30)));
    assert_eq!(shown["revoked"][0]["last_good_size"], 17);
    let tlog_policy = tlog::WitnessPolicy::parse(&good(folder, &export)).unwrap();
    assert_eq!(tlog_policy.logs.len(), 1, "other tools read it");
    let again = sealtrail(folder, &["keys", "sign", "draft", "--root", "keys/offline/root.key", "--out", "policy-1"]);
    assert_eq!(again.status.code(), Some(1), "a policy is never written over");
    let wrong = sealtrail(folder, &["keys", "export", "--policy", "policy-2", "--root-vkey", "keys/log.vkey"]);
    assert_eq!(wrong.status.code(), Some(1), "not signed by that key");
}

#[test]
fn rotation_is_asked_for_and_recovery_makes_key_and_entry() {
    let folder = init();
    let folder = folder.path();
    let config = format!("[sealer]\norigin = \"{ORIGIN}\"\nkey_file = \"keys/log.key\"\nstate_folder = \"state\"\n");
    std::fs::write(folder.join("sealtrail.toml"), config).unwrap();
    let asked = good(folder, &["keys", "rotate", "--config", "sealtrail.toml", "--wait", "0", "--json"]);
    assert!(asked.contains("\"rotated\": false"), "{asked}");
    assert!(folder.join("state/rotate").exists());
    let recover =
        ["keys", "recover", "--config", "sealtrail.toml", "--recovery", "keys/offline/recovery.key", "--json"];
    assert_eq!(sealtrail(folder, &recover).status.code(), Some(1), "the epoch is unknown yet");
    let made = good(folder, &[&recover[..], &["--epoch", "1"]].concat());
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let entry = std::fs::read(folder.join("state/recover.entry")).unwrap();
    let schemas::entry::Entry::Key(key) = schemas::entry::Entry::decode(&entry).unwrap() else { panic!("a KEY entry") };
    assert_eq!((key.epoch, key.vkey.as_str()), (1, made["vkey"].as_str().unwrap()));
    let policy =
        Policy::open(&std::fs::read(folder.join("keys/policy")).unwrap(), &[vkey(&folder.join("keys/root.vkey"))]);
    assert!(policy.unwrap().recovery[0].verify_message(&key.signed_bytes(), &key.signature.0));
    assert_eq!(std::fs::metadata(folder.join("keys/log.key.1")).unwrap().permissions().mode() & 0o777, 0o600);
    let incident = ["keys", "incident", "--origin", ORIGIN, "--text", "disks lost", "--log-size", "9"];
    let rest = ["--resume-offset", "0", "--root", "keys/offline/root.key", "--out", "incident.entry"];
    good(folder, &[&incident[..], &rest].concat());
    let entry = std::fs::read(folder.join("incident.entry")).unwrap();
    let Ok(schemas::entry::Entry::Incident(incident)) = schemas::entry::Entry::decode(&entry) else { panic!() };
    assert!(vkey(&folder.join("keys/root.vkey")).verify_message(&incident.signed_bytes(), &incident.signature.0));
}

#[test]
fn a_witness_starts_and_stops() {
    use std::io::BufRead as _;
    let folder = init();
    let arguments =
        ["witness", "--init", "--name", "w.test/1", "--key", "w.key", "--state", "w", "--listen", "127.0.0.1:0"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealtrail"))
        .env_clear()
        .current_dir(folder.path())
        .args(arguments)
        .args(["--log", "keys/log.vkey"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(VerifierKey::parse(first.strip_prefix("vkey ").unwrap()).is_ok(), "{first}");
    let address = lines.next().unwrap().unwrap().strip_prefix("listens on ").unwrap().to_owned();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success() && child.wait().unwrap().success());
}
