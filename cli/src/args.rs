//! The command line: every subcommand and flag, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use crate::command::keys::args::KeysCommand;

/// Audit trails that can be trusted: records, masks, seals, archives and verifies what people and agents do.
#[derive(Debug, Parser)]
#[command(name = "sealtrail", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the configuration is.
#[derive(Debug, Args, Clone)]
pub(crate) struct ConfigArg {
    /// Configuration file; without it the defaults and SEALTRAIL__… variables apply.
    #[arg(long, short, env = "SEALTRAIL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct OutputArg {
    /// Print JSON for machines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `mask`.
#[derive(Debug, Args, Clone)]
pub(crate) struct MaskArgs {
    /// Configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Show what the configured rules find in this text, without keys, bus or records; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) explain: Option<PathBuf>,
    /// Output, with --explain.
    #[command(flatten)]
    pub(crate) output: OutputArg,
}

/// An archive and what to check it with.
#[derive(Debug, Args, Clone)]
pub(crate) struct ArchiveArg {
    /// Archive: `file:///path`, a path, or `s3://bucket/prefix`.
    #[arg(value_name = "ARCHIVE")]
    pub(crate) archive: String,
}

/// Every subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole line on real input: scratch Postgres, real psql, two people, verify, one changed byte.
    Demo(DemoArgs),
    /// Run every stage in this process.
    Up(ConfigArg),
    /// Run the proxy: sockets to audit.raw.
    Proxy(ConfigArg),
    /// Run the enricher: audit.raw to audit.enriched.
    Enrich(ConfigArg),
    /// Run the masker: audit.enriched to audit.frames and audit.events. With --explain, try the rules on a text instead.
    Mask(MaskArgs),
    /// Run the sealer: audit.frames and audit.events to the signed log.
    Seal(ConfigArg),
    /// Run the archiver: sealed records to Parquet.
    Archive(ConfigArg),
    /// Verify an archive offline. Exit code 0 proven, 1 tampered or empty, 2 unreadable, 3 incomplete, 4 policy not met.
    Verify(VerifyArgs),
    /// Make proof files that others can check without the archive, or check one (T25: exit code 1).
    Prove(ProveArgs),
    /// List the sessions of an archive.
    Sessions(SessionsArgs),
    /// Replay a session: statements, parameters, rows and errors as they happened, masked.
    Replay(ReplayArgs),
    /// Check or print the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create the topics.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Look at records that a stage refused.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Make, rotate, revoke and recover keys; make and sign policies.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Run a witness: cosigns heads of the logs it is told of, each only if it extends the one before.
    Witness(WitnessArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
}

/// `sealtrail demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep everything (archive, keys, configuration) in this folder, which must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Use a Postgres that runs, as `host:port`, user `postgres`, password in PGPASSWORD, instead of a scratch one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) target: Option<String>,
    /// Print only the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `sealtrail verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Archive.
    #[command(flatten)]
    pub(crate) archive: ArchiveArg,
    /// Log's verifier key (`origin+id+key`), or a file that holds it. Repeat for more.
    #[arg(long = "vkey", value_name = "VKEY|FILE", required_unless_present = "roots")]
    pub(crate) vkeys: Vec<String>,
    /// Root verifier key, or a file that holds it: the policy it signed names the first log key, the streams that must be
    /// there, their retention, and the witnesses.
    #[arg(long = "root", value_name = "VKEY|FILE")]
    pub(crate) roots: Vec<String>,
    /// With --root: a copy of the policy note, in place of the archive's own.
    #[arg(long, value_name = "FILE", requires = "roots")]
    pub(crate) policy: Option<PathBuf>,
    /// Witnesses and quorum to demand, as a C2SP tlog-policy file, in place of the policy's.
    #[arg(long, value_name = "FILE")]
    pub(crate) witnesses: Option<PathBuf>,
    /// A checkpoint kept from earlier: the log must extend it.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin: Option<PathBuf>,
    /// Time that the newest seal must be near, as `now` or seconds since epoch.
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<String>,
    /// Go on where an interrupted run ended, and keep in this file what is found sound.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// Do not read rows again that were sealed before this time (seconds since epoch) and whose object has a receipt; the
    /// log is checked as a whole.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) since: Option<i64>,
    /// Also look for gaps in each session's own numbering: records that were never sealed. Exit code 3 if there are any.
    #[arg(long)]
    pub(crate) completeness: bool,
    /// With --now: most seconds between the newest seal and that time.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) max_tail_age: u64,
    /// Threads; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Output.
    #[command(flatten)]
    pub(crate) output: OutputArg,
}

/// `sealtrail prove`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false, args = ["event", "session", "consistency", "check"])]
pub(crate) struct ProveArgs {
    /// Archive: `file:///path`, a path, or `s3://bucket/prefix`; not for --check.
    #[arg(value_name = "ARCHIVE", required_unless_present = "check")]
    pub(crate) archive: Option<String>,
    /// Prove this event or frame, by its id.
    #[arg(long, value_name = "ID")]
    pub(crate) event: Option<String>,
    /// Prove every event and frame of this session.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Prove that the log extends its state at this size.
    #[arg(long, value_name = "SIZE")]
    pub(crate) consistency: Option<u64>,
    /// Check a proof file, offline.
    #[arg(long, value_name = "FILE", requires = "vkeys")]
    pub(crate) check: Option<PathBuf>,
    /// With --check: keys of log and witnesses, or files that hold them.
    #[arg(long = "vkey", value_name = "VKEY|FILE")]
    pub(crate) vkeys: Vec<String>,
    /// With --check of a consistency file: the older checkpoint.
    #[arg(long, value_name = "FILE")]
    pub(crate) old: Option<PathBuf>,
    /// Folder for the files, made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Output.
    #[command(flatten)]
    pub(crate) output: OutputArg,
}

/// `sealtrail sessions`.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// Archive.
    #[command(flatten)]
    pub(crate) archive: ArchiveArg,
    /// Output.
    #[command(flatten)]
    pub(crate) output: OutputArg,
}

/// `sealtrail replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Archive.
    #[command(flatten)]
    pub(crate) archive: ArchiveArg,
    /// Session id, or its beginning when that is unique.
    pub(crate) session: String,
    /// Do not wait between records.
    #[arg(long)]
    pub(crate) fast: bool,
    /// Longest wait between two records, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub(crate) idle_max: f64,
    /// Most rows printed for one result; 0 is all.
    #[arg(long, default_value_t = 50)]
    pub(crate) rows: usize,
    /// Output.
    #[command(flatten)]
    pub(crate) output: OutputArg,
}

/// `sealtrail config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the whole file; opens no port. Exit code 64 when it is wrong.
    Check(ConfigArg),
    /// Print the effective configuration; secrets are sources, never values.
    Print(ConfigArg),
    /// Print the JSON schema of the file.
    Schema,
}

/// `sealtrail topics …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create the topics that lack, and check those that exist.
    Create(ConfigArg),
    /// List topics with their bounds.
    List {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
}

/// `sealtrail dlq …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters.
    Ls {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Show one dead letter; its bytes stay encrypted.
    Show {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// Partition of audit.dlq.
        partition: i32,
        /// Offset in it.
        offset: i64,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Send dead letters back to the input they came from, each once; they stay listed, as redriven.
    Redrive {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// Partition of audit.dlq.
        #[arg(requires = "offset", required_unless_present = "all")]
        partition: Option<i32>,
        /// Offset in it.
        offset: Option<i64>,
        /// All that have not been redriven.
        #[arg(long, conflicts_with = "partition")]
        all: bool,
        /// Only those of this stage.
        #[arg(long, value_name = "NAME")]
        stage: Option<String>,
        /// Only those with this code.
        #[arg(long, value_name = "CODE")]
        code: Option<String>,
        /// Output.
        #[command(flatten)]
        output: OutputArg,
    },
}

/// `sealtrail witness`.
#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Name of the witness: host and path, such as `witness.example/w1`.
    #[arg(long)]
    pub(crate) name: String,
    /// Its key, a file of mode 0600.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Make the key first; an existing one is an error.
    #[arg(long)]
    pub(crate) init: bool,
    /// Folder of what it has seen; must survive restarts.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Address to listen on.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7380")]
    pub(crate) listen: String,
    /// Key of a log (`origin+id+key`), or a file that holds one a line. Repeat for more.
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) log: Vec<String>,
}
