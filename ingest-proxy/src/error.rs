//! Why the proxy does not start, and why a connection gets no session.

use std::path::PathBuf;

use crate::config::UnknownTarget;
use crate::identity::IdentityError;
use crate::policy::Denial;
use crate::session::RecordError;
use crate::target::TargetError;

/// The proxy cannot start. Nothing was bound.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is out of its bounds.
    #[error("setting {field} of the proxy: {reason}")]
    Setting {
        /// Path in the table `[proxy]`.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be used. Never holds its content.
    #[error("read {what} from `{path}`: {reason}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("set up tls of {what}")]
    Tls {
        /// Of the listener, or of which target.
        what: String,
        /// Cause.
        #[source]
        source: rustls::Error,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// Address.
        address: std::net::SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Why a connection got no session. What the client is told, and what SESSION_REFUSED says.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A token over a connection without TLS.
    #[error("this proxy takes tokens over TLS only; use sslmode=require or verify-full")]
    TlsRequired,
    /// No user is named.
    #[error("no user name in the start-up packet")]
    NoUser,
    /// The answer to the password request is something else.
    #[error("expected a password message")]
    NoPassword,
    /// Nobody was identified.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// No such target.
    #[error("{0}; connect with dbname=<target> or <target>/<database>")]
    Target(#[from] UnknownTarget),
    /// The principal may not open it.
    #[error("{0}")]
    Policy(#[from] Denial),
    /// The principal has too many sessions.
    #[error("you have too many sessions")]
    PrincipalSessions,
    /// The process has as many sessions as it may have.
    #[error("too many sessions; try again later")]
    ProcessSessions,
    /// Too many connections were waiting to log in, and this one had waited longest.
    #[error("too many connections are logging in; try again")]
    Evicted,
    /// The login took too long.
    #[error("login took too long")]
    Timeout,
    /// The session cannot be recorded.
    #[error("the session cannot be recorded")]
    Record(#[from] RecordError),
    /// The session key cannot be made.
    #[error("the session cannot be encrypted")]
    Encrypt(#[from] crate::encrypt::EncryptError),
    /// The target did not let us in.
    #[error("{0}")]
    Dial(#[from] TargetError),
    /// The connection to the client failed.
    #[error("connection to the client")]
    Client(#[from] std::io::Error),
}

impl Refusal {
    /// Stable reason code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TlsRequired => "tls_required",
            Self::NoUser => "startup_no_user",
            Self::NoPassword => "password_expected",
            Self::Identity(error) => error.kind(),
            Self::Target(_) => "target_unknown",
            Self::Policy(error) => error.kind(),
            Self::PrincipalSessions => "sessions_per_principal",
            Self::ProcessSessions => "sessions_of_process",
            Self::Evicted => "handshakes",
            Self::Timeout => "handshake_timeout",
            Self::Record(error) => error.kind(),
            Self::Encrypt(error) => error.kind(),
            Self::Dial(error) => error.kind(),
            Self::Client(_) => "client_gone",
        }
    }

    /// SQLSTATE for the client.
    #[must_use]
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::TlsRequired | Self::NoUser => "28000",
            Self::NoPassword => "08P01",
            Self::Identity(error) => error.sqlstate(),
            Self::Target(_) => "3D000",
            Self::Policy(error) => error.sqlstate(),
            Self::PrincipalSessions | Self::ProcessSessions | Self::Evicted => "53300",
            Self::Timeout => "57P05",
            Self::Record(error) => error.sqlstate(),
            Self::Encrypt(_) => "58000",
            Self::Dial(error) => error.sqlstate(),
            Self::Client(_) => "08006",
        }
    }
}
