//! The attacks on rows, files and log, and what must be no alarm.

use super::*;

/// An attack: number on the integrity page, what is done, the codes that must be among the findings, a text that the
/// place or words of one finding of the first code must hold, the exit code.
pub(crate) type Attack = (&'static str, &'static str, &'static [&'static str], &'static str, u8, fn(&Good) -> Report);

pub(crate) fn edit(world: &mut World, object: usize, group: usize, row: usize) -> &mut v1::Event {
    event(&mut world.objects[object].groups[group][row])
}

pub(crate) const ROWS: &[Attack] = &[
    ("1a", "one bit of a string", &["T01"], "rows 256-299", 1, |g| {
        g.forged(|w| edit(w, 0, 0, 5 + 270).statement = Some("select 274".into()))
    }),
    ("1b", "the same, footer hashes made to fit", &["T05"], "seal 2", 1, |g| {
        g.forged(|w| {
            edit(w, 0, 0, 6).statement = None;
            w.objects[0].footer.batches[2].group_hashes = vec![[1; 32]; 2];
        })
    }),
    ("2", "a middle row deleted", &["T02"], "seal 2", 1, |g| g.forged(|w| drop(w.objects[0].groups[0].remove(100)))),
    ("3a", "the last row of a batch deleted", &["T02"], "seal 2", 1, |g| {
        g.forged(|w| drop(w.objects[0].groups[0].remove(304)))
    }),
    ("3b", "the same, rows numbered anew", &["T02"], "seal", 1, |g| {
        g.forged(|w| {
            w.objects[0].groups[0].remove(304);
            (0..).zip(&mut w.objects[0].groups[0]).for_each(|(seq, row)| row.meta.seq = seq);
        })
    }),
    ("4", "a forged row at a free offset", &["T03"], "seal 2", 1, |g| {
        g.forged(|w| {
            let mut row = w.objects[0].groups[0][5 + 12].clone();
            row.meta.offset += 1;
            w.objects[0].groups[0].insert(5 + 13, row);
        })
    }),
    ("5", "two adjacent rows swapped", &["T04"], "rows 30-31", 1, |g| {
        g.forged(|w| w.objects[0].groups[0].swap(5 + 30, 5 + 31))
    }),
    ("6", "one column of two rows swapped", &["T01"], "rows 0-255", 1, |g| {
        g.forged(|w| {
            let other = edit(w, 0, 0, 41).statement.take();
            let one = std::mem::replace(&mut edit(w, 0, 0, 40).statement, other);
            edit(w, 0, 0, 41).statement = one;
        })
    }),
    ("7", "a row twice in a batch", &["T03"], "seal 2", 1, |g| {
        g.forged(|w| {
            let row = w.objects[0].groups[0][17].clone();
            w.objects[0].groups[0].insert(18, row);
        })
    }),
    ("8", "a row again in another batch", &["T27"], "", 1, |g| {
        g.forged(|w| {
            let row = w.objects[0].groups[0][17].clone();
            w.objects[0].groups[1].push(row);
        })
    }),
    ("9", "only _offset", &["T01"], "seal 0", 1, |g| g.forged(|w| w.objects[0].groups[0][4].meta.offset += 1)),
    ("10", "only _ts", &["T01"], "seal 0", 1, |g| g.forged(|w| w.objects[0].groups[0][4].meta.timestamp_ms += 1)),
    ("11", "only _key", &["T01"], "seal 0", 1, |g| g.forged(|w| w.objects[0].groups[0][4].meta.key = None)),
    ("12", "null turned into an empty string", &["T01"], "seal 0", 1, |g| {
        g.forged(|w| edit(w, 0, 0, 4).error_code = Some(String::new()))
    }),
    ("13", "an enum symbol renamed in the file's schema", &["T21"], "seal", 1, |g| {
        g.forged(|w| {
            let schema = &mut w.objects[0].footer.schema_json;
            *schema = schema.replacen("COMMAND", "COMMEND", 1);
        })
    }),
    ("36", "an opaque record turned into a typed one", &["T01"], "audit.events/1 seal 0", 1, |g| {
        g.forged(|w| {
            let rows = &mut w.objects[2].groups[0];
            let opaque = rows.iter_mut().find(|row| matches!(row.body, Body::Opaque(_))).unwrap();
            opaque.body = Body::Event(Box::default());
        })
    }),
];

pub(crate) const FILES: &[Attack] = &[
    ("14", "one Parquet file deleted", &["T06"], "audit.events/0 seal", 1, |g| {
        g.files(|dir| std::fs::remove_file(dir.join(&g.world.objects[0].name)).unwrap())
    }),
    ("15", "all files of a stream deleted", &["T22", "T06"], "audit.events/0", 1, |g| {
        g.files(|dir| {
            g.world.objects[..2].iter().for_each(|object| std::fs::remove_file(dir.join(&object.name)).unwrap())
        })
    }),
    ("19a", "an empty folder", &["T30"], "log", 1, |g| check_dir(tempfile::tempdir().unwrap().path(), &g.options())),
    ("19b", "only a checkpoint", &["T10"], "log", 1, |g| {
        g.files(|dir| {
            for gone in ["log/tile", "events", "frames"] {
                std::fs::remove_dir_all(dir.join(gone)).unwrap();
            }
        })
    }),
    ("27", "a file of another environment, same seal numbers", &["T12"], "p0-", 1, |g| {
        g.forged(|w| {
            let footer = &mut w.objects[0].footer;
            footer.cluster_id = "c2".into();
            footer.stream_id = schemas::leaf::stream_id("c2", "audit.events", "t1", 0);
            for batch in &mut footer.batches {
                let mut envelope = SealEnvelope::from_body(&batch.envelope).unwrap();
                let mut seal = seal_of(&envelope.entry);
                seal.origin = "audit.example.com/other".into();
                envelope.entry = seal.to_entry();
                batch.envelope = envelope.to_body();
            }
        })
    }),
    ("38a", "bytes after the end of an object", &["T28"], "p0-", 1, |g| {
        g.files(|dir| {
            let name = &g.world.objects[0].name;
            let bytes = std::fs::read(dir.join(name)).unwrap();
            put(dir, name, &[&bytes[..], b"more"].concat());
        })
    }),
    ("38b", "bytes hidden before the footer", &["T28"], "p0-", 1, |g| {
        g.files(|dir| {
            let name = &g.world.objects[0].name;
            let bytes = std::fs::read(dir.join(name)).unwrap();
            let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
            let at = bytes.len() - 8 - length;
            put(dir, name, &[&bytes[..at], b"hidden", &bytes[at..]].concat());
        })
    }),
    ("46", "seals and checkpoints stripped", &["T30"], "log", 1, |g| {
        g.files(|dir| std::fs::remove_dir_all(dir.join("log")).unwrap())
    }),
    ("47a", "an object inside retention deleted", &["T06"], "seal", 1, |g| {
        g.files(|dir| std::fs::remove_file(dir.join(&g.world.objects[3].name)).unwrap())
    }),
];

pub(crate) const LOGS: &[Attack] = &[
    ("17", "the tail cut off; a pin", &["T16"], "3 entries lost", 1, |g| {
        let entries = g.entries();
        let pin = g.note(&Good::head(&entries, entries.len() as u64), &[&g.world.key], 2);
        g.with(&Options { pin: Some(pin), ..g.options() }, |dir| {
            g.write_log(dir, &entries[..entries.len() - 3]);
        })
    }),
    ("18a", "no new seal for too long", &["T19"], "tail", 1, |g| {
        let late = g.options().now_s.map(|now| now + 1000);
        g.with(&Options { now_s: late, ..g.options() }, |_| {})
    }),
    ("20", "a seal rewritten, tree rebuilt, no key", &["T11"], "checkpoint", 1, |g| {
        g.files(|dir| {
            let old = std::fs::read_to_string(dir.join("log/checkpoint")).unwrap();
            let mut entries = g.entries();
            let mut seal = seal_of(&entries[20]);
            seal.reason = 1;
            entries[20] = seal.to_entry();
            g.write_log(dir, &entries);
            let text = Good::head(&entries, entries.len() as u64).to_string();
            let signatures = old.split_once("\n\n").unwrap().1;
            put(dir, "log/checkpoint", format!("{text}\n{signatures}").as_bytes());
        })
    }),
    ("21", "the same with the stolen current key; a pin", &["T17"], "pin", 1, |g| {
        let entries = g.entries();
        let pin = g.note(&Good::head(&entries, 30), &[&g.world.key], 2);
        g.with(&Options { pin: Some(pin), ..g.options() }, |dir| {
            let mut entries = g.entries();
            let mut seal = seal_of(&entries[20]);
            seal.reason = 1;
            entries[20] = seal.to_entry();
            g.write_log(dir, &entries);
        })
    }),
    ("22", "the same in an older epoch", &["T15"], "epoch 0", 1, |g| {
        g.files(|dir| {
            let name = format!("log/{}", tlog::checkpoint_path(g.rotation + 1));
            let mut entries = g.entries();
            let mut seal = seal_of(&entries[5]);
            seal.reason = 1;
            entries[5] = seal.to_entry();
            g.write_log(dir, &entries);
            // the thief of the second key has not the first
            let closing = g.note(&Good::head(&entries, g.rotation + 1), &[&g.world.key], 2);
            put(dir, &name, &closing);
        })
    }),
    ("22b", "an epoch's closing head removed", &["T15"], "epoch 0", 1, |g| {
        g.files(|dir| {
            std::fs::remove_file(dir.join(format!("log/{}", tlog::checkpoint_path(g.rotation + 1)))).unwrap();
        })
    }),
    ("23", "a heartbeat dropped, the rest continued", &["T08", "T07"], "seal", 1, |g| {
        g.resigned(|entries| {
            let at = entries.iter().position(|entry| entry[0] == 1 && seal_of(entry).count == 0).unwrap();
            entries.remove(at);
        })
    }),
    ("24", "two heads of one size", &["T17"], "pin", 1, |g| {
        let fork = Checkpoint::new(ORIGIN, 30, Hash::new([5; 32])).unwrap();
        g.with(&Options { pin: Some(g.note(&fork, &[&g.world.key], 2)), ..g.options() }, |_| {})
    }),
    ("25", "entries of two streams exchanged", &["T10", "T07"], "log", 1, |g| g.bundle(|entries| entries.swap(8, 20))),
    ("26", "batch_root of two seals exchanged", &["T10", "T05"], "log", 1, |g| {
        g.bundle(|entries| {
            let (mut one, mut two) = (seal_of(&entries[2]), seal_of(&entries[4]));
            std::mem::swap(&mut one.batch_root, &mut two.batch_root);
            (entries[2], entries[4]) = (one.to_entry(), two.to_entry());
        })
    }),
    ("28", "a checkpoint of another origin, same key", &["T12"], "checkpoint", 4, |g| {
        let other = |note: String| note.replace(&format!("{ORIGIN}\n"), "audit.example.com/other\n").into_bytes();
        g.checkpoint(other)
    }),
    ("31b", "a bad signature of a known key beside a good one", &["T11"], "checkpoint", 1, |g| {
        g.checkpoint(|note| {
            let key = log_key(&g.world.key);
            let bad = NoteSignature::new(&key, &[3; 64]);
            tlog::Note::parse(note.as_bytes()).unwrap().with_signature(bad).unwrap().to_string().into_bytes()
        })
    }),
    ("32a", "size with a leading zero", &["T11"], "checkpoint", 1, |g| {
        let size = g.entries().len();
        g.checkpoint(|note| note.replace(&format!("\n{size}\n"), &format!("\n0{size}\n")).into_bytes())
    }),
    ("32b", "CRLF", &["T11"], "checkpoint", 1, |g| g.checkpoint(|note| note.replace('\n', "\r\n").into_bytes())),
    ("32c", "no final newline", &["T11"], "checkpoint", 1, |g| g.checkpoint(|note| note.trim_end().into())),
    ("32d", "an extension line", &["T11"], "checkpoint", 1, |g| {
        g.checkpoint(|note| note.replacen("\n\n", "\nextension\n\n", 1).into_bytes())
    }),
    ("32e", "a note of 17 MB", &["T11"], "checkpoint", 1, |g| {
        g.checkpoint(|note| [note.into_bytes(), vec![b'x'; 17 << 20]].concat())
    }),
    ("40", "a cosignature copied from another head", &["T18"], "checkpoint", 4, |g| {
        g.files(|dir| {
            let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
            let (head, other) = (read("log/checkpoint"), read(&format!("log/{}", tlog::checkpoint_path(4))));
            let line = |note: &str| note.lines().find(|line| line.starts_with("— w0")).unwrap().to_owned();
            put(dir, "log/checkpoint", head.replace(&line(&head), &line(&other)).as_bytes());
        })
    }),
    ("40b", "a cosignature removed", &["T18"], "checkpoint", 4, |g| {
        g.checkpoint(|note| {
            let lines = note.lines().filter(|line| !line.starts_with("— w0"));
            lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes()
        })
    }),
    ("41", "a witness key equal to the log's", &["T12"], "policy", 4, |g| {
        g.files(|dir| {
            let mut policy = g.policy.clone();
            let public = g.first.verifying_key().to_bytes();
            policy.witnesses.witnesses[0].key =
                VerifierKey::new("w0.example.org", KeyKind::Cosignature, &public).unwrap();
            g.write_policy(dir, &policy);
        })
    }),
    ("42a", "closed_at lowered", &["T20"], "seal 3", 1, |g| g.rewritten(3, |seal| seal.closed_at = 5)),
    ("42b", "the anchor is no head of this log", &["T20"], "seal 3", 1, |g| {
        g.rewritten(3, |seal| seal.anchor_root.0[0] ^= 1)
    }),
    ("42c", "the anchor is newer than the entry", &["T20"], "seal 3", 1, |g| {
        g.rewritten(3, |seal| seal.anchor_size = 20)
    }),
    ("43a", "a head by a retired key after its closing", &["T13"], "checkpoint", 1, |g| {
        let entries = g.entries();
        g.checkpoint(|_| g.note(&Good::head(&entries, entries.len() as u64), &[&g.first], 2))
    }),
    ("43b", "a head by a revoked key", &["T14"], "checkpoint", 1, |g| {
        g.files(|dir| {
            let mut policy = g.policy.clone();
            policy.revoked.push(Revocation { key: log_key(&g.world.key), last_good_size: 20 });
            g.write_policy(dir, &policy);
        })
    }),
    ("44", "HEADS with an older seal of one stream", &["T26"], "seal_seq", 1, |g| {
        g.resigned(|entries| {
            let at = entries.iter().position(|entry| entry[0] == 3).unwrap();
            let mut heads = HeadsBody::from_body(&entries[at][1..]).unwrap();
            heads.heads[1].seal_seq -= 1;
            entries[at] = heads.to_entry();
        })
    }),
    ("34b", "an entry with a byte more", &["T09"], "log entry 3", 1, |g| g.resigned(|entries| entries[3].push(0))),
];

/// What must not be an alarm: what is done, the exit code.
pub(crate) const GOODS: &[(&str, u8, fn(&Good) -> Report)] = &[
    ("untouched", 0, |g| g.files(|_| {})),
    ("a pin of an older head", 0, |g| {
        let pin = g.note(&Good::head(&g.entries(), 30), &[&g.world.key], 0);
        g.with(&Options { pin: Some(pin), ..g.options() }, |_| {})
    }),
    ("31a: a signature line of an unknown key", 0, |g| {
        g.checkpoint(|note| {
            let key = SigningKey::from_bytes(&[55; 32]);
            let stranger =
                VerifierKey::new("stranger.example", KeyKind::Ed25519, &key.verifying_key().to_bytes()).unwrap();
            let line = NoteSignature::new(&stranger, &[9; 64]);
            tlog::Note::parse(note.as_bytes()).unwrap().with_signature(line).unwrap().to_string().into_bytes()
        })
    }),
    ("18b: neither pin, time nor witness", 3, |g| {
        let keys = vec![log_key(&g.first)];
        g.with(&Options { keys, roots: Vec::new(), now_s: None, ..g.options() }, |_| {})
    }),
    ("47b: an object past retention deleted", 3, |g| {
        let now = (START_MS + 40 * DAY_MS) / 1000;
        let mut good = g.clone();
        good.policy.max_tail_age_s = 100 * 86_400;
        let options = Options { now_s: Some(now), max_tail_age_s: 100 * 86_400, ..g.options() };
        good.with(&options, |dir| std::fs::remove_file(dir.join(&g.world.objects[0].name)).unwrap())
    }),
];
