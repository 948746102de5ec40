//! `layers`: who may import whom. The graph of our packages must equal `layers.txt`, and may never hold what the rules
//! below forbid, blessed or not. Dependencies of tests are listed apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

const GOLDEN: &str = "xtask/layers.txt";

/// What the shipped code of a package may import of ours; a package not listed may import what its line in the golden
/// file says.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("schemas", &[]),
    ("columns", &["schemas"]),
    ("sql", &[]),
    ("tlog", &[]),
    ("xtask", &[]),
    ("stage", &["schemas"]),
    ("enricher", &["schemas", "stage"]),
    ("ingest-proxy", &["schemas", "sql", "stage"]),
    ("masker", &["schemas", "sql", "stage"]),
    ("reader", &["columns", "schemas", "tlog"]),
    ("sealer", &["schemas", "stage", "tlog"]),
    ("archiver", &["columns", "schemas", "stage", "tlog"]),
];
/// Stages, which never import each other, the reader or the command line.
const STAGES: [&str; 5] = ["ingest-proxy", "enricher", "masker", "sealer", "archiver"];
/// Foreign crates that shipped code of a package must not depend on.
const FOREIGN: [(&str, &[&str]); 4] = [
    ("schemas", &["tokio", "rdkafka", "object_store", "reqwest", "hyper"]),
    ("tlog", &["tokio", "rdkafka", "object_store", "reqwest", "hyper"]),
    ("reader", &["rdkafka", "redb", "fjall", "rusqlite"]),
    ("masker", &["rdkafka", "object_store", "tokio"]),
];
/// A word, and the beginnings of the paths where shipped code may use it.
const WORDS: [(&str, &[&str]); 5] = [
    ("rdkafka", &["stage/src/bus/kafka", "cli/benches"]),
    ("redb::", &["stage/src/bus/embedded"]),
    ("fjall::", &["stage/src/bus/embedded"]),
    ("rusqlite::", &["stage/src/bus/embedded"]),
    ("SigningKey", &["sealer/src/", "cli/src/command/keys", "cli/src/command/demo"]),
];
/// What a pure transform must not touch.
const IMPURE: [&str; 7] = ["std::fs", "std::net", "tokio::", "SystemTime::now", "Instant::now", "rand::", "std::env"];

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Compares, or with `bless` writes the golden file.
pub(crate) fn run(bless: bool) -> Result<()> {
    let text = shell::output(&mut shell::cargo(&["metadata", "--format-version=1", "--no-deps"])?)?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo metadata")?;
    let (normal, dev, foreign) = graph(&metadata)?;
    let mut faults = forbidden(&normal, &foreign);
    faults.extend(lints(&metadata)?);
    faults.extend(words()?);
    let shown = show(&normal, &dev)?;
    if bless {
        std::fs::write(GOLDEN, &shown).context("write the golden graph")?;
    } else {
        let golden = std::fs::read_to_string(GOLDEN).with_context(|| format!("read {GOLDEN}"))?;
        for line in shown.lines().filter(|line| !golden.lines().any(|other| other == *line)) {
            faults.push(format!("not in {GOLDEN}: {line}"));
        }
        for line in golden.lines().filter(|line| !shown.lines().any(|other| other == *line)) {
            faults.push(format!("only in {GOLDEN}: {line}"));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("\n  {}", faults.join("\n  ")) }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Our edges of shipped code, our edges of tests, and the foreign crates of shipped code.
fn graph(metadata: &Value) -> Result<(Edges, Edges, Edges)> {
    let packages = list(metadata, "packages");
    let ours: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    if ours.is_empty() {
        bail!("cargo metadata names no package");
    }
    let (mut normal, mut dev, mut foreign) = (Edges::new(), Edges::new(), Edges::new());
    for package in packages {
        let from = text(package, "name");
        normal.entry(from.to_owned()).or_default();
        for dependency in list(package, "dependencies") {
            let to = text(dependency, "name");
            let edges = match (ours.contains(to), text(dependency, "kind")) {
                (true, "dev") => &mut dev,
                (true, _) => &mut normal,
                (false, "dev") => continue,
                (false, _) => &mut foreign,
            };
            edges.entry(from.to_owned()).or_default().insert(to.to_owned());
        }
    }
    Ok((normal, dev, foreign))
}

fn show(normal: &Edges, dev: &Edges) -> Result<String> {
    let mut shown = String::from(
        "# Who imports whom, of our packages. `cargo xtask layers --bless` writes it; rules are in xtask/src/layers.rs.\n",
    );
    for (heading, edges) in [("shipped", normal), ("tests", dev)] {
        for (from, to) in edges {
            let to = to.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            writeln!(shown, "{}", format!("{heading}: {from} -> {to}").trim_end()).context("format the graph")?;
        }
    }
    Ok(shown)
}

/// Edges that no golden file can allow.
fn forbidden(normal: &Edges, foreign: &Edges) -> Vec<String> {
    let mut faults = Vec::new();
    for (from, targets) in normal {
        let allowed = ALLOWED.iter().find(|(name, _)| name == from).map(|(_, allowed)| *allowed);
        for to in targets {
            let stage_to_stage = STAGES.contains(&from.as_str())
                && (STAGES.contains(&to.as_str()) || ["reader", "cli", "console"].contains(&to.as_str()));
            let test_code = to == "tests" || to == "xtask";
            if stage_to_stage || test_code || allowed.is_some_and(|allowed| !allowed.contains(&to.as_str())) {
                faults.push(format!("forbidden: {from} -> {to}"));
            }
        }
        for (_, banned) in FOREIGN.iter().filter(|(name, _)| name == from) {
            let used = foreign.get(from).into_iter().flatten().filter(|name| banned.contains(&name.as_str()));
            faults.extend(used.map(|name| format!("forbidden: {from} -> {name}")));
        }
    }
    faults
}

/// Packages that do not take the workspace's lints.
fn lints(metadata: &Value) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in list(metadata, "packages") {
        let path = text(package, "manifest_path");
        let manifest = std::fs::read_to_string(path).with_context(|| format!("read `{path}`"))?;
        let lines: Vec<&str> = manifest.lines().map(str::trim).collect();
        if !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
            faults.push(format!("{}: Cargo.toml lacks `[lints] workspace = true`", text(package, "name")));
        }
    }
    Ok(faults)
}

/// Words of shipped code outside the one place for them.
fn words() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in shell::files()? {
        if !path.ends_with(".rs") || shell::is_test(&path) || path.starts_with("xtask/") {
            continue;
        }
        let content = std::fs::read_to_string(&path).with_context(|| format!("read `{path}`"))?;
        let pure = path.ends_with("/src/transform.rs") && !path.starts_with("stage/");
        for (number, line) in shell::code_lines(&content) {
            for (word, places) in WORDS {
                if line.contains(word) && !places.iter().any(|place| path.starts_with(place)) {
                    faults.push(format!("{path}:{number}: `{word}` belongs in {}", places.join(", ")));
                }
            }
            for word in IMPURE.iter().filter(|word| pure && line.contains(*word)) {
                faults.push(format!("{path}:{number}: a transform is pure, so no `{word}`"));
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &str)]) -> Edges {
        let mut edges = Edges::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    }

    #[test]
    fn forbidden_edges_are_found_and_allowed_ones_are_not() {
        let none = Edges::new();
        let good = edges(&[("masker", "stage"), ("cli", "masker"), ("sealer", "tlog"), ("reader", "schemas")]);
        assert!(forbidden(&good, &none).is_empty());
        for bad in
            [("masker", "sealer"), ("schemas", "tlog"), ("reader", "stage"), ("cli", "tests"), ("enricher", "tlog")]
        {
            assert_eq!(forbidden(&edges(&[bad]), &none).len(), 1, "{bad:?}");
        }
        assert_eq!(forbidden(&edges(&[("tlog", "x")]), &edges(&[("tlog", "tokio")])).len(), 2);
    }
}
