//! The reference page of the rules, generated from the rules themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write as _;

use masker::rule::{Action, RULES, Rule, Shape};

fn shape(rule: &Rule) -> String {
    match rule.shape {
        Shape::Token { class, min, max } if min == max => {
            format!("anchor at a word's start, then {min} bytes of `{class:?}`")
        }
        Shape::Token { class, min, max } => {
            format!("anchor at a word's start, then {min} to {max} bytes of `{class:?}`")
        }
        Shape::Following { class, min } => format!("anchor, then at least {min} bytes of `{class:?}`"),
        other => format!("`{other:?}`"),
    }
}

fn action(rule: &Rule) -> String {
    match rule.action {
        Action::Replace => format!("`<secret:{}:SIZE>`", rule.id),
        Action::KeepLast4 => format!("`<secret:{}:LAST4>`", rule.id),
        Action::Pseudonym => format!("`<{}:eEPOCH:HEX>`", rule.id),
    }
}

fn list(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("`{}`", text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")))
        .collect();
    quoted.join(", ")
}

fn page() -> String {
    let mut page = String::from(
        "# Masking rules\n\nGenerated from the rules; `UPDATE_GOLDEN=1 cargo test -p masker --test rules_page` writes it anew.\n\n\
         Anchors are compared in any case. SIZE is `s` (under 8 bytes), `m` (under 32), `l` (under 128) or `xl`. \
         `disabled_rules` of `[masker]` takes the ids.\n\n| Id | Finds | Becomes |\n|---|---|---|\n",
    );
    for rule in RULES {
        writeln!(page, "| [`{id}`](#{id}) | {} | {} |", rule.doc_short, action(rule), id = rule.id).unwrap();
    }
    for rule in RULES {
        let anchors = if rule.anchors.is_empty() { "none, digits are scanned".to_owned() } else { list(rule.anchors) };
        write!(
            page,
            "\n## {}\n\n{}\n\n- Anchors: {anchors}\n- Shape: {}\n- Checked: {}\n- Matches: {}\n- Does not match: {}\n",
            rule.id,
            rule.doc_long,
            shape(rule),
            if rule.validator.is_some() { "yes" } else { "no" },
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
        assert!(rule.doc_long.len() > 80 && rule.doc_long.contains("Source: "), "{}", rule.id);
        assert!(!RULES[..at].iter().any(|other| other.doc_long == rule.doc_long || other.id == rule.id), "{}", rule.id);
    }
}
