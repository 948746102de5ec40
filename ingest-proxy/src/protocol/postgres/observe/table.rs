//! What an observer remembers: prepared statements, portals, and requests without an answer.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use schemas::codec::{put_bytes, put_len, put_long};
use schemas::payload::PARAMETER_BYTES_MAX;

use super::super::facts::{Column, Columns, Parameters, Relations};
use super::super::message::parse::{Bind, Int16s, Oids, RowDescription};
use super::super::statement::{self, Summary};

/// Most bytes of bound values in one COMMAND, all together.
pub(super) const VALUES_BYTES_MAX: usize = 256 * 1024;

/// What the target said of a statement, and the lists made of it; filled while responses pass.
#[derive(Default)]
struct Described {
    types: Vec<u32>,
    /// Body of the last RowDescription.
    body: Vec<u8>,
    /// Result formats that `columns` was made with; none for the description's own.
    formats: Option<Vec<u8>>,
    columns: Option<Arc<Columns>>,
}

/// A statement: of a Parse, or the text of a simple Query (then without an id).
pub(super) struct Prepared {
    pub(super) id: i64,
    pub(super) text: Vec<u8>,
    pub(super) text_bytes: i64,
    pub(super) summary: Summary,
    pub(super) relations: Relations,
    types: Vec<u32>,
    /// Command the Parse itself counts to.
    pub(super) command_id: i64,
    described: Mutex<Described>,
}

impl Prepared {
    pub(super) fn new(id: i64, command_id: i64, text: &[u8], text_bytes: i64, types: Oids<'_>) -> Self {
        let summary = statement::summarize(text);
        let relations = Relations::new(&summary.relations);
        let types = types.iter().collect();
        Self { id, text: text.to_vec(), text_bytes, summary, relations, types, command_id, described: Mutex::default() }
    }

    /// Bytes of memory it counts for.
    pub(super) fn held(&self) -> usize {
        self.text.len() + self.relations.bytes() + 512
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_types(&self, types: Oids<'_>) {
        self.lock().types = types.iter().collect();
    }

    /// The columns of a RowDescription; the same body again costs no allocation.
    pub(super) fn describe(&self, body: &[u8]) -> Option<Arc<Columns>> {
        let mut described = self.lock();
        if described.body != body || described.formats.is_some() || described.columns.is_none() {
            described.columns = columns(body, None).map(Arc::new);
            described.formats = None;
            described.body.clear();
            described.body.extend_from_slice(body);
        }
        described.columns.clone()
    }

    /// The columns of an execution that was not described itself: the statement's, in the formats of its Bind.
    pub(super) fn columns_as(&self, formats: &[u8]) -> Option<Arc<Columns>> {
        let mut described = self.lock();
        if described.body.is_empty() {
            return None;
        }
        if described.formats.as_deref() != Some(formats) {
            described.columns = columns(&described.body, Some(Int16s::over(formats))).map(Arc::new);
            described.formats = Some(formats.to_vec());
        }
        described.columns.clone()
    }

    fn type_of(&self, described: &Described, index: usize) -> u32 {
        let known = |types: &[u32]| types.get(index).copied().filter(|oid| *oid != 0);
        known(&described.types).or_else(|| known(&self.types)).unwrap_or(0)
    }

    /// Facts of the parameters of a Bind.
    pub(super) fn parameters(&self, count: usize, formats: Int16s<'_>) -> Parameters {
        let described = self.lock();
        Parameters::new(count, |index| {
            let name = self.summary.parameters.get(index).map_or("", String::as_str);
            (name, self.type_of(&described, index), formats.format(index))
        })
    }

    /// The bound values as the Avro array of a command's content, and whether any was cut.
    pub(super) fn values(&self, bound: &Bound, out: &mut Vec<u8>) -> bool {
        let Some(bind) = Bind::read(&bound.body).ok().filter(|bind| bind.count > 0) else {
            out.push(0);
            return false;
        };
        let described = self.lock();
        let (mut left, mut cut) = (VALUES_BYTES_MAX, false);
        let mut values = bind.values();
        // Every announced value costs at least four bytes of body; those beyond the kept prefix are not listed.
        let count = bind.count.min(bound.body.len() / 4 + 1);
        cut |= count < bind.count;
        put_len(out, count);
        for index in 0..count {
            put_long(out, i64::from(self.type_of(&described, index)));
            put_long(out, i64::from(bind.formats.format(index)));
            let value = values.next().unwrap_or_else(|| {
                cut = true;
                if values.left() + index == bind.count { Some(values.cut()) } else { Some(&[]) }
            });
            match value {
                None => out.push(0),
                Some(bytes) => {
                    let kept = bytes.get(..PARAMETER_BYTES_MAX.min(left)).unwrap_or(bytes);
                    cut |= kept.len() < bytes.len();
                    left -= kept.len();
                    out.push(2);
                    put_bytes(out, kept);
                }
            }
        }
        out.push(0);
        cut
    }
}

fn columns(body: &[u8], formats: Option<Int16s<'_>>) -> Option<Columns> {
    let row = RowDescription::read(body).ok()?;
    Some(Columns::new(row.columns().enumerate().map(|(index, column)| Column {
        name: column.name,
        type_oid: column.type_oid,
        table_oid: column.table_oid,
        attribute: column.attribute,
        format: formats.map_or(column.format, |formats| formats.format(index)),
    })))
}

/// The values of one Bind: its body, as much as is kept.
#[derive(Default)]
pub(super) struct Bound {
    pub(super) body: Vec<u8>,
    /// Set when the portal was described.
    pub(super) columns: OnceLock<Arc<Columns>>,
}

impl Bound {
    pub(super) fn columns(&self, prepared: &Prepared) -> Option<Arc<Columns>> {
        if let Some(columns) = self.columns.get() {
            return Some(Arc::clone(columns));
        }
        let formats = Bind::read(&self.body).and_then(|bind| bind.result_formats()).unwrap_or_default();
        prepared.columns_as(formats.bytes())
    }
}

/// An open portal.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) bound: Arc<Bound>,
    /// Command of the first Execute; later ones get their own.
    pub(super) command_id: i64,
    pub(super) executed: bool,
    /// Wire bytes of its Parse, Bind and Describe.
    pub(super) to_target: i64,
    pub(super) started_us: i64,
}

/// What a request asks for.
pub(super) enum Kind {
    Query { spans: Vec<Range<usize>>, at: usize },
    Parse { name: Box<[u8]>, previous: Option<Arc<Prepared>> },
    Bind { name: Box<[u8]>, previous: Option<Portal> },
    DescribeStatement,
    DescribePortal,
    Execute,
    Close,
    FunctionCall,
    Sync,
}

/// A request that awaits its answer.
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) command_id: i64,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) bound: Option<Arc<Bound>>,
    pub(super) columns: Option<Arc<Columns>>,
    pub(super) to_target: i64,
    pub(super) started_us: i64,
    /// Bytes counted against the limit while it waits.
    pub(super) held: usize,
}

impl Request {
    /// The command a response to this request belongs to now.
    pub(super) fn current_command(&self) -> i64 {
        match &self.kind {
            Kind::Query { spans, at } if self.command_id >= 0 => {
                let last = spans.len().saturating_sub(1);
                self.command_id + i64::try_from((*at).min(last)).unwrap_or(0)
            }
            _ => self.command_id,
        }
    }

    /// Span of the statement that runs.
    pub(super) fn span(&self) -> Range<usize> {
        let all = 0..self.prepared.as_ref().map_or(0, |prepared| prepared.text.len());
        match &self.kind {
            Kind::Query { spans, at } => spans.get(*at).cloned().unwrap_or(all),
            _ => all,
        }
    }

    /// Goes on to the next statement of a Query.
    pub(super) fn advance(&mut self, now_us: i64) {
        if let Kind::Query { at, .. } = &mut self.kind {
            *at += 1;
            self.to_target = 0;
            self.started_us = now_us;
        }
    }

    /// True while the first statement runs.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.kind, Kind::Query { at: 0, .. })
    }

    /// Makes the whole text of a Query one statement.
    pub(super) fn whole(&mut self) {
        if let Kind::Query { spans, .. } = &mut self.kind {
            spans.clear();
        }
    }

    /// Statements of a Query that have not run.
    pub(super) fn left(&self) -> usize {
        match &self.kind {
            Kind::Query { spans, at } => spans.len().saturating_sub(*at),
            _ => 0,
        }
    }
}
