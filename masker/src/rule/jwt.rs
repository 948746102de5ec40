//! Rule `jwt`: JSON web token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "jwt",
    doc_short: "JSON web token",
    doc_long: "`eyJ` (base64 of an opening brace and a quote) and a run of letters, digits, `_`, `-` and `.` whose first part decodes to a JSON object and which has three parts or more. Source: RFC 7519 and RFC 7515 section 7.1, compact serialization. All of the token is replaced, header too.",
    anchors: &["eyJ"],
    shape: Shape::Token { class: Class::Base64UrlDot, min: 20, max: 65_536 },
    validator: Some(crate::validate::jwt),
    action: Action::Replace,
    examples: &["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"],
    counter_examples: &["eyJhbGci.short.x"],
};
