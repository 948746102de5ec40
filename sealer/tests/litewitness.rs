//! The witness client against litewitness, which we did not write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::time::Duration;

use sealer::notary::LogStore as _;
use sealer::signer::{FileKeyring, Keyring as _};
use sealer::witness::client::{Patience, Witnesses};
use support::{Line, Memory, ORIGIN, Opening, feed};
use testkit::litewitness::Litewitness;
use tlog::{Checkpoint, VerifierKey, WitnessPolicy, checkpoint_path};

#[test]
fn litewitness_follows_the_log_across_a_rotation_and_its_own_unknown_keys() {
    let witness = Litewitness::start("witness.test/w1").unwrap();
    let text = format!("witness w1 {} {}\nquorum w1\n", witness.vkey(), witness.url());
    let policy = WitnessPolicy::parse(&text).unwrap();
    let patience = Patience { timeout: Duration::from_secs(10), extra: Duration::from_secs(1), required: true };
    let (store, folder) = (Memory::default(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let cosigner = Witnesses::new(policy.clone(), patience);
    let mut notary = Opening { cosigner: Some(Box::new(cosigner)), ..Opening::default() }.open(&store, folder).unwrap();
    let key = |epoch| FileKeyring::new(&folder.join("log.key"), ORIGIN).open(epoch).unwrap().verifier_key().clone();
    let first = key(0);
    witness.add_key(ORIGIN, &first.to_string()).unwrap();
    let mut line = Line::new(3);
    let mut proposals = line.seals(600);
    feed(&mut notary, &proposals, 90).unwrap();
    let cosigned = |size: u64, log: &VerifierKey| {
        let keys: Vec<_> = policy.keys().chain([log]).cloned().collect();
        let opened = Checkpoint::open(&store.read(&checkpoint_path(size)).unwrap().unwrap(), ORIGIN, &keys).unwrap();
        policy.is_met(&opened.verified)
    };
    let mut heads = 0;
    for size in [90, 180, 540, 600] {
        assert!(cosigned(size, &first), "size {size}");
        heads += 1;
    }
    // the closing checkpoint carries the key it knows; the next head does not, until it is told
    proposals.push(notary.rotation().unwrap());
    feed(&mut notary, &proposals, 1).unwrap();
    assert!(cosigned(601, &first), "closing checkpoint, by the key that litewitness knows");
    proposals.push(line.seal(0));
    assert!(feed(&mut notary, &proposals, 1).is_err(), "an unknown key is refused, and nothing is published");
    assert_eq!(notary.published().0, 601);
    let second = key(1);
    witness.add_key(ORIGIN, &second.to_string()).unwrap();
    notary.publish().unwrap();
    assert!(cosigned(602, &second));
    // a new client does not know what the witness has seen: it is told (409), and proves from there
    drop(notary);
    let cosigner = Witnesses::new(policy.clone(), patience);
    let mut notary = Opening { cosigner: Some(Box::new(cosigner)), ..Opening::default() }.open(&store, folder).unwrap();
    proposals.push(line.seal(1));
    feed(&mut notary, &proposals, 1).unwrap();
    assert!(cosigned(603, &second));
    println!("litewitness cosigned {} heads, one of them closing an epoch", heads + 3);
}
