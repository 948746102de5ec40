//! Rule `assignment`: value given to a secret-named key.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "assignment",
    doc_short: "value given to a secret-named key",
    doc_long: "A name that ends in one of the anchors, then `=`, `:` or `=>`, then a value: between quotes (doubled and backslashed quotes belong to it), or up to white space, `,`, `;`, `&`, a quote or a closing bracket. Source: libpq's connection keywords `password` and `sslpassword` and variable `PGPASSWORD` (PostgreSQL documentation, libpq), JSON members, `.env` files, JDBC and ADO.NET connection strings. Only the value is replaced. A type cast (`token::text`) and a parameter (`password = $1`) are left; so is a name without a sign after it.",
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
