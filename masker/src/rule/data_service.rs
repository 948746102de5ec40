//! Rules: databases, maps and other data services.

use super::{Class, Rule, Shape};
use crate::validate::{ENTROPY_MEDIUM, MIXED};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::named("airtable-key", &["airtable"], Class::Alnum, (17, 17))
        .says("Airtable API key, by its name", "The name `airtable` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 17 letters and digits: only these are replaced. Source: Airtable documentation, \"API keys\" (retired form).")
        .checked(MIXED)
        .tried(&["airtable_key = \"{low:17}\"", "AIRTABLE_TOKEN: {low:17}"], &["airtable is a name", "airtable_key = \"{low:8}\""]),
    Rule::token("airtable-pat", &["pat"], Class::Base64UrlDot, (79, 79))
        .says("Airtable personal access token", "`pat`, then exactly 79 letters, digits, `_`, `-` and `.`. Source: Airtable documentation, \"Personal access tokens\": 14 characters, a dot, 64 hexadecimal digits.")
        .checked(MIXED)
        .tried(&["pat{alnum:14}.{hex:64}"], &["pat{url:4} is short"]),
    Rule::named("algolia-key", &["algolia"], Class::Alnum, (32, 32))
        .says("Algolia API key, by its name", "The name `algolia` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Algolia documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["algolia_key = \"{low:32}\"", "ALGOLIA_TOKEN: {low:32}"], &["algolia is a name", "algolia_key = \"{low:16}\""]),
    Rule::token("clickhouse-key", &["4b1d"], Class::Alnum, (38, 38))
        .says("ClickHouse Cloud API secret", "`4b1d`, then exactly 38 letters and digits. Source: ClickHouse Cloud documentation, \"Managing API keys\".")
        .checked(ENTROPY_MEDIUM)
        .tried(&["key 4b1d{alnum:38} end"], &["4b1d{alnum:4} is short"]),
    Rule::named("confluent-key", &["confluent"], Class::Alnum, (16, 64))
        .says("Confluent key or secret, by its name", "The name `confluent` in any case, up to 40 bytes of a longer name, a sign of assignment, then 16 to 64 letters and digits: only these are replaced. Source: Confluent Cloud documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["confluent_key = \"{low:16}\"", "CONFLUENT_TOKEN: {low:16}"], &["confluent is a name", "confluent_key = \"{low:8}\""]),
    Rule::named("contentful-token", &["contentful"], Class::Token68, (43, 43))
        .says("Contentful delivery token, by its name", "The name `contentful` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 43 token68 characters: only these are replaced. Source: Contentful documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["contentful_key = \"{url:43}\"", "CONTENTFUL_TOKEN: {url:43}"], &["contentful is a name", "contentful_key = \"{url:21}\""]),
    Rule::token("contentful-pat", &["CFPAT-"], Class::Base64Url, (43, 43))
        .says("Contentful personal access token", "`CFPAT-`, then exactly 43 letters, digits, `_` and `-`. Source: Contentful documentation, \"Personal access tokens\".")
        .tried(&["key CFPAT-{url:43} end"], &["CFPAT-{url:4} is short"]),
    Rule::token("planetscale-token", &["pscale_tkn_", "pscale_oauth_", "pscale_pw_"], Class::Token68, (32, 64))
        .says("PlanetScale token or password", "`pscale_tkn_`, `pscale_oauth_`, `pscale_pw_`, then 32 to 64 token68 characters. Source: PlanetScale documentation, \"Service tokens\" and \"Connection strings\".")
        .tried(&["key pscale_tkn_{url:32} end"], &["pscale_tkn_{url:4} is short"]),
    Rule::token("mapbox-token", &["pk.", "sk.", "tk."], Class::Base64UrlDot, (80, 100))
        .says("Mapbox token", "`pk.`, `sk.`, `tk.`, then 80 to 100 letters, digits, `_`, `-` and `.`. Source: Mapbox documentation, \"Access tokens\".")
        .checked(MIXED)
        .tried(&["pk.eyJ1{alnum:56}.{alnum:22}"], &["pk.{url:4} is short"]),
    Rule::new("maxmind-key", &["_mmk"], Shape::Around { class: Class::Word, before: (36, 36), after: (0, 0) })
        .says("MaxMind licence key", "Six letters and digits, `_`, 29 letters and digits, `_mmk`. Source: MaxMind developer portal, \"License key format\".")
        .checked(MIXED)
        .tried(&["licence {alnum:6}_{alnum:29}_mmk end"], &["x_mmk"]),
    Rule::named("dropbox-token", &["dropbox"], Class::Token68, (15, 140))
        .says("Dropbox token, by its name", "The name `dropbox` in any case, up to 40 bytes of a longer name, a sign of assignment, then 15 to 140 token68 characters: only these are replaced. Source: Dropbox developer documentation, \"OAuth guide\".")
        .checked(MIXED)
        .tried(&["dropbox_key = \"{low:15}\"", "dropbox = \"{low:11}AAAAAAAAAA{url:43}\"", "DROPBOX_TOKEN=sl.{url:135}"], &["dropbox is a name", "dropbox_key = \"{url:7}\""]),
    Rule::token("dropbox-short-token", &["sl."], Class::Base64Url, (130, 200))
        .says("Dropbox short-lived token", "`sl.`, then 130 to 200 letters, digits, `_` and `-`. Source: Dropbox developer documentation, \"OAuth guide\".")
        .tried(&["key sl.{url:130} end"], &["sl.{url:4} is short"]),
    Rule::token("mongodb-atlas-key", &["mdb_sa_sk_", "mdb_sa_id_"], Class::Base64Url, (24, 60))
        .says("MongoDB Atlas service account", "`mdb_sa_sk_`, `mdb_sa_id_`, then 24 to 60 letters, digits, `_` and `-`. Source: MongoDB Atlas documentation, \"Service accounts\".")
        .tried(&["key mdb_sa_sk_{url:24} end"], &["mdb_sa_sk_{url:4} is short"]),
    Rule::token("neon-key", &["napi_"], Class::Alnum, (60, 70))
        .says("Neon API key", "`napi_`, then 60 to 70 letters and digits. Source: Neon documentation, \"Manage API keys\".")
        .tried(&["key napi_{alnum:60} end"], &["napi_{alnum:4} is short"]),
    Rule::named("rapidapi-key", &["rapidapi"], Class::Base64Url, (50, 50))
        .says("RapidAPI key, by its name", "The name `rapidapi` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 50 letters, digits, `_` and `-`: only these are replaced. Source: RapidAPI documentation, \"Keys\".")
        .checked(MIXED)
        .tried(&["rapidapi_key = \"{url:50}\"", "RAPIDAPI_TOKEN: {url:50}"], &["rapidapi is a name", "rapidapi_key = \"{url:25}\""]),
    Rule::token("typeform-token", &["tfp_"], Class::Token68, (40, 64))
        .says("Typeform token", "`tfp_`, then 40 to 64 token68 characters. Source: Typeform developer documentation, \"Personal access token\".")
        .tried(&["typeform tfp_{url:59}"], &["tfp_{url:4} is short"]),
    Rule::token("frameio-token", &["fio-u-"], Class::Token68, (64, 64))
        .says("Frame.io token", "`fio-u-`, then exactly 64 token68 characters. Source: Frame.io developer documentation, \"Authentication\".")
        .tried(&["key fio-u-{url:64} end"], &["fio-u-{url:4} is short"]),
    Rule::token("adafruit-key", &["aio_"], Class::Alnum, (28, 28))
        .says("Adafruit IO key", "`aio_`, then exactly 28 letters and digits. Source: Adafruit IO documentation, \"API keys\".")
        .tried(&["key aio_{alnum:28} end"], &["aio_{alnum:4} is short"]),
    Rule::named("adafruit-named", &["adafruit"], Class::Base64Url, (32, 32))
        .says("Adafruit key, by its name", "The name `adafruit` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters, digits, `_` and `-`: only these are replaced. Source: Adafruit IO documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["adafruit_key = \"{url:32}\"", "ADAFRUIT_TOKEN: {url:32}"], &["adafruit is a name", "adafruit_key = \"{url:16}\""]),
    Rule::token("defined-networking-token", &["dnkey-"], Class::Token68, (79, 79))
        .says("Defined Networking API token", "`dnkey-`, then exactly 79 token68 characters. Source: Defined Networking documentation, \"API keys\".")
        .tried(&["dnkey-{url:26}-{url:52}"], &["dnkey-{url:4} is short"]),
    Rule::named("looker-key", &["looker"], Class::Alnum, (20, 24))
        .says("Looker client id or secret, by its name", "The name `looker` in any case, up to 40 bytes of a longer name, a sign of assignment, then 20 to 24 letters and digits: only these are replaced. Source: Looker documentation, \"API credentials\".")
        .checked(MIXED)
        .tried(&["looker_key = \"{low:20}\"", "LOOKER_TOKEN: {low:20}"], &["looker is a name", "looker_key = \"{low:10}\""]),
];
