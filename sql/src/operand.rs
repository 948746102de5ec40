//! Which column or argument a literal or a parameter is for, read off the tokens around it.
//!
//! One forward pass with a small state per parenthesis. A wrong guess costs a name; nothing else follows.

use crate::token::{Token, TokenKind, identifier_text, tokens};
use std::ops::Range;
use std::rc::Rc;

/// Parentheses followed; deeper ones are counted, and what is inside gets no name.
pub const NESTING_MAX: usize = 1024;
/// Names kept of one column list; a PostgreSQL table has at most 1600 columns.
const LIST_MAX: usize = 1664;
/// Unnamed operands that a later column may still name (`$1 = col`).
const WAITING_MAX: usize = 8;

/// What kind of operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandKind {
    /// A string constant.
    String,
    /// A numeric constant.
    Number,
    /// Parameter `$n`; 0 when the number does not fit.
    Parameter(u16),
}

/// A literal or parameter and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// The token.
    pub token: Token,
    /// What kind.
    pub kind: OperandKind,
    /// Span of the identifier that names its column, argument or option.
    pub name: Option<Range<usize>>,
    /// Span of the name of the innermost function it is an argument of.
    pub function: Option<Range<usize>>,
}

impl Operand {
    /// The name as an identifier; empty when unknown.
    #[must_use]
    pub fn name_text(&self, sql: &[u8]) -> String {
        self.name.clone().and_then(|span| sql.get(span)).map(identifier_text).unwrap_or_default()
    }
}

type Span = Option<Range<usize>>;

/// State of the expression being read at one depth of parentheses.
#[derive(Debug, Default)]
struct Level {
    /// Last identifier of the expression.
    subject: Span,
    /// Name in force for operands, set by an operator.
    pending: Span,
    /// Name inherited from outside.
    base: Span,
    /// Names by position.
    columns: Rc<Vec<Range<usize>>>,
    /// Position in a comma list.
    index: usize,
    /// Function whose arguments these are.
    function: Span,
    /// Identifiers seen as list items: the columns of `(a, b) = (..)` or `INSERT INTO t (a, b)`.
    list: Vec<Range<usize>>,
    /// Operands without a name so far.
    waiting: Vec<usize>,
    /// True between `BETWEEN` and its `AND`.
    between: bool,
    /// True after `INSERT INTO` until `VALUES` or `SELECT`.
    insert: bool,
}

impl Level {
    fn name(&self) -> Span {
        let positional = || self.columns.get(self.index).cloned();
        self.pending.clone().or_else(positional).or_else(|| self.base.clone())
    }

    fn end_expression(&mut self) {
        (self.subject, self.pending, self.between) = (None, None, false);
        self.waiting.clear();
    }
}

/// Words that end an expression.
const ENDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "SET",
    "VALUES",
    "AND",
    "OR",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CASE",
    "ON",
    "USING",
    "JOIN",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "RETURNING",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "INTO",
    "INSERT",
    "UPDATE",
    "DELETE",
    "WITH",
    "OPTIONS",
];
/// Words that act as an operator between a column and an operand.
const OPERATORS: &[&str] = &["LIKE", "ILIKE", "IN", "SIMILAR", "BETWEEN", "TO", "IS", "DEFAULT", "FROM"];
/// Words that neither name nor end.
const NEUTRAL: &[&str] =
    &["NOT", "ANY", "ALL", "SOME", "ROW", "NULL", "TRUE", "FALSE", "BY", "DISTINCT", "ARRAY", "ESCAPE", "SYMMETRIC"];

fn one_of(token: &Token, sql: &[u8], words: &[&str]) -> bool {
    // No word of the lists is longer than nine bytes or shorter than two.
    token.kind == TokenKind::Word
        && matches!(token.end - token.start, 2..=9)
        && words.iter().any(|word| token.is_word(sql, word))
}

struct Reader<'a> {
    sql: &'a [u8],
    levels: Vec<Level>,
    too_deep: usize,
    found: Vec<Operand>,
    previous: Option<Token>,
    /// The list closed last, for `(a, b) = (..)`.
    closed: Vec<Range<usize>>,
    /// A `::` was read; the type name after it is no subject.
    cast: bool,
    /// Columns of the `INSERT` being read.
    insert_columns: Rc<Vec<Range<usize>>>,
    alias: bool,
}

/// Every literal and parameter of `sql` with the name it is for, in order. Linear time.
#[must_use]
pub fn operands(sql: &[u8]) -> Vec<Operand> {
    read(sql, tokens(sql))
}

/// The same of tokens already read: those of `sql`, in order.
#[must_use]
pub fn operands_of(tokens: &[Token], sql: &[u8]) -> Vec<Operand> {
    read(sql, tokens.iter().copied())
}

fn read(sql: &[u8], all: impl Iterator<Item = Token>) -> Vec<Operand> {
    let mut reader = Reader {
        sql,
        levels: vec![Level::default()],
        too_deep: 0,
        found: Vec::new(),
        previous: None,
        closed: Vec::new(),
        cast: false,
        insert_columns: Rc::default(),
        alias: false,
    };
    for token in all.filter(|token| !token.kind.is_trivia()) {
        reader.read(token);
        reader.previous = Some(token);
    }
    reader.found
}

/// Number and name of every named parameter, ascending; the first name found for a number counts.
#[must_use]
pub fn parameter_names(statement: &[u8]) -> Vec<(u16, String)> {
    numbered(statement, &operands(statement))
}

/// The same of tokens already read: those of one statement in `statement`.
#[must_use]
pub fn parameter_names_of(tokens: &[Token], statement: &[u8]) -> Vec<(u16, String)> {
    numbered(statement, &operands_of(tokens, statement))
}

fn numbered(statement: &[u8], operands: &[Operand]) -> Vec<(u16, String)> {
    let mut names = std::collections::BTreeMap::new();
    for operand in operands {
        if let OperandKind::Parameter(number @ 1..) = operand.kind {
            let name = operand.name_text(statement);
            if !name.is_empty() {
                names.entry(number).or_insert(name);
            }
        }
    }
    names.into_iter().collect()
}

impl Reader<'_> {
    fn after(&self, word: &str) -> bool {
        self.previous.is_some_and(|token| token.is_word(self.sql, word))
    }

    fn read(&mut self, token: Token) {
        let cast = std::mem::take(&mut self.cast);
        match token.kind {
            TokenKind::Punctuation => self.punctuation(token),
            _ if self.too_deep > 0 => self.plain_operand(token),
            TokenKind::Operator if token.is_symbol(self.sql, "::") => self.cast = true,
            TokenKind::Operator => self.operator(),
            TokenKind::Word | TokenKind::Quoted if cast => {}
            TokenKind::Word => self.word(token),
            TokenKind::Quoted => self.identifier(token),
            TokenKind::String { .. } | TokenKind::Number | TokenKind::Parameter => self.operand(token),
            _ => {}
        }
    }

    fn kind(&self, token: Token) -> Option<OperandKind> {
        match token.kind {
            TokenKind::String { .. } => Some(OperandKind::String),
            TokenKind::Number => Some(OperandKind::Number),
            TokenKind::Parameter => {
                let digits = token.text(self.sql).get(1..).and_then(|text| std::str::from_utf8(text).ok());
                Some(OperandKind::Parameter(digits.and_then(|text| text.parse().ok()).unwrap_or(0)))
            }
            _ => None,
        }
    }

    fn plain_operand(&mut self, token: Token) {
        if let Some(kind) = self.kind(token) {
            self.found.push(Operand { token, kind, name: None, function: None });
        }
    }

    fn operand(&mut self, token: Token) {
        let Some(kind) = self.kind(token) else { return };
        let at = self.found.len();
        let previous = self.previous;
        let sql = self.sql;
        let Some(level) = self.levels.last_mut() else { return };
        // `PASSWORD 'x'`, `interval '1 day'`, `OPTIONS (password 'x')`: the word right before names it.
        let label = previous.filter(|before| {
            (before.kind == TokenKind::Word && !one_of(before, sql, ENDS) && !one_of(before, sql, NEUTRAL))
                && !one_of(before, sql, OPERATORS)
                && !before.is_word(sql, "AS")
                || before.kind == TokenKind::Quoted
        });
        let name = level.name().or_else(|| label.map(|before| before.span()));
        if name.is_none() && level.waiting.len() < WAITING_MAX {
            level.waiting.push(at);
        }
        let function = level.function.clone();
        self.found.push(Operand { token, kind, name, function });
    }

    fn operator(&mut self) {
        if let Some(level) = self.levels.last_mut()
            && let Some(subject) = level.subject.take()
        {
            level.pending = Some(subject);
        }
    }

    fn word(&mut self, token: Token) {
        let sql = self.sql;
        if token.is_word(sql, "AS") {
            self.alias = true;
            return;
        }
        if token.is_word(sql, "INTO") && self.after("INSERT") {
            self.insert_columns = Rc::default();
            if let Some(level) = self.levels.last_mut() {
                level.end_expression();
                level.insert = true;
            }
            return;
        }
        let insert_columns = &self.insert_columns;
        let Some(level) = self.levels.last_mut() else { return };
        if token.is_word(sql, "AND") && level.between {
            level.between = false;
        } else if one_of(&token, sql, OPERATORS) && level.subject.is_some() {
            level.between = token.is_word(sql, "BETWEEN");
            level.pending = level.subject.take();
        } else if one_of(&token, sql, ENDS) {
            level.end_expression();
            if level.insert && token.is_word(sql, "SELECT") {
                (level.columns, level.index, level.insert) = (Rc::clone(insert_columns), 0, false);
            } else if token.is_word(sql, "FROM") || token.is_word(sql, "ON") || token.is_word(sql, "RETURNING") {
                level.columns = Rc::default();
            }
        } else if !one_of(&token, sql, NEUTRAL) && !one_of(&token, sql, OPERATORS) {
            self.identifier(token);
        }
    }

    fn identifier(&mut self, token: Token) {
        let after_operator = self.previous.is_some_and(|before| before.kind == TokenKind::Operator);
        let alias = std::mem::take(&mut self.alias);
        let Some(level) = self.levels.last_mut() else { return };
        if after_operator || alias {
            // `$1 = col`, `'x' AS col`.
            for at in level.waiting.drain(..) {
                if let Some(operand) = self.found.get_mut(at) {
                    operand.name.get_or_insert(token.span());
                }
            }
        }
        level.subject = Some(token.span());
    }

    fn punctuation(&mut self, token: Token) {
        let sql = self.sql;
        match token.text(sql) {
            b"(" => self.open(),
            b")" => self.close(),
            _ if self.too_deep > 0 => {}
            b"," => {
                let Some(level) = self.levels.last_mut() else { return };
                if let Some(subject) = level.subject.take().filter(|_| level.list.len() < LIST_MAX) {
                    level.list.push(subject);
                }
                level.end_expression();
                level.index += 1;
            }
            b";" => {
                self.insert_columns = Rc::default();
                if let Some(level) = self.levels.last_mut() {
                    *level = Level::default();
                }
            }
            _ => {}
        }
    }

    fn open(&mut self) {
        if self.too_deep > 0 || self.levels.len() >= NESTING_MAX {
            self.too_deep += 1;
            return;
        }
        let (sql, previous) = (self.sql, self.previous);
        let values = previous.is_some_and(|token| token.is_word(sql, "VALUES") || token.is_symbol(sql, ","));
        let called = previous.filter(|token| {
            token.kind == TokenKind::Quoted
                || token.kind == TokenKind::Word
                    && ![ENDS, NEUTRAL, OPERATORS].iter().any(|words| one_of(token, sql, words))
        });
        let operator = previous.is_some_and(|token| {
            token.kind == TokenKind::Operator || token.is_word(sql, "ROW") || token.is_word(sql, "IN")
        });
        let Some(outer) = self.levels.last() else { return };
        let mut level = Level { base: outer.name(), function: outer.function.clone(), ..Level::default() };
        if outer.insert && values && !self.insert_columns.is_empty() {
            level.columns = Rc::clone(&self.insert_columns);
        } else if operator && self.closed.len() > 1 {
            level.columns = Rc::new(std::mem::take(&mut self.closed));
        }
        if let Some(name) = called {
            level.function = Some(name.span());
        }
        self.levels.push(level);
    }

    fn close(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        if self.levels.len() < 2 {
            return;
        }
        let Some(mut inner) = self.levels.pop() else { return };
        if let Some(subject) = inner.subject.take().filter(|_| inner.list.len() < LIST_MAX) {
            inner.list.push(subject);
        }
        let Some(outer) = self.levels.last_mut() else { return };
        if outer.insert && self.insert_columns.is_empty() && inner.columns.is_empty() {
            self.insert_columns = Rc::new(inner.list.clone());
        }
        if outer.pending.is_none() {
            // `lower(email) = $1`: the last identifier inside is the subject.
            outer.subject = inner.list.last().cloned().or_else(|| outer.subject.take());
        }
        self.closed = inner.list;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(sql: &str) -> Vec<(u16, String)> {
        parameter_names(sql.as_bytes())
    }

    fn named(sql: &str) -> Vec<(String, String)> {
        let sql = sql.as_bytes();
        let text = |operand: &Operand| String::from_utf8_lossy(operand.token.text(sql)).into_owned();
        operands(sql).iter().map(|operand| (text(operand), operand.name_text(sql))).collect()
    }

    #[test]
    fn parameters_take_their_columns_name() {
        let cases: [(&str, &[(u16, &str)]); 12] = [
            ("INSERT INTO t (a, \"B\") VALUES ($1, $2), ($3, $4)", &[(1, "a"), (2, "B"), (3, "a"), (4, "B")]),
            ("INSERT INTO s.t AS x (a, b) VALUES (upper($1), $2::text)", &[(1, "a"), (2, "b")]),
            ("INSERT INTO t (a, b) SELECT $1, $2 FROM u", &[(1, "a"), (2, "b")]),
            (
                "UPDATE t SET password = $1, x = crypt($2, gen_salt('bf')) WHERE t.id = $3",
                &[(1, "password"), (2, "x"), (3, "id")],
            ),
            ("SELECT 1 FROM t WHERE $1 = token", &[(1, "token")]),
            ("SELECT 1 FROM t WHERE lower(email) = $1 AND age > $2", &[(1, "email"), (2, "age")]),
            ("SELECT 1 FROM t WHERE a BETWEEN $1 AND $2 OR b IN ($3, $4)", &[(1, "a"), (2, "a"), (3, "b"), (4, "b")]),
            ("SELECT 1 FROM t WHERE a = ANY($1) AND b NOT LIKE $2", &[(1, "a"), (2, "b")]),
            ("UPDATE t SET (a, b) = ($1, $2)", &[(1, "a"), (2, "b")]),
            ("SELECT f(name => $1, other := $2)", &[(1, "name"), (2, "other")]),
            ("INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = $2", &[(1, "a"), (2, "b")]),
            ("SELECT $1", &[]),
        ];
        for (sql, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(number, name)| (*number, (*name).to_owned())).collect();
            assert_eq!(names(sql), expected, "{sql}");
        }
    }

    #[test]
    fn literals_take_names_from_keywords_options_and_aliases() {
        let name = |sql: &str| named(sql).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(name("ALTER ROLE bob PASSWORD 'x'"), ["password"]);
        assert_eq!(name("CREATE USER MAPPING FOR b SERVER s OPTIONS (user 'u', password 'x')"), ["user", "password"]);
        assert_eq!(name("SELECT 'hunter2' AS password"), ["password"]);
        assert_eq!(name("UPDATE t SET password = 'a' || 'b', n = 1"), ["password", "password", "n"]);
        assert_eq!(name("SET myapp.token = 'x'"), ["token"]);
        assert_eq!(name("SET myapp.token TO 'x'"), ["token"]);
        assert_eq!(name("INSERT INTO t (id, password) VALUES (7, E'x')"), ["id", "password"]);
    }

    #[test]
    fn deep_nesting_is_bounded() {
        let sql = format!("SELECT {}$1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(operands(sql.as_bytes()).len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(sql in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(operands(&sql).len() <= sql.len());
        }

        #[test]
        fn sql_like_text_is_read(sql in "(INSERT INTO |VALUES |a |b |\\(|\\)|,|=|\\$1 |'x'|SET |IN |AS |::|;|AND ){0,40}") {
            let count = tokens(sql.as_bytes()).filter(|t| matches!(t.kind, TokenKind::String { .. } | TokenKind::Parameter)).count();
            prop_assert_eq!(operands(sql.as_bytes()).len(), count);
        }
    }
}
