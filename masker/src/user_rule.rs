//! Rules of the configuration: checked when they are read, then the same data as the built-in ones.
//!
//! A user rule lives as long as the process, because ids go into records by reference; there are at most
//! [`USER_RULES_MAX`] of them and a process reads its configuration once.

use crate::rule::{Action, Class, RULES, Rule, Severity, Shape};
use crate::sample;
use crate::validate::VALIDATORS;

/// Most user rules.
pub const USER_RULES_MAX: usize = 256;
/// Longest body of a user rule, bytes: what the engine may hold back of a stream.
pub const BODY_MAX: usize = 400;
/// What every id of a user rule begins with, so that a later built-in rule cannot clash.
pub const PREFIX: &str = "user-";

/// `[[masker.rules]]`: a literal and the bytes after it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRule {
    /// Id: `user-` and 1 to 40 lower-case letters, digits and `-`. In `mask_rules` and placeholders.
    pub id: String,
    /// Literals that every match begins with (`token`) or whose value is masked (`named`); 1 to 32, each 3 to 64
    /// bytes of printable ASCII.
    pub anchors: Vec<String>,
    /// What stands around the anchor. Default `token`.
    #[serde(default)]
    pub shape: UserShape,
    /// Bytes of the body.
    pub class: Class,
    /// Fewest bytes of the body, 1 or more.
    pub min: usize,
    /// Most bytes of the body, at most 400.
    pub max: usize,
    /// Name of a validator. Default: none.
    #[serde(default)]
    pub validator: Option<String>,
    /// What replaces a match. Default `redact`.
    #[serde(default)]
    pub action: Option<Action>,
    /// How much a finding matters. Default `high`.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Templates of texts it must match; at least one. `{alnum:20}` is 20 made-up letters and digits.
    pub examples: Vec<String>,
    /// Templates of texts it must not match; at least one.
    pub counter_examples: Vec<String>,
}

/// Shape of a user rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserShape {
    /// The anchor at a word's start and the body: all masked.
    #[default]
    Token,
    /// A name that holds the anchor, a sign of assignment, and the body: the body masked.
    Named,
}

/// What is wrong with a user rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("masker.rules: rule `{id}`: {what}")]
pub struct UserRuleError {
    /// Its id.
    pub id: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// True for the form of a user rule's id.
#[must_use]
pub fn is_user_id(id: &[u8]) -> bool {
    let name = id.strip_prefix(PREFIX.as_bytes()).unwrap_or_default();
    let form = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=40).contains(&name.len()) && name.iter().all(form)
}

/// Checks user rules and gives them with the built-in ones.
///
/// # Errors
/// [`UserRuleError`] of the first that is wrong.
pub fn load(rules: &[UserRule]) -> Result<Vec<&'static Rule>, UserRuleError> {
    let mut all = RULES.to_vec();
    for (at, rule) in rules.iter().enumerate() {
        let fail = |what: String| UserRuleError { id: rule.id.clone(), what };
        if at >= USER_RULES_MAX {
            return Err(fail(format!("there are more than {USER_RULES_MAX} rules")));
        }
        check(rule).map_err(fail)?;
        if all.iter().any(|known| known.id == rule.id) {
            return Err(fail("the name is taken: give it another id".to_owned()));
        }
        let compiled = compile(rule);
        try_it(rule, compiled).map_err(fail)?;
        all.push(compiled);
    }
    Ok(all)
}

fn check(rule: &UserRule) -> Result<(), String> {
    let when = |wrong: bool, what: &str| if wrong { Err(what.to_owned()) } else { Ok(()) };
    when(!is_user_id(rule.id.as_bytes()), "an id is `user-` and 1 to 40 of a-z, 0-9 and `-`")?;
    when(rule.anchors.is_empty() || rule.anchors.len() > 32, "it needs 1 to 32 anchors")?;
    let plain =
        |anchor: &String| (3..=64).contains(&anchor.len()) && anchor.bytes().all(|byte| byte.is_ascii_graphic());
    when(!rule.anchors.iter().all(plain), "an anchor is 3 to 64 bytes of printable ASCII without spaces")?;
    when(rule.min == 0, "min is 0: it would match an empty body")?;
    when(rule.max > BODY_MAX, "it is unbounded: max is at most 400")?;
    when(rule.min > rule.max, "min is more than max")?;
    when(rule.examples.is_empty(), "it needs an example")?;
    when(rule.counter_examples.is_empty(), "it needs a counter-example")?;
    if let Some(name) = &rule.validator
        && VALIDATORS.iter().all(|validator| validator.name != name)
    {
        let known: Vec<&str> = VALIDATORS.iter().map(|validator| validator.name).collect();
        return Err(format!("no validator `{name}`; there are {}", known.join(", ")));
    }
    Ok(())
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn leak_all(texts: &[String]) -> &'static [&'static str] {
    Box::leak(texts.iter().map(|text| leak(text)).collect::<Vec<_>>().into_boxed_slice())
}

fn compile(rule: &UserRule) -> &'static Rule {
    let UserRule { class, min, max, .. } = *rule;
    let named = rule.validator.as_deref();
    Box::leak(Box::new(Rule {
        id: leak(&rule.id),
        doc_short: "rule of the configuration",
        doc_long: "A rule of the configuration. Source: the table `masker.rules`.",
        anchors: leak_all(&rule.anchors),
        shape: match rule.shape {
            UserShape::Token => Shape::Token { class, min, max },
            UserShape::Named => Shape::Named { class, min, max },
        },
        validator: named.and_then(|name| VALIDATORS.iter().find(|validator| validator.name == name)).copied(),
        action: rule.action.unwrap_or(Action::Redact),
        severity: rule.severity.unwrap_or(Severity::High),
        examples: leak_all(&rule.examples),
        counter_examples: leak_all(&rule.counter_examples),
    }))
}

/// Runs the examples through an engine that has this rule alone.
fn try_it(rule: &UserRule, compiled: &'static Rule) -> Result<(), String> {
    let setup = crate::engine::Setup { pseudonym: b"", epoch: 0, names: &[] };
    let engine = crate::engine::Engine::compile(&[compiled], setup).map_err(|error| error.to_string())?;
    let texts =
        rule.examples.iter().map(|text| (text, true)).chain(rule.counter_examples.iter().map(|text| (text, false)));
    for (template, wanted) in texts {
        let made = sample::expand(template, 1).map_err(|what| format!("template `{template}`: {what}"))?;
        let found = engine.mask(&made.text, &mut crate::engine::Tally::default()).is_some();
        if found != wanted {
            return Err(format!(
                "`{template}` {}",
                if wanted { "is not matched" } else { "is matched, and must not be" }
            ));
        }
    }
    Ok(())
}

/// Every rule that a configuration asks for, with its actions; those that are off or disabled are left out.
///
/// # Errors
/// As [`load`]; and an id in `actions` or `disabled_rules` that no rule has.
pub fn chosen(config: &crate::MaskerConfig) -> Result<Vec<&'static Rule>, UserRuleError> {
    let all = load(&config.rules)?;
    let named = config.actions.keys().chain(&config.disabled_rules);
    if let Some(id) = named.into_iter().find(|id| all.iter().all(|rule| rule.id != id.as_str())) {
        return Err(UserRuleError { id: id.clone(), what: "there is no such rule".to_owned() });
    }
    let acting = |rule: &'static Rule| match config.actions.get(rule.id) {
        Some(action) if *action != rule.action => {
            let changed: &'static Rule = Box::leak(Box::new(Rule { action: *action, ..*rule }));
            changed
        }
        _ => rule,
    };
    let on = |rule: &&'static Rule| rule.action != Action::Off && !config.disabled_rules.iter().any(|id| id == rule.id);
    Ok(all.into_iter().map(acting).filter(on).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> UserRule {
        UserRule {
            id: "user-acme".to_owned(),
            anchors: vec!["acme_".to_owned()],
            shape: UserShape::Token,
            class: Class::Alnum,
            min: 20,
            max: 20,
            validator: None,
            action: None,
            severity: None,
            examples: vec!["key acme_{alnum:20}".to_owned()],
            counter_examples: vec!["acme_corp".to_owned()],
        }
    }

    fn says(change: impl FnOnce(&mut UserRule)) -> String {
        let mut rule = rule();
        change(&mut rule);
        load(&[rule]).map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(says(|_| {}), "");
        assert!(says(|rule| rule.max = 5000).contains("unbounded"));
        assert!(says(|rule| rule.min = 0).contains("empty"));
        assert!(says(|rule| rule.id = "github-token".to_owned()).contains("`user-`"));
        assert!(says(|rule| rule.min = 21).contains("more than max"));
        assert!(says(|rule| rule.anchors.clear()).contains("anchors"));
        assert!(says(|rule| rule.validator = Some("magic".to_owned())).contains("luhn"));
        assert!(says(|rule| rule.examples = vec!["acme_x".to_owned()]).contains("is not matched"));
        assert!(says(|rule| rule.counter_examples = vec!["acme_{alnum:20}".to_owned()]).contains("must not be"));
        let twice = load(&[rule(), rule()]).unwrap_err();
        assert!(twice.to_string().contains("taken"));
    }
}
