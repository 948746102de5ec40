//! The reference pages of codes, metrics and exit codes against the source: what the source can say, a page explains.
//!
//! A search for the forms in which the source writes them, not a parser: it may find one too many, and misses none
//! that is written like its neighbours.

use std::collections::BTreeSet;

use super::{Texts, rust};
use crate::shell;

const CODES: &str = "docs/reference/rejection-codes.md";
const METRICS: &str = "docs/reference/metrics.md";
const EXITS: &str = "docs/reference/exit-codes.md";
const ALERTS: &str = "infra/prometheus/alerts.yaml";
const RUNBOOK: &str = "docs/operating/runbook.md";

/// Adds a fault for every code, metric and exit code that its page lacks, and for every alert that names a metric no
/// page has or that the runbook does not explain.
pub(super) fn check(texts: &Texts<'_>, faults: &mut Vec<String>) {
    let shipped = || rust(texts).filter(|(path, _)| !shell::is_test(path) && !path.starts_with("xtask/"));
    let mut wanted: BTreeSet<(&str, String)> = BTreeSet::new();
    for (path, text) in shipped() {
        let lines: Vec<&str> = shell::code_lines(text).map(|(_, line)| line).collect();
        wanted.extend(codes(path, &lines).into_iter().map(|code| (CODES, format!("`{code}`"))));
        wanted.extend(sqlstates(path, &lines).into_iter().map(|code| (CODES, code)));
        wanted.extend(metrics(&lines).into_iter().map(|name| (METRICS, name)));
        wanted.extend(exits(path, &lines).into_iter().map(|code| (EXITS, format!("| {code} |"))));
    }
    for (page, what) in wanted {
        if !texts.get(page).is_some_and(|text| text.contains(&what)) {
            faults.push(format!("{page}: lacks {what}, which the source has"));
        }
    }
    alerts(texts, faults);
}

/// The string literals of a line.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

fn is_code(text: &str) -> bool {
    text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// `X-001`.
fn is_rejection(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() == 5
        && bytes.next().is_some_and(|byte| byte.is_ascii_uppercase())
        && bytes.next() == Some(b'-')
        && bytes.all(|byte| byte.is_ascii_digit())
}

/// Lines of the body of every function whose head begins with `head`.
fn bodies<'a>(lines: &[&'a str], head: &str) -> Vec<&'a str> {
    let (mut depth, mut found, mut inside) = (0usize, Vec::new(), false);
    for line in lines {
        if !inside && line.contains(head) {
            (inside, depth) = (true, 0);
        }
        if inside {
            found.push(*line);
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
            inside = depth > 0;
        }
    }
    found
}

/// Dead-letter codes anywhere; the masker's reasons; the proxy's reason codes.
fn codes(path: &str, lines: &[&str]) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut add = |line: &str, test: fn(&str) -> bool| {
        found.extend(literals(line).filter(|text| test(text)).map(str::to_owned));
    };
    let rejects = |line: &str| line.contains("Rejection::new(") || line.starts_with("pub const");
    lines.iter().filter(|line| rejects(line)).for_each(|line| add(line, is_rejection));
    if path == "masker/src/reason.rs" {
        lines.iter().for_each(|line| add(line, is_code));
    }
    if path.starts_with("ingest-proxy/src/") {
        bodies(lines, "fn kind(").into_iter().for_each(|line| add(line, is_code));
        let given = |line: &str| ["reason_code", ".reason = ", "reason: \""].iter().any(|part| line.contains(part));
        lines.iter().filter(|line| given(line)).for_each(|line| add(line, is_code));
    }
    found
}

fn sqlstates(path: &str, lines: &[&str]) -> BTreeSet<String> {
    let body = if path.starts_with("ingest-proxy/src/") { bodies(lines, "fn sqlstate(") } else { Vec::new() };
    let state =
        |text: &&str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    body.into_iter().flat_map(literals).filter(state).filter(|text| *text != "XX000").map(str::to_owned).collect()
}

/// Names given to a metric, or the part of them after the stage.
fn metrics(lines: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Arguments may stand on the lines after the call.
    let text = lines.join(" ");
    for (call, end) in [("counter(", ""), ("gauge(", ""), ("show(", "_total"), ("of(", "_total")] {
        for (at, _) in text.match_indices(call) {
            let whole_word =
                text.get(..at).is_none_or(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            let argument = text.get(at + call.len()..).unwrap_or_default().trim_start();
            let argument = argument.strip_prefix("&format!(").unwrap_or(argument);
            let name = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
            let name = name.filter(|_| whole_word).unwrap_or_default();
            // `{stage}_delay_ms`: the stage is not known here.
            let name = name.rsplit('}').next().unwrap_or_default().trim_start_matches('_');
            if is_code(name) && name != "total" {
                found.insert(format!("{name}{end}"));
            }
        }
    }
    let named =
        lines.iter().filter(|line| line.starts_with("const OVERFLOW:") || line.contains("_total\", self.stage"));
    found.extend(named.flat_map(|line| literals(line)).filter_map(|name| {
        let name = name.rsplit('}').next().unwrap_or_default().trim_start_matches('_');
        (is_code(name) && name != "total").then(|| name.to_owned())
    }));
    found
}

/// Numbers given to the shell by the command line and by verification.
fn exits(path: &str, lines: &[&str]) -> BTreeSet<String> {
    let number = |text: &str| {
        let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then_some(digits)
    };
    let constants = lines.iter().filter(|_| path.starts_with("cli/src/")).filter(|line| line.contains(": u8 = "));
    let constants = constants.filter_map(|line| number(line.split(": u8 = ").nth(1)?));
    let verified = if path.starts_with("reader/src/") { bodies(lines, "fn exit_code(") } else { Vec::new() };
    constants.chain(verified.into_iter().filter_map(|line| number(line.split("=> ").nth(1)?))).collect()
}

/// Every metric of an alert is on the page; every alert has a heading in the runbook, and every heading an alert.
fn alerts(texts: &Texts<'_>, faults: &mut Vec<String>) {
    let (Some(rules), Some(page), Some(runbook)) = (texts.get(ALERTS), texts.get(METRICS), texts.get(RUNBOOK)) else {
        faults.push(format!("{ALERTS}, {METRICS} or {RUNBOOK} is missing"));
        return;
    };
    let names: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let headings: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for name in names.symmetric_difference(&headings) {
        faults.push(format!("{RUNBOOK}: `{name}` is an alert or a heading, not both"));
    }
    let expressions = rules.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let used =
        expressions.flat_map(|line| line.split(word)).filter(|name| name.ends_with("_total") || name.ends_with("_ms"));
    for name in used.collect::<BTreeSet<_>>() {
        if !page.contains(&format!("`{name}`")) {
            faults.push(format!("{ALERTS}: `{name}` is not on {METRICS}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(files: &[(&'static str, &str)]) -> Vec<String> {
        let mut texts: Texts<'_> = files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
        for path in [ALERTS, METRICS, RUNBOOK] {
            texts.entry(path).or_default();
        }
        let mut faults = Vec::new();
        check(&texts, &mut faults);
        faults
    }

    #[test]
    fn what_a_page_lacks_is_named() {
        for source in [
            ("masker/src/transform.rs", "Rejection::new(\"M-009\", x)"),
            ("enricher/src/error.rs", "pub const X: &str = \"E-009\";"),
            ("masker/src/reason.rs", "pub const X: &str = \"odd_reason\";"),
            ("ingest-proxy/src/a.rs", "fn kind(&self) -> &str {\nmatch self {\nSelf::A => \"odd_reason\",\n}\n}"),
            ("ingest-proxy/src/a.rs", "let f = Facts { reason_code: \"odd_reason\" };"),
            ("ingest-proxy/src/a.rs", "fn sqlstate(&self) -> &str {\n\"58030\"\n}"),
            ("stage/src/a.rs", "let c = counter(\n\"odd_total\",\n\"Help.\", &[]);"),
            ("stage/src/a.rs", "gauge(&format!(\"{stage}_odd_ms\"), \"\", &[])"),
            ("enricher/src/a.rs", "show(\"odd_records\", 1);"),
            ("cli/src/exit.rs", "const ODD: u8 = 77;"),
            ("reader/src/a.rs", "fn exit_code(self) -> u8 {\nmatch self {\nSelf::A => 9,\n}\n}"),
        ] {
            assert_eq!(faults(&[source]).len(), 1, "{source:?}");
        }
        assert!(faults(&[("masker/src/a.rs", "#[cfg(test)]\nRejection::new(\"M-009\", x)")]).is_empty());
        let known = [("masker/src/reason.rs", "pub const X: &str = \"odd_reason\";"), (CODES, "| `odd_reason` | x |")];
        assert!(faults(&known).is_empty());
    }

    #[test]
    fn an_alert_needs_its_metric_and_its_paragraph() {
        let rule = "- alert: Odd\n  expr: increase(a_b_total[5m]) > 0";
        assert_eq!(faults(&[(ALERTS, rule)]).len(), 2);
        assert!(faults(&[(ALERTS, rule), (METRICS, "`a_b_total`"), (RUNBOOK, "## Odd\nDo.")]).is_empty());
        assert_eq!(faults(&[(RUNBOOK, "## Odd\nDo.")]).len(), 1);
    }
}
