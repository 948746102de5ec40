//! Rule `slack-token`: Slack token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "slack-token",
    doc_short: "Slack token",
    doc_long: "Finds: Slack token. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-"],
    shape: Shape::Token { class: Class::Base64Url, min: 10, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["xoxb-2048-4096-abcDEFghiJKL"],
    counter_examples: &["xoxb-"],
};
