//! What the demo's two people do: real psql scripts, with secrets made up afresh at each run.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rand::Rng as _;

use super::issuer::Person;

/// The database administrator.
pub(crate) const ALICE: Person =
    Person { subject: "alice", email: "alice@example.com", name: "Alice Archer", groups: &["dba"] };
/// The developer.
pub(crate) const BOB: Person =
    Person { subject: "bob", email: "bob@example.com", name: "Bob Baker", groups: &["developers"] };

/// The secrets planted by one run. No two runs share one, so finding any of them in the archive proves a leak.
pub(crate) struct Secrets {
    /// In a statement: a role's password.
    pub(crate) password: String,
    /// In a parameter: a payment provider's key.
    pub(crate) payment_key: String,
    /// In COPY data and in a result: a source host's token.
    pub(crate) token: String,
    /// In COPY data, a result and an error: a card number.
    pub(crate) card: String,
}

impl Secrets {
    /// New random secrets.
    pub(crate) fn new() -> Self {
        Self {
            password: random(18),
            payment_key: format!("sk_live_{}", random(24)),
            token: format!("ghp_{}", random(36)),
            card: card(),
        }
    }

    /// All of them, with where each was planted.
    pub(crate) fn all(&self) -> [(&'static str, &str); 4] {
        [
            ("a role's password in a statement", &self.password),
            ("a payment key in a bound parameter", &self.payment_key),
            ("a token in COPY data and a result", &self.token),
            ("a card number in COPY data, a result and an error", &self.card),
        ]
    }
}

fn random(len: usize) -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(len).map(char::from).collect()
}

/// A card number with a test prefix and a right check digit (Luhn, ISO/IEC 7812-1).
fn card() -> String {
    let mut digits: Vec<u32> =
        [4, 2, 4, 2].into_iter().chain((0..11).map(|_| rand::rng().random_range(0..10))).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| if i % 2 == 0 { (digit * 2) / 10 + (digit * 2) % 10 } else { *digit })
        .sum();
    digits.push((10 - sum % 10) % 10);
    digits.iter().filter_map(|digit| char::from_digit(*digit, 10)).collect()
}

/// What Alice does. `bind` says whether this psql can bind parameters (16 and newer).
pub(crate) fn alice(secrets: &Secrets, bind: bool) -> String {
    let Secrets { password, payment_key, token, card } = secrets;
    let update = if bind {
        format!("UPDATE customers SET api_token = $1 WHERE id = $2 \\bind '{payment_key}' 2 \\g\n")
    } else {
        format!(
            "PREPARE rotate(text, int) AS UPDATE customers SET api_token = $1 WHERE id = $2;\nEXECUTE rotate('{payment_key}', 2);\n"
        )
    };
    format!(
        "DROP TABLE IF EXISTS customers;\nDROP ROLE IF EXISTS reporting;\n\
         CREATE TABLE customers (id int PRIMARY KEY, name text, email text, card text UNIQUE, api_token text);\n\
         COPY customers FROM STDIN WITH (FORMAT csv);\n\
         1,Ada Lovelace,ada@customer.example,{card},{token}\n2,Charles Babbage,charles@customer.example,,\n3,Grace Hopper,grace@customer.example,,\n\\.\n\
         CREATE ROLE reporting LOGIN PASSWORD '{password}';\n\
         {update}\
         INSERT INTO customers VALUES (4, 'Impostor', NULL, '{card}', NULL);\n"
    )
}

/// What Bob does: a secret comes back in a result, one statement fails, and data leaves by COPY.
pub(crate) fn bob() -> String {
    "SELECT id, name, email, card, api_token FROM customers ORDER BY id;\n\
     SELECT balance FROM customers;\n\
     BEGIN;\nUPDATE customers SET name = upper(name) WHERE id = 3;\nROLLBACK;\n\
     COPY customers (id, name, card) TO STDOUT WITH (FORMAT csv);\n"
        .to_owned()
}

/// How a client reaches the proxy.
pub(crate) struct Way<'a> {
    /// Path of psql.
    pub(crate) psql: &'a Path,
    /// The proxy's loopback port.
    pub(crate) port: u16,
    /// Certificate of the proxy's authority, PEM file.
    pub(crate) authority: &'a Path,
    /// Database as the client names it.
    pub(crate) database: &'a str,
}

/// Runs a script as a person and gives psql's own output, errors among it.
pub(crate) fn run(way: &Way<'_>, user: &str, token: &str, script: &Path) -> Result<String> {
    let connection = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user={user} dbname='{}' sslmode=verify-full sslrootcert='{}' application_name=psql",
        way.port,
        way.database,
        way.authority.display()
    );
    let output = Command::new(way.psql)
        .args(["--no-psqlrc", "--quiet", "--no-password", "--file"])
        .arg(script)
        .arg(&connection)
        .env("PGPASSWORD", token)
        .env_remove("PGOPTIONS")
        .stdin(Stdio::null())
        .output()
        .context("start psql")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.code() != Some(2),
        "psql could not connect through the proxy as {user}: {}",
        text.trim()
    );
    Ok(text)
}

/// True when this psql knows `\bind`.
pub(crate) fn can_bind(psql: &Path) -> bool {
    let output = Command::new(psql).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split(' ')
        .nth(2)
        .and_then(|version| version.split('.').next()?.trim().parse::<u32>().ok())
        .is_some_and(|major| major >= 16)
}
