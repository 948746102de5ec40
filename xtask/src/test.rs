//! `test`: one line per suite, one last line, an honest exit code. A suite is one test binary, or one package's doc tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{fuzz, install, shell};

/// A suite that takes longer is killed and failed.
const SUITE_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Lines of a failed suite's output that are shown.
const TAIL_LINES: usize = 60;
/// Packages first to last: a failure is easiest to read where it begins. Packages not listed come before `tests`.
const ORDER: [&str; 10] =
    ["schemas", "tlog", "stage", "ingest-proxy", "enricher", "masker", "sealer", "archiver", "reader", "cli"];

struct Suite {
    name: String,
    rank: (usize, String),
    program: PathBuf,
    folder: PathBuf,
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Installs, builds, and runs the suites with `filter` in their name.
pub(crate) fn run(filter: &str) -> Result<()> {
    let started = Instant::now();
    install::run()?;
    println!("building");
    let suites: Vec<Suite> = build(filter)?.into_iter().filter(|suite| suite.name.contains(filter)).collect();
    if suites.is_empty() && filter != "fuzz" {
        bail!("no suite has `{filter}` in its name");
    }
    let logs = shell::target()?.join("test-logs");
    std::fs::create_dir_all(&logs).context("make the folder of logs")?;
    let (mut total, mut bad) = (Tally::default(), Vec::new());
    for suite in &suites {
        one(suite, &logs, &mut total, &mut bad)?;
    }
    if filter.is_empty() && !shell::cargo(&["test", "--quiet", "--workspace", "--doc"])?.status()?.success() {
        bad.push("doc tests".to_owned());
    }
    if (filter.is_empty() || filter == "fuzz")
        && let Err(error) = fuzz::run("", fuzz::SHORT_S, fuzz::From::Seeds)
    {
        println!("{error:#}");
        bad.push("fuzz".to_owned());
    }
    let verdict = if bad.is_empty() { "OK".to_owned() } else { format!("FAILED: {}", bad.join(", ")) };
    println!(
        "{} suites, {} tests passed, {} failed, {} ignored, {:.0} s: {verdict}",
        suites.len(),
        total.passed,
        total.failed,
        total.ignored,
        started.elapsed().as_secs_f64()
    );
    if bad.is_empty() && (total.passed > 0 || filter == "fuzz") { Ok(()) } else { bail!("tests failed or none ran") }
}

/// Builds the test binaries and the product they run, and lists the suites in order. A filter that is the name of a
/// package builds that package alone.
fn build(filter: &str) -> Result<Vec<Suite>> {
    let alone = !filter.is_empty() && Path::new(filter).join("Cargo.toml").is_file();
    if !alone || filter == "tests" || filter == "cli" {
        shell::run(&mut shell::cargo(&["build", "--quiet", "--package", "cli"])?)?;
    }
    let scope: &[&str] = if alone { &["--package", filter] } else { &["--workspace"] };
    let mut command = shell::cargo(&["test", "--no-run", "--quiet", "--message-format=json"])?;
    let messages = shell::output(command.args(scope))?;
    let mut suites = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |path: &str| message.pointer(path).and_then(Value::as_str);
        let (Some(program), Some(manifest), Some(target), Some(kind)) =
            (text("/executable"), text("/manifest_path"), text("/target/name"), text("/target/kind/0"))
        else {
            continue;
        };
        if message.pointer("/profile/test").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let folder = Path::new(manifest).parent().context("manifest without folder")?.to_owned();
        let package = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let name = match kind {
            "test" | "bench" | "example" => format!("{package}/{target}"),
            "bin" => format!("{package} (bin {target})"),
            _ => format!("{package} (unit)"),
        };
        let place = ORDER.iter().position(|listed| *listed == package);
        let place = place.unwrap_or(if package == "tests" { ORDER.len().saturating_add(1) } else { ORDER.len() });
        // Within a package: unit tests, then the components, then journeys, faults and the like by name.
        let inner = if name.contains('(') {
            "0".into()
        } else if target == "components" {
            "1".into()
        } else {
            name.clone()
        };
        suites.push(Suite { name, rank: (place, inner), program: program.into(), folder });
    }
    suites.sort_by(|one, other| one.rank.cmp(&other.rank));
    Ok(suites)
}

/// Runs one suite, prints its line, and counts.
fn one(suite: &Suite, logs: &Path, total: &mut Tally, bad: &mut Vec<String>) -> Result<()> {
    let started = Instant::now();
    let log = logs.join(format!("{}.log", suite.name.replace(['/', ' ', '(', ')'], "_")));
    let out = File::create(&log).with_context(|| format!("create `{}`", log.display()))?;
    let mut command = Command::new(&suite.program);
    command.current_dir(&suite.folder).env("CARGO_MANIFEST_DIR", &suite.folder).stdin(Stdio::null());
    command.env("SEALTRAIL_BIN", shell::target()?.join("debug/sealtrail"));
    let mut child = command.stdout(out.try_clone()?).stderr(out).spawn().context("start a suite")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > SUITE_LIMIT {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let printed = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let tally = tally(&printed);
    let passed = status.is_some_and(|status| status.success());
    if passed && tally.passed == 0 && tally.ignored == 0 {
        return Ok(());
    }
    println!(
        "{}  {:<36} {:>4} passed {:>3} failed {:>3} ignored {:>7.1} s",
        if passed { "ok  " } else { "FAIL" },
        suite.name,
        tally.passed,
        tally.failed,
        tally.ignored,
        started.elapsed().as_secs_f64()
    );
    if !passed {
        let lines: Vec<&str> = printed.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        let why = if status.is_none() { format!("killed after {SUITE_LIMIT:?}") } else { String::new() };
        println!("{}\n{why}[whole output: {}]", tail.join("\n"), log.display());
        bad.push(suite.name.clone());
    }
    total.passed = total.passed.saturating_add(tally.passed);
    total.failed = total.failed.saturating_add(tally.failed);
    total.ignored = total.ignored.saturating_add(tally.ignored);
    Ok(())
}

/// Reads the counts of `test result:` lines.
fn tally(printed: &str) -> Tally {
    let mut tally = Tally::default();
    for line in printed.lines().filter(|line| line.starts_with("test result:")) {
        let words: Vec<&str> = line.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [count, what] = pair else { continue };
            let count = count.parse::<u64>().unwrap_or(0);
            match *what {
                "passed" => tally.passed = tally.passed.saturating_add(count),
                "failed" => tally.failed = tally.failed.saturating_add(count),
                "ignored" => tally.ignored = tally.ignored.saturating_add(count),
                _ => {}
            }
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let tally = tally("x\ntest result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out\n");
        assert_eq!((tally.passed, tally.failed, tally.ignored), (12, 3, 1));
    }
}
