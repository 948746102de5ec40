//! Keys in a real OpenBao: a token that may only sign, rotation with and without the right to make keys, erasure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::path::{Path, PathBuf};

use sealer::integrate::Trust;
use sealer::notary::{LogStore as _, Notary, Setup};
use sealer::signer::{Keyring, SignerError, TransitKeyring};
use sealer::witness::NoWitness;
use serde_json::{Value, json};
use support::{Line, Memory, ORIGIN, feed, streams};
use testkit::openbao::{OpenBao, ROOT_TOKEN};
use tlog::{Checkpoint, checkpoint_path};

/// A call with the root token; the status and the answer.
fn call(bao: &OpenBao, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let url = format!("{}/v1/{path}", bao.address());
    let mut answer = if method == "GET" {
        agent.get(&url).header("X-Vault-Token", ROOT_TOKEN).call().unwrap()
    } else {
        agent.post(&url).header("X-Vault-Token", ROOT_TOKEN).send(body.to_string()).unwrap()
    };
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// A token under `rules`, in a file.
fn token(bao: &OpenBao, folder: &Path, name: &str, rules: &str) -> PathBuf {
    let (status, _) = call(bao, "POST", &format!("sys/policies/acl/{name}"), &json!({ "policy": rules }));
    assert!(status < 300, "policy: {status}");
    let (status, answer) = call(bao, "POST", "auth/token/create", &json!({ "policies": [name], "ttl": "1h" }));
    assert_eq!(status, 200);
    let path = folder.join(name);
    std::fs::write(&path, answer["auth"]["client_token"].as_str().unwrap()).unwrap();
    path
}

const SIGN: &str = r#"path "transit/sign/notary-*" { capabilities = ["update"] }
path "transit/keys/notary-*" { capabilities = ["read"] }"#;
const MANAGE: &str = r#"path "transit/keys/notary-*" { capabilities = ["create", "read", "update", "delete"] }"#;

fn keyring(bao: &OpenBao, token: &Path, manage: Option<&Path>) -> TransitKeyring {
    TransitKeyring::new(bao.address(), "transit", "notary", ORIGIN, token.to_owned(), manage.map(Path::to_owned))
}

fn open(store: &Memory, folder: &Path, keys: TransitKeyring) -> Notary {
    Notary::open(Setup {
        origin: ORIGIN.into(),
        streams: streams(3),
        trust: Trust::default(),
        first_key: None,
        store: Box::new(store.clone()),
        keys: Box::new(keys),
        cosigner: Box::new(NoWitness),
        state_folder: folder.to_owned(),
        proposals_end: i64::MAX,
    })
    .unwrap()
}

#[test]
fn a_log_is_signed_and_rotated_by_keys_that_never_leave_the_server() {
    let bao = OpenBao::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(call(&bao, "POST", "sys/mounts/transit", &json!({ "type": "transit" })).0 < 300);
    let sign = token(&bao, folder, "sign", SIGN);
    let keys = keyring(&bao, &sign, None);
    assert!(matches!(keys.open(0), Err(SignerError::Missing(name)) if name == "notary-0"));
    // the token that signs may make no key, export none and delete none
    let refused = keyring(&bao, &sign, Some(&sign)).make(0).err().unwrap();
    assert!(
        matches!(&refused, SignerError::Service { retriable: false, reason, .. } if reason.contains("403")),
        "{refused}"
    );
    assert!(call(&bao, "POST", "transit/keys/notary-0", &json!({ "type": "ed25519" })).0 < 300);
    assert!(keyring(&bao, &sign, Some(&sign)).erase(0).is_err());

    let store = Memory::default();
    let mut line = Line::new(3);
    let mut proposals = line.seals(4);
    let mut notary = open(&store, folder, keys.clone());
    feed(&mut notary, &proposals, 2).unwrap();
    let first = keys.open(0).unwrap().verifier_key().clone();
    // the next key is not there: rotation waits, the log goes on
    assert!(notary.rotation().is_err());
    proposals.push(line.seal(0));
    feed(&mut notary, &proposals, 1).unwrap();
    assert_eq!(notary.lock().size, 5);
    drop(notary);

    let manage = token(&bao, folder, "manage", MANAGE);
    let mut notary = open(&store, folder, keyring(&bao, &sign, Some(&manage)));
    proposals.push(notary.rotation().unwrap());
    feed(&mut notary, &proposals, 1).unwrap();
    let second = keys.open(1).unwrap().verifier_key().clone();
    let note = store.read(&checkpoint_path(6)).unwrap().unwrap();
    let opened = Checkpoint::open(&note, ORIGIN, &[first.clone(), second.clone()]).unwrap();
    assert!(opened.verified.is_by(&first) && opened.verified.is_by(&second), "the closing checkpoint");
    assert_eq!(call(&bao, "GET", "transit/keys/notary-0", &Value::Null).0, 404, "the old secret is gone");
    proposals.push(line.seal(1));
    feed(&mut notary, &proposals, 1).unwrap();
    let (size, text) = (notary.lock().size, store.text("checkpoint").unwrap());
    assert_eq!(size, 7);
    assert!(Checkpoint::open(text.as_bytes(), ORIGIN, &[second]).is_ok());
    let error = keyring(&bao, &folder.join("manage"), None).open(1).map(|signer| signer.sign(b"x").is_err());
    assert!(error.unwrap(), "the token that manages keys may not sign");
    // no error shows the token
    std::fs::write(&sign, "s.wrong-token").unwrap();
    let error = keys.open(1).err().unwrap();
    assert!(!format!("{error:?} {error}").contains("wrong-token"), "{error:?}");
}
