//! Rule `pem`: PEM private key; without an END line, everything after BEGIN.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "pem",
    doc_short: "PEM private key; without an END line, everything after BEGIN",
    doc_long: "`-----BEGIN`, a label that ends in `PRIVATE KEY` (RSA, EC, ENCRYPTED, OPENSSH or none), and everything up to the end of the line with `-----END`. Without an END line everything after BEGIN is replaced. Source: RFC 7468 sections 2, 10 and 11, and OpenSSH's `PROTOCOL.key`. Certificates and public keys are left.",
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
