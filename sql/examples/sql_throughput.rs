//! MB per second of CPU of reading 4 KiB of statements: tokens, then statements and classes, then operands; run with `--release`.
#![allow(clippy::print_stdout, missing_docs)]

use sql::{Options, lex, operands_of, secret_class_of, statements_of, survey, within};

/// CPU time of this thread, seconds; another clock's where it cannot be read.
fn cpu(since: std::time::Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = stat.and_then(|stat| stat.split(' ').next()?.parse::<f64>().ok());
    spent.map_or_else(|| since.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

fn main() {
    let line =
        "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = 4711;\n";
    let text: String = line.chars().cycle().take(4096).collect();
    let (text, mut tokens) = (text.as_bytes(), Vec::new());
    for name in ["tokens", "survey", "classes", "operands"] {
        let start = std::time::Instant::now();
        let before = cpu(start);
        let mut bytes = 0usize;
        while start.elapsed().as_millis() < 1000 {
            if name == "survey" {
                assert!(!survey(text, Options::default()).suspect, "plain statements");
            } else {
                lex(text, Options::default(), &mut tokens);
            }
            let secret = name == "classes"
                && statements_of(&tokens, text).any(|span| secret_class_of(within(&tokens, &span), text).is_some());
            let found = if name == "operands" { operands_of(&tokens, text).len() } else { 0 };
            assert!(!secret && found < text.len(), "plain statements");
            bytes += text.len();
        }
        println!("{name}: {:.1} MB/s", bytes as f64 / 1e6 / (cpu(start) - before));
    }
}
