//! What the proxy's tests share: a server, an issuer, a proxy with its bus, a client that speaks bytes, and a reader of
//! what was recorded.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, OpModeR};
use ingest_proxy::config::{IdentityConfig, ProxyConfig, TargetConfig};
use ingest_proxy::encrypt::derive_key_pair;
use ingest_proxy::protocol::postgres::message::build;
use ingest_proxy::protocol::postgres::message::parse::ErrorFields;
use ingest_proxy::{ProxyRunning, start};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use schemas::Record;
use schemas::framing::split;
use schemas::payload;
use schemas::topics::Topics;
use schemas::v1::{CommandContent, FrameKind, RawFrame, Session, SessionState};
use serde_json::{Value, json};
use stage::bus::embedded::{Embedded, EmbeddedConfig};
use stage::bus::{
    Assign, Batch, Bus, BusError, BusErrorKind, Cleanup, Membership, PollLimit, Position, Reader, ReaderSpec,
    TopicInfo, TopicPartition, TopicSpec, Writer, WriterSpec,
};
use stage::config::SecretSource;
use stage::registry::Registry;
use stage::{Env, Level, Shutdown};
use testkit::certs::Authority;
use testkit::postgres::{Options, PASSWORD, Postgres, USER};
use testkit::process::Folder;

const PARTITIONS: i32 = 2;
const SEED: [u8; 32] = [42; 32];

/// The one server of all tests of a process.
pub fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start(&Options::default()).unwrap())
}

/// An issuer over plain HTTP with one ES256 key.
pub struct Issuer {
    pub url: String,
    key: EcdsaKeyPair,
}

impl Issuer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let part = |from: usize, to: usize| URL_SAFE_NO_PAD.encode(&point[from..to]);
        let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": "k1", "x": part(1, 33), "y": part(33, 65)});
        let keys = json!({ "keys": [jwk] }).to_string();
        let document = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/auth"), "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
        .to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0u8; 4096];
                let read = stream.read(&mut request).unwrap_or(0);
                let body = if request[..read].starts_with(b"GET /jwks") { &keys } else { &document };
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                drop(write!(stream, "{head} {}\r\n\r\n{body}", body.len()));
            }
        });
        Self { url, key }
    }

    /// A good token of Ada's, changed.
    pub fn token(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let now = stage::clock::now_us() / 1_000_000;
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"});
        let mut claims = json!({
            "iss": self.url, "aud": "sealtrail", "sub": "u-1", "exp": now + 600, "iat": now - 5,
            "email": "ada@example.test", "name": "Ada", "groups": ["dba"],
        });
        change(&mut header, &mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A bus whose commits fail while it is down.
struct Faulty {
    inner: Arc<Embedded>,
    down: Arc<AtomicBool>,
}

struct FaultyWriter {
    inner: Box<dyn Writer>,
    down: Arc<AtomicBool>,
}

impl Bus for Faulty {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.inner.ensure_topics(topics)
    }
    fn describe(&self, topic: &str) -> Result<TopicInfo, BusError> {
        self.inner.describe(topic)
    }
    fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64), BusError> {
        self.inner.bounds(partition)
    }
    fn reader(&self, spec: &ReaderSpec) -> Result<Box<dyn Reader>, BusError> {
        self.inner.reader(spec)
    }
    fn writer(&self, spec: &WriterSpec) -> Result<Box<dyn Writer>, BusError> {
        Ok(Box::new(FaultyWriter { inner: self.inner.writer(spec)?, down: self.down.clone() }))
    }
}

impl Writer for FaultyWriter {
    fn begin(&mut self) -> Result<(), BusError> {
        self.inner.begin()
    }
    fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), BusError> {
        self.inner.send(topic, partition, key, value)
    }
    fn commit(&mut self, positions: Option<(&Membership, &[Position])>) -> Result<(), BusError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(BusError::new(BusErrorKind::Retriable, "commit", "the bus is down"));
        }
        self.inner.commit(positions)
    }
    fn abort(&mut self) -> Result<(), BusError> {
        self.inner.abort()
    }
}

/// A proxy before [`postgres`], with a bus of its own.
pub struct World {
    pub folder: Folder,
    pub issuer: Issuer,
    bus: Arc<Embedded>,
    down: Arc<AtomicBool>,
    env: Env,
    proxy: Option<ProxyRunning>,
    ca: PathBuf,
}

impl World {
    pub fn start(change: impl FnOnce(&mut ProxyConfig)) -> Self {
        Self::before(postgres(), change)
    }

    pub fn before(server: &Postgres, change: impl FnOnce(&mut ProxyConfig)) -> Self {
        let folder = Folder::new("proxy").unwrap();
        let issuer = Issuer::start();
        let authority = Authority::new("proxy tests").unwrap();
        let issued = authority.loopback().unwrap();
        let (_, public) = derive_key_pair(&SEED);
        let ca = folder.write("ca.pem", authority.pem()).unwrap();
        let mut config = ProxyConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls_certificate: Some(folder.write("proxy.crt", issued.certificate_pem).unwrap()),
            tls_key: Some(folder.write("proxy.key", issued.key_pem).unwrap()),
            masker_public_key: folder.write("masker.pub", format!("{}\n", hex::encode(public))).unwrap(),
            identity: IdentityConfig { issuer: issuer.url.clone(), ..IdentityConfig::default() },
            ..ProxyConfig::default()
        };
        config.journal.folder = folder.join("journal");
        config.journal.allow_ephemeral = true; // wherever tests keep their files
        let crm = TargetConfig {
            address: format!("localhost:{}", server.port()),
            database: "postgres".into(),
            user: USER.into(),
            password: Some(SecretSource::File(folder.write("password", PASSWORD).unwrap())),
            tls_authority: Some(server.ca_path()),
            allowed_groups: vec!["dba".into()],
            ..TargetConfig::default()
        };
        config.targets.insert("crm".into(), crm);
        change(&mut config);
        let bus = Embedded::open(&EmbeddedConfig::at(&folder.join("bus"))).unwrap();
        let topics = Topics::default();
        let delete = Cleanup::Delete { retention_ms: -1 };
        let spec = |name: &str| TopicSpec { name: name.into(), partitions: PARTITIONS, cleanup: delete };
        bus.ensure_topics(&[spec(&topics.raw), spec(&topics.sessions)]).unwrap();
        let down = Arc::new(AtomicBool::new(false));
        let env = Env {
            bus: Arc::new(Faulty { inner: bus.clone(), down: down.clone() }),
            topics,
            partitions: PARTITIONS,
            registry: Arc::new(Registry::none()),
            shutdown: Shutdown::new(),
            instance: "proxy-0".into(),
        };
        let proxy = start(&config, &env).unwrap();
        Self { folder, issuer, bus, down, env, proxy: Some(proxy), ca }
    }

    pub fn proxy(&self) -> &ProxyRunning {
        self.proxy.as_ref().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy().listen_addr()
    }

    /// Takes the bus down, or brings it back.
    #[allow(dead_code)] // not every test that shares this file has a bus that fails
    pub fn bus_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub fn raise(&self, level: Level) {
        self.env.shutdown.raise(level);
    }

    /// Stops the proxy without reading what it recorded.
    pub fn stop(mut self) {
        self.proxy.take().unwrap().stop(Level::Stop).unwrap();
    }

    /// A libpq URL over verified TLS.
    pub fn url(&self, database: &str) -> String {
        let ca = testkit::http::encode(&self.ca.to_string_lossy());
        let database = testkit::http::encode(database);
        format!("postgresql://ada@localhost:{}/{database}?sslmode=verify-full&sslrootcert={ca}", self.address().port())
    }

    /// psql over verified TLS.
    pub fn psql(&self, database: &str, token: &str) -> Command {
        let mut command = postgres().psql_at(&self.url(database));
        command.env("PGPASSWORD", token);
        command
    }

    fn read<R: Record>(&self, topic: &str, secrets: &[&str]) -> Vec<R> {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let topic_partition = TopicPartition { topic: topic.into(), partition };
            let assign = Assign::Manual(vec![Position { topic_partition, next_offset: 0 }]);
            let spec = ReaderSpec { topics: vec![topic.into()], assign, instance: "test".into() };
            let (mut reader, mut batch) = (self.bus.reader(&spec).unwrap(), Batch::default());
            loop {
                let limit = PollLimit { records: 10_000, bytes: 8 << 20, wait: Duration::from_millis(20) };
                reader.poll(&mut batch, limit).unwrap();
                if batch.is_empty() {
                    break;
                }
                for record in batch.iter() {
                    let value = record.value.unwrap();
                    for secret in secrets {
                        let hit = memchr::memmem::find(value, secret.as_bytes());
                        assert_eq!(hit, None, "a credential lies in a record");
                    }
                    found.push(R::from_body(split(value).unwrap().1).unwrap());
                }
            }
        }
        found
    }

    /// Drains the proxy, then reads every session: its records must be dense and hold none of `secrets`, nor may the
    /// journal.
    pub fn stop_and_read(mut self, secrets: &[&str]) -> Vec<Trail> {
        self.proxy.take().unwrap().stop(Level::Drain).unwrap();
        for entry in std::fs::read_dir(self.folder.join("journal")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let hit = secrets.iter().find(|secret| memchr::memmem::find(&bytes, secret.as_bytes()).is_some());
            assert!(hit.is_none(), "a credential lies in the journal");
        }
        let topics = self.env.topics.clone();
        let mut frames: BTreeMap<[u8; 16], Vec<RawFrame>> = BTreeMap::new();
        for frame in self.read::<RawFrame>(&topics.raw, secrets) {
            frames.entry(frame.session_id.0).or_default().push(frame);
        }
        // The topic is compacted by key: the newest counts.
        let newest: BTreeMap<[u8; 16], Session> = self
            .read::<Session>(&topics.sessions, secrets)
            .into_iter()
            .map(|session| (session.session_id.0, session))
            .collect();
        let sessions: Vec<Session> = newest.into_values().collect();
        assert_eq!(sessions.len(), frames.len());
        let trail = |session: Session| {
            let frames = frames.remove(&session.session_id.0).unwrap();
            let last = i64::try_from(frames.len()).unwrap();
            assert!(frames.iter().map(|frame| frame.sequence).eq(0..last), "sequences are dense and in order");
            Trail::open(session, frames)
        };
        sessions.into_iter().map(trail).collect()
    }
}

/// A session as recorded, with its content decrypted.
pub struct Trail {
    pub session: Session,
    pub frames: Vec<RawFrame>,
    plain: Vec<Vec<u8>>,
}

impl Trail {
    fn open(session: Session, frames: Vec<RawFrame>) -> Self {
        let (secret, _) = derive_key_pair(&SEED);
        let secret = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(secret.as_slice()).unwrap();
        let wrapped = &session.context.wrapped_key;
        let encapsulation = <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&wrapped[..32]).unwrap();
        let data_key = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapsulation,
            payload::WRAP_INFO,
            &wrapped[32..],
            &session.session_id.0,
        )
        .unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &data_key).unwrap());
        let plain = frames.iter().map(|frame| {
            if frame.payload.is_empty() {
                return Vec::new();
            }
            let aad = Aad::from(payload::aad(&session.session_id.0, frame.sequence, frame.kind.index()));
            let nonce = Nonce::assume_unique_for_key(payload::nonce(frame.sequence));
            let mut copy = frame.payload.clone();
            key.open_in_place(nonce, aad, &mut copy).unwrap().to_vec()
        });
        let plain = plain.collect();
        Self { session, frames, plain }
    }

    /// Opened, logged in, closed, and its last record counts everything before it.
    pub fn check_closed(&self) {
        assert_eq!(self.session.state, SessionState::Closed);
        assert_eq!(self.frames[0].kind, FrameKind::SessionOpened);
        let types: Vec<&str> = self.frames[1..4].iter().map(|frame| frame.message_type.as_str()).collect();
        assert_eq!(types, ["StartupMessage", "Authentication", "PasswordMessage"]);
        for frame in &self.frames[1..4] {
            assert!(frame.payload.is_empty() && frame.size_bytes > 0);
            assert_eq!(frame.facts.as_ref().unwrap().reason_code, "credential");
        }
        let last = self.frames.last().unwrap();
        let facts = last.facts.as_ref().unwrap();
        assert_eq!(last.kind, FrameKind::SessionClosed);
        assert_eq!(facts.record_count, Some(i64::try_from(self.frames.len()).unwrap()));
        let messages = self.frames.iter().filter(|frame| frame.kind == FrameKind::Message && frame.last).count();
        assert_eq!(facts.message_count, Some(i64::try_from(messages).unwrap()));
    }

    /// Reason of the one record of a refused session.
    pub fn refused(&self) -> String {
        assert_eq!((self.session.state, self.frames.len()), (SessionState::Refused, 1));
        assert_eq!(self.frames[0].kind, FrameKind::SessionRefused);
        self.last_reason().to_owned()
    }

    pub fn last_reason(&self) -> &str {
        &self.frames.last().unwrap().facts.as_ref().unwrap().reason_code
    }

    /// Statements of all commands, decrypted.
    pub fn statements(&self) -> Vec<String> {
        let commands = self.frames.iter().zip(&self.plain).filter(|(frame, _)| frame.kind == FrameKind::Command);
        commands
            .map(|(_, plain)| String::from_utf8(CommandContent::from_body(plain).unwrap().statement).unwrap())
            .collect()
    }

    /// Bodies (or chunks of them) of all messages of a type, decrypted.
    pub fn messages(&self, message_type: &str) -> Vec<Vec<u8>> {
        let all = self.frames.iter().zip(&self.plain).filter(|(frame, _)| frame.message_type == message_type);
        all.map(|(_, plain)| plain.clone()).collect()
    }
}

/// An error as the client sees it.
#[derive(Debug)]
pub struct Told {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: String,
}

/// A client that speaks bytes, without TLS.
pub struct Raw {
    stream: TcpStream,
    pub process: i32,
    pub key: Vec<u8>,
}

impl Raw {
    pub fn login(address: SocketAddr, parameters: &[(&str, &str)], token: &str) -> Result<Self, Told> {
        Self::login_minor(address, 0, parameters, token)
    }

    pub fn login_minor(
        address: SocketAddr,
        minor: u16,
        parameters: &[(&str, &str)],
        token: &str,
    ) -> Result<Self, Told> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut raw = Self { stream, process: 0, key: Vec::new() };
        let mut out = Vec::new();
        build::startup_message(&mut out, minor, parameters);
        raw.stream.write_all(&out).unwrap();
        loop {
            let (kind, body) = raw.message();
            match (kind, &body[..]) {
                (b'R', [0, 0, 0, 3]) => {
                    out.clear();
                    build::password(&mut out, token.as_bytes());
                    raw.stream.write_all(&out).unwrap();
                }
                (b'R' | b'S' | b'N', _) => {}
                (b'K', _) => {
                    raw.process = i32::from_be_bytes(body[..4].try_into().unwrap());
                    raw.key = body[4..].to_vec();
                }
                (b'Z', _) => return Ok(raw),
                (b'E', _) => return Err(told(&body)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0u8; 5];
        self.stream.read_exact(&mut header).unwrap();
        let len = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize - 4;
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).unwrap();
        (header[0], body)
    }

    pub fn send_query(&mut self, sql: &str) {
        let mut out = Vec::new();
        build::query(&mut out, sql.as_bytes());
        self.stream.write_all(&out).unwrap();
    }

    /// All values until ReadyForQuery, or the error; a FATAL ends at once.
    pub fn result(&mut self) -> Result<Vec<String>, Told> {
        let (mut values, mut error) = (Vec::new(), None);
        loop {
            let (kind, body) = self.message();
            match kind {
                b'D' => {
                    let row = ingest_proxy::protocol::postgres::message::parse::data_row(&body).unwrap();
                    values.extend(row.map(|value| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap()));
                }
                b'E' => {
                    let found = told(&body);
                    if found.severity == "FATAL" {
                        return Err(found);
                    }
                    error = Some(found);
                }
                b'Z' => return error.map_or(Ok(values), Err),
                _ => {}
            }
        }
    }

    pub fn query(&mut self, sql: &str) -> Vec<String> {
        self.send_query(sql);
        self.result().unwrap()
    }
}

fn told(body: &[u8]) -> Told {
    let fields = ErrorFields::read(body);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Told {
        severity: text(fields.severity),
        code: text(fields.code),
        message: text(fields.message),
        detail: text(fields.detail),
    }
}
