//! Rules: model providers.

use super::{Class, Rule, Severity};
use crate::validate::MIXED;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("anthropic-key", &["sk-ant-"], Class::Base64Url, (20, 200))
        .says("Anthropic API or admin key", "`sk-ant-`, then 20 to 200 letters, digits, `_` and `-`. Source: Anthropic API documentation: `sk-ant-api03-`, `sk-ant-admin01-`.")
        .of(Severity::Critical)
        .tried(&["sk-ant-api03-{url:93}AA", "sk-ant-admin01-{url:93}AA"], &["sk-ant-{url:4} is short"]),
    Rule::token("ai-key", &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-", "sk-"], Class::Base64Url, (20, 1024))
        .says("OpenAI key, and keys of services that use its form", "`sk-proj-`, `sk-svcacct-`, `sk-admin-`, `sk-or-v1-`, `sk-`, then 20 to 1024 letters, digits, `_` and `-`. Source: OpenAI API reference, authentication and project keys.")
        .checked(MIXED)
        .tried(&["sk-proj-{url:74}T3BlbkFJ{url:74}", "sk-{alnum:20}T3BlbkFJ{alnum:20}"], &["sk-short", "risk-{alnum:24}", "sk-learn-some-words-and-nothing-else"]),
    Rule::token("huggingface-token", &["hf_", "api_org_"], Class::Alnum, (34, 40))
        .says("Hugging Face token", "`hf_`, `api_org_`, then 34 to 40 letters and digits. Source: Hugging Face documentation, \"User access tokens\".")
        .tried(&["key hf_{alnum:34} end"], &["hf_{alnum:4} is short"]),
    Rule::token("perplexity-key", &["pplx-"], Class::Alnum, (48, 56))
        .says("Perplexity API key", "`pplx-`, then 48 to 56 letters and digits. Source: Perplexity documentation, \"API keys\".")
        .tried(&["key pplx-{alnum:48} end"], &["pplx-{alnum:4} is short"]),
    Rule::named("cohere-key", &["cohere", "CO_API_KEY"], Class::Alnum, (40, 40))
        .says("Cohere API key, by its name", "The name `cohere`, `CO_API_KEY` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 letters and digits: only these are replaced. Source: Cohere documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["cohere_key = \"{alnum:40}\"", "CO_API_KEY={alnum:40}"], &["cohere is a name", "cohere_key = \"{low:20}\""]),
    Rule::token("groq-key", &["gsk_"], Class::Alnum, (48, 56))
        .says("Groq API key", "`gsk_`, then 48 to 56 letters and digits. Source: Groq documentation, \"Quickstart\".")
        .tried(&["key gsk_{alnum:48} end"], &["gsk_{alnum:4} is short"]),
    Rule::token("xai-key", &["xai-"], Class::Alnum, (70, 90))
        .says("xAI API key", "`xai-`, then 70 to 90 letters and digits. Source: xAI documentation, \"API keys\".")
        .tried(&["key xai-{alnum:70} end"], &["xai-{alnum:4} is short"]),
    Rule::token("replicate-token", &["r8_"], Class::Alnum, (37, 40))
        .says("Replicate API token", "`r8_`, then 37 to 40 letters and digits. Source: Replicate documentation, \"API tokens\".")
        .tried(&["key r8_{alnum:37} end"], &["r8_{alnum:4} is short"]),
    Rule::token("fireworks-key", &["fw_"], Class::Alnum, (22, 24))
        .says("Fireworks API key", "`fw_`, then 22 to 24 letters and digits. Source: Fireworks documentation, \"API keys\".")
        .tried(&["key fw_{alnum:22} end"], &["fw_{alnum:4} is short"]),
    Rule::token("langsmith-key", &["lsv2_pt_", "lsv2_sk_"], Class::Word, (43, 43))
        .says("LangSmith API key", "`lsv2_pt_`, `lsv2_sk_`, then exactly 43 letters, digits and `_`. Source: LangSmith documentation, \"Create an API key\".")
        .tried(&["lsv2_pt_{hex:32}_{hex:10}"], &["lsv2_pt_{word:4} is short"]),
    Rule::token("nvidia-key", &["nvapi-"], Class::Base64Url, (60, 70))
        .says("NVIDIA API key", "`nvapi-`, then 60 to 70 letters, digits, `_` and `-`. Source: NVIDIA NGC documentation, \"API keys\".")
        .tried(&["key nvapi-{url:60} end"], &["nvapi-{url:4} is short"]),
    Rule::token("pinecone-key", &["pcsk_"], Class::Word, (50, 80))
        .says("Pinecone API key", "`pcsk_`, then 50 to 80 letters, digits and `_`. Source: Pinecone documentation, \"Manage API keys\".")
        .tried(&["key pcsk_{word:50} end"], &["pcsk_{word:4} is short"]),
    Rule::named("privateai-key", &["private_ai", "private-ai", "privateai"], Class::Alnum, (32, 32))
        .says("Private AI key, by its name", "The name `private_ai`, `private-ai`, `privateai` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 32 letters and digits: only these are replaced. Source: Private AI documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["private_ai_key = \"{low:32}\"", "PRIVATE_AI_TOKEN: {low:32}"], &["private_ai is a name", "private_ai_key = \"{low:16}\""]),
];
