//! Rule `card`: payment card number (Luhn, 13 to 19 digits); the last four stay.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "card",
    doc_short: "payment card number (Luhn, 13 to 19 digits); the last four stay",
    doc_long: "13 to 19 digits, single spaces or dashes between, first digit 2 to 6, right Luhn sum. Source: ISO/IEC 7812-1 (length, major industry identifier, annex B: Luhn). Of cards that stand side by side every row of groups is tried. The last four digits stay. About one in ten digit strings of that length has a right sum by chance, and is masked as well.",
    anchors: &[],
    shape: Shape::Card,
    validator: Some(crate::validate::card),
    action: Action::KeepLast4,
    examples: &["4111 1111 1111 1111", "5500-0000-0000-0004"],
    counter_examples: &["4111 1111 1111 1112", "1234567890123456"],
};
