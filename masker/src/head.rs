//! Heads of frames and events: what a record says without its payload.
//!
//! Copied from facts and context, which hold no content (I-05).

use schemas::v1::{EnrichedFrame, Event, EventKind, Facts, Frame, FrameKind};

use crate::engine::MASK_VERSION;

/// The frame of a record, without its payload.
pub(crate) fn frame_head(input: &EnrichedFrame) -> Frame {
    let (raw, context) = (&input.raw, &input.context);
    Frame {
        event_id: raw.event_id,
        session_id: raw.session_id,
        sequence: raw.sequence,
        observed_at_us: raw.observed_at_us,
        protocol: raw.protocol,
        direction: raw.direction,
        connection: raw.connection,
        message_id: raw.message_id,
        chunk: raw.chunk,
        last: raw.last,
        message_type: raw.message_type.clone(),
        size_bytes: raw.size_bytes,
        command_id: raw.command_id,
        statement_id: raw.facts.as_ref().map_or(-1, |facts| facts.statement_id),
        attribution: input.attribution,
        possible_duplicate: input.possible_duplicate,
        principal_issuer: context.principal.issuer.clone(),
        principal_subject: context.principal.subject.clone(),
        target_name: context.target.name.clone(),
        mask_version: MASK_VERSION.to_owned(),
        ..Frame::default()
    }
}

/// OCSF class, activity, severity, status of a record.
fn ocsf(kind: FrameKind, command_kind: &str, failed: bool, reason_code: &str) -> (i32, i32, i32, i32) {
    let status = if failed { 2 } else { 1 };
    let severity = if failed { 2 } else { 1 };
    match kind {
        FrameKind::Command => {
            let activity = match command_kind.split(' ').next().unwrap_or_default() {
                "SELECT" | "FETCH" => 4,
                "COPY" | "SHOW" | "EXPLAIN" => 1,
                "UPDATE" | "ALTER" | "MERGE" => 2,
                "INSERT" => 5,
                "CREATE" => 6,
                "DELETE" | "DROP" | "TRUNCATE" => 7,
                _ => 99,
            };
            (6005, activity, severity, status)
        }
        FrameKind::SessionOpened => (3002, 1, 1, 1),
        FrameKind::SessionClosed => (3002, 2, 1, 1),
        FrameKind::SessionRefused => (3002, 1, 3, 2),
        FrameKind::Decision => {
            let denied = reason_code.contains("den") || reason_code.contains("refus");
            if denied { (3003, 99, 3, 2) } else { (3003, 99, 1, 1) }
        }
        FrameKind::Approval => (3004, 99, 1, 1),
        FrameKind::Finding => (2004, 1, 4, 1),
        FrameKind::Message | FrameKind::Unknown => (0, 0, 1, 0),
    }
}

/// The event of a record, without its content.
pub(crate) fn event_head(input: &EnrichedFrame) -> Event {
    let (raw, context) = (&input.raw, &input.context);
    let none = Facts::default();
    let facts = raw.facts.as_ref().unwrap_or(&none);
    let failed = !facts.error_code.is_empty();
    let (class_uid, activity_id, severity_id, status_id) =
        ocsf(raw.kind, &facts.command_kind, failed, &facts.reason_code);
    let mut event = Event {
        event_id: raw.event_id,
        session_id: raw.session_id,
        sequence: raw.sequence,
        observed_at_us: raw.observed_at_us,
        kind: EventKind::from_symbol(raw.kind.as_str()).unwrap_or_default(),
        class_uid,
        activity_id,
        severity_id,
        status_id,
        protocol: raw.protocol,
        attribution: input.attribution,
        possible_duplicate: input.possible_duplicate,
        command_id: raw.command_id,
        command_kind: facts.command_kind.clone(),
        relations: facts.relations.clone(),
        rows: facts.rows,
        bytes_to_target: facts.bytes_to_target,
        bytes_to_client: facts.bytes_to_client,
        duration_us: facts.duration_us,
        error_code: failed.then(|| facts.error_code.clone()),
        transaction_status: facts.transaction_status.clone(),
        message_count: facts.message_count,
        record_count: facts.record_count,
        reason_code: facts.reason_code.clone(),
        mask_version: MASK_VERSION.to_owned(),
        ..Event::default()
    };
    event.principal_issuer.clone_from(&context.principal.issuer);
    event.principal_subject.clone_from(&context.principal.subject);
    event.principal_email.clone_from(&context.principal.email);
    event.principal_name.clone_from(&context.principal.name);
    event.principal_groups.clone_from(&context.principal.groups);
    event.auth_method.clone_from(&context.principal.method);
    event.authenticated_at_us = context.principal.authenticated_at_us;
    event.target_name.clone_from(&context.target.name);
    event.target_environment.clone_from(&context.target.environment);
    event.target_owner.clone_from(&context.target.owner);
    event.target_labels.clone_from(&context.target.labels);
    event.target_user.clone_from(&context.target_user);
    event.database.clone_from(&context.database);
    event.client_ip.clone_from(&context.client_ip);
    event.client_port = context.client_port;
    event.proxy_instance.clone_from(&context.proxy_instance);
    event.capture_guarantee.clone_from(&context.capture_guarantee);
    event
}
