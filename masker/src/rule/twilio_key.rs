//! Rule `twilio-key`: Twilio API key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "twilio-key",
    doc_short: "Twilio API key",
    doc_long: "`SK`, then exactly 32 hexadecimal digits. Source: Twilio documentation, \"API keys\": the SID of a key. All of it is replaced. The key's secret has no prefix and is found by its name only.",
    anchors: &["SK"],
    shape: Shape::Token { class: Class::Hex, min: 32, max: 32 },
    validator: None,
    action: Action::Replace,
    examples: &["SK0123456789abcdef0123456789abcdef"],
    counter_examples: &[
        "SK0123456789abcdef",
        "TASK0123456789abcdef0123456789abcdef",
        "SK0123456789abcdef0123456789abcdef0",
    ],
};
