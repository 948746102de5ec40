//! The whole way, with real servers and real clients: psql, psycopg and node-pg through the proxy; an ordinary Kafka
//! consumer that decodes Avro through the registry; Parquet on S3 under Object Lock; DuckDB; `sealtrail verify`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::process::Command;

use serde_json::Value;
use testkit::kafka::Kafka;
use testkit::line::{Line, Surroundings, TARGET};
use testkit::oidc::{Oidc, Options as OidcOptions};
use testkit::postgres::{Options as PostgresOptions, Postgres};
use testkit::process::run_text;
use testkit::registry::Registry;
use testkit::s3::S3;
use testkit::{duckdb, node, python};

/// Values that must appear nowhere after the masker. Made of parts, so that no scanner takes them for live ones.
fn secrets() -> [String; 3] {
    [
        format!("ghp_{}", "k3Yq9ZtW".repeat(5).chars().take(36).collect::<String>()),
        "Summer-2026-hunter2".into(),
        "4242424242424242".into(),
    ]
}

fn script() -> String {
    let [token, password, card] = secrets();
    format!(
        "CREATE TABLE customers (id int PRIMARY KEY, name text, card text, api_token text);\n\
         INSERT INTO customers VALUES (1, 'Ada', '{card}', '{token}'), (2, 'Grace', NULL, NULL);\n\
         CREATE ROLE reporting LOGIN PASSWORD '{password}';\n\
         SELECT id, name, card, api_token FROM customers ORDER BY id;\n\
         SELECT nothing FROM customers;\n\
         COPY customers TO STDOUT;\n"
    )
}

fn psql(postgres: &Postgres, line: &Line, user: &str, token: &str, sql: &str) -> String {
    let file = line.folder().write(&format!("{user}.sql"), sql).unwrap();
    let mut command = Command::new(postgres.program("psql"));
    command.args(["-X", "-q", "-A", "-t", "-f"]).arg(file).arg(line.connection(user, TARGET)).env("PGPASSWORD", token);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn verify(line: &Line, archive: &str) -> (Option<i32>, Value) {
    let vkey = line.vkey();
    let output =
        line.sealtrail(&["verify", archive, "--json", "--now", "now", "--vkey"]).unwrap().arg(vkey).output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// Neither bytes of the archive nor the log of the process hold a planted value.
fn assert_no_secret(what: &str, bytes: &[u8]) {
    for secret in secrets() {
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "a planted secret is in {what}"
        );
    }
}

#[test]
fn psql_to_duckdb_and_verify_on_the_embedded_bus() {
    let (postgres, oidc) =
        (Postgres::start(&PostgresOptions::default()).unwrap(), Oidc::start(&OidcOptions::default()).unwrap());
    let mut line = Line::start(&Surroundings::embedded(&postgres, &oidc)).unwrap();
    let said = psql(&postgres, &line, "alice", &oidc.login("alice").unwrap().access, &script());
    assert!(said.contains(&format!("1|Ada|{}|{}", secrets()[2], secrets()[0])), "the client sees its data: {said}");
    assert!(said.contains("column \"nothing\" does not exist"), "{said}");
    // I-01: killed the moment a client has its answer, the line still has every request that was forwarded
    let token = oidc.login("bob").unwrap().access;
    assert_eq!(
        psql(&postgres, &line, "bob", &token, "SELECT 'asked just before the kill';").trim(),
        "asked just before the kill"
    );
    line.kill9();
    line.restart().unwrap();
    psql(&postgres, &line, "bob", &oidc.login("bob").unwrap().access, "SELECT count(*) FROM customers;");
    line.drain().unwrap();
    assert_no_secret("the process log", line.log().unwrap().as_bytes());

    let archive = line.archive().strip_prefix("file://").unwrap().to_owned();
    let (code, report) = verify(&line, &archive);
    assert_eq!((code, codes(&report)), (Some(0), vec![]), "{report:#}");

    let rows = duckdb::query(&format!(
        "SELECT principal_subject AS who, command_kind AS kind, error_code AS error, rows AS n, statement
         FROM read_parquet('{archive}/events/**/*.parquet') WHERE kind = 'COMMAND' ORDER BY observed_at_us"
    ))
    .unwrap();
    let seen: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row["who"].as_str().unwrap().to_owned(), row["kind"].as_str().unwrap().to_owned()))
        .collect();
    let expected = ["CREATE TABLE", "INSERT", "CREATE ROLE", "SELECT", "SELECT", "COPY"]
        .map(|kind| ("alice".to_owned(), kind.to_owned()));
    assert_eq!(seen[..6], expected, "{rows:#?}");
    assert_eq!(seen.last(), Some(&("bob".to_owned(), "SELECT".to_owned())));
    assert_eq!(rows[4]["error"], "42703");
    assert_eq!(rows[3]["n"], 2);
    assert_no_secret("the events", serde_json::to_string(&rows).unwrap().as_bytes());
    let frames = duckdb::query(&format!("SELECT payload FROM read_parquet('{archive}/frames/**/*.parquet')")).unwrap();
    let payloads: Vec<u8> = frames.iter().flat_map(|row| hex(row["payload"].as_str().unwrap_or(""))).collect();
    assert!(payloads.windows(3).any(|window| window == b"Ada"), "what is no secret stays readable");
    assert!(payloads.windows(26).any(|window| window == b"asked just before the kill"), "a forwarded request was lost");
    assert_no_secret("the frames", &payloads);

    let sessions = run_text(&mut line.sealtrail(&["sessions", &archive, "--json"]).unwrap()).unwrap();
    let sessions: Vec<Value> = serde_json::from_str(&sessions).unwrap();
    assert_eq!(sessions.len(), 3);
    let bob = sessions.last().unwrap();
    assert_eq!(
        (&bob["principal_subject"], &bob["complete"], &bob["commands"]),
        (&Value::from("bob"), &Value::Bool(true), &Value::from(1))
    );
    let id = sessions.iter().find(|session| session["principal_subject"] == "alice").unwrap()["session_id"]
        .as_str()
        .unwrap();
    let replay = run_text(&mut line.sealtrail(&["replay", &archive, id, "--fast"]).unwrap()).unwrap();
    assert!(replay.contains("ERROR 42703") && replay.contains("Grace"), "{replay}");
    assert_no_secret("the replay", replay.as_bytes());

    one_changed_byte_is_named(&line, &archive);
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn one_changed_byte_is_named(line: &Line, archive: &str) {
    let copy = line.folder().join("copy");
    run_text(Command::new("cp").arg("-r").arg(archive).arg(&copy)).unwrap();
    run_text(Command::new("chmod").args(["-R", "u+w"]).arg(&copy)).unwrap();
    let listed = run_text(Command::new("find").arg(copy.join("events")).args(["-name", "*.parquet"])).unwrap();
    let object = listed.lines().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(object).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    std::fs::write(object, bytes).unwrap();
    let (code, report) = verify(line, copy.to_str().unwrap());
    assert_eq!(code, Some(1));
    let name = object.strip_prefix(&format!("{}/", copy.display())).unwrap();
    let named = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|finding| finding["object"] == name || finding["place"].as_str().unwrap().contains(name));
    assert!(named, "{report:#}");
}

/// Reads every event of the topic through the registry, as a SOC's consumer would.
const CONSUME: &str = r"
import json, sys, uuid
from confluent_kafka import DeserializingConsumer, KafkaError
from confluent_kafka.error import ConsumeError
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
bootstrap, registry, topic = sys.argv[1:]
decode = AvroDeserializer(SchemaRegistryClient({'url': registry}))
consumer = DeserializingConsumer({'bootstrap.servers': bootstrap, 'group.id': uuid.uuid4().hex, 'auto.offset.reset': 'earliest',
                                  'enable.partition.eof': True, 'isolation.level': 'read_committed', 'value.deserializer': decode})
consumer.subscribe([topic])
ended, partitions = set(), None
while partitions is None or len(ended) < partitions:
    try:
        message = consumer.poll(30)
    except ConsumeError as error:
        assert error.code == KafkaError._PARTITION_EOF, error
        ended.add(error.kafka_message.partition())
        partitions = len(consumer.assignment())
        continue
    assert message is not None, 'nothing within 30 s'
    value = message.value()
    print(json.dumps({k: value[k] for k in ('kind', 'principal_subject', 'command_kind', 'statement', 'error_code', 'sequence')}))
consumer.close()
";

/// The same statements by psycopg: simple and extended protocol, a parameter, a named statement used twice, COPY.
const PSYCOPG: &str = r"
import sys, psycopg
connection = psycopg.connect(sys.argv[1], autocommit=True)
with connection.cursor() as cursor:
    cursor.execute('SELECT 1', prepare=False)
    for number in (1, 2):
        cursor.execute('UPDATE customers SET api_token = %s WHERE id = %s', (sys.argv[2], number), prepare=True)
    cursor.execute('SELECT name FROM customers WHERE id = %s', (2,), binary=True)
    print(cursor.fetchone()[0])
    with cursor.copy('COPY customers (id, name) FROM STDIN') as copy:
        copy.write_row((3, 'Edsger'))
with psycopg.ClientCursor(connection) as cursor:
    cursor.execute('SELECT count(*) FROM customers; SELECT 2')
    print(cursor.fetchone()[0])
connection.close()
";

/// node-pg: simple query, parameters, a named statement executed twice.
const NODE: &str = r"
import pg from 'pg';
import { readFileSync } from 'node:fs';
const [port, user, database, ca] = process.argv.slice(2);
const client = new pg.Client({ host: 'localhost', port: Number(port), user, database, password: process.env.PGPASSWORD,
  ssl: { ca: readFileSync(ca, 'utf8') } });
await client.connect();
await client.query('SELECT 1 AS one');
for (const id of [1, 3]) {
  const result = await client.query({ name: 'by-id', text: 'SELECT name FROM customers WHERE id = $1', values: [id] });
  console.log(result.rows[0].name);
}
await client.end();
";

#[test]
fn drivers_to_kafka_s3_duckdb_and_verify() {
    let (postgres, oidc) =
        (Postgres::start(&PostgresOptions::default()).unwrap(), Oidc::start(&OidcOptions::default()).unwrap());
    let (kafka, registry, s3) = (Kafka::one().unwrap(), Registry::start().unwrap(), S3::start().unwrap());
    s3.create_bucket("evidence", true).unwrap();
    let around = Surroundings {
        kafka: Some(&kafka),
        registry: Some(&registry),
        s3: Some((&s3, "evidence")),
        guarantee: "acked",
        ..Surroundings::embedded(&postgres, &oidc)
    };
    let mut line = Line::start(&around).unwrap();
    psql(&postgres, &line, "alice", &oidc.login("alice").unwrap().access, &script());
    let token = oidc.login("bob").unwrap().access;
    let script = python::command()
        .unwrap()
        .args(["-c", PSYCOPG, &line.connection("bob", TARGET), &secrets()[0]])
        .env("PGPASSWORD", &token)
        .output()
        .unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    assert_eq!(String::from_utf8_lossy(&script.stdout), "Grace\n3\n");
    let folder = node::folder("node-pg", NODE).unwrap();
    let mut command = node::command(&folder).unwrap();
    command
        .args([&line.addr().port().to_string(), "bob", TARGET])
        .arg(line.folder().join("authority.pem"))
        .env("PGPASSWORD", &token);
    assert_eq!(run_text(&mut command).unwrap(), "Ada\nEdsger\n");
    line.drain().unwrap();

    let read = python::run(CONSUME, &[&kafka.bootstrap(), &registry.url(), "audit.events"]).unwrap();
    let events: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statements = |who: &str| -> Vec<String> {
        let mine = events.iter().filter(|event| event["principal_subject"] == who && event["kind"] == "COMMAND");
        mine.map(|event| event["statement"].as_str().unwrap_or("").to_owned()).collect()
    };
    assert_eq!(statements("alice").len(), 6, "{events:#?}");
    let bob = statements("bob");
    assert_eq!(
        bob.iter().filter(|statement| statement.starts_with("UPDATE customers")).count(),
        2,
        "each execution is a command: {bob:#?}"
    );
    assert_eq!(bob.iter().filter(|statement| statement.contains("WHERE id = $1")).count(), 3, "{bob:#?}");
    assert!(bob.iter().any(|statement| statement.starts_with("COPY customers")), "{bob:#?}");
    assert_no_secret("the topic", read.as_bytes());

    let (code, report) = verify(&line, line.archive());
    assert_eq!((code, codes(&report)), (Some(0), vec![]), "{report:#}");
    let counted = duckdb::query_s3(
        &s3,
        "SELECT count(*) AS n FROM read_parquet('s3://evidence/audit/events/**/*.parquet') WHERE kind = 'COMMAND'",
    )
    .unwrap();
    let commands = events.iter().filter(|event| event["kind"] == "COMMAND").count();
    assert_eq!(counted[0]["n"], commands, "topic and archive hold the same commands");
    let objects = s3.list("evidence", "audit/events/").unwrap();
    let refused = s3.delete(s3.admin(), "evidence", &objects[0], first_version(&s3, &objects[0]).as_deref()).unwrap();
    assert!(
        refused.status >= 400,
        "a locked object must not be deleted, not even by the administrator: {}",
        refused.text()
    );
}

/// The version id of an object's newest version.
fn first_version(s3: &S3, key: &str) -> Option<String> {
    let answer = s3
        .request(s3.admin(), "GET", &format!("/evidence?prefix={}&versions=", testkit::http::encode(key)), &[], b"")
        .unwrap();
    testkit::s3::elements(&answer.text(), "VersionId").into_iter().next()
}
