//! Rule `github-token`: GitHub token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "github-token",
    doc_short: "GitHub token",
    doc_long: "`ghp_` (personal), `gho_` (OAuth), `ghu_` and `ghs_` (app, user and installation), `ghr_` (refresh) or `github_pat_` (fine-grained), then 22 to 1024 letters, digits and `_`. Source: GitHub documentation, \"About authentication to GitHub\", token formats. All of the token is replaced. The CRC-32 in its last six characters is not checked.",
    anchors: &["ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_"],
    shape: Shape::Token { class: Class::Word, min: 22, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["ghp_16C7e42F292c6912E7710c838347Ae178B4a"],
    counter_examples: &["ghp_short"],
};
