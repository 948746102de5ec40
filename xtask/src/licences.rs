//! `licences`: every crate of the dependency tree may be used and shipped under a licence on the list (SPDX expressions).

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Licences that ask for no more than a notice. Copyleft is not among them.
const ALLOWED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Zlib",
];

/// Checks the whole tree.
pub(crate) fn run() -> Result<()> {
    let text = shell::output(&mut shell::cargo(&["metadata", "--format-version=1", "--locked"])?)?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo metadata")?;
    let mut faults = Vec::new();
    for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default();
        if !allowed(text("license")) {
            faults.push(format!("{} {}: licence `{}`", text("name"), text("version"), text("license")));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("not on the list of licences:\n  {}", faults.join("\n  ")) }
}

/// True when the expression can be satisfied by licences of the list alone.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let good = any(&mut words);
    good && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut good = all(words);
    while words.next_if_eq(&"OR").is_some() {
        good |= all(words);
    }
    good
}

fn all(words: &mut Words<'_>) -> bool {
    let mut good = one(words);
    while words.next_if_eq(&"AND").is_some() {
        good &= one(words);
    }
    good
}

fn one(words: &mut Words<'_>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let good = any(words);
        return words.next_if_eq(&")").is_some() && good;
    }
    let good = words.next().is_some_and(|word| ALLOWED.contains(&word));
    if words.next_if_eq(&"WITH").is_some() {
        return words.next().is_some() && good; // an exception only adds rights
    }
    good
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn expressions_are_satisfied_or_not() {
        for good in
            ["MIT", "MIT/Apache-2.0", "Unlicense OR MIT", "(MIT OR GPL-3.0) AND ISC", "Apache-2.0 WITH LLVM-exception"]
        {
            assert!(allowed(good), "{good}");
        }
        for bad in ["", "AGPL-3.0-only", "MIT AND GPL-2.0", "LGPL-2.1", "(MIT", "MIT AND"] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
