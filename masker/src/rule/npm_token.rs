//! Rule `npm-token`: npm token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "npm-token",
    doc_short: "npm token",
    doc_long: "Finds: npm token. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["npm_"],
    shape: Shape::Token { class: Class::Word, min: 36, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["npm_abcdefghijklmnopqrstuvwxyz0123456789"],
    counter_examples: &["npm_config_registry"],
};
