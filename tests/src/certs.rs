//! Certificates for tests: one authority, and server certificates that name 127.0.0.1.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate authority that exists in memory only (ECDSA P-256).
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The key, PEM, PKCS#8.
    pub key_pem: String,
}

impl Authority {
    /// Makes a new authority named `name`.
    ///
    /// # Errors
    /// When the key or certificate cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("make the authority's key")?;
        let mut params = CertificateParams::new(Vec::new()).context("authority's parameters")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).context("sign the authority's certificate")?;
        Ok(Self { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate, PEM: what a client trusts.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a server certificate for `names` (DNS names and IP addresses).
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        let key = KeyPair::generate().context("make a server key")?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).context("names of a certificate")?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("test", String::as_str));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).context("sign a server certificate")?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Issues a certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn loopback(&self) -> Result<Issued> {
        self.issue(&["localhost", "127.0.0.1"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_accepts_the_chain_for_the_loopback_address() {
        let folder = crate::process::Folder::new("certs").unwrap();
        let authority = Authority::new("unit").unwrap();
        let ca = folder.write("ca.pem", authority.pem()).unwrap();
        let cert = folder.write("cert.pem", authority.loopback().unwrap().certificate_pem).unwrap();
        let verify = |ip: &str| {
            let mut command = std::process::Command::new("openssl");
            command.args(["verify", "-verify_ip", ip, "-CAfile"]).arg(&ca).arg(&cert);
            crate::process::run(&mut command)
        };
        verify("127.0.0.1").unwrap();
        assert!(verify("10.0.0.1").is_err());
    }
}
