//! Rule `us-ssn`: US social security number.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "us-ssn",
    doc_short: "US social security number",
    doc_long: "Three, two and four digits with dashes, or with spaces, between: area not 000, 666 or 900 to 999, group not 00, serial not 0000; every other serial counts, those with zeros inside too. Source: US Social Security Administration, number assignment rules of 2011. All of it is replaced. Nine digits without separators are left: too many numbers look like that.",
    anchors: &[],
    shape: Shape::Ssn,
    validator: Some(crate::validate::ssn),
    action: Action::Replace,
    examples: &["219-09-1203", "ssn 219 09 1203."],
    counter_examples: &[
        "000-09-1203",
        "666-09-1203",
        "912-09-1203",
        "219-00-1203",
        "219-09-0000",
        "219-09 1203",
        "219091203",
    ],
};
