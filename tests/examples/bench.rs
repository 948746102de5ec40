//! The benchmarks of the architecture page, as ratios of one run: `cargo xtask bench proxy|stages|verify`.
//!
//! `proxy`: pgbench -S direct, through PgBouncer, and through the proxy (alone, with and without TLS; and as a part of
//! `up`, where all stages share the processors), alternating. `--only protocol:clients` runs one load, `--servers
//! pgbouncer,journaled` these servers beside the direct one, `--beside BINARY` another build of `sealtrail` too.
//! `stages`: each stage over the same records, embedded and on Kafka. `verify`: beside `sha256sum` of the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use schemas::framing::Framing;
use schemas::topics::{Topics, partition_for};
use schemas::v1::{Direction, Facts, FrameKind, Protocol, RawFrame, Session, SessionState, Uuid};
use schemas::{Record, payload, v1};
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::kafka::{Kafka as KafkaBus, KafkaConfig};
use stage::bus::{Bus, Cleanup, TopicSpec, WriteMode, WriterSpec};
use stage::registry::Registry;
use stage::store::{Store, StoreConfig};
use stage::{Env, Level, Shutdown};
use testkit::kafka::Kafka;
use testkit::line::{Line, Surroundings, TARGET};
use testkit::oidc::{Oidc, Options as OidcOptions};
use testkit::pgbench::{Contender, Load, Round, alternate, cpu_seconds, spread};
use testkit::pgbouncer::{Options as PgBouncerOptions, PgBouncer};
use testkit::postgres::{Options as PostgresOptions, PASSWORD, Postgres, USER};
use testkit::process::Folder;

const PARTITIONS: i32 = 4;
/// Runs of each contender of `bench verify`, alternating; the medians are printed.
const VERIFY_ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u32| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    match arguments.first().map(String::as_str) {
        Some("proxy") => {
            let text = |name: &str| {
                let at = arguments.iter().position(|argument| argument == name);
                at.and_then(|at| arguments.get(at + 1)).map_or("", String::as_str)
            };
            let choice = Choice { only: text("--only"), servers: text("--servers"), beside: text("--beside") };
            proxy(number("--seconds", 5), number("--rounds", 3), &choice)
        }
        Some("stages") => {
            stages(number("--records", 200_000), arguments.iter().any(|argument| argument == "--kafka"), None)
        }
        Some("verify") => {
            let at = arguments.iter().position(|argument| argument == "--keep");
            let keep = at.and_then(|at| arguments.get(at + 1)).map(std::path::PathBuf::from);
            stages(number("--records", 400_000), false, keep.as_deref())
        }
        _ => anyhow::bail!(
            "bench proxy [--seconds N] [--rounds N] [--only protocol:clients] [--servers a,b] [--beside BINARY] | stages [--records N] [--kafka] | verify [--records N] [--keep DIR]"
        ),
    }
}

/// Which loads and servers are measured; empty is all of them.
struct Choice<'a> {
    only: &'a str,
    servers: &'a str,
    beside: &'a str,
}

impl Choice<'_> {
    fn wants(&self, server: &str) -> bool {
        self.servers.is_empty() || self.servers.split(',').any(|name| name == server)
    }
}

fn proxy(seconds: u32, rounds: u32, choice: &Choice<'_>) -> anyhow::Result<()> {
    let postgres = Postgres::start(&PostgresOptions::bench())?;
    let pgbench = postgres.program("pgbench");
    let fill = Command::new(&pgbench).args(["-i", "-q", "-s", "5", &postgres.url("postgres", "disable")]).output()?;
    anyhow::ensure!(fill.status.success(), "{}", String::from_utf8_lossy(&fill.stderr));
    let bouncer = PgBouncer::start(&postgres, &PgBouncerOptions::default())?;
    let oidc = Oidc::start(&OidcOptions { ttl_seconds: 7200, ..OidcOptions::default() })?;
    let token = oidc.login("alice")?.access;
    // Like for like: direct and PgBouncer run without TLS, so the proxy does too, but for the rows that say otherwise.
    let plain = || Surroundings { tls: false, proxy_alone: true, ..Surroundings::embedded(&postgres, &oidc) };
    let direct = |addr: std::net::SocketAddr| {
        format!("host=127.0.0.1 port={} user={USER} dbname=postgres sslmode=disable", addr.port())
    };
    let contender = |name: &str, addr, pid| Contender {
        name: name.into(),
        connection: direct(addr),
        password: PASSWORD.into(),
        pid,
    };
    let mut contenders =
        vec![contender("direct", postgres.addr(), None), contender("pgbouncer", bouncer.addr(), Some(bouncer.pid()))];
    let kinds = [
        ("buffered", Surroundings { guarantee: "buffered", ..plain() }),
        ("journaled", plain()),
        ("journaled+tls", Surroundings { tls: true, ..plain() }),
        ("up", Surroundings { proxy_alone: false, ..plain() }),
    ];
    let mut lines = Vec::new();
    for (name, mut around) in kinds {
        for (tail, beside) in [("", false), ("/beside", true)] {
            if choice.wants(name) && (!beside || !choice.beside.is_empty()) {
                around.bin = beside.then(|| choice.beside.into());
                let line = Line::start(&around)?;
                contenders.push(Contender {
                    name: format!("{name}{tail}"),
                    connection: line.connection("alice", TARGET),
                    password: token.clone(),
                    pid: line.pid(),
                });
                lines.push((format!("{name}{tail}"), line));
            }
        }
    }
    println!("fdatasync of 4 KiB in {}: {:.0} us", std::env::temp_dir().display(), fdatasync_us()?);
    println!(
        "{:10} {:>7}  {:16} {:>26} {:>10} {:>12} {:>24} {:>10} {:>20}",
        "protocol",
        "clients",
        "server",
        "tps min/median/max",
        "of direct",
        "of pgbouncer",
        "median us (all rounds)",
        "p99 us",
        "CPU us/transaction"
    );
    for protocol in ["simple", "prepared"] {
        for clients in [1, 50] {
            if !choice.only.is_empty() && choice.only != format!("{protocol}:{clients}") {
                continue;
            }
            let load = Load { protocol, clients, seconds };
            let figures = alternate(&pgbench, &contenders, load, rounds, |_| ());
            let figures = figures.with_context(|| said(&lines))?;
            let tps_of =
                |index: usize| spread(&figures[index].iter().map(|round: &Round| round.tps).collect::<Vec<_>>())[1];
            let (base, pooled) = (tps_of(0), tps_of(1));
            for (contender, rounds) in contenders.iter().zip(&figures) {
                let of = |pick: fn(&Round) -> f64| spread(&rounds.iter().map(pick).collect::<Vec<_>>());
                let (tps, median, p99, cpu) = (of(|r| r.tps), of(|r| r.median_us), of(|r| r.p99_us), of(|r| r.cpu_us));
                println!(
                    "{protocol:10} {clients:>7}  {:16} {:>8.0}/{:>8.0}/{:>8.0} {:>10.2} {:>12.2} {:>8.0}/{:>6.0}/{:>6.0} {:>12.0} {:>6.1}/{:>6.1}/{:>6.1}",
                    contender.name,
                    tps[0],
                    tps[1],
                    tps[2],
                    tps[1] / base,
                    tps[1] / pooled,
                    median[0],
                    median[1],
                    median[2],
                    p99[1],
                    cpu[0],
                    cpu[1],
                    cpu[2]
                );
            }
        }
    }
    Ok(())
}

/// What the processes under test wrote to their logs: it says why a client was sent away.
fn said(lines: &[(String, Line)]) -> String {
    let log = |(name, line): &(String, Line)| {
        let text = line.log().unwrap_or_else(|error| error.to_string());
        let last: Vec<&str> = text.lines().rev().take(20).collect();
        format!("{name}:\n{}\n", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    };
    lines.iter().map(log).collect()
}

/// Median of one write and fdatasync in a file filled beforehand, as the journal does it, microseconds.
fn fdatasync_us() -> anyhow::Result<f64> {
    use std::os::unix::fs::FileExt as _;
    let folder = Folder::new("fdatasync")?;
    let file = std::fs::File::options().read(true).write(true).open(folder.write("file", vec![0; 1 << 20])?)?;
    file.sync_all()?;
    let mut took = Vec::new();
    for round in 0..50 {
        let began = Instant::now();
        file.write_all_at(&[1; 4096], round * 4096)?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(&took)[1])
}

/// Everything that a stage needs to run in this process.
struct Bench {
    env: Env,
    folder: Folder,
    masker_key: masker::decrypt::MaskerKey,
}

impl Bench {
    fn new(bus: Arc<dyn Bus>) -> anyhow::Result<Self> {
        let folder = Folder::new("bench")?;
        let topics = Topics::default();
        let specs: Vec<TopicSpec> = topics
            .plan(PARTITIONS)
            .into_iter()
            .map(|plan| {
                let compact = plan.retention == schemas::topics::Retention::Compact;
                let cleanup = if compact { Cleanup::Compact } else { Cleanup::Delete { retention_ms: -1 } };
                TopicSpec { name: plan.name, partitions: plan.partitions, cleanup }
            })
            .collect();
        bus.ensure_topics(&specs)?;
        let env = Env {
            bus,
            topics,
            partitions: PARTITIONS,
            registry: Arc::new(Registry::none()),
            shutdown: Shutdown::new(),
            instance: "bench".into(),
        };
        let masker_key = masker::decrypt::MaskerKey::generate()?;
        Ok(Self { env, folder, masker_key })
    }

    /// `records` frames of 100 sessions: rows of one secret-free column, as pgbench makes them, content encrypted.
    fn fill(&self, records: u32) -> anyhow::Result<()> {
        let mut writer = self.env.bus.writer(&WriterSpec { name: "bench-fill".into(), mode: WriteMode::Idempotent })?;
        let public = ingest_proxy::encrypt::MaskerKey::new(self.masker_key.key_id(), &self.masker_key.public_key())?;
        let (mut value, mut number) = (Vec::new(), 0_u32);
        for session in 0..100_u8 {
            let id = Uuid([session; 16]);
            let key = id.to_text();
            let partition = partition_for(key.as_bytes(), PARTITIONS);
            let mut cipher = ingest_proxy::encrypt::SessionCipher::new(id, &public)?;
            let mut record = Session {
                session_id: id,
                state: SessionState::Open,
                protocol: Protocol::Postgres,
                ..Session::default()
            };
            record.context.principal.subject = "alice".into();
            record.context.target.name = "orders".into();
            record.context.key_id = self.masker_key.key_id();
            record.context.wrapped_key = cipher.wrapped().to_vec();
            writer.begin()?;
            framed(&record, &mut value);
            writer.send(&self.env.topics.sessions, partition, Some(key.as_bytes()), Some(&value))?;
            for sequence in 0..i64::from(records / 100) {
                number += 1;
                let content = [&[0, 1, 0, 0, 0, 24][..], format!("balance of account {number:05}").as_bytes()].concat();
                let mut sealed = Vec::new();
                cipher.seal(sequence, FrameKind::Message, &content, &mut sealed)?;
                let frame = RawFrame {
                    event_id: Uuid::now_v7(),
                    session_id: id,
                    sequence,
                    kind: FrameKind::Message,
                    observed_at_us: 1_770_000_000_000_000 + i64::from(number),
                    protocol: Protocol::Postgres,
                    direction: Direction::ToClient,
                    message_id: sequence,
                    last: true,
                    message_type: "DataRow".into(),
                    size_bytes: 35,
                    command_id: sequence / 5,
                    facts: Some(Facts {
                        statement_id: -1,
                        command_kind: "SELECT".into(),
                        columns: vec![v1::Column {
                            name: "abalance".into(),
                            type_oid: 25,
                            table_oid: 16_384,
                            attribute: 3,
                            format: 0,
                        }],
                        ..Facts::default()
                    }),
                    payload: sealed,
                    ..RawFrame::default()
                };
                framed(&frame, &mut value);
                writer.send(&self.env.topics.raw, partition, Some(key.as_bytes()), Some(&value))?;
            }
            writer.commit(None)?;
        }
        assert_eq!(payload::WRAPPED_KEY_LEN, 80);
        Ok(())
    }
}

fn framed<R: Record>(record: &R, out: &mut Vec<u8>) {
    out.clear();
    Framing::single_object::<R>().prefix(out);
    record.encode(out);
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    cpu_seconds(std::process::id())
}

fn measure(name: &str, records: u32, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (began, before) = (Instant::now(), cpu());
    work()?;
    let (took, used) = (began.elapsed().as_secs_f64(), cpu() - before);
    println!(
        "{name:12} {:>9.0} records/s  {:>6.2} CPU us/record",
        f64::from(records) / took,
        used * 1e6 / f64::from(records)
    );
    Ok(took)
}

fn stages(records: u32, on_kafka: bool, keep: Option<&std::path::Path>) -> anyhow::Result<()> {
    let kafka = if on_kafka { Some(Kafka::one()?) } else { None };
    let hold = Folder::new("bench-bus")?;
    let bus: Arc<dyn Bus> = match &kafka {
        Some(kafka) => KafkaBus::connect(&KafkaConfig::at(&kafka.bootstrap()))?,
        None => Embedded::open(&EmbeddedConfig::at(&hold.join("bus")))?,
    };
    let bench = Bench::new(bus)?;
    let drain = |running: stage::Running| running.stop(Level::Drain).map_err(|error| anyhow::anyhow!(error));
    let failed = |error: stage::StageFailure| anyhow::anyhow!(error);
    println!("{records} records of one row each, {}", if on_kafka { "Kafka" } else { "embedded bus" });
    measure("fill", records, || bench.fill(records))?;
    measure("enricher", records, || {
        drain(enricher::start::start(&enricher::EnricherConfig::default(), &bench.env.apart()).map_err(failed)?)
    })?;
    let key_file = bench.folder.write("masker.key", bench.masker_key.to_text().as_bytes())?;
    std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let masker = masker::config::MaskerConfig { key_file, ..masker::config::MaskerConfig::default() };
    measure("masker", records, || drain(masker::start::start(&masker, &bench.env.apart()).map_err(failed)?))?;
    let place = keep.map_or_else(|| bench.folder.join("archive"), std::path::Path::to_owned);
    let store = Arc::new(Store::open(&StoreConfig { url: place.display().to_string(), ..StoreConfig::default() })?);
    let log_key = bench.folder.join("log.key");
    let signer = sealer::signer::FileSigner::create(&log_key, &[7; 32], "bench.example/log")?;
    let sealer = sealer::SealerConfig {
        origin: "bench.example/log".into(),
        key_file: log_key,
        state_folder: bench.folder.join("sealer"),
        ..sealer::SealerConfig::default()
    };
    let log = || Box::new(sealer::store::StoreLog::new(store.clone()));
    let mut notary = None;
    measure("sealer", records, || {
        let started = sealer::start::start(&sealer, &bench.env.apart(), log()).map_err(failed)?;
        notary = Some(started.notary);
        drain(started.workers)
    })?;
    let archiver = archiver::config::ArchiverConfig::default();
    measure("archiver", records, || {
        drain(archiver::start::start(&archiver, &bench.env.apart(), store.clone()).map_err(failed)?)
    })?;
    notary.map_or(Ok(()), drain)?; // the receipts of the objects just put

    std::fs::write(place.join("log.vkey"), sealer::signer::Signer::verifier_key(&signer).to_string())?;
    let archive = reader::Archive::open(&place.display().to_string())?;
    let options = reader::verify::Options {
        keys: vec![sealer::signer::Signer::verifier_key(&signer).clone()],
        max_tail_age_s: 3600,
        ..reader::verify::Options::default()
    };
    beside_sha256sum(&bench, &archive, &options, records)
}

/// One timed run: wall seconds and CPU seconds.
type Took = (f64, f64);

fn timed(work: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<Took> {
    let (began, before) = (Instant::now(), cpu());
    let child = work()?;
    Ok((began.elapsed().as_secs_f64(), cpu() - before + child))
}

/// `sha256sum` over a file: its own user and system seconds.
fn sha256sum(file: &std::path::Path) -> anyhow::Result<f64> {
    let children = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<f64> =
            stat.rsplit(") ").next().unwrap_or("").split(' ').map(|f| f.parse().unwrap_or(0.0)).collect();
        (fields[13] + fields[14]) / 100.0
    };
    let before = children();
    anyhow::ensure!(Command::new("sha256sum").arg(file).output()?.status.success(), "sha256sum failed");
    Ok(children() - before)
}

/// `verify` on one and on two threads beside `sha256sum` of the decoded bytes, alternating, and the archive beside the
/// same rows as JSON + gzip.
fn beside_sha256sum(
    bench: &Bench,
    archive: &reader::Archive,
    options: &reader::verify::Options,
    records: u32,
) -> anyhow::Result<()> {
    let (mut decoded, mut json) = (Vec::new(), Vec::new());
    for session in 0..100_u8 {
        let (frames, _) = reader::session(archive, &Uuid([session; 16]).to_string())?;
        for frame in frames {
            frame.encode(&mut decoded);
            let text = serde_json::json!({
                "event_id": frame.event_id.to_string(), "session_id": frame.session_id.to_string(), "sequence": frame.sequence,
                "observed_at_us": frame.observed_at_us, "message_type": frame.message_type, "size_bytes": frame.size_bytes,
                "command_id": frame.command_id, "principal_subject": frame.principal_subject, "target_name": frame.target_name,
                "payload": frame.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), "payload_state": frame.payload_state.as_str(),
            });
            json.extend_from_slice(text.to_string().as_bytes());
            json.push(b'\n');
        }
    }
    let (plain, lines) = (bench.folder.write("decoded", &decoded)?, bench.folder.write("rows.json", &json)?);
    let mut took: [Vec<Took>; 3] = Default::default();
    for _ in 0..VERIFY_ROUNDS {
        let [sum, verified @ ..] = &mut took;
        sum.push(timed(|| sha256sum(&plain))?);
        for (threads, took) in (1..).zip(verified) {
            took.push(timed(|| {
                let options =
                    reader::verify::Options { now_s: Some(stage::clock::now_ms() / 1000), threads, ..options.clone() };
                let report = reader::verify::verify(archive, &options, &|_| ())?;
                anyhow::ensure!(report.exit_code == 0 && report.rows == u64::from(records), "{report:#?}");
                Ok(0.0)
            })?);
        }
    }
    let of = |at: usize, pick: fn(&Took) -> f64| spread(&took[at].iter().map(pick).collect::<Vec<_>>())[1];
    let (sum_wall, sum_cpu) = (of(0, |took| took.0), of(0, |took| took.1));
    println!(
        "sha256sum    {:.0} MB/s over {} decoded bytes, {:.3} s",
        decoded.len() as f64 / sum_wall / 1e6,
        decoded.len(),
        sum_wall
    );
    for threads in 1..=2 {
        let (wall, cpu) = (of(threads, |took| took.0), of(threads, |took| took.1));
        println!(
            "verify       {threads} threads: {:>9.0} rows/s, {:.2} CPU us/row; {:.2} x the time of sha256sum, {:.2} x its rate per core (CPU)",
            f64::from(records) / wall,
            cpu * 1e6 / f64::from(records),
            wall / sum_wall,
            sum_cpu / cpu
        );
    }
    anyhow::ensure!(Command::new("gzip").arg("-k").arg(&lines).status()?.success(), "gzip failed");
    let gzip = std::fs::metadata(bench.folder.join("rows.json.gz"))?.len();
    let mut parquet = 0;
    for name in archive.list("frames")?.into_iter().chain(archive.list("events")?) {
        parquet += archive.size(&name)?.unwrap_or(0);
    }
    let each = |bytes: u64| bytes as f64 / f64::from(records);
    println!(
        "size         {:.1} bytes/record in Parquet, {:.1} as JSON, {:.1} as JSON + gzip",
        each(parquet),
        each(json.len() as u64),
        each(gzip)
    );
    Ok(())
}
