//! Rule `scram`: SCRAM verifier.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "scram",
    doc_short: "SCRAM verifier",
    doc_long: "`SCRAM-SHA-256$`, then iterations, `:`, salt, `$`, stored key, `:`, server key, in base64. Source: PostgreSQL documentation, catalog `pg_authid`, column `rolpassword`; RFC 5803 has the same fields. All of the verifier is replaced: it can be attacked offline.",
    anchors: &["SCRAM-SHA-256$"],
    shape: Shape::Token { class: Class::Scram, min: 20, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy"],
    counter_examples: &["SCRAM-SHA-256$"],
};
