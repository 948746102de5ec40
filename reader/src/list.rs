//! Sessions, one session, all events: what replay and listings show.
//!
//! Nothing here proves anything; `verify` does. Rows are found by their own columns, never by statistics or bloom
//! filters, which no seal covers. Order: sequence within a session, so that a replay is the same every time.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use columns::{ColumnsError, Rows};
use schemas::layout::Table;
use schemas::v1;
use serde::Serialize;

use crate::fetch::{ObjectError, ObjectRows};
use crate::{Archive, ReadError};

/// Most sessions of one listing.
pub const SESSIONS_MAX: usize = 10_000_000;
/// Most rows of one session, frames and events together.
pub const SESSION_ROWS_MAX: usize = 4_000_000;
/// Most candidates of an ambiguous id.
pub const CANDIDATES_MAX: usize = 1000;

/// One session, from its events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SessionSummary {
    /// Id, 36 characters.
    pub session_id: String,
    /// When it was opened (or refused), microseconds since epoch UTC; the first event's time if that record is missing.
    pub opened_at_us: i64,
    /// When it was closed; `None` while it is open, and for a refused one.
    pub closed_at_us: Option<i64>,
    /// E-mail of the person.
    pub principal_email: String,
    /// Subject of the person at the issuer.
    pub principal_subject: String,
    /// Groups of the person.
    pub principal_groups: Vec<String>,
    /// Target.
    pub target_name: String,
    /// User at the target.
    pub target_user: String,
    /// Client address.
    pub client_ip: String,
    /// Commands executed.
    pub commands: i64,
    /// Commands that ended in an error.
    pub errors: i64,
    /// Rows the commands returned or changed.
    pub rows: i64,
    /// Messages, as counted by the proxy at the end; `None` before.
    pub message_count: Option<i64>,
    /// Records, as counted by the proxy at the end; `None` before.
    pub record_count: Option<i64>,
    /// Why it was closed or refused.
    pub reason_code: String,
    /// Records found in the archive, repeats not counted.
    pub records_found: i64,
    /// The proxy's count equals the records found: nothing was lost on the way to the archive.
    pub complete: bool,
}

/// Every session of the archive, by time of opening, then id.
///
/// # Errors
/// [`ReadError`]; also [`ReadError::TooLarge`] above [`SESSIONS_MAX`].
pub fn sessions(archive: &Archive) -> Result<Vec<SessionSummary>, ReadError> {
    let mut found: HashMap<String, SessionSummary> = HashMap::new();
    // within a table a session's records come in order, so what is not above the last one is a repeat
    let mut last: HashMap<String, i64> = HashMap::new();
    each_batch(archive, Table::Events, Some(&EVENT_COLUMNS), &mut |_, batch| {
        let cells = EventCells::open(batch)?;
        for row in 0..batch.num_rows() {
            let id = cells.text("session_id", row);
            if id.is_empty() {
                continue; // an opaque row belongs to no session
            }
            let sequence = cells.long("sequence", row).unwrap_or(0);
            if last.get(id).is_some_and(|last| *last >= sequence) {
                continue;
            }
            last.insert(id.to_owned(), sequence);
            if !found.contains_key(id) && found.len() >= SESSIONS_MAX {
                return Err(Stop::TooMany(SESSIONS_MAX, "sessions"));
            }
            cells.add(row, found.entry(id.to_owned()).or_default());
        }
        Ok(())
    })?;
    last.clear();
    each_batch(archive, Table::Frames, Some(&["session_id", "sequence"]), &mut |_, batch| {
        let (ids, sequences) = (strings(batch, "session_id")?, longs(batch, "sequence")?);
        for row in 0..batch.num_rows() {
            let id = cell(ids, row);
            let sequence = if sequences.is_null(row) { 0 } else { sequences.value(row) };
            let Some(session) = found.get_mut(id) else { continue };
            if last.get(id).is_none_or(|last| *last < sequence) {
                session.records_found += 1;
                last.insert(id.to_owned(), sequence);
            }
        }
        Ok(())
    })?;
    let mut sessions: Vec<SessionSummary> = found.into_values().collect();
    for session in &mut sessions {
        session.complete = session.record_count == Some(session.records_found);
    }
    sessions.sort_by(|a, b| (a.opened_at_us, &a.session_id).cmp(&(b.opened_at_us, &b.session_id)));
    Ok(sessions)
}

/// All frames and events of the session whose id starts with `prefix`, by sequence.
///
/// # Errors
/// [`ReadError::UnknownSession`], [`ReadError::AmbiguousSession`] with the candidates, [`ReadError::TooLarge`] above
/// [`SESSION_ROWS_MAX`] rows.
pub fn session(archive: &Archive, prefix: &str) -> Result<(Vec<v1::Frame>, Vec<v1::Event>), ReadError> {
    let mut places: BTreeMap<String, Vec<(Table, String, usize)>> = BTreeMap::new();
    for table in Table::ALL {
        each_batch(archive, table, Some(&["session_id"]), &mut |place, batch| {
            let ids = strings(batch, "session_id")?;
            for id in (0..batch.num_rows()).map(|row| cell(ids, row)).filter(|id| !id.is_empty()) {
                if !id.starts_with(prefix) || (places.len() >= CANDIDATES_MAX && !places.contains_key(id)) {
                    continue;
                }
                let here = (table, place.0.to_owned(), place.1);
                let known = places.entry(id.to_owned()).or_default();
                if known.last() != Some(&here) {
                    known.push(here);
                }
            }
            Ok(())
        })?;
    }
    let exact = places.remove(prefix).map(|place| (prefix.to_owned(), place));
    let (id, places) = match exact {
        Some(exact) => exact,
        None if places.len() > 1 => {
            let candidates = places.into_keys().collect();
            return Err(ReadError::AmbiguousSession { prefix: prefix.to_owned(), candidates });
        }
        None => places.pop_first().ok_or_else(|| ReadError::UnknownSession { prefix: prefix.to_owned() })?,
    };
    read_session(archive, &id, &places)
}

fn read_session(
    archive: &Archive,
    id: &str,
    places: &[(Table, String, usize)],
) -> Result<(Vec<v1::Frame>, Vec<v1::Event>), ReadError> {
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    for (table, name, group) in places {
        let object = open(archive, *table, name)?;
        let mut take = |batch: &RecordBatch| -> Result<(), Stop> {
            let ids = strings(batch, "session_id")?;
            let rows = Rows::new(*table, batch)?;
            for row in (0..batch.num_rows()).filter(|row| cell(ids, *row) == id) {
                if frames.len() + events.len() >= SESSION_ROWS_MAX {
                    return Err(Stop::TooMany(SESSION_ROWS_MAX, "rows"));
                }
                match table {
                    Table::Frames => {
                        let mut frame = v1::Frame::default();
                        if rows.frame(row, &mut frame)? {
                            frames.push(frame);
                        }
                    }
                    Table::Events => {
                        let mut event = v1::Event::default();
                        if rows.event(row, &mut event)? {
                            events.push(event);
                        }
                    }
                }
            }
            Ok(())
        };
        let reader = object.group(*group).map_err(|error| Stop::from(error).at(name))?;
        for batch in reader {
            let batch = batch.map_err(|error| Stop::from(ObjectError::Rows(error)).at(name))?;
            take(&batch).map_err(|stop| stop.at(name))?;
        }
    }
    frames.sort_by_key(|frame| frame.sequence);
    events.sort_by_key(|event| event.sequence);
    Ok((frames, events))
}

/// Every event of the archive, by time, then session, then sequence.
///
/// # Errors
/// [`ReadError::TooLarge`] when there are more than `limit`.
pub fn events(archive: &Archive, limit: usize) -> Result<Vec<v1::Event>, ReadError> {
    let mut events = Vec::new();
    each_batch(archive, Table::Events, None, &mut |_, batch| {
        let rows = Rows::new(Table::Events, batch)?;
        for row in 0..batch.num_rows() {
            let mut event = v1::Event::default();
            if rows.event(row, &mut event)? {
                if events.len() >= limit {
                    return Err(Stop::TooMany(limit, "events"));
                }
                events.push(event);
            }
        }
        Ok(())
    })?;
    events.sort_by(|a: &v1::Event, b: &v1::Event| {
        (a.observed_at_us, a.session_id.0, a.sequence).cmp(&(b.observed_at_us, b.session_id.0, b.sequence))
    });
    Ok(events)
}

/// Why a scan ends early; the object's name is added where it is known.
enum Stop {
    TooMany(usize, &'static str),
    Object(ObjectError),
}

impl Stop {
    fn at(self, name: &str) -> ReadError {
        match self {
            Self::TooMany(limit, unit) => {
                ReadError::TooLarge { name: name.to_owned(), limit: u64::try_from(limit).unwrap_or(u64::MAX), unit }
            }
            Self::Object(source) => ReadError::Object { name: name.to_owned(), source },
        }
    }
}

impl From<ObjectError> for Stop {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl From<ColumnsError> for Stop {
    fn from(error: ColumnsError) -> Self {
        Self::Object(ObjectError::Columns(error.into()))
    }
}

fn open(archive: &Archive, table: Table, name: &str) -> Result<ObjectRows, ReadError> {
    ObjectRows::open(table, archive.get(name)?).map_err(|source| ReadError::Object { name: name.to_owned(), source })
}

/// What a scan does with a record batch; the place is object name and row group.
type Visit<'a> = dyn FnMut((&str, usize), &RecordBatch) -> Result<(), Stop> + 'a;

/// Every record batch of a table, objects by name.
fn each_batch(archive: &Archive, table: Table, names: Option<&[&str]>, visit: &mut Visit<'_>) -> Result<(), ReadError> {
    for name in archive.list(table.as_str())?.iter().filter(|name| schemas::layout::parse_object_name(name).is_some()) {
        let object = open(archive, table, name)?;
        for group in 0..object.row_groups() {
            let reader = match names {
                Some(names) => object.columns(group, names),
                None => object.group(group),
            };
            for batch in reader.map_err(|error| Stop::from(error).at(name))? {
                let batch = batch.map_err(|error| Stop::from(ObjectError::Rows(error)).at(name))?;
                visit((name, group), &batch).map_err(|stop| stop.at(name))?;
            }
        }
    }
    Ok(())
}

fn typed<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, Stop> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<T>());
    column.ok_or_else(|| {
        let reason = "is missing or has another type";
        ColumnsError::Schema { column: name.to_owned(), reason }.into()
    })
}

fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Stop> {
    typed(batch, name)
}

fn longs<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array, Stop> {
    typed(batch, name)
}

fn cell(texts: &StringArray, row: usize) -> &str {
    if texts.is_null(row) { "" } else { texts.value(row) }
}

const TEXTS: [&str; 9] = [
    "session_id",
    "kind",
    "principal_email",
    "principal_subject",
    "target_name",
    "target_user",
    "client_ip",
    "error_code",
    "reason_code",
];
const LONGS: [&str; 4] = ["sequence", "rows", "message_count", "record_count"];
const EVENT_COLUMNS: [&str; 15] = [
    "session_id",
    "kind",
    "principal_email",
    "principal_subject",
    "target_name",
    "target_user",
    "client_ip",
    "error_code",
    "reason_code",
    "sequence",
    "rows",
    "message_count",
    "record_count",
    "observed_at_us",
    "principal_groups",
];

/// The columns a summary is made of.
struct EventCells<'a> {
    texts: HashMap<&'static str, &'a StringArray>,
    longs: HashMap<&'static str, &'a Int64Array>,
    times: &'a TimestampMicrosecondArray,
    groups: &'a ListArray,
}

impl<'a> EventCells<'a> {
    fn open(batch: &'a RecordBatch) -> Result<Self, Stop> {
        let mut texts = HashMap::new();
        for name in TEXTS {
            texts.insert(name, strings(batch, name)?);
        }
        let mut numbers = HashMap::new();
        for name in LONGS {
            numbers.insert(name, longs(batch, name)?);
        }
        let (times, groups) = (typed(batch, "observed_at_us")?, typed(batch, "principal_groups")?);
        Ok(Self { texts, longs: numbers, times, groups })
    }

    fn text(&self, name: &str, row: usize) -> &'a str {
        self.texts.get(name).map_or("", |texts| cell(texts, row))
    }

    fn long(&self, name: &str, row: usize) -> Option<i64> {
        self.longs.get(name).filter(|longs| !longs.is_null(row)).map(|longs| longs.value(row))
    }

    /// Adds a row to its session's summary.
    fn add(&self, row: usize, session: &mut SessionSummary) {
        let at = if self.times.is_null(row) { 0 } else { self.times.value(row) };
        let first = session.records_found == 0;
        session.records_found += 1;
        let opened = v1::EventKind::SessionOpened.as_str();
        let refused = v1::EventKind::SessionRefused.as_str();
        let kind = self.text("kind", row);
        if first || kind == opened || kind == refused {
            self.identify(row, session);
            session.opened_at_us = at;
        }
        if kind == v1::EventKind::Command.as_str() {
            session.commands += 1;
            session.errors += i64::from(!self.text("error_code", row).is_empty());
            session.rows = session.rows.saturating_add(self.long("rows", row).unwrap_or(0));
        } else if kind == v1::EventKind::SessionClosed.as_str() {
            session.closed_at_us = Some(at);
            session.message_count = self.long("message_count", row);
            session.record_count = self.long("record_count", row);
            self.text("reason_code", row).clone_into(&mut session.reason_code);
        } else if kind == refused {
            self.text("reason_code", row).clone_into(&mut session.reason_code);
        }
    }

    fn identify(&self, row: usize, session: &mut SessionSummary) {
        let to = [
            ("session_id", &mut session.session_id),
            ("principal_email", &mut session.principal_email),
            ("principal_subject", &mut session.principal_subject),
            ("target_name", &mut session.target_name),
            ("target_user", &mut session.target_user),
            ("client_ip", &mut session.client_ip),
        ];
        for (name, field) in to {
            self.text(name, row).clone_into(field);
        }
        let groups = (!self.groups.is_null(row)).then(|| self.groups.value(row));
        let groups = groups.as_ref().and_then(|groups| groups.as_any().downcast_ref::<StringArray>());
        session.principal_groups = groups
            .map(|groups| (0..groups.len()).map(|item| cell(groups, item).to_owned()).collect())
            .unwrap_or_default();
    }
}
