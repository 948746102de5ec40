//! Rules to matcher: what is refused, and why.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::{Engine, hmac_key};
use crate::rule::{Rule, Shape};
use crate::shape::{AFTER_MAX, ANCHOR_MAX, BEFORE_MAX, Extent, extent};

/// Most anchors and secret names together.
const LITERALS_MAX: usize = 16_384;
/// Most memory of the matcher, bytes.
const MEMORY_MAX: usize = 64 << 20;

/// What an engine needs beside its rules.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// HMAC key of pseudonyms.
    pub pseudonym: &'a [u8],
    /// Epoch of pseudonyms.
    pub epoch: u32,
    /// Secret names, in lower case.
    pub names: &'a [String],
}

impl std::fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Why rules cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Two rules of one id: records could not say which fired.
    #[error("compile rule {0}: another rule has the same id")]
    Twice(&'static str),
    /// A rule whose shape needs an anchor has none, or an empty or overlong one.
    #[error(
        "compile rule {rule}: every anchor must have 1 to {ANCHOR_MAX} bytes, and a shape around an anchor needs one"
    )]
    Anchor {
        /// Id of the rule.
        rule: &'static str,
    },
    /// A rule that wants more than it allows.
    #[error("compile rule {rule}: its least length {min} is above its greatest {max}")]
    Empty {
        /// Id of the rule.
        rule: &'static str,
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// A match that is longer than what is held back, and has no body that could be masked as it comes.
    #[error("compile rule {rule}: a match may take {bytes} bytes, more than the {limit} that a match may take")]
    TooLong {
        /// Id of the rule.
        rule: &'static str,
        /// Longest match.
        bytes: usize,
        /// Longest that is allowed.
        limit: usize,
    },
    /// Too many literals.
    #[error("compile rules: {0} anchors and secret names, at most {LITERALS_MAX} are allowed")]
    Literals(usize),
    /// The matcher takes too much memory.
    #[error("compile rules: the matcher takes {0} bytes, at most {MEMORY_MAX} are allowed")]
    Memory(usize),
    /// The literals cannot be compiled.
    #[error("compile rules")]
    Matcher(#[source] aho_corasick::BuildError),
}

impl Engine {
    /// Compiles `rules`; their order decides between matches of one span.
    ///
    /// # Errors
    /// [`CompileError`], which names the rule.
    pub fn compile(rules: &[&'static Rule], setup: Setup<'_>) -> Result<Self, CompileError> {
        for (at, rule) in rules.iter().enumerate() {
            if rules.iter().take(at).any(|other| other.id == rule.id) {
                return Err(CompileError::Twice(rule.id));
            }
            check(rule)?;
        }
        let ordered = || rules.iter().copied().enumerate();
        let pairs: Vec<(&str, usize, &'static Rule)> =
            ordered().flat_map(|(order, rule)| rule.anchors.iter().map(move |anchor| (*anchor, order, rule))).collect();
        let names = setup.names.iter().map(String::as_str).filter(|name| !name.is_empty());
        let literals: Vec<&str> = pairs.iter().map(|(anchor, ..)| *anchor).chain(names).collect();
        if literals.len() > LITERALS_MAX {
            return Err(CompileError::Literals(literals.len()));
        }
        let prefilter = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            // Anchors are many and short: what would skip to them finds one of their first bytes at every step.
            .prefilter(false)
            .build(&literals)
            .map_err(CompileError::Matcher)?;
        if prefilter.memory_usage() > MEMORY_MAX {
            return Err(CompileError::Memory(prefilter.memory_usage()));
        }
        Ok(Self {
            prefilter: Some(prefilter),
            owners: pairs.iter().map(|(_, order, rule)| (*order, *rule)).collect(),
            numbers: ordered().filter(|(_, rule)| rule.anchors.is_empty()).collect(),
            rules: rules.to_vec(),
            ..Self::blind(setup)
        })
    }

    /// An engine without a matcher: it masks every text whole.
    pub(super) fn blind(setup: Setup<'_>) -> Self {
        Self {
            prefilter: None,
            owners: Vec::new(),
            numbers: Vec::new(),
            rules: Vec::new(),
            epoch: setup.epoch,
            pseudonym: hmac_key::Key(zeroize::Zeroizing::new(setup.pseudonym.to_vec())),
        }
    }
}

fn check(rule: &Rule) -> Result<(), CompileError> {
    let bare = matches!(rule.shape, Shape::Card | Shape::Iban | Shape::Ssn | Shape::Phone | Shape::Ipv4);
    let sized = rule.anchors.iter().all(|anchor| (1..=ANCHOR_MAX).contains(&anchor.len()));
    if !sized || rule.anchors.is_empty() != bare {
        return Err(CompileError::Anchor { rule: rule.id });
    }
    if let Shape::Token { min, max, .. } | Shape::Named { min, max, .. } = rule.shape
        && min > max
    {
        return Err(CompileError::Empty { rule: rule.id, min, max });
    }
    match extent(rule) {
        Extent::Bounded { before, after } if before > BEFORE_MAX => {
            Err(CompileError::TooLong { rule: rule.id, bytes: before + after, limit: BEFORE_MAX })
        }
        Extent::Bounded { before, after } if after > AFTER_MAX => {
            Err(CompileError::TooLong { rule: rule.id, bytes: before + after, limit: AFTER_MAX })
        }
        Extent::Open { least } if least > AFTER_MAX => {
            Err(CompileError::TooLong { rule: rule.id, bytes: least, limit: AFTER_MAX })
        }
        Extent::Bounded { .. } | Extent::Open { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Class, RULES};

    fn refused(rule: Rule) -> String {
        let setup = Setup { pseudonym: b"k", epoch: 0, names: &[] };
        Engine::compile(&[Box::leak(Box::new(rule))], setup).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_held_back_is_refused_by_name() {
        let one = RULES.iter().find(|rule| matches!(rule.shape, Shape::Token { .. })).unwrap();
        let with = |shape| Rule { shape, ..**one };
        let class = Class::Word;
        assert!(
            refused(with(Shape::Following { class, min: 2000 })).starts_with(&format!("compile rule {}: ", one.id))
        );
        assert!(refused(with(Shape::Token { class, min: 9, max: 3 })).contains("least length 9"));
        assert!(refused(Rule { anchors: &[], ..**one }).contains("needs one"));
        assert!(refused(Rule { anchors: &[""], ..**one }).contains("1 to 64"));
        let setup = Setup { pseudonym: b"k", epoch: 0, names: &[] };
        assert!(matches!(Engine::compile(&[one, one], setup), Err(CompileError::Twice(_))));
        assert!(Engine::compile(RULES, setup).is_ok());
    }
}
