//! Rule `slack-token`: Slack token.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "slack-token",
    doc_short: "Slack token",
    doc_long: "`xoxb-` (bot), `xoxp-` (user), `xoxa-`, `xoxr-` (refresh), `xoxs-` (session) or `xoxe-` (expiring), then 10 to 1024 letters, digits, `_` and `-`. Source: Slack API documentation, \"Token types\". All of the token is replaced. App-level tokens (`xapp-`) begin differently and are found by the same rule.",
    anchors: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-"],
    shape: Shape::Token { class: Class::Base64Url, min: 10, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["xoxb-2048-4096-abcDEFghiJKL"],
    counter_examples: &["xoxb-"],
};
