//! SQL text: the lexer must cover every byte once and in order, whatever they are.

use ingest_proxy::protocol::postgres::statement;

/// The survey suspects what the full reading finds. Survey and split of a text.
pub(crate) fn survey(input: &[u8]) {
    let mut end = 0;
    for range in statement::split(input) {
        assert!(range.start >= end && range.start <= range.end, "statements are apart and in order");
        end = range.end;
        assert!(input.get(range).is_some(), "a statement lies in the text");
    }
    let survey = sql::survey(input, sql::Options::default());
    let secret = sql::statements(input).any(|span| sql::is_secret_statement(&input[span]));
    assert!(survey.suspect || !secret, "the survey passes a statement that holds a secret");
    let (mut tokens, mut at) = (Vec::new(), 0);
    sql::lex(input, sql::Options::default(), &mut tokens);
    for token in &tokens {
        assert!(token.start >= at && token.end <= input.len(), "tokens are apart and in order");
        at = token.end;
    }
}

/// Each kind of literal, comment and nesting.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 6] = [
        b"SELECT 'a''b', E'\\'', U&'d\\0061' UESCAPE '!', B'1', X'f', $t$ $$ $t$, \"id\", $1",
        b"CREATE ROLE ada PASSWORD 'x' VALID UNTIL 'y'; ALTER USER MAPPING FOR u SERVER s OPTIONS (SET password 'p')",
        b"WITH a AS (SELECT 1) INSERT INTO b.c (d, e) VALUES ($1, $2) RETURNING * -- end",
        b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN 1 THEN 2 END; END",
        b"/* a /* b */ c */ COPY t (a, b) FROM STDIN WITH (FORMAT csv, DELIMITER ';')",
        b"DO $$ BEGIN PERFORM dblink('host=h password=p'); END $$",
    ];
    texts.map(<[u8]>::to_vec).to_vec()
}
