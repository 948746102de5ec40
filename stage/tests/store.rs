//! The store on a folder and on S3 with Object Lock: create-only, locked, refused when unlocked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]
//! The object store on a folder and on a real S3 server with Object Lock.

use stage::config::SecretSource;
use stage::store::{LockMode, PutOutcome, Store, StoreConfig, StoreErrorKind};

fn basics(store: &Store) {
    assert_eq!(store.put_create("a/b/one", b"first", true).unwrap(), PutOutcome::Created);
    assert_eq!(store.put_create("a/b/one", b"second", true).unwrap(), PutOutcome::Exists);
    assert_eq!(store.get("a/b/one").unwrap().unwrap(), b"first");
    assert_eq!(store.get_range("a/b/one", 1..4).unwrap().unwrap(), b"irs");
    assert_eq!(store.size("a/b/one").unwrap(), Some(5));
    assert_eq!((store.get("a/none").unwrap(), store.size("a/none").unwrap()), (None, None));
    store.put_replace("a/head", b"1").unwrap();
    store.put_replace("a/head", b"2").unwrap();
    assert_eq!(store.get("a/head").unwrap().unwrap(), b"2");
    assert_eq!(store.put_create("c", b"x", false).unwrap(), PutOutcome::Created);
    assert_eq!(store.list("a").unwrap(), ["a/b/one", "a/head"]);
    assert_eq!(store.list("none").unwrap(), Vec::<String>::new());
    let error = store.put_create("../x", b"", false).unwrap_err();
    assert_eq!((error.operation, error.kind), ("create", StoreErrorKind::Config));
}

#[test]
fn a_folder_keeps_what_is_put() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().join("store").display());
    let store = Store::open(&StoreConfig { url, ..StoreConfig::default() }).unwrap();
    store.check_lock().unwrap();
    basics(&store);
    let file = folder.path().join("store/a/b/one");
    assert!(std::fs::metadata(file).unwrap().permissions().readonly(), "evidence is read-only");
    let wrong = Store::open(&StoreConfig { url: "ftp://x".into(), ..StoreConfig::default() }).unwrap_err();
    assert_eq!(wrong.kind, StoreErrorKind::Config);
}

#[test]
fn s3_locks_what_is_put() {
    let server = testkit::s3::S3::start().unwrap();
    for (bucket, lock) in [("locked", true), ("plain", false)] {
        server.create_bucket(bucket, lock).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(SecretSource::File(folder.path().join(name)))
    };
    let admin = server.admin();
    let config = StoreConfig {
        url: "s3://locked/some/prefix".into(),
        endpoint: server.endpoint(),
        region: server.region().into(),
        access_key_id: secret("id", admin.access_key),
        secret_access_key: secret("secret", admin.secret_key),
        allow_http: true,
        ca_file: None,
        lock_mode: LockMode::Compliance,
        lock_days: 1,
        allow_unlocked: false,
    };
    let store = Store::open(&config).unwrap();
    store.check_lock().unwrap();
    basics(&store);
    assert!(!format!("{store:?}").contains(admin.secret_key));
    // the version is locked, for the administrator too
    let head = server.request(admin, "HEAD", "/locked/some/prefix/a/b/one", &[], b"").unwrap();
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    let version = head.header("x-amz-version-id").unwrap().to_owned();
    let delete = |key: &str, version: &str| server.delete(admin, "locked", key, Some(version)).unwrap();
    assert_eq!(delete("some/prefix/a/b/one", &version).status, 403);
    // an object that is not evidence is not
    let head = server.request(admin, "HEAD", "/locked/some/prefix/c", &[], b"").unwrap();
    assert_eq!(head.header("x-amz-object-lock-mode"), None);

    // the same over TLS: with its authority, and refused without
    let endpoint = server.https_endpoint().unwrap();
    let tls = StoreConfig {
        url: "s3://locked/tls".into(),
        endpoint,
        allow_http: false,
        ca_file: Some(server.ca_file()),
        ..config.clone()
    };
    let store = Store::open(&tls).unwrap();
    store.check_lock().unwrap();
    basics(&store);
    let error = Store::open(&StoreConfig { ca_file: None, ..tls.clone() }).unwrap().check_lock().unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Retriable, "{error}");
    let none = StoreConfig { ca_file: Some(folder.path().join("none.pem")), ..tls.clone() };
    assert_eq!(Store::open(&none).unwrap_err().kind, StoreErrorKind::Config);
    let insecure = StoreConfig { endpoint: server.endpoint(), ..tls };
    assert!(Store::open(&insecure).is_err() || Store::open(&insecure).unwrap().check_lock().is_err());

    let plain = StoreConfig { url: "s3://plain".into(), ..config.clone() };
    let error = Store::open(&plain).unwrap().check_lock().unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Config, "{error}");
    let open = StoreConfig { lock_mode: LockMode::None, ..plain };
    assert!(Store::open(&open).unwrap().check_lock().is_err());
    Store::open(&StoreConfig { allow_unlocked: true, ..open }).unwrap().check_lock().unwrap();

    let stranger = StoreConfig { secret_access_key: secret("wrong", "not the secret"), ..config };
    let error = Store::open(&stranger).unwrap().put_create("d", b"", true).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
}
