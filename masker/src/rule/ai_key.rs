//! Rule `ai-key`: OpenAI or Anthropic key.

use super::{Action, Class, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "ai-key",
    doc_short: "OpenAI or Anthropic key",
    doc_long: "Finds: OpenAI or Anthropic key. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["sk-proj-", "sk-ant-", "sk-"],
    shape: Shape::Token { class: Class::Base64Url, min: 20, max: 1024 },
    validator: None,
    action: Action::Replace,
    examples: &["sk-proj-abcdEFGH1234ijklMNOP5678", "sk-ant-api03-abcdEFGH1234ijklMNOP"],
    counter_examples: &["sk-short", "risk-abcdEFGH1234ijklMNOP5678"],
};
