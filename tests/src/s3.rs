//! A real S3 server with Object Lock (SeaweedFS), with three identities: admin, writer, reader.
//!
//! Requests are signed by the testkit itself ([`sign`]), so tests can send what object-store libraries have no call
//! for: buckets with a lock, retention, versions. After a restart the server's health page answers up to 4 s before old
//! objects can be read, so readiness means that a probe object reads: otherwise a crash test reports a loss that is none.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::certs::Authority;
use crate::http::{self, Answer};
use crate::ports::Port;
use crate::process::{Folder, Server};
use crate::tools;

pub mod sign;

const REGION: &str = "us-east-1";
const CA: &str = "ca.pem";
const PROBE: &str = "/zz-ready/probe";

/// Keys of one identity; test values only, so they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Access key id.
    pub access_key: &'static str,
    /// Secret key.
    pub secret_key: &'static str,
}

const ADMIN: Credentials = Credentials { access_key: "AKADMIN", secret_key: "admin-test-secret" };
const WRITER: Credentials = Credentials { access_key: "AKWRITER", secret_key: "writer-test-secret" };
const READER: Credentials = Credentials { access_key: "AKREADER", secret_key: "reader-test-secret" };

/// A running server.
#[derive(Debug)]
pub struct S3 {
    server: Option<Server>,
    ports: Vec<Port>,
    addr: SocketAddr,
    folder: Folder,
}

/// The flags that take a port, in the order of `S3::ports`; the first is the S3 endpoint.
const PORT_FLAGS: [&str; 13] = [
    "s3.port",
    "s3.port.https",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
    "admin.port",
    "admin.port.grpc",
];

impl S3 {
    /// Starts a server without buckets and waits until an object written to it reads.
    ///
    /// # Errors
    /// When it cannot be installed or does not start: shows its log.
    pub fn start() -> Result<Self> {
        let folder = Folder::new("s3")?;
        let identity = |name: &str, keys: Credentials, actions: &[&str]| {
            json!({"name": name, "actions": actions,
                "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}]})
        };
        let identities = json!({"identities": [
            identity("admin", ADMIN, &["Admin", "Read", "Write", "List", "Tagging"]),
            identity("writer", WRITER, &["Read", "Write", "List", "PutObjectRetention", "GetObjectRetention", "GetBucketObjectLockConfiguration"]),
            identity("reader", READER, &["Read", "List"]),
        ]});
        folder.write("identities.json", identities.to_string())?;
        let authority = Authority::new("s3")?;
        let issued = authority.loopback()?;
        folder.write(CA, authority.pem())?;
        folder.write("cert.pem", &issued.certificate_pem)?;
        folder.write("key.pem", &issued.key_pem)?;
        let ports = PORT_FLAGS.iter().map(|_| Port::free()).collect::<Result<Vec<_>>>()?;
        let addr = ports.first().context("port of the S3 endpoint")?.addr();
        let mut store = Self { server: None, ports, addr, folder };
        store.spawn()?;
        Ok(store)
    }

    /// Where it listens (plain HTTP, path-style addressing).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The same server over TLS, with a certificate of an authority of its own ([`S3::ca_file`]).
    ///
    /// # Errors
    /// None in practice: the port is there from the start.
    pub fn https_endpoint(&self) -> Result<String> {
        Ok(format!("https://{}", self.ports.get(1).context("port of the TLS endpoint")?.addr()))
    }

    /// PEM file of the authority that signed its certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join(CA)
    }

    /// The region to sign for.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// May do everything.
    #[must_use]
    pub fn admin(&self) -> Credentials {
        ADMIN
    }

    /// May read, write and list. Deleting too, until [`S3::deny_delete`] forbids it for a bucket.
    #[must_use]
    pub fn writer(&self) -> Credentials {
        WRITER
    }

    /// May read and list.
    #[must_use]
    pub fn reader(&self) -> Credentials {
        READER
    }

    /// Sends one signed request. `path` begins with `/` and may have a query; both must be encoded already.
    ///
    /// # Errors
    /// When no answer comes; a refusal is an answer.
    pub fn request(
        &self,
        who: Credentials,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let now = sign::now()?;
        let host = self.addr.to_string();
        let signed =
            sign::headers(&sign::Request { who, region: REGION, method, host: &host, path, headers, body, now });
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        http::request(method, self.addr, path, &all, body)
    }

    /// Makes a bucket; with `lock`, versioned and with Object Lock, no default retention.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create_bucket(&self, bucket: &str, lock: bool) -> Result<()> {
        let header = [("x-amz-bucket-object-lock-enabled", "true")];
        let headers: &[(&str, &str)] = if lock { &header } else { &[] };
        self.request(ADMIN, "PUT", &format!("/{bucket}"), headers, b"")?.ok().map(drop)
    }

    /// Gives a bucket the default retention COMPLIANCE for `days`.
    ///
    /// # Errors
    /// When it is refused, for instance because the bucket has no lock.
    pub fn default_retention(&self, bucket: &str, days: u32) -> Result<()> {
        let body = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
             <Mode>COMPLIANCE</Mode><Days>{days}</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
        );
        self.request(ADMIN, "PUT", &format!("/{bucket}?object-lock="), &[], body.as_bytes())?.ok().map(drop)
    }

    /// Forbids the writer to delete objects and versions in `bucket`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn deny_delete(&self, bucket: &str) -> Result<()> {
        // A bare name as principal would be ignored without a word by this server.
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny",
            "Principal": {"AWS": "arn:aws:iam::000000000000:user/writer"},
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            "Resource": [format!("arn:aws:s3:::{bucket}/*")]}]});
        let path = format!("/{bucket}?policy=");
        self.request(ADMIN, "PUT", &path, &[], policy.to_string().as_bytes())?.ok().map(drop)
    }

    /// Puts an object as `who` with further headers, for instance `if-none-match: *` or those of [`S3::locked_until`].
    ///
    /// # Errors
    /// When no answer comes; a refusal is an answer.
    pub fn put(
        &self,
        who: Credentials,
        bucket: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        self.request(who, "PUT", &object_path(bucket, key), headers, body)
    }

    /// The two headers that lock an object in mode COMPLIANCE for `seconds` from now.
    ///
    /// # Errors
    /// When the clock is before 1970.
    pub fn locked_until(&self, seconds: i64) -> Result<[(&'static str, String); 2]> {
        let until = sign::now()?.saturating_add(seconds);
        Ok([
            ("x-amz-object-lock-mode", "COMPLIANCE".to_owned()),
            ("x-amz-object-lock-retain-until-date", sign::rfc3339(until)),
        ])
    }

    /// Reads an object as `who`.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub fn get(&self, who: Credentials, bucket: &str, key: &str) -> Result<Vec<u8>> {
        Ok(self.request(who, "GET", &object_path(bucket, key), &[], b"")?.ok()?.body)
    }

    /// Deletes an object as `who`, or with `version` that version of it.
    ///
    /// # Errors
    /// When no answer comes; a refusal is an answer.
    pub fn delete(&self, who: Credentials, bucket: &str, key: &str, version: Option<&str>) -> Result<Answer> {
        let query = version.map(|id| format!("?versionId={}", http::encode(id))).unwrap_or_default();
        self.request(who, "DELETE", &(object_path(bucket, key) + &query), &[], b"")
    }

    /// The keys in `bucket` that begin with `prefix`, in order.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map(|key| format!("&start-after={}", http::encode(key))).unwrap_or_default();
            let path = format!("/{bucket}?list-type=2&prefix={}{after}", http::encode(prefix));
            let page = self.request(ADMIN, "GET", &path, &[], b"")?.ok()?.text();
            let found = elements(&page, "Key");
            if found.is_empty() {
                return Ok(keys);
            }
            keys.extend(found);
        }
    }

    /// Kills it with SIGKILL; the data stay.
    pub fn kill9(&mut self) {
        self.server = None;
    }

    /// Starts it again on its data and ports (killing it first if it runs).
    ///
    /// # Errors
    /// When it does not start: shows its log.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9();
        self.spawn()
    }

    fn spawn(&mut self) -> Result<()> {
        let here = |name: &str| self.folder.join(name).display().to_string();
        let data = self.folder.join("data");
        let again = data.exists();
        std::fs::create_dir_all(&data).context("make the store's folder")?;
        let mut command = Command::new(tools::weed()?);
        command.current_dir(self.folder.path()).args([
            "-logtostderr=true",
            "mini",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
        ]);
        command.args(["-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.autoCreateBucket=false"]);
        command.arg(format!("-dir={}", data.display()));
        command.arg(format!("-s3.config={}", here("identities.json")));
        command.arg(format!("-s3.cert.file={}", here("cert.pem")));
        command.arg(format!("-s3.key.file={}", here("key.pem")));
        command.arg(format!("-s3.localSocket={}", here("s3.sock")));
        command.arg(format!("-filer.localSocket={}", here("filer.sock")));
        for (flag, port) in PORT_FLAGS.iter().zip(&self.ports) {
            command.arg(format!("-{flag}={}", port.number()));
        }
        let mut server = Server::spawn("s3 server", &mut command, &self.folder.join("log"))?;
        server.ready(|| {
            if !again {
                self.request(ADMIN, "PUT", "/zz-ready", &[], b"")?;
                self.request(ADMIN, "PUT", PROBE, &[], b"1")?;
            }
            Ok(self.request(ADMIN, "GET", PROBE, &[], b"")?.status == 200)
        })?;
        self.server = Some(server);
        Ok(())
    }
}

/// The texts of all elements `name` in an XML answer, with the five named entities resolved.
#[must_use]
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts = xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text);
    let plain = |text: &str| {
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#34;", "\"")
            .replace("&amp;", "&")
    };
    texts.map(plain).collect()
}

fn object_path(bucket: &str, key: &str) -> String {
    let mut path = format!("/{bucket}");
    for part in key.split('/') {
        write!(path, "/{}", http::encode(part)).unwrap_or_default();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_slashes_and_encode_the_rest() {
        assert_eq!(object_path("b", "a/x=1/y z"), "/b/a/x%3D1/y%20z");
    }

    #[test]
    fn elements_of_an_answer() {
        assert_eq!(elements("<a><Key>x&amp;y</Key><Key>z</Key></a>", "Key"), ["x&y", "z"]);
    }
}
