//! Config to a factory of transforms; the only file of the crate that opens anything.

use crate::config::MaskerConfig;
use crate::decrypt::MaskerKey;
use crate::error::MaskerError;
use crate::rule::RULES;
use crate::transform::MaskerFactory;

/// Reads the keys and compiles the rules.
///
/// # Errors
/// [`MaskerError`].
pub fn factory(config: &MaskerConfig) -> Result<MaskerFactory, MaskerError> {
    if let Some(id) = config.disabled_rules.iter().find(|id| RULES.iter().all(|rule| rule.id != id.as_str())) {
        return Err(MaskerError::UnknownRule(id.clone()));
    }
    let key = MaskerKey::from_file(&config.key_file)?;
    let pseudonym = match &config.pseudonym_key_file {
        Some(path) => MaskerKey::from_file(path)?.derive(b"pseudonym"),
        None => key.derive(b"pseudonym"),
    };
    Ok(MaskerFactory::new(key, &pseudonym, config))
}
