//! Rule `md5`: md5 password verifier.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "md5",
    doc_short: "md5 password verifier",
    doc_long: "`md5`, then exactly 32 hexadecimal digits. Source: PostgreSQL documentation, catalog `pg_authid`, column `rolpassword`: the digest of password and role name. It can be used to log in, so it is as good as the password. All of it is replaced. A bare digest without `md5` is left.",
    anchors: &["md5"],
    shape: Shape::Token { class: Class::Hex, min: 32, max: 32 },
    validator: None,
    action: Action::Replace,
    examples: &["md5d41d8cd98f00b204e9800998ecf8427e"],
    counter_examples: &["md5(x)"],
};
