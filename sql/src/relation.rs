//! The relations a statement names, best effort.

use crate::token::{Token, TokenKind, identifier_text, tokens};

/// Names given for one statement.
pub const RELATIONS_MAX: usize = 64;
/// Longest name given, bytes; longer ones are left out (the server cuts each part at 63).
pub const RELATION_BYTES_MAX: usize = 260;

/// Words after which a relation, or a list of them, may stand.
const BEFORE: &[&str] = &["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "COPY", "USING", "VIEW", "REFERENCES", "TRUNCATE"];
/// Words between those and the name.
const SKIPPED: &[&str] = &["ONLY", "LATERAL", "IF", "NOT", "EXISTS", "CONCURRENTLY", "TABLE"];
/// Words that stand where a name could and are none.
const NOT_NAMES: &[&str] = &["SELECT", "VALUES", "SET", "WITH", "OF", "NOWAIT", "SKIP", "STDIN", "STDOUT", "PROGRAM"];
/// Functions whose argument syntax holds `FROM`.
const FROM_FUNCTIONS: &[&str] = &["EXTRACT", "SUBSTRING", "TRIM", "OVERLAY", "POSITION"];
/// Parentheses followed.
const NESTING_MAX: usize = 1024;

fn one_of(token: &Token, sql: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| token.is_word(sql, word))
}

fn is_name(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::Quoted)
}

/// Names after `FROM`, `JOIN`, `INTO`, `UPDATE`, `TABLE`, `COPY` and the like, in the order first seen,
/// schema-qualified where the statement says so; names of `WITH` queries and calls left out. At most
/// [`RELATIONS_MAX`].
#[must_use]
pub fn relations(statement: &[u8]) -> Vec<String> {
    named(statement, tokens(statement))
}

/// The same of tokens already read: those of one statement in `statement`.
#[must_use]
pub fn relations_of(tokens: &[Token], statement: &[u8]) -> Vec<String> {
    named(statement, tokens.iter().copied())
}

fn named(statement: &[u8], all: impl Iterator<Item = Token>) -> Vec<String> {
    let significant: Vec<Token> = all.filter(|token| !token.kind.is_trivia()).collect();
    let common = common_names(statement, &significant);
    let mut names: Vec<String> = Vec::new();
    let mut functions: Vec<bool> = Vec::new();
    let index = significant.first().is_some_and(|token| token.is_word(statement, "CREATE"))
        && significant.iter().take(4).any(|token| one_of(token, statement, &["INDEX", "TRIGGER", "POLICY", "RULE"]));
    for (at, token) in significant.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| significant.get(at));
        let before_is = |words: &[&str]| before.is_some_and(|token| one_of(token, statement, words));
        match token.text(statement) {
            b"(" if functions.len() < NESTING_MAX => functions.push(before_is(FROM_FUNCTIONS)),
            b")" => drop(functions.pop()),
            _ => {}
        }
        let starts = one_of(token, statement, BEFORE) || index && token.is_word(statement, "ON");
        let is_from = token.is_word(statement, "FROM");
        let inside_function = is_from && functions.last() == Some(&true);
        let other_sense = is_from && before_is(&["DISTINCT"])
            || token.is_word(statement, "UPDATE") && before_is(&["FOR", "KEY", "ON", "DO", "OR", "BEFORE", "AFTER"]);
        if starts && !inside_function && !other_sense {
            list(statement, &significant, at + 1, token, &mut |name| {
                if names.len() < RELATIONS_MAX && !names.contains(&name) && !common.contains(&name) {
                    names.push(name);
                }
            });
        }
        if names.len() >= RELATIONS_MAX {
            break;
        }
    }
    names
}

/// Names of `WITH` queries: `name AS (`, `name AS [NOT] MATERIALIZED (`. At most [`RELATIONS_MAX`].
fn common_names(sql: &[u8], significant: &[Token]) -> Vec<String> {
    if !significant.iter().any(|token| token.is_word(sql, "WITH")) {
        return Vec::new();
    }
    let named = significant.windows(3).filter_map(|window| match window {
        [name, with, open]
            if is_name(name)
                && with.is_word(sql, "AS")
                && (open.is_symbol(sql, "(") || one_of(open, sql, &["NOT", "MATERIALIZED"])) =>
        {
            Some(identifier_text(name.text(sql)))
        }
        _ => None,
    });
    named.take(RELATIONS_MAX).collect()
}

/// Reads the names at `at`: one, or a comma list after `FROM`, `TABLE`, `TRUNCATE` and `USING`.
fn list(sql: &[u8], significant: &[Token], mut at: usize, keyword: &Token, push: &mut impl FnMut(String)) {
    let calls = one_of(keyword, sql, &["FROM", "JOIN", "USING"]);
    let many = one_of(keyword, sql, &["FROM", "TABLE", "TRUNCATE", "USING", "VIEW"]);
    for _ in 0..RELATIONS_MAX {
        while significant.get(at).is_some_and(|token| one_of(token, sql, SKIPPED)) {
            at += 1;
        }
        let mut name = String::new();
        while let Some(token) = significant.get(at).filter(|token| is_name(token)) {
            if name.is_empty() && one_of(token, sql, NOT_NAMES) {
                return;
            }
            name.push_str(&identifier_text(token.text(sql)));
            at += 1;
            if name.len() > RELATION_BYTES_MAX || !significant.get(at).is_some_and(|token| token.is_symbol(sql, ".")) {
                break;
            }
            name.push('.');
            at += 1;
        }
        let call = calls && significant.get(at).is_some_and(|token| token.is_symbol(sql, "("));
        if !name.is_empty() && !call && name.len() <= RELATION_BYTES_MAX {
            push(name);
        }
        if call || !many {
            return;
        }
        // An alias may stand before the comma.
        let comma = (at..at + 3).find(|&at| significant.get(at).is_some_and(|token| token.is_symbol(sql, ",")));
        let alias = |at: usize| significant.get(at).is_some_and(is_name);
        match comma {
            Some(comma) if (at..comma).all(alias) => at = comma + 1,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_what_a_statement_reads_and_writes() {
        let cases: [(&str, &[&str]); 13] = [
            ("SELECT * FROM a, s.b AS x, \"C\" y JOIN d ON true", &["a", "s.b", "C", "d"]),
            ("WITH w AS (SELECT 1 FROM t) SELECT * FROM w, u", &["t", "u"]),
            ("INSERT INTO public.t (a) VALUES (1)", &["public.t"]),
            ("UPDATE ONLY t SET a = 1 FROM u", &["t", "u"]),
            ("DELETE FROM t USING u WHERE true", &["t", "u"]),
            ("COPY s.t (a) FROM STDIN", &["s.t"]),
            ("TRUNCATE TABLE a, b", &["a", "b"]),
            ("CREATE TABLE IF NOT EXISTS t (a int REFERENCES r (id))", &["t", "r"]),
            ("CREATE UNIQUE INDEX i ON t (a)", &["t"]),
            ("SELECT extract(day FROM x), a IS DISTINCT FROM b FROM t FOR UPDATE", &["t"]),
            ("SELECT * FROM generate_series(1, 2)", &[]),
            ("SELECT * FROM a JOIN b USING (id)", &["a", "b"]),
            ("SELECT * FROM (SELECT 1 FROM t) q", &["t"]),
        ];
        for (sql, expected) in cases {
            assert_eq!(relations(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn bounded() {
        let many: Vec<String> = (0..500).map(|at| format!("t{at}")).collect();
        assert_eq!(relations(format!("SELECT 1 FROM {}", many.join(",")).as_bytes()).len(), RELATIONS_MAX);
        assert!(relations(format!("SELECT 1 FROM {}", "x".repeat(1000)).as_bytes()).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(sql in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(relations(&sql).len() <= RELATIONS_MAX);
        }
    }
}
