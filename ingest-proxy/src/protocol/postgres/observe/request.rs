//! Requests: client to target.

use std::sync::Arc;

use super::super::codec::Piece;
use super::super::facts::{Content, FactsRef};
use super::super::message::parse::{self, Bind, Object, Oids};
use super::super::message::{self, MessageError, Side};
use super::long_bind::LongBind;
use super::table::{Bound, Kind, Portal, Prepared, Request, ResultFormats};
use super::{ObserveError, Observer, Sink, kept_max, record, signed};

/// Bytes a request counts for besides its content.
const REQUEST_BYTES: usize = 256;

fn body_error(message_type: u8) -> impl Fn(MessageError) -> ObserveError {
    move |source| ObserveError::Body { message_type: message::name(Side::Client, message_type), source }
}

impl Observer {
    /// Observes a piece of what the client sends, before it is forwarded. `now_us`: microseconds since epoch UTC.
    ///
    /// # Errors
    /// [`ObserveError`]; the piece must then not be forwarded. Its record was given to `sink` all the same.
    pub fn request(&mut self, piece: &Piece<'_>, now_us: i64, sink: &mut impl Sink) -> Result<(), ObserveError> {
        if piece.chunk == 0 {
            self.to_target.message_id = self.next_message();
            self.to_target.started_us = now_us;
            self.to_target.command_id = -1;
            self.to_target.body.clear();
            self.to_target.bind = LongBind::default();
        }
        match piece.message_type {
            b'd' => {
                self.copy_chunk(piece, sink);
                return Ok(());
            }
            b'p' => {
                let mut observed = record(Side::Client, piece, self.to_target.message_id, -1, None);
                observed.content = Content::Credential;
                sink.message(&observed);
                return Ok(());
            }
            _ => {}
        }
        if piece.whole() {
            return self.whole_request(piece, piece.body, true, now_us, sink);
        }
        let room = kept_max(piece.message_type).saturating_sub(self.to_target.body.len());
        self.to_target.body.extend_from_slice(piece.body.get(..room).unwrap_or(piece.body));
        if piece.message_type == b'B' {
            let assembly = &mut self.to_target;
            assembly.bind.take(&assembly.body, piece.body);
        }
        if !piece.last {
            let refused = FactsRef { reason_code: "statement_too_long", ..FactsRef::default() };
            let facts = piece.over_limit.then_some(refused);
            sink.message(&record(Side::Client, piece, self.to_target.message_id, -1, facts));
            return Ok(());
        }
        let body = std::mem::take(&mut self.to_target.body);
        let complete = body.len() + 4 == piece.declared_len as usize;
        self.whole_request(piece, &body, complete, now_us, sink)
    }

    fn copy_chunk(&mut self, piece: &Piece<'_>, sink: &mut impl Sink) {
        if let Some(front) = self.outstanding.front_mut()
            && piece.last
        {
            front.to_target += signed(piece.size_bytes());
        }
        let command_id = self.outstanding.front().map_or(-1, |front| front.command_id);
        let facts = self.copy.as_ref().map(|copy| FactsRef {
            columns: copy.columns.as_deref(),
            copy_format: copy.format,
            ..FactsRef::default()
        });
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, facts));
    }

    fn whole_request(
        &mut self,
        piece: &Piece<'_>,
        body: &[u8],
        complete: bool,
        now_us: i64,
        sink: &mut impl Sink,
    ) -> Result<(), ObserveError> {
        let result = match piece.message_type {
            b'Q' => self.query(piece, body, complete, sink),
            b'P' => self.parse(piece, body, complete, sink),
            b'B' => self.bind(piece, body, complete, sink),
            b'E' => self.execute(piece, body, now_us, sink),
            b'D' | b'C' => self.describe_or_close(piece, body, sink),
            b'F' => {
                let command_id = self.next_command();
                self.plain(piece, command_id, sink);
                let text = Arc::new(Prepared::unknown(command_id));
                if self.skipping {
                    self.skipped(&text, None, command_id, sink);
                    return Ok(());
                }
                self.push(Kind::FunctionCall, piece, command_id, Some(text), None)
            }
            b'S' => {
                self.plain(piece, -1, sink);
                self.skipping = false;
                // While the target reads COPY data it ignores a Sync (documentation, "COPY Operations").
                if self.copy_in { Ok(()) } else { self.push(Kind::Sync, piece, -1, None, None) }
            }
            b'c' | b'f' => {
                self.copy_in = false;
                let command_id = self.outstanding.front().map_or(-1, |front| front.command_id);
                self.plain(piece, command_id, sink);
                Ok(())
            }
            _ => {
                self.plain(piece, -1, sink);
                Ok(())
            }
        };
        if let Err(ObserveError::Body { .. }) = result {
            self.plain(piece, -1, sink);
        }
        result
    }

    /// A record without facts.
    fn plain(&self, piece: &Piece<'_>, command_id: i64, sink: &mut impl Sink) {
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, None));
    }

    fn push(
        &mut self,
        kind: Kind,
        piece: &Piece<'_>,
        command_id: i64,
        prepared: Option<Arc<Prepared>>,
        bound: Option<Arc<Bound>>,
    ) -> Result<(), ObserveError> {
        if self.outstanding.len() >= self.limits.outstanding_max {
            return Err(ObserveError::Outstanding(self.limits.outstanding_max));
        }
        let held = REQUEST_BYTES
            + bound.as_ref().map_or(0, |bound| bound.body.len())
            + prepared.as_ref().filter(|text| text.id < 0).map_or(0, |text| text.held());
        self.hold(held)?;
        self.outstanding.push_back(Request {
            kind,
            command_id,
            prepared,
            bound,
            columns: None,
            to_target: signed(piece.size_bytes()),
            started_us: self.to_target.started_us,
            held,
        });
        Ok(())
    }

    fn query(
        &mut self,
        piece: &Piece<'_>,
        body: &[u8],
        complete: bool,
        sink: &mut impl Sink,
    ) -> Result<(), ObserveError> {
        let text = if complete { parse::query(body).map_err(body_error(b'Q'))? } else { body };
        let command_id = self.next_command();
        let prepared = Arc::new(Prepared::of_query(command_id, text, (piece.declared_len as usize).saturating_sub(5)));
        // One command number per statement; an empty text is one command too.
        let count = prepared.parts.len();
        self.commands += i64::try_from(count.saturating_sub(1)).unwrap_or(0);
        let facts = FactsRef {
            command_kind: prepared.kind,
            relations: Some(&prepared.relations),
            reason_code: if piece.over_limit { "statement_too_long" } else { "" },
            ..FactsRef::default()
        };
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, Some(facts)));
        if self.skipping {
            self.skipped_query(&prepared, command_id, 0, sink);
            return Ok(());
        }
        let unnamed = self.portals.remove(&b""[..]);
        let ended = unnamed.as_ref().map_or(0, |portal| portal.bound.body.len());
        self.push(Kind::Query { count, at: 0, unnamed }, piece, command_id, Some(prepared), None)?;
        self.keep_with_last(ended);
        Ok(())
    }

    /// Lets the last request hold bytes that were held already.
    fn keep_with_last(&mut self, bytes: usize) {
        if let Some(request) = self.outstanding.back_mut() {
            request.held += bytes;
        }
    }

    fn parse(
        &mut self,
        piece: &Piece<'_>,
        body: &[u8],
        complete: bool,
        sink: &mut impl Sink,
    ) -> Result<(), ObserveError> {
        let (name, text, types) = if complete {
            let parsed = parse::Parse::read(body).map_err(body_error(b'P'))?;
            (parsed.name, parsed.text, parsed.types)
        } else {
            let mut fields = parse::Fields::new(body);
            (fields.string().map_err(body_error(b'P'))?, fields.rest(), Oids::default())
        };
        let command_id = self.next_command();
        let text_bytes = if complete { text.len() } else { piece.declared_len as usize - 4 - name.len() - 1 };
        let id = self.statements_seen;
        self.statements_seen += 1;
        let prepared = Arc::new(Prepared::of_parse(id, command_id, text, text_bytes, types));
        let parameters = prepared.parameters(types.iter().len(), parse::Int16s::default());
        let facts = FactsRef {
            statement_id: id,
            command_kind: prepared.kind,
            relations: Some(&prepared.relations),
            parameters: Some(&parameters),
            reason_code: if piece.over_limit { "statement_too_long" } else { "" },
            ..FactsRef::default()
        };
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, Some(facts)));
        if self.skipping {
            self.skipped(&prepared, None, command_id, sink);
            return Ok(());
        }
        if !self.statements.contains_key(name) && self.statements.len() >= self.limits.statements_max {
            return Err(ObserveError::Statements(self.limits.statements_max));
        }
        self.hold(prepared.held())?;
        let previous = self.statements.insert(name.into(), Arc::clone(&prepared));
        self.release(previous.as_ref().map_or(0, |old| old.held()));
        self.parsed = Some((Arc::clone(&prepared), signed(piece.size_bytes()), self.to_target.started_us));
        self.push(Kind::Parse { name: name.into(), previous }, piece, command_id, Some(prepared), None)
    }

    fn bind(
        &mut self,
        piece: &Piece<'_>,
        body: &[u8],
        complete: bool,
        sink: &mut impl Sink,
    ) -> Result<(), ObserveError> {
        let bind = Bind::read(body).map_err(body_error(b'B'))?;
        let known = self.statements.get(bind.statement).cloned();
        // The first Bind after its Parse continues the Parse's command.
        let fresh = self.parsed.take_if(|(parsed, ..)| known.as_ref().is_some_and(|text| Arc::ptr_eq(parsed, text)));
        let (command_id, before, started_us) = match fresh {
            Some((parsed, to_target, started_us)) => (parsed.command_id, to_target, started_us),
            None => (self.next_command(), 0, self.to_target.started_us),
        };
        let prepared = known.unwrap_or_else(|| Arc::new(Prepared::unknown(command_id)));
        let parameters = prepared.parameters(bind.count, bind.formats);
        let facts = FactsRef {
            statement_id: prepared.id,
            command_kind: prepared.kind,
            relations: Some(&prepared.relations),
            parameters: Some(&parameters),
            reason_code: if parameters.count() < bind.count { "facts_cut" } else { "" },
            ..FactsRef::default()
        };
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, Some(facts)));
        let formats =
            if complete { ResultFormats::InBody } else { ResultFormats::Walked(self.to_target.bind.finish()) };
        let bound = Arc::new(Bound { body: body.to_vec(), formats, ..Bound::default() });
        if self.skipping {
            self.skipped(&prepared, Some(&bound), command_id, sink);
            return Ok(());
        }
        if !self.portals.contains_key(bind.portal) && self.portals.len() >= self.limits.portals_max {
            return Err(ObserveError::Portals(self.limits.portals_max));
        }
        let portal = Portal {
            prepared: Arc::clone(&prepared),
            bound: Arc::clone(&bound),
            command_id,
            executed: false,
            to_target: before + signed(piece.size_bytes()),
            started_us,
        };
        self.hold(body.len())?;
        let previous = self.portals.insert(bind.portal.into(), portal);
        self.release(previous.as_ref().map_or(0, |old| old.bound.body.len()));
        let kind = Kind::Bind { name: bind.portal.into(), previous };
        self.push(kind, piece, command_id, Some(prepared), Some(bound))
    }

    fn execute(
        &mut self,
        piece: &Piece<'_>,
        body: &[u8],
        now_us: i64,
        sink: &mut impl Sink,
    ) -> Result<(), ObserveError> {
        let (name, _rows) = parse::execute(body).map_err(body_error(b'E'))?;
        let again = self.portals.get(name).is_none_or(|portal| portal.executed);
        let next = if again { self.next_command() } else { -1 };
        let Some(portal) = self.portals.get_mut(name) else {
            self.plain(piece, next, sink);
            let unknown = Arc::new(Prepared::unknown(next));
            if self.skipping {
                return Ok(()); // its Bind was skipped too, and is recorded
            }
            return self.push(Kind::Execute { portal: name.into() }, piece, next, Some(unknown), None);
        };
        let (command_id, before, started_us) =
            if again { (next, 0, now_us) } else { (portal.command_id, portal.to_target, portal.started_us) };
        let (prepared, bound) = (Arc::clone(&portal.prepared), Arc::clone(&portal.bound));
        portal.executed |= !self.skipping;
        let facts = FactsRef {
            statement_id: prepared.id,
            command_kind: prepared.kind,
            relations: Some(&prepared.relations),
            ..FactsRef::default()
        };
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, Some(facts)));
        if self.skipping {
            self.skipped(&prepared, Some(&bound), command_id, sink);
            return Ok(());
        }
        self.push(Kind::Execute { portal: name.into() }, piece, command_id, Some(prepared), Some(bound))?;
        if let Some(request) = self.outstanding.back_mut() {
            request.to_target += before;
            request.started_us = started_us;
        }
        Ok(())
    }

    fn describe_or_close(&mut self, piece: &Piece<'_>, body: &[u8], sink: &mut impl Sink) -> Result<(), ObserveError> {
        let object = Object::read(body).map_err(body_error(piece.message_type))?;
        let (prepared, bound, command_id) = match object {
            Object::Statement(name) => (self.statements.get(name).cloned(), None, -1),
            Object::Portal(name) => match self.portals.get_mut(name) {
                Some(portal) => {
                    if piece.message_type == b'D' {
                        portal.to_target += signed(piece.size_bytes());
                    }
                    (Some(Arc::clone(&portal.prepared)), Some(Arc::clone(&portal.bound)), portal.command_id)
                }
                None => (None, None, -1),
            },
        };
        let facts = prepared.as_ref().map(|prepared| FactsRef {
            statement_id: prepared.id,
            command_kind: prepared.kind,
            ..FactsRef::default()
        });
        sink.message(&record(Side::Client, piece, self.to_target.message_id, command_id, facts));
        if self.skipping {
            return Ok(());
        }
        let (kind, held) = match (piece.message_type, object) {
            (b'C', Object::Statement(name)) => {
                let closed = self.statements.remove(name);
                let held = closed.as_ref().map_or(0, |old| old.held());
                (Kind::CloseStatement { name: name.into(), closed }, held)
            }
            (b'C', Object::Portal(name)) => {
                let closed = self.portals.remove(name);
                let held = closed.as_ref().map_or(0, |old| old.bound.body.len());
                (Kind::ClosePortal { name: name.into(), closed }, held)
            }
            (_, Object::Statement(name)) => (Kind::DescribeStatement { name: name.into() }, 0),
            (_, Object::Portal(name)) => (Kind::DescribePortal { name: name.into() }, 0),
        };
        self.push(kind, piece, command_id, prepared, bound)?;
        self.keep_with_last(held);
        Ok(())
    }
}
