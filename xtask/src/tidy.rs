//! `tidy`: what keeps the tree readable. File length (a ratchet: listed exceptions may only shrink), module docs, no
//! file outside the module tree, links that resolve, no registry host and no path of one machine, and
//! reference pages that know what the source says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

mod reference;

const LINES_MAX: usize = 500;
const EXCEPTIONS: &str = "xtask/tidy-exceptions.txt";

/// Parts of hosts and paths that must stand nowhere. In two pieces, so that this file does not hold them.
const BANNED: [(&str, &str); 11] = [
    ("crates", ".io"),
    ("pypi", ".org"),
    ("registry.npm", "js"),
    ("repo1.mav", "en"),
    ("repo.mav", "en"),
    ("proxy.gol", "ang.org"),
    ("deb.deb", "ian.org"),
    ("docker", ".io/"),
    ("ghcr", ".io"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
];

/// Runs all checks and names every fault.
pub(crate) fn run() -> Result<()> {
    let files = shell::files()?;
    let mut texts = BTreeMap::new();
    for path in &files {
        let bytes = std::fs::read(path).with_context(|| format!("read `{path}`"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            texts.insert(path.as_str(), text);
        }
    }
    let mut faults = Vec::new();
    length(&texts, &mut faults);
    module_docs(&texts, &mut faults);
    reachable(&texts, &mut faults);
    links(&texts, &mut faults);
    banned(&texts, &mut faults);
    reference::check(&texts, &mut faults);
    println!("unwrap, expect, panic outside tests: {}", panics(&texts));
    if faults.is_empty() { Ok(()) } else { bail!("\n  {}", faults.join("\n  ")) }
}

type Texts<'a> = BTreeMap<&'a str, String>;

fn rust<'a>(texts: &'a Texts<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (*path, text.as_str()))
}

fn length(texts: &Texts<'_>, faults: &mut Vec<String>) {
    let listed = texts.get(EXCEPTIONS).map(String::as_str).unwrap_or_default();
    let listed: BTreeMap<&str, usize> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(path, lines)| Some((path, lines.trim().parse().ok()?)))
        .collect();
    for (path, text) in rust(texts).filter(|(path, _)| !path.contains("/generated/")) {
        let lines = text.lines().count();
        match listed.get(path) {
            None if lines > LINES_MAX => faults.push(format!("{path}: {lines} lines, at most {LINES_MAX}: split it")),
            Some(limit) if lines > *limit => {
                faults.push(format!("{path}: {lines} lines; its exception of {limit} may only shrink"));
            }
            Some(limit) if lines < *limit => {
                faults.push(format!("{path}: has shrunk to {lines} lines: lower or remove it in {EXCEPTIONS}"));
            }
            _ => {}
        }
    }
    for path in listed.keys().filter(|path| !texts.contains_key(**path)) {
        faults.push(format!("{EXCEPTIONS}: `{path}` is gone: remove its line"));
    }
}

fn module_docs(texts: &Texts<'_>, faults: &mut Vec<String>) {
    for (path, text) in rust(texts) {
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            faults.push(format!("{path}: does not begin with `//!`: why does it exist?"));
        }
    }
}

/// Follows `mod name;` from every crate root.
fn reachable(texts: &Texts<'_>, faults: &mut Vec<String>) {
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    let mut todo: Vec<(PathBuf, bool)> =
        rust(texts).filter(|(path, _)| is_root(path)).map(|(path, _)| (path.into(), true)).collect();
    while let Some((path, root)) = todo.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Some(text) = path.to_str().and_then(|path| texts.get(path)) else { continue };
        let parent = path.parent().unwrap_or(Path::new(""));
        let own = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = if root || own == "mod" { parent.to_owned() } else { parent.join(own) };
        let mut explicit = None;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("#[path = \"") {
                explicit = rest.split('"').next().map(|name| parent.join(name));
            } else if let Some(rest) = line.split("include!(\"").nth(1) {
                todo.push((plain(&parent.join(rest.split('"').next().unwrap_or_default())), true));
            } else if let Some(name) = module(line) {
                match explicit.take() {
                    Some(path) => todo.push((plain(&path), false)),
                    None => {
                        todo.push((folder.join(format!("{name}.rs")), false));
                        todo.push((folder.join(name).join("mod.rs"), false));
                    }
                }
            }
        }
    }
    for (path, _) in rust(texts).filter(|(path, _)| !seen.contains(Path::new(path))) {
        faults.push(format!("{path}: no module names it"));
    }
}

fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.rsplit('/').collect();
    match parts.as_slice() {
        ["lib.rs" | "main.rs", "src", ..] | ["build.rs", ..] | [_, "bin", "src", ..] => true,
        // Files right in these folders, and `tests/<suite>/*.rs` of the package `tests`, are crates of their own.
        [_, "tests" | "benches" | "examples" | "fuzz_targets" | "e2e" | "fault" | "contract" | "clients", ..] => {
            !parts.contains(&"src")
        }
        ["main.rs", _, "tests" | "benches" | "examples", ..] => true,
        _ => false,
    }
}

/// The name in a line `mod name;`, whatever its visibility.
fn module(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let name = rest.strip_prefix("mod ")?.split_once(';')?.0;
    Some(name.strip_prefix("r#").unwrap_or(name))
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

fn links(texts: &Texts<'_>, faults: &mut Vec<String>) {
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            for rest in line.split("](").skip(1).filter(|_| !fenced) {
                let target = rest.split([')', ' ', '#']).next().unwrap_or_default();
                let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
                if !outside && !plain(&folder.join(target)).exists() {
                    faults.push(format!("{path}:{}: link to `{target}`, which is not there", index.saturating_add(1)));
                }
            }
        }
    }
}

fn banned(texts: &Texts<'_>, faults: &mut Vec<String>) {
    for (path, text) in texts.iter().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (index, line) in text.lines().enumerate() {
            for word in BANNED.iter().map(|(one, two)| format!("{one}{two}")) {
                // A machine's path begins there; `network/root/x` is none.
                let found = line.match_indices(&word).any(|(at, _)| {
                    let before = line.get(..at).and_then(|head| head.chars().next_back());
                    !word.starts_with('/') || !before.is_some_and(|c| c.is_alphanumeric() || "._-*}".contains(c))
                });
                if found {
                    faults.push(format!("{path}:{}: names `{word}`", index.saturating_add(1)));
                }
            }
        }
    }
}

/// How often shipped code may panic by its own words.
fn panics(texts: &Texts<'_>) -> usize {
    let shipped = rust(texts).filter(|(path, _)| !shell::is_test(path) && !path.starts_with("xtask/"));
    let words = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    shipped
        .flat_map(|(_, text)| shell::code_lines(text))
        .map(|(_, line)| words.iter().map(|word| line.matches(word).count()).sum::<usize>())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(check: fn(&Texts<'_>, &mut Vec<String>), files: &[(&'static str, &str)]) -> Vec<String> {
        let texts: Texts<'_> = files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
        let mut faults = Vec::new();
        check(&texts, &mut faults);
        faults
    }

    #[test]
    fn length_is_a_ratchet() {
        let long = "x\n".repeat(600);
        assert_eq!(faults(length, &[("a/src/b.rs", &long)]).len(), 1);
        assert!(faults(length, &[("a/src/b.rs", &long), (EXCEPTIONS, "a/src/b.rs 600\n")]).is_empty());
        for other in ["a/src/b.rs 599\n", "a/src/b.rs 601\n", "a/src/b.rs 600\ngone.rs 700\n"] {
            assert_eq!(faults(length, &[("a/src/b.rs", &long), (EXCEPTIONS, other)]).len(), 1, "{other}");
        }
    }

    #[test]
    fn unreachable_files_are_named() {
        let files = [
            ("a/src/lib.rs", "pub mod b;\n#[path = \"odd.rs\"]\nmod d;"),
            ("a/src/b.rs", "pub(crate) mod c;"),
            ("a/src/b/c.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/lost.rs", ""),
            ("a/tests/whole.rs", ""),
        ];
        assert_eq!(faults(reachable, &files), ["a/src/lost.rs: no module names it"]);
    }

    #[test]
    fn machine_paths_and_missing_docs_are_named() {
        let path = ["let x = \"/wo", "rk/a\""].concat();
        assert_eq!(faults(banned, &[("a.rs", &path)]).len(), 1);
        let inside = ["net/wo", "rk/a"].concat();
        assert!(faults(banned, &[("a.rs", &inside)]).is_empty());
        assert_eq!(faults(module_docs, &[("a.rs", "#![allow(x)]\nfn f() {}"), ("b.rs", "//! Why.")]).len(), 1);
        assert_eq!(faults(links, &[("docs/a.md", "[x](none.md) [y](https://x.test/)\n```\n[z](no.md)\n```")]).len(), 1);
    }
}
