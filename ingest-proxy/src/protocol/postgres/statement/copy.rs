//! The shape of COPY data, from the statement: the wire says only binary or not, and never a column's name.
//!
//! Source: PostgreSQL documentation, "COPY", the current syntax and the one before 9.0.

use sql::{Token, TokenKind, identifier_text, tokens};

/// Most column names kept; a PostgreSQL table has at most 1600 columns.
pub const COPY_COLUMNS_MAX: usize = 1664;

/// Format of COPY data that a statement asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyFormat {
    /// `text`, also when nothing is asked for.
    #[default]
    Text,
    /// `csv`.
    Csv,
    /// `binary`.
    Binary,
}

/// What a COPY statement says of its data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyShape {
    /// Format asked for.
    pub format: CopyFormat,
    /// Names in its column list, in order; empty without a list.
    pub columns: Vec<String>,
}

impl CopyShape {
    /// Name of the column at `index` of `count`; empty when the statement does not list that many.
    #[must_use]
    pub fn column(&self, index: usize, count: usize) -> &str {
        if self.columns.len() == count { self.columns.get(index).map_or("", String::as_str) } else { "" }
    }

    /// `text`, `csv` or `binary` for data that the server announced as binary, or not.
    #[must_use]
    pub fn word(&self, binary: bool) -> &'static str {
        match (binary, self.format) {
            (true, _) => "binary",
            (false, CopyFormat::Csv) => "csv",
            (false, _) => "text",
        }
    }
}

/// Reads a COPY statement. One pass; what cannot be read keeps its default.
pub(super) fn read(statement: &[u8]) -> CopyShape {
    let mut reader = Reader { statement, shape: CopyShape::default(), depth: 0, place: Place::Verb, name: true };
    let mut significant = tokens(statement).filter(|token| !token.kind.is_trivia()).peekable();
    while let Some(token) = significant.next() {
        if !reader.token(&token, significant.peek()) {
            break;
        }
    }
    if reader.shape.columns.len() > COPY_COLUMNS_MAX {
        reader.shape.columns.clear();
    }
    reader.shape
}

/// Where in the statement the reader is.
#[derive(PartialEq)]
enum Place {
    /// Before or at `COPY`.
    Verb,
    /// Where a table name or a query stands.
    Source,
    /// After the table's name: its columns, until `FROM` or `TO`.
    Table,
    /// Right after it: `STDIN`, a file name, `PROGRAM`.
    Target,
    /// After that.
    Options,
}

struct Reader<'a> {
    statement: &'a [u8],
    shape: CopyShape,
    depth: usize,
    place: Place,
    /// A column name may follow.
    name: bool,
}

impl Reader<'_> {
    /// Takes a token; false at the end of what matters.
    fn token(&mut self, token: &Token, next: Option<&Token>) -> bool {
        let is = |word: &str| token.is_word(self.statement, word);
        match token.text(self.statement) {
            b"(" => {
                self.depth += 1;
                self.name = true;
                return true;
            }
            b")" => {
                self.depth = self.depth.saturating_sub(1);
                return true;
            }
            _ => {}
        }
        match (&self.place, self.depth) {
            (Place::Verb, 0) => self.place = Place::Source,
            (Place::Source | Place::Table, 0) if is("FROM") || is("TO") => self.place = Place::Target,
            (Place::Source, 0) if is("BINARY") => self.shape.format = CopyFormat::Binary,
            (Place::Source, 0) => self.place = Place::Table,
            (Place::Table, 1) => self.column(token),
            (Place::Target, 0) if !is("PROGRAM") => self.place = Place::Options,
            (Place::Options, 0) if is("WHERE") => return false,
            (Place::Options, 0) if is("CSV") => self.shape.format = CopyFormat::Csv,
            (Place::Options, 0) if is("BINARY") => self.shape.format = CopyFormat::Binary,
            (Place::Options, 1) if self.name && is("FORMAT") => {
                if let Some(word) = next {
                    self.shape.format = self.format(word);
                }
                self.name = false;
            }
            (Place::Options, 1) => self.name = token.is_symbol(self.statement, ","),
            _ => {}
        }
        true
    }

    /// A name of the column list, or the comma after one.
    fn column(&mut self, token: &Token) {
        if token.is_symbol(self.statement, ",") {
            self.name = true;
        } else if self.name && matches!(token.kind, TokenKind::Word | TokenKind::Quoted) {
            self.name = false;
            // One beyond the limit is kept, to tell that there are too many.
            if self.shape.columns.len() <= COPY_COLUMNS_MAX {
                self.shape.columns.push(identifier_text(token.text(self.statement)));
            }
        }
    }

    fn format(&self, token: &Token) -> CopyFormat {
        let text = match token.kind {
            TokenKind::String { .. } => self.statement.get(token.body(self.statement)).unwrap_or_default(),
            _ => token.text(self.statement),
        };
        match identifier_text(text).as_str() {
            "csv" => CopyFormat::Csv,
            "binary" => CopyFormat::Binary,
            _ => CopyFormat::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formats_and_columns_of_both_syntaxes() {
        use CopyFormat::{Binary, Csv, Text};
        let cases: &[(&str, CopyFormat, &[&str])] = &[
            ("COPY t FROM STDIN", Text, &[]),
            ("copy s.t (a, \"B c\") from stdin with (format csv, header)", Csv, &["a", "B c"]),
            ("COPY t TO STDOUT (DELIMITER ',', FORMAT 'CSV')", Csv, &[]),
            ("COPY t (a) TO STDOUT WITH (FORMAT \"binary\")", Binary, &["a"]),
            ("COPY t TO STDOUT WITH (HEADER, FORMAT text)", Text, &[]),
            ("COPY BINARY t FROM STDIN", Binary, &[]),
            ("COPY t FROM STDIN BINARY", Binary, &[]),
            ("COPY t (a, b) FROM STDIN WITH CSV HEADER QUOTE AS '!'", Csv, &["a", "b"]),
            ("COPY t FROM 'csv' WITH DELIMITER ','", Text, &[]),
            ("COPY t FROM PROGRAM 'csv' (FORMAT csv)", Csv, &[]),
            ("COPY (SELECT a, b FROM t WHERE format = 'csv') TO STDOUT", Text, &[]),
            ("COPY (SELECT (a), b FROM t) TO STDOUT /* x */ (format -- csv\n csv)", Csv, &[]),
            ("COPY t (a) FROM STDIN (FORCE_NULL (csv, format)) WHERE csv", Text, &["a"]),
            ("COPY copy (\"from\") FROM STDIN", Text, &["from"]),
            ("COPY csv FROM STDIN", Text, &[]),
            ("COPY", Text, &[]),
        ];
        for (text, format, columns) in cases {
            let found = read(text.as_bytes());
            assert_eq!(
                (found.format, found.columns.as_slice()),
                (*format, &columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn columns_count_only_when_the_list_is_whole() {
        let shape = read(b"copy t (a, b) to stdout csv");
        assert_eq!((shape.column(1, 2), shape.column(1, 3), shape.column(2, 2)), ("b", "", ""));
        assert_eq!((shape.word(false), shape.word(true)), ("csv", "binary"));
        let many = format!("copy t ({}) from stdin", vec!["c"; COPY_COLUMNS_MAX + 9].join(","));
        assert!(read(many.as_bytes()).columns.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..200), tail in "[a-z(), \"']{0,60}") {
            let text = [b"copy ", text.as_slice(), tail.as_bytes()].concat();
            prop_assert!(read(&text).columns.len() <= COPY_COLUMNS_MAX);
        }
    }
}
