//! Rule `npm-token`: npm token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "npm-token",
    doc_short: "npm token",
    doc_long: "`npm_`, then at least 36 letters, digits and `_`. Source: npm documentation and GitHub's announcement \"npm has a new access token format\": prefix, 30 random characters and a checksum of 6. All of the token is replaced; the checksum is not checked.",
    anchors: &["npm_"],
    shape: Shape::Token { class: Class::Word, min: 36, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["npm_abcdefghijklmnopqrstuvwxyz0123456789"],
    counter_examples: &["npm_config_registry"],
};
