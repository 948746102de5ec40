//! A throw-away certificate authority and one server certificate, for the demo's proxy and Postgres alike.

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// PEM texts of one run.
pub(crate) struct Certificates {
    /// The authority that clients trust.
    pub(crate) authority: String,
    /// Server certificate for `localhost` and `127.0.0.1`.
    pub(crate) certificate: String,
    /// Its private key.
    pub(crate) key: String,
}

impl Certificates {
    /// Makes a new authority and certificate; the authority's key is forgotten at once.
    pub(crate) fn new() -> Result<Self> {
        let authority_key = KeyPair::generate().context("make the authority's key")?;
        let mut authority = CertificateParams::new(Vec::<String>::new()).context("authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Sealtrail demo authority");
        let root = authority.self_signed(&authority_key).context("sign the authority")?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().context("make the server's key")?;
        let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
            .context("server certificate")?;
        server.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let certificate = server.signed_by(&key, &issuer).context("sign the server certificate")?;
        Ok(Self { authority: root.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
