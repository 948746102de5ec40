//! Rules: monitoring and analytics.

use super::{Class, Rule};
use crate::validate::MIXED;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::named("datadog-key", &["datadog", "dd_api", "dd-api", "dd_app"], Class::Alnum, (32, 40))
        .says("Datadog API or application key, by its name", "The name `datadog`, `dd_api`, `dd-api`, `dd_app` in any case, up to 40 bytes of a longer name, a sign of assignment, then 32 to 40 letters and digits: only these are replaced. Source: Datadog documentation, \"API and application keys\".")
        .checked(MIXED)
        .tried(&["datadog_key = \"{low:32}\"", "DATADOG_TOKEN: {low:32}"], &["datadog is a name", "datadog_key = \"{low:16}\""]),
    Rule::token("newrelic-key", &["NRAK-", "NRJS-", "NRII-", "NRAA-", "NRBR-", "NRIQ-", "NRSP-"], Class::Base64Url, (19, 48))
        .says("New Relic key", "`NRAK-`, `NRJS-`, `NRII-`, `NRAA-`, `NRBR-`, `NRIQ-`, `NRSP-`, then 19 to 48 letters, digits, `_` and `-`. Source: New Relic documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["NRAK-{up:27}", "NRJS-{hex:19}", "NRII-{low:32}"], &["NRAK-{url:4} is short"]),
    Rule::named("newrelic-id", &["newrelic", "new-relic", "new_relic"], Class::Alnum, (64, 64))
        .says("New Relic user key id, by its name", "The name `newrelic`, `new-relic`, `new_relic` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 64 letters and digits: only these are replaced. Source: New Relic documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["newrelic_key = \"{low:64}\"", "NEWRELIC_TOKEN: {low:64}"], &["newrelic is a name", "newrelic_key = \"{low:32}\""]),
    Rule::named("sentry-key", &["sentry"], Class::Hex, (64, 64))
        .says("Sentry token, by its name", "The name `sentry` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 64 hexadecimal digits: only these are replaced. Source: Sentry documentation, \"Auth tokens\".")
        .checked(MIXED)
        .tried(&["sentry_key = \"{hex:64}\"", "SENTRY_TOKEN: {hex:64}"], &["sentry is a name", "sentry_key = \"{hex:32}\""]),
    Rule::token("sentry-token", &["sntrys_", "sntryu_", "sntrya_", "sntryi_"], Class::Loose, (60, 600))
        .says("Sentry token with prefix", "`sntrys_`, `sntryu_`, `sntrya_`, `sntryi_`, then 60 to 600 characters of a token. Source: Sentry documentation, \"Auth tokens\", prefixes by kind.")
        .tried(&["sntryu_{hex:64}", "sntrys_eyJpYXQiO{alnum:60}=_{alnum:43}"], &["sntrys_x"]),
    Rule::token("sentry-org-token", &["sntrys_eyJ"], Class::Token68, (60, 600))
        .says("Sentry organisation token", "`sntrys_eyJ`, then 60 to 600 token68 characters. Source: Sentry documentation, \"Organization tokens\".")
        .tried(&["sntrys_eyJpYXQiO{alnum:60}=_{alnum:43}"], &["sntrys_eyJ{url:4} is short"]),
    Rule::token("grafana-token", &["glsa_", "glc_"], Class::Token68, (32, 404))
        .says("Grafana service account or cloud token", "`glsa_`, `glc_`, then 32 to 404 token68 characters. Source: Grafana documentation, \"Service account tokens\" and \"Access policies\".")
        .tried(&["glsa_{alnum:32}_{hex:8}", "glc_{b64:120}"], &["glsa_{url:4} is short"]),
    Rule::token("grafana-key", &["eyJrIjoi"], Class::Base64, (70, 404))
        .says("Grafana API key", "`eyJrIjoi`, then 70 to 404 base64 characters. Source: Grafana documentation, \"API keys\" (retired form: a JSON object in base64).")
        .tried(&["key eyJrIjoi{b64:70} end"], &["eyJrIjoi{b64:4} is short"]),
    Rule::token("dynatrace-token", &["dt0c01.", "dt0s01.", "dt0s02.", "dt0s08.", "dt0s16."], Class::Base64UrlDot, (80, 100))
        .says("Dynatrace token", "`dt0c01.`, `dt0s01.`, `dt0s02.`, `dt0s08.`, `dt0s16.`, then 80 to 100 letters, digits, `_`, `-` and `.`. Source: Dynatrace documentation, \"Access tokens\", token format.")
        .tried(&["dt0c01.{up:24}.{up:64}"], &["dt0c01.{url:4} is short"]),
    Rule::named("sumologic-key", &["sumo"], Class::Alnum, (14, 64))
        .says("Sumo Logic access id or key, by its name", "The name `sumo` in any case, up to 40 bytes of a longer name, a sign of assignment, then 14 to 64 letters and digits: only these are replaced. Source: Sumo Logic documentation, \"Access keys\".")
        .checked(MIXED)
        .tried(&["sumo_key = \"{low:14}\"", "SUMO_TOKEN: {low:14}"], &["sumo is a name", "sumo_key = \"{low:7}\""]),
    Rule::token("honeycomb-key", &["hcaik_", "hcxik_", "hcamk_", "hcxmk_"], Class::Alnum, (40, 80))
        .says("Honeycomb key", "`hcaik_`, `hcxik_`, `hcamk_`, `hcxmk_`, then 40 to 80 letters and digits. Source: Honeycomb documentation, \"API keys\".")
        .tried(&["key hcaik_{alnum:40} end"], &["hcaik_{alnum:4} is short"]),
    Rule::token("posthog-key", &["phx_", "phs_"], Class::Alnum, (40, 60))
        .says("PostHog personal or secret key", "`phx_`, `phs_`, then 40 to 60 letters and digits. Source: PostHog documentation, \"Personal API keys\".")
        .tried(&["key phx_{alnum:40} end"], &["phx_{alnum:4} is short"]),
    Rule::token("pagerduty-key", &["u+"], Class::Base64Url, (18, 18))
        .says("PagerDuty user API key", "`u+`, then exactly 18 letters, digits, `_` and `-`. Source: PagerDuty documentation, \"API access keys\".")
        .checked(MIXED)
        .tried(&["Token token=u+{alnum:17}9"], &["u+{url:4} is short"]),
    Rule::named("pagerduty-named", &["pagerduty", "pager_duty"], Class::Token68, (20, 32))
        .says("PagerDuty key, by its name", "The name `pagerduty`, `pager_duty` in any case, up to 40 bytes of a longer name, a sign of assignment, then 20 to 32 token68 characters: only these are replaced. Source: PagerDuty documentation, \"API access keys\".")
        .checked(MIXED)
        .tried(&["pagerduty_key = \"{url:20}\"", "PAGERDUTY_TOKEN: {url:20}"], &["pagerduty is a name", "pagerduty_key = \"{url:10}\""]),
    Rule::named("opsgenie-key", &["opsgenie"], Class::HexDash, (36, 36))
        .says("Opsgenie API key, by its name", "The name `opsgenie` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: Opsgenie documentation, \"API key management\".")
        .tried(&["opsgenie_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "OPSGENIE_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["opsgenie is a name", "opsgenie_key = \"{hex:18}\""]),
    Rule::named("rollbar-token", &["rollbar"], Class::Hex, (32, 32))
        .says("Rollbar token, by its name", "The name `rollbar` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 hexadecimal digits: only these are replaced. Source: Rollbar documentation, \"Access tokens\".")
        .checked(MIXED)
        .tried(&["rollbar_key = \"{hex:32}\"", "ROLLBAR_TOKEN: {hex:32}"], &["rollbar is a name", "rollbar_key = \"{hex:16}\""]),
];
