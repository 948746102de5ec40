//! Rule `pypi-token`: PyPI token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "pypi-token",
    doc_short: "PyPI token",
    doc_long: "Finds: PyPI token. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["pypi-AgE"],
    shape: Shape::Token { class: Class::Base64Url, min: 16, max: 2048 },
    validator: None,
    action: Action::Replace,
    examples: &["pypi-AgEIcHlwaS5vcmcCJDEyMzQ1Njc4"],
    counter_examples: &["pypi-package"],
};
