//! `sealtrail demo` as a newcomer runs it: everything held, twice in a row, and nothing of it stays behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::process::Command;

use serde_json::Value;
use testkit::process::{Folder, sealtrail_bin};

fn demo(arguments: &[&str]) -> std::process::Output {
    Command::new(sealtrail_bin().unwrap()).arg("demo").args(arguments).output().unwrap()
}

#[test]
fn the_demo_holds_its_promises_twice() {
    for _ in 0..2 {
        let output = demo(&["--json"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stdout));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["secrets_in_archive"], 0);
        assert_eq!(
            (&summary["verify"]["exit_code"], &summary["verify_tampered"]["exit_code"]),
            (&Value::from(0), &Value::from(1))
        );
        assert!(summary["events"].as_u64().unwrap() >= 14, "{summary:#}");
    }
}

#[test]
fn a_kept_demo_can_be_gone_on_with_and_is_never_written_over() {
    let folder = Folder::new("demo").unwrap();
    let kept = folder.join("kept");
    let output = demo(&["--keep", kept.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // the commands it ends with are commands that work
    let bin = sealtrail_bin().unwrap();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with("sealtrail ")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let extra: &[&str] = if words[0] == "replay" { &["--fast"] } else { &[] };
        let next = Command::new(&bin).args(&words).args(extra).output().unwrap();
        assert!(next.status.success(), "{line}: {}", String::from_utf8_lossy(&next.stderr));
    }
    let again = demo(&["--keep", kept.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}
