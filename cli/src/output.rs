//! Printing: lines, tables, JSON. The only module that writes to standard output.

use std::io::Write as _;

/// Prints one line. A closed pipe (`| head`) is no error.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").is_err() {
        // whoever read us has gone: there is nobody to tell
        std::process::exit(0);
    }
}

/// Prints a value as one JSON document.
pub(crate) fn json(value: &serde_json::Value) {
    line(&format!("{value:#}"));
}

/// Replaces control characters, so that recorded text cannot move the reader's cursor.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// A text table: columns as wide as their widest cell, at most `width_max` characters each.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>], width_max: usize) -> String {
    let cut = |text: &str| -> String {
        let text = clean(text);
        if text.chars().count() <= width_max {
            return text;
        }
        text.chars().take(width_max.saturating_sub(1)).chain(['…']).collect()
    };
    let head: Vec<String> = headers.iter().map(|header| cut(header)).collect();
    let body: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()).collect();
    let width = |column: usize| {
        std::iter::once(&head)
            .chain(&body)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let print = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect::<Vec<_>>();
        cells.join("│").trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "─".repeat(width + 2)).collect::<Vec<_>>().join("┼");
    let mut out = vec![print(&head), rule];
    out.extend(body.iter().map(print));
    out.join("\n")
}

/// Microseconds since epoch as `YYYY-MM-DD HH:MM:SS.mmm` in UTC.
pub(crate) fn time(us: i64) -> String {
    let ms = us.div_euclid(1000);
    let day = schemas::layout::day_text(ms);
    let of_day = ms.rem_euclid(86_400_000);
    format!(
        "{day} {:02}:{:02}:{:02}.{:03}",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000
    )
}
