//! Rule `stripe-key`: Stripe secret or restricted key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "stripe-key",
    doc_short: "Stripe secret or restricted key",
    doc_long: "`sk_` (secret) or `rk_` (restricted) with `live_` or `test_`, then 10 to 1024 letters, digits and `_`. Source: Stripe documentation, \"API keys\". All of the key is replaced. Publishable keys (`pk_`) are meant to be public and are left.",
    anchors: &["sk_live_", "rk_live_", "sk_test_", "rk_test_"],
    shape: Shape::Token { class: Class::Word, min: 10, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["sk_live_4eC39HqLyjWDarjtT1zdp7dc"],
    counter_examples: &["sk_live_x"],
};
