//! `sealtrail demo`: the whole line on real input, in one process, with nothing installed but this binary.
//!
//! A scratch Postgres, an issuer, every stage on the embedded bus; two people run psql through the proxy; then the
//! archive is verified, one byte of a copy is changed, and verify names the place.

mod certificates;
mod issuer;
mod postgres;
mod report;
mod script;
mod tamper;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use stage::Level;
use stage::config::SecretSource;

use crate::args::DemoArgs;
use crate::command::keys::{Keys, init};
use crate::compose::{Line, Stage, open_bus};
use crate::config::Config;
use crate::output::line;
use crate::progress::Steps;

use self::certificates::Certificates;
use self::issuer::{AUDIENCE, Issuer};
use self::postgres::{Programs, Server};
use self::script::{ALICE, BOB, Secrets, Way};

/// Name of the demo's target, as clients name their database.
const TARGET: &str = "demo";
/// Origin of the demo's log.
const ORIGIN: &str = "demo.sealtrail.example/log";
/// How long the demo's tokens live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// Where everything of one run lies.
pub(super) struct Place {
    folder: PathBuf,
    /// Removed at the end unless kept.
    _scratch: Option<tempfile::TempDir>,
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(folder) = keep else {
            let scratch =
                tempfile::Builder::new().prefix("sealtrail-demo-").tempdir().context("make a scratch folder")?;
            // the server's own user must pass through
            fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711))?;
            return Ok(Self { folder: scratch.path().to_owned(), _scratch: Some(scratch) });
        };
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let empty = fs::read_dir(folder).with_context(|| format!("look into {}", folder.display()))?.next().is_none();
        ensure!(empty, "{} is not empty; name a new folder with --keep", folder.display());
        Ok(Self { folder: folder.canonicalize()?, _scratch: None })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn archive(&self) -> PathBuf {
        self.path("archive")
    }
}

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let mut steps = Steps::new(args.json);
    if !args.json {
        line("Sealtrail demo: two people, one Postgres, every message recorded, masked, sealed and archived.\n");
    }
    let place = Place::new(args.keep.as_deref())?;
    let certificates = Certificates::new()?;
    let authority = place.path("authority.pem");
    for (name, text) in [
        ("authority.pem", &certificates.authority),
        ("proxy.pem", &certificates.certificate),
        ("proxy.key", &certificates.key),
    ] {
        fs::write(place.path(name), text).with_context(|| format!("write {name}"))?;
    }
    fs::set_permissions(place.path("proxy.key"), fs::Permissions::from_mode(0o600))?;
    let keys = init(&place.path("keys"), ORIGIN)?;

    steps.begin("start a scratch Postgres");
    let scratch =
        tempfile::Builder::new().prefix("sealtrail-demo-pg-").tempdir().context("make a folder for Postgres")?;
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711))?;
    let programs = Programs::find(&|text| steps.say(text))?;
    let psql = programs.path("psql");
    let (server, address, password) = match &args.target {
        Some(address) => (None, address.clone(), std::env::var("PGPASSWORD").unwrap_or_default()),
        None => {
            let server =
                Server::start(programs, &scratch.path().join("pg"), &certificates.certificate, &certificates.key)?;
            let (address, password) = (format!("localhost:{}", server.port), server.password.clone());
            (Some(server), address, password)
        }
    };
    fs::write(place.path("target-password"), format!("{password}\n"))?;
    fs::set_permissions(place.path("target-password"), fs::Permissions::from_mode(0o600))?;

    steps.begin("start the line: proxy, enricher, masker, sealer, archiver on the embedded bus");
    let issuer = Issuer::start()?;
    let config = configuration(&place, &keys, &issuer, &address, server.is_some());
    let config_file = place.path("sealtrail.toml");
    fs::write(&config_file, toml::to_string(&config).context("write the configuration")?)?;
    let config = Config::read(Some(&config_file))?;
    let bus = open_bus(&config)?;
    let mut stages = Line::start(&config, &bus, &Stage::ALL)?;
    let port = stages.proxy.context("the proxy has no address")?.port();

    let way = Way { psql: &psql, port, authority: &authority, database: TARGET };
    let secrets = Secrets::new();
    let mut said = String::new();
    for (person, text) in [(&ALICE, script::alice(&secrets, script::can_bind(&psql))), (&BOB, script::bob())] {
        steps.begin(&format!("{} runs a psql script through the proxy", person.name));
        let file = scratch.path().join(format!("{}.sql", person.subject));
        fs::write(&file, text)?;
        said += &script::run(&way, person.subject, &issuer.token(person, TOKEN_LIFETIME)?, &file)?;
        fs::remove_file(&file)?;
    }
    steps.begin("drain the line: everything recorded is masked, sealed and archived");
    stages.stop(Level::Drain)?;
    drop(bus);
    if let Some(server) = &server {
        server.stop()?;
    }
    steps.end();
    let summary = report::run(args, &place, &keys, &secrets, &said)?;
    Ok(summary)
}

fn configuration(place: &Place, keys: &Keys, issuer: &Issuer, address: &str, scratch: bool) -> Config {
    let mut config = Config::default();
    config.bus.folder = place.path("bus");
    config.topics.partitions = 4;
    config.store.url = format!("file://{}", place.archive().display());
    config.masker.key_file.clone_from(&keys.masker);
    config.masker.pseudonym_key_file = Some(keys.pseudonym.clone());
    config.sealer.origin = ORIGIN.into();
    config.sealer.key_file.clone_from(&keys.log);
    config.sealer.state_folder = place.path("sealer-state");
    config.sealer.batch_age_ms = 500;
    config.sealer.publish_interval_ms = 200;
    let proxy = &mut config.proxy;
    proxy.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    proxy.tls_certificate = Some(place.path("proxy.pem"));
    proxy.tls_key = Some(place.path("proxy.key"));
    proxy.masker_public_key.clone_from(&keys.masker_public);
    proxy.identity.issuer = issuer.url().to_owned();
    proxy.identity.audience = AUDIENCE.into();
    proxy.journal.folder = place.path("journal");
    proxy.journal.allow_ephemeral = true; // a demo may well live in memory; its session records say so
    let target = ingest_proxy::config::TargetConfig {
        address: address.to_owned(),
        password: Some(SecretSource::File(place.path("target-password"))),
        tls: if scratch {
            ingest_proxy::config::TargetTls::VerifyFull
        } else {
            ingest_proxy::config::TargetTls::Disable
        },
        tls_authority: scratch.then(|| place.path("authority.pem")),
        environment: "demo".into(),
        owner: "you".into(),
        allowed_groups: vec!["dba".into(), "developers".into()],
        ..ingest_proxy::config::TargetConfig::default()
    };
    proxy.targets.insert(TARGET.into(), target);
    config
}
