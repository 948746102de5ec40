//! Any cut gives the result of no cut; and a slow, simple matcher finds the same.

use proptest::prelude::*;

use super::*;
use crate::engine::{Echoes, Engine, Tally};
use crate::rule::RULES;

fn engine() -> &'static Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&[], b"key"))
}

fn whole(text: &[u8]) -> (Vec<u8>, Tally) {
    let mut tally = Tally::default();
    let masked = engine().mask(text, &mut tally).unwrap_or_else(|| text.to_vec());
    (masked, tally)
}

/// The parts fed one by one, the state taken out and put back between them.
fn parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>, known: Option<&std::sync::Arc<Echoes>>) -> (Vec<u8>, Tally) {
    let (mut out, mut tally) = (Vec::new(), Tally { known: known.cloned(), ..Tally::default() });
    let mut stream = Stream::default();
    for part in parts {
        stream.feed(engine(), part, false, &mut out, &mut tally);
        assert!(stream.held() <= HELD_MAX);
        assert!(stream.state().growing.iter().all(|one| one.head.len() <= HEAD));
        stream = Stream::from_state(stream.state().clone());
    }
    stream.feed(engine(), b"", true, &mut out, &mut tally);
    assert_eq!(stream, Stream::default());
    (out, tally)
}

fn same(text: &[u8], cuts: &[usize]) {
    let (expected, tally) = whole(text);
    let mut cuts = cuts.iter().map(|cut| cut % (text.len() + 1)).collect::<Vec<_>>();
    cuts.sort_unstable();
    let bounds = [&[0], cuts.as_slice(), &[text.len()]].concat();
    let pieces = bounds.windows(2).map(|two| &text[two[0]..two[1]]);
    let (got, cut_tally) = parts(pieces, None);
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(&expected),
        "{:?} cut at {cuts:?}",
        String::from_utf8_lossy(text)
    );
    assert_eq!((cut_tally.bytes, cut_tally.rules), (tally.bytes, tally.rules));
}

#[test]
fn every_two_way_cut_of_every_example_is_as_no_cut() {
    for rule in RULES {
        for text in rule.examples.iter().chain(rule.counter_examples) {
            for filler in [0, 500, 1000] {
                let filler = "word ".repeat(filler / 5);
                let text = format!("{filler}{text}; {filler}");
                let step = if filler.is_empty() { 1 } else { 7 };
                (0..=text.len()).step_by(step).for_each(|cut| same(text.as_bytes(), &[cut]));
            }
        }
    }
}

#[test]
fn long_bodies_end_where_they_end() {
    let texts = [
        format!("password='{}' and more", "it''s\\'x ".repeat(400)),
        format!("password='{}", "abc".repeat(900)),
        format!(
            "a -----BEGIN RSA PRIVATE KEY-----\n{}-----END RSA PRIVATE KEY-----\nclear text",
            "MIIEow+/=\n".repeat(300)
        ),
        format!("-----BEGIN PRIVATE KEY-----\n{}", "MIIEow+/=\n".repeat(300)),
        format!("Authorization: Bearer {} clear", "a1B2-".repeat(500)),
        format!("secret={}-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\nclear", "x".repeat(2000)),
        format!("token=eyJhbGciOiJIUzI1NiJ9.{}; clear", "eyJz".repeat(600)),
        format!("sk_live_{} password=\"{}\" clear", "a".repeat(1500), "b".repeat(900)),
        format!("{}ada@example.com clear", "a.".repeat(700)),
        format!("{} 4111 1111 1111 1111 x", "1 2 3 ".repeat(300)),
    ];
    for text in &texts {
        for size in [1, 7, 63, 64, 500, 640, 896, 1000, 4096] {
            let cuts: Vec<usize> = (0..text.len()).step_by(size).collect();
            same(text.as_bytes(), &cuts);
        }
    }
}

#[test]
fn a_lost_stream_shows_nothing_more() {
    let (mut out, mut tally) = (Vec::new(), Tally::default());
    let mut stream = Stream::default();
    stream.feed(engine(), b"some text and sk_live_4eC39Hq", false, &mut out, &mut tally);
    stream.lose(&mut out, &mut tally);
    stream.feed(engine(), b"LyjWDarjtT1zdp7dc", false, &mut out, &mut tally);
    assert_eq!((out.as_slice(), tally.unknown_values), (b"<secret:whole:m>".as_slice(), true));
    assert_eq!(tally.bytes, 46);
    stream.feed(engine(), b"", true, &mut out, &mut tally);
    assert_eq!(stream, Stream::default());
}

/// What the matcher must find of the simple rules, written down anew: anchor, class, length, place by place.
fn naive(text: &[u8]) -> Vec<bool> {
    let mut masked = vec![false; text.len()];
    for rule in RULES {
        let crate::rule::Shape::Token { class, min, max } = rule.shape else { continue };
        for start in 0..text.len() {
            for anchor in rule.anchors {
                let body = start + anchor.len();
                if body > text.len() || text[start..body] != *anchor.as_bytes() {
                    continue;
                }
                let end = (body..text.len()).find(|at| !class.holds(text[*at])).unwrap_or(text.len());
                let dots = text[body..end].iter().rev().take_while(|byte| **byte == b'.').count();
                let end = end - if anchor.len() + max >= AFTER_MAX { 0 } else { dots };
                let alone = (start == 0 || !text[start - 1].is_ascii_alphanumeric())
                    && !text.get(end).is_some_and(u8::is_ascii_alphanumeric);
                let fits = end - body >= min && end - body <= max;
                if alone && fits && rule.verdict(&text[start..end]) != crate::validate::Verdict::Refused {
                    masked[start..end].fill(true);
                }
            }
        }
    }
    masked
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "[a-z0-9 ]{0,200}",
        "(sk_live_|ghp_|AKIA|xoxb-|SK|eyJ|glpat-)[A-Za-z0-9]{0,60}",
        "(password|token|secret) ?[=:] ?['\"]?[a-z\\\\'\"$ ]{0,30}['\"]?",
        "[a-z.]{1,20}@[a-z]{1,10}\\.[a-z]{1,4}",
        "[a-z]{1,3}://[a-z]{1,5}:[a-z%0-9]{1,9}@[a-z:\\[\\]]{1,9}/",
        "(4111[ -]?1111[ -]?1111[ -]?1111|219-09-1203|DE89 3704 0044 0532 0130 00|[0-9 ]{1,60})",
        "-----(BEGIN|END) (RSA )?PRIVATE KEY-----\n?",
        "(AbC0/+\n){0,120}",
        "(<secret:token:m>|<secret:|<email:e0:0123>){1,2}",
        Just("Bearer ".to_owned()),
    ]
}

fn example() -> impl Strategy<Value = String> {
    let texts: Vec<&str> =
        RULES.iter().flat_map(|rule| rule.examples.iter().chain(rule.counter_examples)).copied().collect();
    proptest::sample::select(texts).prop_map(str::to_owned)
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..12).prop_map(|texts| texts.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_cuts_are_as_no_cut(text in pieces(), cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
        same(&text, &cuts);
    }

    #[test]
    fn any_bytes_cut_anywhere(text in proptest::collection::vec(any::<u8>(), 0..2500), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        same(&text, &cuts);
    }

    #[test]
    fn the_simple_matcher_agrees(text in pieces()) {
        let (expected, mut edits) = (naive(&text), Vec::new());
        engine().find(&text, &mut edits).unwrap();
        for (at, masked) in expected.iter().enumerate() {
            let inside = crate::placeholder::placeholders(&text).iter().any(|span| span.contains(&at));
            let token = edits.iter().any(|edit| edit.span.contains(&at));
            prop_assert!(!masked || inside || token, "byte {at} of {:?}", String::from_utf8_lossy(&text));
        }
        for edit in &edits {
            let rule = engine().rule(edit.rule).unwrap();
            if matches!(rule.shape, crate::rule::Shape::Token { .. }) {
                prop_assert!(edit.span.clone().all(|at| expected[at]));
            }
        }
    }

    #[test]
    fn masked_text_stays_as_it_is(text in proptest::collection::vec(prop_oneof![example(), "[a-z0-9 .,]{0,60}"], 0..12).prop_map(|texts| texts.join("; ").into_bytes()), cuts in proptest::collection::vec(any::<usize>(), 0..4)) {
        let (once, _) = whole(&text);
        let (twice, _) = whole(&once);
        prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
        same(&once, &cuts);
    }

    #[test]
    fn a_known_value_is_found_across_any_cut(value in "[A-Za-z0-9+/'\" ]{8,40}", before in "[a-z ]{0,80}", after in "[a-z ]{0,900}", cut in any::<usize>()) {
        let mut known = Echoes::default();
        known.learn(value.as_bytes());
        let text = format!("{before}{value}{after}");
        let cut = cut % (text.len() + 1);
        let (got, _) = parts([&text.as_bytes()[..cut], &text.as_bytes()[cut..]], Some(&std::sync::Arc::new(known)));
        prop_assert!(!String::from_utf8_lossy(&got).contains(&value));
    }
}
