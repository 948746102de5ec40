//! A relayed session from the socket to the bus (I-01, I-02, I-03, I-06; P10, P11).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ingest_proxy::encrypt::{MaskerKey, SessionCipher, derive_key_pair};
use ingest_proxy::journal::{Journal, Options as JournalOptions};
use ingest_proxy::protocol::postgres::message::build;
use ingest_proxy::protocol::postgres::observe::{Limits, Observer};
use ingest_proxy::protocol::postgres::relay::{Control, End, relay};
use ingest_proxy::session::Records;
use ingest_proxy::tap::{Guarantee, Options, Tap};
use schemas::framing::{Framing, split};
use schemas::topics::Topics;
use schemas::v1::{FrameKind, RawFrame, Session, SessionState, Uuid};
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{Assign, Batch, Bus, Cleanup, PollLimit, Position, ReaderSpec, TopicPartition, TopicSpec};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

const ID: Uuid = Uuid([5; 16]);

struct World {
    _folder: tempfile::TempDir,
    bus: Arc<Embedded>,
    journal: Arc<Journal>,
    tap: Arc<Tap>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = Embedded::open(&EmbeddedConfig::at(&folder.path().join("bus"))).unwrap();
        let topics = Topics::default();
        let spec =
            |name: &str| TopicSpec { name: name.into(), partitions: 1, cleanup: Cleanup::Delete { retention_ms: -1 } };
        bus.ensure_topics(&[spec(&topics.raw), spec(&topics.sessions)]).unwrap();
        let (journal, _) = Journal::open(JournalOptions::at(&folder.path().join("journal"))).unwrap();
        let options = Options {
            topics,
            partitions: 1,
            raw_framing: Framing::single_object::<RawFrame>(),
            session_framing: Framing::single_object::<Session>(),
            instance: "proxy-0".into(),
            wait_max: Duration::from_secs(2),
            batch_bytes: 1 << 20,
            quarantine: folder.path().join("quarantine"),
            ephemeral: false,
        };
        let tap = Tap::start(journal.clone(), bus.clone(), options).unwrap();
        Self { _folder: folder, bus, journal, tap }
    }

    fn records(&self, guarantee: Guarantee) -> Records {
        let (_, public) = derive_key_pair(&[1; 32]);
        let cipher = SessionCipher::new(ID, &MaskerKey::new("k", &public).unwrap()).unwrap();
        Records::new(ID, cipher, self.tap.session(ID, guarantee, 1 << 20))
    }

    /// Ends the tap and reads what the bus holds of a topic.
    fn read<R: schemas::Record>(&self, topic: &str, count: u64) -> Vec<R> {
        for _ in 0..300 {
            if self.tap.committed() >= count {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let topic_partition = TopicPartition { topic: topic.into(), partition: 0 };
        let assign = Assign::Manual(vec![Position { topic_partition, next_offset: 0 }]);
        let spec = ReaderSpec { topics: vec![topic.into()], assign, instance: "test".into() };
        let (mut reader, mut batch) = (self.bus.reader(&spec).unwrap(), Batch::default());
        let mut found = Vec::new();
        loop {
            let limit = PollLimit { records: 1000, bytes: 1 << 20, wait: Duration::from_millis(50) };
            reader.poll(&mut batch, limit).unwrap();
            if batch.is_empty() {
                return found;
            }
            found.extend(batch.iter().map(|record| R::from_body(split(record.value.unwrap()).unwrap().1).unwrap()));
        }
    }
}

fn now() -> i64 {
    stage::clock::now_us()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn control(expires_at_us: i64) -> Control<'static> {
    let (_, cancels) = tokio::sync::mpsc::channel(1);
    let (_, level) = tokio::sync::watch::channel(stage::Level::Run);
    Control { expires_at_us, level, drain: Duration::ZERO, cancels: Box::leak(Box::new(cancels)) }
}

async fn open(records: &mut Records) {
    let mut session = Session { session_id: ID, state: SessionState::Open, ..Session::default() };
    records.open(&mut session, "", Vec::new()).await.unwrap();
}

#[test]
fn a_request_is_durable_before_the_target_sees_it_and_the_end_counts_everything() {
    let world = World::new();
    let end = block(async {
        let (mut psql, client) = tokio::io::duplex(1 << 16);
        let (mut postgres, target) = tokio::io::duplex(1 << 16);
        let (mut records, mut observer) = (world.records(Guarantee::Acked), Observer::new(Limits::default()));
        open(&mut records).await;
        let tap = world.tap.clone();
        let server = async move {
            let mut seen = vec![0u8; 14];
            postgres.read_exact(&mut seen).await.unwrap();
            // I-01: session, opened and the Query are on the bus before the first byte arrives here.
            assert!(tap.committed() >= 3, "{}", tap.committed());
            assert_eq!(&seen[5..], b"select 1\0");
            let mut answer = Vec::new();
            build::message(&mut answer, b'C', |out| out.extend_from_slice(b"SELECT 0\0"));
            build::ready_for_query(&mut answer, b'I');
            postgres.write_all(&answer).await.unwrap();
            let mut rest = Vec::new();
            postgres.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"X\0\0\0\x04");
        };
        let user = async move {
            let mut out = Vec::new();
            build::query(&mut out, b"select 1");
            psql.write_all(&out).await.unwrap();
            let mut answer = vec![0u8; 20];
            psql.read_exact(&mut answer).await.unwrap();
            out.clear();
            build::terminate(&mut out);
            psql.write_all(&out).await.unwrap();
            psql
        };
        let session =
            async { relay(&mut records, &mut observer, client, target, control(now() + 60_000_000), now).await };
        let (end, (), _) = tokio::join!(session, server, user);
        end
    });
    assert!(matches!(end, End::Terminated));
    let (_, next) = world.journal.bounds();
    let frames: Vec<RawFrame> = world.read("audit.raw", next);
    assert!(frames.iter().map(|frame| frame.sequence).eq(0..i64::try_from(frames.len()).unwrap()));
    assert_eq!(frames[0].kind, FrameKind::SessionOpened);
    let types: Vec<&str> = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Message)
        .map(|frame| frame.message_type.as_str())
        .collect();
    assert_eq!(types, ["Query", "CommandComplete", "ReadyForQuery", "Terminate"]);
    assert_eq!(frames.iter().filter(|frame| frame.kind == FrameKind::Command).count(), 1);
    let last = frames.last().unwrap();
    let facts = last.facts.as_ref().unwrap();
    assert_eq!(last.kind, FrameKind::SessionClosed);
    assert_eq!((facts.message_count, facts.record_count), (Some(4), Some(i64::try_from(frames.len()).unwrap())));
    assert!(frames.iter().all(|frame| !frame.payload.windows(8).any(|part| part == b"select 1")));
    let sessions: Vec<Session> = world.read("audit.sessions", next);
    let states: Vec<SessionState> = sessions.iter().map(|session| session.state).collect();
    assert_eq!(states, [SessionState::Open, SessionState::Closed]);
    assert!(sessions.iter().all(|session| session.context.wrapped_key.len() == 80));
    world.tap.stop();
    world.journal.close();
}

#[test]
fn an_expired_token_and_an_over_long_statement_end_the_session_in_words() {
    for expired in [true, false] {
        let world = World::new();
        let (end, told, seen) = block(async {
            let (mut psql, client) = tokio::io::duplex(4 << 20);
            let (mut postgres, target) = tokio::io::duplex(4 << 20);
            let (mut records, mut observer) = (world.records(Guarantee::Journaled), Observer::new(Limits::default()));
            open(&mut records).await;
            if !expired {
                let mut out = Vec::new();
                build::query(&mut out, &vec![b' '; 2 << 20]);
                psql.write_all(&out).await.unwrap();
            }
            let until = if expired { now() + 50_000 } else { now() + 60_000_000 };
            let end = relay(&mut records, &mut observer, client, target, control(until), now).await;
            let (mut told, mut seen) = (Vec::new(), Vec::new());
            psql.read_to_end(&mut told).await.unwrap();
            postgres.read_to_end(&mut seen).await.unwrap();
            (end, String::from_utf8_lossy(&told).into_owned(), seen)
        });
        let (kind, sqlstate) = if expired { ("token_expired", "57P01") } else { ("statement_too_long", "54000") };
        assert_eq!((end.kind(), end.sqlstate()), (kind, Some(sqlstate)));
        assert!(told.starts_with('E') && told.contains(sqlstate) && told.contains(kind), "{told}");
        assert!(seen.is_empty());
        let (_, next) = world.journal.bounds();
        let frames: Vec<RawFrame> = world.read("audit.raw", next);
        assert_eq!(frames.last().unwrap().facts.as_ref().unwrap().reason_code, kind);
        world.tap.stop();
        world.journal.close();
    }
}

/// A link that keeps what is written until it is flushed, as TLS may.
struct Keeps<S>(S, Vec<u8>);

impl<S: AsyncRead + Unpin> AsyncRead for Keeps<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Keeps<S> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.1.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Self(link, kept) = &mut *self;
        while !kept.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut *link).poll_write(cx, kept)? else { return Poll::Pending };
            kept.drain(..written);
        }
        Pin::new(link).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Poll::Ready(()) = self.as_mut().poll_flush(cx)? else { return Poll::Pending };
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn what_a_link_keeps_back_is_flushed_in_both_directions_however_little_the_peer_takes() {
    let world = World::new();
    block(async {
        // The pipes hold less than a message, so each flush comes to wait.
        let (mut psql, client) = tokio::io::duplex(64);
        let (mut postgres, target) = tokio::io::duplex(64);
        let (mut records, mut observer) = (world.records(Guarantee::Journaled), Observer::new(Limits::default()));
        open(&mut records).await;
        let (client, target) = (Keeps(client, Vec::new()), Keeps(target, Vec::new()));
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        build::query(&mut asked, &[b' '; 1000]);
        build::message(&mut told, b'N', |out| out.resize(1000, b'n'));
        build::ready_for_query(&mut told, b'I');
        let peers = async {
            for _ in 0..3 {
                let mut seen = vec![0u8; asked.len()];
                let (sent, read) = tokio::join!(psql.write_all(&asked), postgres.read_exact(&mut seen));
                assert!(sent.is_ok() && read.is_ok() && seen == asked);
                let mut heard = vec![0u8; told.len()];
                let (sent, read) = tokio::join!(postgres.write_all(&told), psql.read_exact(&mut heard));
                assert!(sent.is_ok() && read.is_ok() && heard == told);
            }
        };
        let session = relay(&mut records, &mut observer, client, target, control(now() + 60_000_000), now);
        let all = tokio::time::timeout(Duration::from_secs(20), async {
            tokio::select! {
                end = session => panic!("{end}"),
                () = peers => {}
            }
        });
        all.await.unwrap();
    });
    world.tap.stop();
    world.journal.close();
}

#[test]
fn a_session_that_is_never_idle_ends_with_its_token_too() {
    let world = World::new();
    let (end, answered) = block(async {
        let (psql, client) = tokio::io::duplex(1 << 16);
        let (postgres, target) = tokio::io::duplex(1 << 16);
        let (mut records, mut observer) = (world.records(Guarantee::Buffered), Observer::new(Limits::default()));
        open(&mut records).await;
        let (mut notices, mut flushes) = (Vec::new(), Vec::new());
        build::message(&mut notices, b'N', |out| out.extend_from_slice(b"\0"));
        build::message(&mut flushes, b'H', |_| {});
        // Both peers write without end, and read what they get.
        let flood = |link: tokio::io::DuplexStream, bytes: Vec<u8>| async move {
            let ((mut reads, mut writes), mut nowhere) = (tokio::io::split(link), tokio::io::sink());
            let write = async {
                while writes.write_all(&bytes).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            let (_, read) = tokio::join!(write, tokio::io::copy(&mut reads, &mut nowhere));
            read.unwrap_or(0)
        };
        let (psql, postgres) = (tokio::spawn(flood(psql, flushes)), tokio::spawn(flood(postgres, notices)));
        let session = relay(&mut records, &mut observer, client, target, control(now() + 300_000), now);
        let end = tokio::time::timeout(Duration::from_secs(20), session).await.unwrap();
        (end, (psql.await.unwrap(), postgres.await.unwrap()))
    });
    assert!(matches!(end, End::Expired), "{end}");
    assert!(answered.0 > 1000 && answered.1 > 1000, "neither side starves: {answered:?}");
    world.tap.stop();
    world.journal.close();
}
