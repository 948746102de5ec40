//! Rules: build, package and deployment services.

use super::{Class, Rule, Severity, Shape};
use crate::validate::{CRC62, ENTROPY_HIGH, ENTROPY_MEDIUM, MIXED};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("npm-token", &["npm_"], Class::Alnum, (36, 36))
        .says("npm token", "`npm_`, then exactly 36 letters and digits. Source: npm documentation and GitHub's announcement \"npm has a new access token format\": 30 random characters and a CRC-32 in base 62.")
        .checked(CRC62)
        .of(Severity::Critical)
        .tried(&["npm_{alnum:30}{crc}", "//r/:_authToken=npm_{alnum:36}"], &["npm_config_registry", "npm_{alnum:60}"]),
    Rule::token("pypi-token", &["pypi-AgE", "pypi-AgENdGVzdC5weXBpLm9yZw"], Class::Base64Url, (16, 2048))
        .says("PyPI token", "`pypi-AgE`, `pypi-AgENdGVzdC5weXBpLm9yZw`, then 16 to 2048 letters, digits, `_` and `-`. Source: PyPI help page, \"API tokens\", and Warehouse's documentation of its macaroons.")
        .of(Severity::Critical)
        .tried(&["pypi-AgEIcHlwaS5vcmc{url:80}"], &["pypi-package"]),
    Rule::token("rubygems-token", &["rubygems_"], Class::Hex, (48, 48))
        .says("RubyGems API key", "`rubygems_`, then exactly 48 hexadecimal digits. Source: RubyGems guides, \"API key scopes\".")
        .tried(&["key rubygems_{hex:48} end"], &["rubygems_{hex:4} is short"]),
    Rule::token("clojars-token", &["CLOJARS_", "clojars_"], Class::Alnum, (60, 60))
        .says("Clojars deploy token", "`CLOJARS_`, `clojars_`, then exactly 60 letters and digits. Source: Clojars wiki, \"Deploy tokens\".")
        .tried(&["key CLOJARS_{alnum:60} end"], &["CLOJARS_{alnum:4} is short"]),
    Rule::new("nuget-password", &["<add key=\"ClearTextPassword\" value=\"", "<add key=\"Password\" value=\""], Shape::Following { class: Class::Loose, min: 8 })
        .says("password in a NuGet.Config", "The `value` of an `add` element whose key is `Password` or `ClearTextPassword`. Source: NuGet documentation, \"nuget.config reference\", packageSourceCredentials.")
        .tried(&["<add key=\"ClearTextPassword\" value=\"{alnum:16}\" />"], &["<add key=\"Username\" value=\"someone-else\" />"]),
    Rule::token("nuget-key", &["oy2"], Class::Alnum, (43, 43))
        .says("NuGet.org API key", "`oy2`, then exactly 43 letters and digits. Source: NuGet documentation, \"Scoped API keys\".")
        .checked(MIXED)
        .tried(&["oy2{low:43}"], &["oy2{alnum:4} is short"]),
    Rule::token("docker-token", &["dckr_pat_", "dckr_oat_"], Class::Base64Url, (20, 64))
        .says("Docker Hub token", "`dckr_pat_`, `dckr_oat_`, then 20 to 64 letters, digits, `_` and `-`. Source: Docker documentation, \"Personal access tokens\".")
        .tried(&["dckr_pat_{url:27}"], &["dckr_pat_{url:4} is short"]),
    Rule::token("artifactory-key", &["AKCp"], Class::Alnum, (60, 80))
        .says("Artifactory API key", "`AKCp`, then 60 to 80 letters and digits. Source: JFrog documentation, \"API keys\".")
        .tried(&["AKCp{alnum:69}"], &["AKCp{alnum:4} is short"]),
    Rule::token("artifactory-reference", &["cmVmd"], Class::Alnum, (59, 59))
        .says("Artifactory reference token", "`cmVmd`, then exactly 59 letters and digits. Source: JFrog documentation, \"Reference tokens\" (`reft` in base64).")
        .tried(&["key cmVmd{alnum:59} end"], &["cmVmd{alnum:4} is short"]),
    Rule::named("jfrog-key", &["jfrog", "artifactory", "bintray", "xray"], Class::Alnum, (64, 73))
        .says("JFrog key or identity token, by its name", "The name `jfrog`, `artifactory`, `bintray`, `xray` in any case, up to 40 bytes of a longer name, a sign of assignment, then 64 to 73 letters and digits: only these are replaced. Source: JFrog documentation, \"Identity tokens\".")
        .checked(MIXED)
        .tried(&["jfrog_key = \"{low:64}\"", "JFROG_TOKEN: {low:64}"], &["jfrog is a name", "jfrog_key = \"{low:32}\""]),
    Rule::named("codecov-token", &["codecov"], Class::Alnum, (32, 32))
        .says("Codecov token, by its name", "The name `codecov` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Codecov documentation, \"Codecov tokens\".")
        .checked(MIXED)
        .tried(&["codecov_key = \"{low:32}\"", "CODECOV_TOKEN: {low:32}"], &["codecov is a name", "codecov_key = \"{low:16}\""]),
    Rule::named("codecov-uuid", &["codecov"], Class::HexDash, (36, 36))
        .says("Codecov upload token, by its name", "The name `codecov` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: Codecov documentation, \"Upload token\".")
        .tried(&["codecov_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "CODECOV_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["codecov is a name", "codecov_key = \"{hex:18}\""]),
    Rule::named("droneci-token", &["droneci", "drone"], Class::Alnum, (32, 32))
        .says("Drone CI token, by its name", "The name `droneci`, `drone` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Drone documentation, \"API\", authentication.")
        .checked(MIXED)
        .tried(&["droneci_key = \"{low:32}\"", "DRONECI_TOKEN: {low:32}"], &["droneci is a name", "droneci_key = \"{low:16}\""]),
    Rule::named("travis-token", &["travis"], Class::Alnum, (22, 22))
        .says("Travis CI token, by its name", "The name `travis` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 22 letters and digits: only these are replaced. Source: Travis CI documentation, \"API V3\", authentication.")
        .checked(MIXED)
        .tried(&["travis_key = \"{low:22}\"", "TRAVIS_TOKEN: {low:22}"], &["travis is a name", "travis_key = \"{low:11}\""]),
    Rule::token("circleci-token", &["CCIPAT_", "CCIPRJ_"], Class::Word, (40, 100))
        .says("CircleCI token", "`CCIPAT_`, `CCIPRJ_`, then 40 to 100 letters, digits and `_`. Source: CircleCI documentation, \"Managing API tokens\".")
        .tried(&["CCIPAT_{alnum:22}_{hex:40}"], &["CCIPAT_{word:4} is short"]),
    Rule::token("buildkite-token", &["bkua_", "bkat_", "bkct_"], Class::Alnum, (40, 64))
        .says("Buildkite token", "`bkua_`, `bkat_`, `bkct_`, then 40 to 64 letters and digits. Source: Buildkite documentation, \"Managing API access tokens\".")
        .tried(&["key bkua_{alnum:40} end"], &["bkua_{alnum:4} is short"]),
    Rule::token("octopus-key", &["API-"], Class::UpperAlnum, (25, 27))
        .says("Octopus Deploy API key", "`API-`, then 25 to 27 capital letters and digits. Source: Octopus Deploy documentation, \"How to create an API key\".")
        .checked(MIXED)
        .tried(&["X-Octopus-ApiKey: API-{up:26}"], &["API-{up:4} is short"]),
    Rule::token("harness-key", &["pat.", "sat."], Class::Base64UrlDot, (60, 100))
        .says("Harness API key", "`pat.`, `sat.`, then 60 to 100 letters, digits, `_`, `-` and `.`. Source: Harness documentation, \"API keys\": account id of 22, 24 and 20 characters with dots.")
        .tried(&["pat.{url:22}.{alnum:24}.{alnum:20}"], &["pat.{url:4} is short"]),
    Rule::token("doppler-token", &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."], Class::Base64UrlDot, (40, 60))
        .says("Doppler token", "`dp.pt.`, `dp.st.`, `dp.ct.`, `dp.sa.`, `dp.scim.`, `dp.audit.`, then 40 to 60 letters, digits, `_`, `-` and `.`. Source: Doppler documentation, \"Auth token formats\".")
        .of(Severity::Critical)
        .tried(&["dp.pt.{alnum:43}"], &["dp.pt.{url:4} is short"]),
    Rule::token("pulumi-token", &["pul-"], Class::Hex, (40, 40))
        .says("Pulumi access token", "`pul-`, then exactly 40 hexadecimal digits. Source: Pulumi documentation, \"Access tokens\".")
        .tried(&["key pul-{hex:40} end"], &["pul-{hex:4} is short"]),
    Rule::new("terraform-token", &[".atlasv1."], Shape::Around { class: Class::Token68, before: (14, 14), after: (60, 70) })
        .says("HCP Terraform token", "14 letters and digits, `.atlasv1.`, then 60 to 70 letters, digits, `_`, `-` and `=`. Source: HashiCorp documentation, \"API tokens\" of HCP Terraform.")
        .of(Severity::Critical)
        .tried(&["token = \"{alnum:14}.atlasv1.{url:67}\""], &["x.atlasv1.y"]),
    Rule::token("vault-token", &["hvs.", "hvb.", "hvr."], Class::Base64Url, (24, 300))
        .says("HashiCorp Vault token", "`hvs.`, `hvb.`, `hvr.`, then 24 to 300 letters, digits, `_` and `-`. Source: HashiCorp Vault documentation, \"Tokens\", token prefixes.")
        .of(Severity::Critical)
        .tried(&["hvs.{url:95}", "hvb.{url:150}"], &["hvs.{url:4} is short"]),
    Rule::token("vault-token-old", &["s.", "b.", "r."], Class::Alnum, (24, 26))
        .says("HashiCorp Vault token of versions before 1.10", "`s.`, `b.`, `r.`, then 24 to 26 letters and digits. Source: HashiCorp Vault documentation, \"Tokens\": `s.` and 24 characters.")
        .checked(ENTROPY_HIGH)
        .tried(&["VAULT_TOKEN=s.{alnum:24}"], &["s.example", "process.{name:24}"]),
    Rule::token("prefect-key", &["pnu_", "pnb_"], Class::Alnum, (36, 36))
        .says("Prefect API key", "`pnu_`, `pnb_`, then exactly 36 letters and digits. Source: Prefect documentation, \"Manage API keys\".")
        .tried(&["key pnu_{alnum:36} end"], &["pnu_{alnum:4} is short"]),
    Rule::token("infracost-key", &["ico-"], Class::Alnum, (32, 32))
        .says("Infracost API key", "`ico-`, then exactly 32 letters and digits. Source: Infracost documentation, \"API key\".")
        .tried(&["key ico-{alnum:32} end"], &["ico-{alnum:4} is short"]),
    Rule::token("databricks-token", &["dapi", "dkea", "dosea"], Class::HexDash, (32, 34))
        .says("Databricks token", "`dapi`, `dkea`, `dosea`, then 32 to 34 hexadecimal digits and `-`. Source: Databricks documentation, \"Personal access token authentication\".")
        .checked(ENTROPY_MEDIUM)
        .tried(&["dapi{hex:32}", "dapi{hex:32}-2"], &["dapi{hex:4} is short"]),
    Rule::token("postman-key", &["PMAK-"], Class::HexDash, (59, 59))
        .says("Postman API key", "`PMAK-`, then exactly 59 hexadecimal digits and `-`. Source: Postman documentation, \"Generate and use Postman API keys\".")
        .tried(&["PMAK-{hex:24}-{hex:34}"], &["PMAK-{hex:4} is short"]),
    Rule::token("readme-key", &["rdme_"], Class::Alnum, (60, 80))
        .says("ReadMe API key", "`rdme_`, then 60 to 80 letters and digits. Source: ReadMe documentation, \"Authentication\".")
        .tried(&["rdme_{low:70}"], &["rdme_{alnum:4} is short"]),
    Rule::named("launchdarkly-key", &["launchdarkly"], Class::Token68, (40, 40))
        .says("LaunchDarkly access token, by its name", "The name `launchdarkly` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 token68 characters: only these are replaced. Source: LaunchDarkly documentation, \"API access tokens\".")
        .checked(MIXED)
        .tried(&["launchdarkly_key = \"{url:40}\"", "LAUNCHDARKLY_TOKEN: {url:40}"], &["launchdarkly is a name", "launchdarkly_key = \"{url:20}\""]),
    Rule::token("launchdarkly-sdk-key", &["sdk-", "mob-", "api-"], Class::HexDash, (36, 36))
        .says("LaunchDarkly SDK, mobile or API key", "`sdk-`, `mob-`, `api-`, then exactly 36 hexadecimal digits and `-`. Source: LaunchDarkly documentation, \"Keys\".")
        .checked(MIXED)
        .tried(&["sdk-{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["sdk-{hex:4} is short"]),
    Rule::named("sonar-token", &["sonar"], Class::Token68, (40, 44))
        .says("SonarQube token, by its name", "The name `sonar` in any case, up to 40 bytes of a longer name, a sign of assignment, then 40 to 44 token68 characters: only these are replaced. Source: SonarQube documentation, \"Managing your tokens\".")
        .checked(MIXED)
        .tried(&["sonar.login = {low:40}", "SONAR_TOKEN=squ_{low:40}"], &["sonar is a name", "sonar_key = \"{url:20}\""]),
    Rule::token("sonar-prefixed", &["squ_", "sqp_", "sqa_"], Class::Hex, (40, 40))
        .says("SonarQube token with prefix", "`squ_`, `sqp_`, `sqa_`, then exactly 40 hexadecimal digits. Source: SonarQube documentation, \"Managing your tokens\".")
        .tried(&["key squ_{hex:40} end"], &["squ_{hex:4} is short"]),
    Rule::named("snyk-token", &["snyk"], Class::HexDash, (36, 36))
        .says("Snyk API token, by its name", "The name `snyk` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: Snyk documentation, \"Authentication for API\".")
        .tried(&["snyk_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "SNYK_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["snyk is a name", "snyk_key = \"{hex:18}\""]),
    Rule::named("sidekiq-key", &["BUNDLE_ENTERPRISE__CONTRIBSYS__COM", "BUNDLE_GEMS__CONTRIBSYS__COM"], Class::Loose, (17, 17))
        .says("Sidekiq Pro or Enterprise credentials, by their variable", "The name `BUNDLE_ENTERPRISE__CONTRIBSYS__COM`, `BUNDLE_GEMS__CONTRIBSYS__COM` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 17 characters of a token: only these are replaced. Source: Sidekiq wiki, \"Commercial installation\".")
        .tried(&["BUNDLE_ENTERPRISE__CONTRIBSYS__COM={hex:8}:{hex:8}"], &["BUNDLE_GEMS__CONTRIBSYS__COM=short"]),
    Rule::token("cargo-token", &["cio"], Class::Alnum, (32, 32))
        .says("Cargo registry token", "`cio`, then exactly 32 letters and digits. Source: Cargo documentation, \"Publishing\", API tokens.")
        .checked(MIXED)
        .tried(&["key cio{alnum:32} end"], &["cio{name:4} is short", "precio{low:32}"]),
    Rule::token("expo-token", &["expo_"], Class::Base64Url, (40, 48))
        .says("Expo access token", "`expo_`, then 40 to 48 letters, digits, `_` and `-`. Source: Expo documentation, \"Programmatic access\".")
        .tried(&["key expo_{url:40} end"], &["expo_{url:4} is short"]),
];
