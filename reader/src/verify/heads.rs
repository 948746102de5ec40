//! HEADS entries against the chains (T26), and INCIDENT entries, which a person must read.

use schemas::v1::{HeadsBody, IncidentBody, StreamHead};

use super::chain::{Chains, StreamKey};
use super::receipts::Receipts;
use super::report::Findings;
use super::trust::Trust;

/// The parts of one list of heads so far, and the incidents.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Index of part 0, next part, parts, newest stream id, heads so far.
    open: Option<(i64, i32, i32, Option<StreamKey>, usize)>,
    incidents: i64,
}

impl Others {
    /// Any other entry was taken: a list of heads that is not whole ends here.
    pub(crate) fn interrupt(&mut self, index: u64, findings: &mut Findings) {
        if let Some((first, part, parts, ..)) = self.open.take() {
            let text = format!("HEADS mismatch: the list of entry {first} ends before part {part} of {parts}");
            findings.add("T26", format!("log entry {index}"), text);
        }
    }

    /// Takes a part of a list of heads at `index`; `chains` holds every seal before it.
    pub(crate) fn take_heads(
        &mut self,
        index: u64,
        body: &HeadsBody,
        chains: &Chains,
        receipts: &Receipts,
        trust: &Trust,
        findings: &mut Findings,
    ) {
        let place = format!("log entry {index}");
        let mut differs = |text: String| findings.add("T26", place.clone(), format!("HEADS mismatch: {text}"));
        let (first, part, parts, mut newest, mut count) =
            self.open.take().unwrap_or((body.index, 0, body.parts, None, 0));
        let at = i64::try_from(index).unwrap_or(i64::MAX);
        let epoch = i64::try_from(trust.epochs.len()).unwrap_or(i64::MAX) - 1;
        let checks = [
            ("version", body.version == 1),
            ("origin", trust.epochs.is_empty() || body.origin == trust.origin),
            ("index", body.index == first && at == first.saturating_add(i64::from(body.part))),
            ("part", body.part == part),
            ("parts", body.parts == parts && part < parts),
            ("epoch", trust.epochs.is_empty() || body.epoch == epoch),
            ("vkey", trust.epochs.last().is_none_or(|epoch| epoch.key.to_string() == body.vkey)),
            ("incidents", body.incidents == self.incidents),
        ];
        for (field, _) in checks.iter().filter(|(_, good)| !good) {
            differs(format!("field {field} is not what the entries before say"));
        }
        for head in &body.heads {
            let key = StreamKey(head.stream_id.0);
            if newest.is_some_and(|newest| newest >= key) {
                differs(format!("stream {} is out of order", head.stream_id));
            }
            newest = newest.max(Some(key));
            count += 1;
            match chains.get(&head.stream_id) {
                None => differs(format!("stream {} has no seal", head.stream_id)),
                Some(stream) => {
                    let wrong =
                        stream.differs(head).or((receipts.next(&key) != head.next_receipt).then_some("next_receipt"));
                    if let Some(field) = wrong {
                        differs(format!("{} of {} is not that of seal {}", field, stream.name(), head.seal_seq));
                    }
                }
            }
        }
        if part.saturating_add(1) < parts {
            self.open = Some((first, part + 1, parts, newest, count));
        } else if count != chains.streams.len() {
            differs(format!("{count} streams, but {} have a seal", chains.streams.len()));
        }
    }

    /// Takes an incident: a root key must have signed it; what it says is for a person.
    pub(crate) fn take_incident(
        &mut self,
        index: u64,
        body: &IncidentBody,
        trust: &Trust,
        notes: &mut Vec<String>,
        findings: &mut Findings,
    ) {
        let place = format!("log entry {index}");
        if body.version != 1 || body.number != self.incidents || body.origin != trust.origin {
            let text = "entry not canonical: version, number or origin of an incident";
            findings.add("T09", place.clone(), text);
        }
        self.incidents = body.number.saturating_add(1);
        let id = u32::from_be_bytes(body.key_id.0);
        let root = trust.roots.iter().find(|key| key.id() == id);
        let trusted = match root {
            Some(root) if root.verify_message(&body.signed_bytes(), &body.signature.0) => "signed by the root key",
            Some(_) => {
                findings.add("T11", place, "bad signature of the root key on an incident");
                return;
            }
            None if trust.roots.is_empty() => "not checked: no root key was given",
            None => {
                findings.add("T12", place, format!("no trusted signature: incident by unknown key {id:08x}"));
                return;
            }
        };
        notes.push(format!("incident {} ({trusted}): {}", body.number, body.text));
    }
}

impl super::chain::Stream {
    /// The first field in which a head differs from this stream's.
    fn differs(&self, head: &StreamHead) -> Option<&'static str> {
        let own = self.head();
        let checks = [
            ("seal_seq", own.next_seal == head.seal_seq.saturating_add(1)),
            ("seal_hash", own.hash.as_bytes() == &head.seal_hash.0),
            ("next_seq", own.next_seq == head.next_seq),
            ("last_offset", own.last_offset == head.last_offset),
            ("closed_at", own.closed_at == head.closed_at),
            ("anchor_size", own.anchor_size == head.anchor_size),
        ];
        checks.iter().find(|(_, same)| !same).map(|(field, _)| *field)
    }
}
