//! `testkit install` brings what the tests need; `testkit up COMPONENT` starts one server by hand until it is killed.
#![allow(clippy::print_stdout)]

use anyhow::{Result, bail};
use testkit::{kafka, oidc, postgres, registry, s3, tools};

const USAGE: &str = "usage: testkit install | testkit up kafka|kafka3|postgres|s3|oidc|registry";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["install"] => tools::install_all(|line| println!("{line}")),
        ["up", component] => up(component),
        _ => bail!(USAGE),
    }
}

/// Starts one server, says where it is, and keeps it until this process is killed.
fn up(component: &str) -> Result<()> {
    match component {
        "kafka" | "kafka3" => {
            let nodes = if component == "kafka3" { 3 } else { 1 };
            let kafka = kafka::Kafka::start(&kafka::Options { nodes, ..kafka::Options::default() })?;
            println!("bootstrap {}", kafka.bootstrap());
            stay(&kafka)
        }
        "postgres" => {
            let postgres = postgres::Postgres::start(&postgres::Options::default())?;
            println!("url {}", postgres.url("postgres", "verify-full"));
            stay(&postgres)
        }
        "s3" => {
            let store = s3::S3::start()?;
            store.create_bucket("audit", true)?;
            println!("endpoint {} bucket audit (Object Lock) {:?}", store.endpoint(), store.admin());
            stay(&store)
        }
        "oidc" => {
            let oidc = oidc::Oidc::start(&oidc::Options::default())?;
            println!("issuer {} audience {}\nalice {}", oidc.issuer(), oidc.audience(), oidc.login("alice")?.access);
            stay(&oidc)
        }
        "registry" => {
            let registry = registry::Registry::start()?;
            println!("url {}", registry.url());
            stay(&registry)
        }
        _ => bail!(USAGE),
    }
}

/// Holds a server until this process ends.
fn stay<T>(_server: &T) -> Result<()> {
    loop {
        std::thread::park();
    }
}
