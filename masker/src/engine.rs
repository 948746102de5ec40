//! The matcher: an Aho-Corasick prefilter over the rules' anchors, then one matcher per shape, at hits only.
//!
//! Time is linear in the text: what candidates look at is counted, and a text whose candidates look at more than
//! [`WORK_PER_BYTE`] times its length is masked whole (`budget`). Masking masked text changes nothing:
//! placeholders are recognised exactly, so that a value cannot pose as one. A text that comes in parts is masked by
//! [`Stream`], with the same result.

mod compile;
mod echo;
mod edit;
mod scan;
mod stream;

use aho_corasick::AhoCorasick;

pub use self::compile::{CompileError, Setup};
pub use self::echo::{Echoes, NEEDLE_MAX, VALUE_MIN, VALUES_MAX};
pub use self::edit::{Edit, Gap, Tally, apply, whole};
pub use self::scan::{Seen, WORK_MIN, WORK_PER_BYTE};
pub use self::stream::{HELD_MAX, Stream, StreamState};
pub use crate::placeholder::{KINDS, placeholder};

/// Version of the rule set and engine; part of every record.
pub const MASK_VERSION: &str = "2";

use crate::rule::{Action, RULES, Rule};

/// The compiled rules.
#[derive(Debug)]
pub struct Engine {
    prefilter: Option<AhoCorasick>,
    /// The rule of each pattern and its place in the order of rules; patterns after the last are secret names.
    owners: Vec<(usize, &'static Rule)>,
    numbers: Vec<(usize, &'static Rule)>,
    rules: Vec<&'static Rule>,
    epoch: u32,
    pseudonym: hmac_key::Key,
}

mod hmac_key {
    /// HMAC key, hidden.
    pub(crate) struct Key(pub(crate) zeroize::Zeroizing<Vec<u8>>);
    impl std::fmt::Debug for Key {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Key(hidden)")
        }
    }
}

impl Engine {
    /// Compiles every built-in rule but `disabled`; `pseudonym` is the HMAC key. Epoch 0, no secret names.
    #[must_use]
    pub fn new(disabled: &[String], pseudonym: &[u8]) -> Self {
        Self::with(disabled, pseudonym, 0, &[])
    }

    /// Compiles every built-in rule but `disabled`; `pseudonym` is the HMAC key and `epoch` part of what it signs.
    /// `names` are looked for in the same pass, for [`Seen::names`].
    ///
    /// An engine that did not compile masks every text whole; [`Engine::compile`] says why.
    #[must_use]
    pub fn with(disabled: &[String], pseudonym: &[u8], epoch: u32, names: &[String]) -> Self {
        let rules: Vec<&'static Rule> = RULES
            .iter()
            .copied()
            .filter(|rule| rule.action != Action::Off && !disabled.iter().any(|id| id == rule.id))
            .collect();
        let setup = Setup { pseudonym, epoch, names };
        Self::compile(&rules, setup).unwrap_or_else(|_| Self::blind(setup))
    }

    /// Compiles the rules that a configuration asks for.
    ///
    /// # Errors
    /// [`crate::user_rule::UserRuleError`] for a rule or action of the configuration that is wrong.
    pub fn configured(config: &crate::MaskerConfig, pseudonym: &[u8]) -> Result<Self, crate::user_rule::UserRuleError> {
        let rules = crate::user_rule::chosen(config)?;
        let setup = Setup { pseudonym, epoch: config.pseudonym_epoch, names: &config.secret_columns };
        Ok(Self::compile(&rules, setup).unwrap_or_else(|_| Self::blind(setup)))
    }

    /// An engine that masks every text whole: what stands in when rules cannot be compiled.
    #[must_use]
    pub fn masking_all() -> Self {
        Self::blind(Setup { pseudonym: b"", epoch: 0, names: &[] })
    }

    fn rule(&self, id: &str) -> Option<&'static Rule> {
        self.rules.iter().copied().find(|rule| rule.id == id)
    }

    /// Adds an edit for every match in `text`, ordered: leftmost first, of those the longest, of those by rule.
    ///
    /// # Errors
    /// The text could not be searched to its end: it is to be masked whole, by [`Gap::whole`].
    pub fn find(&self, text: &[u8], edits: &mut Vec<Edit>) -> Result<Seen, Gap> {
        self.find_known(text, None, edits)
    }

    /// The same, and every value of `known` in any of its forms, in the same pass.
    ///
    /// # Errors
    /// As [`Engine::find`].
    pub fn find_known(&self, text: &[u8], known: Option<&Echoes>, edits: &mut Vec<Edit>) -> Result<Seen, Gap> {
        let mut found = Vec::new();
        let seen = self.scan(text, 0..text.len(), known, &mut found)?;
        found.sort_by(scan::Found::order);
        edits.extend(found.into_iter().map(|found| found.edit));
        Ok(seen)
    }

    /// `text` with every match replaced; `None` when nothing matched. Values of [`Tally::known`] count as matches.
    #[must_use]
    pub fn mask(&self, text: &[u8], tally: &mut Tally) -> Option<Vec<u8>> {
        let mut edits = Vec::new();
        let known = tally.known.clone();
        if let Err(gap) = self.find_known(text, known.as_deref(), &mut edits) {
            return Some(gap.whole(text, tally));
        }
        apply(text, edits, tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One for all tests: compiling every rule takes its time.
    fn all() -> &'static Engine {
        static ALL: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
        ALL.get_or_init(|| Engine::new(&[], b"key"))
    }

    #[test]
    fn what_is_replaced_is_exact() {
        let engine = all();
        let mask = |text: &str| {
            let masked = engine.mask(text.as_bytes(), &mut Tally::default()).unwrap_or(text.as_bytes().to_vec());
            String::from_utf8(masked).unwrap()
        };
        assert_eq!(mask("x password=hunter2, y"), "x password=<secret:assignment:s>, y");
        assert_eq!(
            mask("postgresql://u:p%40ss@[2001:db8::1]/d"),
            "postgresql://u:<secret:url-password:s>@[2001:db8::1]/d"
        );
        assert_eq!(mask("card 4111 1111 1111 1111."), "card <secret:card:1111>.");
        assert_eq!(mask("ada@example.com"), mask("ADA@example.com"));
        assert!(!mask("password=<secret:hunter2").contains("hunter2"));
    }

    /// Candidates that overlap would each be read to the end: the budget ends that, and nothing passes.
    #[test]
    fn a_text_that_costs_too_much_is_masked_whole() {
        let engine = all();
        for part in [".eyJ", "token=", "secret:", "bearer ", "-sk-", "AIza-", "passwd=\\'pwd=\\'", "a@b.", "://a:b@"] {
            let text: String = part.chars().cycle().take(65_536).collect();
            let (start, mut tally) = (std::time::Instant::now(), Tally::default());
            let masked = engine.mask(text.as_bytes(), &mut tally);
            assert!(start.elapsed().as_secs() < 5, "{part}");
            if tally.exhausted {
                assert_eq!(masked.unwrap(), b"<secret:budget:xl>", "{part}");
                assert!(tally.rules.contains("budget"));
            }
        }
        let spent = |part: &str| {
            let mut tally = Tally::default();
            let text: String = part.chars().cycle().take(65_536).collect();
            let masked = engine.mask(text.as_bytes(), &mut tally);
            assert!(masked.is_some());
            tally.exhausted
        };
        assert!(spent("token=") && !spent(".eyJ"));
        assert!(!spent("password=hunter2, token: abc; ada@example.com {\"secret\": \"x\"}\n"));
    }

    #[test]
    fn pseudonyms_join_within_one_epoch_and_key() {
        let mask = |epoch, key: &[u8], text: &str| {
            let masked = Engine::with(&[], key, epoch, &[]).mask(text.as_bytes(), &mut Tally::default()).unwrap();
            String::from_utf8(masked).unwrap()
        };
        assert_eq!(mask(1, b"k", "ada@example.com"), mask(1, b"k", "Ada@Example.com"));
        assert!(mask(7, b"k", "ada@example.com").starts_with("<email:e7."));
        let tail = |text: String| text.rsplit(':').next().unwrap().to_owned();
        assert_ne!(tail(mask(1, b"k", "ada@example.com")), tail(mask(2, b"k", "ada@example.com")));
        assert_ne!(tail(mask(1, b"k", "ada@example.com")), tail(mask(1, b"l", "ada@example.com")));
    }

    #[test]
    fn secret_names_are_seen() {
        let engine = Engine::with(&[], b"k", 0, &["dob".to_owned()]);
        let seen = |text: &str| engine.find(text.as_bytes(), &mut Vec::new()).unwrap().names;
        assert!(seen("SELECT DOB") && seen("to\u{212a}en") && !seen("SELECT a, do, b"));
    }

    proptest! {
        #[test]
        fn masking_twice_changes_nothing(text in "(password=|token: |a |secret=b,|AKIAQ7RZ2LMX5KTWPN3V |ada@example.com |4111111111111111 |://u:p@h |x://u:p@h ){0,12}") {
            let engine = all();
            let once = engine.mask(text.as_bytes(), &mut Tally::default()).unwrap_or(text.into_bytes());
            let twice = engine.mask(&once, &mut Tally::default()).unwrap_or(once.clone());
            prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
        }

        #[test]
        fn any_bytes_are_scanned(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let engine = all();
            let mut edits = Vec::new();
            prop_assert!(engine.find(&text, &mut edits).is_ok());
            prop_assert!(edits.iter().all(|edit| edit.span.end <= text.len() && edit.span.start < edit.span.end));
        }
    }
}
