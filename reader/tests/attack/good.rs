//! The good archive that every attack starts from.

use super::*;

pub(crate) const STREAMS: [(Table, i32); 3] = [(Table::Events, 0), (Table::Events, 1), (Table::Frames, 2)];
pub(crate) const BATCHES: [&[i64]; 4] = [&[5, 0, 300, 2], &[6, 9, 2, 3], &[4, 0, 2, 3], &[3, 2]];
pub(crate) const DAY_MS: i64 = 86_400_000;

/// The good archive: three streams, 42 seals, two key epochs, heads, receipts, an opaque record, heartbeats, a policy
/// of a root key, and two of three witnesses.
#[derive(Clone)]
pub(crate) struct Good {
    pub(crate) world: World,
    pub(crate) first: SigningKey,
    pub(crate) root: SigningKey,
    pub(crate) witnesses: [SigningKey; 3],
    /// Index of the KEY entry.
    pub(crate) rotation: u64,
    pub(crate) policy: Policy,
}

pub(crate) fn log_key(key: &SigningKey) -> VerifierKey {
    VerifierKey::new(ORIGIN, KeyKind::Ed25519, &key.verifying_key().to_bytes()).unwrap()
}

pub(crate) fn witness_key(at: usize, key: &SigningKey) -> VerifierKey {
    VerifierKey::new(&format!("w{at}.example.org"), KeyKind::Cosignature, &key.verifying_key().to_bytes()).unwrap()
}

pub(crate) fn root_key(key: &SigningKey) -> VerifierKey {
    VerifierKey::new("root.example.org", KeyKind::Ed25519, &key.verifying_key().to_bytes()).unwrap()
}

pub(crate) fn seal_of(entry: &[u8]) -> SealBody {
    SealBody::from_body(&entry[1..]).unwrap()
}

impl Good {
    pub(crate) fn new() -> Self {
        let (first, second) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let witnesses = [31, 32, 33].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let mut world = World { objects: Vec::new(), entries: Vec::new(), key: first.clone() };
        world.stream(STREAMS[0].0, STREAMS[0].1, &BATCHES);
        let rotation = world.entries.len() as u64;
        let mut body = KeyBody {
            version: 1,
            origin: ORIGIN.into(),
            action: KEY_ROTATE.into(),
            epoch: 1,
            vkey: log_key(&second).to_string(),
            key_id: KeyId(log_key(&first).id().to_be_bytes()),
            signature: Signature64([0; 64]),
        };
        body.signature = Signature64(first.sign(&body.signed_bytes()).to_bytes());
        world.entries.push(body.to_entry());
        world.key = second;
        for (table, partition) in &STREAMS[1..] {
            world.stream(*table, *partition, &BATCHES);
        }
        let size = world.entries.len() as i64;
        for (at, object) in world.objects.iter_mut().enumerate() {
            for batch in &mut object.footer.batches {
                let mut envelope = SealEnvelope::from_body(&batch.envelope).unwrap();
                envelope.tree_size = if at < 2 { rotation as i64 } else { size };
                batch.envelope = envelope.to_body();
            }
        }
        let mut policy = Policy::new(log_key(&first));
        policy.cluster = Some("c1".into());
        policy.retention_days = 30;
        policy.max_tail_age_s = 60;
        policy.witnesses = WitnessPolicy {
            logs: Vec::new(),
            witnesses: (0..3)
                .map(|at| Witness { name: format!("w{at}"), key: witness_key(at, &witnesses[at]), url: None })
                .collect(),
            groups: vec![Group {
                name: "q".into(),
                threshold: 2,
                members: (0..3).map(|at| format!("w{at}")).collect(),
            }],
            quorum: Some("q".into()),
        };
        let root = SigningKey::from_bytes(&[99; 32]);
        let mut good = Self { world, first, root, witnesses, rotation, policy };
        let heads = good.heads();
        good.world.entries.push(heads.to_entry());
        good
    }

    /// The heads of all streams, as of the seals so far.
    pub(crate) fn heads(&self) -> HeadsBody {
        let mut heads = std::collections::BTreeMap::new();
        for entry in self.world.entries.iter().filter(|entry| entry[0] == 1) {
            let seal = seal_of(entry);
            let known: Option<&StreamHead> = heads.get(&seal.stream_id.0);
            let last_offset = known.map_or(-1, |head| head.last_offset);
            let head = StreamHead {
                stream_id: seal.stream_id,
                seal_seq: seal.seal_seq,
                seal_hash: Hash32(*leaf_hash(entry).as_bytes()),
                next_seq: seal.first_seq + seal.count,
                last_offset: if seal.count == 0 { last_offset } else { seal.last_offset },
                closed_at: seal.closed_at,
                anchor_size: seal.anchor_size,
                reason: seal.reason,
                next_receipt: 0,
            };
            heads.insert(seal.stream_id.0, head);
        }
        HeadsBody {
            version: 1,
            origin: ORIGIN.into(),
            index: self.world.entries.len() as i64,
            part: 0,
            parts: 1,
            epoch: 1,
            vkey: log_key(&self.world.key).to_string(),
            incidents: 0,
            heads: heads.into_values().collect(),
        }
    }

    /// A head by `keys`, cosigned by the first `witnesses` witnesses.
    pub(crate) fn note(&self, head: &Checkpoint, keys: &[&SigningKey], witnesses: usize) -> Vec<u8> {
        let text = head.to_string();
        let mut lines: Vec<NoteSignature> =
            keys.iter().map(|key| NoteSignature::new(&log_key(key), &key.sign(text.as_bytes()).to_bytes())).collect();
        for (at, key) in self.witnesses.iter().enumerate().take(witnesses) {
            let time = (START_MS / 1000) as u64 + 75;
            let signature = key.sign(&cosignature_signed_bytes(time, &text)).to_bytes();
            lines.push(NoteSignature::cosignature(&witness_key(at, key), time, &signature));
        }
        head.to_note(lines).unwrap().to_string().into_bytes()
    }

    pub(crate) fn head(entries: &[Vec<u8>], size: u64) -> Checkpoint {
        Checkpoint::new(ORIGIN, size, root_at(entries, size)).unwrap()
    }

    pub(crate) fn write(&self, dir: &Path) {
        let bytes = self.world.bytes();
        self.write_log(dir, &self.world.log_of(&bytes));
        for (object, bytes) in self.world.objects.iter().zip(&bytes) {
            put(dir, &object.name, bytes);
        }
    }

    pub(crate) fn write_log(&self, dir: &Path, entries: &[Vec<u8>]) {
        let mut log = LogWriter::new();
        entries.iter().for_each(|entry| {
            log.append(entry).unwrap();
        });
        log.flush().iter().for_each(|file| put(dir, &format!("log/{}", file.path), &file.bytes));
        let second = &self.world.key;
        put(dir, "log/checkpoint", &self.note(&Self::head(entries, log.size()), &[second], 2));
        let older = |size: u64, keys: &[&SigningKey]| {
            let note = self.note(&Self::head(entries, size), keys, 2);
            put(dir, &format!("log/{}", tlog::checkpoint_path(size)), &note);
        };
        older(4, &[&self.first]);
        older(self.rotation + 1, &[&self.first, second]);
        self.write_policy(dir, &self.policy);
    }

    pub(crate) fn write_policy(&self, dir: &Path, policy: &Policy) {
        let signature = self.root.sign(policy.to_string().as_bytes()).to_bytes();
        let note = policy.to_note(vec![NoteSignature::new(&root_key(&self.root), &signature)]).unwrap();
        put(dir, "log/policy", note.to_string().as_bytes());
    }

    pub(crate) fn options(&self) -> Options {
        let now = (START_MS + 5000 * 15) / 1000;
        Options {
            roots: vec![root_key(&self.root)],
            now_s: Some(now),
            max_tail_age_s: 60,
            threads: 1,
            ..Options::default()
        }
    }

    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        self.world.log()
    }

    pub(crate) fn with(&self, options: &Options, change: impl FnOnce(&Path)) -> Report {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        change(dir.path());
        check_dir(dir.path(), options)
    }

    /// Rows or footers changed before the files are written, with receipts that fit: only the seals can tell.
    pub(crate) fn forged(&self, change: impl FnOnce(&mut World)) -> Report {
        let mut good = self.clone();
        change(&mut good.world);
        good.with(&self.options(), |_| {})
    }

    /// Files changed afterwards.
    pub(crate) fn files(&self, change: impl FnOnce(&Path)) -> Report {
        self.with(&self.options(), change)
    }

    /// Log entries changed, and everything signed again by whoever holds the keys.
    pub(crate) fn resigned(&self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Report {
        self.files(|dir| {
            let mut entries = self.entries();
            change(&mut entries);
            self.write_log(dir, &entries);
        })
    }

    /// Log entries changed in the bundle alone.
    pub(crate) fn bundle(&self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Report {
        self.files(|dir| {
            let mut entries = self.entries();
            change(&mut entries);
            let mut bundle = Vec::new();
            entries.iter().for_each(|entry| tlog::push_entry(&mut bundle, entry).unwrap());
            put(dir, &format!("log/tile/entries/000.p/{}", entries.len()), &bundle);
        })
    }

    pub(crate) fn rewritten(&self, index: usize, change: impl FnOnce(&mut SealBody)) -> Report {
        self.resigned(|entries| {
            let mut seal = seal_of(&entries[index]);
            change(&mut seal);
            entries[index] = seal.to_entry();
        })
    }

    pub(crate) fn checkpoint(&self, change: impl FnOnce(String) -> Vec<u8>) -> Report {
        self.files(|dir| {
            let text = std::fs::read_to_string(dir.join("log/checkpoint")).unwrap();
            put(dir, "log/checkpoint", &change(text));
        })
    }
}
