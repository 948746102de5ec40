//! Rule `aws-access-key`: AWS access key id.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "aws-access-key",
    doc_short: "AWS access key id",
    doc_long: "`AKIA` (long-term) or `ASIA` (temporary), then exactly 16 capital letters and digits. Source: AWS IAM documentation, \"IAM identifiers\", unique id prefixes. All of the id is replaced. It is an identifier and no secret by itself, but it names the account and is found beside the secret.",
    anchors: &["AKIA", "ASIA"],
    shape: Shape::Token { class: Class::UpperAlnum, min: 16, max: 16 },
    validator: None,
    action: Action::Replace,
    examples: &["AKIAQ7RZ2LMX5KTWPN3V"],
    counter_examples: &["AKIA is a prefix", "AKIAQ7RZ2LMX5KTWPN3Vlonger"],
};
