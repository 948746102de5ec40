//! Statements that carry secrets in their own grammar, where every string constant must be hidden.

use crate::statement::command_kind_of;
use crate::token::{Token, TokenKind, tokens};

/// Why a statement counts as secret-bearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretClass {
    /// `CREATE` or `ALTER ROLE`, `USER`, `GROUP` with `PASSWORD`.
    RolePassword,
    /// `OPTIONS` of a server, user mapping, foreign data wrapper or foreign table.
    Options,
    /// `CREATE` or `ALTER SUBSCRIPTION`: a connection string.
    Subscription,
    /// `ALTER SYSTEM`: settings such as `primary_conninfo`.
    AlterSystem,
    /// `COPY .. PROGRAM`: a shell command line.
    CopyProgram,
    /// `DO` and bodies of functions and procedures.
    Code,
    /// `set_config(..)`, `SET x.y = ..`.
    Setting,
    /// Functions that take keys, passwords or connection strings.
    Function,
    /// `COMMENT` and `SECURITY LABEL`: free text.
    Label,
}

/// Functions whose arguments may be secret; names that end in `*` match by prefix.
const FUNCTIONS: &[&str] = &[
    "dblink*",
    "pgp_sym_*",
    "pgp_pub_*",
    "crypt",
    "hmac",
    "digest",
    "encrypt",
    "decrypt",
    "encrypt_iv",
    "decrypt_iv",
    "postgres_fdw*",
    "pg_read_server_files",
    "lo_import",
];

const SET_CONFIG: &[u8] = b"set_config";

/// The class of a secret-bearing statement; `None` for every other one.
#[must_use]
pub fn secret_class(statement: &[u8]) -> Option<SecretClass> {
    secret_class_of(&tokens(statement).collect::<Vec<_>>(), statement)
}

/// The same of tokens already read: those of one statement in `statement`.
#[must_use]
pub fn secret_class_of(tokens: &[Token], statement: &[u8]) -> Option<SecretClass> {
    let kind = command_kind_of(tokens, statement);
    let has = |word: &str| tokens.iter().any(|token| token.is_word(statement, word));
    match kind {
        "CREATE ROLE" | "ALTER ROLE" if has("PASSWORD") => return Some(SecretClass::RolePassword),
        "CREATE SERVER"
        | "ALTER SERVER"
        | "CREATE USER MAPPING"
        | "ALTER USER MAPPING"
        | "CREATE FOREIGN TABLE"
        | "ALTER FOREIGN TABLE"
        | "CREATE FOREIGN DATA WRAPPER"
        | "ALTER FOREIGN DATA WRAPPER"
        | "IMPORT FOREIGN SCHEMA" => return Some(SecretClass::Options),
        "CREATE SUBSCRIPTION" | "ALTER SUBSCRIPTION" => return Some(SecretClass::Subscription),
        "ALTER SYSTEM" => return Some(SecretClass::AlterSystem),
        "COPY" if has("PROGRAM") => return Some(SecretClass::CopyProgram),
        "DO" | "CREATE FUNCTION" | "CREATE PROCEDURE" => return Some(SecretClass::Code),
        "COMMENT" | "SECURITY LABEL" => return Some(SecretClass::Label),
        _ => {}
    }
    if matches!(kind, "SET" | "ALTER ROLE" | "ALTER DATABASE") && sets_custom(tokens, statement) {
        return Some(SecretClass::Setting);
    }
    calls_secret(tokens, statement)
}

/// True when [`secret_class`] finds one.
#[must_use]
pub fn is_secret_statement(statement: &[u8]) -> bool {
    secret_class(statement).is_some()
}

/// `SET [SESSION | LOCAL] x.y ..`: a custom setting has a dotted name.
fn sets_custom(tokens: &[Token], statement: &[u8]) -> bool {
    let significant = tokens.iter().filter(|token| !token.kind.is_trivia());
    let mut after = significant
        .skip_while(|token| !token.is_word(statement, "SET"))
        .skip(1)
        .filter(|token| !["SESSION", "LOCAL"].iter().any(|word| token.is_word(statement, word)));
    let name = after.next();
    name.is_some_and(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted))
        && after.next().is_some_and(|token| token.is_symbol(statement, "."))
}

fn calls_secret(tokens: &[Token], statement: &[u8]) -> Option<SecretClass> {
    let mut previous: Option<&Token> = None;
    for token in tokens.iter().filter(|token| !token.kind.is_trivia()) {
        let opens = token.kind == TokenKind::Punctuation && statement.get(token.start) == Some(&b'(');
        if let Some(name) = previous.filter(|_| opens) {
            let name = function_name(name, statement);
            if name.eq_ignore_ascii_case(SET_CONFIG) {
                return Some(SecretClass::Setting);
            }
            if FUNCTIONS.iter().any(|function| matches_name(name, function)) {
                return Some(SecretClass::Function);
            }
        }
        previous = Some(token);
    }
    None
}

/// True for a name that makes a call of it secret-bearing.
pub(crate) fn is_secret_function(token: &Token, sql: &[u8]) -> bool {
    let name = function_name(token, sql);
    // The first letters of every name below.
    matches!(name.first().map(u8::to_ascii_lowercase), Some(b'c' | b'd' | b'e' | b'h' | b'l' | b'p' | b's'))
        && (name.eq_ignore_ascii_case(SET_CONFIG) || FUNCTIONS.iter().any(|function| matches_name(name, function)))
}

fn function_name<'a>(token: &Token, sql: &'a [u8]) -> &'a [u8] {
    let text = token.text(sql);
    match token.kind {
        TokenKind::Word => text,
        TokenKind::Quoted => text.get(1..text.len().saturating_sub(1)).unwrap_or_default(),
        _ => b"",
    }
}

fn matches_name(name: &[u8], function: &str) -> bool {
    match function.strip_suffix('*') {
        Some(prefix) => name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
        None => name.eq_ignore_ascii_case(function.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes() {
        use SecretClass::*;
        for (sql, class) in [
            ("ALTER ROLE bob PASSWORD 'x'", Some(RolePassword)),
            ("create user x encrypted password $p$hun$ter$p$", Some(RolePassword)),
            ("ALTER ROLE bob VALID UNTIL '2030-01-01'", None),
            ("CREATE USER MAPPING FOR b SERVER s OPTIONS (password 'x')", Some(Options)),
            ("CREATE SUBSCRIPTION s CONNECTION 'password=x' PUBLICATION p", Some(Subscription)),
            ("ALTER SYSTEM SET primary_conninfo = 'x'", Some(AlterSystem)),
            ("COPY t TO PROGRAM 'curl -u u:p'", Some(CopyProgram)),
            ("COPY t TO STDOUT", None),
            ("DO $$ begin end $$", Some(Code)),
            ("SET app.key = 'x'", Some(Setting)),
            ("SET LOCAL app.key TO 'x'", Some(Setting)),
            ("SET search_path = 'x'", None),
            ("SELECT set_config('a.b', 'x', false)", Some(Setting)),
            ("SELECT pgp_sym_encrypt('a', 'k')", Some(Function)),
            ("SELECT * FROM dblink_connect('x')", Some(Function)),
            ("SELECT crypt FROM t", None),
            ("COMMENT ON TABLE t IS 'x'", Some(Label)),
            ("SELECT 'x'", None),
        ] {
            assert_eq!(secret_class(sql.as_bytes()), class, "{sql}");
        }
    }

    #[test]
    fn every_function_is_found_by_its_first_letter() {
        for function in FUNCTIONS.iter().copied().chain(["set_config"]) {
            let name = function.trim_end_matches('*');
            let token = tokens(name.as_bytes()).next().unwrap();
            assert!(is_secret_function(&token, name.as_bytes()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(sql in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(is_secret_statement(&sql), secret_class(&sql).is_some());
        }
    }
}
