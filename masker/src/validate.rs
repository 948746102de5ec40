//! The last word on a candidate: checksums, structure, entropy and a dictionary.
//!
//! A masker may not miss: a checksum that only the vendor's own tokens keep (GitHub, npm) confirms a candidate and
//! refuses none, because a token with one character lost is still most of a secret. Only what a format rules out
//! (a wrong Luhn sum, a header that is no JSON object) is refused.

use base64::Engine as _;

use crate::iban::iban_len;
use crate::sample::crc62;

/// What a validator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Not what the rule looks for: left alone.
    Refused,
    /// It may be: masked.
    Plausible,
    /// A checksum or structure says so: masked.
    Confirmed,
}

impl Verdict {
    /// The word that `sealtrail mask --explain` prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Plausible => "plausible",
            Self::Confirmed => "confirmed",
        }
    }
}

/// A named test of a candidate.
#[derive(Debug, Clone, Copy)]
pub struct Validator {
    /// Name, as in the configuration and on the reference page.
    pub name: &'static str,
    /// The test.
    pub test: fn(&[u8]) -> Verdict,
}

/// Every validator that a user rule may name.
pub const VALIDATORS: &[Validator] = &[
    LUHN,
    MOD97,
    US_SSN,
    JWT,
    CRC62,
    ENTROPY_LOW,
    ENTROPY_MEDIUM,
    ENTROPY_HIGH,
    SECRET_LIKE,
    PASSWORD_LIKE,
    CREDENTIALS,
    MIXED,
];

/// A payment card's Luhn sum.
pub const LUHN: Validator = Validator { name: "luhn", test: card };
/// An IBAN's length and check digits.
pub const MOD97: Validator = Validator { name: "mod97", test: iban };
/// A US social security number's ranges.
pub const US_SSN: Validator = Validator { name: "us_ssn", test: ssn };
/// A JWT's header.
pub const JWT: Validator = Validator { name: "jwt", test: jwt };
/// The CRC-32 in base 62 that ends GitHub's and npm's tokens; confirms, never refuses.
pub const CRC62: Validator = Validator { name: "crc62", test: crc };
/// At least 2 bits per character.
pub const ENTROPY_LOW: Validator = Validator { name: "entropy_low", test: |text| entropy_at_least(text, 2.0) };
/// At least 3 bits per character.
pub const ENTROPY_MEDIUM: Validator = Validator { name: "entropy_medium", test: |text| entropy_at_least(text, 3.0) };
/// At least 3.5 bits per character.
pub const ENTROPY_HIGH: Validator = Validator { name: "entropy_high", test: |text| entropy_at_least(text, 3.5) };
/// A value that nobody would write as a word: for names such as `token` and `key`.
pub const SECRET_LIKE: Validator = Validator { name: "secret_like", test: secret_like };
/// Any value but one that code writes in place of a password.
pub const PASSWORD_LIKE: Validator = Validator { name: "password_like", test: password_like };
/// Base64 or a token after an HTTP authentication scheme, and no word.
pub const CREDENTIALS: Validator = Validator { name: "credentials", test: credentials };
/// Letters and digits both.
pub const MIXED: Validator = Validator { name: "mixed", test: mixed };

fn when(test: bool, verdict: Verdict) -> Verdict {
    if test { verdict } else { Verdict::Refused }
}

/// Shannon entropy of the bytes, bits per byte.
#[must_use]
pub fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for &byte in text {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX).max(1));
    let share = |count: &u32| f64::from(*count) / total;
    -counts.iter().filter(|count| **count > 0).map(|count| share(count) * share(count).log2()).sum::<f64>()
}

fn entropy_at_least(text: &[u8], bits: f64) -> Verdict {
    when(entropy(text) >= bits, Verdict::Plausible)
}

/// Words that stand where a secret would, in code and in documentation. Compared with the value's letters alone.
const DICTIONARY: &[&str] = &[
    "abstract",
    "access",
    "accesstoken",
    "apikey",
    "apitoken",
    "authorization",
    "bearer",
    "boolean",
    "bytes",
    "changeme",
    "clientsecret",
    "config",
    "current",
    "default",
    "disabled",
    "document",
    "enabled",
    "environment",
    "example",
    "false",
    "function",
    "identifier",
    "integer",
    "invalid",
    "keyword",
    "lambda",
    "localhost",
    "missing",
    "none",
    "null",
    "number",
    "object",
    "optional",
    "password",
    "placeholder",
    "process",
    "redacted",
    "replaceme",
    "request",
    "required",
    "response",
    "return",
    "sample",
    "secret",
    "self",
    "string",
    "test",
    "token",
    "true",
    "undefined",
    "unknown",
    "username",
    "value",
    "yourapikey",
    "yoursecret",
    "yourtoken",
];

/// True when the value is written for a reader: a variable, a call, a template, a mask, or nothing.
fn stands_in(text: &[u8]) -> bool {
    let ends = |open: &[u8], close: &[u8]| text.starts_with(open) && text.ends_with(close);
    let variable = text.strip_prefix(b"$").is_some_and(|rest| {
        !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_{}:-?()".contains(byte))
    });
    let one = text.first().is_some_and(|first| text.iter().all(|byte| byte == first)) && text.len() > 1;
    text.is_empty()
        || variable
        || one && !text.iter().all(u8::is_ascii_alphanumeric)
        || ends(b"{{", b"}}")
        || ends(b"${", b"}")
        || ends(b"<", b">")
        || ends(b"%(", b"s")
        || ends(b"{", b"}")
        || matches!(text, b"%s" | b"%d" | b"%v" | b"%r" | b"?" | b"...")
}

fn letters(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect()
}

/// A password: anything but what code and documents write in its place.
#[must_use]
pub fn password_like(text: &[u8]) -> Verdict {
    let code = [
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "str",
        "string",
        "bytes",
        "bool",
        "int",
        "object",
        "optional",
        "any",
        "required",
        "self",
        "varchar",
        "text",
        "xxx",
    ];
    let word = letters(text);
    let code = word.len() == text.len() && code.iter().any(|code| code.as_bytes() == word);
    when(!stands_in(text) && !code, Verdict::Plausible)
}

/// A secret by its look: eight bytes or more, digits beside letters or much variety, and no word of the dictionary.
#[must_use]
pub fn secret_like(text: &[u8]) -> Verdict {
    // What was masked before is no part of the look.
    let mut plain = text.to_vec();
    for span in crate::placeholder::placeholders(text).into_iter().rev() {
        plain.drain(span);
    }
    let text = plain.as_slice();
    let word = letters(text);
    let known = DICTIONARY.iter().any(|known| known.as_bytes() == word);
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let capitals = text.iter().skip(1).filter(|byte| byte.is_ascii_uppercase()).count();
    let small = text.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    let path = text.iter().filter(|byte| b"./\\".contains(byte)).count() > 2 && digits < 4;
    let marks = text.iter().any(|byte| b"!#%^&*?@+=".contains(byte));
    let digest = digits > 0 && !word.is_empty();
    let mixed_case = capitals >= 3 && small >= 3 && text.len() >= 16 && !text.iter().any(|byte| b"._(".contains(byte));
    let varied = entropy(text) >= if text.len() < 16 { 2.5 } else { 3.0 };
    let fit = text.len() >= 8 && varied && (digest || marks || mixed_case || digits >= 8);
    when(fit && !known && !path && !stands_in(text), Verdict::Plausible)
}

/// What follows `Bearer` or `Basic`: not one lower-case or capitalised word.
#[must_use]
pub fn credentials(text: &[u8]) -> Verdict {
    let word = text.iter().skip(1).all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-'));
    when(!word && !stands_in(text), Verdict::Plausible)
}

/// Letters and digits both, or capitals and small letters of much variety: rules out words and numbers.
#[must_use]
pub fn mixed(text: &[u8]) -> Verdict {
    let any = |test: fn(&u8) -> bool| text.iter().any(test);
    let digits = any(u8::is_ascii_digit) && any(u8::is_ascii_alphabetic) && entropy(text) >= 2.0;
    let capitals = text.iter().skip(1).filter(|byte| byte.is_ascii_uppercase()).count();
    let varied = text.len() >= 24 && capitals >= 4 && any(u8::is_ascii_lowercase) && entropy(text) >= 3.5;
    when(digits || varied, Verdict::Plausible)
}

/// A token `prefix_` body whose last six characters are the CRC-32 of those before; no other is refused, unless
/// it repeats itself (entropy below 2 bits).
#[must_use]
pub fn crc(text: &[u8]) -> Verdict {
    let body = text.iter().position(|byte| *byte == b'_').and_then(|at| text.get(at + 1..)).unwrap_or_default();
    let split = body.len().checked_sub(6).and_then(|at| body.split_at_checked(at));
    match split {
        Some((random, sum)) if crc62(random) == *sum => Verdict::Confirmed,
        _ => entropy_at_least(body, 2.0),
    }
}

/// A JWT: three parts, the first decodes to a JSON object.
#[must_use]
pub fn jwt(text: &[u8]) -> Verdict {
    let mut parts = text.split(|&byte| byte == b'.');
    let (Some(header), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return Verdict::Refused };
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let object = |header: &[u8]| serde_json::from_slice::<serde_json::Value>(header).is_ok_and(|json| json.is_object());
    when(header.len() <= 4096 && object(&header), Verdict::Confirmed)
}

/// A card number: brand prefix 2 to 6 and the Luhn sum. Separators are ignored.
#[must_use]
pub fn card(text: &[u8]) -> Verdict {
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
    let brand = (13..=19).contains(&digits.len()) && matches!(digits.first(), Some(b'2'..=b'6'));
    when(brand && luhn_sum(&digits).is_multiple_of(10), Verdict::Confirmed)
}

/// The Luhn sum of digits in ASCII (ISO/IEC 7812-1, annex B).
#[must_use]
pub fn luhn_sum(digits: &[u8]) -> u32 {
    digits.iter().rev().enumerate().map(|(at, digit)| luhn(at, u32::from(digit.saturating_sub(b'0')))).sum()
}

fn luhn(at: usize, digit: u32) -> u32 {
    let doubled = digit * 2;
    match (at % 2, doubled > 9) {
        (0, _) => digit,
        (_, true) => doubled - 9,
        (_, false) => doubled,
    }
}

/// An IBAN: the country's length, and the remainder 1 of ISO 7064 MOD 97-10. Spaces are ignored.
#[must_use]
pub fn iban(text: &[u8]) -> Verdict {
    let compact: Vec<u8> = text.iter().filter(|byte| **byte != b' ').map(u8::to_ascii_uppercase).collect();
    let Some((country, rest)) = compact.split_first_chunk::<2>() else { return Verdict::Refused };
    let check = rest.get(..2).unwrap_or_default();
    let fits = iban_len(*country) == Some(compact.len()) && check.len() == 2 && check.iter().all(u8::is_ascii_digit);
    when(fits && mod97(&compact) == 1, Verdict::Confirmed)
}

/// The remainder of ISO 7064 MOD 97-10 of an IBAN without spaces, in capitals; 1 when its check digits are right.
#[must_use]
pub fn mod97(compact: &[u8]) -> u32 {
    let moved = compact.iter().skip(4).chain(compact.iter().take(4));
    moved.fold(0u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        b'A'..=b'Z' => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
        _ => 0,
    })
}

/// A US social security number `AAA-GG-SSSS`: area not 000, 666 or 900 and more, group not 00, serial not 0000.
#[must_use]
pub fn ssn(text: &[u8]) -> Verdict {
    let mut groups = text.split(|byte| !byte.is_ascii_digit());
    let (Some(area), Some(group), Some(serial), None) = (groups.next(), groups.next(), groups.next(), groups.next())
    else {
        return Verdict::Refused;
    };
    let fits = (area.len(), group.len(), serial.len()) == (3, 2, 4)
        && area != b"000"
        && area != b"666"
        && !area.starts_with(b"9")
        && group != b"00"
        && serial != b"0000";
    when(fits, Verdict::Plausible)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published examples, and each with one digit changed.
    #[test]
    fn iban_sums() {
        for text in
            ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "NO9386011117947", "FR1420041010050500013M02606"]
        {
            assert_eq!(iban(text.as_bytes()), Verdict::Confirmed, "{text}");
            let mut wrong = text.as_bytes().to_vec();
            let last = wrong.last_mut().unwrap();
            *last = if *last == b'9' { b'0' } else { *last + 1 };
            assert_eq!(iban(&wrong), Verdict::Refused, "{text}");
        }
    }

    /// Every serial but 0000 counts, those with mixed zeros too.
    #[test]
    fn ssn_rules() {
        let yes = |text: &str| ssn(text.as_bytes()) != Verdict::Refused;
        let valid = (0..=9999).filter(|serial| yes(&format!("219-09-{serial:04}"))).count();
        assert_eq!(valid, 9999);
        let areas = (0..=999).filter(|area| yes(&format!("{area:03}-09-1203"))).count();
        assert_eq!(areas, 898);
        assert_eq!((0..=99).filter(|group| yes(&format!("219-{group:02}-1203"))).count(), 99);
    }

    #[test]
    fn what_looks_like_a_secret() {
        let yes = |text: &str| secret_like(text.as_bytes()) != Verdict::Refused;
        for text in ["abc123def", "s3cr3t-v4lue", "qWErTyUiOpAsDfGhJk", "correct!horse"] {
            assert!(yes(text), "{text}");
        }
        for text in ["tokenize", "Secret", "$TOKEN", "${{ secrets.X }}", "<token>", "self.token", "aaaaaaaaaaa", "a1b2"]
        {
            assert!(!yes(text), "{text}");
        }
        let password = |text: &str| password_like(text.as_bytes()) != Verdict::Refused;
        assert!(password("hunter2") && password("changeme") && password("aaaa") && password("x"));
        assert!(!password("None") && !password("$1") && !password("****") && !password("{{ pw }}") && !password(""));
    }

    #[test]
    fn entropy_is_in_bits() {
        assert!((entropy(b"aaaa") - 0.0).abs() < 1e-9 && (entropy(b"abcd") - 2.0).abs() < 1e-9);
        assert_eq!(entropy(b""), 0.0);
    }

    #[test]
    fn a_checksum_confirms_and_never_refuses() {
        let token = |template| crc(&crate::sample::expand(template, 3).unwrap().text);
        assert_eq!(token("ghp_{alnum:30}{crc}"), Verdict::Confirmed);
        assert_eq!(token("ghp_{alnum:36}"), Verdict::Plausible);
        assert_eq!(crc(b"ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), Verdict::Refused);
    }
}
