//! Checks, generators and test orchestration: `cargo xtask COMMAND`. Imports none of our packages, so it works while
//! they do not build; what needs them it runs through cargo.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attack;
mod bench;
mod check;
mod fault;
mod fuzz;
#[allow(clippy::only_used_in_recursion)] // the walk hands its table on to every branch
mod r#gen;
mod install;
mod layers;
mod licences;
mod readme;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND
  check              format, lints, layers, tidy, generated files
  test [SUITE]       install what the tests need, then run all suites, or those with SUITE in their name
  install            install what the tests need
  gen [--check]      generate schemas/src/generated, or fail when it differs
  layers [--bless]   compare the dependency graph with xtask/layers.txt, or write it
  licences           every dependency's licence is on the list
  tidy               file length, module docs, links, reachability, machine paths
  readme             run the commands of the README
  fuzz [TARGET [S]]  every decoder of foreign bytes under libFuzzer, or the targets with TARGET in their name, S seconds each
  attack [--all]     every tampering of the integrity page against verify; --all changes every single byte too
  bench WHAT [ARGS]  proxy, stages, verify, isolation, bus or codec: figures as ratios of one run
  fault [ARGS]       kill, freeze and cut everything: --kills N (1000), --seed N; last line: what was lost";

fn main() -> ExitCode {
    if let Some(code) = fuzz::wrapped() {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = shell::root()?;
    std::env::set_current_dir(&root).with_context(|| format!("enter `{}`", root.display()))?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => check::run(),
        ["test"] => test::run(""),
        ["test", suite] => test::run(suite),
        ["install"] => install::run(),
        ["gen"] => r#gen::run(false),
        ["gen", "--check"] => r#gen::run(true),
        ["layers"] => layers::run(false),
        ["layers", "--bless"] => layers::run(true),
        ["licences"] => licences::run(),
        ["tidy"] => tidy::run(),
        ["fuzz"] => fuzz::run("", fuzz::SHORT_S, fuzz::From::Corpus),
        ["fuzz", target] => fuzz::run(target, fuzz::SHORT_S, fuzz::From::Corpus),
        ["fuzz", target, seconds] => {
            fuzz::run(target, seconds.parse().context("read the seconds")?, fuzz::From::Corpus)
        }
        ["readme"] => readme::run(),
        ["attack", rest @ ..] => attack::run(rest),
        ["bench", what, rest @ ..] => bench::run(what, rest),
        ["fault", rest @ ..] => fault::run(rest),
        _ => bail!(USAGE),
    }
}
