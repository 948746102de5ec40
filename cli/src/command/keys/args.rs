//! The command line of `sealtrail keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{ConfigArg, OutputArg};

/// `sealtrail keys …`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make all keys of an installation and its first policy, in a folder; never over existing ones.
    Init {
        /// Folder; made with mode 0700.
        #[arg(long, value_name = "DIR", default_value = "keys")]
        folder: PathBuf,
        /// Folder of the root and recovery keys, to be taken off this machine. Default: `offline` in the other folder.
        #[arg(long, value_name = "DIR")]
        offline: Option<PathBuf>,
        /// Log origin, such as `audit.example.com/prod`.
        #[arg(long)]
        origin: String,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Begin the next key epoch now, or at the next start when the sealer does not run.
    Rotate {
        /// Configuration of the sealer.
        #[command(flatten)]
        config: ConfigArg,
        /// Seconds to wait for the sealer to do it.
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        wait: u64,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Make the next policy: the one given with changes, signed by the root key, or its text to be signed elsewhere.
    Policy(PolicyArgs),
    /// Sign the text of a policy with the root key.
    Sign {
        /// Text, as `keys policy` without `--root` prints it.
        text: PathBuf,
        /// Signing.
        #[command(flatten)]
        root: RootArgs,
    },
    /// Make the next policy, in which heads of a key above a size are worth nothing.
    Revoke {
        /// Policy note in force.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// Verifier key, or a file that holds it.
        #[arg(long, value_name = "VKEY|FILE")]
        vkey: String,
        /// Largest tree size at which its heads stand.
        #[arg(long, value_name = "SIZE")]
        last_good_size: u64,
        /// Signing.
        #[command(flatten)]
        root: RootArgs,
    },
    /// Make an epoch to replace a lost or stolen key, signed by a recovery key; the sealer takes it up at its next start.
    Recover {
        /// Configuration of the sealer.
        #[command(flatten)]
        config: ConfigArg,
        /// Recovery key, a file.
        #[arg(long, value_name = "FILE")]
        recovery: PathBuf,
        /// Number of the new epoch. Default: the one after what the sealer's state folder says.
        #[arg(long)]
        epoch: Option<i64>,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Say what went wrong, signed by the root key: an entry for the log, and what ends a FORK-GUARD.
    Incident(IncidentArgs),
    /// Print what a policy says: as a tlog-policy file for other tools, or as JSON.
    Export {
        /// Policy note.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// Root's verifier key, or a file that holds it.
        #[arg(long, value_name = "VKEY|FILE")]
        root_vkey: String,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
}

/// Who signs, and where the result goes.
#[derive(Debug, Args)]
pub(crate) struct RootArgs {
    /// Root key, a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// New file for the result; an existing one is left as it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `sealtrail keys policy`.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Policy note in force.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Take cluster id and sealed topics from the bus of this configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Days for which data must be there; 0 is for ever.
    #[arg(long, value_name = "DAYS")]
    pub(crate) retention_days: Option<u64>,
    /// Most seconds between the newest seal and now.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_tail_age: Option<u64>,
    /// Witnesses, groups and quorum: a tlog-policy file without log lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) witnesses: Option<PathBuf>,
    /// A further recovery key, or a file that holds it. Repeat for more.
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) recovery_vkey: Vec<String>,
    /// Root key, a file. Without it the text to be signed is printed.
    #[arg(long, value_name = "FILE", requires = "out")]
    pub(crate) root: Option<PathBuf>,
    /// New file for the note.
    #[arg(long, value_name = "FILE", requires = "root")]
    pub(crate) out: Option<PathBuf>,
}

/// `sealtrail keys incident`.
#[derive(Debug, Args)]
pub(crate) struct IncidentArgs {
    /// Log origin.
    #[arg(long)]
    pub(crate) origin: String,
    /// What happened and what was done; one line.
    #[arg(long)]
    pub(crate) text: String,
    /// Incidents in the log so far.
    #[arg(long, default_value_t = 0)]
    pub(crate) number: i64,
    /// Size of the log as it is.
    #[arg(long, value_name = "SIZE")]
    pub(crate) log_size: i64,
    /// Offset at which the sealer goes on in the proposals topic; -1 changes nothing.
    #[arg(long, value_name = "OFFSET", default_value_t = -1, allow_negative_numbers = true)]
    pub(crate) resume_offset: i64,
    /// Signing. Put the result into the sealer's state folder as `incident.entry`.
    #[command(flatten)]
    pub(crate) root: RootArgs,
}
