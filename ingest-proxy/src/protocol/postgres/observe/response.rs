//! Responses: target to client, attributed to the front of the FIFO.

use std::sync::Arc;

use schemas::payload::STATEMENT_BYTES_MAX;

use super::super::codec::Piece;
use super::super::facts::{Column, Columns, Command, CommandContentRef, Content, FactsRef};
use super::super::message::Side;
use super::super::message::parse::{self, CopyResponse, ErrorFields};
use super::table::{Kind, Request};
use super::{BODY_BYTES_MAX, Copy, Finished, Observer, Sink, record, signed};

/// Longest error text kept in a command, per field.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// How a command ended.
struct End<'a> {
    /// Words of the tag; empty when there was none.
    kind: &'a str,
    rows: Option<i64>,
    error: Option<ErrorFields<'a>>,
}

impl Observer {
    /// Observes a piece of what the target sends (or the proxy in its stead), before it is forwarded.
    pub fn response(&mut self, piece: &Piece<'_>, now_us: i64, sink: &mut impl Sink) {
        // The command before is complete as soon as anything but its transaction status follows.
        if self.finished.is_some() && piece.message_type != b'Z' {
            self.flush(b' ', sink);
        }
        if piece.chunk == 0 {
            self.to_client.message_id = self.next_message();
            self.response_bytes += signed(piece.size_bytes());
        }
        match piece.message_type {
            b'D' => return self.data(piece, sink),
            b'd' => return self.copy_data(piece, sink),
            b'A' => return self.emit(piece, -1, None, sink),
            b'K' | b'R' => {
                let mut observed = record(Side::Target, piece, self.to_client.message_id, -1, None);
                observed.content = Content::Credential;
                return sink.message(&observed);
            }
            _ => {}
        }
        if piece.whole() {
            return self.whole_response(piece, piece.body, now_us, sink);
        }
        if piece.chunk == 0 {
            self.to_client.body.clear();
        }
        let room = BODY_BYTES_MAX.saturating_sub(self.to_client.body.len());
        self.to_client.body.extend_from_slice(piece.body.get(..room).unwrap_or(piece.body));
        if piece.last {
            let body = std::mem::take(&mut self.to_client.body);
            self.whole_response(piece, &body, now_us, sink);
        } else {
            self.emit(piece, self.front_command(), None, sink);
        }
    }

    /// The connection ended: a finished command is given out, and those without an answer are recorded as such.
    pub fn close(&mut self, now_us: i64, sink: &mut impl Sink) {
        self.flush(b' ', sink);
        while let Some(request) = self.outstanding.pop_front() {
            if matches!(request.kind, Kind::Query { .. } | Kind::Execute { .. } | Kind::FunctionCall) {
                let end = End { kind: "", rows: None, error: None };
                self.finish(&request, &end, now_us);
                if let Some(finished) = &mut self.finished {
                    finished.error_code = "no_answer".to_owned();
                    finished.reason = "connection_ended";
                }
                self.flush(b' ', sink);
            }
        }
    }

    fn front_command(&self) -> i64 {
        self.outstanding.front().map_or(-1, Request::current_command)
    }

    fn emit(&self, piece: &Piece<'_>, command_id: i64, facts: Option<FactsRef<'_>>, sink: &mut impl Sink) {
        let mut observed = record(Side::Target, piece, self.to_client.message_id, command_id, None);
        observed.facts = None;
        match facts {
            Some(facts) => sink.message(&super::Observed { facts: Some(facts), ..observed }),
            None => sink.message(&observed),
        }
    }

    #[inline]
    fn data(&mut self, piece: &Piece<'_>, sink: &mut impl Sink) {
        self.rows += i64::from(piece.last);
        let Some(front) = self.outstanding.front_mut() else {
            return self.emit(piece, -1, None, sink);
        };
        if front.columns.is_none()
            && let (Some(prepared), Some(bound)) = (&front.prepared, &front.bound)
        {
            front.columns = bound.columns(prepared);
        }
        let facts = FactsRef {
            statement_id: front.prepared.as_ref().map_or(-1, |prepared| prepared.id),
            columns: front.columns.as_deref(),
            ..FactsRef::default()
        };
        let command_id = front.current_command();
        sink.message(&record(Side::Target, piece, self.to_client.message_id, command_id, Some(facts)));
    }

    fn copy_data(&mut self, piece: &Piece<'_>, sink: &mut impl Sink) {
        let facts = self.copy.as_ref().map(|copy| FactsRef {
            columns: copy.columns.as_deref(),
            copy_format: copy.format,
            ..FactsRef::default()
        });
        self.emit(piece, self.front_command(), facts, sink);
    }

    fn whole_response(&mut self, piece: &Piece<'_>, body: &[u8], now_us: i64, sink: &mut impl Sink) {
        match piece.message_type {
            b'T' => self.row_description(piece, body, sink),
            b't' => {
                let front = self.outstanding.front().and_then(|front| front.prepared.clone());
                if let (Some(prepared), Ok(types)) = (&front, parse::parameter_description(body)) {
                    prepared.set_types(types);
                    let parameters = prepared.parameters(types.iter().len(), parse::Int16s::default());
                    let facts =
                        FactsRef { statement_id: prepared.id, parameters: Some(&parameters), ..FactsRef::default() };
                    return self.emit(piece, -1, Some(facts), sink);
                }
                self.emit(piece, -1, None, sink);
            }
            b'1' | b'2' | b'3' => {
                self.emit(piece, self.front_command(), None, sink);
                self.pop_if(|kind| {
                    matches!(
                        (piece.message_type, kind),
                        (b'1', Kind::Parse { .. })
                            | (b'2', Kind::Bind { .. })
                            | (b'3', Kind::CloseStatement { .. } | Kind::ClosePortal { .. })
                    )
                });
            }
            b'n' => {
                self.emit(piece, self.front_command(), None, sink);
                self.pop_if(|kind| matches!(kind, Kind::DescribeStatement { .. } | Kind::DescribePortal { .. }));
            }
            b'G' | b'H' | b'W' => self.copy_response(piece, body, sink),
            b'C' | b'I' | b's' => {
                let (kind, rows) = if piece.message_type == b'C' { parse::command_tag(body) } else { ("", None) };
                let rows = if piece.message_type == b's' { Some(self.rows) } else { rows };
                let facts = FactsRef { rows, ..FactsRef::default() };
                self.emit(piece, self.front_command(), Some(facts), sink);
                self.end_command(&End { kind, rows, error: None }, now_us);
            }
            b'V' => {
                self.emit(piece, self.front_command(), None, sink);
                if let Some(front) = self.outstanding.pop_front() {
                    self.release(front.held);
                    self.finish(&front, &End { kind: "FUNCTION", rows: None, error: None }, now_us);
                    self.outstanding.push_front(Request { kind: Kind::Sync, held: 0, ..front });
                }
            }
            b'E' => self.error(piece, body, now_us, sink),
            b'Z' => self.ready(piece, body, sink),
            _ => self.emit(piece, self.front_command(), None, sink),
        }
    }

    fn pop_if(&mut self, wanted: impl Fn(&Kind) -> bool) {
        if self.outstanding.front().is_some_and(|front| wanted(&front.kind))
            && let Some(front) = self.outstanding.pop_front()
        {
            self.release(front.held);
        }
    }

    fn row_description(&mut self, piece: &Piece<'_>, body: &[u8], sink: &mut impl Sink) {
        let Some(front) = self.outstanding.front_mut() else {
            return self.emit(piece, -1, None, sink);
        };
        let (statement_id, command_id) = (front.prepared.as_ref().map_or(-1, |text| text.id), front.current_command());
        let columns = front.prepared.as_ref().and_then(|prepared| prepared.describe(body));
        if let (Kind::DescribePortal { .. }, Some(bound), Some(columns)) = (&front.kind, &front.bound, &columns) {
            let _known = bound.columns.set(Arc::clone(columns)); // described twice: the same list
        }
        front.columns.clone_from(&columns);
        let reason_code = if columns.is_none() { "columns_unreadable" } else { "" };
        let facts = FactsRef { statement_id, columns: columns.as_deref(), reason_code, ..FactsRef::default() };
        self.emit(piece, command_id, Some(facts), sink);
        self.pop_if(|kind| matches!(kind, Kind::DescribeStatement { .. } | Kind::DescribePortal { .. }));
    }

    fn copy_response(&mut self, piece: &Piece<'_>, body: &[u8], sink: &mut impl Sink) {
        let (mut columns, mut format) = (None, "");
        if let Ok(copy) = CopyResponse::read(body) {
            let shape = self.outstanding.front().and_then(Request::part).and_then(|part| part.copy.as_ref());
            let count = copy.formats.len();
            let list = (0..count).map(|index| Column {
                name: shape.map_or(&b""[..], |shape| shape.column(index, count).as_bytes()),
                type_oid: 0,
                table_oid: 0,
                attribute: 0,
                format: copy.formats.format(index),
            });
            columns = Some(Arc::new(Columns::new(list)));
            format = shape.map_or(if copy.binary { "binary" } else { "text" }, |shape| shape.word(copy.binary));
        }
        let reason_code = if columns.is_none() { "columns_unreadable" } else { "" };
        let facts = FactsRef { columns: columns.as_deref(), copy_format: format, reason_code, ..FactsRef::default() };
        self.emit(piece, self.front_command(), Some(facts), sink);
        self.copy = Some(Copy { columns, format });
        self.copy_in = piece.message_type != b'H';
        // A Sync sent ahead arrives while the target reads COPY data, and is ignored there.
        if self.copy_in
            && self.outstanding.front().is_some_and(|front| matches!(front.kind, Kind::Execute { .. }))
            && self.outstanding.get(1).is_some_and(|next| matches!(next.kind, Kind::Sync))
            && let Some(sync) = self.outstanding.remove(1)
        {
            self.release(sync.held);
        }
    }

    fn end_command(&mut self, end: &End<'_>, now_us: i64) {
        (self.copy, self.copy_in) = (None, false);
        let Some(mut front) = self.outstanding.pop_front() else { return };
        match front.kind {
            Kind::Execute { .. } => {
                self.release(front.held);
                self.finish(&front, end, now_us);
            }
            Kind::Query { .. } => {
                self.finish(&front, end, now_us);
                front.advance(now_us);
                self.outstanding.push_front(front);
            }
            _ => self.outstanding.push_front(front),
        }
    }

    /// Makes the command of `request` the finished one.
    fn finish(&mut self, request: &Request, end: &End<'_>, now_us: i64) {
        let Some(prepared) = request.prepared.clone() else { return };
        let part = request.part();
        let span = part.map_or(0..prepared.text.len(), |part| part.span.clone());
        let text = prepared.text.get(span.clone()).unwrap_or_default();
        let cut = text.get(..STATEMENT_BYTES_MAX).unwrap_or(text);
        // Only the last span can reach past what was kept of the text.
        let beyond = if span.end == prepared.text.len() {
            prepared.text_bytes - i64::try_from(prepared.text.len()).unwrap_or(0)
        } else {
            0
        };
        let error = end.error.unwrap_or_default();
        let detail: Vec<&[u8]> =
            [error.detail, error.hint, error.context].into_iter().filter(|text| !text.is_empty()).collect();
        let mut error_detail = detail.join(&b'\n');
        error_detail.truncate(ERROR_BYTES_MAX);
        let known = super::super::statement::kind(end.kind.as_bytes());
        let kind = if known.is_empty() { part.map_or(prepared.kind, |part| part.kind) } else { known };
        let relations = part.map_or(&prepared.relations, |part| &part.relations).clone();
        self.finished = Some(Finished {
            command_id: request.current_command(),
            statement: span.start..span.start + cut.len(),
            statement_bytes: i64::try_from(text.len()).unwrap_or(i64::MAX).saturating_add(beyond.max(0)),
            bound: request.bound.clone(),
            columns: request.columns.clone(),
            relations,
            kind,
            rows: end.rows,
            to_target: request.to_target,
            to_client: std::mem::take(&mut self.response_bytes),
            duration_us: now_us.saturating_sub(request.started_us).max(0),
            error_code: end.error.map_or("", |error| error.sqlstate()).to_owned(),
            error_message: error.message.get(..ERROR_BYTES_MAX).unwrap_or(error.message).to_vec(),
            error_detail,
            reason: "",
            prepared,
        });
        self.rows = 0;
    }

    pub(super) fn flush(&mut self, status: u8, sink: &mut impl Sink) {
        let Some(done) = self.finished.take() else { return };
        let mut parameters = Vec::new();
        let cut = match &done.bound {
            Some(bound) => done.prepared.values(bound, &mut parameters),
            None => {
                parameters.push(0);
                false
            }
        };
        let reason_code = if done.reason.is_empty() && cut { "content_cut" } else { done.reason };
        sink.command(&Command {
            command_id: done.command_id,
            facts: FactsRef {
                statement_id: done.prepared.id,
                command_kind: done.kind,
                columns: done.columns.as_deref(),
                relations: Some(&done.relations),
                rows: done.rows,
                bytes_to_target: done.to_target,
                bytes_to_client: done.to_client,
                duration_us: Some(done.duration_us),
                error_code: &done.error_code,
                transaction_status: match status {
                    b'I' => "I",
                    b'T' => "T",
                    b'E' => "E",
                    _ => "",
                },
                reason_code,
                ..FactsRef::default()
            },
            content: CommandContentRef {
                statement: done.prepared.text.get(done.statement.clone()).unwrap_or_default(),
                statement_bytes: done.statement_bytes,
                parameters: &parameters,
                error_message: &done.error_message,
                error_detail: &done.error_detail,
            },
        });
    }

    fn error(&mut self, piece: &Piece<'_>, body: &[u8], now_us: i64, sink: &mut impl Sink) {
        let error = ErrorFields::read(body);
        let facts = FactsRef { error_code: error.sqlstate(), ..FactsRef::default() };
        self.emit(piece, self.front_command(), Some(facts), sink);
        (self.copy, self.copy_in) = (None, false);
        let end = End { kind: "", rows: None, error: Some(error) };
        let Some(mut front) = self.outstanding.pop_front() else { return };
        match front.kind {
            Kind::Sync => return self.outstanding.push_front(front),
            Kind::Query { .. } | Kind::FunctionCall => {
                // A syntax error rejects the whole text before any statement runs.
                let whole = error.sqlstate() == "42601" && front.is_first();
                if whole {
                    front.whole();
                }
                self.finish(&front, &end, now_us);
                front.advance(now_us);
                while front.left() > 0 {
                    self.flush(b' ', sink);
                    self.finish(&front, &End { kind: "", rows: None, error: None }, now_us);
                    if let Some(finished) = &mut self.finished {
                        finished.error_code = "skipped".to_owned();
                        finished.reason = "skipped_after_error";
                    }
                    front.advance(now_us);
                }
                return self.outstanding.push_front(front);
            }
            _ => {}
        }
        if front.prepared.is_some() {
            self.finish(&front, &end, now_us);
        }
        self.skip_to_sync(front, sink);
    }

    fn ready(&mut self, piece: &Piece<'_>, body: &[u8], sink: &mut impl Sink) {
        let status = body.first().copied().unwrap_or(b' ');
        self.flush(status, sink);
        self.response_bytes = 0;
        (self.copy, self.rows) = (None, 0);
        let text = match status {
            b'I' => "I",
            b'T' => "T",
            b'E' => "E",
            _ => "",
        };
        self.emit(piece, -1, Some(FactsRef { transaction_status: text, ..FactsRef::default() }), sink);
        while let Some(front) = self.outstanding.pop_front() {
            self.release(front.held);
            if matches!(front.kind, Kind::Sync | Kind::Query { .. } | Kind::FunctionCall) {
                break;
            }
        }
        if status == b'I' {
            // Outside a transaction no portal lives on.
            self.drop_portals();
        }
    }

    fn drop_portals(&mut self) {
        // Portals bound by requests still outstanding are not the ended transaction's.
        let pending: Vec<i64> =
            self.outstanding.iter().filter(|r| matches!(r.kind, Kind::Bind { .. })).map(|r| r.command_id).collect();
        let mut gone = 0;
        self.portals.retain(|_, portal| {
            let keep = pending.contains(&portal.command_id);
            gone += if keep { 0 } else { portal.bound.body.len() };
            keep
        });
        self.release(gone);
    }
}
