//! A store in memory that counts, fails and delays, and streams that seal themselves.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use schemas::v1::{Hash32, SealBody, StreamId};
use sealer::batch::{Batch, Reason, Stream};
use sealer::entry::encode_seal;
use sealer::error::NotaryError;
use sealer::integrate::{Head, Trust};
use sealer::notary::{LogStore, Notary, Put, Setup};
use sealer::signer::{FileKeyring, FileSigner};
use sealer::witness::{Cosigner, NoWitness};
use tlog::{EMPTY_ROOT, Hash, leaf_hash};

pub const ORIGIN: &str = "audit.example.com/prod";

/// What the store does at its n-th call from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and every call after it fails too: the process is gone.
    Before,
    /// It happens, the caller does not hear of it, and every call after it fails: the process is gone.
    After,
    /// A put is told as failed, and lands later, when [`Memory::land`] says so.
    Late,
}

#[derive(Default)]
pub struct Inner {
    pub objects: HashMap<String, Vec<u8>>,
    pub reads: HashMap<String, usize>,
    pub plan: Option<(usize, Fault)>,
    pub dead: bool,
    pub late: Vec<(String, Vec<u8>, bool)>,
    pub calls: usize,
    /// Every checkpoint text that ever reached the store, with its size, also over which another was put.
    pub texts: Vec<(u64, String)>,
}

/// A store in memory; clones share it.
#[derive(Clone, Default)]
pub struct Memory(pub Arc<Mutex<Inner>>);

fn injected(path: &str) -> NotaryError {
    NotaryError::Store { operation: "put", path: path.into(), reason: "injected".into(), retriable: true }
}

impl Inner {
    /// True when the call takes effect, and whether it then fails.
    fn tick(&mut self, path: &str) -> Result<Option<Fault>, NotaryError> {
        if self.dead {
            return Err(injected(path));
        }
        self.calls += 1;
        match self.plan.as_mut() {
            Some((0, fault)) => {
                let fault = *fault;
                self.plan = None;
                self.dead = fault != Fault::Late;
                if fault == Fault::Before { Err(injected(path)) } else { Ok(Some(fault)) }
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn put(&mut self, path: &str, bytes: &[u8], create: bool) -> Put {
        if path.starts_with("checkpoint") {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let text = text.rsplit_once("\n\n").unwrap().0.to_owned();
            let size = text.lines().nth(1).unwrap().parse().unwrap();
            self.texts.push((size, text));
        }
        if create && self.objects.contains_key(path) {
            return Put::Exists;
        }
        self.objects.insert(path.into(), bytes.into());
        Put::Created
    }

    fn write(&mut self, path: &str, bytes: &[u8], create: bool) -> Result<Put, NotaryError> {
        match self.tick(path)? {
            None => Ok(self.put(path, bytes, create)),
            Some(Fault::Late) => {
                self.late.push((path.into(), bytes.into(), create));
                Err(injected(path))
            }
            Some(_) => {
                self.put(path, bytes, create);
                Err(injected(path))
            }
        }
    }
}

impl Memory {
    /// The next process: faults are over.
    pub fn revive(&self) {
        let mut inner = self.0.lock().unwrap();
        (inner.dead, inner.plan) = (false, None);
    }

    /// Delayed puts of dead processes land now.
    pub fn land(&self) {
        let mut inner = self.0.lock().unwrap();
        for (path, bytes, create) in std::mem::take(&mut inner.late) {
            inner.put(&path, &bytes, create);
        }
    }

    pub fn plan(&self, calls: usize, fault: Fault) {
        self.0.lock().unwrap().plan = Some((calls, fault));
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.0.lock().unwrap().objects.get(path).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    pub fn forget_reads(&self) {
        self.0.lock().unwrap().reads.clear();
    }

    /// Reads of objects whose path begins so.
    pub fn reads(&self, prefix: &str) -> usize {
        self.0.lock().unwrap().reads.iter().filter(|(path, _)| path.starts_with(prefix)).map(|(_, count)| count).sum()
    }
}

impl LogStore for Memory {
    fn create(&self, path: &str, bytes: &[u8], _locked: bool) -> Result<Put, NotaryError> {
        self.0.lock().unwrap().write(path, bytes, true)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), NotaryError> {
        self.0.lock().unwrap().write(path, bytes, false).map(drop)
    }
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, NotaryError> {
        let mut inner = self.0.lock().unwrap();
        if inner.dead {
            return Err(injected(path));
        }
        *inner.reads.entry(path.into()).or_default() += 1;
        Ok(inner.objects.get(path).cloned())
    }
}

pub fn stream(number: usize) -> Stream {
    let topic = "audit.events";
    let partition = i32::try_from(number).unwrap();
    let id = schemas::leaf::stream_id("lkc-1", topic, "0a1b2c3d-0000-4000-8000-000000000001", partition);
    Stream { origin: ORIGIN.into(), id, topic: topic.into(), partition, schema_hash: Hash32([3; 32]) }
}

pub fn streams(count: usize) -> HashMap<StreamId, (String, i32)> {
    (0..count).map(stream).map(|stream| (stream.id, (stream.topic, stream.partition))).collect()
}

/// Streams that seal one event after the other, and the proposals they made.
pub struct Line {
    streams: Vec<(Stream, Option<Head>)>,
    now: i64,
}

impl Line {
    pub fn new(count: usize) -> Self {
        Self { streams: (0..count).map(|number| (stream(number), None)).collect(), now: 1_770_000_000_000 }
    }

    /// The next seal of a stream.
    pub fn seal(&mut self, number: usize) -> Vec<u8> {
        self.now += 10;
        let (stream, head) = &mut self.streams[number];
        let mut batch = Batch::default();
        let offset = head.map_or(0, |head| head.last_offset + 1);
        batch.push(leaf_hash(&offset.to_be_bytes()), offset, self.now, 10, self.now);
        let seal = batch.seal(stream, head.as_ref(), (0, EMPTY_ROOT), self.now, Reason::Age);
        let entry = encode_seal(&seal);
        *head = Some(Head::after(head.as_ref(), &seal, leaf_hash(&entry)));
        entry
    }

    /// `count` seals, the streams taking turns.
    pub fn seals(&mut self, count: usize) -> Vec<Vec<u8>> {
        let streams = self.streams.len();
        (0..count).map(|number| self.seal(number % streams)).collect()
    }

    pub fn head(&self, number: usize) -> Head {
        self.streams[number].1.unwrap()
    }
}

pub fn body(entry: &[u8]) -> SealBody {
    sealer::entry::decode_seal(entry).unwrap()
}

/// A notary over `store` whose keys and state are in `folder`.
pub struct Opening {
    pub streams: usize,
    pub trust: Trust,
    pub first_key: Option<tlog::VerifierKey>,
    pub end: i64,
    pub cosigner: Option<Box<dyn Cosigner>>,
}

impl Default for Opening {
    fn default() -> Self {
        Self { streams: 3, trust: Trust::default(), first_key: None, end: i64::MAX, cosigner: None }
    }
}

impl Opening {
    pub fn open(self, store: &Memory, folder: &Path) -> Result<Notary, NotaryError> {
        let first = folder.join("log.key");
        if !folder.join("started").exists() {
            FileSigner::create(&first, &[7; 32], ORIGIN).unwrap();
            std::fs::write(folder.join("started"), "").unwrap();
        }
        Notary::open(Setup {
            origin: ORIGIN.into(),
            streams: streams(self.streams),
            trust: self.trust,
            first_key: self.first_key,
            store: Box::new(store.clone()),
            keys: Box::new(FileKeyring::new(&first, ORIGIN)),
            cosigner: self.cosigner.unwrap_or_else(|| Box::new(NoWitness)),
            state_folder: folder.to_owned(),
            proposals_end: self.end,
        })
    }
}

/// Offers `entries` from the notary's own position on, publishing every `group`; entry number = offset.
pub fn feed(notary: &mut Notary, entries: &[Vec<u8>], group: usize) -> Result<(), NotaryError> {
    let from = usize::try_from(notary.next_offset()).unwrap();
    for (number, entry) in entries.iter().enumerate().skip(from) {
        let offset = i64::try_from(number).unwrap();
        let mut result = notary.offer(offset, entry);
        if matches!(&result, Err(refusal) if refusal.is_passing()) {
            notary.publish()?;
            result = notary.offer(offset, entry);
        }
        drop(result);
        if (number + 1).is_multiple_of(group) {
            notary.publish()?;
        }
    }
    notary.publish()
}

pub fn root(notary: &Notary) -> (u64, Hash) {
    (notary.lock().size, notary.lock().root)
}
