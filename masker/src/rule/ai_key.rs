//! Rule `ai-key`: OpenAI or Anthropic key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "ai-key",
    doc_short: "OpenAI or Anthropic key",
    doc_long: "`sk-proj-`, `sk-ant-` or the older `sk-`, then 20 to 1024 letters, digits, `_` and `-`. Source: key prefixes in OpenAI's API reference (authentication, project keys) and Anthropic's API documentation (`sk-ant-api03-`). All of the key is replaced. A shorter body, or a prefix inside a word, is left.",
    anchors: &["sk-proj-", "sk-ant-", "sk-"],
    shape: Shape::Token { class: Class::Base64Url, min: 20, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["sk-proj-abcdEFGH1234ijklMNOP5678", "sk-ant-api03-abcdEFGH1234ijklMNOP"],
    counter_examples: &["sk-short", "risk-abcdEFGH1234ijklMNOP5678"],
};
