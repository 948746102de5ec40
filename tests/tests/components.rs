//! Every component the other suites stand on is really there and really does its job: one use of each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use serde_json::{Value, json};
use testkit::kafka::{Kafka, Options as KafkaOptions};
use testkit::oidc::{Mint, Oidc, Options as OidcOptions};
use testkit::pgbouncer::{Options as PgBouncerOptions, PgBouncer};
use testkit::postgres::{Options as PostgresOptions, PASSWORD, Postgres, USER};
use testkit::registry::Registry;
use testkit::s3::{S3, elements};
use testkit::{duckdb, node, process, python};

/// Produces the given values with acks=all, then reads the topic to its end and prints the values.
const PRODUCE_AND_READ: &str = r"
import sys, uuid
from confluent_kafka import Consumer, Producer
bootstrap, topic, values = sys.argv[1], sys.argv[2], sys.argv[3:]
failed = []
producer = Producer({'bootstrap.servers': bootstrap, 'acks': 'all'})
for value in values:
    producer.produce(topic, value.encode(), callback=lambda error, message: failed.append(error) if error else None)
assert producer.flush(60) == 0 and not failed, failed
consumer = Consumer({'bootstrap.servers': bootstrap, 'group.id': uuid.uuid4().hex, 'auto.offset.reset': 'earliest',
                     'enable.partition.eof': True})
consumer.subscribe([topic])
while True:
    message = consumer.poll(60)
    assert message is not None, 'nothing within 60 s'
    if message.error():
        break
    print(message.value().decode())
consumer.close()
";

#[test]
fn kafka_takes_and_gives_records_and_survives_a_kill() {
    let mut kafka = Kafka::one().unwrap();
    kafka.create_topic("smoke", 1, &[("cleanup.policy", "delete")]).unwrap();
    let again = kafka.create_topic("smoke", 1, &[]).unwrap_err();
    assert!(again.to_string().contains("already exists"), "{again}");
    assert_eq!(python::run(PRODUCE_AND_READ, &[&kafka.bootstrap(), "smoke", "one", "two"]).unwrap(), "one\ntwo\n");
    let before = kafka.pid(0).unwrap();
    kafka.kill9(0).unwrap();
    kafka.restart(0).unwrap();
    assert_ne!(kafka.pid(0).unwrap(), before);
    assert_eq!(python::run(PRODUCE_AND_READ, &[&kafka.bootstrap(), "smoke", "three"]).unwrap(), "one\ntwo\nthree\n");
}

#[test]
fn three_kafka_nodes_go_on_without_one() {
    let mut kafka = Kafka::start(&KafkaOptions { nodes: 3, ..KafkaOptions::default() }).unwrap();
    kafka.create_topic("three", 3, &[]).unwrap();
    kafka.kill9(1).unwrap();
    let read = python::run(PRODUCE_AND_READ, &[&kafka.bootstrap(), "three", "alive"]);
    // The end of an empty partition may come first: what counts is that the write was acknowledged by two of three.
    read.unwrap();
    kafka.restart(1).unwrap();
}

#[test]
fn registry_gives_a_schema_an_id_and_refuses_a_break() {
    let registry = Registry::start().unwrap();
    registry.set_compatibility("BACKWARD").unwrap();
    let schema = |fields: Value| json!({"type": "record", "name": "Smoke", "fields": fields}).to_string();
    let first = schema(json!([{"name": "id", "type": "string"}]));
    let id = registry.register("smoke-value", &first).unwrap();
    assert_eq!(registry.register("smoke-value", &first).unwrap(), id);
    let back: Value = serde_json::from_str(&registry.schema(id).unwrap()).unwrap();
    assert_eq!(back["fields"][0]["name"], "id");
    let breaking = schema(json!([{"name": "id", "type": "string"}, {"name": "must", "type": "string"}]));
    assert!(registry.register("smoke-value", &breaking).unwrap_err().to_string().contains("409"));
}

#[test]
fn postgres_answers_over_tls_and_its_log_is_a_witness() {
    let mut postgres = Postgres::start(&PostgresOptions::default()).unwrap();
    let url = postgres.url("postgres", "verify-full");
    let sql = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
    let answer = process::run_text(postgres.psql_at(&url).args(["-At", "-c", sql])).unwrap();
    assert_eq!(answer.trim(), "t|TLSv1.3");
    let log = postgres.statement_log().unwrap();
    assert!(log.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(sql))), "{log:?}");
    let wrong = url.replace(PASSWORD, "wrong");
    let refused = process::run(&mut postgres.psql_at(&wrong)).unwrap_err();
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");

    postgres.psql("postgres", "create table kept(n int); insert into kept values (7)").unwrap();
    postgres.kill9();
    postgres.restart().unwrap();
    assert_eq!(postgres.psql("postgres", "select n from kept").unwrap().trim(), "7");
}

#[test]
fn drivers_in_other_languages_reach_postgres() {
    let postgres = Postgres::start(&PostgresOptions::default()).unwrap();
    let psycopg =
        "import psycopg, sys\nprint(psycopg.connect(sys.argv[1]).execute('select %s::int + 1', [41]).fetchone()[0])";
    assert_eq!(python::run(psycopg, &[&postgres.url("postgres", "verify-full")]).unwrap().trim(), "42");
    let script = r"
import fs from 'node:fs';
import pg from 'pg';
const [host, port, user, password, ca] = process.argv.slice(2);
const client = new pg.Client({ host, port, user, password, database: 'postgres', ssl: { ca: fs.readFileSync(ca), servername: 'localhost' } });
await client.connect();
console.log((await client.query('select $1::int + 1 as n', [41])).rows[0].n);
await client.end();
";
    let (port, ca) = (postgres.port().to_string(), postgres.ca_path().display().to_string());
    assert_eq!(node::run(script, &["127.0.0.1", &port, USER, PASSWORD, &ca]).unwrap().trim(), "42");
}

#[test]
fn pgbouncer_and_pgbench_work() {
    let postgres = Postgres::start(&PostgresOptions::bench()).unwrap();
    let bouncer = PgBouncer::start(&postgres, &PgBouncerOptions::default()).unwrap();
    let run = |arguments: &[&str]| {
        let mut pgbench = std::process::Command::new(postgres.program("pgbench"));
        pgbench.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-U", USER]).args(arguments).arg("postgres");
        process::run_text(&mut pgbench).unwrap()
    };
    run(&["-p", &postgres.port().to_string(), "-i", "-q"]);
    let report = run(&["-p", &bouncer.addr().port().to_string(), "-S", "-n", "-c", "2", "-t", "50"]);
    assert!(report.contains("number of transactions actually processed: 100/100"), "{report}");
}

#[test]
fn s3_keeps_a_locked_object_and_what_it_acknowledged() {
    let mut store = S3::start().unwrap();
    store.create_bucket("audit", true).unwrap();
    store.create_bucket("plain", false).unwrap();
    store.deny_delete("audit").unwrap();
    let (admin, writer, reader) = (store.admin(), store.writer(), store.reader());

    let lock = store.locked_until(3600).unwrap();
    let mut headers: Vec<(&str, &str)> = lock.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.push(("if-none-match", "*"));
    let put = store.put(writer, "audit", "day=1/a", &headers, b"evidence").unwrap().ok().unwrap();
    let version = put.header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(store.put(writer, "audit", "day=1/a", &headers, b"other").unwrap().status, 412);
    assert_eq!(store.delete(admin, "audit", "day=1/a", Some(&version)).unwrap().status, 403);
    assert_eq!(store.delete(writer, "audit", "day=1/a", None).unwrap().status, 403);
    assert_eq!(store.put(reader, "audit", "day=1/b", &[], b"x").unwrap().status, 403);
    assert!(store.put(writer, "plain", "a", &headers[..2], b"x").unwrap().status >= 400, "no lock in a plain bucket");
    store.put(writer, "plain", "a", &[], b"x").unwrap().ok().unwrap();
    assert_eq!(store.delete(writer, "plain", "a", None).unwrap().status, 204);

    store.kill9();
    store.restart().unwrap();
    assert_eq!(store.get(reader, "audit", "day=1/a").unwrap(), b"evidence");
    assert_eq!(store.list("audit", "day=1/").unwrap(), ["day=1/a"]);
    let versions = store.request(admin, "GET", "/audit?versions=", &[], b"").unwrap().ok().unwrap().text();
    assert_eq!(elements(&versions, "VersionId"), [version]);
}

#[test]
fn duckdb_reads_parquet_from_s3() {
    assert_eq!(duckdb::query("select 1 as one, 'ab'::blob as bytes").unwrap(), [json!({"one": 1, "bytes": "6162"})]);
    let store = S3::start().unwrap();
    store.create_bucket("audit", true).unwrap();
    let folder = process::Folder::new("parquet").unwrap();
    let file = folder.join("a.parquet");
    duckdb::query(&format!("copy (select 42 as n) to '{}' (format parquet)", file.display())).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    store.put(store.writer(), "audit", "day=1/a.parquet", &[], &bytes).unwrap().ok().unwrap();
    assert_eq!(
        duckdb::query_s3(&store, "select n, day from read_parquet('s3://audit/*/*.parquet')").unwrap(),
        [json!({"n": 42, "day": 1})]
    );
}

/// Verifies a token as a client library does; prints the subject or the name of the refusal.
const VERIFY: &str = r"
import { createRemoteJWKSet, jwtVerify } from 'jose';
const [jwks, issuer, audience, ...tokens] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(jwks));
for (const token of tokens) {
  try {
    const options = { issuer, audience, algorithms: ['RS256', 'ES256'], requiredClaims: ['exp', 'sub'] };
    console.log((await jwtVerify(token, keys, options)).payload.sub);
  } catch (error) { console.log('refused', error.code); }
}
";

#[test]
fn oidc_logs_people_in_and_its_forgeries_are_forgeries() {
    let oidc = Oidc::start(&OidcOptions::default()).unwrap();
    let verify = |tokens: &[String]| {
        let (jwks, issuer) = (oidc.jwks_url(), oidc.issuer());
        let mut arguments = vec![jwks.as_str(), issuer.as_str(), oidc.audience()];
        arguments.extend(tokens.iter().map(String::as_str));
        let printed = node::run(VERIFY, &arguments).unwrap();
        printed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (alice, bob) = (oidc.login("alice").unwrap(), oidc.login("bob").unwrap());
    let before = oidc.current_kids().unwrap();
    oidc.rotate_keys().unwrap();
    let minted = oidc.mint(&Mint { alg: "ES256", ..Mint::default() }).unwrap();
    let service = oidc.service_token().unwrap();
    let good = [alice.access.clone(), bob.access, minted, service];
    assert_eq!(verify(&good), ["alice", "bob", "alice", "proxy"], "old keys stay published after a rotation");

    let forged = oidc.bad_tokens().unwrap();
    let tokens: Vec<String> = forged.iter().map(|(_, token)| token.clone()).collect();
    for ((name, _), verdict) in forged.iter().zip(verify(&tokens)) {
        assert!(verdict.starts_with("refused"), "{name}: {verdict}");
    }

    let claims = "import base64, json, sys\nprint(base64.urlsafe_b64decode(sys.argv[1].split('.')[1] + '==').decode())";
    let claims: Value = serde_json::from_str(&python::run(claims, &[&alice.access]).unwrap()).unwrap();
    assert_eq!(claims["groups"], json!(["dba", "sre"]));
    assert_eq!((&claims["email"], &claims["aud"]), (&json!("alice@example.test"), &json!("sealtrail")));

    oidc.drop_old_keys().unwrap();
    assert!(!oidc.jwks().unwrap().to_string().contains(&before[0]));
    assert_eq!(verify(&[alice.access]), ["refused ERR_JWKS_NO_MATCHING_KEY"]);
    oidc.block("alice").unwrap();
    assert!(oidc.login("alice").is_err());
    oidc.down(60_000).unwrap();
    assert!(oidc.jwks().unwrap_err().to_string().contains("503"));
}
