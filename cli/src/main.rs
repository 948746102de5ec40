//! The sealtrail binary: the composition root. It parses, composes and prints; every decision is a stage's.

mod admin;
mod args;
mod command;
mod compose;
mod config;
mod exit;
mod output;
mod progress;
mod replay;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match command::run(cli.command) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
