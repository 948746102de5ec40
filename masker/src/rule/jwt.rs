//! Rule `jwt`: JSON web token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "jwt",
    doc_short: "JSON web token",
    doc_long: "Finds: JSON web token. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["eyJ"],
    shape: Shape::Token { class: Class::Base64UrlDot, min: 20, max: 65_536 },
    validator: Some(crate::validate::jwt),
    action: Action::Replace,
    examples: &["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"],
    counter_examples: &["eyJhbGci.short.x"],
};
