//! Rule `gitlab-token`: GitLab token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gitlab-token",
    doc_short: "GitLab token",
    doc_long: "`glpat-` (personal, project or group), `gldt-` (deploy), `glrt-` (runner), `glcbt-` (CI job), `glptt-` (trigger), `glft-` (feed), `glagent-`, `glimt-`, `gloas-` or `glsoat-`, then 20 to 1024 letters, digits, `_`, `-` and `.`. Source: GitLab documentation, \"Token prefixes\". All of the token is replaced. An instance with prefixes of its own needs a rule of its own.",
    anchors: &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glagent-", "glimt-", "gloas-", "glsoat-"],
    shape: Shape::Token { class: Class::Base64UrlDot, min: 20, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["glpat-x1Y2z3A4b5C6d7E8f9G0", "glrt-t1_x1Y2z3A4b5C6d7E8f9G0"],
    counter_examples: &["glpat-"],
};
