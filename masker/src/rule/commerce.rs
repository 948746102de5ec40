//! Rules: payment, trading and shops.

use super::{Class, Rule, Severity, Shape};
use crate::validate::{ENTROPY_HIGH, MIXED};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("stripe-key", &["sk_live_", "rk_live_", "sk_test_", "rk_test_", "sk_prod_", "rk_prod_"], Class::Alnum, (10, 247))
        .says("Stripe secret or restricted key", "`sk_live_`, `rk_live_`, `sk_test_`, `rk_test_`, `sk_prod_`, `rk_prod_`, then 10 to 247 letters and digits. Publishable keys (`pk_`) are meant to be public and are left. Source: Stripe documentation, \"API keys\".")
        .of(Severity::Critical)
        .tried(&["sk_live_{alnum:24}", "rk_test_{alnum:99}"], &["sk_live_x", "pk_live_{alnum:24}"]),
    Rule::token("stripe-webhook-secret", &["whsec_"], Class::Base64, (32, 64))
        .says("Stripe webhook secret", "`whsec_`, then 32 to 64 base64 characters. Source: Stripe documentation, \"Check the webhook signatures\".")
        .tried(&["key whsec_{b64:32} end"], &["whsec_{b64:4} is short"]),
    Rule::token("square-token", &["EAAA", "sq0atp-", "sq0csp-"], Class::Base64Url, (22, 60))
        .says("Square access token or application secret", "`EAAA`, `sq0atp-`, `sq0csp-`, then 22 to 60 letters, digits, `_` and `-`. Source: Square developer documentation, \"Access tokens\".")
        .checked(MIXED)
        .tried(&["sq0atp-{url:22}", "EAAA{url:60}"], &["EAAA{url:4} is short"]),
    Rule::token("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_"], Class::Hex, (32, 32))
        .says("Shopify token or shared secret", "`shpat_`, `shpca_`, `shppa_`, `shpss_`, then exactly 32 hexadecimal digits. Source: Shopify documentation, \"Access tokens\": prefixes by kind.")
        .tried(&["key shpat_{hex:32} end"], &["shpat_{hex:4} is short"]),
    Rule::named("plaid-key", &["plaid"], Class::Alnum, (24, 30))
        .says("Plaid client id or secret, by its name", "The name `plaid` in any case, up to 40 bytes of a longer name, a sign of assignment, then 24 to 30 letters and digits: only these are replaced. Source: Plaid documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["plaid_key = \"{low:24}\"", "PLAID_TOKEN: {low:24}"], &["plaid is a name", "plaid_key = \"{low:12}\""]),
    Rule::token("plaid-token", &["access-sandbox-", "access-development-", "access-production-"], Class::HexDash, (36, 36))
        .says("Plaid access token", "`access-sandbox-`, `access-development-`, `access-production-`, then exactly 36 hexadecimal digits and `-`. Source: Plaid documentation, \"Items\", access tokens.")
        .tried(&["access-production-{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["access-sandbox-{hex:4} is short"]),
    Rule::token("flutterwave-key", &["FLWSECK_TEST-", "FLWSECK-", "FLWPUBK_TEST-", "FLWPUBK-"], Class::Base64Url, (12, 40))
        .says("Flutterwave key", "`FLWSECK_TEST-`, `FLWSECK-`, `FLWPUBK_TEST-`, `FLWPUBK-`, then 12 to 40 letters, digits, `_` and `-`. Source: Flutterwave documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["FLWSECK_TEST-{hex:12}", "FLWPUBK_TEST-{hex:32}-X", "FLWSECK_TEST-{hex:32}-X"], &["FLWSECK_TEST-{url:4} is short"]),
    Rule::named("coinbase-key", &["coinbase"], Class::Base64Url, (64, 64))
        .says("Coinbase token, by its name", "The name `coinbase` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 64 letters, digits, `_` and `-`: only these are replaced. Source: Coinbase developer documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["coinbase_key = \"{url:64}\"", "COINBASE_TOKEN: {url:64}"], &["coinbase is a name", "coinbase_key = \"{url:32}\""]),
    Rule::named("bittrex-key", &["bittrex"], Class::Alnum, (32, 32))
        .says("Bittrex key, by its name", "The name `bittrex` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Bittrex API documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["bittrex_key = \"{low:32}\"", "BITTREX_TOKEN: {low:32}"], &["bittrex is a name", "bittrex_key = \"{low:16}\""]),
    Rule::named("kraken-key", &["kraken"], Class::Token68, (80, 90))
        .says("Kraken key, by its name", "The name `kraken` in any case, up to 40 bytes of a longer name, a sign of assignment, then 80 to 90 token68 characters: only these are replaced. Source: Kraken API documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["kraken_key = \"{url:80}\"", "KRAKEN_TOKEN: {url:80}"], &["kraken is a name", "kraken_key = \"{url:40}\""]),
    Rule::named("kucoin-key", &["kucoin"], Class::Hex, (24, 24))
        .says("KuCoin key, by its name", "The name `kucoin` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 24 hexadecimal digits: only these are replaced. Source: KuCoin documentation, \"API key\".")
        .checked(MIXED)
        .tried(&["kucoin_key = \"{hex:24}\"", "KUCOIN_TOKEN: {hex:24}"], &["kucoin is a name", "kucoin_key = \"{hex:12}\""]),
    Rule::named("kucoin-secret", &["kucoin"], Class::HexDash, (36, 36))
        .says("KuCoin secret, by its name", "The name `kucoin` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: KuCoin documentation, \"API key\".")
        .tried(&["kucoin_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "KUCOIN_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["kucoin is a name", "kucoin_key = \"{hex:18}\""]),
    Rule::named("finicity-key", &["finicity"], Class::Alnum, (20, 32))
        .says("Finicity token or secret, by its name", "The name `finicity` in any case, up to 40 bytes of a longer name, a sign of assignment, then 20 to 32 letters and digits: only these are replaced. Source: Mastercard Open Banking (Finicity) documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["finicity_key = \"{low:20}\"", "FINICITY_TOKEN: {low:20}"], &["finicity is a name", "finicity_key = \"{low:10}\""]),
    Rule::named("finnhub-key", &["finnhub"], Class::Alnum, (20, 20))
        .says("Finnhub token, by its name", "The name `finnhub` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 20 letters and digits: only these are replaced. Source: Finnhub documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["finnhub_key = \"{low:20}\"", "FINNHUB_TOKEN: {low:20}"], &["finnhub is a name", "finnhub_key = \"{low:10}\""]),
    Rule::named("freshbooks-token", &["freshbooks"], Class::Alnum, (64, 64))
        .says("FreshBooks token, by its name", "The name `freshbooks` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 64 letters and digits: only these are replaced. Source: FreshBooks API documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["freshbooks_key = \"{low:64}\"", "FRESHBOOKS_TOKEN: {low:64}"], &["freshbooks is a name", "freshbooks_key = \"{low:32}\""]),
    Rule::new("freemius-secret", &["secret_key"], Shape::Named { class: Class::Loose, min: 32, max: 32 })
        .says("Freemius secret key", "`secret_key`, a sign of assignment, and a value of 32 characters (`sk_` and 29). Source: Freemius documentation, \"Integrating the SDK\".")
        .checked(MIXED)
        .tried(&["'secret_key' => 'sk_{url:29}'"], &["'secret_key' => 'none'"]),
    Rule::named("gocardless-token", &["gocardless"], Class::Token68, (45, 45))
        .says("GoCardless token, by its name", "The name `gocardless` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 45 token68 characters: only these are replaced. Source: GoCardless documentation, \"Access tokens\".")
        .checked(MIXED)
        .tried(&["gocardless_key = \"live_{url:40}\""], &["gocardless is a name", "gocardless_key = \"{url:22}\""]),
    Rule::named("lob-key", &["lob"], Class::Word, (36, 42))
        .says("Lob API key, by its name", "The name `lob` in any case, up to 40 bytes of a longer name, a sign of assignment, then 36 to 42 letters, digits and `_`: only these are replaced. Source: Lob documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["lob_key = \"live_{hex:35}\"", "LOB_KEY=test_pub_{hex:31}"], &["lob is a name", "lob_key = \"{word:18}\""]),
    Rule::token("easypost-token", &["EZAK", "EZTK"], Class::Alnum, (54, 54))
        .says("EasyPost API key", "`EZAK`, `EZTK`, then exactly 54 letters and digits. Source: EasyPost documentation, \"API keys\".")
        .tried(&["key EZAK{alnum:54} end"], &["EZAK{alnum:4} is short"]),
    Rule::token("duffel-token", &["duffel_test_", "duffel_live_"], Class::Token68, (43, 43))
        .says("Duffel API token", "`duffel_test_`, `duffel_live_`, then exactly 43 token68 characters. Source: Duffel documentation, \"Access tokens\".")
        .tried(&["key duffel_test_{url:43} end"], &["duffel_test_{url:4} is short"]),
    Rule::token("shippo-token", &["shippo_live_", "shippo_test_"], Class::Hex, (40, 40))
        .says("Shippo API token", "`shippo_live_`, `shippo_test_`, then exactly 40 hexadecimal digits. Source: Shippo documentation, \"Authentication\".")
        .tried(&["key shippo_live_{hex:40} end"], &["shippo_live_{hex:4} is short"]),
    Rule::named("squarespace-key", &["squarespace"], Class::HexDash, (36, 36))
        .says("Squarespace API key, by its name", "The name `squarespace` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: Squarespace developer documentation, \"Authentication\".")
        .tried(&["squarespace_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "SQUARESPACE_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["squarespace is a name", "squarespace_key = \"{hex:18}\""]),
    Rule::token("paypal-token", &["access_token$production$", "access_token$sandbox$"], Class::Loose, (32, 70))
        .says("Braintree (PayPal) access token", "`access_token$production$`, `access_token$sandbox$`, then 32 to 70 characters of a token. Source: Braintree documentation, \"Access tokens\".")
        .tried(&["access_token$production${!low:16}{low:32}"], &["access_token$production${url:4} is short"]),
    Rule::token("razorpay-key", &["rzp_live_", "rzp_test_"], Class::Alnum, (14, 14))
        .says("Razorpay key id", "`rzp_live_`, `rzp_test_`, then exactly 14 letters and digits. Source: Razorpay documentation, \"API keys\".")
        .tried(&["key rzp_live_{alnum:14} end"], &["rzp_live_{alnum:4} is short"]),
    Rule::token("adyen-key", &["AQE"], Class::Base64, (60, 260))
        .says("Adyen API key", "`AQE`, then 60 to 260 base64 characters. Source: Adyen documentation, \"API credentials\".")
        .checked(ENTROPY_HIGH)
        .tried(&["AQE{b64:80}"], &["AQE{b64:4} is short"]),
];
