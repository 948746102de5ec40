//! The proxy between real clients and a real server: what passes, what is refused, and what the audit then holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "support/world.rs"]
mod world;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ingest_proxy::config::{TargetConfig, TargetTls};
use ingest_proxy::protocol::postgres::message::build;
use ingest_proxy::tap::Guarantee;
use schemas::v1::{FrameKind, SessionState};
use serde_json::json;
use stage::Level;
use testkit::postgres::PASSWORD;
use world::{Raw, Trail, World, postgres};

#[test]
fn psql_works_over_verified_tls_and_the_audit_holds_every_statement() {
    let world = World::start(|config| config.capture.guarantee = Guarantee::Journaled);
    let token = world.issuer.token(|_, _| ());
    let run = |sql: &[&str]| {
        let mut psql = world.psql("crm", &token);
        psql.args(["-A", "-t", "-q"]);
        for sql in sql {
            psql.args(["-c", sql]);
        }
        psql.output().unwrap()
    };
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let shown = run(&["select 40 + 2", "select 'a'; select 'b'", "create temp table t (id int, name text)"]);
    assert_eq!(text(&shown), "42\na\nb\n", "{}", String::from_utf8_lossy(&shown.stderr));
    let failed = run(&["select 1/0"]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("division by zero"));
    // COPY both ways, in one session.
    let script = "create temp table t (id int, name text);\ncopy t from stdin;\n1\tada\n2\tbob\n\\.\n\
                  copy (select * from t order by id) to stdout;\n";
    let file = world.folder.write("copy.sql", script).unwrap();
    let copied = world.psql("crm", &token).args(["-A", "-t", "-q", "-f"]).arg(file).output().unwrap();
    assert_eq!(text(&copied), "1\tada\n2\tbob\n", "{}", String::from_utf8_lossy(&copied.stderr));
    let big = run(&["select repeat('x', 8388608)"]);
    assert_eq!(big.stdout.len(), (8 << 20) + 1, "{}", String::from_utf8_lossy(&big.stderr));
    // `target/database`, and a database that is not there: the target's own word.
    assert_eq!(
        text(&world.psql("crm/template1", &token).args(["-Atc", "select current_database()"]).output().unwrap()),
        "template1\n"
    );
    let absent = world.psql("crm/absent", &token).args(["-c", "select 1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&absent.stderr).contains("target \"crm\": database \"absent\" does not exist"));

    let trails = world.stop_and_read(&[&token, PASSWORD]);
    assert_eq!(trails.len(), 6);
    trails.iter().for_each(Trail::check_closed);
    let statements: Vec<String> = trails.iter().flat_map(Trail::statements).collect();
    for statement in ["select 40 + 2", "select 'a'", "select 1/0", "copy t from stdin", "select repeat('x', 8388608)"] {
        assert!(
            statements.iter().any(|found| found.trim().trim_end_matches(';') == statement),
            "{statement}: {statements:?}"
        );
    }
    let contexts = || trails.iter().map(|trail| &trail.session.context);
    assert!(contexts().all(|context| context.principal.email == "ada@example.test" && context.target.name == "crm"));
    assert!(contexts().all(|context| context.client_ip == "127.0.0.1" && context.application == "psql"));
    // Rows of 8 MiB lie in chunks; the copied lines and the error are there, encrypted.
    let copied: Vec<u8> = trails.iter().flat_map(|trail| trail.messages("CopyData")).flatten().collect();
    assert_eq!(String::from_utf8_lossy(&copied).matches("1\tada\n2\tbob\n").count(), 2);
    let row: usize = trails.iter().flat_map(|trail| trail.messages("DataRow")).map(|chunk| chunk.len()).max().unwrap();
    assert_eq!(row, 64 * 1024);
    let failed = trails.iter().flat_map(|trail| &trail.frames).filter(|frame| frame.kind == FrameKind::Command);
    assert!(failed.filter_map(|frame| frame.facts.as_ref()).any(|facts| facts.error_code == "22012"));
}

#[test]
fn every_refusal_has_its_sqlstate_and_its_record_and_the_target_sees_nothing() {
    let world = World::start(|config| config.allow_cleartext_password = true);
    let issuer = &world.issuer;
    let now = stage::clock::now_us() / 1_000_000;
    let good = issuer.token(|_, _| ());
    let forged = {
        let other = world::Issuer::start();
        other.token(|_, claims| claims["iss"] = json!(issuer.url))
    };
    let expired = issuer.token(|_, claims| claims["exp"] = json!(now - 100));
    let unsigned = issuer.token(|header, _| header["alg"] = json!("none"));
    let outsider = issuer.token(|_, claims| claims["groups"] = json!(["guests"]));
    let db = |name: &'static str| vec![("user", "ada"), ("database", name)];
    let replication = vec![("user", "ada"), ("database", "crm"), ("replication", "database")];
    let cases = [
        ("not a token", "hunter2".to_owned(), db("crm"), "28P01", "token_malformed"),
        ("forged", forged.clone(), db("crm"), "28P01", "token_signature"),
        ("expired", expired.clone(), db("crm"), "28P01", "token_expired"),
        ("unsigned", unsigned.clone(), db("crm"), "28P01", "token_algorithm"),
        ("wrong group", outsider.clone(), db("crm"), "28000", "policy_group"),
        ("unknown target", good.clone(), db("hr"), "3D000", "target_unknown"),
        ("replication", good.clone(), replication, "28000", "policy_replication"),
        ("no user", good.clone(), vec![("database", "crm")], "28000", "startup_no_user"),
    ];
    for (name, token, parameters, sqlstate, reason) in &cases {
        let error = Raw::login(world.address(), parameters, token).err().unwrap_or_else(|| panic!("{name} let in"));
        assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", *sqlstate), "{name}: {error:?}");
        assert_eq!(&error.detail, reason, "{name}: {error:?}");
        assert!(!error.message.contains(token.as_str()), "{name}: {error:?}");
    }
    let trails = world.stop_and_read(&[&good, &forged, &expired, &unsigned, &outsider]);
    let mut reasons: Vec<String> = trails.iter().map(Trail::refused).collect();
    let mut expected: Vec<&str> = cases.iter().map(|case| case.4).collect();
    reasons.sort();
    expected.sort_unstable();
    assert_eq!(reasons, expected);
}

#[test]
fn tokens_are_taken_over_tls_only_and_first_bytes_must_be_the_protocol() {
    let world = World::start(|_| ());
    let token = world.issuer.token(|_, _| ());
    let error = Raw::login(world.address(), &[("user", "ada"), ("database", "crm")], &token).err().unwrap();
    assert_eq!((error.code.as_str(), error.detail.as_str()), ("28000", "tls_required"));
    let wrong_host =
        format!("postgresql://ada@localhost:{}/crm?sslmode=verify-full&sslrootcert=system", world.address().port());
    let psql = postgres().psql_at(&wrong_host).env("PGPASSWORD", &token).args(["-c", "select 1"]).output().unwrap();
    assert!(!psql.status.success(), "an authority that did not sign is not trusted by the client");
    let ask = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        answer
    };
    let (mut ssl, mut plain) = (Vec::new(), Vec::new());
    build::ssl_request(&mut ssl);
    build::startup_message(&mut plain, 0, &[("user", "ada")]);
    let injected = ask(&[ssl.clone(), plain].concat());
    assert!(injected.starts_with(b"E") && injected.windows(11).any(|part| part == b"unencrypted"), "{injected:?}");
    let gss = [0, 0, 0, 8, 4, 210, 22, 48];
    let twice = ask(&[gss, gss, gss, gss].concat());
    assert!(twice.starts_with(b"NNN"), "{twice:?}");
    for bad in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 4], &[255; 8]] {
        let answer = ask(bad);
        assert!(answer.starts_with(b"E") && answer.windows(5).any(|part| part == b"08P01"), "{answer:?}");
    }
    let old = ask(&[0, 0, 0, 9, 0, 2, 0, 0, 0]);
    assert!(old.windows(5).any(|part| part == b"0A000"), "{old:?}");
    // TLS without SSLRequest and without the protocol's name is no Postgres client.
    let address = world.address().to_string();
    let direct = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &address, "-quiet"]).args(arguments).stdin(Stdio::null());
        openssl.output().unwrap()
    };
    direct(&[]);
    assert!(world.proxy().metrics().malformed >= 6, "{:?}", world.proxy().metrics());
    let trails = world.stop_and_read(&[&token]);
    assert_eq!(trails.iter().map(Trail::refused).collect::<Vec<_>>(), ["tls_required"]);
}

#[test]
fn a_target_that_is_down_or_refuses_us_is_named_and_recorded() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::start(|config| {
        config.allow_cleartext_password = true;
        let crm = config.targets["crm"].clone();
        let down = TargetConfig { address: closed.to_string(), ..crm.clone() };
        let denied = TargetConfig { password: None, ..crm.clone() };
        let stranger = TargetConfig { tls_authority: config.tls_certificate.clone(), ..crm.clone() };
        let clear = TargetConfig { tls: TargetTls::Disable, ..crm.clone() };
        let require = TargetConfig { tls: TargetTls::Require, tls_authority: None, ..crm };
        let all = [("down", down), ("denied", denied), ("stranger", stranger), ("clear", clear), ("require", require)];
        config.targets.extend(all.map(|(name, target)| (name.to_owned(), target)));
    });
    let token = world.issuer.token(|_, _| ());
    for (name, sqlstate) in [("down", "08001"), ("denied", "08006"), ("stranger", "08006"), ("crm/absent", "3D000")] {
        let error = Raw::login(world.address(), &[("user", "ada"), ("database", name)], &token).err().unwrap();
        assert_eq!(error.code, sqlstate, "{name}: {error:?}");
        assert!(error.message.contains(name.split('/').next().unwrap()), "{name}: {error:?}");
    }
    for name in ["clear", "require"] {
        let mut raw = Raw::login(world.address(), &[("user", "ada"), ("database", name)], &token).unwrap();
        assert_eq!(raw.query("select 7"), ["7"], "{name}");
    }
    let trails = world.stop_and_read(&[&token, PASSWORD]);
    trails.iter().for_each(Trail::check_closed);
    let mut reasons: Vec<String> = trails.iter().map(|trail| trail.last_reason().to_owned()).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        ["client_gone", "client_gone", "target_login", "target_refused", "target_tls", "target_unreachable"]
    );
}

#[test]
fn a_cancel_reaches_the_statement_of_its_session_and_is_recorded() {
    let world = World::start(|config| config.allow_cleartext_password = true);
    let token = world.issuer.token(|_, _| ());
    for minor in [0, 2] {
        let parameters = [("user", "ada"), ("database", "crm")];
        let mut raw = Raw::login_minor(world.address(), minor, &parameters, &token).unwrap();
        assert_eq!(raw.key.len(), if minor == 2 { 32 } else { 4 });
        raw.send_query("select pg_sleep(60)");
        let asleep = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'";
        testkit::wait::becomes("sleeps", Duration::from_secs(10), &"1\n".to_owned(), || {
            postgres().psql("postgres", asleep)
        })
        .unwrap();
        let cancel = |key: &[u8]| {
            let mut packet = Vec::new();
            build::cancel_request(&mut packet, raw.process, key);
            let mut stream = TcpStream::connect(world.address()).unwrap();
            stream.write_all(&packet).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        };
        cancel(&vec![0; raw.key.len()]);
        let started = Instant::now();
        cancel(&raw.key);
        let error = raw.result().err().unwrap();
        assert_eq!(error.code, "57014");
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(raw.query("select 1"), ["1"], "the session goes on");
    }
    assert_eq!(world.proxy().metrics().cancels, 2);
    let trails = world.stop_and_read(&[&token]);
    for trail in &trails {
        trail.check_closed();
        let cancels = trail.frames.iter().filter(|frame| frame.message_type == "CancelRequest").count();
        assert_eq!(cancels, 1);
    }
    assert_eq!(trails.len(), 2);
}

#[test]
fn a_stopped_client_stops_nobody_else() {
    let world = World::start(|_| ());
    let token = world.issuer.token(|_, _| ());
    let mut psql = world.psql("crm", &token);
    psql.args(["-Atc", "select repeat('y', 4000) from generate_series(1, 20000)"]).stdout(Stdio::piped());
    let mut stopped = psql.spawn().unwrap();
    let mut pipe = stopped.stdout.take().unwrap();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &stopped.id().to_string()]).status().unwrap().success());
    };
    // Its process is stopped while rows wait for it in every buffer on the way.
    std::thread::sleep(Duration::from_millis(300));
    signal("-STOP");
    for _ in 0..3 {
        let started = Instant::now();
        let shown = world.psql("crm", &token).args(["-Atc", "select 1"]).output().unwrap();
        assert_eq!(shown.stdout, b"1\n", "{}", String::from_utf8_lossy(&shown.stderr));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    signal("-CONT");
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match pipe.read(&mut buffer).unwrap() {
            0 => break,
            read => bytes += read,
        }
    }
    assert!(stopped.wait().unwrap().success());
    assert_eq!(bytes, 20_000 * 4001);
    let trails = world.stop_and_read(&[&token]);
    trails.iter().for_each(Trail::check_closed);
    let rows = |trail: &Trail| trail.frames.iter().filter(|frame| frame.message_type == "DataRow").count();
    assert_eq!(trails.iter().map(rows).max(), Some(20_000));
}

#[test]
fn draining_ends_idle_sessions_lets_busy_ones_finish_and_takes_no_more() {
    let world = World::start(|config| {
        config.allow_cleartext_password = true;
        config.drain_ms = 30_000;
    });
    let token = world.issuer.token(|_, _| ());
    let parameters = [("user", "ada"), ("database", "crm")];
    let mut idle = Raw::login(world.address(), &parameters, &token).unwrap();
    let mut busy = Raw::login(world.address(), &parameters, &token).unwrap();
    busy.send_query("select pg_sleep(1.5), 'done'");
    world.raise(Level::Drain);
    let error = idle.result().err().unwrap();
    assert_eq!((error.code.as_str(), error.detail.as_str()), ("57P01", "proxy_shutdown"));
    assert!(TcpStream::connect(world.address()).is_err(), "no new connections");
    assert_eq!(busy.result().unwrap(), ["", "done"]);
    assert_eq!(busy.result().err().unwrap().code, "57P01", "idle now");
    let trails = world.stop_and_read(&[&token]);
    assert_eq!(trails.iter().map(Trail::last_reason).collect::<Vec<_>>(), ["proxy_shutdown", "proxy_shutdown"]);
    trails.iter().for_each(Trail::check_closed);
}

#[test]
fn limits_of_process_and_principal_hold() {
    let world = World::start(|config| {
        config.allow_cleartext_password = true;
        config.sessions_max = 3;
        config.sessions_per_principal_max = 2;
    });
    let token = world.issuer.token(|_, _| ());
    let other = world.issuer.token(|_, claims| claims["sub"] = json!("u-2"));
    let parameters = [("user", "ada"), ("database", "crm")];
    let login = |token: &str| Raw::login(world.address(), &parameters, token);
    let _first = login(&token).unwrap();
    let second = login(&token).unwrap();
    let refused = login(&token).err().unwrap();
    assert_eq!((refused.code.as_str(), refused.detail.as_str()), ("53300", "sessions_per_principal"));
    let third = testkit::wait::eventually("room", Duration::from_secs(5), || Ok(login(&other).ok())).unwrap();
    let full = login(&other).err().unwrap();
    assert_eq!((full.code.as_str(), full.detail.as_str()), ("53300", "sessions_of_process"));
    drop((second, third));
    let again = testkit::wait::eventually("room", Duration::from_secs(5), || Ok(login(&token).ok())).unwrap();
    drop(again);
    assert!(world.stop_and_read(&[&token, &other]).iter().all(|trail| trail.session.state != SessionState::Unknown));
}

/// P46: strangers that say nothing keep nobody out, and are ended when there are too many.
#[test]
fn silent_connections_keep_nobody_out() {
    let world = World::start(|config| {
        config.allow_cleartext_password = true;
        config.sessions_max = 2;
        config.handshakes_max = 5;
    });
    let token = world.issuer.token(|_, _| ());
    let mut silent: Vec<_> = (0..40).map(|_| TcpStream::connect(world.address()).unwrap()).collect();
    let parameters = [("user", "ada"), ("database", "crm")];
    let session = Raw::login(world.address(), &parameters, &token).unwrap();
    let first = silent.first_mut().unwrap();
    first.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(std::io::Read::read(first, &mut [0; 1]).unwrap(), 0, "the oldest was ended");
    assert!(world.proxy().metrics().handshakes_evicted >= 35);
    drop((session, silent));
    assert!(world.stop_and_read(&[&token]).iter().all(|trail| trail.session.state != SessionState::Unknown));
}

/// Rates of `pgbench -S`, directly and through the proxy. Run in release: `cargo test --release -p ingest-proxy --test
/// proxy_postgres -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_pgbench() {
    let server = testkit::postgres::Postgres::start(&testkit::postgres::Options::bench()).unwrap();
    let pgbench = server.program("pgbench");
    let prepared = Command::new(&pgbench).args(["-i", "-q", "-s", "10", &server.url("postgres", "require")]).output();
    assert!(prepared.unwrap().status.success());
    let rate = |url: &str, token: &str, clients: u32| {
        let mut command = Command::new(&pgbench);
        command.args(["-S", "-n", "-M", "prepared", "-j", "1", "-T", "5", "-c", &clients.to_string(), url]);
        let output = command.env("PGPASSWORD", token).output().unwrap();
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        format!("{} | {} {}", line("latency average"), line("tps"), String::from_utf8_lossy(&output.stderr))
    };
    for clients in [1, 50] {
        eprintln!("{clients} clients, direct: {}", rate(&server.url("postgres", "require"), PASSWORD, clients));
    }
    for guarantee in [Guarantee::Buffered, Guarantee::Journaled] {
        let world = World::before(&server, |config| config.capture.guarantee = guarantee);
        let token = world.issuer.token(|_, _| ());
        for clients in [1, 50] {
            eprintln!("{clients} clients, {}: {}", guarantee.as_str(), rate(&world.url("crm"), &token, clients));
        }
        eprintln!("records {:?}", world.proxy().records());
        world.stop();
    }
}
