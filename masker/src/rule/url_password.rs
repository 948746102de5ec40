//! Rule `url-password`: password in the userinfo of a URL.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "url-password",
    doc_short: "password in the userinfo of a URL",
    doc_long: "`scheme://user:password@`: what stands between the first colon of the userinfo and the last `@` before a `/`, `?`, `#`, quote or space. Source: RFC 3986 section 3.2.1; PostgreSQL documentation, libpq connection URIs (IPv6 hosts, several hosts). Only the password is replaced. A password in the query (`?password=`) is found by `assignment`.",
    anchors: &["://"],
    shape: Shape::Url,
    validator: None,
    action: Action::Replace,
    examples: &["postgresql://u:p%40ss@[2001:db8::1]/d", "redis://:hunter2@h:6379"],
    counter_examples: &["https://example.org/a:b@c", "see http://host:80/"],
};
