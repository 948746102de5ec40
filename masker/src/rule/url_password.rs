//! Rule `url-password`: password in the userinfo of a URL.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "url-password",
    doc_short: "password in the userinfo of a URL",
    doc_long: "Finds: password in the userinfo of a URL. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["://"],
    shape: Shape::Url,
    validator: None,
    action: Action::Replace,
    examples: &["postgresql://u:p%40ss@[2001:db8::1]/d", "redis://:hunter2@h:6379"],
    counter_examples: &["https://example.org/a:b@c", "see http://host:80/"],
};
