//! The client side of `c2sp.org/tlog-witness`: asks every witness of a policy at once, waits for the quorum and a little
//! longer, and says what it got.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use tlog::{
    Checkpoint, ConsistencyFile, Hash, Note, NoteSignature, ReadError, TileMap, VerifierKey, Witness, WitnessPolicy,
    consistency_proof, consistency_tiles,
};

use super::{Cosigner, Outcome};
use crate::error::NotaryError;
use crate::store::LogStore;

/// Longest answer read, bytes: a few signature lines.
const ANSWER_BYTES_MAX: u64 = 16 << 10;
/// Time for which a witness that failed is not asked again, unless the quorum must be met.
const PAUSE: Duration = Duration::from_secs(10);

/// How witnesses are asked.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time for one witness.
    pub timeout: Duration,
    /// Time for more cosignatures once the quorum is met.
    pub extra: Duration,
    /// Publish nothing without the quorum.
    pub required: bool,
}

/// What is known of one witness.
struct Seat {
    witness: Witness,
    url: String,
    /// Size up to which it has followed the log, as far as we know.
    size: u64,
    busy: Arc<AtomicBool>,
    paused_until: Option<Instant>,
    /// Why it did not cosign the newest head.
    said: String,
}

/// The witnesses of a policy that have a URL.
pub struct Witnesses {
    policy: WitnessPolicy,
    seats: Vec<Seat>,
    patience: Patience,
    agent: ureq::Agent,
}

/// The answer of the witness in a seat.
type Answered = (usize, Said);

/// What one witness said.
enum Said {
    Cosigned(Vec<NoteSignature>),
    /// It has followed the log to this size.
    Size(u64),
    Refused(String),
    Failed(String),
}

impl Witnesses {
    /// The witnesses of `policy`; those without a URL cannot be asked.
    #[must_use]
    pub fn new(policy: WitnessPolicy, patience: Patience) -> Self {
        let seat = |witness: &Witness| {
            let url = format!("{}/add-checkpoint", witness.url.as_ref()?.trim_end_matches('/'));
            Some(Seat {
                witness: witness.clone(),
                url,
                size: 0,
                busy: Arc::default(),
                paused_until: None,
                said: String::new(),
            })
        };
        let seats = policy.witnesses.iter().filter_map(seat).collect();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience.timeout))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self { policy, seats, patience, agent }
    }

    /// Asks the witness in seat `number` in a thread of its own; its answer comes through `answers`.
    fn ask(
        &mut self,
        number: usize,
        checkpoint: &Checkpoint,
        note: &Note,
        store: &dyn LogStore,
        answers: &Sender<Answered>,
    ) -> Result<bool, NotaryError> {
        let Some(seat) = self.seats.get(number) else { return Ok(false) };
        if seat.busy.swap(true, Ordering::AcqRel) {
            // an earlier call has not come back: one thread per witness is the limit
            return Ok(false);
        }
        let body = match body(seat.size, checkpoint, note, store) {
            Ok(body) => body,
            Err(error) => {
                seat.busy.store(false, Ordering::Release);
                return Err(error);
            }
        };
        let (agent, url, key) = (self.agent.clone(), seat.url.clone(), seat.witness.key.clone());
        let (busy, note, answers) = (seat.busy.clone(), note.clone(), answers.clone());
        let started = std::thread::Builder::new().name("witness".into()).spawn(move || {
            let said = post(&agent, &url, body, &note, &key);
            busy.store(false, Ordering::Release);
            // nobody listens any more: the answer came too late for this head
            drop(answers.send((number, said)));
        });
        if started.is_err() {
            seat.busy.store(false, Ordering::Release);
        }
        Ok(started.is_ok())
    }

    /// Takes answers until all are in, or the quorum is met and the extra time is over.
    fn collect(
        &mut self,
        mut waiting: usize,
        checkpoint: &Checkpoint,
        note: &Note,
        store: &dyn LogStore,
        send: &Sender<Answered>,
        receive: &Receiver<Answered>,
    ) -> Result<HashMap<usize, Vec<NoteSignature>>, NotaryError> {
        let mut got: HashMap<usize, Vec<NoteSignature>> = HashMap::new();
        let mut retried = vec![false; self.seats.len()];
        let mut until = Instant::now() + self.patience.timeout + self.patience.timeout;
        while waiting > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let Ok((number, said)) = receive.recv_timeout(left) else { break };
            waiting -= 1;
            let size = checkpoint.size();
            let Some(seat) = self.seats.get_mut(number) else { continue };
            match said {
                Said::Cosigned(lines) => {
                    (seat.size, seat.paused_until) = (size, None);
                    seat.said.clear();
                    got.insert(number, lines);
                    crate::metrics::witness(Outcome::Cosigned);
                    if self.is_met(&got) {
                        until = until.min(Instant::now() + self.patience.extra);
                    }
                }
                Said::Size(known) if known > size => {
                    let name = &seat.witness.name;
                    return Err(NotaryError::fork(format!(
                        "witness `{name}` knows this log at size {known}, it has {size} here: it was rolled back"
                    )));
                }
                Said::Size(known) => {
                    seat.size = known;
                    let first = retried.get_mut(number).is_some_and(|done| !std::mem::replace(done, true));
                    if first && self.ask(number, checkpoint, note, store, send)? {
                        waiting += 1;
                    }
                }
                Said::Refused(reason) => {
                    seat.paused_until = Some(Instant::now() + PAUSE);
                    crate::metrics::witness(Outcome::Refused);
                    tracing::error!(witness = %seat.witness.name, size, reason, "a witness refuses this head");
                    seat.said = reason;
                }
                Said::Failed(reason) => {
                    seat.paused_until = Some(Instant::now() + PAUSE);
                    crate::metrics::witness(Outcome::Failed);
                    tracing::warn!(witness = %seat.witness.name, size, reason, "a witness did not answer");
                    seat.said = reason;
                }
            }
        }
        Ok(got)
    }

    fn is_met(&self, got: &HashMap<usize, Vec<NoteSignature>>) -> bool {
        let has = |key: &VerifierKey| {
            got.keys().any(|number| self.seats.get(*number).is_some_and(|seat| seat.witness.key == *key))
        };
        self.policy.is_met_by(has)
    }
}

impl Cosigner for Witnesses {
    fn cosign(
        &mut self,
        checkpoint: &Checkpoint,
        note: &Note,
        store: &dyn LogStore,
    ) -> Result<Vec<NoteSignature>, NotaryError> {
        let (send, receive) = mpsc::channel();
        let (now, mut waiting) = (Instant::now(), 0);
        for number in 0..self.seats.len() {
            let paused = self.seats.get(number).and_then(|seat| seat.paused_until).is_some_and(|until| until > now);
            if (self.patience.required || !paused) && self.ask(number, checkpoint, note, store, &send)? {
                waiting += 1;
            }
        }
        let got = self.collect(waiting, checkpoint, note, store, &send, &receive)?;
        let met = self.is_met(&got);
        crate::metrics::quorum(met);
        if !met {
            if self.patience.required {
                let said = self.seats.iter().filter(|seat| !seat.said.is_empty());
                let said: Vec<_> = said.map(|seat| format!("{}: {}", seat.witness.name, seat.said)).collect();
                return Err(NotaryError::Quorum { size: checkpoint.size(), have: got.len(), said: said.join("; ") });
            }
            tracing::error!(size = checkpoint.size(), have = got.len(), "published without the quorum of witnesses");
        }
        let mut numbers: Vec<_> = got.into_iter().collect();
        numbers.sort_unstable_by_key(|(number, _)| *number);
        Ok(numbers.into_iter().flat_map(|(_, lines)| lines).collect())
    }

    fn new_key(&mut self, entry: &[u8]) {
        for seat in &self.seats {
            let url = format!("{}/add-key", seat.url.trim_end_matches("/add-checkpoint"));
            let (agent, entry, name) = (self.agent.clone(), entry.to_vec(), seat.witness.name.clone());
            let posted = agent.post(&url).content_type("application/octet-stream").send(&entry);
            match posted.map(|answer| answer.status().as_u16()) {
                Ok(200) => {}
                // a witness of the standard alone: its operator adds the key there
                Ok(status) => tracing::warn!(witness = %name, status, "tell this witness the log's new key by hand"),
                Err(error) => tracing::warn!(witness = %name, %error, "a witness did not hear of the log's new key"),
            }
        }
    }
}

/// The request: the size the witness has, the proof from there, the note.
fn body(old: u64, checkpoint: &Checkpoint, note: &Note, store: &dyn LogStore) -> Result<String, NotaryError> {
    let new = checkpoint.size();
    let path = if old == 0 || old >= new { Vec::new() } else { proof(old, new, store)? };
    Ok(ConsistencyFile { old: old.min(new), path, checkpoint: note.to_string() }.to_text())
}

fn proof(old: u64, new: u64, store: &dyn LogStore) -> Result<Vec<Hash>, NotaryError> {
    let unproven = |what: String| NotaryError::fork(format!("no consistency proof from {old} to {new}: {what}"));
    let mut failed = None;
    let mut source = |path: &str| {
        store.read(path).map_err(|error| {
            let source = ReadError::Store(error.to_string().into());
            failed = Some(error);
            source
        })
    };
    let tiles = consistency_tiles(old, new).map_err(|error| unproven(error.to_string()))?;
    let map = TileMap::load(new, &tiles, &mut source);
    match (map, failed) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(unproven(error.to_string())),
        (Ok(map), None) => consistency_proof(old, new, &map).map_err(|error| unproven(error.to_string())),
    }
}

fn post(agent: &ureq::Agent, url: &str, body: String, note: &Note, key: &VerifierKey) -> Said {
    let mut answer = match agent.post(url).content_type("text/plain; charset=utf-8").send(body) {
        Ok(answer) => answer,
        Err(error) => return Said::Failed(error.to_string()),
    };
    let status = answer.status().as_u16();
    let text = match answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string() {
        Ok(text) => text,
        Err(error) => return Said::Failed(error.to_string()),
    };
    match status {
        200 => cosignatures(&text, note, key).map_or_else(Said::Refused, Said::Cosigned),
        409 => match text.trim().parse() {
            Ok(size) => Said::Size(size),
            Err(_) => Said::Refused("status 409 without a size".into()),
        },
        500.. | 429 => Said::Failed(format!("status {status}")),
        _ => Said::Refused(format!("status {status}: {}", text.trim().chars().take(200).collect::<String>())),
    }
}

/// The lines of the answer that this witness key made over this note; there must be one.
fn cosignatures(text: &str, note: &Note, key: &VerifierKey) -> Result<Vec<NoteSignature>, String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let signature = NoteSignature::parse(line).map_err(|error| error.to_string())?;
        if signature.name() != key.name() || signature.id() != key.id() {
            continue;
        }
        let signed = Note::new(note.text().to_owned(), vec![signature.clone()]).map_err(|error| error.to_string())?;
        signed.verify(std::slice::from_ref(key)).map_err(|error| error.to_string())?;
        lines.push(signature);
    }
    if lines.is_empty() { Err("the answer holds no cosignature of this witness".into()) } else { Ok(lines) }
}
