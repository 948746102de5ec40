//! Rules: clouds and hosting.

use super::{Class, Rule, Severity, Shape};
use crate::validate::{ENTROPY_HIGH, ENTROPY_MEDIUM, MIXED, PASSWORD_LIKE, SECRET_LIKE};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("aws-access-key", &["AKIA", "ASIA", "ABIA", "ACCA", "A3TX"], Class::UpperAlnum, (16, 16))
        .says("AWS access key id", "`AKIA`, `ASIA`, `ABIA`, `ACCA`, `A3TX`, then exactly 16 capital letters and digits. An identifier and no secret by itself, but it names the account and is found beside the secret. Source: AWS IAM User Guide, \"IAM identifiers\", unique id prefixes.")
        .tried(&["key AKIA{b32:16} end", "id=ASIA{b32:16}"], &["AKIA is a prefix", "AKIA{b32:16}longer", "akia{low:16}"]),
    Rule::new("aws-secret", &["aws_secret_access_key", "aws_session_token", "secretaccesskey", "aws_secret_key", "sessiontoken"], Shape::Assignment)
        .says("AWS secret key, by its name", "The value of `aws_secret_access_key`, `aws_session_token`, `SecretAccessKey` or `SessionToken`, read like an assignment. The secret has 40 base64 characters and no prefix, so without its name it is not found. Source: AWS CLI documentation, shared `credentials` file, and the `Credentials` structure of AWS STS.")
        .checked(PASSWORD_LIKE)
        .of(Severity::Critical)
        .tried(&["aws_secret_access_key = {b64:40}", "\"SecretAccessKey\": \"{b64:40}\"", "[default]\naws_access_key_id=x\naws_session_token={b64:120}"], &["aws_secret_access_key is needed"]),
    Rule::token("aws-bedrock-key", &["ABSK"], Class::Base64, (109, 269))
        .says("Amazon Bedrock long-lived API key", "`ABSK`, then 109 to 269 base64 characters. Source: Amazon Bedrock User Guide, \"API keys\".")
        .tried(&["key ABSK{b64:109} end"], &["ABSK{b64:4} is short"]),
    Rule::token("aws-bedrock-short-key", &["bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t"], Class::Base64, (20, 4000))
        .says("Amazon Bedrock short-lived API key", "`bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t`, then 20 to 4000 base64 characters. Source: Amazon Bedrock User Guide, \"API keys\", short-term keys.")
        .tried(&["key bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t{b64:20} end"], &["bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t{b64:4} is short"]),
    Rule::token("gcp-api-key", &["AIza"], Class::Base64Url, (35, 35))
        .says("Google API key", "`AIza`, then exactly 35 letters, digits, `_` and `-`. Source: Google Cloud documentation, \"Manage API keys\": 39 characters that begin with `AIza`.")
        .tried(&["key AIza{url:35} end"], &["AIza short", "AIza{url:60}"]),
    Rule::token("gcp-oauth-secret", &["GOCSPX-"], Class::Base64Url, (28, 28))
        .says("Google OAuth client secret", "`GOCSPX-`, then exactly 28 letters, digits, `_` and `-`. Source: Google Identity documentation, \"OAuth 2.0 client secrets\".")
        .tried(&["key GOCSPX-{url:28} end"], &["GOCSPX-{url:4} is short"]),
    Rule::token("gcp-access-token", &["ya29."], Class::Base64UrlDot, (30, 2048))
        .says("Google OAuth access token", "`ya29.`, then 30 to 2048 letters, digits, `_`, `-` and `.`. Source: Google Identity documentation, \"Token types\", access tokens.")
        .tried(&["key ya29.{url:30} end"], &["ya29.{url:4} is short"]),
    Rule::token("gcp-refresh-token", &["1//0"], Class::Base64Url, (40, 200))
        .says("Google OAuth refresh token", "`1//0`, then 40 to 200 letters, digits, `_` and `-`. Source: Google Identity documentation, \"Refreshing an access token\".")
        .tried(&["key 1//0{url:40} end"], &["1//0{url:4} is short"]),
    Rule::new("azure-client-secret", &["Q~"], Shape::Around { class: Class::Loose, before: (4, 4), after: (31, 34) })
        .says("Azure AD (Entra) client secret", "Three characters and a digit, `Q~`, then 31 to 34 letters, digits, `_`, `-`, `.` and `~`. Source: Microsoft Entra documentation, application credentials, and the format in Microsoft's credential scanner notes.")
        .checked(ENTROPY_MEDIUM)
        .of(Severity::Critical)
        .tried(&["secret: {alnum:3}8Q~{url:33} end"], &["FAQ~ and more", "abc8Q~short"]),
    Rule::new("azure-storage-key", &["AccountKey", "SharedAccessKey", "SharedSecretKey"], Shape::Assignment)
        .says("key in an Azure connection string", "The value of `AccountKey`, `SharedAccessKey` or `SharedSecretKey` up to the next `;`. Source: Azure Storage documentation, \"Configure connection strings\", and Azure Service Bus documentation.")
        .checked(SECRET_LIKE)
        .of(Severity::Critical)
        .tried(&["AccountName=a;AccountKey={b64:86}==;EndpointSuffix=x", "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey={b64:43}="], &["AccountKey is needed"]),
    Rule::new("azure-sas", &["sig"], Shape::Named { class: Class::Loose, min: 43, max: 80 })
        .says("signature of an Azure shared access signature", "`sig=` and 43 to 80 characters of percent-encoded base64. Source: Azure Storage documentation, \"Create a service SAS\".")
        .checked(ENTROPY_HIGH)
        .tried(&["https://a.blob/x?sv=2022-11-02&sig={b64:43}%3D&se=2026"], &["sig=abc", "signature"]),
    Rule::token("alibaba-access-key", &["LTAI"], Class::Alnum, (12, 26))
        .says("Alibaba Cloud AccessKey id", "`LTAI`, then 12 to 26 letters and digits. Source: Alibaba Cloud documentation, \"AccessKey pair\".")
        .checked(MIXED)
        .tried(&["LTAI{alnum:20}"], &["LTAI{alnum:4} is short"]),
    Rule::named("alibaba-secret", &["alibaba", "aliyun"], Class::Alnum, (30, 30))
        .says("Alibaba Cloud AccessKey secret, by its name", "The name `alibaba`, `aliyun` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 30 letters and digits: only these are replaced. Source: Alibaba Cloud documentation, \"AccessKey pair\".")
        .checked(MIXED)
        .tried(&["alibaba_key = \"{low:30}\"", "ALIBABA_TOKEN: {low:30}"], &["alibaba is a name", "alibaba_key = \"{low:15}\""]),
    Rule::token("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], Class::Hex, (64, 64))
        .says("DigitalOcean token", "`dop_v1_`, `doo_v1_`, `dor_v1_`, then exactly 64 hexadecimal digits. Source: DigitalOcean documentation, \"Personal access tokens\": prefix by kind and 64 digits.")
        .tried(&["key dop_v1_{hex:64} end"], &["dop_v1_{hex:4} is short"]),
    Rule::named("heroku-key", &["heroku"], Class::HexDash, (36, 36))
        .says("Heroku API key, by its name", "The name `heroku` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: Heroku Dev Center, \"Platform API\", authentication.")
        .tried(&["heroku_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "HEROKU_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["heroku is a name", "heroku_key = \"{hex:18}\""]),
    Rule::token("heroku-token", &["HRKU-AA"], Class::Base64Url, (58, 58))
        .says("Heroku API token", "`HRKU-AA`, then exactly 58 letters, digits, `_` and `-`. Source: Heroku changelog, \"New format of API tokens\".")
        .tried(&["key HRKU-AA{url:58} end"], &["HRKU-AA{url:4} is short"]),
    Rule::named("yandex-token", &["yandex", "ycloud"], Class::Token68, (37, 220))
        .says("Yandex Cloud key or token, by its name", "The name `yandex`, `ycloud` in any case, up to 40 bytes of a longer name, a sign of assignment, then 37 to 220 token68 characters: only these are replaced. Source: Yandex Cloud documentation, \"API keys\", \"IAM tokens\" and \"Static access keys\".")
        .checked(MIXED)
        .tried(&["yandex_key = \"AQVN{url:36}\"", "yandex_token: t1.{url:40}.{url:86}", "YANDEX_AWS=YC{url:38}"], &["yandex is a name", "yandex_key = \"{url:18}\""]),
    Rule::token("scalingo-token", &["tk-us-"], Class::Base64Url, (48, 48))
        .says("Scalingo API token", "`tk-us-`, then exactly 48 letters, digits, `_` and `-`. Source: Scalingo documentation, \"Tokens\".")
        .tried(&["key tk-us-{url:48} end"], &["tk-us-{url:4} is short"]),
    Rule::token("fly-token", &["fo1_", "fm1r_", "fm1a_", "fm2_"], Class::Base64Url, (43, 43))
        .says("Fly.io token", "`fo1_`, `fm1r_`, `fm1a_`, `fm2_`, then exactly 43 letters, digits, `_` and `-`. Source: Fly.io documentation, \"Access tokens\".")
        .tried(&["fo1_{url:43}"], &["fo1_{url:4} is short"]),
    Rule::token("fly-macaroon", &["fm1r_", "fm1a_", "fm2_"], Class::Base64, (100, 2048))
        .says("Fly.io macaroon", "`fm1r_`, `fm1a_`, `fm2_`, then 100 to 2048 base64 characters. Source: Fly.io documentation, \"Access tokens\", macaroons.")
        .tried(&["FlyV1 fm2_{b64:120}=="], &["fm1r_{b64:4} is short"]),
    Rule::named("cloudflare-key", &["cloudflare"], Class::Base64Url, (37, 40))
        .says("Cloudflare API token or global key, by its name", "The name `cloudflare` in any case, up to 40 bytes of a longer name, a sign of assignment, then 37 to 40 letters, digits, `_` and `-`: only these are replaced. Source: Cloudflare documentation, \"API tokens\" and \"Global API key\".")
        .checked(MIXED)
        .tried(&["cloudflare_key = \"{url:37}\"", "CLOUDFLARE_TOKEN: {url:37}"], &["cloudflare is a name", "cloudflare_key = \"{url:18}\""]),
    Rule::new("cloudflare-origin-ca", &["v1.0-"], Shape::Token { class: Class::HexDash, min: 171, max: 171 })
        .says("Cloudflare Origin CA key", "`v1.0-`, 24 hexadecimal digits, `-`, 146 hexadecimal digits. Source: Cloudflare documentation, \"Origin CA keys\".")
        .of(Severity::Critical)
        .tried(&["v1.0-{hex:24}-{hex:146}"], &["v1.0-beta"]),
    Rule::named("fastly-key", &["fastly"], Class::Token68, (32, 32))
        .says("Fastly API token, by its name", "The name `fastly` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 token68 characters: only these are replaced. Source: Fastly documentation, \"API tokens\".")
        .checked(MIXED)
        .tried(&["fastly_key = \"{url:32}\"", "FASTLY_TOKEN: {url:32}"], &["fastly is a name", "fastly_key = \"{url:16}\""]),
    Rule::named("netlify-token", &["netlify"], Class::Token68, (40, 46))
        .says("Netlify access token, by its name", "The name `netlify` in any case, up to 40 bytes of a longer name, a sign of assignment, then 40 to 46 token68 characters: only these are replaced. Source: Netlify documentation, \"Get started with the API\".")
        .checked(MIXED)
        .tried(&["netlify_key = \"{url:40}\"", "NETLIFY_TOKEN: {url:40}"], &["netlify is a name", "netlify_key = \"{url:20}\""]),
    Rule::token("netlify-pat", &["nfp_", "nfo_", "nfc_"], Class::Alnum, (36, 64))
        .says("Netlify token with prefix", "`nfp_`, `nfo_`, `nfc_`, then 36 to 64 letters and digits. Source: Netlify changelog, \"Token prefixes\".")
        .tried(&["key nfp_{alnum:36} end"], &["nfp_{alnum:4} is short"]),
    Rule::named("meraki-key", &["meraki"], Class::Hex, (40, 40))
        .says("Cisco Meraki API key, by its name", "The name `meraki` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 hexadecimal digits: only these are replaced. Source: Cisco Meraki Dashboard API documentation, \"Authorization\".")
        .checked(MIXED)
        .tried(&["meraki_key = \"{hex:40}\"", "MERAKI_TOKEN: {hex:40}"], &["meraki is a name", "meraki_key = \"{hex:20}\""]),
    Rule::token("openshift-token", &["sha256~"], Class::Base64Url, (43, 43))
        .says("OpenShift user token", "`sha256~`, then exactly 43 letters, digits, `_` and `-`. Source: OpenShift documentation, \"Managing user-owned OAuth access tokens\".")
        .tried(&["key sha256~{url:43} end"], &["sha256~{url:4} is short"]),
    Rule::token("linode-token", &["LINODE_TOKEN=", "linode_token="], Class::Hex, (64, 64))
        .says("Linode token, by its variable", "`LINODE_TOKEN=`, `linode_token=`, then exactly 64 hexadecimal digits. Source: Linode API documentation, \"Access tokens\".")
        .tried(&["key LINODE_TOKEN={hex:64} end"], &["LINODE_TOKEN={hex:4} is short"]),
    Rule::token("hetzner-token", &["HCLOUD_TOKEN=", "hcloud_token="], Class::Alnum, (64, 64))
        .says("Hetzner Cloud token, by its variable", "`HCLOUD_TOKEN=`, `hcloud_token=`, then exactly 64 letters and digits. Source: Hetzner Cloud API documentation, \"Authentication\".")
        .tried(&["key HCLOUD_TOKEN={alnum:64} end"], &["HCLOUD_TOKEN={alnum:4} is short"]),
    Rule::token("vercel-token", &["vcp_", "vci_", "vca_", "vcr_", "vck_"], Class::Alnum, (24, 60))
        .says("Vercel token", "`vcp_`, `vci_`, `vca_`, `vcr_`, `vck_`, then 24 to 60 letters and digits. Source: Vercel documentation, \"Tokens\", prefixes by kind.")
        .tried(&["key vcp_{alnum:24} end"], &["vcp_{alnum:4} is short"]),
    Rule::token("render-key", &["rnd_"], Class::Alnum, (28, 40))
        .says("Render API key", "`rnd_`, then 28 to 40 letters and digits. Source: Render documentation, \"API keys\".")
        .tried(&["key rnd_{alnum:28} end"], &["rnd_{alnum:4} is short"]),
    Rule::token("supabase-token", &["sbp_", "sb_secret_"], Class::Word, (28, 64))
        .says("Supabase access token or secret key", "`sbp_`, `sb_secret_`, then 28 to 64 letters, digits and `_`. Source: Supabase documentation, \"API keys\" and \"Management API\".")
        .tried(&["sbp_{hex:40}", "sb_secret_{word:31}"], &["sbp_{word:4} is short"]),
];
