//! Rules: social networks and media.

use super::{Class, Rule, Shape};
use crate::validate::MIXED;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("facebook-token", &["EAA"], Class::Alnum, (80, 400))
        .says("Facebook access token", "`EAA`, then 80 to 400 letters and digits. Source: Meta for Developers, \"Access tokens\".")
        .tried(&["EAAM{alnum:120}", "EAACEdEose0cBA{alnum:90}"], &["EAA{alnum:4} is short"]),
    Rule::new("facebook-app-token", &["|", "%7C"], Shape::Around { class: Class::Base64Url, before: (15, 16), after: (27, 40) })
        .says("Facebook app access token", "15 or 16 digits, `|` (or `%7C`), then 27 to 40 letters, digits, `_` and `-`. Source: Meta for Developers, \"Access tokens\", app tokens.")
        .checked(MIXED)
        .tried(&["access_token {!num:16}|{url:27} end"], &["a|b", "1234|{url:30}"]),
    Rule::named("facebook-secret", &["facebook"], Class::Hex, (32, 32))
        .says("Facebook app secret, by its name", "The name `facebook` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 hexadecimal digits: only these are replaced. Source: Meta for Developers, \"App settings\".")
        .checked(MIXED)
        .tried(&["facebook_key = \"{hex:32}\"", "FACEBOOK_TOKEN: {hex:32}"], &["facebook is a name", "facebook_key = \"{hex:16}\""]),
    Rule::named("twitter-key", &["twitter"], Class::Alnum, (25, 50))
        .says("X (Twitter) API key or secret, by its name", "The name `twitter` in any case, up to 40 bytes of a longer name, a sign of assignment, then 25 to 50 letters and digits: only these are replaced. Source: X developer documentation, \"API key and secret\".")
        .checked(MIXED)
        .tried(&["twitter_key = \"{low:25}\"", "TWITTER_TOKEN: {low:25}"], &["twitter is a name", "twitter_key = \"{low:12}\""]),
    Rule::named("twitter-token", &["twitter"], Class::Base64Url, (36, 66))
        .says("X (Twitter) access token, by its name", "The name `twitter` in any case, up to 40 bytes of a longer name, a sign of assignment, then 36 to 66 letters, digits, `_` and `-`: only these are replaced. Source: X developer documentation, \"Access tokens\".")
        .checked(MIXED)
        .tried(&["twitter_token = \"{!num:19}-{alnum:40}\""], &["twitter is a name", "twitter_key = \"{url:18}\""]),
    Rule::token("twitter-bearer", &["AAAAAAAAAAAAAAAAAAAAA"], Class::Loose, (80, 102))
        .says("X (Twitter) bearer token", "`AAAAAAAAAAAAAAAAAAAAA`, then 80 to 102 characters of a token. Source: X developer documentation, \"OAuth 2.0 Bearer Token\".")
        .tried(&["key AAAAAAAAAAAAAAAAAAAAA{url:80} end"], &["AAAAAAAAAAAAAAAAAAAAA{url:4} is short"]),
    Rule::named("linkedin-key", &["linkedin", "linked_in", "linked-in"], Class::Alnum, (14, 16))
        .says("LinkedIn client id or secret, by its name", "The name `linkedin`, `linked_in`, `linked-in` in any case, up to 40 bytes of a longer name, a sign of assignment, then 14 to 16 letters and digits: only these are replaced. Source: LinkedIn developer documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["linkedin_key = \"{low:14}\"", "LINKEDIN_TOKEN: {low:14}"], &["linkedin is a name", "linkedin_key = \"{low:7}\""]),
    Rule::named("twitch-token", &["twitch"], Class::Alnum, (30, 30))
        .says("Twitch token, by its name", "The name `twitch` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 30 letters and digits: only these are replaced. Source: Twitch developer documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["twitch_key = \"{low:30}\"", "TWITCH_TOKEN: {low:30}"], &["twitch is a name", "twitch_key = \"{low:15}\""]),
    Rule::named("flickr-key", &["flickr"], Class::Alnum, (32, 32))
        .says("Flickr key, by its name", "The name `flickr` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Flickr developer guide, \"API keys\".")
        .checked(MIXED)
        .tried(&["flickr_key = \"{low:32}\"", "FLICKR_TOKEN: {low:32}"], &["flickr is a name", "flickr_key = \"{low:16}\""]),
    Rule::named("nytimes-key", &["nytimes", "newyorktimes", "new-york-times"], Class::Token68, (32, 32))
        .says("New York Times API key, by its name", "The name `nytimes`, `newyorktimes`, `new-york-times` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 token68 characters: only these are replaced. Source: New York Times developer network, \"Get started\".")
        .checked(MIXED)
        .tried(&["nytimes_key = \"{url:32}\"", "NYTIMES_TOKEN: {url:32}"], &["nytimes is a name", "nytimes_key = \"{url:16}\""]),
    Rule::named("etsy-key", &["etsy"], Class::Alnum, (24, 24))
        .says("Etsy API key, by its name", "The name `etsy` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 24 letters and digits: only these are replaced. Source: Etsy developer documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["etsy_key = \"{low:24}\"", "ETSY_TOKEN: {low:24}"], &["etsy is a name", "etsy_key = \"{low:12}\""]),
];
