//! The binary as its users meet it: errors that name the thing, the reason and the next step; documented exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

fn sealtrail(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealtrail"));
    command.env_clear().args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn keys(folder: &Path) -> String {
    let folder = folder.join("keys");
    let output = sealtrail(&[
        "keys",
        "init",
        "--origin",
        "cli.test.example/log",
        "--folder",
        folder.to_str().unwrap(),
        "--json",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    made["vkey"].as_str().unwrap().to_owned()
}

#[test]
fn a_wrong_configuration_is_exit_64_and_names_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealtrail.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        sealtrail(&["config", "check", "--config", path.to_str().unwrap()])
    };
    assert!(check("").status.success());
    for (text, named) in [
        ("[sealer]\nbatch_age = 3\n", "batch_age"),
        ("[sealer]\nbatch_age_ms = 3\n", "sealer.batch_age_ms is 3, must be 10 to 3600000"),
        ("[topics]\nprefix = \"audit\"\n", "must end in a dot"),
        ("[bus]\nkind = \"kafka\"\n", "bus.bootstrap is empty"),
        ("[bus]\nkind = \"rabbit\"\n", "rabbit"),
        ("[proxy\n", "line 1"),
        ("[proxy.identity]\nissuer = \"https://login.example\"\n", "tls_certificate"),
    ] {
        let output = check(text);
        assert_eq!(output.status.code(), Some(64), "{text}: {}", stderr(&output));
        assert!(stderr(&output).contains(named), "{text}: {}", stderr(&output));
    }
    let missing = sealtrail(&["config", "check", "--config", "no-such-file.toml"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(stderr(&missing).contains("no-such-file.toml"), "{}", stderr(&missing));
}

#[test]
fn what_config_print_prints_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let printed = sealtrail(&["config", "print"]);
    assert!(printed.status.success(), "{}", stderr(&printed));
    let path = folder.path().join("printed.toml");
    std::fs::write(&path, &printed.stdout).unwrap();
    let check = sealtrail(&["config", "check", "--config", path.to_str().unwrap()]);
    assert!(check.status.success(), "{}", stderr(&check));
}

#[test]
fn keys_are_never_replaced_and_private_ones_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let vkey = keys(folder.path());
    assert!(vkey.starts_with("cli.test.example/log+"), "{vkey}");
    for name in ["log.key", "masker.key", "pseudonym.key"] {
        let mode = std::fs::metadata(folder.path().join("keys").join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let before = std::fs::read(folder.path().join("keys/log.key")).unwrap();
    let again = sealtrail(&[
        "keys",
        "init",
        "--origin",
        "x.example/log",
        "--folder",
        folder.path().join("keys").to_str().unwrap(),
    ]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("log.vkey exists"), "{}", stderr(&again));
    assert_eq!(std::fs::read(folder.path().join("keys/log.key")).unwrap(), before);
}

/// P42: nothing found is a failure, never a success.
#[test]
fn verify_of_nothing_is_exit_1() {
    let folder = tempfile::tempdir().unwrap();
    let vkey = keys(folder.path());
    let empty = folder.path().join("archive");
    std::fs::create_dir(&empty).unwrap();
    let output = sealtrail(&["verify", empty.to_str().unwrap(), "--vkey", &vkey, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "T30"), "{report:#}");
    let gone = sealtrail(&["verify", folder.path().join("nowhere").to_str().unwrap(), "--vkey", &vkey]);
    assert!(matches!(gone.status.code(), Some(1 | 2)), "{:?}", gone.status.code());
}

#[test]
fn a_wrong_verifier_key_is_exit_64() {
    let output = sealtrail(&["verify", ".", "--vkey", "not+a+key"]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains("not+a+key"));
}

/// A rule of one's own is checked with the file, and `mask --explain` shows what it finds, never the value itself.
#[test]
fn rules_are_checked_and_tried() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |max: u32| {
        let path = folder.path().join("sealtrail.toml");
        let text = format!(
            "[[masker.rules]]\nid = \"user-acme\"\nanchors = [\"acme_\"]\nclass = \"alnum\"\nmin = 12\nmax = {max}\n\
             examples = [\"acme_{{alnum:16}}\"]\ncounter_examples = [\"acme_x\"]\n"
        );
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let wrong = sealtrail(&["config", "check", "--config", &rule(4000)]);
    assert_eq!(wrong.status.code(), Some(64), "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("`user-acme`: it is unbounded"), "{}", stderr(&wrong));
    let config = rule(40);
    let checked = sealtrail(&["config", "check", "--config", &config]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let secret = ["acme_", "q7Wd93kLm20Zx8Vb"].concat();
    let text = folder.path().join("text");
    std::fs::write(&text, format!("note = {secret}, end")).unwrap();
    let file = text.display().to_string();
    let shown = sealtrail(&["mask", "--config", &config, "--explain", &file, "--json"]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let out = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(!out.contains(&secret), "{out}");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let found = &value["matches"][0];
    assert_eq!((found["rule"].as_str(), found["start"].as_u64()), (Some("user-acme"), Some(7)), "{out}");
    assert_eq!(value["masked_bytes"].as_u64(), Some(21), "{out}");
    let table = sealtrail(&["mask", "--config", &config, "--explain", &file]);
    let out = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(out.contains("user-acme") && !out.contains(&secret), "{out}");
}

#[test]
fn completions_are_made_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = sealtrail(&["completions", shell]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("sealtrail"), "{shell}");
    }
}

/// The reference follows the code: `UPDATE_GOLDEN=1` writes it, otherwise a difference fails.
#[test]
fn the_configuration_schema_is_the_reference() {
    let output = sealtrail(&["config", "schema"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/config.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &output.stdout).unwrap();
    }
    let committed = std::fs::read(&path).unwrap_or_default();
    assert!(committed == output.stdout, "docs/reference/config.schema.json is stale; run with UPDATE_GOLDEN=1");
}

/// P23: dead letters are listed, sent back once and then listed as sent back.
#[test]
fn dead_letters_are_listed_and_go_back_once() {
    use schemas::Record as _;
    use stage::bus::embedded::{Embedded, EmbeddedConfig};
    use stage::bus::{Bus as _, WriteMode, WriterSpec};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealtrail.toml");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(&path, format!("[bus]\nfolder = {:?}\n[topics]\npartitions = 2\n", at("bus"))).unwrap();
    let config = path.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = sealtrail(&[&["dlq"], arguments, &["--config", config]].concat());
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap() + &stderr(&output))
    };
    let made = sealtrail(&["topics", "create", "--config", config]);
    assert!(made.status.success(), "{}", stderr(&made));
    let letter = |topic: &str| schemas::v1::DeadLetter {
        stage: "enricher".into(),
        code: "E-002".into(),
        detail: "not canonical".into(),
        topic: topic.into(),
        partition: 1,
        offset: 7,
        timestamp_ms: 0,
        key: Some(b"k".to_vec()),
        value: Some(b"bytes".to_vec()),
    };
    {
        let bus = Embedded::open(&EmbeddedConfig::at(&at("bus"))).unwrap();
        let mut writer = bus.writer(&WriterSpec { name: "test".into(), mode: WriteMode::Idempotent }).unwrap();
        writer.begin().unwrap();
        for topic in ["audit.raw", "audit.seals"] {
            let mut value = Vec::new();
            schemas::framing::Framing::single_object::<schemas::v1::DeadLetter>().prefix(&mut value);
            letter(topic).encode(&mut value);
            writer.send("audit.dlq", 1, Some(b"k"), Some(&value)).unwrap();
        }
        writer.commit(None).unwrap();
    }
    let (code, text) = run(&["ls"]);
    assert!(code == Some(0) && text.contains("audit.raw/1@7") && text.contains("E-002"), "{text}");
    let (code, text) = run(&["redrive", "--all", "--stage", "masker"]);
    assert!(code == Some(0) && text.contains("0 redriven"), "{text}");
    let (code, text) = run(&["redrive", "1", "0"]);
    assert!(code == Some(0) && text.contains("1 redriven"), "{text}");
    let (code, text) = run(&["redrive", "1", "0"]);
    assert!(code == Some(0) && text.contains("1 before, 0 redriven"), "{text}");
    let (code, text) = run(&["redrive", "--all"]);
    assert!(code == Some(1) && text.contains("the input of no stage"), "{text}");
    assert_eq!(run(&["redrive", "0", "5"]).0, Some(1));
    assert_eq!(run(&["redrive"]).0, Some(2), "clap's own code for a wrong command line");
    let (_, text) = run(&["show", "1", "0"]);
    assert!(text.contains("redrive 2") && text.contains("6279746573"), "{text}");
    let bus = Embedded::open(&EmbeddedConfig::at(&at("bus"))).unwrap();
    let raw = stage::bus::TopicPartition { topic: "audit.raw".into(), partition: 1 };
    assert_eq!(bus.bounds(&raw).unwrap(), (0, 1), "one record, once");
}
