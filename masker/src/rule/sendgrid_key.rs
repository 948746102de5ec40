//! Rule `sendgrid-key`: SendGrid key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "sendgrid-key",
    doc_short: "SendGrid key",
    doc_long: "`SG.`, then 60 to 80 letters, digits, `_`, `-` and `.`: an id of 22, a dot and a secret of 43 characters. Source: Twilio SendGrid documentation, \"API Keys\" (69 characters, two dots). All of the key is replaced.",
    anchors: &["SG."],
    shape: Shape::Token { class: Class::Base64UrlDot, min: 60, max: 80 },
    validator: None,
    action: Action::Replace,
    examples: &["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"],
    counter_examples: &["SG.1"],
};
