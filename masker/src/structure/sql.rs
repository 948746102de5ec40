//! SQL text: string constants by statement class and by the name they are for, the rest by patterns.

use sql::{OperandKind, Options, TokenKind, operands, secret_class, statements, tokens, tokens_with};

use super::value::is_secret_name;
use crate::config::Literals;
use crate::engine::{Edit, Engine, Tally, apply, placeholder, whole};

/// Statement text with its secrets replaced; `None` when it holds none.
#[must_use]
pub fn mask(engine: &Engine, literals: Literals, secret: &[String], text: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
    let mut edits = Vec::new();
    if !engine.find(text, &mut edits) {
        return Some(whole("whole", text, tally));
    }
    let bearing = statements(text).any(|span| text.get(span).is_some_and(|one| secret_class(one).is_some()));
    if bearing || literals == Literals::All {
        constants(text, Options::default(), bearing, &mut edits);
        // The setting is not known here: a backslash before a quote may or may not escape it.
        if memchr::memmem::find(text, b"\\'").is_some() {
            constants(text, Options { standard_conforming_strings: false }, bearing, &mut edits);
        }
    } else {
        for operand in operands(text) {
            let unterminated = matches!(operand.token.kind, TokenKind::String { terminated: false, .. });
            let named = operand.name.is_some() && is_secret_name(&operand.name_text(text), secret);
            if !named && !unterminated {
                continue;
            }
            match operand.kind {
                OperandKind::String => literal(operand.token.body(text), "literal", &mut edits),
                OperandKind::Number => literal(operand.token.span(), "literal", &mut edits),
                OperandKind::Parameter(_) => {}
            }
        }
        if memchr::memmem::find(text, b"\\'").is_some() {
            // Read both ways, the parts between quotes differ: take every constant of either reading.
            constants(text, Options::default(), false, &mut edits);
            constants(text, Options { standard_conforming_strings: false }, false, &mut edits);
        }
    }
    let masked = |span: &std::ops::Range<usize>| {
        text.get(span.clone())
            .is_some_and(|part| part.starts_with(b"<secret:literal:") && part.ends_with(b">") && part.len() < 20)
    };
    edits.retain(|edit| edit.rule != "literal" || !masked(&edit.span));
    apply(text, edits, tally)
}

fn constants(text: &[u8], options: Options, comments: bool, edits: &mut Vec<Edit>) {
    for token in tokens_with(text, options) {
        match token.kind {
            TokenKind::String { .. } => literal(token.body(text), "literal", edits),
            TokenKind::Comment if comments => literal(token.start + 2..token.end, "comment", edits),
            _ => {}
        }
    }
    debug_assert_eq!(tokens(text).last().map_or(0, |token| token.end), text.len());
}

fn literal(span: std::ops::Range<usize>, kind: &'static str, edits: &mut Vec<Edit>) {
    if !span.is_empty() {
        edits.push(Edit { with: placeholder(kind, span.len()), span, rule: kind });
    }
}
