//! COPY data through the masker: rows, cut rows, keys of many rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use proptest::prelude::*;
use schemas::v1::*;
use support::{Bench, columns, text};

#[test]
fn copy_lines_are_masked_by_column() {
    let mut bench = Bench::new();
    let facts = || Some(columns(&["id", "token"]));
    bench.message("CopyInResponse", None, b"\0\0\0");
    let frame = bench.message("CopyData", facts(), b"1\thunter2\n2\t\\N\n");
    assert_eq!(text(&frame), "1\t<secret:column:s>\n2\t\\N\n");
    // A row that is cut comes out with its end.
    let frame = bench.message("CopyData", facts(), b"1\thunt");
    assert_eq!((text(&frame).as_str(), frame.mask_rules), ("", vec!["held".to_owned()]));
    let frame = bench.message("CopyData", facts(), b"er2\n");
    assert_eq!(text(&frame), "1\t<secret:column:s>\n");
    assert_eq!(frame.mask_rules, ["carried", "column"]);
    // One that never ends is counted with the record that ends the data.
    bench.message("CopyData", facts(), b"1\thunt");
    let frame = bench.message("CopyFail", None, b"gone\0");
    assert_eq!((text(&frame).as_str(), frame.masked_bytes, frame.mask_rules), ("gone\0", 6, vec!["held".to_owned()]));
    bench.message("CopyInResponse", None, b"\0\0\0");
    // A long one is masked whole on both sides of the cut.
    let long = format!("1\t{}", "hunter2".repeat(200));
    assert_eq!(bench.message("CopyData", facts(), long.as_bytes()).payload_state, PayloadState::MaskedWhole);
    let frame = bench.message("CopyData", Some(columns(&["a", "b"])), b"sk_live_4eC39H\tx\n");
    assert_eq!(frame.mask_reason, "copy_boundary");
    assert_eq!(text(&bench.message("CopyData", facts(), b"1\thunter2\n")), "1\t<secret:column:s>\n");
}

/// `COPY customers FROM STDIN WITH (FORMAT csv)`: many rows in one message.
#[test]
fn copy_csv_is_masked_by_field() {
    let facts = || Facts { copy_format: "csv".to_owned(), ..columns(&["id", "name", "email", "card", "api_token"]) };
    let rows = "1,Ada,ada@example.com,4111 1111 1111 1111,hunter2\n\
        2,\"Bob \"\"B\"\", Jr\",bob@example.com,\"5500-0000-0000-0004\",\"hun\"\"t,\ner2\"\n\
        3,\"two\nlines sk_live_4eC39HqLyjWDarjtT1zdp7dc\",,,\r\n4,short,hunter2\n\\.\n";
    let mut bench = Bench::new();
    bench.message("CopyInResponse", None, b"\0\0\0");
    let frame = bench.message("CopyData", Some(facts()), rows.as_bytes());
    let written = text(&frame);
    let pseudonyms: Vec<&str> = written.split("<email:e0.").skip(1).filter_map(|part| part.get(..41)).collect();
    assert_eq!(pseudonyms.len(), 2);
    assert_ne!(pseudonyms[0], pseudonyms[1]);
    let expected = format!(
        "1,Ada,<email:e0.{}>,<secret:card:1111>,<secret:column:s>\n\
         2,\"Bob \"\"B\"\", Jr\",<email:e0.{}>,\"<secret:card:0004>\",\"<secret:column:m>\"\n\
         3,\"two\nlines <secret:stripe-key:l>\",,,\r\n<secret:whole:m>\n\\.\n",
        pseudonyms[0], pseudonyms[1]
    );
    assert_eq!(written, expected);
    assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::Masked, ""));

    // A quote left open at the end: the row waits for the rest of it.
    let frame = bench.message("CopyData", Some(facts()), b"1,\"a\n");
    assert_eq!((text(&frame).as_str(), frame.mask_reason.as_str()), ("", ""));
    let frame = bench.message("CopyData", Some(facts()), b"x\",a@b.cc,4111,x\n");
    let written = text(&frame);
    assert!(
        written.starts_with("1,\"a\nx\",<email:e0.") && written.ends_with(">,4111,<secret:column:s>\n"),
        "{written}"
    );
    assert_eq!(bench.message("CopyData", Some(facts()), b"1,a,b,c,\n").payload_state, PayloadState::Clear);
    // What no row holds: where rows begin is not known from then on.
    for (data, reason) in [(b"1,\"a\"b\n".as_slice(), "copy_row"), (b"1,a,b,c,\n", "copy_boundary")] {
        let frame = bench.message("CopyData", Some(facts()), data);
        assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::MaskedWhole, reason));
    }
    bench.message("CopyInResponse", None, b"\0\0\0");
    bench.message("CopyData", Some(facts()), b"1,a,b,c,");
    assert_eq!(bench.message("CopyInResponse", None, b"\0\0\0").masked_bytes, 8);
    assert_eq!(bench.message("CopyData", Some(facts()), b"1,a,b,c,\n").payload_state, PayloadState::Clear);
}

/// psql cuts COPY data in mid-row. Wherever the cut is, what goes out is what goes out without it.
#[test]
fn a_cut_row_is_masked_as_a_whole_one() {
    let secrets = ["qZ7xK9mP2v", "wB4\tnR\"8sJ", "gT1yL6cD3f"];
    let text_rows = ["1\tAda Lovelace\tqZ7xK9mP2v\n", "2\tBob\\\\\twB4\\tnR\"8sJ\n", "3\tCy \\N\tgT1yL6cD3f\n"];
    let csv_rows =
        ["1,Ada Lovelace,qZ7xK9mP2v\n", "2,\"B,\"\"ob\n\"\"\",\"wB4\tnR\"\"8sJ\"\r\n", "3,\"Cy\",gT1yL6cD3f\n"];
    for (format, rows) in [("text", text_rows), ("csv", csv_rows)] {
        let facts = || Some(Facts { copy_format: format.to_owned(), ..columns(&["id", "name", "token"]) });
        let alone = |row: &str| {
            let mut bench = Bench::new();
            bench.message("CopyInResponse", None, b"\0\0\0");
            let frame = bench.message("CopyData", facts(), row.as_bytes());
            assert_eq!((frame.payload_state, frame.mask_reason.as_str()), (PayloadState::Masked, ""), "{row}");
            text(&frame)
        };
        let expected: Vec<String> = rows.iter().map(|row| alone(row)).collect();
        let body = rows.concat();
        for cut in 1..body.len() {
            let mut bench = Bench::new();
            bench.message("CopyInResponse", None, b"\0\0\0");
            let (left, right) = body.as_bytes().split_at(cut);
            let parts = [bench.message("CopyData", facts(), left), bench.message("CopyData", facts(), right)];
            let written: String = parts.iter().map(text).collect();
            assert_eq!(written, expected.concat(), "{format} at {cut}");
            for secret in secrets {
                let leaked =
                    secret.as_bytes().windows(3).any(|three| written.as_bytes().windows(3).any(|w| w == three));
                assert!(!leaked, "{format} at {cut}: {written}");
            }
            // What follows the cut row is known to begin a row.
            let next = bench.message("CopyData", facts(), rows[0].as_bytes());
            assert_eq!(text(&next), expected[0], "{format} at {cut}");
        }
    }
}

/// A line end behind a backslash is data: what stands after it is of the same column.
#[test]
fn an_escaped_line_end_ends_no_row() {
    let facts = || Some(columns(&["id", "token"]));
    let mut bench = Bench::new();
    bench.message("CopyInResponse", None, b"\0\0\0");
    let frame = bench.message("CopyData", facts(), b"1\tone\\\nhunter2\tx\n2\tsecret\n");
    assert_eq!(text(&frame), "<secret:whole:m>\n2\t<secret:column:s>\n");
    for (left, right) in [(b"1\tone\\".as_slice(), b"\nhunter2\n".as_slice()), (b"1\tone\\\n", b"hunter2\n")] {
        assert_eq!(text(&bench.message("CopyData", facts(), left)), "");
        assert_eq!(text(&bench.message("CopyData", facts(), right)), "<secret:whole:m>\n");
    }
    assert_eq!(text(&bench.message("CopyData", facts(), b"1\tx\n")), "1\t<secret:column:s>\n");
}

/// Rows of a column without a name are masked by patterns; a private key of many rows is one secret, wherever the
/// messages are cut.
#[test]
fn a_private_key_over_many_rows_does_not_pass() {
    let key = ["MIIEowIBAAKCAQEA7bq", "Qk3vJxWm5Zr2Ht8Ln4", "Dp6Fs9Gy1Ub0Vc="];
    let body =
        format!("first\n-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\nlast\n", key.join("\n"));
    for cut in 1..body.len() {
        let mut bench = Bench::new();
        bench.message("CopyOutResponse", None, b"\0\0\0");
        let (left, right) = body.as_bytes().split_at(cut);
        let parts = [left, right].map(|part| text(&bench.message("CopyData", Some(columns(&[""])), part)));
        let written = parts.concat();
        let leaked =
            key.iter().any(|line| line.as_bytes().windows(5).any(|w| written.as_bytes().windows(5).any(|x| x == w)));
        assert!(!leaked, "cut at {cut}: {written}");
        assert!(cut < 6 || written.contains("first\n"), "cut at {cut}: {written}");
    }
}

#[test]
fn copy_without_column_names_is_masked_by_pattern() {
    let mut bench = Bench::new();
    bench.message("CopyInResponse", None, b"\0\0\0");
    for names in [&[][..], &["", ""]] {
        let facts = Facts { copy_format: "csv".to_owned(), ..columns(names) };
        let frame = bench.message("CopyData", Some(facts), b"1,4111111111111111\n2,plain\n");
        assert_eq!(text(&frame), "1,<secret:card:1111>\n2,plain\n");
    }
    let facts = Facts { copy_format: "binary".to_owned(), ..columns(&[]) };
    assert_eq!(bench.message("CopyData", Some(facts), b"PGCOPY\n").mask_reason, "copy_binary");
}

/// Rows that were cut into a message that never came: nothing is known of where the next one begins, until a line
/// end of the text format shows it.
#[test]
fn a_missing_message_makes_the_place_unknown() {
    for (format, found_again) in [("text", true), ("csv", false)] {
        let facts = || Some(Facts { copy_format: format.to_owned(), ..columns(&["id"]) });
        let mut bench = Bench::new();
        bench.message("CopyInResponse", None, b"\0\0\0");
        assert_eq!(text(&bench.message("CopyData", facts(), b"1\n")), "1\n");
        bench.sequence += 1;
        let frame = bench.message("CopyData", facts(), b"11 1111\n2\n");
        assert_eq!((text(&frame).as_str(), frame.mask_reason.as_str()), ("<secret:whole:m>", "copy_boundary"));
        assert_eq!(text(&bench.message("CopyData", facts(), b"3\n")) == "3\n", found_again, "{format}");
        // So are the values that the server may quote.
        let frame = bench.message("ErrorResponse", None, b"Mbad value plain\0\0");
        assert!(!text(&frame).contains("plain"));
    }
}

/// The chunks of a long message are followed like messages.
#[test]
fn chunks_are_followed_like_messages() {
    let facts = || Some(Facts { copy_format: "csv".to_owned(), ..columns(&["id", "token"]) });
    let mut bench = Bench::new();
    bench.message("CopyInResponse", None, b"\0\0\0");
    let parts = [(b"1,\"hun".as_slice(), (0, false)), (b"ter\n2\"\n2,hunt", (1, true))];
    let parts = parts.map(|(part, place)| text(&bench.chunk("CopyData", facts(), part, place)));
    assert_eq!(parts, ["", "1,\"<secret:column:m>\"\n"]);
    let frame = bench.message("CopyData", facts(), b"er2\n3,hunter2\n");
    assert_eq!(text(&frame), "2,<secret:column:s>\n3,<secret:column:s>\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Rows with anything in them, cut anywhere any number of times: what a secret column holds does not pass.
    #[test]
    fn no_cut_shows_a_secret_column(
        csv in any::<bool>(),
        rows in proptest::collection::vec(("[ab\"\\\\,\t\n]{0,8}", "[\"\\\\,\t\n]{0,3}QZXK[\"\\\\,\t\n]{0,3}WVJY[\"\\\\,\t\n]{0,3}"), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let quoted = |value: &str| format!("\"{}\"", value.replace('"', "\"\""));
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\\n");
        let body: String = rows
            .iter()
            .map(|(plain, secret)| match csv {
                true => format!("{},{}\n", quoted(plain), quoted(secret)),
                false => format!("{}\t{}\n", escaped(plain), escaped(secret)),
            })
            .collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let format = if csv { "csv" } else { "text" };
        let facts = || Some(Facts { copy_format: format.to_owned(), ..columns(&["note", "secret"]) });
        let mut bench = Bench::new();
        bench.message("CopyInResponse", None, b"\0\0\0");
        let mut written = String::new();
        for pair in cuts.windows(2).filter(|pair| pair[0] < pair[1]) {
            let part = &body.as_bytes()[pair[0]..pair[1]];
            written.push_str(&text(&bench.message("CopyData", facts(), part)));
        }
        for part in ["QZ", "ZX", "XK", "WV", "VJ", "JY"] {
            prop_assert!(!written.contains(part), "{body:?} as {written:?}");
        }
        let next = if csv { "a,b\n" } else { "a\tb\n" };
        prop_assert_eq!(text(&bench.message("CopyData", facts(), next.as_bytes())), next.replace('b', "<secret:column:s>"));
    }
}
