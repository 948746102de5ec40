//! Rule `aws-secret`: AWS secret key, by its name.

use super::{Action, Rule, Shape};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "aws-secret",
    doc_short: "AWS secret key, by its name",
    doc_long: "Finds: AWS secret key, by its name. Anchors are compared in any case; see the shape for what follows them.",
    anchors: &["aws_secret_access_key", "aws_session_token", "secretaccesskey"],
    shape: Shape::Assignment,
    validator: None,
    action: Action::Replace,
    examples: &["aws_secret_access_key = k3yMat3rialk3yMat3rialk3yMat3rialk3yMat3"],
    counter_examples: &["aws_secret_access_key is needed"],
};
