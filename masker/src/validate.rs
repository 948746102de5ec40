//! The last word on a candidate: checksums and structure.

use base64::Engine as _;

/// A JWT: three parts, the first decodes to a JSON object.
#[must_use]
pub fn jwt(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'.');
    let (Some(header), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let Ok(header) = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header) else { return false };
    header.len() <= 4096 && serde_json::from_slice::<serde_json::Value>(&header).is_ok_and(|value| value.is_object())
}

/// A card number: brand prefix 3 to 6 and the Luhn sum. Separators are ignored.
#[must_use]
pub fn card(text: &[u8]) -> bool {
    let digits: Vec<u32> =
        text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect();
    if !(13..=19).contains(&digits.len()) || !matches!(digits.first(), Some(2..=6)) {
        return false;
    }
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, digit)| luhn(at, *digit)).sum();
    sum.is_multiple_of(10)
}

fn luhn(at: usize, digit: u32) -> u32 {
    let doubled = digit * 2;
    match (at % 2, doubled > 9) {
        (0, _) => digit,
        (_, true) => doubled - 9,
        (_, false) => doubled,
    }
}

/// Length of an IBAN by country, from the SWIFT IBAN registry.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Letters and digits of an IBAN of `country`, two upper-case letters; none for a country without IBAN.
#[must_use]
pub fn iban_len(country: [u8; 2]) -> Option<usize> {
    let at = IBAN_LENGTHS.binary_search_by_key(&country, |(code, _)| **code).ok()?;
    IBAN_LENGTHS.get(at).map(|(_, len)| *len)
}

/// An IBAN: the country's length, and the remainder 1 of ISO 7064 MOD 97-10. Spaces are ignored.
#[must_use]
pub fn iban(text: &[u8]) -> bool {
    let compact: Vec<u8> = text.iter().filter(|byte| **byte != b' ').map(u8::to_ascii_uppercase).collect();
    let Some((country, rest)) = compact.split_first_chunk::<2>() else { return false };
    let check = rest.get(..2).unwrap_or_default();
    if iban_len(*country) != Some(compact.len()) || check.len() != 2 || !check.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let moved = compact.iter().skip(4).chain(compact.iter().take(4));
    let remainder = moved.fold(0u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        b'A'..=b'Z' => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
        _ => 0,
    });
    remainder == 1
}

/// A US social security number `AAA-GG-SSSS`: area not 000, 666 or 900 and more, group not 00, serial not 0000.
#[must_use]
pub fn ssn(text: &[u8]) -> bool {
    let mut groups = text.split(|byte| !byte.is_ascii_digit());
    let (Some(area), Some(group), Some(serial), None) = (groups.next(), groups.next(), groups.next(), groups.next())
    else {
        return false;
    };
    (area.len(), group.len(), serial.len()) == (3, 2, 4)
        && area != b"000"
        && area != b"666"
        && !area.starts_with(b"9")
        && group != b"00"
        && serial != b"0000"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_is_found() {
        assert!(IBAN_LENGTHS.iter().all(|(code, len)| iban_len(**code) == Some(*len) && (15..=34).contains(len)));
        assert_eq!(iban_len(*b"US"), None);
    }

    /// Published examples, and each with one digit changed.
    #[test]
    fn iban_sums() {
        for text in
            ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "NO9386011117947", "FR1420041010050500013M02606"]
        {
            assert!(iban(text.as_bytes()), "{text}");
            let mut wrong = text.as_bytes().to_vec();
            let last = wrong.last_mut().unwrap();
            *last = if *last == b'9' { b'0' } else { *last + 1 };
            assert!(!iban(&wrong), "{text}");
        }
    }

    /// Every serial but 0000 counts, those with mixed zeros too.
    #[test]
    fn ssn_rules() {
        let valid = (0..=9999).filter(|serial| ssn(format!("219-09-{serial:04}").as_bytes())).count();
        assert_eq!(valid, 9999);
        let areas = (0..=999).filter(|area| ssn(format!("{area:03}-09-1203").as_bytes())).count();
        assert_eq!(areas, 898);
        assert_eq!((0..=99).filter(|group| ssn(format!("219-{group:02}-1203").as_bytes())).count(), 99);
    }
}
