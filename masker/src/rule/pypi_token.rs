//! Rule `pypi-token`: PyPI token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "pypi-token",
    doc_short: "PyPI token",
    doc_long: "`pypi-AgE` (the macaroon's version and location fields in base64), then 16 to 2048 letters, digits, `_` and `-`. Source: PyPI help page, \"API tokens\", and Warehouse's documentation of its macaroons. All of the token is replaced.",
    anchors: &["pypi-AgE"],
    shape: Shape::Token { class: Class::Base64Url, min: 16, max: 2048 },
    validator: None,
    action: Action::Replace,
    examples: &["pypi-AgEIcHlwaS5vcmcCJDEyMzQ1Njc4"],
    counter_examples: &["pypi-package"],
};
