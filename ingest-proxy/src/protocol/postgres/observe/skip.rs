//! After an error the target reads on to the next Sync: what was sent before it never ran and never took effect.

use std::sync::Arc;

use schemas::payload::STATEMENT_BYTES_MAX;

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
                Kind::Execute | Kind::FunctionCall if request.command_id != failed.command_id => {
                    self.skipped(prepared, request.bound.as_ref(), request.command_id, sink);
                }
                Kind::Query { at, .. } => self.skipped_query(prepared, request.command_id, at, sink),
                _ => {}
            }
        }
        for request in skipped.into_iter().rev().chain([failed]) {
            self.release(request.held);
            self.undo(request.kind);
        }
    }

    /// Takes back what a request that never took effect did to the tables when it was sent.
    fn undo(&mut self, kind: Kind) {
        match kind {
            Kind::Parse { name, previous } => {
                let gone = self.statements.remove(&name).map_or(0, |text| text.held());
                self.release(gone);
                self.restore_statement(name, previous);
            }
            Kind::Bind { name, previous } => {
                let gone = self.portals.remove(&name).map_or(0, |portal| portal.bound.body.len());
                self.release(gone);
                self.restore_portal(name, previous);
            }
            Kind::CloseStatement { name, closed } => self.restore_statement(name, closed),
            Kind::ClosePortal { name, closed } => self.restore_portal(name, closed),
            Kind::Query { unnamed, .. } => self.restore_portal(Box::default(), unnamed),
            Kind::DescribeStatement | Kind::DescribePortal | Kind::Execute | Kind::FunctionCall | Kind::Sync => {}
        }
    }

    fn restore_statement(&mut self, name: Box<[u8]>, statement: Option<Arc<Prepared>>) {
        if let Some(statement) = statement {
            self.held_bytes += statement.held();
            self.statements.insert(name, statement);
        }
    }

    fn restore_portal(&mut self, name: Box<[u8]>, portal: Option<Portal>) {
        if let Some(portal) = portal {
            self.held_bytes += portal.bound.body.len();
            self.portals.insert(name, portal);
        }
    }
}
