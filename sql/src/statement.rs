//! Where statements begin and end, and what each one is.

use std::ops::Range;

use crate::token::{Token, TokenKind, tokens};

/// Spans of the statements in `sql`, split at top-level semicolons, white space trimmed, comments kept.
///
/// A piece with nothing but white space and comments is no statement. A semicolon inside parentheses or
/// inside the `BEGIN ATOMIC .. END` body of a `CREATE` statement does not split.
pub fn statements(sql: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    Statements { sql, tokens: tokens(sql), from: 0, done: false }
}

/// The same of tokens already read: those of `sql`, in order.
pub fn statements_of<'a>(tokens: &'a [Token], sql: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    Statements { sql, tokens: tokens.iter().copied(), from: 0, done: false }
}

struct Statements<'a, I> {
    sql: &'a [u8],
    tokens: I,
    from: usize,
    done: bool,
}

impl<I> Statements<'_, I> {
    fn trimmed(&self, end: usize) -> Range<usize> {
        let text = self.sql.get(self.from..end).unwrap_or_default();
        let start = text.len() - text.trim_ascii_start().len();
        let len = text.trim_ascii().len();
        self.from + start..self.from + start + len
    }
}

impl<I: Iterator<Item = Token>> Iterator for Statements<'_, I> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while !self.done {
            let (mut parens, mut blocks, mut create, mut begin, mut seen) = (0usize, 0usize, false, false, false);
            let mut end = self.sql.len();
            self.done = true;
            for token in self.tokens.by_ref() {
                let punctuation = token.kind == TokenKind::Punctuation;
                let first = self.sql.get(token.start).copied().unwrap_or_default();
                if token.kind.is_trivia() || token.kind == TokenKind::Other && first == 0 {
                    continue;
                }
                if parens == 0 && blocks == 0 && punctuation && first == b';' {
                    (end, self.done) = (token.start, false);
                    break;
                }
                if !seen {
                    (create, seen) = (token.is_word(self.sql, "CREATE"), true);
                }
                if punctuation {
                    match first {
                        b'(' => parens += 1,
                        b')' => parens = parens.saturating_sub(1),
                        _ => {}
                    }
                    begin = false;
                } else if create {
                    let is = |word: &str| token.is_word(self.sql, word);
                    if begin && is("ATOMIC") || blocks > 0 && is("CASE") {
                        blocks += 1;
                    } else if blocks > 0 && is("END") {
                        blocks -= 1;
                    }
                    begin = is("BEGIN");
                }
            }
            let span = self.trimmed(end);
            self.from = if self.done { self.sql.len() } else { end + 1 };
            if seen {
                return Some(span);
            }
        }
        None
    }
}

macro_rules! objects {
    ($($name:literal),* $(,)?) => {
        /// Object type, then the three tags.
        const OBJECTS: &[(&str, [&str; 3])] = &[
            $(($name, [concat!("CREATE ", $name), concat!("ALTER ", $name), concat!("DROP ", $name)])),*
        ];
    };
}
// Longer names first where one begins with another.
objects![
    "ACCESS METHOD",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONVERSION",
    "DATABASE",
    "DEFAULT PRIVILEGES",
    "DOMAIN",
    "EVENT TRIGGER",
    "EXTENSION",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "LANGUAGE",
    "LARGE OBJECT",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "OPERATOR",
    "OWNED",
    "POLICY",
    "PROCEDURE",
    "PUBLICATION",
    "ROLE",
    "ROUTINE",
    "RULE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "SYSTEM",
    "TABLESPACE",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
];

/// First words, then the tag. Longer ones first where one begins with another.
const VERBS: &[(&str, &str)] = &[
    ("SELECT", "SELECT"),
    ("INSERT", "INSERT"),
    ("UPDATE", "UPDATE"),
    ("DELETE", "DELETE"),
    ("MERGE", "MERGE"),
    ("VALUES", "SELECT"),
    ("TABLE", "SELECT"),
    ("COPY", "COPY"),
    ("BEGIN", "BEGIN"),
    ("START TRANSACTION", "START TRANSACTION"),
    ("COMMIT PREPARED", "COMMIT PREPARED"),
    ("COMMIT", "COMMIT"),
    ("END", "COMMIT"),
    ("ROLLBACK PREPARED", "ROLLBACK PREPARED"),
    ("ROLLBACK", "ROLLBACK"),
    ("ABORT", "ROLLBACK"),
    ("SAVEPOINT", "SAVEPOINT"),
    ("RELEASE", "RELEASE"),
    ("SET CONSTRAINTS", "SET CONSTRAINTS"),
    ("SET", "SET"),
    ("RESET", "RESET"),
    ("SHOW", "SHOW"),
    ("EXPLAIN", "EXPLAIN"),
    ("PREPARE TRANSACTION", "PREPARE TRANSACTION"),
    ("PREPARE", "PREPARE"),
    ("EXECUTE", "EXECUTE"),
    ("DEALLOCATE", "DEALLOCATE"),
    ("DECLARE", "DECLARE CURSOR"),
    ("FETCH", "FETCH"),
    ("MOVE", "MOVE"),
    ("CLOSE", "CLOSE CURSOR"),
    ("LISTEN", "LISTEN"),
    ("UNLISTEN", "UNLISTEN"),
    ("NOTIFY", "NOTIFY"),
    ("VACUUM", "VACUUM"),
    ("ANALYZE", "ANALYZE"),
    ("ANALYSE", "ANALYZE"),
    ("TRUNCATE", "TRUNCATE TABLE"),
    ("LOCK", "LOCK TABLE"),
    ("GRANT", "GRANT"),
    ("REVOKE", "REVOKE"),
    ("COMMENT", "COMMENT"),
    ("SECURITY LABEL", "SECURITY LABEL"),
    ("DO", "DO"),
    ("CALL", "CALL"),
    ("CHECKPOINT", "CHECKPOINT"),
    ("CLUSTER", "CLUSTER"),
    ("DISCARD", "DISCARD"),
    ("REINDEX", "REINDEX"),
    ("REFRESH MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW"),
    ("REASSIGN OWNED", "REASSIGN OWNED"),
    ("IMPORT FOREIGN SCHEMA", "IMPORT FOREIGN SCHEMA"),
    ("LOAD", "LOAD"),
];

const MODIFIERS: &[&str] = &[
    "OR",
    "REPLACE",
    "TEMP",
    "TEMPORARY",
    "GLOBAL",
    "LOCAL",
    "UNLOGGED",
    "UNIQUE",
    "RECURSIVE",
    "TRUSTED",
    "PROCEDURAL",
    "CONSTRAINT",
];

/// Words looked at before giving up; the longest tag with every modifier is shorter.
const HEAD_WORDS: usize = 12;

/// The command tag word(s) of a statement, upper case, from a fixed list; empty when unknown.
///
/// `WITH` gives the main verb; `USER` and `GROUP` count as `ROLE`, as in the server's own tags. The result
/// is never text of the input, so it is safe in a record's head.
#[must_use]
pub fn command_kind(statement: &[u8]) -> &'static str {
    kind(statement, tokens(statement))
}

/// The same of tokens already read: those of one statement in `sql`.
#[must_use]
pub fn command_kind_of(tokens: &[Token], sql: &[u8]) -> &'static str {
    kind(sql, tokens.iter().copied())
}

fn kind(sql: &[u8], all: impl Iterator<Item = Token> + Clone) -> &'static str {
    let mut head = all.clone().filter(|token| !token.kind.is_trivia() && !token.is_symbol(sql, "("));
    let Some(first) = head.next() else { return "" };
    let verb = ["CREATE", "ALTER", "DROP"].iter().position(|verb| first.is_word(sql, verb));
    if verb.is_none() && first.is_word(sql, "WITH") {
        return main_verb(sql, all);
    }
    let (mut words, mut len) = ([first; HEAD_WORDS + 1], 1);
    for (slot, token) in words.iter_mut().skip(1).zip(head) {
        (*slot, len) = (token, len + 1);
    }
    let words = words.get(..len).unwrap_or_default();
    match verb {
        Some(verb) => object_kind(sql, words.get(1..).unwrap_or_default(), verb),
        None => VERBS.iter().find(|(name, _)| begins_with(sql, words, name)).map_or("", |(_, tag)| tag),
    }
}

fn begins_with(statement: &[u8], words: &[Token], name: &str) -> bool {
    name.split(' ').enumerate().all(|(at, word)| words.get(at).is_some_and(|token| token.is_word(statement, word)))
}

fn object_kind(statement: &[u8], rest: &[Token], verb: usize) -> &'static str {
    let modifier = |token: &&Token| MODIFIERS.iter().any(|word| token.is_word(statement, word));
    let words = rest.get(rest.iter().take_while(modifier).count()..).unwrap_or_default();
    let role = ["USER", "GROUP", "ROLE"].iter().any(|word| begins_with(statement, words, word));
    let name = if role && !begins_with(statement, words, "USER MAPPING") {
        Some("ROLE")
    } else {
        OBJECTS.iter().map(|(name, _)| *name).find(|name| begins_with(statement, words, name))
    };
    let found = OBJECTS.iter().find(|(object, _)| Some(*object) == name);
    found.and_then(|(_, tags)| tags.get(verb)).copied().unwrap_or("")
}

fn main_verb(statement: &[u8], all: impl Iterator<Item = Token>) -> &'static str {
    let mut depth = 0usize;
    for token in all {
        match token.text(statement) {
            b"(" => depth += 1,
            b")" => depth = depth.saturating_sub(1),
            _ if depth == 0 && token.kind == TokenKind::Word => {
                let verbs = VERBS.iter().take(6);
                if let Some((_, tag)) = verbs.into_iter().find(|(name, _)| token.is_word(statement, name)) {
                    return tag;
                }
            }
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(sql: &str) -> Vec<&str> {
        statements(sql.as_bytes()).map(|span| sql.get(span).unwrap()).collect()
    }

    #[test]
    fn splits_at_top_level_semicolons_only() {
        assert_eq!(split(" SELECT 1 ; -- done\n SELECT ';' ;; /* ; */ "), ["SELECT 1", "-- done\n SELECT ';'"]);
        assert_eq!(split("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3").len(), 2);
        assert_eq!(split("DO $$ BEGIN; END; $$; SELECT 1").len(), 2);
        let body = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        assert_eq!(split(&format!("{body}; SELECT 3")), [body, "SELECT 3"]);
        assert_eq!(split("BEGIN; SELECT 1; END"), ["BEGIN", "SELECT 1", "END"]);
        assert!(split(" ; -- x").is_empty());
    }

    #[test]
    fn kinds_are_the_servers_tags() {
        for (sql, kind) in [
            ("select 1", "SELECT"),
            ("(SELECT 1) UNION SELECT 2", "SELECT"),
            ("/* x */ WITH a AS (DELETE FROM t RETURNING 1) INSERT INTO u SELECT * FROM a", "INSERT"),
            ("CREATE UNIQUE INDEX i ON t (a)", "CREATE INDEX"),
            ("create or replace function f()", "CREATE FUNCTION"),
            ("ALTER USER bob PASSWORD 'x'", "ALTER ROLE"),
            ("CREATE USER MAPPING FOR bob", "CREATE USER MAPPING"),
            ("ALTER DEFAULT PRIVILEGES", "ALTER DEFAULT PRIVILEGES"),
            ("DROP TABLE IF EXISTS t", "DROP TABLE"),
            ("CREATE TEMP TABLE t ()", "CREATE TABLE"),
            ("start transaction", "START TRANSACTION"),
            ("CLOSE c", "CLOSE CURSOR"),
            ("hunter2", ""),
            ("", ""),
        ] {
            assert_eq!(command_kind(sql.as_bytes()), kind, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(sql in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut at = 0;
            for span in statements(&sql) {
                prop_assert!(span.start >= at && span.end <= sql.len());
                prop_assert!(command_kind(&sql[span.clone()]).is_ascii());
                at = span.end;
            }
        }
    }
}
