//! `sealtrail mask --explain`: what the configured rules find in a text. What they find is never printed, only its place.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use masker::engine::{Engine, Tally};
use masker::rule::{RULES, family_of};
use serde_json::json;

use crate::args::MaskArgs;
use crate::config::Config;
use crate::exit::Usage;
use crate::output::{json as print_json, line, table};

/// Longest text, bytes.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Widest cell of the table.
const WIDTH_MAX: usize = 60;
/// Key of the pseudonyms shown here; those of records are made with the masker's own.
const PSEUDONYM: &[u8] = b"explain";

pub(super) fn run(args: &MaskArgs, file: &Path) -> Result<ExitCode> {
    let config = Config::load(&args.config)?.masker;
    let wrong = |error: masker::MaskerError| Usage(format!("{:#}", anyhow::Error::from(error)));
    masker::start::check(&config).map_err(wrong)?;
    let engine = Engine::configured(&config, PSEUDONYM).map_err(|error| Usage(error.to_string()))?;
    let text = read(file)?;
    let mut edits = Vec::new();
    let gap = engine.find(&text, &mut edits).err();
    let mut tally = Tally::default();
    let masked = match gap {
        Some(gap) => gap.whole(&text, &mut tally),
        None => engine.mask(&text, &mut tally).unwrap_or_else(|| text.clone()),
    };
    let masked = String::from_utf8_lossy(&masked).into_owned();
    let severity = |id: &str| {
        let own = config.rules.iter().find(|rule| rule.id == id).and_then(|rule| rule.severity);
        let built_in = RULES.iter().find(|rule| rule.id == id).map(|rule| rule.severity);
        own.or(built_in).map_or_else(String::new, |severity| format!("{severity:?}").to_lowercase())
    };
    if args.output.json {
        let found = edits.iter().map(|edit| {
            json!({
                "rule": edit.rule, "family": family_of(edit.rule), "severity": severity(edit.rule),
                "start": edit.span.start, "end": edit.span.end, "replaced_by": edit.with,
            })
        });
        let found: Vec<_> = found.collect();
        let whole = gap.map(|gap| format!("{gap:?}").to_lowercase());
        print_json(&json!({ "matches": found, "masked": masked, "masked_bytes": tally.bytes, "masked_whole": whole }));
        return Ok(ExitCode::SUCCESS);
    }
    if edits.is_empty() {
        line("no rule matches");
    } else {
        let row = |edit: &masker::engine::Edit| {
            let place = format!("{}..{}", edit.span.start, edit.span.end);
            vec![place, edit.rule.to_owned(), family_of(edit.rule).to_owned(), severity(edit.rule), edit.with.clone()]
        };
        let rows: Vec<_> = edits.iter().map(row).collect();
        line(&table(&["bytes", "rule", "family", "severity", "replaced by"], &rows, WIDTH_MAX));
    }
    if let Some(gap) = gap {
        line(&format!("the text is masked whole: {gap:?}"));
    }
    line(&masked);
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(TEXT_BYTES_MAX + 1).read_to_end(&mut text).context("read standard input")?;
    } else {
        let file = std::fs::File::open(file).with_context(|| format!("open {}", file.display()))?;
        file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut text).context("read the text")?;
    }
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(Usage(format!("the text is longer than {TEXT_BYTES_MAX} bytes")).into());
    }
    Ok(text)
}
