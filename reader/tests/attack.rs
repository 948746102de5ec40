//! Every tampering of the integrity page, made by rewriting valid files, and the code and place it must be given.
//! `cargo xtask attack` prints the table; its last line counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_wrap,
    clippy::type_complexity,
    missing_docs
)]

#[path = "attack/good.rs"]
mod good;
#[path = "attack/list.rs"]
mod list;
mod world;

use std::path::Path;
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use good::*;
use list::*;
use reader::{Archive, Options, Report, Wanted, check_proof, prove, verify};
use schemas::Record as _;
use schemas::entry::{EntryBody as _, KEY_ROTATE};
use schemas::layout::Table;
use schemas::v1::{self, Hash32, HeadsBody, KeyBody, KeyId, SealBody, SealEnvelope, Signature64, StreamHead};
use tlog::note::KeyKind;
use tlog::{
    Checkpoint, EntryProof, EventExtra, Group, Hash, LogWriter, NoteSignature, Policy, Revocation, VerifierKey,
    Witness, WitnessPolicy, cosignature_signed_bytes, leaf_hash,
};
use world::*;

static GOOD: LazyLock<Good> = LazyLock::new(Good::new);

/// Proofs that do not hold, and one that does.
fn proofs() -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut good = GOOD.clone();
    edit(&mut good.world, 0, 0, 7); // an event, as all of this stream
    good.write(dir.path());
    let archive = Archive::open(dir.path().to_str().unwrap()).unwrap();
    let id = session(0, 3).to_string();
    let made = prove(&archive, &Wanted::Session(id)).unwrap();
    assert_eq!(made.len(), 10);
    let keys = [log_key(&good.world.key), witness_key(0, &good.witnesses[0])];
    let check = |proof: &EntryProof| check_proof(proof.to_text().as_bytes(), ORIGIN, &keys, None);
    let proof = EntryProof::parse(made[4].text.as_bytes()).unwrap();
    let proven = check(&proof).unwrap();
    assert_eq!((proven.seal.unwrap().seal_seq, proven.witnessed.len()), (2, 1));
    let other = EntryProof::parse(made[5].text.as_bytes()).unwrap();
    let extra = EventExtra::from_bytes(proof.extra.as_ref().unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut EventExtra)| {
        let mut extra = extra.clone();
        change(&mut extra);
        EntryProof { extra: Some(extra.to_bytes().unwrap()), ..proof.clone() }
    };
    let forged = [
        ("29a: index + 1", EntryProof { index: proof.index + 1, ..proof.clone() }),
        ("29b: a hash too many", EntryProof { path: [&proof.path[..], &[Hash::ZERO]].concat(), ..proof.clone() }),
        ("29c: a hash too few", EntryProof { path: proof.path[1..].to_vec(), ..proof.clone() }),
        (
            "29d: a node presented as leaf",
            with(&|extra| {
                extra.leaf_input =
                    [leaf_hash(&extra.leaf_input).as_bytes().as_slice(), extra.path[0].as_bytes()].concat();
                extra.path.remove(0);
                extra.index /= 2;
            }),
        ),
        ("29e: index in the batch + 1", with(&|extra| extra.index += 1)),
        (
            "30a: another event",
            with(&|extra| {
                extra.leaf_input = EventExtra::from_bytes(other.extra.as_ref().unwrap()).unwrap().leaf_input;
            }),
        ),
        ("30b: another seal", with(&|extra| extra.entry = good.world.entries[4].clone())),
    ];
    let mut named = 0;
    for (name, proof) in &forged {
        let code = check(proof).err().and_then(|error| error.code());
        println!("{} {name:60} {:?}", if code == Some("T25") { "ok  " } else { "MISS" }, code);
        named += usize::from(code == Some("T25"));
    }
    // a consistency proof, and one of another log
    let text = reader::prove_consistency(&archive, 30).unwrap();
    let old = good.note(&Good::head(&good.entries(), 30), &[&good.world.key], 0);
    check_proof(text.as_bytes(), ORIGIN, &keys, Some(&old)).unwrap();
    let fork = good.note(&Checkpoint::new(ORIGIN, 30, Hash::new([5; 32])).unwrap(), &[&good.world.key], 0);
    let code = check_proof(text.as_bytes(), ORIGIN, &keys, Some(&fork)).err().and_then(|error| error.code());
    println!("{} {:60} {code:?}", if code == Some("T25") { "ok  " } else { "MISS" }, "24b: consistency with a fork");
    (forged.len() + 1, named + usize::from(code == Some("T25")))
}

#[test]
fn every_attack_is_named() {
    let (mut attacks, mut named) = (0, 0);
    for (number, what, codes_wanted, place, exit, attack) in ROWS.iter().chain(FILES).chain(LOGS) {
        let report = attack(&GOOD);
        let found = codes(&report);
        let all = codes_wanted.iter().all(|code| found.contains(code));
        let here = report.findings.iter().filter(|finding| finding.code == codes_wanted[0]);
        let placed = here.into_iter().any(|finding| {
            finding.place.contains(place)
                || finding.text.contains(place)
                || finding.object.as_ref().is_some_and(|name| name.contains(place))
        });
        let good = all && placed && report.exit_code == *exit;
        let first = report.findings.iter().find(|finding| finding.code == codes_wanted[0]);
        let at = first.map(|finding| format!("{} {}", finding.place, finding.text)).unwrap_or_default();
        println!(
            "{} {number:>4} {what:52} {:10} exit {} {at}",
            if good { "ok  " } else { "MISS" },
            found.join(" "),
            report.exit_code
        );
        attacks += 1;
        named += usize::from(good);
    }
    let (more, held) = proofs();
    (attacks, named) = (attacks + more, named + held);
    let mut false_alarms = 0;
    for (what, exit, good) in GOODS {
        let report = good(&GOOD);
        let quiet = report.findings.is_empty() && report.exit_code == *exit;
        println!(
            "{} good {what:52} exit {} {:?}",
            if quiet { "ok  " } else { "FALSE" },
            report.exit_code,
            report.findings
        );
        false_alarms += usize::from(!quiet);
    }
    println!("attacks={attacks} named={named} false_alarms={false_alarms}");
    assert_eq!((named, false_alarms), (attacks, 0));
}

/// An interrupted run goes on where it ended; sound objects are not read again, unsound ones are.
#[test]
fn runs_go_on_and_old_rows_can_be_left_out() {
    let good = &GOOD;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let options = Options { resume: Some(state.clone()), ..good.options() };
    let report = good.with(&options, |_| {});
    assert_eq!((report.exit_code, report.rows), (0, 3 * 341), "{:#?}", report.findings);
    let text = std::fs::read_to_string(&state).unwrap();
    assert_eq!(text.lines().count(), 1 + good.world.objects.len(), "{text}");
    // torn after three objects, and a fourth is altered: it is found, the known ones count
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&state, format!("{}\n{}", lines[..4].join("\n"), &lines[4][..7])).unwrap();
    let report = good.with(&options, |dir| put(dir, lines[4].rsplit(' ').next().unwrap(), b"PAR1"));
    assert!(codes(&report).contains(&"T28") && report.rows < 3 * 341);
    let report = good.with(&options, |_| {});
    assert_eq!((report.exit_code, report.rows), (0, 3 * 341));
    // another head: nothing of it counts
    let report = good.with(&options, |dir| {
        let entries = good.entries();
        good.write_log(dir, &entries[..entries.len() - 1]);
        put(dir, lines[1].rsplit(' ').next().unwrap(), b"PAR1");
    });
    assert!(codes(&report).contains(&"T28"));
    let since = Options { since_ms: Some(START_MS + 5000 * 9), ..good.options() };
    let report = good.with(&since, |_| {});
    assert_eq!(report.exit_code, 0, "{:#?}", report.findings);
    assert!(report.rows < 100 && report.notes.iter().any(|note| note.contains("3 objects")), "{report:#?}");
}

/// Any one byte changed in any object is reported. `SEALTRAIL_ATTACK_STEP` is the distance of the bytes tried (1 is all).
#[test]
fn any_byte_changed_in_any_object_is_reported() {
    let mut good = GOOD.clone();
    // a small archive of the same kind: its one long batch made short would need other seals, so files are sampled
    good.policy.retention_days = 0;
    let step: usize = std::env::var("SEALTRAIL_ATTACK_STEP").ok().and_then(|text| text.parse().ok()).unwrap_or(4001);
    let dir = tempfile::tempdir().unwrap();
    good.write(dir.path());
    let archive = Archive::open(dir.path().to_str().unwrap()).unwrap();
    let (mut tried, mut position, mut silent) = (0, 0, Vec::new());
    for name in archive.list("").unwrap() {
        let bytes = std::fs::read(dir.path().join(&name)).unwrap();
        for at in 0..bytes.len() {
            position += 1;
            if position % step != 0 && !(step > 1 && at == bytes.len() / 2) {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            put(dir.path(), &name, &changed);
            let report = verify(&archive, &good.options(), &|_| {});
            if report.is_ok_and(|report| report.findings.is_empty()) {
                silent.push(format!("{name} byte {at}"));
            }
            tried += 1;
        }
        put(dir.path(), &name, &bytes);
    }
    println!("bytes_changed={tried} reported={}", tried - silent.len());
    assert!(silent.is_empty() && tried > 20, "{silent:?}");
}
