//! Rule `aws-access-key`: AWS access key id.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "aws-access-key",
    doc_short: "AWS access key id",
    doc_long: "Finds: AWS access key id. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["AKIA", "ASIA"],
    shape: Shape::Token { class: Class::UpperAlnum, min: 16, max: 16 },
    validator: None,
    action: Action::Replace,
    examples: &["AKIAQ7RZ2LMX5KTWPN3V"],
    counter_examples: &["AKIA is a prefix", "AKIAQ7RZ2LMX5KTWPN3Vlonger"],
};
