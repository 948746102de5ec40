//! Rule `email`: e-mail address, as a keyed pseudonym.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "email",
    doc_short: "e-mail address, as a keyed pseudonym",
    doc_long: "Letters, digits and `._%+-`, then `@`, then a domain with a dot and at least two characters after the last one. Source: RFC 5321 section 4.1.2, the dot-string form; quoted local parts and addresses of non-ASCII characters are not found. The pseudonym is HMAC-SHA-256, cut to 128 bits, over the rule, the epoch and the address in lower case: equal addresses of one epoch give equal pseudonyms, and only the masker can compute one.",
    anchors: &["@"],
    shape: Shape::Email,
    validator: None,
    action: Action::Pseudonym,
    examples: &["ada@example.com"],
    counter_examples: &["a @ b", "@decorator", "user@host"],
};
