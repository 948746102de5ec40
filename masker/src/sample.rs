//! Texts made from templates by a seed: examples of rules and cases of the evaluation.
//!
//! A template is text with parts in braces that are made up when it is read, so that nothing that looks like a live
//! secret stands in a file. `{hex:32}` is 32 made-up hex digits; kinds are `num hex HEX low up alnum word url b64 b32
//! name`. Parts that depend on others: `{crc}` (CRC-32 of the part before it, in base 62, as GitHub and npm end their
//! tokens), `{jwt}`, `{card:N}` (N digits with a right Luhn sum), `{iban:CC:N}` (N digits with right check digits),
//! `{pem:N}` (N lines of base64). A part with `!` before its kind (`{!num:12}`) is no secret. `{{` is a brace.

use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;

/// Longest made-up part, bytes.
pub const PART_MAX: usize = 4096;

/// A text and where its secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The text.
    pub text: Vec<u8>,
    /// Spans of the made-up parts, ascending.
    pub secrets: Vec<Range<usize>>,
}

/// SplitMix64: a small generator with a documented sequence (Steele, Lea, Flood 2014), so that a seed means the same
/// text on every machine.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for the bound 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// `count` bytes of `alphabet`.
    pub fn bytes(&mut self, alphabet: &[u8], count: usize) -> Vec<u8> {
        (0..count).map(|_| alphabet.get(self.below(alphabet.len())).copied().unwrap_or(b'x')).collect()
    }
}

const LOW: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const UP: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const ALNUM: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const URL: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

fn alphabet(kind: &str) -> Option<&'static [u8]> {
    Some(match kind {
        "num" => b"0123456789",
        "hex" => b"0123456789abcdef",
        "HEX" => b"0123456789ABCDEF",
        "low" => LOW,
        "up" => UP,
        "alnum" => ALNUM,
        "word" => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_",
        "url" => URL,
        "b64" => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/",
        "b32" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "name" => b"abcdefghijklmnopqrstuvwxyz",
        _ => return None,
    })
}

/// CRC-32 of `text` as six digits of base 62, digits before capitals before small letters.
#[must_use]
pub fn crc62(text: &[u8]) -> [u8; 6] {
    let mut rest = crc32fast::hash(text);
    let mut out = [b'0'; 6];
    for digit in out.iter_mut().rev() {
        let at = usize::try_from(rest % 62).unwrap_or(0);
        *digit = ALNUM.get(at).copied().unwrap_or(b'0');
        rest /= 62;
    }
    out
}

fn card(seeded: &mut Seeded, len: usize) -> Vec<u8> {
    let mut digits = vec![b'4'];
    digits.extend(seeded.bytes(b"0123456789", len.saturating_sub(2)));
    let right = (b'0'..=b'9').find(|last| {
        let whole: Vec<u8> = digits.iter().copied().chain([*last]).collect();
        crate::validate::luhn_sum(&whole).is_multiple_of(10)
    });
    digits.extend(right);
    digits
}

fn iban(seeded: &mut Seeded, country: &str, len: usize) -> Vec<u8> {
    let body = seeded.bytes(b"0123456789", len);
    let candidate = |check: u32| [country.as_bytes(), format!("{check:02}").as_bytes(), &body].concat();
    (2..=98).map(candidate).find(|text| crate::validate::mod97(text) == 1).unwrap_or_default()
}

fn jwt(seeded: &mut Seeded) -> Vec<u8> {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let head = encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
    let subject = String::from_utf8(seeded.bytes(b"0123456789", 12)).unwrap_or_default();
    let body = encode(&format!("{{\"sub\":\"{subject}\"}}"));
    let tail = String::from_utf8(seeded.bytes(URL, 43)).unwrap_or_default();
    format!("{head}.{body}.{tail}").into_bytes()
}

fn pem(seeded: &mut Seeded, lines: usize) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = (0..lines).map(|_| seeded.bytes(ALNUM, 64)).collect();
    rows.join(&b'\n')
}

/// The part that `spec` asks for; `before` is the part made before it.
fn part(spec: &str, before: &[u8], seeded: &mut Seeded) -> Option<Vec<u8>> {
    let mut fields = spec.split(':');
    let kind = fields.next()?;
    let count = |text: Option<&str>| text.and_then(|text| text.parse().ok()).filter(|count| *count <= PART_MAX);
    Some(match kind {
        "crc" => crc62(before).to_vec(),
        "jwt" => jwt(seeded),
        "card" => card(seeded, count(fields.next())?),
        "pem" => pem(seeded, count(fields.next())?),
        "iban" => iban(seeded, fields.next()?, count(fields.next())?),
        _ => seeded.bytes(alphabet(kind)?, count(fields.next())?),
    })
}

/// Reads a template.
///
/// # Errors
/// The part that is none.
pub fn expand(template: &str, seed: u64) -> Result<Sample, String> {
    let mut seeded = Seeded::new(seed ^ u64::from(crc32fast::hash(template.as_bytes())) << 17);
    let mut sample = Sample { text: Vec::new(), secrets: Vec::new() };
    let (mut rest, mut before) = (template, Vec::new());
    while let Some((plain, after)) = rest.split_once('{') {
        sample.text.extend_from_slice(plain.as_bytes());
        if let Some(after) = after.strip_prefix('{') {
            sample.text.push(b'{');
            rest = after;
            continue;
        }
        let (spec, after) = after.split_once('}').ok_or_else(|| format!("`{{{after}` has no end"))?;
        let public = spec.strip_prefix('!');
        let made = part(public.unwrap_or(spec), &before, &mut seeded).ok_or_else(|| format!("no part `{spec}`"))?;
        let start = sample.text.len();
        sample.text.extend_from_slice(&made);
        if public.is_none() {
            sample.secrets.push(start..sample.text.len());
        }
        (before, rest) = (made, after);
    }
    sample.text.extend_from_slice(rest.as_bytes());
    Ok(sample)
}

/// A template as a page shows it: the text of one seed would look like a secret, the template does not.
#[must_use]
pub fn shown(template: &str) -> String {
    let mut out = String::new();
    for c in template.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '|' => out.push_str("\\|"),
            c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_made() {
        let sample = expand("a {hex:8} b{{c} {!num:3}{alnum:30}{crc}", 1).unwrap();
        assert_eq!(sample.secrets.len(), 3);
        let text = String::from_utf8(sample.text.clone()).unwrap();
        assert!(text.starts_with("a ") && text.contains("b{c} "), "{text}");
        let [hex, body, crc] = sample.secrets.as_slice() else { unreachable!() };
        assert!(sample.text[hex.clone()].iter().all(u8::is_ascii_hexdigit) && hex.len() == 8);
        assert_eq!(crc62(&sample.text[body.clone()]), sample.text[crc.clone()]);
        assert_eq!(expand("{hex:8}", 1), expand("{hex:8}", 1));
        assert_ne!(expand("{hex:8}", 1), expand("{hex:8}", 2));
        assert!(expand("{what:3}", 1).is_err() && expand("{hex:3", 1).is_err() && expand("{hex:99999}", 1).is_err());
    }

    /// The example that GitHub printed when it announced the format.
    #[test]
    fn the_checksum_is_githubs() {
        let body = ["zQWBuTSOoRi4A9s", "pHcVY5ncnsDkxkJ"].concat();
        assert_eq!(&crc62(body.as_bytes()), b"0mLq17");
    }

    #[test]
    fn numbers_have_right_sums() {
        for seed in 0..50 {
            let text = expand("{card:16}", seed).unwrap().text;
            assert_eq!((text.len(), crate::validate::card(&text)), (16, crate::validate::Verdict::Confirmed));
            let text = expand("{iban:DE:18}", seed).unwrap().text;
            assert_eq!(crate::validate::iban(&text), crate::validate::Verdict::Confirmed);
            let text = expand("{jwt}", seed).unwrap().text;
            assert_eq!(crate::validate::jwt(&text), crate::validate::Verdict::Confirmed);
        }
    }
}
