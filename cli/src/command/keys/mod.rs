//! `sealtrail keys`: the keys of one installation, each in a file of its own, and what the offline ones sign.

pub(crate) mod args;
mod authority;

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use masker::decrypt::MaskerKey;
use rand::RngCore as _;
use sealer::offline::{recovery_name, root_name, sign_policy};
use sealer::orders::ROTATE;
use sealer::signer::{FileSigner, Signer as _};
use serde_json::json;
use tlog::Policy;

use crate::args::ConfigArg;
use crate::config::Config;
use crate::output::{json as print_json, line};
use args::KeysCommand;

/// Files made.
pub(crate) struct Keys {
    /// The log's signing key of epoch 0.
    pub(crate) log: PathBuf,
    /// Its verifier key, to be handed to auditors.
    pub(crate) log_vkey: PathBuf,
    /// Its text.
    pub(crate) vkey: String,
    /// The masker's private key.
    pub(crate) masker: PathBuf,
    /// The masker's public key, for the proxy.
    pub(crate) masker_public: PathBuf,
    /// The pseudonym key.
    pub(crate) pseudonym: PathBuf,
    /// The root key, to be taken offline.
    pub(crate) root: PathBuf,
    /// Its verifier key.
    pub(crate) root_vkey: PathBuf,
    /// The recovery key, to be taken offline.
    pub(crate) recovery: PathBuf,
    /// The root-signed policy.
    pub(crate) policy: PathBuf,
}

pub(super) fn run(command: &KeysCommand) -> Result<ExitCode> {
    match command {
        KeysCommand::Init { folder, offline, origin, output } => {
            let offline = offline.clone().unwrap_or_else(|| folder.join("offline"));
            let keys = init_apart(folder, &offline, origin)?;
            if output.json {
                print_json(&json!({
                    "log": keys.log, "log_vkey": keys.log_vkey, "vkey": keys.vkey, "masker": keys.masker,
                    "masker_public": keys.masker_public, "pseudonym": keys.pseudonym, "root": keys.root,
                    "root_vkey": keys.root_vkey, "recovery": keys.recovery, "policy": keys.policy,
                }));
            } else {
                show(&keys);
            }
        }
        KeysCommand::Rotate { config, wait, output } => rotate(config, *wait, output.json)?,
        KeysCommand::Policy(args) => authority::policy(args)?,
        KeysCommand::Sign { text, root } => authority::sign(text, root)?,
        KeysCommand::Revoke { policy, vkey, last_good_size, root } => {
            authority::revoke(policy, vkey, *last_good_size, root)?;
        }
        KeysCommand::Recover { config, recovery, epoch, output } => {
            authority::recover(config, recovery, *epoch, output.json)?;
        }
        KeysCommand::Incident(args) => authority::incident(args)?,
        KeysCommand::Export { policy, root_vkey, output } => authority::export(policy, root_vkey, output.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(keys: &Keys) {
    line(&format!("{}  signs the log; only the sealer may read it", keys.log.display()));
    line(&format!("{}  for auditors: {}", keys.log_vkey.display(), keys.vkey));
    line(&format!("{}  says who may sign the log: sealer.policy_file", keys.policy.display()));
    line(&format!("{}  for auditors, and sealer.root_vkey_file", keys.root_vkey.display()));
    line(&format!("{}  opens content; only the masker may read it", keys.masker.display()));
    line(&format!("{}  for the proxy", keys.masker_public.display()));
    line(&format!("{}  makes pseudonyms; only the masker may read it", keys.pseudonym.display()));
    line(&format!("{}  signs policies: take it off this machine now", keys.root.display()));
    line(&format!("{}  begins an epoch after a loss: take it off this machine, apart", keys.recovery.display()));
}

/// Makes all keys, the offline ones in a folder below.
pub(crate) fn init(folder: &Path, origin: &str) -> Result<Keys> {
    init_apart(folder, &folder.join("offline"), origin)
}

/// Makes all keys in `folder` and `offline`; an existing file is an error and is left as it is.
fn init_apart(folder: &Path, offline: &Path, origin: &str) -> Result<Keys> {
    for folder in [folder, offline] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("create {}", folder.display()))?;
    }
    let place = |name: &str| folder.join(name);
    let keys = Keys {
        log: place("log.key"),
        log_vkey: place("log.vkey"),
        vkey: String::new(),
        masker: place("masker.key"),
        masker_public: place("masker.pub"),
        pseudonym: place("pseudonym.key"),
        root: offline.join("root.key"),
        root_vkey: place("root.vkey"),
        recovery: offline.join("recovery.key"),
        policy: place("policy"),
    };
    // the verifier key outlives the first epoch's secret: where it is, keys were made before
    if keys.log_vkey.exists() {
        anyhow::bail!("{} exists: keys were made here before; nothing was changed", keys.log_vkey.display());
    }
    let log = create(&keys.log, origin)?;
    let root = create(&keys.root, &root_name(origin))?;
    let recovery = create(&keys.recovery, &recovery_name(origin))?;
    let vkey = log.verifier_key().to_string();
    let mut policy = Policy::new(log.verifier_key().clone());
    policy.recovery.push(recovery.verifier_key().clone());
    let masker = MaskerKey::generate()?;
    let public: String = masker.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    write(&keys.log_vkey, &vkey, 0o644)?;
    write(&keys.root_vkey, &root.verifier_key().to_string(), 0o644)?;
    write(&keys.policy, &sign_policy(&policy, &root)?, 0o644)?;
    write(&keys.masker, &masker.to_text(), 0o600)?;
    write(&keys.masker_public, &public, 0o644)?;
    write(&keys.pseudonym, &MaskerKey::generate()?.to_text(), 0o600)?;
    Ok(Keys { vkey, ..keys })
}

fn create(path: &Path, name: &str) -> Result<FileSigner> {
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let signer = FileSigner::create(path, &seed, name);
    seed.fill(0);
    Ok(signer?)
}

/// Writes a new file.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    write_bytes(path, format!("{}\n", text.trim_end()).as_bytes(), mode)
}

fn write_bytes(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let context = || format!("write {}", path.display());
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    file.sync_all().with_context(context)
}

/// Leaves the order to rotate, and waits until the sealer has obeyed it.
fn rotate(config: &ConfigArg, wait: u64, as_json: bool) -> Result<()> {
    let folder = Config::load(config)?.sealer.state_folder;
    let order = folder.join(ROTATE);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    std::fs::write(&order, "").with_context(|| format!("write {}", order.display()))?;
    let began = Instant::now();
    while order.exists() && began.elapsed() < Duration::from_secs(wait) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let done = !order.exists();
    let epoch = epoch(&folder);
    if as_json {
        print_json(&json!({ "rotated": done, "epoch": epoch }));
    } else if done {
        line(&format!("rotated: epoch {}", epoch.unwrap_or_default()));
    } else {
        line("asked for: the sealer begins the next epoch as soon as it runs and its next key is there");
    }
    Ok(())
}

/// The epoch that the sealer was last in.
fn epoch(state_folder: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(state_folder.join("epoch")).ok()?;
    text.split(' ').next()?.trim().parse().ok()
}
