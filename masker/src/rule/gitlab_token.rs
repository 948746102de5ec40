//! Rule `gitlab-token`: GitLab token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gitlab-token",
    doc_short: "GitLab token",
    doc_long: "Finds: GitLab token. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["glpat-"],
    shape: Shape::Token { class: Class::Base64Url, min: 20, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["glpat-x1Y2z3A4b5C6d7E8f9G0"],
    counter_examples: &["glpat-"],
};
