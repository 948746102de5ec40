//! Tests of the views.

use super::*;
use proptest::prelude::*;

#[test]
fn tags_give_words_and_rows() {
    for (tag, words, rows) in [
        ("SELECT 3", "SELECT", Some(3)),
        ("INSERT 0 12", "INSERT", Some(12)),
        ("CREATE TABLE", "CREATE TABLE", None),
        ("BEGIN", "BEGIN", None),
        ("COPY 5", "COPY", Some(5)),
        ("", "", None),
        ("SELECT 99999999999999999999999", "SELECT", None),
    ] {
        assert_eq!(command_tag(tag.as_bytes()), (words, rows), "{tag}");
    }
    assert_eq!(command_tag(b"UPDATE 7\0"), ("UPDATE", Some(7)));
    assert_eq!(command_tag(&[0xff, 0]), ("", None));
}

#[test]
fn bind_is_read_from_a_prefix_and_says_what_is_cut() {
    let mut body = b"p\0s\0\0\x01\0\x01\0\x02".to_vec();
    body.extend_from_slice(b"\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01");
    let bind = Bind::read(&body).unwrap();
    assert_eq!((bind.portal, bind.statement, bind.formats.format(1), bind.count), (&b"p"[..], &b"s"[..], 1, 2));
    assert_eq!(bind.values().collect::<Vec<_>>(), [Some(&b"ab"[..]), None]);
    assert_eq!(bind.result_formats().unwrap().format(9), 1);
    let cut = Bind::read(&body[..15]).unwrap();
    let mut values = cut.values();
    assert_eq!((values.next(), values.left(), values.cut()), (None, 2, &b"a"[..]));
    assert_eq!(cut.result_formats(), Err(MessageError::Short));
}

#[test]
fn negative_value_lengths_below_null_are_refused() {
    assert_eq!(data_row(b"\0\x01\xff\xff\xff\xfe").err(), Some(MessageError::Range));
    assert!(data_row(b"\0\x01\xff\xff\xff\xff").is_ok());
    assert_eq!(data_row(b"\0\x01\xff\xff\xff\xff!").err(), Some(MessageError::Trailing));
}

#[test]
fn errors_keep_their_fields_and_bound_their_code() {
    let error = ErrorFields::read(b"SFEHLER\0VERROR\0C22P02\0Mbad\0Dd\0Hh\0Ww\0\0");
    assert_eq!((error.severity, error.sqlstate(), error.message), (&b"ERROR"[..], "22P02", &b"bad"[..]));
    assert_eq!(ErrorFields::read(b"Cdrop table\0Mcut").sqlstate(), "XX000");
    assert_eq!(ErrorFields::read(b"Cdrop table\0Mcut").message, b"cut");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn no_parser_panics_and_every_view_stays_inside_the_body(
        body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..200),
    ) {
        if let Ok(row) = RowDescription::read(&body) {
            let names: usize = row.columns().map(|column| column.name.len() + 19).sum();
            prop_assert_eq!(names + 2, body.len());
        }
        if let Ok(bind) = Bind::read(&body) {
            let bytes: usize = bind.values().flatten().map(<[u8]>::len).sum();
            prop_assert!(bytes <= body.len());
            prop_assert!(bind.result_formats().map_or(0, |formats| formats.len()) <= body.len());
        }
        if let Ok(row) = data_row(&body) {
            let bytes: usize = row.map(|value| value.map_or(0, <[u8]>::len) + 4).sum();
            prop_assert_eq!(bytes + 2, body.len());
        }
        if let Ok(parsed) = Parse::read(&body) {
            prop_assert!(parsed.types.iter().len() * 4 + parsed.text.len() < body.len());
        }
        prop_assert!(parameter_description(&body).map_or(0, |oids| oids.iter().len()) <= body.len());
        prop_assert!(CopyResponse::read(&body).map_or(0, |copy| copy.formats.len()) <= body.len());
        prop_assert!(command_tag(&body).0.len() <= body.len());
        prop_assert!(ErrorFields::read(&body).message.len() <= body.len());
        prop_assert!(query(&body).map_or(0, <[u8]>::len) <= body.len());
        prop_assert!(execute(&body).map_or(0, |(portal, _)| portal.len()) <= body.len());
        prop_assert!(parameter_status(&body).map_or(0, |(name, _)| name.len()) <= body.len());
        prop_assert!(backend_key_data(&body).map_or(0, |(_, key)| key.len()) <= 256);
        prop_assert!(Authentication::read(&body).is_ok() || body.len() < 8);
        prop_assert!(Object::read(&body).is_err() || body.last() == Some(&0));
    }
}
