//! Numbers without an anchor: payment cards, IBAN and US social security numbers, in one pass over the digits.
//!
//! Blocks of 16 bytes without a digit are skipped. Time is linear: a run of digits is read at most three times.

use std::collections::VecDeque;
use std::ops::Range;

use crate::iban::iban_len;
use crate::rule::Shape;

/// Bytes looked at together.
const BLOCK: usize = 16;

/// Calls `found` with every candidate; whether it is one, the rule's validator says.
pub(crate) fn scan(text: &[u8], mut found: impl FnMut(Shape, Range<usize>)) {
    let mut at = 0;
    while let Some(start) = next_digit(text, at) {
        iban(text, start, &mut found);
        let (mut end, mut digits, mut cursor) = (start, 0usize, start);
        while let Some(&byte) = text.get(cursor) {
            if byte.is_ascii_digit() {
                (digits, end) = (digits + 1, cursor + 1);
            } else if !(matches!(byte, b' ' | b'-') && text.get(cursor + 1).is_some_and(u8::is_ascii_digit)) {
                break;
            }
            cursor += 1;
        }
        if (13..=19).contains(&digits) {
            found(Shape::Card, start..end);
        } else if digits > 19 {
            cards(text, start..end, &mut found);
        }
        ipv4(text, start, &mut found);
        phone(text, start, &mut found);
        if digits >= 9 {
            ssns(text, start..end, &mut found);
        }
        at = end.max(start + 1);
    }
}

fn next_digit(text: &[u8], mut from: usize) -> Option<usize> {
    while let Some(block) = text.get(from..from + BLOCK) {
        if block.iter().fold(false, |any, byte| any | byte.is_ascii_digit()) {
            break;
        }
        from += BLOCK;
    }
    text.get(from..)?.iter().position(u8::is_ascii_digit).map(|skip| from + skip)
}

/// Cards among numbers set apart by one separator: every row of groups of 3 digits or more with 13 to 19 in all.
fn cards(text: &[u8], run: Range<usize>, found: &mut impl FnMut(Shape, Range<usize>)) {
    let mut open: VecDeque<(usize, usize)> = VecDeque::new();
    let mut at = run.start;
    for group in text.get(run).unwrap_or_default().split(|byte| !byte.is_ascii_digit()) {
        if group.len() < 3 {
            open.clear();
        } else {
            open.iter_mut().for_each(|(_, digits)| *digits += group.len());
            open.push_back((at, group.len()));
            open.retain(|(_, digits)| *digits <= 19);
            for (start, digits) in &open {
                if *digits >= 13 {
                    found(Shape::Card, *start..at + group.len());
                }
            }
        }
        at += group.len() + 1;
    }
}

/// Four numbers below 256 with dots between, nothing like them around.
fn ipv4(text: &[u8], start: usize, found: &mut impl FnMut(Shape, Range<usize>)) {
    let joined = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
    if start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(joined) {
        return;
    }
    let window = text.get(start..(start + 16).min(text.len())).unwrap_or_default();
    let run = window.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let address = window.get(..run).unwrap_or_default();
    let address = address.strip_suffix(b".").unwrap_or(address);
    let end = start + address.len();
    let parsed = std::str::from_utf8(address).ok().and_then(|text| text.parse::<std::net::Ipv4Addr>().ok());
    if parsed.is_some() && text.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric()) {
        found(Shape::Ipv4, start..end);
    }
}

/// `+` and 8 to 15 digits, or groups of 3, 3 and 4, with single separators between.
fn phone(text: &[u8], digit: usize, found: &mut impl FnMut(Shape, Range<usize>)) {
    let before = |at: usize| at.checked_sub(1).and_then(|at| text.get(at)).copied();
    let plus = before(digit) == Some(b'+');
    let bracket = before(digit) == Some(b'(');
    let start = digit - usize::from(plus || bracket);
    if before(start).is_some_and(|byte| byte.is_ascii_alphanumeric() || b".-+:/_".contains(&byte)) {
        return;
    }
    let (mut at, mut groups) = (digit, [0usize; 6]);
    let mut group = 0;
    while let Some(byte) = text.get(at).filter(|_| at < digit + 24) {
        if byte.is_ascii_digit() {
            if let Some(count) = groups.get_mut(group) {
                *count += 1;
            }
            at += 1;
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let gap = rest.iter().take(2).take_while(|byte| b" .-()".contains(byte)).count();
        if gap == 0 || !rest.get(gap).is_some_and(u8::is_ascii_digit) {
            break;
        }
        (at, group) = (at + gap, group + 1);
    }
    let digits: usize = groups.iter().sum();
    let north = groups == [3, 3, 4, 0, 0, 0];
    let after = text.get(at).is_some_and(u8::is_ascii_alphanumeric);
    if !after && (plus && (8..=15).contains(&digits) || !plus && north) {
        found(Shape::Phone, start..at);
    }
}

/// Groups of 3, 2 and 4 digits with one and the same separator.
fn ssns(text: &[u8], run: Range<usize>, found: &mut impl FnMut(Shape, Range<usize>)) {
    let (mut at, mut before, mut last) = (run.start, 0usize, 0usize);
    for group in text.get(run).unwrap_or_default().split(|byte| !byte.is_ascii_digit()) {
        if (before, last, group.len()) == (3, 2, 4) && text.get(at - 1) == text.get(at - 4) {
            found(Shape::Ssn, at - 7..at + 4);
        }
        (before, last) = (last, group.len());
        at += group.len() + 1;
    }
}

/// Two letters before two digits at `digit`: as many letters and digits as the country has, single spaces between.
fn iban(text: &[u8], digit: usize, found: &mut impl FnMut(Shape, Range<usize>)) {
    let Some(start) = digit.checked_sub(2) else { return };
    if !text.get(start..digit).is_some_and(|two| two.iter().all(u8::is_ascii_alphabetic)) {
        return;
    }
    let alone = start.checked_sub(1).and_then(|at| text.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let country = text
        .get(start..digit)
        .and_then(|two| two.try_into().ok())
        .map(|two: [u8; 2]| two.map(|byte| byte.to_ascii_uppercase()));
    let Some(len) = country.filter(|_| alone).and_then(iban_len) else { return };
    let (mut at, mut left) = (digit, len - 2);
    while left > 0 {
        match text.get(at) {
            Some(byte) if byte.is_ascii_alphanumeric() => left -= 1,
            Some(b' ') if text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
            _ => return,
        }
        at += 1;
    }
    if text.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric()) {
        found(Shape::Iban, start..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(text: &str) -> Vec<(Shape, &str)> {
        let mut spans = Vec::new();
        scan(text.as_bytes(), |shape, span| spans.push((shape, text.get(span).unwrap())));
        spans
    }

    #[test]
    fn candidates_stand_where_they_stand() {
        let ssn = "219-09-1203";
        assert_eq!(
            spans(&format!("a long text before it, {ssn}; 5 219 09 1203")),
            [(Shape::Ssn, ssn), (Shape::Ssn, "219 09 1203"),]
        );
        assert_eq!(spans("219-09 1203"), []);
        let ibans = |text| {
            spans(text)
                .into_iter()
                .filter(|(shape, _)| *shape == Shape::Iban)
                .map(|(_, text)| text.to_owned())
                .collect()
        };
        let found: Vec<String> = ibans("pay DE89 3704 0044 0532 0130 00 now");
        assert_eq!(found, ["DE89 3704 0044 0532 0130 00"]);
        assert_eq!(spans("xDE89370400440532013000").iter().filter(|(shape, _)| *shape == Shape::Iban).count(), 0);
    }

    proptest! {
        #[test]
        fn a_digit_is_found_wherever_it_is(before in "[a-z ]{0,70}", after in "[a-z0-9 ]{0,20}") {
            let text = format!("{before}7{after}");
            prop_assert_eq!(next_digit(text.as_bytes(), 0), Some(before.len()));
        }
    }
}
