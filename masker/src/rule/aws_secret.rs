//! Rule `aws-secret`: AWS secret key, by its name.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "aws-secret",
    doc_short: "AWS secret key, by its name",
    doc_long: "The value of `aws_secret_access_key`, `aws_session_token` or `SecretAccessKey`, read like an assignment. Source: AWS CLI documentation, shared `credentials` file, and the `Credentials` structure of AWS STS. The secret itself has 40 base64 characters and no prefix, so without its name it is not found.",
    anchors: &["aws_secret_access_key", "aws_session_token", "secretaccesskey"],
    shape: Shape::Assignment,
    validator: None,
    action: Action::Replace,
    examples: &["aws_secret_access_key = k3yMat3rialk3yMat3rialk3yMat3rialk3yMat3"],
    counter_examples: &["aws_secret_access_key is needed"],
};
