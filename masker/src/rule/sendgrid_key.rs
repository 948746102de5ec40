//! Rule `sendgrid-key`: SendGrid key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "sendgrid-key",
    doc_short: "SendGrid key",
    doc_long: "Finds: SendGrid key. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["SG."],
    shape: Shape::Token { class: Class::Base64UrlDot, min: 60, max: 80 },
    validator: None,
    action: Action::Replace,
    examples: &["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"],
    counter_examples: &["SG.1"],
};
