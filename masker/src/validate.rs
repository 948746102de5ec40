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
