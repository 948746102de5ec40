//! What an interrupted run had found sound, so that the next goes on (one line per object in a file of the caller's).
//!
//! Only objects without a finding are in it, and only for the very log head of that run. An object that is changed after
//! its line was written is not read again: who must exclude that runs without the file. First line: form, root, size.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use schemas::v1::StreamId;
use tlog::Hash;

use super::chain::StreamKey;
use super::rows::Checked;
use crate::ReadError;

const FORM: &str = "sealtrail-verify/v1";
/// Most lines read.
const LINES_MAX: usize = 10_000_000;

/// A sound object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sound {
    bytes: u64,
    rows: u64,
    stream: StreamKey,
    first_seal: i64,
    last_seal: i64,
}

/// The file, open for what comes next.
#[derive(Debug)]
pub(crate) struct Resume {
    done: HashMap<String, Sound>,
    file: Mutex<std::fs::File>,
    name: String,
}

impl Resume {
    /// Reads what is there for this head; begins anew for another. A torn last line is passed over.
    pub(crate) fn open(path: &Path, root: &Hash, size: u64) -> Result<Self, ReadError> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| ReadError::Store { name: name.clone(), source: error.into() };
        let head = format!("{FORM} {root} {size}");
        let mut done = HashMap::new();
        let mut same = false;
        if let Ok(file) = std::fs::File::open(path) {
            let mut lines = BufReader::new(file).lines().take(LINES_MAX);
            same = lines.next().transpose().map_err(failed)?.is_some_and(|line| line == head);
            if same {
                done.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
            }
        }
        let mut options = std::fs::File::options();
        let mut file = if same { options.append(true) } else { options.write(true).create(true).truncate(true) }
            .open(path)
            .map_err(failed)?;
        // after a torn line the next must begin on a line of its own
        let first = if same { "\n".to_owned() } else { format!("{head}\n") };
        file.write_all(first.as_bytes()).map_err(failed)?;
        Ok(Self { done, file: Mutex::new(file), name })
    }

    /// What the run before had found of an object; `None` when it must be checked.
    pub(crate) fn known(&self, name: &str) -> Option<(Checked, u64)> {
        let sound = self.done.get(name)?;
        let seen = (sound.first_seal..=sound.last_seal).map(|seal| (sound.stream, seal)).collect();
        Some((Checked { seen, rows: sound.rows, ..Checked::default() }, sound.bytes))
    }

    /// Keeps a sound object; one with a finding is checked again next time.
    pub(crate) fn keep(&self, name: &str, checked: &Checked, bytes: u64) -> Result<(), ReadError> {
        let seals = || checked.seen.iter().map(|(_, seal)| *seal);
        let (Some((stream, _)), Some(first), Some(last)) = (checked.seen.first(), seals().min(), seals().max()) else {
            return Ok(());
        };
        if !checked.findings.list.is_empty() || checked.findings.dropped > 0 || name.contains(char::is_whitespace) {
            return Ok(());
        }
        let line = format!("{bytes} {} {} {first} {last} {name}\n", checked.rows, StreamId(stream.0));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
            .map_err(|error| ReadError::Store { name: self.name.clone(), source: error.into() })
    }
}

fn parse(line: &str) -> Option<(String, Sound)> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    let (bytes, rows) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let id = next()?;
    let mut stream = [0; 16];
    for (at, byte) in stream.iter_mut().enumerate() {
        *byte = u8::from_str_radix(id.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    let (first_seal, last_seal): (i64, i64) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let name = next()?.to_owned();
    let whole = next().is_none() && id.len() == 32 && name.ends_with(".parquet") && last_seal >= first_seal;
    let few = last_seal.saturating_sub(first_seal) < i64::try_from(columns::footer::BATCHES_MAX).unwrap_or(0);
    (whole && few).then_some((name, Sound { bytes, rows, stream: StreamKey(stream), first_seal, last_seal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_or_foreign_line_is_no_sound_object() {
        let line = format!("10 3 {} 0 4 events/x.parquet", "0a".repeat(16));
        let (name, sound) = parse(&line).unwrap();
        assert_eq!((name.as_str(), sound.bytes, sound.rows, sound.last_seal), ("events/x.parquet", 10, 3, 4));
        for cut in 0..line.len() {
            assert!(parse(line.get(..cut).unwrap()).is_none(), "{cut}");
        }
        assert!(parse(&line.replace(" 4 ", " -4 ")).is_none());
        assert!(parse(&line.replace(" 4 ", " 900000000 ")).is_none());
    }
}
