//! Rule `authorization`: credentials of an Authorization header.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "authorization",
    doc_short: "credentials of an Authorization header",
    doc_long: "Finds: credentials of an Authorization header. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["bearer ", "basic "],
    shape: Shape::Following { class: Class::Token68, min: 8 },
    validator: None,
    action: Action::Replace,
    examples: &["Authorization: Bearer abc.def-ghi123", "Authorization: Basic dXNlcjpwYXNz"],
    counter_examples: &["bearer of news", "basic idea"],
};
