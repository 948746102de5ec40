//! What an observer remembers: prepared statements, portals, and requests without an answer.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use schemas::codec::{put_bytes, put_len, put_long};
use schemas::payload::{PARAMETER_BYTES_MAX, STATEMENT_BYTES_MAX};

use super::super::facts::{Column, Columns, Parameters, RELATIONS_MAX, Relations};
use super::super::message::parse::{Bind, Int16s, Oids, RowDescription};
use super::super::statement::{self, CopyShape, Summary};

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
    /// The last Bind's parameter facts, with the count and formats they were made with.
    parameters: Option<(usize, Vec<u8>, Parameters)>,
}

/// One statement of a text.
pub(super) struct Part {
    pub(super) span: Range<usize>,
    pub(super) kind: &'static str,
    pub(super) relations: Relations,
    pub(super) copy: Option<CopyShape>,
}

/// A statement: of a Parse, or the text of a simple Query (then without an id), which may hold several.
pub(super) struct Prepared {
    pub(super) id: i64,
    pub(super) text: Vec<u8>,
    pub(super) text_bytes: i64,
    /// The statements of the text: one of a Parse, any number of a Query.
    pub(super) parts: Vec<Part>,
    /// Kind of the first statement.
    pub(super) kind: &'static str,
    /// Relations of all of them.
    pub(super) relations: Relations,
    /// The parameter names of a Parse.
    summary: Summary,
    types: Vec<u32>,
    /// Command the Parse itself counts to.
    pub(super) command_id: i64,
    held: usize,
    described: Mutex<Described>,
}

impl Prepared {
    /// The statement of a Parse. It is read whole, and kept up to `STATEMENT_BYTES_MAX`.
    pub(super) fn of_parse(id: i64, command_id: i64, text: &[u8], text_bytes: usize, types: Oids<'_>) -> Self {
        let kept = text.get(..STATEMENT_BYTES_MAX).unwrap_or(text);
        let mut summary = statement::summarize(text);
        let relations = Relations::new(&summary.relations);
        let part = Part { span: 0..kept.len(), kind: summary.kind, relations, copy: summary.copy.take() };
        let mut made = Self::new(id, command_id, kept, text_bytes, vec![part]);
        made.types = types.iter().collect();
        made.held += summary.held() + made.types.len() * 4;
        made.summary = summary;
        made
    }

    /// The text of a Query.
    pub(super) fn of_query(command_id: i64, text: &[u8], text_bytes: usize) -> Self {
        let part = |span: Range<usize>| {
            let summary = statement::summarize(text.get(span.clone()).unwrap_or_default());
            let relations = Relations::new(&summary.relations);
            (Part { span, kind: summary.kind, relations, copy: summary.copy }, summary.relations)
        };
        let (parts, names): (Vec<Part>, Vec<Vec<String>>) = statement::split(text).into_iter().map(part).unzip();
        let several = parts.len() > 1;
        let mut made = Self::new(-1, command_id, text, text_bytes, parts);
        if several {
            let mut seen = HashSet::new();
            let all: Vec<_> = names.iter().flatten().filter(|name| seen.insert(name.as_str())).collect();
            made.relations = Relations::new(all.get(..RELATIONS_MAX).unwrap_or(&all));
        }
        made
    }

    /// A statement of which nothing is known, such as the one a FunctionCall calls.
    pub(super) fn unknown(command_id: i64) -> Self {
        Self::new(-1, command_id, b"", 0, Vec::new())
    }

    fn new(id: i64, command_id: i64, text: &[u8], text_bytes: usize, parts: Vec<Part>) -> Self {
        let lists: usize = parts.iter().map(|part| part.relations.bytes() + size_of::<Part>()).sum();
        let columns = parts.iter().filter_map(|part| part.copy.as_ref()).flat_map(|copy| &copy.columns);
        let columns: usize = columns.map(|name| name.len() + size_of::<String>()).sum();
        let first = parts.first();
        Self {
            id,
            text: text.to_vec(),
            text_bytes: i64::try_from(text_bytes).unwrap_or(i64::MAX),
            kind: first.map_or("", |part| part.kind),
            relations: first.map_or_else(|| Relations::new::<&str>(&[]), |part| part.relations.clone()),
            parts,
            summary: Summary::default(),
            types: Vec::new(),
            command_id,
            held: text.len() + lists + columns + 512,
            described: Mutex::default(),
        }
    }

    /// Bytes of memory it counts for.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_types(&self, types: Oids<'_>) {
        let mut described = self.lock();
        if !described.types.iter().copied().eq(types.iter()) {
            described.types = types.iter().collect();
            described.parameters = None;
        }
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

    /// Facts of the parameters of a Bind; the same again costs no encoding.
    pub(super) fn parameters(&self, count: usize, formats: Int16s<'_>) -> Parameters {
        let mut described = self.lock();
        if let Some((known, bytes, parameters)) = &described.parameters
            && (*known, bytes.as_slice()) == (count, formats.bytes())
        {
            return parameters.clone();
        }
        let made = Parameters::new(count, |index| {
            (self.summary.parameter(index), self.type_of(&described, index), formats.format(index))
        });
        described.parameters = Some((count, formats.bytes().to_vec(), made.clone()));
        made
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

/// Result formats of a Bind.
#[derive(Default)]
pub(super) enum ResultFormats {
    /// At the end of the body, which is whole.
    #[default]
    InBody,
    /// Of a body that is cut: found while it passed; none when it is no Bind, which the target refuses.
    Walked(Option<Vec<u8>>),
}

/// The values of one Bind: its body, as much as is kept.
#[derive(Default)]
pub(super) struct Bound {
    pub(super) body: Vec<u8>,
    pub(super) formats: ResultFormats,
    /// Set when the portal was described.
    pub(super) columns: OnceLock<Arc<Columns>>,
}

impl Bound {
    /// The columns of its rows; none, and never wrong ones, when the formats cannot be known.
    pub(super) fn columns(&self, prepared: &Prepared) -> Option<Arc<Columns>> {
        if let Some(columns) = self.columns.get() {
            return Some(Arc::clone(columns));
        }
        match &self.formats {
            ResultFormats::InBody => {
                let bind = Bind::read(&self.body).ok()?;
                prepared.columns_as(bind.result_formats().ok()?.bytes())
            }
            ResultFormats::Walked(formats) => prepared.columns_as(formats.as_deref()?),
        }
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

/// What a request asks for. Where it removed or replaced something when it was sent, it keeps that, because a
/// request that the target skips after an error never took effect.
pub(super) enum Kind {
    /// `count` statements, of which number `at` runs; the unnamed portal that it ended.
    Query {
        count: usize,
        at: usize,
        unnamed: Option<Portal>,
    },
    Parse {
        name: Box<[u8]>,
        previous: Option<Arc<Prepared>>,
    },
    Bind {
        name: Box<[u8]>,
        previous: Option<Portal>,
    },
    DescribeStatement {
        name: Box<[u8]>,
    },
    DescribePortal {
        name: Box<[u8]>,
    },
    Execute {
        portal: Box<[u8]>,
    },
    CloseStatement {
        name: Box<[u8]>,
        closed: Option<Arc<Prepared>>,
    },
    ClosePortal {
        name: Box<[u8]>,
        closed: Option<Portal>,
    },
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
            Kind::Query { count, at, .. } if self.command_id >= 0 => {
                let last = count.saturating_sub(1);
                self.command_id + i64::try_from((*at).min(last)).unwrap_or(0)
            }
            _ => self.command_id,
        }
    }

    /// The statement that runs.
    pub(super) fn part(&self) -> Option<&Part> {
        let parts = &self.prepared.as_ref()?.parts;
        match &self.kind {
            Kind::Query { count, at, .. } if at < count => parts.get(*at),
            Kind::Query { .. } => None,
            _ => parts.first(),
        }
    }

    /// Goes on to the next statement of a Query.
    pub(super) fn advance(&mut self, now_us: i64) {
        if let Kind::Query { at, .. } = &mut self.kind {
            *at += 1;
            self.columns = None;
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
        if let Kind::Query { count, .. } = &mut self.kind {
            *count = 0;
        }
    }

    /// Statements of a Query that have not run.
    pub(super) fn left(&self) -> usize {
        match &self.kind {
            Kind::Query { count, at, .. } => count.saturating_sub(*at),
            _ => 0,
        }
    }
}
