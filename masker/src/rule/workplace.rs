//! Rules: work tools, identity and security.

use super::{Class, Rule, Severity, Shape};
use crate::validate::{ENTROPY_HIGH, MIXED};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("onepassword-secret-key", &["A3-"], Class::Base64Url, (31, 40))
        .says("1Password secret key", "`A3-`, then 31 to 40 letters, digits, `_` and `-`. Source: 1Password security design, \"Secret Key\": version, account id and groups of five.")
        .checked(ENTROPY_HIGH)
        .of(Severity::Critical)
        .tried(&["A3-{up:6}-{up:11}-{up:5}-{up:5}-{up:5}", "A3-{up:6}-{up:6}-{up:5}-{up:5}-{up:5}-{up:5}"], &["A3-{url:4} is short"]),
    Rule::token("onepassword-token", &["ops_eyJ"], Class::Base64, (200, 2048))
        .says("1Password service account token", "`ops_eyJ`, then 200 to 2048 base64 characters. Source: 1Password developer documentation, \"Service accounts\".")
        .of(Severity::Critical)
        .tried(&["ops_eyJ{b64:280}"], &["ops_eyJ{b64:4} is short"]),
    Rule::new("age-key", &["AGE-SECRET-KEY-1", "AGE-SECRET-KEY-PQ-1"], Shape::Token { class: Class::UpperAlnum, min: 58, max: 120 })
        .says("age secret key", "`AGE-SECRET-KEY-1` and 58 characters of bech32. Source: the age file format, C2SP `age.md`, section \"X25519 identity\".")
        .of(Severity::Critical)
        .tried(&["AGE-SECRET-KEY-1{up:58}"], &["AGE-SECRET-KEY-1 is a prefix"]),
    Rule::named("adobe-client", &["adobe"], Class::Hex, (32, 32))
        .says("Adobe client id, by its name", "The name `adobe` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 hexadecimal digits: only these are replaced. Source: Adobe developer documentation, \"OAuth credentials\".")
        .checked(MIXED)
        .tried(&["adobe_key = \"{hex:32}\"", "ADOBE_TOKEN: {hex:32}"], &["adobe is a name", "adobe_key = \"{hex:16}\""]),
    Rule::token("adobe-secret", &["p8e-"], Class::Base64Url, (32, 32))
        .says("Adobe client secret", "`p8e-`, then exactly 32 letters, digits, `_` and `-`. Source: Adobe developer documentation, \"OAuth credentials\".")
        .tried(&["key p8e-{url:32} end"], &["p8e-{url:4} is short"]),
    Rule::named("asana-client", &["asana"], Class::Digit, (16, 16))
        .says("Asana client id, by its name", "The name `asana` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 16 digits: only these are replaced. Source: Asana developer documentation, \"OAuth\".")
        .of(Severity::Low)
        .tried(&["asana_key = \"{num:16}\"", "ASANA_TOKEN: {num:16}"], &["asana is a name", "asana_key = \"{num:8}\""]),
    Rule::named("asana-secret", &["asana"], Class::Alnum, (32, 32))
        .says("Asana client secret, by its name", "The name `asana` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Asana developer documentation, \"OAuth\".")
        .checked(MIXED)
        .tried(&["asana_key = \"{low:32}\"", "ASANA_TOKEN: {low:32}"], &["asana is a name", "asana_key = \"{low:16}\""]),
    Rule::token("atlassian-token", &["ATATT3"], Class::Token68, (180, 210))
        .says("Atlassian API token", "`ATATT3`, then 180 to 210 token68 characters. Source: Atlassian documentation, \"Manage API tokens\".")
        .of(Severity::Critical)
        .tried(&["ATATT3{url:185}="], &["ATATT3{url:4} is short"]),
    Rule::named("atlassian-key", &["atlassian", "confluence", "jira"], Class::Alnum, (24, 24))
        .says("Atlassian API token of the older form, by its name", "The name `atlassian`, `confluence`, `jira` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 24 letters and digits: only these are replaced. Source: Atlassian documentation, \"Manage API tokens\".")
        .checked(MIXED)
        .tried(&["atlassian_key = \"{low:24}\"", "ATLASSIAN_TOKEN: {low:24}"], &["atlassian is a name", "atlassian_key = \"{low:12}\""]),
    Rule::token("authress-key", &["sc_", "ext_", "scauth_", "authress_"], Class::Token68, (60, 220))
        .says("Authress service client key", "`sc_`, `ext_`, `scauth_`, `authress_`, then 60 to 220 token68 characters. Source: Authress documentation, \"Service clients\".")
        .checked(MIXED)
        .tried(&["sc_{low:12}.{low:5}.acc-{low:16}.{url:60}"], &["sc_{url:4} is short"]),
    Rule::named("hubspot-key", &["hubspot"], Class::HexDash, (36, 36))
        .says("HubSpot API key, by its name", "The name `hubspot` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: HubSpot developer documentation, \"API key\" (retired form).")
        .tried(&["hubspot_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "HUBSPOT_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["hubspot is a name", "hubspot_key = \"{hex:18}\""]),
    Rule::token("hubspot-pat", &["pat-na1-", "pat-na2-", "pat-eu1-", "pat-ap1-"], Class::HexDash, (36, 36))
        .says("HubSpot private app token", "`pat-na1-`, `pat-na2-`, `pat-eu1-`, `pat-ap1-`, then exactly 36 hexadecimal digits and `-`. Source: HubSpot developer documentation, \"Private apps\".")
        .tried(&["pat-na1-{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["pat-na1-{hex:4} is short"]),
    Rule::token("intra42-secret", &["s-s4t2ud-", "s-s4t2af-"], Class::Hex, (64, 64))
        .says("42 intranet client secret", "`s-s4t2ud-`, `s-s4t2af-`, then exactly 64 hexadecimal digits. Source: 42 API documentation, \"Getting started\".")
        .tried(&["key s-s4t2ud-{hex:64} end"], &["s-s4t2ud-{hex:4} is short"]),
    Rule::token("linear-key", &["lin_api_", "lin_oauth_"], Class::Alnum, (40, 64))
        .says("Linear API key", "`lin_api_`, `lin_oauth_`, then 40 to 64 letters and digits. Source: Linear developer documentation, \"Personal API keys\".")
        .tried(&["lin_api_{alnum:40}"], &["lin_api_{alnum:4} is short"]),
    Rule::named("linear-secret", &["linear"], Class::Hex, (32, 32))
        .says("Linear client secret, by its name", "The name `linear` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 hexadecimal digits: only these are replaced. Source: Linear developer documentation, \"OAuth 2.0\".")
        .checked(MIXED)
        .tried(&["linear_key = \"{hex:32}\"", "LINEAR_TOKEN: {hex:32}"], &["linear is a name", "linear_key = \"{hex:16}\""]),
    Rule::token("notion-token", &["ntn_", "secret_"], Class::Alnum, (43, 50))
        .says("Notion integration token", "`ntn_`, `secret_`, then 43 to 50 letters and digits. Source: Notion developer documentation, \"Authorization\".")
        .checked(MIXED)
        .tried(&["ntn_{num:11}{alnum:35}", "secret_{alnum:43}"], &["ntn_{alnum:4} is short"]),
    Rule::named("okta-token", &["okta"], Class::Token68, (42, 42))
        .says("Okta API token, by its name", "The name `okta` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 42 token68 characters: only these are replaced. Source: Okta developer documentation, \"Create an API token\".")
        .checked(MIXED)
        .tried(&["okta_key = \"00{url:40}\""], &["okta is a name", "okta_key = \"{url:21}\""]),
    Rule::token("settlemint-token", &["sm_aat_", "sm_pat_", "sm_sat_"], Class::Alnum, (16, 16))
        .says("SettleMint token", "`sm_aat_`, `sm_pat_`, `sm_sat_`, then exactly 16 letters and digits. Source: SettleMint documentation, \"Access tokens\".")
        .tried(&["key sm_aat_{alnum:16} end"], &["sm_aat_{alnum:4} is short"]),
    Rule::token("figma-token", &["figd_", "figu_", "figo_"], Class::Base64Url, (40, 60))
        .says("Figma token", "`figd_`, `figu_`, `figo_`, then 40 to 60 letters, digits, `_` and `-`. Source: Figma developer documentation, \"Access tokens\".")
        .tried(&["key figd_{url:40} end"], &["figd_{url:4} is short"]),
    Rule::token("monday-token", &["mondaytoken-"], Class::Alnum, (40, 60))
        .says("monday.com token", "`mondaytoken-`, then 40 to 60 letters and digits. Source: monday.com developer documentation, \"Authentication\".")
        .tried(&["key mondaytoken-{alnum:40} end"], &["mondaytoken-{alnum:4} is short"]),
    Rule::token("asana-pat", &["1/"], Class::Loose, (48, 52))
        .says("Asana personal access token", "`1/`, then 48 to 52 characters of a token. Source: Asana developer documentation, \"Personal access token\".")
        .checked(MIXED)
        .tried(&["1/{num:16}:{hex:32}"], &["1/2", "1/{num:10}"]),
    Rule::token("tailscale-key", &["tskey-auth-", "tskey-api-", "tskey-client-", "tskey-webhook-"], Class::Base64Url, (20, 80))
        .says("Tailscale key", "`tskey-auth-`, `tskey-api-`, `tskey-client-`, `tskey-webhook-`, then 20 to 80 letters, digits, `_` and `-`. Source: Tailscale documentation, \"Key prefixes\".")
        .of(Severity::Critical)
        .tried(&["tskey-auth-{alnum:12}-{alnum:32}"], &["tskey-auth-{url:4} is short"]),
    Rule::token("zapier-webhook", &["hooks.zapier.com/hooks/catch/"], Class::Base64, (12, 40))
        .says("Zapier webhook URL", "`hooks.zapier.com/hooks/catch/`, then 12 to 40 base64 characters. Source: Zapier documentation, \"Webhooks\".")
        .tried(&["https://hooks.zapier.com/hooks/catch/{!num:8}/{low:7}"], &["hooks.zapier.com/hooks/catch/"]),
];
