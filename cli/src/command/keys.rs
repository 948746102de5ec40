//! `sealtrail keys init`: the keys of one installation, each in a file of its own.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use masker::decrypt::MaskerKey;
use rand::RngCore as _;
use sealer::signer::{FileSigner, Signer as _};
use serde_json::json;

use crate::args::KeysCommand;
use crate::output::{json as print_json, line};

/// Files made.
pub(crate) struct Keys {
    /// The log's signing key.
    pub(crate) log: PathBuf,
    /// The log's verifier key, to be handed to auditors.
    pub(crate) log_vkey: PathBuf,
    /// Its text.
    pub(crate) vkey: String,
    /// The masker's private key.
    pub(crate) masker: PathBuf,
    /// The masker's public key, for the proxy.
    pub(crate) masker_public: PathBuf,
    /// The pseudonym key.
    pub(crate) pseudonym: PathBuf,
}

pub(super) fn run(command: &KeysCommand) -> Result<ExitCode> {
    let KeysCommand::Init { folder, origin, output } = command;
    let keys = init(folder, origin)?;
    if output.json {
        print_json(&json!({
            "log": keys.log, "log_vkey": keys.log_vkey, "vkey": keys.vkey, "masker": keys.masker, "masker_public": keys.masker_public,
            "pseudonym": keys.pseudonym,
        }));
    } else {
        line(&format!("{}  signs the log; only the sealer may read it", keys.log.display()));
        line(&format!("{}  for auditors: {}", keys.log_vkey.display(), keys.vkey));
        line(&format!("{}  opens content; only the masker may read it", keys.masker.display()));
        line(&format!("{}  for the proxy", keys.masker_public.display()));
        line(&format!("{}  makes pseudonyms; only the masker may read it", keys.pseudonym.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes all keys in `folder`; an existing file is an error and is left as it is.
pub(crate) fn init(folder: &Path, origin: &str) -> Result<Keys> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("create {}", folder.display()))?;
    let place = |name: &str| folder.join(name);
    let keys = Keys {
        log: place("log.key"),
        log_vkey: place("log.vkey"),
        vkey: String::new(),
        masker: place("masker.key"),
        masker_public: place("masker.pub"),
        pseudonym: place("pseudonym.key"),
    };
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let signer = FileSigner::create(&keys.log, &seed, origin)?;
    let vkey = signer.verifier_key().to_string();
    let masker = MaskerKey::generate()?;
    let public: String = masker.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    write(&keys.log_vkey, &vkey, 0o644)?;
    write(&keys.masker, &masker.to_text(), 0o600)?;
    write(&keys.masker_public, &public, 0o644)?;
    write(&keys.pseudonym, &MaskerKey::generate()?.to_text(), 0o600)?;
    Ok(Keys { vkey, ..keys })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let context = || format!("write key file {}", path.display());
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(context)?;
    file.write_all(format!("{}\n", text.trim_end()).as_bytes()).with_context(context)?;
    file.sync_all().with_context(context)
}
