//! One pass over a text that says whether it needs to be read at all: the form for a caller that masks, most of
//! whose texts hold nothing. Nothing is kept of the tokens.

use crate::secret::is_secret_function;
use crate::token::{Options, Token, TokenKind, tokens_with};

/// What one pass says of all statements of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// A statement may be secret-bearing; false only when [`crate::secret_class`] is `None` for every one. Once it
    /// is true, the rest of the text was not read.
    pub suspect: bool,
    /// The string constant that the end of the text cuts off; of a suspect text, not known.
    pub open: Option<Token>,
}

/// Words that every statement begins with whose class follows from its kind.
const HEADS: &[&[u8]] = &[b"CREATE", b"ALTER", b"COPY", b"DO", b"COMMENT", b"SECURITY", b"SET", b"IMPORT"];

/// Reads `sql` once: every statement's first word, every word before a parenthesis, the last token. Linear time,
/// no allocation.
#[must_use]
pub fn survey(sql: &[u8], options: Options) -> Survey {
    let (mut head, mut name, mut open) = (true, None, None);
    for token in tokens_with(sql, options) {
        match token.kind {
            TokenKind::Whitespace | TokenKind::Comment => {}
            TokenKind::Word | TokenKind::Quoted => {
                if head && is_head(token.text(sql)) {
                    return Survey { suspect: true, open: None };
                }
                (head, name) = (false, Some(token));
            }
            TokenKind::Punctuation => {
                let byte = sql.get(token.start).copied().unwrap_or_default();
                if byte == b'(' && name.is_some_and(|name| is_secret_function(&name, sql)) {
                    return Survey { suspect: true, open: None };
                }
                // Wherever it stands, what follows a semicolon may be a statement; of parentheses, a statement may
                // begin with any number. More is suspected than is so, never less.
                head = byte == b';' || head && byte == b'(';
                name = None;
            }
            // A byte that is no token of the language may stand before a statement.
            TokenKind::Other => name = None,
            TokenKind::String { terminated: false, .. } => open = Some(token),
            TokenKind::String { .. } | TokenKind::Number | TokenKind::Parameter | TokenKind::Operator => {
                (head, name) = (false, None);
            }
        }
    }
    Survey { suspect: false, open }
}

fn is_head(word: &[u8]) -> bool {
    let letter = word.first().map(u8::to_ascii_uppercase);
    matches!(letter, Some(b'A' | b'C' | b'D' | b'I' | b'S'))
        && matches!(word.len(), 2..=8)
        && HEADS.iter().any(|head| word.eq_ignore_ascii_case(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lex, secret_class, statements};
    use proptest::prelude::*;

    #[test]
    fn plain_statements_are_not_suspect() {
        for (sql, suspect) in [
            ("SELECT count(*) FROM t WHERE id IN (1, 2); INSERT INTO t VALUES ('x')", false),
            ("SELECT 1; SET a.b = 'x'", true),
            ("((SELECT crypt ('a', b)))", true),
            ("WITH a AS (SELECT \"digest\" /* c */ ('x')) SELECT 1", true),
            ("SELECT 'set', crypt FROM created", false),
            ("\0alter user x password 'y'", true),
        ] {
            assert_eq!(survey(sql.as_bytes(), Options::default()).suspect, suspect, "{sql}");
        }
        let text = b"SELECT 1; SELECT 'cut";
        assert_eq!(survey(text, Options::default()).open.unwrap().text(text), b"'cut");
    }

    proptest! {
        /// A text that is not suspect has no class, and its open constant is its last token.
        #[test]
        fn nothing_is_missed(
            words in proptest::collection::vec(
                prop::sample::select(vec![
                    "SELECT", "WITH", "CREATE", "USER", "BEGIN ATOMIC", "END", "t", "\"crypt\"", "(", ")", ",", ";",
                    "'x'", "'", "E'\\'", "$a$", "=", "-- c\n", "/* */", "SET", "a.b", "PASSWORD", "crypt", "DO",
                    "INSERT INTO", "pgp_sym_x", "set_config", "COPY", "PROGRAM", "\0", "\u{1}", "+", "1", "$1",
                ]),
                0..12,
            ),
        ) {
            let text = words.join(" ");
            let sql = text.as_bytes();
            let seen = survey(sql, Options::default());
            let classes = statements(sql).any(|span| secret_class(&sql[span]).is_some());
            prop_assert!(seen.suspect || !classes, "{}", text);
            let mut tokens = Vec::new();
            lex(sql, Options::default(), &mut tokens);
            let open = |token: &Token| matches!(token.kind, TokenKind::String { terminated: false, .. });
            prop_assert!(seen.suspect || seen.open == tokens.last().copied().filter(open));
        }
    }
}
