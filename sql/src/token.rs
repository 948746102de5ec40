//! The lexer: bytes to tokens that cover the input without gap or overlap.

use std::ops::Range;

use crate::class::{OPERATOR_MAX, in_identifier, is_operator, is_space, starts_identifier};

/// Which string constant a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StringKind {
    /// `'..'`, also `N'..'`.
    Plain,
    /// `E'..'`, or `'..'` while `standard_conforming_strings` is off: backslash escapes.
    Escape,
    /// `U&'..'`.
    Unicode,
    /// `B'..'` or `X'..'`.
    Bits,
    /// `$tag$..$tag$`.
    Dollar,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Space, tab, line ends.
    Whitespace,
    /// `--` up to the end of the line, or `/* */` with nesting; an unterminated one goes to the end.
    Comment,
    /// A keyword or an unquoted identifier.
    Word,
    /// `"..."` or `U&"..."`, to the end when unterminated.
    Quoted,
    /// A string constant, prefix and quotes included; to the end when `terminated` is false.
    String {
        /// Which one.
        kind: StringKind,
        /// False when the input ended inside.
        terminated: bool,
    },
    /// A numeric constant.
    Number,
    /// `$n`.
    Parameter,
    /// An operator such as `=`, `||`, `->>`, `::`, `:=`.
    Operator,
    /// One of `( ) [ ] , ; . :`.
    Punctuation,
    /// A byte that starts no token of the language.
    Other,
}

impl TokenKind {
    /// True for white space and comments.
    #[must_use]
    pub fn is_trivia(self) -> bool {
        matches!(self, Self::Whitespace | Self::Comment)
    }
}

/// A token: its kind and where it lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: usize,
    /// Byte after the last; always greater than `start`.
    pub end: usize,
}

impl Token {
    /// The span as a range.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The token's bytes in the text it came from; empty for another, shorter text.
    #[must_use]
    pub fn text<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }

    /// Where the content of a string constant lies, without prefix, quotes and tags.
    #[must_use]
    pub fn body(&self, sql: &[u8]) -> Range<usize> {
        let TokenKind::String { kind, terminated } = self.kind else { return self.span() };
        let text = self.text(sql);
        let (open, close) = if kind == StringKind::Dollar {
            let tag = text.iter().skip(1).position(|&byte| byte == b'$').map_or(text.len(), |at| at + 2);
            (tag, tag)
        } else {
            (text.iter().position(|&byte| byte == b'\'').map_or(0, |at| at + 1), 1)
        };
        let start = (self.start + open).min(self.end);
        let end = if terminated { self.end.saturating_sub(close) } else { self.end };
        start..end.max(start)
    }

    /// True for a word equal to `word` in any case.
    #[must_use]
    pub fn is_word(&self, sql: &[u8], word: &str) -> bool {
        self.kind == TokenKind::Word && self.text(sql).eq_ignore_ascii_case(word.as_bytes())
    }

    /// True for the punctuation or operator `text`.
    #[must_use]
    pub fn is_symbol(&self, sql: &[u8], text: &str) -> bool {
        matches!(self.kind, TokenKind::Punctuation | TokenKind::Operator) && self.text(sql) == text.as_bytes()
    }
}

/// Settings of the server that change how text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `standard_conforming_strings`; when off, a backslash escapes in `'..'`.
    pub standard_conforming_strings: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { standard_conforming_strings: true }
    }
}

/// Tokens of `sql` under the default [`Options`].
#[must_use]
pub fn tokens(sql: &[u8]) -> Lexer<'_> {
    tokens_with(sql, Options::default())
}

/// Tokens of `sql`; their spans cover it without gap or overlap. Linear time, no allocation.
#[must_use]
pub fn tokens_with(sql: &[u8], options: Options) -> Lexer<'_> {
    Lexer { sql, at: 0, options, continued: None, newline: false }
}

/// Tokens of `sql` into `buffer`, whose content is dropped and whose memory is kept: the form for a caller that
/// reads many texts, each of them in several ways. Linear time; at most one token per byte.
pub fn lex(sql: &[u8], options: Options, buffer: &mut Vec<Token>) {
    buffer.clear();
    buffer.extend(tokens_with(sql, options));
}

/// The tokens that lie in `span`, of tokens in ascending order such as [`lex`] gives.
#[must_use]
pub fn within<'t>(tokens: &'t [Token], span: &Range<usize>) -> &'t [Token] {
    let from = tokens.partition_point(|token| token.end <= span.start);
    let rest = tokens.get(from..).unwrap_or_default();
    rest.get(..rest.partition_point(|token| token.start < span.end)).unwrap_or_default()
}

/// An identifier's text: a word in lower case, a quoted one without quotes, `""` read as `"`.
/// Bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn identifier_text(token: &[u8]) -> String {
    let quote = token.iter().position(|&byte| byte == b'"').filter(|&at| at == 0 || at == 2);
    let Some(quote) = quote else { return String::from_utf8_lossy(token).to_ascii_lowercase() };
    let inner = token.get(quote + 1..).unwrap_or_default();
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    String::from_utf8_lossy(inner).replace("\"\"", "\"")
}

/// Iterator over tokens.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    options: Options,
    /// Kind of the string constant that a following quote on a new line continues.
    continued: Option<StringKind>,
    newline: bool,
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let first = self.peek(0)?;
        let kind = self.scan(first);
        // Every branch of `scan` moves on; the `max` makes the loop's end independent of that.
        self.at = self.at.max(start + 1).min(self.sql.len());
        self.remember(kind, start);
        Some(Token { kind, start, end: self.at })
    }
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &[u8] {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn skip_while(&mut self, test: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.at += rest.iter().position(|&byte| !test(byte)).unwrap_or(rest.len());
    }

    /// Keeps what string continuation needs: `'a'` newline `'b'` is one constant of the first part's kind.
    fn remember(&mut self, kind: TokenKind, start: usize) {
        match kind {
            TokenKind::String { kind, .. } => (self.continued, self.newline) = (Some(kind), false),
            TokenKind::Whitespace if self.continued.is_none() || self.newline => {}
            TokenKind::Whitespace => {
                let text = self.sql.get(start..self.at).unwrap_or_default();
                self.newline |= memchr::memchr2(b'\n', b'\r', text).is_some();
            }
            TokenKind::Comment if self.sql.get(start) == Some(&b'-') => {}
            _ => self.continued = None,
        }
    }

    fn scan(&mut self, first: u8) -> TokenKind {
        let second = self.peek(1);
        match first {
            byte if is_space(byte) => {
                self.skip_while(is_space);
                TokenKind::Whitespace
            }
            b'-' if second == Some(b'-') => {
                let rest = self.rest();
                self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                TokenKind::Comment
            }
            b'/' if second == Some(b'*') => self.block_comment(),
            b'\'' => self.quoted_constant(0, self.plain_kind()),
            b'"' => self.quoted_identifier(0),
            b'$' => self.dollar(second),
            b'.' if second.is_some_and(|byte| byte.is_ascii_digit()) => self.number(),
            byte if byte.is_ascii_digit() => self.number(),
            byte if starts_identifier(byte) => self.word(byte, second),
            b':' if matches!(second, Some(b':' | b'=')) => {
                self.at += 2;
                TokenKind::Operator
            }
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'.' | b':' => {
                self.at += 1;
                TokenKind::Punctuation
            }
            byte if is_operator(byte) => self.operator(),
            _ => {
                self.at += 1;
                TokenKind::Other
            }
        }
    }

    fn plain_kind(&self) -> StringKind {
        match self.continued {
            Some(kind) if self.newline && kind != StringKind::Dollar => kind,
            _ if self.options.standard_conforming_strings => StringKind::Plain,
            _ => StringKind::Escape,
        }
    }

    fn word(&mut self, first: u8, second: Option<u8>) -> TokenKind {
        let third = self.peek(2);
        match (first, second, third) {
            (b'e' | b'E', Some(b'\''), _) => return self.quoted_constant(1, StringKind::Escape),
            (b'b' | b'B' | b'x' | b'X', Some(b'\''), _) => return self.quoted_constant(1, StringKind::Bits),
            (b'n' | b'N', Some(b'\''), _) => {
                let kind =
                    if self.options.standard_conforming_strings { StringKind::Plain } else { StringKind::Escape };
                return self.quoted_constant(1, kind);
            }
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => return self.quoted_constant(2, StringKind::Unicode),
            (b'u' | b'U', Some(b'&'), Some(b'"')) => return self.quoted_identifier(2),
            _ => {}
        }
        self.skip_while(in_identifier);
        TokenKind::Word
    }

    /// Ends after the closing quote; `''` is a quote inside, and so is `\'` in an escape constant.
    fn quoted_constant(&mut self, prefix: usize, kind: StringKind) -> TokenKind {
        self.at += prefix + 1;
        loop {
            let rest = self.rest();
            let found = if kind == StringKind::Escape {
                memchr::memchr2(b'\'', b'\\', rest)
            } else {
                memchr::memchr(b'\'', rest)
            };
            let Some(at) = found else {
                self.at = self.sql.len();
                return TokenKind::String { kind, terminated: false };
            };
            self.at += at;
            if self.peek(0) == Some(b'\\') || self.peek(1) == Some(b'\'') {
                self.at = (self.at + 2).min(self.sql.len());
            } else {
                self.at += 1;
                return TokenKind::String { kind, terminated: true };
            }
        }
    }

    fn quoted_identifier(&mut self, prefix: usize) -> TokenKind {
        self.at += prefix + 1;
        loop {
            let rest = self.rest();
            let Some(at) = memchr::memchr(b'"', rest) else {
                self.at = self.sql.len();
                return TokenKind::Quoted;
            };
            self.at += at + 1;
            if self.peek(0) != Some(b'"') {
                return TokenKind::Quoted;
            }
            self.at += 1;
        }
    }

    fn block_comment(&mut self) -> TokenKind {
        self.at += 2;
        let mut depth = 1usize;
        while depth > 0 {
            let rest = self.rest();
            let Some(at) = memchr::memchr2(b'*', b'/', rest) else {
                self.at = self.sql.len();
                break;
            };
            self.at += at;
            match (self.peek(0), self.peek(1)) {
                (Some(b'*'), Some(b'/')) => (depth, self.at) = (depth - 1, self.at + 2),
                (Some(b'/'), Some(b'*')) => (depth, self.at) = (depth + 1, self.at + 2),
                _ => self.at += 1,
            }
        }
        TokenKind::Comment
    }

    /// `$1`, `$tag$..$tag$`, or a lone `$`. The compared parts lie between dollars, so the search is linear.
    fn dollar(&mut self, second: Option<u8>) -> TokenKind {
        if second.is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
            return TokenKind::Parameter;
        }
        let sql = self.sql;
        let after = sql.get(self.at + 1..).unwrap_or_default();
        let tag = after.iter().position(|&byte| !(in_identifier(byte) && byte != b'$'));
        let Some(tag) = tag.filter(|&at| after.get(at) == Some(&b'$')) else {
            self.at += 1;
            return TokenKind::Other;
        };
        let delimiter = sql.get(self.at..self.at + tag + 2).unwrap_or_default();
        let mut from = self.at + tag + 2;
        while let Some(at) = sql.get(from..).and_then(|rest| memchr::memchr(b'$', rest)) {
            from += at;
            if sql.get(from..).is_some_and(|rest| rest.starts_with(delimiter)) {
                self.at = from + delimiter.len();
                return TokenKind::String { kind: StringKind::Dollar, terminated: true };
            }
            from += 1;
        }
        self.at = sql.len();
        TokenKind::String { kind: StringKind::Dollar, terminated: false }
    }

    fn number(&mut self) -> TokenKind {
        if self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')) {
            self.at += 2;
            self.skip_while(|byte| byte.is_ascii_hexdigit() || byte == b'_');
            return TokenKind::Number;
        }
        let digits = |byte: u8| byte.is_ascii_digit() || byte == b'_';
        self.skip_while(digits);
        if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
            self.at += 1;
            self.skip_while(digits);
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip_while(digits);
            }
        }
        TokenKind::Number
    }

    /// A run of operator bytes up to a comment; a trailing `+` or `-` belongs to it only if the run holds
    /// one of `~ ! @ # % ^ & | ` ?` (chapter 4.1.3).
    fn operator(&mut self) -> TokenKind {
        let rest = self.rest();
        let limited = rest.get(..OPERATOR_MAX.min(rest.len())).unwrap_or_default();
        let mut end = limited.iter().position(|&byte| !is_operator(byte)).unwrap_or(limited.len());
        let comment = rest.windows(2).take(end).position(|pair| pair == b"--" || pair == b"/*");
        end = comment.unwrap_or(end).max(1);
        let run = rest.get(..end).unwrap_or_default();
        if !run.iter().any(|byte| b"~!@#%^&|`?".contains(byte)) {
            while end > 1 && matches!(rest.get(end - 1), Some(b'+' | b'-')) {
                end -= 1;
            }
        }
        self.at += end;
        TokenKind::Operator
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(sql: &str) -> Vec<(TokenKind, String)> {
        let kept = tokens(sql.as_bytes()).filter(|token| !token.kind.is_trivia());
        kept.map(|token| (token.kind, String::from_utf8_lossy(token.text(sql.as_bytes())).into_owned())).collect()
    }

    fn strings(sql: &str) -> Vec<String> {
        let kept = tokens(sql.as_bytes()).filter(|token| matches!(token.kind, TokenKind::String { .. }));
        kept.map(|token| String::from_utf8_lossy(&sql.as_bytes()[token.body(sql.as_bytes())]).into_owned()).collect()
    }

    #[test]
    fn every_string_constant_is_one_token() {
        assert_eq!(
            strings("SELECT 'it''s', E'a\\'b', U&'\\0068i', B'01', x'1F', n'n'"),
            ["it''s", "a\\'b", "\\0068i", "01", "1F", "n"]
        );
        assert_eq!(strings("SELECT $p$hun$ter$p$, $$a'b$$, $x$ $y$ $x$"), ["hun$ter", "a'b", " $y$ "]);
        assert_eq!(strings("SELECT E'a'\n  'b\\'c', 'd' 'e\\'"), ["a", "b\\'c", "d", "e\\"]);
        assert_eq!(strings("PASSWORD 'hunter2"), ["hunter2"]);
        assert_eq!(strings("DO $a$ x $b$"), [" x $b$"]);
        assert_eq!(strings("/* 'no' /* 'no' */ 'no' */ 'yes' -- 'no'"), ["yes"]);
        assert_eq!(strings("a$x$ 'b'"), ["b"]);
    }

    #[test]
    fn backslashes_escape_only_when_told() {
        let sql = br"'a\' x '";
        let off = Options { standard_conforming_strings: false };
        assert_eq!(tokens(sql).next().map(|token| token.end), Some(4));
        assert_eq!(tokens_with(sql, off).next().map(|token| token.end), Some(sql.len()));
    }

    #[test]
    fn operators_and_numbers_end_where_the_server_ends_them() {
        let texts = |sql: &str| kinds(sql).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts("a=-1"), ["a", "=", "-", "1"]);
        assert_eq!(texts("a @-1.5e+3"), ["a", "@-", "1.5e+3"]);
        assert_eq!(texts("a+--x\n1"), ["a", "+", "1"]);
        assert_eq!(texts("j->>'k'::text"), ["j", "->>", "'k'", "::", "text"]);
        assert_eq!(texts("$1+$23"), ["$1", "+", "$23"]);
        assert_eq!(texts("1..2"), ["1", ".", ".2"]);
    }

    #[test]
    fn a_long_run_of_signs_is_read_in_linear_time() {
        for pattern in ["+", "+-", "-+", "@+", "/", "<>-"] {
            let run: String = pattern.chars().cycle().take(1 << 17).collect();
            let start = std::time::Instant::now();
            assert!(tokens(run.as_bytes()).count() > 0);
            assert!(start.elapsed().as_secs() < 5, "{pattern}");
        }
    }

    #[test]
    fn tokens_of_a_span() {
        let (sql, mut buffer) = (b"a ; b c".as_slice(), Vec::new());
        lex(sql, Options::default(), &mut buffer);
        let texts: Vec<&[u8]> = within(&buffer, &(4..7)).iter().map(|token| token.text(sql)).collect();
        assert_eq!(texts, [b"b".as_slice(), b" ", b"c"]);
        assert!(within(&buffer, &(9..12)).is_empty());
    }

    #[test]
    fn identifiers_read_back() {
        assert_eq!(identifier_text(b"FooBar"), "foobar");
        assert_eq!(identifier_text(b"\"Foo\"\"Bar\""), "Foo\"Bar");
    }

    proptest! {
        #[test]
        fn tokens_cover_any_bytes(sql in proptest::collection::vec(any::<u8>(), 0..300), on in any::<bool>()) {
            let mut at = 0;
            for token in tokens_with(&sql, Options { standard_conforming_strings: on }) {
                prop_assert_eq!(token.start, at);
                prop_assert!(token.end > token.start);
                let body = token.body(&sql);
                prop_assert!(body.start >= token.start && body.end <= token.end && body.start <= body.end);
                at = token.end;
            }
            prop_assert_eq!(at, sql.len());
        }

        #[test]
        fn tokens_cover_sql_like_text(sql in "[ea'\"$\\\\/*;(), \n=1-]{0,80}") {
            let end = tokens(sql.as_bytes()).fold(0, |at, token| if token.start == at { token.end } else { usize::MAX });
            prop_assert_eq!(end, sql.len());
        }
    }
}
