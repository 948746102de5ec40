//! Request signatures, AWS Signature Version 4 (AWS documentation, "Create a signed AWS API request"), and UTC times.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::Credentials;

/// What is signed.
#[derive(Debug)]
pub struct Request<'a> {
    /// Whose keys.
    pub who: Credentials,
    /// Region of the scope.
    pub region: &'a str,
    /// HTTP method, upper case.
    pub method: &'a str,
    /// Value of the `Host` header.
    pub host: &'a str,
    /// Encoded path with encoded query; a parameter without value is written `name=`.
    pub path: &'a str,
    /// Further headers, all signed.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Seconds since the epoch.
    pub now: i64,
}

/// Seconds since the epoch.
///
/// # Errors
/// When the clock is before 1970.
pub fn now() -> Result<i64> {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    i64::try_from(elapsed.as_secs()).context("the clock is too far ahead")
}

/// The headers to add: date, hash of the body, authorization.
#[must_use]
pub fn headers(request: &Request<'_>) -> Vec<(String, String)> {
    let stamp = rfc3339(request.now).replace(['-', ':'], "");
    let day = stamp.get(..8).unwrap_or_default().to_owned();
    let body_hash = hex::encode(Sha256::digest(request.body));
    let mut named: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    named.push(("host".to_owned(), request.host.to_owned()));
    named.push(("x-amz-content-sha256".to_owned(), body_hash.clone()));
    named.push(("x-amz-date".to_owned(), stamp.clone()));
    named.sort();
    let names = named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_unstable();
    let mut canonical = format!("{}\n{path}\n{}\n", request.method, parameters.join("&"));
    for (name, value) in &named {
        writeln!(canonical, "{name}:{value}").unwrap_or_default();
    }
    write!(canonical, "\n{names}\n{body_hash}").unwrap_or_default();
    let scope = format!("{day}/{}/s3/aws4_request", request.region);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut key = mac(format!("AWS4{}", request.who.secret_key).as_bytes(), &day);
    for part in [request.region, "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        request.who.access_key,
        hex::encode(mac(&key, &text))
    );
    vec![
        ("x-amz-date".to_owned(), stamp),
        ("x-amz-content-sha256".to_owned(), body_hash),
        ("authorization".to_owned(), authorization),
    ]
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of any length, so this never fails.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mut mac| {
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        })
        .unwrap_or_default()
}

/// Seconds since the epoch as `2026-01-31T23:59:59Z`.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days, in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_000_000, "2026-11-18T11:06:40Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn the_example_of_the_documentation() {
        // GET Object of "Signature Calculations for the Authorization Header", with its keys and date.
        let who =
            Credentials { access_key: "AKIAIOSFODNN7EXAMPLE", secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
        let signed = headers(&Request {
            who,
            region: "us-east-1",
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            headers: &[("Range", "bytes=0-9")],
            body: b"",
            now: 1_369_353_600,
        });
        let authorization = &signed.last().unwrap().1;
        assert!(
            authorization.ends_with("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{authorization}"
        );
    }
}
