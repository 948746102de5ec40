//! SQL as text: tokens, statements, kinds, relations, parameters; pure, for observe and mask alike.
//!
//! This is a lexer and a few best-effort readers over its tokens, not a parser: a statement that the server
//! takes but that we misread must cost a name, never a panic, a loop or a token that spans the wrong bytes.
//! Everything works on bytes, because the wire carries any encoding; time and memory are linear in the
//! input, and every list has a bound (I-10). Source of the lexical rules: PostgreSQL 18 documentation,
//! chapter 4.1 "Lexical Structure".

mod operand;
mod relation;
mod secret;
mod statement;
mod token;

pub use operand::{NESTING_MAX, Operand, OperandKind, operands, parameter_names};
pub use relation::{RELATION_BYTES_MAX, RELATIONS_MAX, relations};
pub use secret::{SecretClass, is_secret_statement, secret_class};
pub use statement::{command_kind, statements};
pub use token::{Lexer, Options, StringKind, Token, TokenKind, identifier_text, tokens, tokens_with};
