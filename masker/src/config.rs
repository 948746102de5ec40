//! Table `[masker]` of the configuration.

use std::path::PathBuf;

/// Which string constants of a statement are masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Literals {
    /// Those of secret-bearing statements and of secret-named columns; patterns everywhere.
    #[default]
    Secret,
    /// Every string constant.
    All,
}

/// How the masker works.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaskerConfig {
    /// File with the masker's private key; mode 0600. No default.
    pub key_file: PathBuf,
    /// File with the pseudonym key, same form. Empty: derived from the private key.
    pub pseudonym_key_file: Option<PathBuf>,
    /// Names, in lower case, whose values are masked: a name counts when one of these is part of it.
    pub secret_columns: Vec<String>,
    /// Which string constants are masked.
    pub literals: Literals,
    /// Ids of rules not used. Default: none.
    pub disabled_rules: Vec<String>,
    /// What replaces the matches of a rule, by its id: `off`, `redact`, `partial` or `pseudonym`. Default: what the
    /// reference page of the rules says; `phone`, `ipv4` and `ipv6` are off.
    pub actions: std::collections::BTreeMap<String, crate::rule::Action>,
    /// Rules of your own; at most 256.
    pub rules: Vec<crate::user_rule::UserRule>,
    /// Epoch of pseudonyms, part of each: a new number, and no new pseudonym equals an old one. Default 0.
    pub pseudonym_epoch: u32,
}

impl Default for MaskerConfig {
    fn default() -> Self {
        let names = [
            "pass",
            "pwd",
            "secret",
            "token",
            "ssn",
            "social_security",
            "credit_card",
            "card_number",
            "cardnumber",
            "cvv",
            "cvc",
            "iban",
            "dob",
            "birth",
            "api_key",
            "apikey",
            "private_key",
            "access_key",
            "credential",
            "rolpassword",
            "totp",
            "otp_",
            "pin_code",
        ];
        Self {
            key_file: PathBuf::new(),
            pseudonym_key_file: None,
            secret_columns: names.map(str::to_owned).to_vec(),
            literals: Literals::Secret,
            disabled_rules: Vec::new(),
            actions: std::collections::BTreeMap::new(),
            rules: Vec::new(),
            pseudonym_epoch: 0,
        }
    }
}
