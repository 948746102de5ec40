//! What `observe` asks of SQL text: where statements end, their kind. The one place that reads SQL.
//!
//! Best effort by design: a statement misread costs a name or a span in the facts, never a message.

use std::ops::Range;

/// Most statements told apart in one Query; what follows is one statement.
pub const STATEMENTS_MAX: usize = 1024;

/// What is known of one statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Command tag word; empty unknown.
    pub kind: &'static str,
    /// Relations named.
    pub relations: Vec<String>,
    /// Column or argument each parameter is for; empty when unknown.
    pub parameters: Vec<String>,
}

/// Spans of the statements in `text`, split at semicolons outside quotes, comments and parentheses.
#[must_use]
pub fn split(text: &[u8]) -> Vec<Range<usize>> {
    let (mut spans, mut at, mut start, mut depth) = (Vec::new(), 0, None, 0usize);
    while let Some(byte) = text.get(at) {
        let end = token_end(text, at);
        match byte {
            b';' if depth == 0 && spans.len() + 1 < STATEMENTS_MAX => {
                spans.extend(start.take().map(|from| from..at));
            }
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let trivia = byte.is_ascii_whitespace() || *byte == b';' || is_comment(text, at);
        if !trivia && start.is_none() {
            start = Some(at);
        }
        at = end;
    }
    spans.extend(start.map(|from| from..text.len()));
    spans
}

fn is_comment(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..at.saturating_add(2)), Some(b"--" | b"/*"))
}

/// End of the token at `at`; always past `at`.
fn token_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let found = match rest {
        [b'-', b'-', ..] => memchr::memchr(b'\n', rest).map(|end| end + 1),
        [b'/', b'*', ..] => comment_end(rest),
        [quote @ (b'\'' | b'"'), body @ ..] => {
            let escapes =
                *quote == b'\'' && at.checked_sub(1).and_then(|i| text.get(i)).is_some_and(|e| e | 32 == b'e');
            quoted_end(body, *quote, escapes)
        }
        [b'$', ..] => dollar_end(rest),
        _ => Some(1),
    };
    found.map_or(text.len(), |len| at + len)
}

fn comment_end(rest: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0);
    loop {
        match rest.get(at..at + 2)? {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

fn quoted_end(body: &[u8], quote: u8, escapes: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        let byte = *body.get(at)?;
        if escapes && byte == b'\\' {
            at += 1;
        } else if byte == quote {
            return Some(at + 2);
        }
        at += 1;
    }
}

/// End of a dollar-quoted string, or of the lone dollar.
fn dollar_end(rest: &[u8]) -> Option<usize> {
    let body = rest.get(1..)?;
    let Some(len) = body.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80)) else {
        return Some(rest.len());
    };
    if body.get(len) != Some(&b'$') || body.first().is_some_and(u8::is_ascii_digit) {
        return Some(1);
    }
    let tag = rest.get(..len + 2)?;
    memchr::memmem::find(rest.get(len + 2..)?, tag).map(|at| len + 2 + at + len + 2)
}

/// The first words a statement may start with.
const KINDS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "WITH",
    "VALUES",
    "TABLE",
    "COPY",
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "GRANT",
    "REVOKE",
    "SET",
    "RESET",
    "SHOW",
    "EXPLAIN",
    "ANALYZE",
    "VACUUM",
    "CALL",
    "DO",
    "EXECUTE",
    "PREPARE",
    "DEALLOCATE",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "LISTEN",
    "NOTIFY",
    "UNLISTEN",
    "LOCK",
    "COMMENT",
    "SECURITY",
    "REFRESH",
    "REINDEX",
    "CLUSTER",
    "DISCARD",
    "CHECKPOINT",
    "LOAD",
    "IMPORT",
    "REASSIGN",
];

/// What is known of one statement. Relations and parameter names stay empty until they can be read well.
#[must_use]
pub fn summarize(statement: &[u8]) -> Summary {
    let mut at = 0;
    while statement.get(at).is_some_and(|b| b.is_ascii_whitespace() || *b == b'(' || is_comment(statement, at)) {
        at = token_end(statement, at);
    }
    let rest = statement.get(at..).unwrap_or_default();
    let len = rest.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(rest.len());
    let word = rest.get(..len).unwrap_or_default();
    Summary { kind: kind(word), ..Summary::default() }
}

/// The known kind that `tag` starts with; empty when there is none.
#[must_use]
pub fn kind(tag: &[u8]) -> &'static str {
    let word = tag.split(|byte| *byte == b' ').next().unwrap_or_default();
    if word == b"FUNCTION" {
        return "FUNCTION";
    }
    KINDS.iter().find(|kind| kind.as_bytes().eq_ignore_ascii_case(word)).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statements_split_outside_quotes_and_comments() {
        let text = b"select ';' ; -- ;\n /* ; /* */ */ insert into t values ($x$;$x$, E'\\';', \";\"); ;";
        let found: Vec<_> = split(text).into_iter().map(|span| summarize(&text[span]).kind).collect();
        assert_eq!(found, ["SELECT", "INSERT"]);
        assert_eq!(summarize(b"/* x */ (select 1)").kind, "SELECT");
        assert!(split(b" -- nothing").is_empty());
    }

    proptest! {
        #[test]
        fn spans_are_in_order_and_inside(text in prop::collection::vec(prop::sample::select(b"a';$*/-\"( \n".to_vec()), 0..60)) {
            let mut end = 0;
            for span in split(&text) {
                prop_assert!(span.start >= end && span.end <= text.len() && span.start < span.end);
                end = span.end;
                prop_assert!(summarize(&text[span]).relations.is_empty());
            }
        }
    }
}
