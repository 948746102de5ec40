//! SQL text: string constants by statement class and by the name they are for, the rest by patterns.

use std::cell::RefCell;

use sql::{
    OperandKind, Options, Token, TokenKind, lex, operands_of, secret_class_of, statements_of, survey, tokens_with,
    within,
};

use super::value::is_secret_name;
use crate::config::Literals;
use crate::engine::{Edit, Engine, Tally, apply, placeholder};

thread_local! {
    /// Memory for the tokens of one text; they are positions, so it holds no content.
    static TOKENS: RefCell<Vec<Token>> = const { RefCell::new(Vec::new()) };
}

/// Statement text with its secrets replaced; `None` when it holds none.
///
/// Most texts are read into tokens once, and none of them kept: only a text that may hold something is read anew.
#[must_use]
pub fn mask(engine: &Engine, literals: Literals, secret: &[String], text: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut edits = Vec::new();
    let known = tally.known.clone();
    let seen = match engine.find_known(text, known.as_deref(), &mut edits) {
        Ok(seen) => seen,
        Err(gap) => return Some(gap.whole(text, tally)),
    };
    let escapes = memchr::memchr(b'\\', text).is_some() && memchr::memmem::find(text, b"\\'").is_some();
    let read = survey(text, Options::default());
    if read.suspect || escapes || seen.names || literals == Literals::All {
        let mut tokens = TOKENS.take();
        lex(text, Options::default(), &mut tokens);
        structure(&tokens, Found { names: seen.names, escapes }, literals, secret, text, &mut edits);
        TOKENS.set(tokens);
    } else if let Some(open) = read.open {
        literal(open.body(text), "literal", &mut edits);
    }
    if edits.is_empty() {
        return None;
    }
    let masked = |span: &std::ops::Range<usize>| {
        text.get(span.clone())
            .is_some_and(|part| part.starts_with(b"<secret:literal:") && part.ends_with(b">") && part.len() < 20)
    };
    edits.retain(|edit| edit.rule != "literal" || !masked(&edit.span));
    apply(text, edits, tally)
}

/// What is known of a text before its structure is read.
#[derive(Clone, Copy)]
struct Found {
    /// A secret name may stand in it.
    names: bool,
    /// A backslash stands before a quote.
    escapes: bool,
}

/// Adds the edits that the structure of the text asks for.
fn structure(
    tokens: &[Token],
    found: Found,
    literals: Literals,
    secret: &[String],
    text: &[u8],
    edits: &mut Vec<Edit>,
) {
    let bearing = statements_of(tokens, text).any(|span| secret_class_of(within(tokens, &span), text).is_some());
    let all = bearing || literals == Literals::All;
    if all {
        constants(tokens.iter().copied(), text, bearing, edits);
    } else if found.names {
        for operand in operands_of(tokens, text) {
            if operand.name.is_some() && is_secret_name(&operand.name_text(text), secret) {
                match operand.kind {
                    OperandKind::String => literal(operand.token.body(text), "literal", edits),
                    OperandKind::Number => literal(operand.token.span(), "literal", edits),
                    OperandKind::Parameter(_) => {}
                }
            }
        }
    }
    // Only the last token can be cut off.
    if let Some(last) = tokens.last().filter(|last| matches!(last.kind, TokenKind::String { terminated: false, .. })) {
        literal(last.body(text), "literal", edits);
    }
    // The setting is not known here: a backslash before a quote may or may not escape it. Read both ways, the
    // parts between quotes differ: take every constant of either reading.
    if found.escapes {
        constants(tokens.iter().copied(), text, bearing, edits);
        constants(tokens_with(text, Options { standard_conforming_strings: false }), text, bearing, edits);
    }
}

fn constants(tokens: impl Iterator<Item = Token>, text: &[u8], comments: bool, edits: &mut Vec<Edit>) {
    for token in tokens {
        match token.kind {
            TokenKind::String { .. } => literal(token.body(text), "literal", edits),
            TokenKind::Comment if comments => literal(token.start + 2..token.end, "comment", edits),
            _ => {}
        }
    }
}

fn literal(span: std::ops::Range<usize>, kind: &'static str, edits: &mut Vec<Edit>) {
    if !span.is_empty() {
        edits.push(Edit { with: placeholder(kind, span.len()), span, rule: kind });
    }
}
