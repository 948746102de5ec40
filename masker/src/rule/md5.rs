//! Rule `md5`: md5 password verifier.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "md5",
    doc_short: "md5 password verifier",
    doc_long: "Finds: md5 password verifier. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["md5"],
    shape: Shape::Token { class: Class::Hex, min: 32, max: 32 },
    validator: None,
    action: Action::Replace,
    examples: &["md5d41d8cd98f00b204e9800998ecf8427e"],
    counter_examples: &["md5(x)"],
};
