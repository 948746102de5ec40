//! Rule `pem`: PEM private key; without an END line, everything after BEGIN.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "pem",
    doc_short: "PEM private key; without an END line, everything after BEGIN",
    doc_long: "Finds: PEM private key; without an END line, everything after BEGIN. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["-----BEGIN"],
    shape: Shape::Pem,
    validator: None,
    action: Action::Replace,
    examples: &[
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ",
    ],
    counter_examples: &["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"],
};
