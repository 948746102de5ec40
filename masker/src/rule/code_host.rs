//! Rules: code hosts and their tokens.

use super::{Class, Rule, Severity};
use crate::validate::{CRC62, MIXED};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("github-token", &["ghp_", "gho_", "ghs_", "ghu_", "ghr_"], Class::Alnum, (36, 255))
        .says("GitHub token", "`ghp_`, `gho_`, `ghs_`, `ghu_`, `ghr_`, then 36 to 255 letters and digits. A right checksum confirms; a wrong one does not refuse. Source: GitHub documentation, \"About authentication to GitHub\", token formats: 30 random characters and a CRC-32 in base 62.")
        .checked(CRC62)
        .of(Severity::Critical)
        .tried(&["ghp_{alnum:30}{crc}", "gho_{alnum:36}", "token ghs_{alnum:30}{crc};"], &["ghp_short", "ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "GHP_{alnum:36}"]),
    Rule::token("github-pat", &["github_pat_"], Class::Word, (22, 255))
        .says("GitHub fine-grained token", "`github_pat_`, then 22 to 255 letters, digits and `_`. Source: GitHub documentation, \"Managing your personal access tokens\".")
        .of(Severity::Critical)
        .tried(&["github_pat_{alnum:22}_{alnum:59}"], &["github_pat_{word:4} is short"]),
    Rule::token("gitlab-token", &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glagent-", "glimt-", "gloas-", "glsoat-", "glffct-", "glrtr-", "GR1348941"], Class::Base64UrlDot, (20, 320))
        .says("GitLab token", "`glpat-`, `gldt-`, `glrt-`, `glcbt-`, `glptt-`, `glft-`, `glagent-`, `glimt-`, `gloas-`, `glsoat-`, `glffct-`, `glrtr-`, then 20 to 320 letters, digits, `_`, `-` and `.`. An instance with prefixes of its own needs a rule of its own. Source: GitLab documentation, \"Token prefixes\".")
        .of(Severity::Critical)
        .tried(&["glpat-{url:20}", "glrt-t1_{url:27}.{low:9}", "glcbt-64_{url:20}"], &["glpat-", "xglpat-{url:20}"]),
    Rule::token("gitlab-session", &["_gitlab_session="], Class::Alnum, (32, 32))
        .says("GitLab session cookie", "`_gitlab_session=`, then exactly 32 letters and digits. Source: GitLab documentation, \"Cookies\".")
        .tried(&["key _gitlab_session={alnum:32} end"], &["_gitlab_session={alnum:4} is short"]),
    Rule::named("bitbucket-key", &["bitbucket"], Class::Token68, (32, 64))
        .says("Bitbucket client id or secret, by its name", "The name `bitbucket` in any case, up to 40 bytes of a longer name, a sign of assignment, then 32 to 64 token68 characters: only these are replaced. Source: Atlassian documentation, \"OAuth consumers\" of Bitbucket Cloud.")
        .checked(MIXED)
        .tried(&["bitbucket_key = \"{url:32}\"", "BITBUCKET_TOKEN: {url:32}"], &["bitbucket is a name", "bitbucket_key = \"{url:16}\""]),
    Rule::token("bitbucket-app-password", &["ATBB", "ATCTT3xFfG"], Class::Token68, (24, 250))
        .says("Bitbucket app password or access token", "`ATBB`, `ATCTT3xFfG`, then 24 to 250 token68 characters. Source: Atlassian documentation, \"App passwords\" and \"Access tokens\".")
        .tried(&["ATBB{alnum:32}"], &["ATBB{url:4} is short"]),
    Rule::token("gitea-token", &["gta_"], Class::Hex, (40, 40))
        .says("Gitea token", "`gta_`, then exactly 40 hexadecimal digits. Source: Gitea documentation, \"API usage\".")
        .tried(&["key gta_{hex:40} end"], &["gta_{hex:4} is short"]),
    Rule::token("sourcegraph-token", &["sgp_", "sgp_local_", "slk_"], Class::Word, (40, 64))
        .says("Sourcegraph access token", "`sgp_`, `sgp_local_`, `slk_`, then 40 to 64 letters, digits and `_`. Source: Sourcegraph documentation, \"Access tokens\".")
        .tried(&["sgp_{hex:40}", "sgp_{hex:16}_{hex:40}"], &["sgp_{word:4} is short"]),
    Rule::named("sourcegraph-key", &["sourcegraph"], Class::Hex, (40, 40))
        .says("Sourcegraph token without prefix, by its name", "The name `sourcegraph` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 hexadecimal digits: only these are replaced. Source: Sourcegraph documentation, \"Access tokens\", older form.")
        .checked(MIXED)
        .tried(&["sourcegraph_key = \"{hex:40}\"", "SOURCEGRAPH_TOKEN: {hex:40}"], &["sourcegraph is a name", "sourcegraph_key = \"{hex:20}\""]),
];
