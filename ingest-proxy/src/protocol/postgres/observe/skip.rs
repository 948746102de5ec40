//! After an error the target reads on to the next Sync: what was sent before it never ran and never took effect.

use std::sync::Arc;

use schemas::payload::STATEMENT_BYTES_MAX;

use super::super::message::parse::Bind;
use super::table::{Bound, Kind, Part, Portal, Prepared, Request};
use super::{Finished, Observer, Sink};

impl Observer {
    /// Records a command that the target skipped after an error: it never ran.
    pub(super) fn skipped(
        &mut self,
        prepared: &Arc<Prepared>,
        bound: Option<&Arc<Bound>>,
        command_id: i64,
        sink: &mut impl Sink,
    ) {
        self.skipped_part(prepared, prepared.parts.first(), bound, command_id, sink);
    }

    /// Records the statements of a Query, from number `at` on, that the target skipped.
    pub(super) fn skipped_query(&mut self, prepared: &Arc<Prepared>, command_id: i64, at: usize, sink: &mut impl Sink) {
        if prepared.parts.is_empty() {
            self.skipped(prepared, None, command_id, sink);
        }
        for (number, part) in (command_id..).zip(&prepared.parts).skip(at) {
            self.skipped_part(prepared, Some(part), None, number, sink);
        }
    }

    fn skipped_part(
        &mut self,
        prepared: &Arc<Prepared>,
        part: Option<&Part>,
        bound: Option<&Arc<Bound>>,
        command_id: i64,
        sink: &mut impl Sink,
    ) {
        let span = part.map_or(0..prepared.text.len(), |part| part.span.clone());
        let end = span.end.min(span.start + STATEMENT_BYTES_MAX);
        let bytes = i64::try_from(span.len()).unwrap_or(i64::MAX);
        let (relations, kind) = part.map_or((&prepared.relations, prepared.kind), |part| (&part.relations, part.kind));
        let relations = relations.clone();
        self.flush(b' ', sink);
        self.finished = Some(Finished {
            command_id,
            statement: span.start..end,
            statement_bytes: if prepared.parts.len() > 1 { bytes } else { prepared.text_bytes },
            bound: bound.cloned(),
            columns: None,
            relations,
            kind,
            rows: None,
            to_target: 0,
            to_client: 0,
            duration_us: 0,
            error_code: "skipped".to_owned(),
            error_message: Vec::new(),
            error_detail: Vec::new(),
            reason: "skipped_after_error",
            prepared: Arc::clone(prepared),
        });
        self.flush(b' ', sink);
    }

    /// The front failed: it and everything up to the next Sync never took effect.
    pub(super) fn skip_to_sync(&mut self, failed: Request, sink: &mut impl Sink) {
        let at = self.outstanding.iter().position(|request| matches!(request.kind, Kind::Sync));
        self.skipping = at.is_none();
        let skipped: Vec<Request> = self.outstanding.drain(..at.unwrap_or(self.outstanding.len())).collect();
        for request in &skipped {
            let Some(prepared) = &request.prepared else { continue };
            match request.kind {
                // A Bind's command is the Execute's that follows it; the failed command has its record already.
                Kind::Execute { .. } | Kind::FunctionCall if request.command_id != failed.command_id => {
                    self.skipped(prepared, request.bound.as_ref(), request.command_id, sink);
                }
                Kind::Query { at, .. } => self.skipped_query(prepared, request.command_id, at, sink),
                _ => {}
            }
        }
        // What was sent behind the Sync was read as if the skipped requests had taken effect: it is read anew.
        let mut behind = std::mem::take(&mut self.outstanding);
        let mut portals: Vec<Option<Portal>> = behind.iter_mut().rev().map(|request| self.undo(request)).collect();
        for mut request in skipped.into_iter().rev().chain([failed]) {
            self.undo(&mut request);
            self.release(request.held);
        }
        for request in &mut behind {
            let portal = portals.pop().flatten();
            self.redo(request, portal);
        }
        self.outstanding = behind;
    }

    /// Takes back what a request did to the tables when it was sent; gives the portal that a Bind made.
    fn undo(&mut self, request: &mut Request) -> Option<Portal> {
        match &mut request.kind {
            Kind::Parse { name, previous } => {
                let gone = self.statements.remove(name).map_or(0, |text| text.held());
                self.release(gone);
                let previous = previous.take();
                self.put_statement(name.clone(), previous);
            }
            Kind::Bind { name, previous } => {
                let made = self.portals.remove(name);
                self.release(made.as_ref().map_or(0, |portal| portal.bound.body.len()));
                let previous = previous.take();
                self.put_portal(name.clone(), previous);
                return made;
            }
            Kind::CloseStatement { name, closed } => {
                let closed = closed.take();
                let held = closed.as_ref().map_or(0, |text| text.held());
                request.held = request.held.saturating_sub(held);
                self.release(held);
                self.put_statement(name.clone(), closed);
            }
            Kind::ClosePortal { closed: portal, .. } | Kind::Query { unnamed: portal, .. } => {
                let portal = portal.take();
                let held = portal.as_ref().map_or(0, |portal| portal.bound.body.len());
                request.held = request.held.saturating_sub(held);
                self.release(held);
                let name =
                    if let Kind::ClosePortal { name, .. } = &request.kind { name.clone() } else { Box::default() };
                self.put_portal(name, portal);
            }
            _ => {}
        }
        None
    }

    /// Does to the tables, as they are now, what a request did when it was sent, and looks up anew what it names.
    /// Its record keeps what was believed then; its command says what runs.
    fn redo(&mut self, request: &mut Request, portal: Option<Portal>) {
        match &mut request.kind {
            Kind::Parse { name, previous } => {
                *previous = self.statements.remove(name);
                self.release(previous.as_ref().map_or(0, |text| text.held()));
                self.put_statement(name.clone(), request.prepared.clone());
            }
            Kind::Bind { name, previous } => {
                *previous = self.portals.remove(name);
                self.release(previous.as_ref().map_or(0, |portal| portal.bound.body.len()));
                let Some(mut portal) = portal else { return };
                let statement = Bind::read(&portal.bound.body).map(|bind| bind.statement).unwrap_or_default();
                let known = self.statements.get(statement).cloned();
                portal.prepared = known.unwrap_or_else(|| Arc::new(Prepared::unknown(request.command_id)));
                request.prepared = Some(Arc::clone(&portal.prepared));
                self.put_portal(name.clone(), Some(portal));
            }
            Kind::DescribeStatement { name } => request.prepared = self.statements.get(name).cloned(),
            Kind::DescribePortal { name } | Kind::Execute { portal: name } => {
                if let Some(portal) = self.portals.get(name) {
                    request.prepared = Some(Arc::clone(&portal.prepared));
                    request.bound = Some(Arc::clone(&portal.bound));
                }
            }
            Kind::CloseStatement { name, closed } => {
                *closed = self.statements.remove(name);
                request.held += closed.as_ref().map_or(0, |text| text.held());
            }
            Kind::ClosePortal { name, closed } => {
                *closed = self.portals.remove(name);
                request.held += closed.as_ref().map_or(0, |portal| portal.bound.body.len());
            }
            Kind::Query { unnamed, .. } => {
                *unnamed = self.portals.remove(&b""[..]);
                request.held += unnamed.as_ref().map_or(0, |portal| portal.bound.body.len());
            }
            Kind::FunctionCall | Kind::Sync => {}
        }
    }

    fn put_statement(&mut self, name: Box<[u8]>, statement: Option<Arc<Prepared>>) {
        if let Some(statement) = statement {
            self.held_bytes += statement.held();
            self.statements.insert(name, statement);
        }
    }

    fn put_portal(&mut self, name: Box<[u8]>, portal: Option<Portal>) {
        if let Some(portal) = portal {
            self.held_bytes += portal.bound.body.len();
            self.portals.insert(name, portal);
        }
    }
}
