//! Rule `gcp-api-key`: Google API key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gcp-api-key",
    doc_short: "Google API key",
    doc_long: "`AIza`, then exactly 35 letters, digits, `_` and `-`. Source: Google Cloud documentation, \"Manage API keys\": a key string is 39 characters that begin with `AIza`. All of the key is replaced.",
    anchors: &["AIza"],
    shape: Shape::Token { class: Class::Base64Url, min: 35, max: 35 },
    validator: None,
    action: Action::Replace,
    examples: &["AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q"],
    counter_examples: &["AIza short"],
};
