//! MB per second of CPU of the rules' anchors alone, of the pattern engine (a text whole, and in parts) and of the SQL
//! structure, on 4 KiB payloads; run with `--release`.
#![allow(clippy::print_stdout, missing_docs)]

use masker::engine::{Engine, Stream, Tally};
use masker::structure::sql;

/// CPU time of this thread, seconds; another clock's where it cannot be read.
fn cpu(since: std::time::Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = stat.and_then(|stat| stat.split(' ').next()?.parse::<f64>().ok());
    spent.map_or_else(|| since.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

fn main() {
    let engine = Engine::new(&[], b"key");
    let line =
        "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = 4711;\n";
    let text: String = line.chars().cycle().take(4096).collect();
    let anchors: Vec<&str> = masker::rule::RULES.iter().flat_map(|rule| rule.anchors.iter().copied()).collect();
    let literals = aho_corasick::AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(aho_corasick::AhoCorasickKind::DFA))
        .prefilter(false)
        .build(&anchors);
    let (mut stream, mut out) = (Stream::default(), Vec::new());
    for name in ["anchors alone", "patterns", "patterns in parts", "statement"] {
        let start = std::time::Instant::now();
        let before = cpu(start);
        let mut bytes = 0usize;
        while start.elapsed().as_millis() < 1000 {
            let mut tally = Tally::default();
            let masked = match name {
                "anchors alone" => {
                    let hits = literals.as_ref().map_or(0, |all| all.find_overlapping_iter(&text).count());
                    (hits > 1_000_000).then(Vec::new)
                }
                "patterns" => engine.mask(text.as_bytes(), &mut tally),
                "patterns in parts" => {
                    out.clear();
                    stream.feed(&engine, text.as_bytes(), false, &mut out, &mut tally);
                    (tally.bytes > 0).then(Vec::new)
                }
                _ => sql::mask(&engine, masker::config::Literals::Secret, &[], text.as_bytes(), &mut tally),
            };
            assert!(masked.is_none(), "clean text is left alone");
            bytes += text.len();
        }
        println!("{name}: {:.1} MB/s", bytes as f64 / 1e6 / (cpu(start) - before));
    }
}
