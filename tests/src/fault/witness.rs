//! What Postgres itself says: the marks in its statement log, and the counters in its table.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::postgres::{Postgres, USER};

/// How every mark begins.
const BEGIN: &[u8] = b"mark_";

/// The table of counters, one row a worker. Its column is called `note`, a name no masking rule knows.
pub const TABLE: &str = "CREATE TABLE fault_counter (worker text PRIMARY KEY, n bigint NOT NULL, note text)";

/// A text that names one statement and nothing else: letters only, so that no masking rule takes it for a secret.
/// `counts` says that the statement adds one to its worker's counter.
#[must_use]
pub fn mark(counts: bool, worker: u64, number: u64) -> String {
    format!("mark_{}_{}_{}", if counts { "u" } else { "s" }, letters(worker), letters(number))
}

/// The counter that a mark adds to, if it does.
#[must_use]
pub fn counted(mark: &str) -> Option<&str> {
    mark.strip_prefix("mark_u_")?.split('_').next()
}

/// A number in letters.
#[must_use]
pub fn letters(mut number: u64) -> String {
    let mut text = String::new();
    loop {
        let digit = u8::try_from(number % 26).unwrap_or(0);
        text.insert(0, char::from(b'a'.saturating_add(digit)));
        number /= 26;
        if number == 0 {
            return text;
        }
    }
}

/// Every mark in `bytes`, in order.
#[must_use]
pub fn marks(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BEGIN.len()).position(|window| window == BEGIN) {
        rest = rest.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !byte.is_ascii_lowercase() && *byte != b'_').unwrap_or(rest.len());
        let (mark, after) = rest.split_at(length);
        found.push(String::from_utf8_lossy(mark).into_owned());
        rest = after;
    }
    found
}

/// How often each mark was executed, from the server's own log.
///
/// # Errors
/// When the log cannot be read.
pub fn executed(postgres: &Postgres) -> Result<BTreeMap<String, u64>> {
    let mut executed = BTreeMap::new();
    for line in postgres.statement_log()? {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = text("message");
        // what failed before it ran leaves an ERROR line that repeats the statement: not a second execution
        if text("error_severity") == "LOG" && (message.starts_with("statement: ") || message.starts_with("execute ")) {
            // parameters are in the detail
            for mark in marks(format!("{message}\n{}", text("detail")).as_bytes()) {
                *executed.entry(mark).or_default() += 1;
            }
        }
    }
    Ok(executed)
}

/// The counters by worker.
///
/// # Errors
/// When Postgres does not answer.
pub fn counters(postgres: &Postgres) -> Result<BTreeMap<String, u64>> {
    let text = postgres.psql(USER, "SELECT worker, n FROM fault_counter")?;
    text.lines()
        .map(|line| {
            let (worker, count) = line.split_once('|').context("row of the counters")?;
            Ok((worker.to_owned(), count.parse()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_any_bytes() {
        let (one, two) = (mark(true, 3, 700), mark(false, 0, 0));
        assert_eq!((one.as_str(), two.as_str()), ("mark_u_d_bay", "mark_s_a_a"));
        let bytes = [b"\0\x05", one.as_bytes(), b"\0\0mark", two.as_bytes(), b"'"].concat();
        assert_eq!(marks(&bytes), [one.clone(), two.clone()]);
        assert_eq!((counted(&one), counted(&two)), (Some("d"), None));
    }
}
