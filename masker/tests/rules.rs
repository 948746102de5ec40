//! Every rule against its own examples, alone and among all others, whole and in parts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use masker::engine::{Engine, Setup, Stream, Tally};
use masker::rule::{Action, CATALOGUE, RULES, Rule};
use masker::sample::{Sample, expand};

fn alone(rule: &'static Rule) -> Engine {
    let action = if rule.action == Action::Off { Action::Redact } else { rule.action };
    let rule: &'static Rule = Box::leak(Box::new(Rule { action, ..*rule }));
    Engine::compile(&[rule], Setup { pseudonym: b"key", epoch: 0, names: &[] }).unwrap()
}

fn mask(engine: &Engine, text: &[u8]) -> Vec<u8> {
    engine.mask(text, &mut Tally::default()).unwrap_or_else(|| text.to_vec())
}

/// The secret parts of six bytes and more that `masked` still shows.
fn shown(sample: &Sample, masked: &[u8]) -> Vec<String> {
    let parts = sample.secrets.iter().map(|span| &sample.text[span.clone()]).filter(|part| part.len() >= 6);
    let left = parts.filter(|part| masked.windows(part.len()).any(|window| window == *part));
    left.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

#[test]
fn every_rule_finds_its_examples_and_leaves_its_counter_examples() {
    let mut faults = Vec::new();
    for &rule in RULES {
        let engine = alone(rule);
        assert!(!rule.examples.is_empty() && !rule.counter_examples.is_empty(), "{}", rule.id);
        for (template, seed) in rule.examples.iter().flat_map(|template| (0..4).map(move |seed| (template, seed))) {
            let sample = expand(template, seed).unwrap_or_else(|what| panic!("{}: {what}", rule.id));
            let masked = mask(&engine, &sample.text);
            if masked == sample.text {
                faults.push(format!("{}: not found: {}", rule.id, String::from_utf8_lossy(&sample.text)));
            } else if rule.action != Action::Partial && !shown(&sample, &masked).is_empty() {
                faults.push(format!("{}: still shown: {}", rule.id, String::from_utf8_lossy(&masked)));
            }
        }
        for template in rule.counter_examples {
            let text = expand(template, 1).unwrap_or_else(|what| panic!("{}: {what}", rule.id)).text;
            if mask(&engine, &text) != text {
                faults.push(format!("{}: must not match: {}", rule.id, String::from_utf8_lossy(&text)));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// Other rules cost no rule its finds, and a text that comes in two parts is masked as the whole.
#[test]
fn among_all_rules_and_in_every_two_parts_nothing_is_shown() {
    let engine = Engine::new(&[], b"key");
    let mut faults = Vec::new();
    for &rule in RULES.iter().filter(|rule| rule.action == Action::Redact) {
        for template in rule.examples {
            let sample = expand(template, 7).unwrap();
            let whole = mask(&engine, &sample.text);
            if !shown(&sample, &whole).is_empty() {
                faults.push(format!("{}: {}", rule.id, String::from_utf8_lossy(&whole)));
            }
            for cut in 0..=sample.text.len() {
                let (mut stream, mut out, mut tally) = (Stream::default(), Vec::new(), Tally::default());
                stream.feed(&engine, &sample.text[..cut], false, &mut out, &mut tally);
                stream.feed(&engine, &sample.text[cut..], true, &mut out, &mut tally);
                if out != whole {
                    faults.push(format!("{} cut at {cut}: {}", rule.id, String::from_utf8_lossy(&out)));
                    break;
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_catalogue_is_covered_by_rules_that_exist() {
    assert!(CATALOGUE.len() >= 221 && RULES.len() >= 221);
    for (at, (id, ours)) in CATALOGUE.iter().enumerate() {
        assert!(RULES.iter().any(|rule| rule.id == *ours), "{ours}");
        assert!(!CATALOGUE[..at].iter().any(|(other, _)| other == id), "{id}");
    }
}

/// What stands in the source is a template: no rule finds anything in it but where an example is meant to be literal.
#[test]
fn no_example_stands_in_the_source_as_a_secret() {
    for rule in RULES {
        for template in rule.examples.iter().filter(|template| template.contains('{')) {
            let sample = expand(template, 1).unwrap();
            assert!(sample.secrets.iter().all(|span| !span.is_empty()), "{}", rule.id);
        }
    }
}
