//! Rules: personal data.

use super::{Action, Rule, Severity, Shape};
use crate::validate::{LUHN, MOD97, US_SSN};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::new("card", &[], Shape::Card)
        .says("payment card number (Luhn, 13 to 19 digits)", "13 to 19 digits, single spaces or dashes between, first digit 2 to 6, right Luhn sum. Of cards that stand side by side every row of groups is tried. About one in ten digit strings of that length has a right sum by chance, and is masked as well. Source: ISO/IEC 7812-1 (length, major industry identifier, annex B: Luhn).")
        .checked(LUHN)
        .of(Severity::Medium)
        .acts(Action::Partial)
        .tried(&["{card:16}", "pay 5500-0000-0000-0004", "4111 1111 1111 1111"], &["4111 1111 1111 1112", "1234567890123456"]),
    Rule::new("iban", &[], Shape::Iban)
        .says("international bank account number", "Two letters of a country with IBAN, two check digits, then letters and digits up to that country's length, single spaces between; ISO 7064 MOD 97-10 must give 1. A number inside a longer word is left. Source: ISO 13616-1 and the SWIFT IBAN registry (lengths).")
        .checked(MOD97)
        .of(Severity::Medium)
        .tried(&["{iban:DE:18}", "GB82 WEST 1234 5698 7654 32"], &["GB82 WEST 1234 5698 7654 33", "DE8937040044053201300", "x{iban:DE:18}"]),
    Rule::new("us-ssn", &[], Shape::Ssn)
        .says("US social security number", "Three, two and four digits with dashes, or with spaces, between: area not 000, 666 or 900 to 999, group not 00, serial not 0000; every other serial counts, those with zeros inside too. Nine digits without separators are left: too many numbers look like that. Source: US Social Security Administration, number assignment rules of 2011.")
        .checked(US_SSN)
        .of(Severity::Medium)
        .tried(&["219-09-1203", "ssn 219 09 1203."], &["000-09-1203", "666-09-1203", "912-09-1203", "219-00-1203", "219-09-0000", "219-09 1203", "219091203"]),
    Rule::new("email", &["@"], Shape::Email)
        .says("e-mail address", "Letters, digits and `._%+-`, then `@`, then a domain with a dot and at least two characters after the last one. Quoted local parts and addresses of non-ASCII characters are not found. Source: RFC 5321 section 4.1.2, the dot-string form.")
        .of(Severity::Low)
        .acts(Action::Pseudonym)
        .tried(&["{name:8}@example.com"], &["a @ b", "@decorator", "user@host"]),
    Rule::new("phone", &[], Shape::Phone)
        .says("telephone number", "`+` and 8 to 15 digits, or groups of 3, 3 and 4 digits, with single spaces, dots, dashes or brackets between. Off unless `actions` says otherwise: many numbers look like that. Source: ITU-T E.164 and the North American Numbering Plan.")
        .of(Severity::Low)
        .acts(Action::Off)
        .tried(&["call +49 30 901820 now", "(212) 555-0143", "+12125550143"], &["12345", "2024-01-01 10:00", "+1 23"]),
    Rule::new("ipv4", &[], Shape::Ipv4)
        .says("IPv4 address", "Four decimal numbers below 256 with dots between, no digit or dot around them. Off unless `actions` says otherwise. Source: RFC 791, written as in RFC 6943 section 3.1.1.")
        .of(Severity::Low)
        .acts(Action::Off)
        .tried(&["from 192.0.2.17 port"], &["1.2.3", "300.1.1.1", "1.2.3.4.5"]),
    Rule::new("ipv6", &[":"], Shape::Ipv6)
        .says("IPv6 address", "Eight groups of up to four hexadecimal digits with `:` between, or fewer with one `::`; at least four digits. Off unless `actions` says otherwise. Source: RFC 4291 section 2.2.")
        .of(Severity::Low)
        .acts(Action::Off)
        .tried(&["from 2001:db8::17 port", "fe80:0:0:0:1:2:3:4"], &["10:20:30", "a::b", "std::vec"]),
];
