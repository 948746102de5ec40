//! The masking rules: data, one file per rule, with examples that must match and counter-examples that must not.
//!
//! A rule says what to look for, never how: the engine ([`crate::engine`]) may be replaced without touching one.

mod ai_key;
mod assignment;
mod authorization;
mod aws_access_key;
mod aws_secret;
mod card;
mod email;
mod gcp_api_key;
mod github_token;
mod gitlab_token;
mod iban;
mod jwt;
mod md5;
mod npm_token;
mod pem;
mod pypi_token;
mod scram;
mod sendgrid_key;
mod slack_token;
mod ssn;
mod stripe_key;
mod twilio_key;
mod url_password;

/// Bytes that may continue a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `A-Z 0-9`.
    UpperAlnum,
    /// `A-Z a-z 0-9 _`.
    Word,
    /// `A-Z a-z 0-9 _ -`.
    Base64Url,
    /// The same and `.`.
    Base64UrlDot,
    /// RFC 9110 token68.
    Token68,
    /// Base64, `$`, `:`.
    Scram,
    /// Hex digits.
    Hex,
}

impl Class {
    /// True when `byte` is of the class.
    #[must_use]
    pub fn holds(self, byte: u8) -> bool {
        let word = byte.is_ascii_alphanumeric() || byte == b'_';
        match self {
            Self::UpperAlnum => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Word => word,
            Self::Base64Url => word || byte == b'-',
            Self::Base64UrlDot => word || byte == b'-' || byte == b'.',
            Self::Token68 => word || b"-.~+/=".contains(&byte),
            Self::Scram => byte.is_ascii_alphanumeric() || b"+/=$:".contains(&byte),
            Self::Hex => byte.is_ascii_hexdigit(),
        }
    }
}

/// What stands around an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The anchor, at a word's start, and `min..=max` bytes of `class` up to a byte outside it: all masked.
    Token {
        /// Bytes of the body.
        class: Class,
        /// Fewest bytes.
        min: usize,
        /// Most bytes; a longer run is no match.
        max: usize,
    },
    /// The anchor, then at least `min` bytes of `class`, which are masked.
    Following {
        /// Bytes of the value.
        class: Class,
        /// Fewest bytes.
        min: usize,
    },
    /// A key that ends with the anchor, then `=`, `:` or `=>`, then a value: quoted, or up to a separator.
    Assignment,
    /// `-----BEGIN .. PRIVATE KEY-----` up to the end of its END line, or to the end.
    Pem,
    /// `scheme://user:password@`: the password.
    Url,
    /// 13 to 19 digits with single spaces or dashes between; no anchor.
    Card,
    /// Two letters and two digits, then as many letters and digits as the country has; single spaces; no anchor.
    Iban,
    /// Groups of 3, 2 and 4 digits with one separator; no anchor.
    Ssn,
    /// A mailbox around the anchor `@`.
    Email,
}

/// What replaces a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A typed placeholder.
    Replace,
    /// A placeholder with the last four digits.
    KeepLast4,
    /// A keyed pseudonym: equal values, equal pseudonyms.
    Pseudonym,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Stable id, also in `mask_rules` and in the placeholder.
    pub id: &'static str,
    /// One line.
    pub doc_short: &'static str,
    /// What it finds and what it leaves.
    pub doc_long: &'static str,
    /// Literals that every match holds, for the prefilter; empty for a rule that scans digits.
    pub anchors: &'static [&'static str],
    /// What stands around an anchor.
    pub shape: Shape,
    /// Last word on a candidate.
    pub validator: Option<fn(&[u8]) -> bool>,
    /// What replaces it.
    pub action: Action,
    /// Texts it must match.
    pub examples: &'static [&'static str],
    /// Texts it must not match.
    pub counter_examples: &'static [&'static str],
}

/// Every rule.
pub const RULES: &[&Rule] = &[
    &aws_access_key::RULE,
    &aws_secret::RULE,
    &gcp_api_key::RULE,
    &github_token::RULE,
    &gitlab_token::RULE,
    &slack_token::RULE,
    &stripe_key::RULE,
    &ai_key::RULE,
    &npm_token::RULE,
    &pypi_token::RULE,
    &sendgrid_key::RULE,
    &twilio_key::RULE,
    &jwt::RULE,
    &pem::RULE,
    &url_password::RULE,
    &assignment::RULE,
    &authorization::RULE,
    &scram::RULE,
    &md5::RULE,
    &card::RULE,
    &iban::RULE,
    &ssn::RULE,
    &email::RULE,
];
