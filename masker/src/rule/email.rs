//! Rule `email`: e-mail address, as a keyed pseudonym.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "email",
    doc_short: "e-mail address, as a keyed pseudonym",
    doc_long: "Finds: e-mail address, as a keyed pseudonym. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["@"],
    shape: Shape::Email,
    validator: None,
    action: Action::Pseudonym,
    examples: &["ada@example.com"],
    counter_examples: &["a @ b", "@decorator", "user@host"],
};
