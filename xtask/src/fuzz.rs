//! `fuzz`: every decoder of foreign bytes under libFuzzer, for some seconds each, on the stable compiler.
//!
//! Coverage counters go into our own packages only: cargo calls this program as the wrapper of the workspace's compiler
//! calls, and it adds the flags. So everything else is taken from the ordinary build. The corpus is kept beside the
//! target folder and grows from run to run; an input that fails is kept there too, and its path is printed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Seconds per target in `cargo xtask test`.
pub(crate) const SHORT_S: u64 = 8;
/// Targets that run at a time.
const AT_ONCE: usize = 2;
/// Longest input, bytes: two chunks and a half, so that messages in pieces occur.
const INPUT_BYTES_MAX: usize = 160 << 10;
/// One input may take this long, seconds.
const INPUT_S_MAX: u64 = 20;
/// The whole program's memory, MiB; what one input may hold is checked by the program itself.
const RSS_MIB_MAX: u64 = 2048;
/// What tells this program that cargo calls it in the compiler's place.
const WRAPPER: &str = "SEALTRAIL_FUZZ_WRAPPER";
/// Counters and comparisons that libFuzzer reads (LLVM, "SanitizerCoverage").
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// When cargo calls this program as the compiler's wrapper: compiles with counters, and gives the exit code.
pub(crate) fn wrapped() -> Option<i32> {
    std::env::var_os(WRAPPER)?;
    let mut arguments = std::env::args_os().skip(1);
    let mut command = Command::new(arguments.next()?);
    let rest: Vec<_> = arguments.collect();
    let compiles = rest.iter().any(|argument| argument == "--crate-name");
    command.args(rest);
    if compiles {
        command.args(COVERAGE);
    }
    Some(command.status().ok().and_then(|status| status.code()).unwrap_or(1))
}

/// Where a run begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The first inputs alone and one seed, so that two runs try the same inputs as far as their time goes.
    Seeds,
    /// All that earlier runs kept, and chance.
    Corpus,
}

/// The seed of a run from the first inputs.
const SEED: u32 = 1;

/// Runs the targets with `filter` in their name for `seconds` each; fails when one fails, or when none has the name.
pub(crate) fn run(filter: &str, seconds: u64, from: From) -> Result<()> {
    let program = build()?;
    let mut home = shell::target()?.join("fuzz");
    if from == From::Seeds {
        home = home.join("short");
        if home.exists() {
            std::fs::remove_dir_all(&home).with_context(|| format!("empty `{}`", home.display()))?;
        }
    }
    let names: Vec<String> = targets(&program)?.into_iter().filter(|name| name.contains(filter)).collect();
    if names.is_empty() {
        bail!("no fuzz target has `{filter}` in its name");
    }
    let (mut waiting, mut running, mut bad) = (names.iter(), Vec::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(name) = waiting.next()
        {
            running.push(Run::start(&program, &home, name, seconds, from)?);
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        for index in (0..running.len()).rev() {
            if running.get_mut(index).is_some_and(Run::over) {
                let run = running.swap_remove(index);
                if !run.report()? {
                    bad.push(run.name);
                }
            }
        }
    }
    if bad.is_empty() { Ok(()) } else { bail!("fuzz targets failed: {}", bad.join(", ")) }
}

/// Builds the program with counters in our packages.
fn build() -> Result<PathBuf> {
    let folder = shell::target()?;
    let mut cargo = shell::cargo(&["build", "--quiet", "--package", "fuzz", "--bin", "fuzz"])?;
    let own = std::env::current_exe().context("find this program")?;
    shell::run(cargo.env("RUSTC_WORKSPACE_WRAPPER", own).env(WRAPPER, "1"))?;
    Ok(folder.join("debug/fuzz"))
}

/// The names, from the program's own refusal of a name that is none.
fn targets(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program).env("SEALTRAIL_FUZZ_LIST", "1").output().context("list the fuzz targets")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("target ")).map(str::to_owned).collect();
    if names.is_empty() { bail!("the fuzz program names no target") } else { Ok(names) }
}

struct Run {
    name: String,
    child: Child,
    log: PathBuf,
    corpus: PathBuf,
    started: Instant,
    seconds: u64,
}

impl Run {
    fn start(program: &Path, home: &Path, name: &str, seconds: u64, from: From) -> Result<Self> {
        let (corpus, seeds, failed) = (home.join(name), home.join(name).join("seeds"), home.join("failed"));
        for folder in [&corpus, &seeds, &failed] {
            std::fs::create_dir_all(folder).with_context(|| format!("make `{}`", folder.display()))?;
        }
        let log = home.join(format!("{name}.log"));
        let out = std::fs::File::create(&log).with_context(|| format!("create `{}`", log.display()))?;
        let mut command = Command::new(program);
        command.env("SEALTRAIL_FUZZ_TARGET", name).env("SEALTRAIL_FUZZ_SEEDS", &seeds).arg(&corpus).arg(&seeds);
        command.args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
            format!("-timeout={INPUT_S_MAX}"),
            format!("-rss_limit_mb={RSS_MIB_MAX}"),
            format!("-artifact_prefix={}/{name}-", failed.display()),
            "-print_final_stats=1".to_owned(),
            "-close_fd_mask=1".to_owned(),
        ]);
        if from == From::Seeds {
            command.arg(format!("-seed={SEED}"));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out).spawn().context("start a target")?;
        Ok(Self { name: name.to_owned(), child, log, corpus, started: Instant::now(), seconds })
    }

    /// True when it ended; one that overruns is ended.
    fn over(&mut self) -> bool {
        let limit = Duration::from_secs(self.seconds.saturating_mul(2).saturating_add(INPUT_S_MAX).saturating_add(60));
        if self.started.elapsed() > limit {
            drop(self.child.kill());
        }
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Prints the target's line; false when it failed.
    fn report(&self) -> Result<bool> {
        let text = String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned();
        let good = text.contains("\nDone ") || text.starts_with("Done ");
        let number = |key: &str| {
            let line = text.lines().rev().find(|line| line.starts_with(key));
            line.and_then(|line| line.rsplit(' ').next()).unwrap_or("?").to_owned()
        };
        let covered = text.lines().rev().find_map(|line| line.split("cov: ").nth(1)?.split(' ').next());
        println!(
            "{}  fuzz {:<24} {:>9} inputs, {:>6} edges, {:>5} kept",
            if good { "ok  " } else { "FAIL" },
            self.name,
            number("stat::number_of_executed_units"),
            covered.unwrap_or("?"),
            std::fs::read_dir(&self.corpus)?.count(),
        );
        if !good {
            let lines: Vec<&str> = text.lines().collect();
            println!("{}", lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n"));
            println!("[whole output: {}]", self.log.display());
        }
        Ok(good)
    }
}
