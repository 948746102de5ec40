//! Reaches a target: TCP, then TLS as configured. What is said on the connection is the protocol's business.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use stage::config::Secret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{TargetConfig, TargetTls};
use crate::error::StartError;
use crate::link::Link;
use crate::protocol::postgres::message::build;

/// Why a target cannot be used. The text names the target and never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No TCP connection.
    #[error("target \"{target}\" cannot be reached: {reason}")]
    Connect {
        /// Target.
        target: String,
        /// What the system said.
        reason: String,
    },
    /// TLS is wanted and did not come about.
    #[error("target \"{target}\": tls failed: {reason}")]
    Tls {
        /// Target.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The connection ended or made no sense during login.
    #[error("target \"{target}\": login failed: {reason}")]
    Login {
        /// Target.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The target said no.
    #[error("target \"{target}\": {message}")]
    Refused {
        /// Target.
        target: String,
        /// SQLSTATE for the client.
        sqlstate: String,
        /// The target's words.
        message: String,
    },
}

impl TargetError {
    /// Stable reason code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "target_unreachable",
            Self::Tls { .. } => "target_tls",
            Self::Login { .. } => "target_login",
            Self::Refused { .. } => "target_refused",
        }
    }

    /// SQLSTATE for the client.
    #[must_use]
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::Connect { .. } => "08001",
            Self::Tls { .. } | Self::Login { .. } => "08006",
            Self::Refused { sqlstate, .. } => sqlstate,
        }
    }
}

/// What is needed to reach and enter one target. Read once, at start.
pub(crate) struct Dialer {
    /// Configured name.
    pub(crate) name: String,
    /// Account.
    pub(crate) user: String,
    /// Its password, if it has one.
    pub(crate) password: Option<Secret>,
    /// MD5, or a cleartext password without TLS, is answered.
    pub(crate) allow_weak_password: bool,
    /// Limit of connection and of login, each.
    pub(crate) timeout: Duration,
    address: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    /// Reads the secret and the authorities of a target.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn new(name: &str, config: &TargetConfig) -> Result<Self, StartError> {
        let wrong =
            |field: &str, reason: String| StartError::Setting { field: format!("targets.{name}.{field}"), reason };
        let (host, _port) = config
            .address
            .rsplit_once(':')
            .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            .ok_or_else(|| wrong("address", "must be host:port".into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let password = config.password.as_ref().map(stage::config::SecretSource::read).transpose();
        let password = password.map_err(|error| wrong("password", error.to_string()))?;
        let tls = match config.tls {
            TargetTls::Disable => None,
            mode => {
                let server = ServerName::try_from(host).map_err(|error| wrong("address", error.to_string()))?;
                Some((Arc::new(client_config(name, config, mode)?), server))
            }
        };
        Ok(Self {
            name: name.to_owned(),
            user: config.user.clone(),
            password,
            allow_weak_password: config.allow_weak_password,
            timeout: Duration::from_millis(config.timeout_ms),
            address: config.address.clone(),
            tls,
        })
    }

    /// True when what is sent cannot be read on the way.
    pub(crate) fn encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Opens a connection, ready for the first packet.
    ///
    /// # Errors
    /// `Connect`, `Tls`.
    pub(crate) async fn dial(&self) -> Result<Link, TargetError> {
        let target = || self.name.clone();
        let connected = tokio::time::timeout(self.timeout, TcpStream::connect(&self.address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(TargetError::Connect { target: target(), reason: error.to_string() }),
            Err(_) => return Err(TargetError::Connect { target: target(), reason: "no answer in time".into() }),
        };
        if let Err(error) = stream.set_nodelay(true) {
            return Err(TargetError::Connect { target: target(), reason: error.to_string() });
        }
        let Some((config, server)) = &self.tls else { return Ok(Link::new(stream)) };
        let upgraded = tokio::time::timeout(self.timeout, upgrade(stream, config, server)).await;
        match upgraded {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(TargetError::Tls { target: target(), reason: error.to_string() }),
            Err(_) => Err(TargetError::Tls { target: target(), reason: "no answer in time".into() }),
        }
    }
}

async fn upgrade(stream: TcpStream, config: &Arc<ClientConfig>, server: &ServerName<'static>) -> std::io::Result<Link> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = stream;
    let mut request = Vec::new();
    build::ssl_request(&mut request);
    stream.write_all(&request).await?;
    if stream.read_u8().await? != b'S' {
        return Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "the target offers no tls"));
    }
    Ok(Link::new(TlsConnector::from(Arc::clone(config)).connect(server.clone(), stream).await?))
}

/// The one crypto provider of the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(name: &str, config: &TargetConfig, mode: TargetTls) -> Result<ClientConfig, StartError> {
    let tls = |source| StartError::Tls { what: format!("target {name}"), source };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(tls)?;
    let mut client = if mode == TargetTls::Require {
        let accept = Arc::new(AnyCertificate(provider()));
        builder.dangerous().with_custom_certificate_verifier(accept).with_no_client_auth()
    } else {
        let roots = match &config.tls_authority {
            Some(path) => authorities(path)?,
            None => system_authorities(),
        };
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    client.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(client)
}

/// Authorities of a PEM file.
///
/// # Errors
/// [`StartError::File`] when there is none in it.
pub(crate) fn authorities(path: &std::path::Path) -> Result<RootCertStore, StartError> {
    let wrong = |reason: String| StartError::File { what: "certificate authorities", path: path.into(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it holds no certificate".into())) } else { Ok(roots) }
}

/// The system's authorities; those that cannot be read are left out with a warning.
pub(crate) fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "certificate authorities of the system");
    roots
}

/// `tls = "require"`: the operator asked for encryption without a check of who answers.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_and_a_missing_authority_are_named() {
        for (address, field) in [("db", "address"), ("db:", "address"), (":5432", "address"), ("db:99999", "address")] {
            let config = TargetConfig { address: address.into(), ..TargetConfig::default() };
            let error = Dialer::new("crm", &config).err().unwrap().to_string();
            assert!(error.contains("targets.crm") && error.contains(field), "{error}");
        }
        let config = TargetConfig { tls_authority: Some("/nowhere/ca.pem".into()), ..TargetConfig::default() };
        let error = Dialer::new("crm", &config).err().unwrap().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }

    #[test]
    fn nobody_answers_is_said_with_the_name_of_the_target() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = TargetConfig { address: free.to_string(), tls: TargetTls::Disable, ..TargetConfig::default() };
        let dialer = Dialer::new("crm", &config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(dialer.dial()).err().unwrap();
        assert_eq!((error.kind(), error.sqlstate()), ("target_unreachable", "08001"));
        assert!(error.to_string().contains("\"crm\""));
    }
}
