//! The masking rules: data, one file per family, with examples that must match and counter-examples that must not.
//!
//! A rule says what to look for, never how: the engine ([`crate::engine`]) may be replaced without touching one.
//! Examples are templates ([`crate::sample`]): what looks like a secret is made when a test runs, and stands in no
//! file. User rules are the same data from the configuration ([`crate::user_rule`]).

mod ai;
mod catalogue;
mod cloud;
mod code_host;
mod commerce;
mod data_service;
mod delivery;
mod generic;
mod messaging;
mod observability;
mod personal;
mod social;
mod workplace;

pub use catalogue::CATALOGUE;

use crate::validate::{Validator, Verdict};

/// Bytes that may continue a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// `0-9`.
    Digit,
    /// Hex digits.
    Hex,
    /// Hex digits and `-`, as in a UUID.
    HexDash,
    /// `A-Z 0-9`.
    UpperAlnum,
    /// `A-Z a-z 0-9`.
    Alnum,
    /// `A-Z a-z 0-9 _`.
    Word,
    /// `A-Z a-z 0-9 _ -`.
    Base64Url,
    /// The same and `.`.
    Base64UrlDot,
    /// `A-Z a-z 0-9 + / =`.
    Base64,
    /// RFC 9110 token68.
    Token68,
    /// Base64, `$`, `:`.
    Scram,
    /// `A-Z a-z 0-9 . / $ = , + -`: crypt hashes.
    Crypt,
    /// Token68, `:`, `~`, `|`, `%`: every byte that vendors use in tokens.
    Loose,
}

impl Class {
    /// True when `byte` is of the class.
    #[must_use]
    pub const fn holds(self, byte: u8) -> bool {
        let word = byte.is_ascii_alphanumeric() || byte == b'_';
        match self {
            Self::Digit => byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::HexDash => byte.is_ascii_hexdigit() || byte == b'-',
            Self::UpperAlnum => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Word => word,
            Self::Base64Url => word || byte == b'-',
            Self::Base64UrlDot => word || byte == b'-' || byte == b'.',
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Token68 => word || matches!(byte, b'-' | b'.' | b'~' | b'+' | b'/' | b'='),
            Self::Scram => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'$' | b':'),
            Self::Crypt => word || matches!(byte, b'.' | b'/' | b'$' | b'=' | b',' | b'+' | b'-'),
            Self::Loose => word || matches!(byte, b'-' | b'.' | b'~' | b'+' | b'/' | b'=' | b':' | b'|' | b'%'),
        }
    }
}

/// What stands around an anchor. How each is matched, and how far it reaches, is in `shape.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The anchor in its own case, at a word's start, and `min..=max` bytes of `class` up to a byte outside it: all
    /// masked.
    Token {
        /// Bytes of the body.
        class: Class,
        /// Fewest bytes.
        min: usize,
        /// Most bytes; a longer run is no match.
        max: usize,
    },
    /// The anchor in its own case with bytes of `class` on both sides: all masked.
    Around {
        /// Bytes of both sides.
        class: Class,
        /// Fewest and most bytes before the anchor.
        before: (usize, usize),
        /// Fewest and most bytes after it.
        after: (usize, usize),
    },
    /// The anchor, then at least `min` bytes of `class`, which are masked.
    Following {
        /// Bytes of the value.
        class: Class,
        /// Fewest bytes.
        min: usize,
    },
    /// A vendor's name, up to 40 bytes of a name, a sign of assignment, and `min..=max` bytes of `class`, masked.
    Named {
        /// Bytes of the value.
        class: Class,
        /// Fewest bytes.
        min: usize,
        /// Most bytes; a longer run is no match.
        max: usize,
    },
    /// A key that ends with the anchor, then `=`, `:` or `=>`, then a value: quoted, or up to a separator.
    Assignment,
    /// `-----BEGIN .. PRIVATE KEY-----` up to the end of its END line, or to the end.
    Pem,
    /// `scheme://user:password@`: the password.
    Url,
    /// `-u user:password` and its like: the password.
    UserPassword,
    /// A line of `.pgpass`, `host:port:database:user:password`, found by its port: the password.
    PgPass,
    /// `machine h login u password p` of `.netrc`: the password.
    Netrc,
    /// The members of `data:` or `stringData:` of a Kubernetes Secret, in YAML or JSON: first value to last.
    Manifest,
    /// 13 to 19 digits with single spaces or dashes between; no anchor.
    Card,
    /// Two letters and two digits, then as many letters and digits as the country has; single spaces; no anchor.
    Iban,
    /// Groups of 3, 2 and 4 digits with one separator; no anchor.
    Ssn,
    /// `+` and 8 to 15 digits, or groups of 3, 3 and 4 digits, with spaces, dots, dashes or brackets; no anchor.
    Phone,
    /// Four numbers below 256 with dots between; no anchor.
    Ipv4,
    /// Groups of up to four hex digits with `:` between.
    Ipv6,
    /// A mailbox around the anchor `@`.
    Email,
}

/// What replaces a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: the rule is not used.
    Off,
    /// A typed placeholder.
    Redact,
    /// A placeholder with the last four characters, for values of eight or more.
    Partial,
    /// A keyed pseudonym: equal values, equal pseudonyms.
    Pseudonym,
}

/// How much a finding matters, as OCSF counts it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// An identifier, or a value that is made to be shown.
    Low,
    /// Personal data, or a value found by its name alone.
    Medium,
    /// A credential.
    High,
    /// A credential that opens an account, a cluster or a key store as a whole.
    Critical,
}

impl Severity {
    /// OCSF `severity_id`: 2 to 5.
    #[must_use]
    pub const fn ocsf(self) -> i32 {
        match self {
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }

    /// The word of the configuration and of the reference page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable id, also in `mask_rules` and in the placeholder.
    pub id: &'static str,
    /// One line: what it finds.
    pub doc_short: &'static str,
    /// The format, and the vendor's page it is from; what it leaves.
    pub doc_long: &'static str,
    /// Literals that every match holds, for the prefilter; empty for a rule that scans digits.
    pub anchors: &'static [&'static str],
    /// What stands around an anchor.
    pub shape: Shape,
    /// Last word on a candidate.
    pub validator: Option<Validator>,
    /// What replaces it, unless the configuration says otherwise.
    pub action: Action,
    /// How much a finding matters.
    pub severity: Severity,
    /// Templates of texts it must match.
    pub examples: &'static [&'static str],
    /// Templates of texts it must not match.
    pub counter_examples: &'static [&'static str],
}

impl Rule {
    /// A rule that redacts with severity high, without validator, examples and words.
    const fn new(id: &'static str, anchors: &'static [&'static str], shape: Shape) -> Self {
        Self {
            id,
            doc_short: "",
            doc_long: "",
            anchors,
            shape,
            validator: None,
            action: Action::Redact,
            severity: Severity::High,
            examples: &[],
            counter_examples: &[],
        }
    }

    /// Shape [`Shape::Token`].
    const fn token(
        id: &'static str,
        anchors: &'static [&'static str],
        class: Class,
        (min, max): (usize, usize),
    ) -> Self {
        Self::new(id, anchors, Shape::Token { class, min, max })
    }

    /// Shape [`Shape::Named`]; severity medium, because a name and a length are weak evidence.
    const fn named(
        id: &'static str,
        anchors: &'static [&'static str],
        class: Class,
        (min, max): (usize, usize),
    ) -> Self {
        Self::new(id, anchors, Shape::Named { class, min, max }).of(Severity::Medium)
    }

    const fn says(mut self, short: &'static str, long: &'static str) -> Self {
        (self.doc_short, self.doc_long) = (short, long);
        self
    }

    const fn checked(mut self, validator: Validator) -> Self {
        self.validator = Some(validator);
        self
    }

    const fn of(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    const fn acts(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    const fn tried(mut self, examples: &'static [&'static str], counter_examples: &'static [&'static str]) -> Self {
        (self.examples, self.counter_examples) = (examples, counter_examples);
        self
    }

    /// What the validator says of `found`; without one every candidate is plausible.
    #[must_use]
    pub fn verdict(&self, found: &[u8]) -> Verdict {
        self.validator.map_or(Verdict::Plausible, |validator| (validator.test)(found))
    }

    /// True when the anchors are compared in their own case.
    #[must_use]
    pub const fn exact(&self) -> bool {
        matches!(self.shape, Shape::Token { .. } | Shape::Around { .. })
    }
}

/// Rules of one kind of vendor.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Name, as in the evaluation's tables.
    pub name: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
}

/// Every rule by family. Of two rules that match the same span, the first listed names the placeholder.
pub const FAMILIES: &[Family] = &[
    Family { name: "cloud", rules: cloud::RULES },
    Family { name: "code host", rules: code_host::RULES },
    Family { name: "delivery", rules: delivery::RULES },
    Family { name: "ai", rules: ai::RULES },
    Family { name: "messaging", rules: messaging::RULES },
    Family { name: "social", rules: social::RULES },
    Family { name: "commerce", rules: commerce::RULES },
    Family { name: "data service", rules: data_service::RULES },
    Family { name: "observability", rules: observability::RULES },
    Family { name: "workplace", rules: workplace::RULES },
    Family { name: "generic", rules: generic::RULES },
    Family { name: "personal", rules: personal::RULES },
];

#[allow(clippy::indexing_slicing)] // evaluated at compile time
const COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < FAMILIES.len() {
        count += FAMILIES[at].rules.len();
        at += 1;
    }
    count
};

#[allow(clippy::indexing_slicing)] // evaluated at compile time
const ALL: [&Rule; COUNT] = {
    let mut all = [&FAMILIES[0].rules[0]; COUNT];
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        let mut at = 0;
        while at < FAMILIES[family].rules.len() {
            all[count] = &FAMILIES[family].rules[at];
            (at, count) = (at + 1, count + 1);
        }
        family += 1;
    }
    all
};

/// Every rule.
pub const RULES: &[&Rule] = &ALL;

/// The family of a rule; `user` for one that is not built in.
#[must_use]
pub fn family_of(id: &str) -> &'static str {
    let family = FAMILIES.iter().find(|family| family.rules.iter().any(|rule| rule.id == id));
    family.map_or("user", |family| family.name)
}
