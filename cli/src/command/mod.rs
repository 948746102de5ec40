//! One file per subcommand.

mod completions;
mod config;
mod demo;
mod dlq;
mod explain;
pub(crate) mod keys;
mod prove;
mod replay;
mod sessions;
mod topics;
mod up;
mod verify;
mod witness;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Command;
use crate::compose::Stage;

/// Runs a subcommand.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Up(config) => up::run(&config, &Stage::ALL),
        Command::Proxy(config) => up::run(&config, &[Stage::Proxy]),
        Command::Enrich(config) => up::run(&config, &[Stage::Enricher]),
        Command::Mask(args) => match &args.explain {
            Some(file) => explain::run(&args, file),
            None => up::run(&args.config, &[Stage::Masker]),
        },
        Command::Seal(config) => up::run(&config, &[Stage::Sealer]),
        Command::Archive(config) => up::run(&config, &[Stage::Archiver]),
        Command::Verify(args) => verify::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Sessions(args) => sessions::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Topics(command) => topics::run(&command),
        Command::Dlq(command) => dlq::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Witness(args) => witness::run(&args),
        Command::Completions { shell } => completions::run(shell),
    }
}
