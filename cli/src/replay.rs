//! A recorded session as text: each command with its parameters, rows as a table, errors, in its own time.
//!
//! Works on masked records only; what it prints is what the archive holds. Control characters are replaced, so a
//! recorded value cannot steer the reader's terminal.

use std::collections::BTreeMap;

use ingest_proxy::protocol::postgres::message::parse::{RowDescription, data_row};
use schemas::v1::{Direction, Event, EventKind, Frame, PayloadState};

use crate::output::{clean, table, time};

/// Longest cell printed, characters.
const CELL_MAX: usize = 60;
/// Most COPY lines printed per command.
const COPY_LINES_MAX: usize = 20;

/// Something to print at a moment of the session.
pub(crate) struct Step {
    /// When it happened, microseconds since epoch.
    pub(crate) at_us: i64,
    /// Lines.
    pub(crate) text: String,
}

#[derive(Default)]
struct Result {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    rows_seen: usize,
    copy: Vec<String>,
    notices: Vec<String>,
    started_us: Option<i64>,
    hidden: usize,
}

/// Turns a session's records into steps, in order.
pub(crate) fn steps(frames: &[Frame], events: &[Event], rows_max: usize) -> Vec<Step> {
    let mut results: BTreeMap<i64, Result> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame.command_id >= 0) {
        let result = results.entry(frame.command_id).or_default();
        result.started_us.get_or_insert(frame.observed_at_us);
        take_frame(result, frame, rows_max);
    }
    let who = events.iter().find(|event| event.kind == EventKind::SessionOpened).map_or_else(|| "?".to_owned(), name);
    let mut steps: Vec<Step> = events
        .iter()
        .map(|event| match event.kind {
            EventKind::Command => command(event, results.get(&event.command_id), &who),
            _ => Step { at_us: event.observed_at_us, text: happening(event) },
        })
        .collect();
    steps.sort_by_key(|step| step.at_us);
    steps
}

fn name(event: &Event) -> String {
    clean(if event.principal_email.is_empty() { &event.principal_subject } else { &event.principal_email })
}

fn take_frame(result: &mut Result, frame: &Frame, rows_max: usize) {
    match (frame.direction, frame.message_type.as_str()) {
        (Direction::ToClient, "RowDescription") => match RowDescription::read(&frame.payload) {
            Ok(description) => result.columns = description.columns().map(|column| text(column.name)).collect(),
            Err(_) => result.hidden += 1,
        },
        (Direction::ToClient, "DataRow") => {
            result.rows_seen += usize::from(frame.last);
            if rows_max > 0 && result.rows.len() >= rows_max {
                return;
            }
            match data_row(&frame.payload) {
                Ok(values) if frame.chunk == 0 && frame.last => {
                    let cell = |value: Option<&[u8]>| value.map_or_else(|| "∅".to_owned(), text);
                    result.rows.push(values.map(cell).collect());
                }
                _ => result.rows.push(vec![format!("<{}>", state(frame))]),
            }
        }
        (_, "CopyData") if result.copy.len() < COPY_LINES_MAX => {
            let shown = if frame.payload.is_empty() { format!("<{}>", state(frame)) } else { text(&frame.payload) };
            result.copy.extend(shown.split('\n').filter(|line| !line.is_empty()).map(clean));
            result.copy.truncate(COPY_LINES_MAX);
        }
        _ => {}
    }
}

fn state(frame: &Frame) -> &'static str {
    match frame.payload_state {
        PayloadState::MaskedWhole => "masked whole",
        PayloadState::Dropped => "dropped",
        _ => "not shown",
    }
}

/// Bytes as text; what is no UTF-8 is printed as hexadecimal.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().take(CELL_MAX).map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn command(event: &Event, result: Option<&Result>, who: &str) -> Step {
    let at_us = result.and_then(|result| result.started_us).unwrap_or(event.observed_at_us);
    let statement = event.statement.as_deref().unwrap_or(&event.command_kind);
    let mut lines: Vec<String> = vec![format!("{who}> {}", indent(statement.trim_end()))];
    if !event.parameters.is_empty() {
        let shown = event.parameters.iter().zip(1..).map(|(parameter, number)| {
            let value = parameter.value.as_deref().map_or("NULL".to_owned(), |value| format!("'{}'", clean(value)));
            if parameter.name.is_empty() {
                format!("${number} = {value}")
            } else {
                format!("${number} ({}) = {value}", clean(&parameter.name))
            }
        });
        lines.push(format!("  with {}", shown.collect::<Vec<_>>().join(", ")));
    }
    if let Some(result) = result {
        lines.extend(result.copy.iter().map(|line| format!("  │ {line}")));
        lines.extend(result.notices.iter().cloned());
        if !result.rows.is_empty() || !result.columns.is_empty() {
            let widest = result.rows.iter().map(Vec::len).max().unwrap_or(0).max(result.columns.len());
            let headers: Vec<String> = (0..widest)
                .map(|i| result.columns.get(i).cloned().unwrap_or_else(|| format!("column {}", i + 1)))
                .collect();
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            lines.extend(table(&headers, &result.rows, CELL_MAX).lines().map(|line| format!("  {line}")));
        }
        if result.rows_seen > result.rows.len() {
            lines.push(format!("  … {} more rows", result.rows_seen - result.rows.len()));
        }
        if result.hidden > 0 {
            lines.push(format!("  ({} messages are masked whole)", result.hidden));
        }
    }
    lines.push(format!("  {}", outcome(event)));
    Step { at_us, text: lines.join("\n") }
}

fn indent(statement: &str) -> String {
    statement.split('\n').map(clean).collect::<Vec<_>>().join("\n      ")
}

/// One line that says how a command ended.
pub(crate) fn outcome(event: &Event) -> String {
    let took = event.duration_us.map_or(String::new(), |us| format!(" in {}.{:03} ms", us / 1000, us % 1000));
    match (&event.error_code, &event.error_message) {
        (Some(code), message) => format!("ERROR {}: {}{took}", clean(code), clean(message.as_deref().unwrap_or(""))),
        (None, _) => {
            let rows = event.rows.map_or(String::new(), |rows| format!(", {rows} rows"));
            format!("{}{rows}{took}", clean(&event.command_kind))
        }
    }
}

fn happening(event: &Event) -> String {
    let at = time(event.observed_at_us);
    match event.kind {
        EventKind::SessionOpened => format!(
            "── {at} session {} opened: {} ({}) on {} as {} from {}, {}",
            event.session_id,
            name(event),
            clean(&event.principal_groups.join(", ")),
            clean(&event.target_name),
            clean(&event.target_user),
            clean(&event.client_ip),
            clean(&event.application)
        ),
        EventKind::SessionClosed => format!(
            "── {at} session closed: {}; {} messages, {} records",
            clean(&event.reason_code),
            event.message_count.unwrap_or(-1),
            event.record_count.unwrap_or(-1)
        ),
        _ => format!("── {at} {}: {} {}", event.kind.as_str(), clean(&event.reason_code), clean(&event.reason)),
    }
}
