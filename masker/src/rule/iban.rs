//! Rule `iban`: international bank account number.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "iban",
    doc_short: "international bank account number",
    doc_long: "Two letters of a country with IBAN, two check digits, then letters and digits up to that country's length, single spaces between; ISO 7064 MOD 97-10 must give 1. Source: ISO 13616-1 and the SWIFT IBAN registry (lengths). All of it is replaced. A number inside a longer word is left.",
    anchors: &[],
    shape: Shape::Iban,
    validator: Some(crate::validate::iban),
    action: Action::Replace,
    examples: &["GB82 WEST 1234 5698 7654 32", "pay DE89370400440532013000 now"],
    counter_examples: &["GB82 WEST 1234 5698 7654 33", "DE8937040044053201300", "xDE89370400440532013000"],
};
