//! Rule `card`: payment card number (Luhn, 13 to 19 digits); the last four stay.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "card",
    doc_short: "payment card number (Luhn, 13 to 19 digits); the last four stay",
    doc_long: "Finds: payment card number (Luhn, 13 to 19 digits); the last four stay. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &[],
    shape: Shape::Card,
    validator: Some(crate::validate::card),
    action: Action::KeepLast4,
    examples: &["4111 1111 1111 1111", "5500-0000-0000-0004"],
    counter_examples: &["4111 1111 1111 1112", "1234567890123456"],
};
