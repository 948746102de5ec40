//! Text of PostgreSQL's binary dates, times and numbers, as the server would write it in ISO style and UTC.
//!
//! Source: PostgreSQL's `timestamp_send`, `date_send` and `numeric_send` (big endian; the epoch is 2000-01-01).

use std::fmt::Write as _;

const DAY_US: i64 = 86_400_000_000;
/// Days from 0000-03-01 to 2000-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAYS: i64 = 730_425;
/// Most digits before or after the point that are written out; the type's own limit is 131,072 and 16,383.
const DIGITS_MAX: i64 = 1024;

/// Days since 2000-01-01 as `YYYY-MM-DD` and, for years before 1, ` BC`.
fn civil(days: i64) -> (String, &'static str) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year > 0 {
        (format!("{year:04}-{month:02}-{day:02}"), "")
    } else {
        (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC")
    }
}

/// `date`: days since 2000-01-01, four bytes.
#[must_use]
pub fn date(value: &[u8]) -> Option<String> {
    match i32::from_be_bytes(value.try_into().ok()?) {
        i32::MAX => Some("infinity".to_owned()),
        i32::MIN => Some("-infinity".to_owned()),
        days => {
            let (text, era) = civil(i64::from(days));
            Some(text + era)
        }
    }
}

/// `timestamp` and, with `zone` `+00`, `timestamptz`: microseconds since 2000-01-01, eight bytes.
#[must_use]
pub fn timestamp(value: &[u8], zone: &str) -> Option<String> {
    let us = match i64::from_be_bytes(value.try_into().ok()?) {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        us => us,
    };
    let (date, era) = civil(us.div_euclid(DAY_US));
    let rest = us.rem_euclid(DAY_US);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let mut text = format!("{date} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    Some(text + zone + era)
}

/// `numeric`: count, weight, sign and scale of two bytes each, then digits to the base of 10,000.
#[must_use]
pub fn numeric(value: &[u8]) -> Option<String> {
    let mut words = value.chunks(2).map(|two| two.try_into().ok().map(u16::from_be_bytes));
    let mut word = || words.next().flatten();
    let (count, weight, sign, scale) = (word()?, word()?, word()?, i64::from(word()?));
    let weight = i64::from(i16::from_be_bytes(weight.to_be_bytes()));
    let digits: Vec<u16> = std::iter::from_fn(word).collect();
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        0 | 0x4000 => {}
        _ => return None,
    }
    let whole = value.len().is_multiple_of(2) && digits.len() == usize::from(count);
    if !whole || digits.iter().any(|digit| *digit > 9999) || (weight + 1) * 4 > DIGITS_MAX || scale > DIGITS_MAX {
        return None;
    }
    let digit = |power: i64| usize::try_from(weight - power).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut text = String::new();
    (0..=weight.max(0)).rev().try_for_each(|power| write!(text, "{:04}", digit(power))).ok()?;
    let mut out = String::from(if sign == 0 { "" } else { "-" });
    let trimmed = text.trim_start_matches('0');
    out.push_str(if trimmed.is_empty() { "0" } else { trimmed });
    if scale > 0 {
        let mut fraction = String::new();
        (1..=(scale + 3) / 4).try_for_each(|power| write!(fraction, "{:04}", digit(-power))).ok()?;
        out.push('.');
        out.push_str(fraction.get(..usize::try_from(scale).ok()?)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(us: i64) -> String {
        timestamp(&us.to_be_bytes(), "+00").unwrap()
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(at(0), "2000-01-01 00:00:00+00");
        assert_eq!(at(-1), "1999-12-31 23:59:59.999999+00");
        assert_eq!(at(951_782_400 * 1_000_000 - 946_684_800 * 1_000_000), "2000-02-29 00:00:00+00");
        assert_eq!(at(500_000), "2000-01-01 00:00:00.5+00");
        assert_eq!((at(i64::MAX), at(i64::MIN)), ("infinity".to_owned(), "-infinity".to_owned()));
        let day = |days: i32| date(&days.to_be_bytes()).unwrap();
        assert_eq!(
            [day(0), day(59), day(60), day(366), day(-1)],
            ["2000-01-01", "2000-02-29", "2000-03-01", "2001-01-01", "1999-12-31"]
        );
        assert_eq!(
            (day(-10_957), day(-730_119), day(-730_120)),
            ("1970-01-01".to_owned(), "0001-01-01".to_owned(), "0001-12-31 BC".to_owned())
        );
        assert_eq!((date(b"abc"), timestamp(b"", "")), (None, None));
    }

    #[test]
    fn numbers() {
        let number = |words: &[u16]| numeric(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>());
        let text = |words: &[u16]| number(words).unwrap();
        assert_eq!(text(&[0, 0, 0, 0]), "0");
        assert_eq!(text(&[0, 0, 0, 2]), "0.00");
        assert_eq!(text(&[2, 0, 0, 2, 12, 3400]), "12.34");
        assert_eq!(text(&[2, 1, 0x4000, 0, 1, 2]), "-10002");
        assert_eq!(text(&[1, 1, 0, 0, 5]), "50000");
        assert_eq!(text(&[1, 0xFFFF, 0, 4, 1]), "0.0001");
        assert_eq!(text(&[1, 0xFFFE, 0, 6, 1200]), "0.000012");
        assert_eq!(text(&[0, 0, 0xC000, 0]), "NaN");
        assert_eq!(
            [number(&[2, 0, 0, 0, 1]), number(&[1, 0, 0, 0, 10_000]), number(&[1, 0, 1, 0, 1])],
            [None, None, None]
        );
        assert_eq!(number(&[1, 30_000, 0, 0, 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(numeric(&value).is_none_or(|text| text.len() < 4096));
            prop_assert_eq!(date(&value).is_some(), value.len() == 4);
            prop_assert_eq!(timestamp(&value, "").is_some(), value.len() == 8);
        }
    }
}
