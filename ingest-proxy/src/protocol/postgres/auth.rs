//! From a start-up packet to a relayed session: who it is, whether they may, then the target's own login (I-06, I-07).
//!
//! The order is the invariant: identity, policy, the session's first record, and only then a byte to the target. A
//! refusal is recorded before the client hears of it. Passwords and tokens are read, used and wiped; their records have
//! name and size only (I-05).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use schemas::v1::{Label, Principal, Protocol, Session, SessionContext, SessionState, Target, Uuid};
use stage::Level;
use stage::clock::now_us;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::codec::Piece;
use super::message::parse::{Authentication, ErrorFields, backend_key_data, sasl_mechanisms};
use super::message::startup::StartupMessage;
use super::message::{Side, build};
use super::observe::{Limits, Observer};
use super::relay::{Control, relay};
use super::scram;
use crate::encrypt::SessionCipher;
use crate::error::Refusal;
use crate::handshakes::Handshake;
use crate::identity::Identity;
use crate::link::{Link, Message};
use crate::listener::{Shared, fatal};
use crate::policy;
use crate::session::Records;
use crate::tap::Guarantee;
use crate::target::{Dialer, TargetError};

/// Most messages of a target's login.
const LOGIN_MESSAGES_MAX: usize = 1024;
/// Longest application name in a session record, bytes.
const APPLICATION_BYTES_MAX: usize = 64;
/// Longest text of a target's refusal that is passed on, bytes.
const REASON_BYTES_MAX: usize = 1024;
/// Random bytes of a SCRAM nonce.
const NONCE_LEN: usize = 24;

/// A connection that sent a start-up packet.
pub(crate) struct Visit {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// True when the link is inside TLS.
    pub(crate) tls: bool,
    /// Until when the principal must be verified.
    pub(crate) deadline: Instant,
    /// Wire bytes of the start-up packet.
    pub(crate) size_bytes: u64,
    /// What the process was asked to do.
    pub(crate) level: watch::Receiver<Level>,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    visit: Visit,
    mut handshake: Handshake,
    mut link: Link,
    startup: &StartupMessage<'_>,
) {
    let mut password_bytes = 0;
    let identified = timeout_at(visit.deadline, identify(shared, &visit, &mut link, startup, &mut password_bytes));
    let identified = tokio::select! {
        identified = identified => identified.unwrap_or(Err(Refusal::Timeout)),
        () = handshake.evicted() => Err(Refusal::Evicted),
    };
    drop(handshake);
    if let Err(Refusal::Client(_)) = identified {
        return; // as when a client asks its user for the password and comes again
    }
    let identity = identified.as_ref().ok().cloned();
    let (admission, place) = match identified.and_then(|identity| admit(shared, startup, &identity)) {
        Ok(place) => (None, Some(place)),
        Err(refusal) => (Some(refusal), None),
    };
    let ended = match Guest::new(shared, &visit, startup, identity) {
        Ok(guest) => guest.enter(visit, &mut link, startup, admission, password_bytes).await,
        Err(refusal) => Err(refusal),
    };
    match ended {
        Ok(end) => {
            tracing::debug!(reason = end, "session ended");
            let clean = matches!(timeout(crate::link::FAREWELL, link.shutdown()).await, Ok(Ok(())));
            tracing::trace!(clean, "connection closed");
        }
        Err(refusal) => {
            tracing::info!(reason = refusal.kind(), "session refused");
            link.farewell(&fatal(refusal.sqlstate(), &format!("sealtrail: {refusal}"), refusal.kind())).await;
        }
    }
    drop(place);
}

/// Asks for the token and verifies it.
async fn identify(
    shared: &Shared,
    visit: &Visit,
    link: &mut Link,
    startup: &StartupMessage<'_>,
    password_bytes: &mut u64,
) -> Result<Identity, Refusal> {
    let mut out = Vec::new();
    if startup.negotiates() {
        build::negotiate_protocol_version(&mut out, &startup.options);
        link.send(&out).await?;
        out.clear();
    }
    if !visit.tls && !shared.config.allow_cleartext_password {
        return Err(Refusal::TlsRequired);
    }
    if startup.parameter("user").unwrap_or_default().is_empty() {
        return Err(Refusal::NoUser);
    }
    build::authentication_cleartext(&mut out);
    link.send(&out).await?;
    let message = match link.message().await {
        Ok(message) if message.kind == b'p' => message,
        Err(error) if error.kind() != std::io::ErrorKind::InvalidData => return Err(error.into()),
        _ => return Err(Refusal::NoPassword),
    };
    *password_bytes = message.size_bytes();
    let token = message.body.strip_suffix(&[0]).ok_or(Refusal::NoPassword)?;
    Ok(shared.verifier.verify(token, now_us()).await?)
}

/// A principal's place among its sessions, and one of the process's; given back when dropped.
struct Place {
    _session: OwnedSemaphorePermit,
    principals: Arc<parking_lot::Mutex<std::collections::HashMap<String, usize>>>,
    key: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut principals = self.principals.lock();
        if let Some(count) = principals.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                principals.remove(&self.key);
            }
        }
    }
}

/// Decides: target, policy, then the number of sessions of the process and of the principal.
fn admit(shared: &Shared, startup: &StartupMessage<'_>, identity: &Identity) -> Result<Place, Refusal> {
    let (_, target, _) = shared.config.route(database(startup))?;
    policy::open_session(&identity.principal, target, startup.parameter("replication"))?;
    let session = Arc::clone(&shared.sessions).try_acquire_owned().map_err(|_| Refusal::ProcessSessions)?;
    let key = format!("{}\n{}", identity.principal.issuer, identity.principal.subject);
    let mut principals = shared.principals.lock();
    let count = principals.entry(key.clone()).or_insert(0);
    if *count >= shared.config.sessions_per_principal_max {
        return Err(Refusal::PrincipalSessions);
    }
    *count += 1;
    Ok(Place { _session: session, principals: Arc::clone(&shared.principals), key })
}

/// The `database` parameter; the user's name when it is absent, as the server reads it.
fn database<'a>(startup: &StartupMessage<'a>) -> &'a str {
    let named = |name: &str| {
        startup.parameters.iter().rev().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| *value)
    };
    named("database").or_else(|| named("user")).unwrap_or_default()
}

/// A session about to be recorded.
struct Guest<'a> {
    shared: &'a Arc<Shared>,
    session: Session,
    records: Records,
    observer: Observer,
    dialer: Option<&'a Dialer>,
}

impl<'a> Guest<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        visit: &Visit,
        startup: &StartupMessage<'_>,
        identity: Option<Identity>,
    ) -> Result<Self, Refusal> {
        let config = &shared.config;
        let session_id = Uuid::now_v7();
        let named = config.route(database(startup)).ok();
        let capture = named.map_or(&config.capture, |(_, target, _)| config.capture(target));
        let cipher = SessionCipher::new(session_id, &shared.masker)?;
        let tap = shared.tap.session(session_id, capture.guarantee, capture.window_bytes);
        let tap = tap.waiting(Duration::from_millis(capture.wait_ms_max));
        let (principal, expires_at_us) = match identity {
            Some(identity) => (identity.principal, identity.expires_at_us),
            None => (Principal::default(), 0),
        };
        let target = named.map_or_else(Target::default, |(name, target, _)| Target {
            name: name.to_owned(),
            environment: target.environment.clone(),
            owner: target.owner.clone(),
            labels: target.labels.iter().map(|(key, value)| Label { key: key.clone(), value: value.clone() }).collect(),
        });
        let application = startup.parameter("application_name").unwrap_or_default();
        let session = Session {
            session_id,
            state: SessionState::Open,
            protocol: Protocol::Postgres,
            opened_at_us: now_us(),
            expires_at_us,
            context: SessionContext {
                principal,
                target,
                client_ip: visit.peer.ip().to_canonical().to_string(),
                client_port: i32::from(visit.peer.port()),
                proxy_instance: shared.instance.clone(),
                target_user: named.map(|(_, target, _)| target.user.clone()).unwrap_or_default(),
                database: named.map_or_else(|| database(startup), |(_, _, inner)| inner).to_owned(),
                application: cut(application, APPLICATION_BYTES_MAX).to_owned(),
                capture_guarantee: shared.tap.said(capture.guarantee),
                key_id: shared.masker.id().to_owned(),
                wrapped_key: Vec::new(),
            },
        };
        let dialer = named.and_then(|(name, _, _)| shared.dialers.get(name));
        let waits = capture.guarantee != Guarantee::Buffered;
        let records = Records::new(session_id, cipher, tap).gathering(waits);
        let observer = Observer::new(Limits::default());
        Ok(Self { shared, session, records, observer, dialer })
    }

    /// Records the opening or the refusal, logs in at the target and relays; gives the reason of the end.
    async fn enter(
        mut self,
        visit: Visit,
        link: &mut Link,
        startup: &StartupMessage<'_>,
        refusal: Option<Refusal>,
        password_bytes: u64,
    ) -> Result<&'static str, Refusal> {
        let parameters = startup.parameters.iter();
        let parameters =
            parameters.map(|(key, value)| Label { key: (*key).to_owned(), value: (*value).to_owned() }).collect();
        self.records.at(now_us());
        let metrics = &self.shared.metrics;
        if let Some(refusal) = refusal {
            self.session.state = SessionState::Refused;
            metrics.sessions_refused();
            if let Err(error) = self.records.open(&mut self.session, refusal.kind(), parameters).await {
                tracing::error!(reason = refusal.kind(), %error, "a refused session could not be recorded");
            }
            return Err(refusal);
        }
        self.records.open(&mut self.session, "", parameters).await?;
        metrics.sessions_opened();
        let ended = self.session(visit, link, startup, password_bytes).await;
        if let Err(refusal) = &ended {
            self.records.at(now_us());
            self.observer.close(now_us(), &mut self.records);
            if let Err(error) = self.records.close(refusal.kind(), self.observer.message_count()).await {
                tracing::error!(reason = refusal.kind(), %error, "the end of a session could not be recorded");
            }
        }
        self.shared.metrics.sessions_closed();
        ended
    }

    async fn session(
        &mut self,
        visit: Visit,
        link: &mut Link,
        startup: &StartupMessage<'_>,
        password_bytes: u64,
    ) -> Result<&'static str, Refusal> {
        let (observer, records) = (&mut self.observer, &mut self.records);
        observer.handshake(Side::Client, "StartupMessage", visit.size_bytes, records);
        observer.handshake(Side::Target, "Authentication", 9, records);
        observer.handshake(Side::Client, "PasswordMessage", password_bytes, records);
        records.settle().await?;
        let Some(dialer) = self.dialer else { return Err(crate::config::UnknownTarget.into()) };
        let mut target = dialer.dial().await?;
        let login = Login { dialer, observer, records, out: Vec::new() };
        let welcome = timeout(dialer.timeout, login.run(&mut target, startup, &self.session.context.database));
        let welcome = welcome.await.unwrap_or_else(|_| Err(login_error(dialer, "no answer in time")))?;
        let minted = self.shared.cancels.register(&dialer.name, welcome.process, welcome.key, startup.minor_spoken());
        let Some(mut minted) = minted else { return Err(crate::encrypt::EncryptError::Random.into()) };
        let mut out = Vec::new();
        build::authentication_ok(&mut out);
        out.extend_from_slice(&welcome.messages);
        build::backend_key_data(&mut out, minted.process, &minted.key);
        build::ready_for_query(&mut out, b'I');
        self.records.settle().await?;
        link.send(&out).await?;
        let control = Control {
            expires_at_us: self.session.expires_at_us,
            level: visit.level,
            drain: Duration::from_millis(self.shared.config.drain_ms),
            cancels: &mut minted.notices,
        };
        let end = relay(&mut self.records, &mut self.observer, link, target, control, now_us).await;
        Ok(end.kind())
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

fn login_error(dialer: &Dialer, reason: impl Into<String>) -> TargetError {
    TargetError::Login { target: dialer.name.clone(), reason: reason.into() }
}

/// What a target says when it lets us in.
struct Welcome {
    /// ParameterStatus and NoticeResponse, as they came.
    messages: Vec<u8>,
    process: i32,
    key: Vec<u8>,
}

/// The proxy's own login at a target.
struct Login<'a> {
    dialer: &'a Dialer,
    observer: &'a mut Observer,
    records: &'a mut Records,
    out: Vec<u8>,
}

/// Where the password exchange stands.
enum Proof {
    None,
    Sent(scram::Client),
    Proved(scram::Proved),
    Verified,
    Done,
}

impl Login<'_> {
    async fn run(
        mut self,
        target: &mut Link,
        startup: &StartupMessage<'_>,
        database: &str,
    ) -> Result<Welcome, TargetError> {
        let dialer = self.dialer;
        let lost = |error: std::io::Error| login_error(dialer, error.to_string());
        let ours = ["user", "database", "replication"];
        let mut parameters = vec![("user", dialer.user.as_str()), ("database", database)];
        parameters.extend(startup.parameters.iter().filter(|(name, _)| !ours.contains(name)));
        build::startup_message(&mut self.out, 0, &parameters);
        let mut welcome = Welcome { messages: Vec::new(), process: 0, key: Vec::new() };
        let mut proof = Proof::None;
        for _ in 0..LOGIN_MESSAGES_MAX {
            if !self.out.is_empty() {
                target.send(&self.out).await.map_err(lost)?;
                // Wiped: it may hold a password.
                zeroize::Zeroize::zeroize(&mut self.out);
            }
            let message = target.message().await.map_err(lost)?;
            self.observe(&message);
            match message.kind {
                b'R' => proof = self.authenticate(proof, &message.body)?,
                b'E' => return Err(refused(dialer, &message.body)),
                b'N' | b'v' if !matches!(proof, Proof::Done) => {}
                b'S' | b'N' if matches!(proof, Proof::Done) => put(&mut welcome.messages, &message),
                b'K' if matches!(proof, Proof::Done) => {
                    let (process, key) =
                        backend_key_data(&message.body).map_err(|error| login_error(dialer, error.to_string()))?;
                    (welcome.process, welcome.key) = (process, key.to_vec());
                }
                b'Z' if matches!(proof, Proof::Done) => return Ok(welcome),
                other => return Err(login_error(dialer, format!("unexpected message 0x{other:02x}"))),
            }
        }
        Err(login_error(dialer, "too many messages"))
    }

    fn observe(&mut self, message: &Message) {
        let piece = Piece {
            message_type: message.kind,
            declared_len: u32::try_from(message.body.len() + 4).unwrap_or(u32::MAX),
            chunk: 0,
            offset: 0,
            last: true,
            over_limit: false,
            body: &message.body,
            wire_len: message.body.len() + 5,
        };
        self.records.at(now_us());
        self.observer.response(&piece, now_us(), self.records);
    }

    /// Answers one authentication request into `self.out`.
    fn authenticate(&mut self, proof: Proof, body: &[u8]) -> Result<Proof, TargetError> {
        let dialer = self.dialer;
        let fail = |reason: &str| login_error(dialer, reason);
        let request = Authentication::read(body).map_err(|error| fail(&error.to_string()))?;
        if matches!(request, Authentication::Ok) {
            return match proof {
                // A server that skips its own proof may not know the password.
                Proof::Sent(_) | Proof::Proved(_) => Err(fail("the target ended scram without its proof")),
                Proof::None | Proof::Verified | Proof::Done => Ok(Proof::Done),
            };
        }
        let password = dialer.password.as_ref();
        let password = password.ok_or_else(|| fail("the target asks for a password and none is configured"))?.expose();
        let weak = dialer.allow_weak_password;
        let next = match (request, proof) {
            (Authentication::Cleartext, Proof::None) if weak || dialer.encrypted() => {
                build::password(&mut self.out, password.as_bytes());
                Proof::Verified
            }
            (Authentication::Md5(salt), Proof::None) if weak => {
                build::password(&mut self.out, scram::md5_password(&dialer.user, password, salt).as_bytes());
                Proof::Verified
            }
            (Authentication::Cleartext | Authentication::Md5(_), Proof::None) => {
                return Err(fail("the target asks for a weak password exchange, which allow_weak_password forbids"));
            }
            (Authentication::Sasl(list), Proof::None) if sasl_mechanisms(list).any(|name| name == scram::MECHANISM) => {
                let mut nonce = [0u8; NONCE_LEN];
                SystemRandom::new().fill(&mut nonce).map_err(|_| fail("no random bytes"))?;
                let client = scram::Client::new(password, &nonce);
                build::sasl_initial_response(&mut self.out, scram::MECHANISM, client.first().as_bytes());
                Proof::Sent(client)
            }
            (Authentication::SaslContinue(challenge), Proof::Sent(client)) => {
                let (answer, proved) = client.prove(challenge).map_err(|error| fail(&error.to_string()))?;
                build::sasl_response(&mut self.out, answer.as_bytes());
                Proof::Proved(proved)
            }
            (Authentication::SaslFinal(last), Proof::Proved(proved)) => {
                proved.verify(last).map_err(|error| fail(&error.to_string()))?;
                return Ok(Proof::Verified);
            }
            _ => return Err(fail("the target asks for an authentication that is not supported")),
        };
        let name = if matches!(next, Proof::Verified) { "PasswordMessage" } else { "SASLResponse" };
        let size_bytes = u64::try_from(self.out.len()).unwrap_or(u64::MAX);
        self.observer.handshake(Side::Client, name, size_bytes, self.records);
        Ok(next)
    }
}

fn put(out: &mut Vec<u8>, message: &Message) {
    build::message(out, message.kind, |out| out.extend_from_slice(&message.body));
}

/// The target's refusal in the client's terms. That the proxy's own account was refused is no matter of the client's
/// token, so class 28 becomes 08004.
fn refused(dialer: &Dialer, body: &[u8]) -> TargetError {
    let fields = ErrorFields::read(body);
    let sqlstate = fields.sqlstate();
    let sqlstate = if sqlstate.starts_with("28") { "08004" } else { sqlstate };
    let text = String::from_utf8_lossy(fields.message);
    TargetError::Refused {
        target: dialer.name.clone(),
        sqlstate: sqlstate.to_owned(),
        message: cut(&text, REASON_BYTES_MAX).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_the_users_name_when_absent_and_texts_are_cut_between_characters() {
        let startup = |parameters: &[(&'static str, &'static str)]| StartupMessage {
            minor: 0,
            parameters: parameters.to_vec(),
            options: Vec::new(),
        };
        assert_eq!(database(&startup(&[("user", "ada"), ("database", "crm/main")])), "crm/main");
        assert_eq!(database(&startup(&[("user", "ada"), ("database", "")])), "ada");
        assert_eq!(cut("naïve", 3), "na");
        assert_eq!(cut("ab", 64), "ab");
    }
}
