//! Rule `assignment`: value given to a secret-named key.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "assignment",
    doc_short: "value given to a secret-named key",
    doc_long: "Finds: value given to a secret-named key. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &[
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "token",
        "api_key",
        "apikey",
        "api-key",
        "pgpassword",
        "sslpassword",
        "private_key",
        "client_secret",
    ],
    shape: Shape::Assignment,
    validator: None,
    action: Action::Replace,
    examples: &[
        "host=h password=hunter2",
        "\"api_key\": \"abc123def\"",
        "PGPASSWORD=hunter2 psql",
        "password = 'it\\'s'",
    ],
    counter_examples: &["the password is long", "secretary: Bob", "password = $1"],
};
