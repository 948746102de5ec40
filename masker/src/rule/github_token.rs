//! Rule `github-token`: GitHub token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "github-token",
    doc_short: "GitHub token",
    doc_long: "Finds: GitHub token. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_"],
    shape: Shape::Token { class: Class::Word, min: 22, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["ghp_16C7e42F292c6912E7710c838347Ae178B4a"],
    counter_examples: &["ghp_short"],
};
