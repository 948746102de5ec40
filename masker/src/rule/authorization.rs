//! Rule `authorization`: credentials of an Authorization header.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "authorization",
    doc_short: "credentials of an Authorization header",
    doc_long: "The scheme `Bearer` or `Basic`, one space, then at least 8 characters of token68. Source: RFC 9110, section 11.4 (credentials), RFC 6750 (Bearer), RFC 7617 (Basic). Only what follows the scheme is replaced. Digest and Negotiate parameters are not read.",
    anchors: &["bearer ", "basic "],
    shape: Shape::Following { class: Class::Token68, min: 8 },
    validator: None,
    action: Action::Replace,
    examples: &["Authorization: Bearer abc.def-ghi123", "Authorization: Basic dXNlcjpwYXNz"],
    counter_examples: &["bearer of news", "basic idea"],
};
