//! The one place that decides whether a principal may open a target (I-07). Default is to deny.
//!
//! Statement rules and approvals are not decided here yet; when they are, they are called from the same place.

use schemas::v1::Principal;

use crate::config::TargetConfig;

/// A refusal. It is recorded before the client hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// None of the principal's groups may use the target.
    #[error("none of your groups may use this target")]
    Group,
    /// Replication connections are not relayed: what passes there is no statement.
    #[error("replication connections are not allowed")]
    Replication,
}

impl Denial {
    /// Stable reason code.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Group => "policy_group",
            Self::Replication => "policy_replication",
        }
    }

    /// SQLSTATE: invalid authorization specification.
    #[must_use]
    pub fn sqlstate(self) -> &'static str {
        "28000"
    }
}

/// Decides on a session. `replication` is the start-up parameter of that name, if sent.
///
/// # Errors
/// [`Denial`]; the target must then see no byte.
pub fn open_session(principal: &Principal, target: &TargetConfig, replication: Option<&str>) -> Result<(), Denial> {
    if replication.is_some_and(|value| !["false", "off", "no", "0"].contains(&value)) {
        return Err(Denial::Replication);
    }
    let allowed = |group: &String| group == "*" || principal.groups.contains(group);
    if target.allowed_groups.iter().any(allowed) { Ok(()) } else { Err(Denial::Group) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_named_group_opens_a_target() {
        let member = Principal { groups: vec!["dba".into()], ..Principal::default() };
        let with = |groups: &[&str]| TargetConfig {
            allowed_groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..TargetConfig::default()
        };
        assert_eq!(open_session(&member, &with(&["ops", "dba"]), None), Ok(()));
        assert_eq!(open_session(&member, &with(&["*"]), Some("off")), Ok(()));
        assert_eq!(open_session(&member, &with(&["ops"]), None), Err(Denial::Group));
        assert_eq!(open_session(&member, &with(&[]), None), Err(Denial::Group));
        for replication in ["database", "true", "on", "1", "nonsense"] {
            assert_eq!(open_session(&member, &with(&["*"]), Some(replication)), Err(Denial::Replication));
        }
    }
}
