//! SQL as text: tokens, statements, kinds, relations, parameters; pure, for observe and mask alike.
//!
//! This is a lexer and a few best-effort readers over its tokens, not a parser: a statement that the server
//! takes but that we misread must cost a name, never a panic, a loop or a token that spans the wrong bytes.
//! Everything works on bytes, because the wire carries any encoding; time and memory are linear in the
//! input, and every list has a bound (I-10). Source of the lexical rules: PostgreSQL 18 documentation,
//! chapter 4.1 "Lexical Structure".

mod class;
mod operand;
mod relation;
mod secret;
mod statement;
mod survey;
mod token;

pub use operand::{NESTING_MAX, Operand, OperandKind, operands, operands_of, parameter_names, parameter_names_of};
pub use relation::{RELATION_BYTES_MAX, RELATIONS_MAX, relations, relations_of};
pub use secret::{SecretClass, is_secret_statement, secret_class, secret_class_of};
pub use statement::{command_kind, command_kind_of, statements, statements_of};
pub use survey::{Survey, survey};
pub use token::{Lexer, Options, StringKind, Token, TokenKind, identifier_text, lex, tokens, tokens_with, within};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Reading tokens once says the same as reading the text each time.
        #[test]
        fn forms_over_tokens_agree(
            words in proptest::collection::vec(
                prop::sample::select(vec![
                    "SELECT", "WITH", "CREATE", "BEGIN ATOMIC", "END", "CASE", "FROM", "t", "\"T\"", "(", ")", ",",
                    ";", "'x'", "E'\\'", "$1", "$a$", "=", "-- c\n", "/* */", "SET", "a.b", "PASSWORD", "crypt",
                    "INSERT INTO", "VALUES", "\n'y'", "\0", "\u{b}",
                ]),
                0..40,
            ),
        ) {
            let text = words.join(" ");
            let (sql, mut buffer) = (text.as_bytes(), Vec::new());
            lex(sql, Options::default(), &mut buffer);
            prop_assert_eq!(operands_of(&buffer, sql), operands(sql));
            let spans: Vec<_> = statements(sql).collect();
            prop_assert_eq!(&statements_of(&buffer, sql).collect::<Vec<_>>(), &spans);
            for span in spans {
                let (one, part) = (&sql[span.clone()], within(&buffer, &span));
                prop_assert_eq!(command_kind_of(part, sql), command_kind(one));
                prop_assert_eq!(secret_class_of(part, sql), secret_class(one));
                prop_assert_eq!(relations_of(part, sql), relations(one));
                prop_assert_eq!(parameter_names_of(part, sql), parameter_names(one));
            }
        }
    }
}
