//! Builds a small archive, tampers with it in one way at a time, and demands the right code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::print_stderr,
    missing_docs
)]

mod world;

use std::path::Path;

use ed25519_dalek::SigningKey;
use reader::{Archive, Options, Outcome};
use schemas::Record as _;
use schemas::leaf;
use schemas::v1::{self, SealBody, SealEnvelope};
use tlog::note::KeyKind;
use tlog::{Hash, VerifierKey};
use world::*;

#[test]
fn a_good_archive_is_proven_only_with_an_anchor() {
    let world = World::new();
    let report = world.check();
    assert_eq!(report.findings, []);
    assert_eq!((report.outcome, report.exit_code), (Outcome::Proven, 0));
    assert_eq!((report.size, report.entries, report.streams.len(), report.rows), (30, 30, 3, 3 * 921));
    assert_eq!((report.streams[0].events, report.notes.len()), (921, 0));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outcome"], "proven");

    let free = Options { now_s: None, ..world.options() };
    let report = world.check_with(&free, |_| {});
    assert_eq!((report.outcome, report.exit_code, report.anchored), (Outcome::Incomplete, 3, false));
    assert!(report.notes[0].starts_with("tail not anchored"));
    let pinned = Options { pin: Some(world.note(10)), ..free };
    assert_eq!(world.check_with(&pinned, |_| {}).outcome, Outcome::Proven);
}

#[test]
fn altered_rows_are_placed() {
    let world = World::new();
    let mut bad = world.clone();
    event(&mut bad.objects[0].groups[1][300]).statement = Some("select 1".into());
    let report = bad.check();
    expect(&report, &["T01"]);
    assert_eq!(report.findings[0].rows, Some((256, 511)));
    assert_eq!(report.findings[0].object.as_deref(), Some(bad.objects[0].name.as_str()));

    let changes: [fn(&mut Row); 6] = [
        |row| row.meta.offset += 1,
        |row| row.meta.timestamp_ms += 1,
        |row| row.meta.key = None,
        |row| row.meta.seq += 1,
        |row| event(row).error_code = Some(String::new()),
        |row| event(row).rows = None,
    ];
    for change in changes {
        let mut bad = world.clone();
        change(&mut bad.objects[0].groups[0][4]);
        expect(&bad.check(), &["T01"]);
    }
    let mut bad = world.clone();
    let opaque = bad.objects[2].groups[0].iter_mut().find(|row| matches!(row.body, Body::Opaque(_))).unwrap();
    opaque.body = Body::Event(Box::default());
    expect(&bad.check(), &["T01"]);
    // the footer's hashes made to fit the forged row
    let mut bad = world.clone();
    event(&mut bad.objects[0].groups[0][0]).statement = None;
    bad.objects[0].footer.batches[0].group_hashes = vec![[1; 32]];
    expect(&bad.check(), &["T05", "T28"]);
}

#[test]
fn missing_inserted_repeated_and_moved_rows_are_told_apart() {
    let world = World::new();
    for at in [2, 100, 304] {
        let mut bad = world.clone();
        bad.objects[0].groups[0].remove(at);
        let report = bad.check();
        expect(&report, &["T02"]);
        assert_eq!(report.findings.len(), 1);
        for (seq, row) in bad.objects[0].groups[0].iter_mut().enumerate() {
            row.meta.seq = i64::try_from(seq).unwrap();
        }
        assert!(codes(&bad.check()).contains(&"T02"));
    }
    let mut bad = world.clone();
    let mut forged = bad.objects[0].groups[1][12].clone();
    forged.meta.offset += 1; // 100 + seq + seq / 7 leaves some offsets free
    bad.objects[0].groups[1].insert(13, forged);
    expect(&bad.check(), &["T03"]);
    let mut bad = world.clone();
    let twin = bad.objects[0].groups[1][12].clone();
    bad.objects[0].groups[1].insert(13, twin.clone());
    expect(&bad.check(), &["T03"]);
    let mut bad = world.clone();
    bad.objects[0].groups[0].push(twin);
    expect(&bad.check(), &["T27"]);
    let mut bad = world.clone();
    bad.objects[0].groups[1].swap(30, 31);
    let report = bad.check();
    expect(&report, &["T04"]);
    assert_eq!(report.findings[0].rows, Some((30, 31)));
    let mut bad = world.clone();
    let mut stray = bad.objects[0].groups[0][0].clone();
    stray.meta.offset = 1_000_000;
    bad.objects[0].groups[0].push(stray);
    expect(&bad.check(), &["T23"]);
}

#[test]
fn missing_foreign_and_repeated_files_are_named() {
    let world = World::new();
    let remove = |names: &[usize]| {
        let remove = |dir: &Path| {
            names.iter().for_each(|at| std::fs::remove_file(dir.join(&world.objects[*at].name)).unwrap());
        };
        world.check_with(&world.options(), remove)
    };
    expect(&remove(&[0]), &["T06"]);
    expect(&remove(&[0, 1]), &["T06", "T22"]);
    let lag = Options { archive_lag_s: Some(60), ..world.options() };
    let mut late = world.clone();
    late.objects.remove(1);
    let report = late.check_with(&lag, |_| {});
    assert_eq!((report.outcome, report.streams[0].waiting_seals), (Outcome::Incomplete, 2));

    let copy = |to: &str| {
        let bytes = world.objects[0].bytes();
        world.check_with(&world.options(), |dir| put(dir, to, &bytes))
    };
    expect(&copy("events/dt=2026-02-02/hour=02/p0-000000000001.parquet"), &["T23", "T27", "T28"]);
    expect(&copy("events/notes.txt"), &["T23"]);
    let mut other = world.clone();
    other.objects[0].footer.cluster_id = "c2".into();
    other.objects[0].footer.stream_id = leaf::stream_id("c2", "audit.events", "t1", 0);
    expect(&other.check(), &["T06", "T23"]);
    let expected = Options { expected_streams: vec![v1::StreamId([3; 16])], ..world.options() };
    expect(&world.check_with(&expected, |_| {}), &["T22"]);
}

#[test]
fn schema_envelope_and_stray_bytes_are_checked() {
    let world = World::new();
    let mut bad = world.clone();
    bad.objects[0].footer.schema_json.push(' ');
    expect(&bad.check(), &["T21"]);
    let mut bad = world.clone();
    bad.objects[0].footer.batches[0].envelope = world.objects[0].footer.batches[2].envelope.clone();
    expect(&bad.check(), &["T29"]);
    let mut bad = world.clone();
    let mut envelope = SealEnvelope::from_body(&bad.objects[0].footer.batches[0].envelope).unwrap();
    envelope.signature.0[9] ^= 1;
    bad.objects[0].footer.batches[0].envelope = envelope.to_body();
    expect(&bad.check(), &["T11"]);
    let path = &world.objects[0].name;
    let bytes = world.objects[0].bytes();
    let with = |bytes: &[u8]| world.check_with(&world.options(), |dir| put(dir, path, bytes));
    assert!(codes(&with(&[&bytes[..], b"x"].concat())).contains(&"T28"));
    assert!(codes(&with(b"PAR1")).contains(&"T28"));
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let at = bytes.len() - 8 - length;
    expect(&with(&[&bytes[..at], b"hidden", &bytes[at..]].concat()), &["T28"]);
}

#[test]
fn the_log_is_checked_end_to_end() {
    let world = World::new();
    let empty = tempfile::tempdir().unwrap();
    expect(&check_dir(empty.path(), &world.options()), &["T30"]);
    put(empty.path(), "log/checkpoint", &world.note(5));
    assert!(codes(&check_dir(empty.path(), &world.options())).contains(&"T10"));
    let report = world.check_with(&world.options(), |dir| std::fs::remove_dir_all(dir.join("log")).unwrap());
    assert!(codes(&report).contains(&"T30"));

    let note = world.note(30);
    let broken = |note: Vec<u8>| world.check_with(&world.options(), |dir| put(dir, "log/checkpoint", &note));
    let text = String::from_utf8(note.clone()).unwrap();
    expect(&broken(text.replace("\n30\n", "\n030\n").into_bytes()), &["T11", "T23"]);
    let shorter = codes(&broken(text.replace("\n30\n", "\n29\n").into_bytes()));
    assert!(["T10", "T11"].iter().all(|code| shorter.contains(code)), "{shorter:?}");
    let stranger = Options { origin: Some("other.example.com".into()), ..world.options() };
    let report = world.check_with(&stranger, |_| {});
    assert!(codes(&report).contains(&"T12"));
    let unknown = SigningKey::from_bytes(&[8; 32]);
    let unknown = VerifierKey::new(ORIGIN, KeyKind::Ed25519, &unknown.verifying_key().to_bytes()).unwrap();
    let report = world.check_with(&Options { keys: vec![unknown], ..world.options() }, |_| {});
    assert_eq!((codes(&report), report.exit_code), (vec!["T12"], 4));

    let mut bad = world.clone();
    bad.entries.swap(0, 8);
    let swapped = codes(&bad.check());
    assert!(swapped.contains(&"T29") && swapped.contains(&"T20"), "{swapped:?}");
    let change = |at: usize, change: &dyn Fn(&mut SealBody)| {
        let mut bad = world.clone();
        let mut seal = SealBody::from_body(&bad.entries[at][1..]).unwrap();
        change(&mut seal);
        bad.entries[at] = [vec![1], seal.to_body()].concat();
        codes(&bad.check())
    };
    assert!(change(3, &|seal| seal.prev_seal_hash.0[0] ^= 1).contains(&"T07"));
    assert!(change(3, &|seal| seal.seal_seq += 1).contains(&"T08"));
    assert!(change(3, &|seal| seal.closed_at = 5).contains(&"T20"));
    assert!(change(3, &|seal| seal.anchor_root.0[0] ^= 1).contains(&"T20"));
    assert!(change(3, &|seal| seal.anchor_size = 20).contains(&"T20"));
    assert!(change(3, &|seal| seal.first_seq += 1).contains(&"T02"));
    assert!(change(3, &|seal| seal.reason = 9).contains(&"T09"));
    let mut bad = world.clone();
    bad.entries[3].push(0);
    assert!(codes(&bad.check()).contains(&"T09"));
}

#[test]
fn cut_stale_and_forked_logs_need_an_anchor() {
    let world = World::new();
    let mut cut = world.clone();
    cut.entries.truncate(23);
    let last = cut.objects.last_mut().unwrap();
    last.footer.batches.pop();
    last.groups.pop();
    for object in &mut cut.objects {
        for batch in &mut object.footer.batches {
            let mut envelope = SealEnvelope::from_body(&batch.envelope).unwrap();
            envelope.tree_size = 23;
            batch.envelope = envelope.to_body();
        }
    }
    let pin = Options { pin: Some(world.note(30)), ..world.options() };
    let report = cut.check_with(&pin, |_| {});
    expect(&report, &["T16"]);
    assert!(report.findings[0].text.contains("1 entries lost"));
    assert_eq!(cut.check_with(&Options { now_s: None, ..world.options() }, |_| {}).exit_code, 3);
    let late = Options { now_s: world.options().now_s.map(|now| now + 100), ..world.options() };
    expect(&world.check_with(&late, |_| {}), &["T19"]);
    let newer = world.note(30);
    let report = cut.check_with(&world.options(), |dir| put(dir, "log/checkpoints/00000000000000000030", &newer));
    expect(&report, &["T16"]);
    let fork = sign(&world.key, &world.verifier(), 10, Hash::new([5; 32])).into_bytes();
    expect(&world.check_with(&Options { pin: Some(fork), ..world.options() }, |_| {}), &["T17"]);
}

#[test]
fn sessions_are_listed_and_read() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    world.write(dir.path());
    let archive = Archive::open(dir.path().to_str().unwrap()).unwrap();
    let sessions = reader::sessions(&archive).unwrap();
    assert_eq!(sessions.len(), 2 * 93);
    let wanted = session(0, 4).to_string();
    let one = sessions.iter().find(|one| one.session_id == wanted).unwrap();
    assert_eq!((one.commands, one.rows, one.records_found, one.complete), (8, 16, 10, true));
    assert_eq!((one.principal_email.as_str(), one.principal_groups.len()), ("user4@example.com", 1));
    assert!(!sessions.iter().find(|one| one.session_id == session(1, 0).to_string()).unwrap().complete);
    let (frames, events) = reader::session(&archive, &wanted[..6]).unwrap();
    assert_eq!((frames.len(), events.len()), (0, 10));
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let (frames, _) = reader::session(&archive, &session(2, 1).to_string()).unwrap();
    assert_eq!(frames.len(), 10);
    assert_eq!(reader::session(&archive, "01").unwrap_err().kind(), "ambiguous_session");
    assert_eq!(reader::session(&archive, "ff").unwrap_err().kind(), "unknown_session");
    assert_eq!(reader::events(&archive, 10_000).unwrap().len(), 2 * 921 - 1);
    assert_eq!(reader::events(&archive, 100).unwrap_err().kind(), "too_large");
}
