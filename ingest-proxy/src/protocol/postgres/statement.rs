//! What `observe` asks of SQL text, over the crate `sql`: where statements end, their kind, relations, parameter
//! names, and the shape of COPY data. Computed once per Parse and once per Query, kept with the statement.
//!
//! Best effort by design: a statement misread costs a name or a span in the facts, never a message (I-12).

mod copy;

use std::ops::Range;

pub use copy::{COPY_COLUMNS_MAX, CopyFormat, CopyShape};

/// Most statements told apart in one Query; what follows is one statement.
pub const STATEMENTS_MAX: usize = 1024;

/// What is known of one statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Command tag word(s), such as SELECT or CREATE TABLE; empty unknown.
    pub kind: &'static str,
    /// Relations named, in the order first seen; at most [`sql::RELATIONS_MAX`].
    pub relations: Vec<String>,
    /// Number (from 1) and the column or argument it is for, of each parameter that has such a name; ascending.
    pub parameters: Vec<(u16, String)>,
    /// Data format and columns of a COPY; none for any other statement.
    pub copy: Option<CopyShape>,
}

impl Summary {
    /// Name of the parameter at `index`, from 0 as in a Bind; empty when unknown.
    #[must_use]
    pub fn parameter(&self, index: usize) -> &str {
        let find = |number| self.parameters.binary_search_by_key(&number, |(number, _)| *number).ok();
        let at = u16::try_from(index.saturating_add(1)).ok().and_then(find);
        at.and_then(|at| self.parameters.get(at)).map_or("", |(_, name)| name)
    }

    /// Bytes of memory it counts for.
    #[must_use]
    pub fn held(&self) -> usize {
        let names = self.relations.iter().chain(self.parameters.iter().map(|(_, name)| name));
        let columns = self.copy.iter().flat_map(|copy| copy.columns.iter());
        names.chain(columns).map(|name| name.len() + size_of::<String>() + 8).sum()
    }
}

/// Spans of the statements in `text`, split at top-level semicolons; at most [`STATEMENTS_MAX`].
#[must_use]
pub fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = sql::statements(text);
    let mut spans: Vec<_> = found.by_ref().take(STATEMENTS_MAX - 1).collect();
    spans.extend(found.next().map(|next| {
        let end = if found.next().is_some() { text.len() } else { next.end };
        next.start..end
    }));
    spans
}

/// What is known of one statement.
#[must_use]
pub fn summarize(statement: &[u8]) -> Summary {
    let kind = sql::command_kind(statement);
    let relations = match kind {
        // They name none, and are half of all statements.
        "BEGIN" | "COMMIT" | "ROLLBACK" | "START TRANSACTION" | "SET" | "SHOW" | "SAVEPOINT" | "RELEASE" => Vec::new(),
        _ => sql::relations(statement),
    };
    // Without a dollar there is no parameter.
    let parameters = match memchr::memchr(b'$', statement) {
        Some(_) => sql::parameter_names(statement),
        None => Vec::new(),
    };
    let copy = (kind == "COPY").then(|| copy::read(statement));
    Summary { kind, relations, parameters, copy }
}

/// The known kind of a CommandComplete's tag; empty when there is none.
#[must_use]
pub fn kind(tag: &[u8]) -> &'static str {
    match tag {
        b"SELECT" => "SELECT",
        b"INSERT" => "INSERT",
        b"UPDATE" => "UPDATE",
        b"DELETE" => "DELETE",
        b"BEGIN" => "BEGIN",
        b"COMMIT" => "COMMIT",
        b"ROLLBACK" => "ROLLBACK",
        b"COPY" => "COPY",
        b"FUNCTION" => "FUNCTION",
        b"" => "",
        other => sql::command_kind(other),
    }
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

    #[test]
    fn what_passes_the_statement_limit_is_one_statement() {
        let text = "select 1;".repeat(STATEMENTS_MAX + 5);
        let spans = split(text.as_bytes());
        assert_eq!((spans.len(), spans.last().unwrap().end), (STATEMENTS_MAX, text.len()));
        assert_eq!(split("select 1;".repeat(STATEMENTS_MAX).as_bytes()).last().unwrap().len(), 8);
    }

    #[test]
    fn relations_and_parameters_are_named() {
        let found = summarize(b"update s.t set name = $2 where id = $1");
        assert_eq!((found.kind, found.relations.as_slice()), ("UPDATE", &["s.t".to_owned()][..]));
        assert_eq!([0, 1, 2, 65_535, usize::MAX].map(|index| found.parameter(index)), ["id", "name", "", "", ""]);
        assert!(found.held() > 9);
    }

    #[test]
    fn kinds_of_tags_are_the_servers_words() {
        for tag in ["SELECT", "CREATE TABLE", "START TRANSACTION", "FUNCTION", "COPY", "DROP ROLE", ""] {
            assert_eq!(kind(tag.as_bytes()), tag);
        }
        assert_eq!(kind(b"hunter2"), "");
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
