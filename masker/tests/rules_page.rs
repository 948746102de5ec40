//! The reference page of the rules, generated from the rules themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write as _;

use masker::rule::{Action, FAMILIES, RULES, Rule, Shape};
use masker::sample::shown;

fn shape(rule: &Rule) -> String {
    let count = |min: usize, max: usize| if min == max { min.to_string() } else { format!("{min} to {max}") };
    match rule.shape {
        Shape::Token { class, min, max } => {
            format!("anchor at a word's start, then {} bytes of `{class:?}`", count(min, max))
        }
        Shape::Named { class, min, max } => {
            format!("anchor in a name, a sign, then {} bytes of `{class:?}`", count(min, max))
        }
        Shape::Around { class, before, after } => format!(
            "{} bytes of `{class:?}`, anchor, {} bytes of it",
            count(before.0, before.1),
            count(after.0, after.1)
        ),
        Shape::Following { class, min } => format!("anchor, then at least {min} bytes of `{class:?}`"),
        other => format!("`{other:?}`"),
    }
}

fn action(rule: &Rule) -> String {
    match rule.action {
        Action::Off => "nothing: off".to_owned(),
        Action::Redact => format!("`<secret:{}:SIZE>`", rule.id),
        Action::Partial => format!("`<secret:{}:LAST4>`", rule.id),
        Action::Pseudonym => format!("`<{}:eEPOCH.KEY:HEX>`", rule.id),
    }
}

fn list(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("`{}`", shown(text))).collect();
    quoted.join(", ")
}

fn page() -> String {
    let mut page = String::from(
        "# Masking rules\n\nGenerated from the rules; `UPDATE_GOLDEN=1 cargo test -p masker --test rules_page` writes it anew.\n\n\
         Anchors of tokens are compared in their own case, all others in any. SIZE is `s` (under 8 bytes), `m` (under \
         32), `l` (under 128) or `xl`. `disabled_rules` and `actions` of `[masker]` take the ids. Examples are \
         templates: `{hex:32}` stands for 32 made-up hexadecimal digits, `{!num:9}` for digits that are no secret.\n\n",
    );
    writeln!(page, "{} rules.\n\n| Id | Family | Severity | Finds | Becomes |\n|---|---|---|---|---|", RULES.len())
        .unwrap();
    for family in FAMILIES {
        for rule in family.rules {
            let (id, severity, becomes) = (rule.id, rule.severity.as_str(), action(rule));
            writeln!(page, "| [`{id}`](#{id}) | {} | {severity} | {} | {becomes} |", family.name, rule.doc_short)
                .unwrap();
        }
    }
    for rule in RULES {
        let anchors = if rule.anchors.is_empty() { "none, digits are scanned".to_owned() } else { list(rule.anchors) };
        write!(
            page,
            "\n## {}\n\n{}\n\n- Anchors: {anchors}\n- Shape: {}\n- Checked: {}\n- Matches: {}\n- Does not match: {}\n",
            rule.id,
            rule.doc_long,
            shape(rule),
            rule.validator.map_or("no", |validator| validator.name),
            list(rule.examples),
            list(rule.counter_examples),
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_says_what_the_rules_are() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/masking-rules.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page(), "run with UPDATE_GOLDEN=1");
}

/// A page that says the same of every rule says nothing: each names its source.
#[test]
fn every_rule_is_documented_on_its_own() {
    for (at, rule) in RULES.iter().enumerate() {
        assert!(rule.doc_long.len() > 50 && rule.doc_long.contains("Source: "), "{}", rule.id);
        assert!(!RULES[..at].iter().any(|other| other.doc_long == rule.doc_long || other.id == rule.id), "{}", rule.id);
    }
}
