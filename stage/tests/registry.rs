//! The registry's client against a real registry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::time::{Duration, Instant};

use schemas::Record as _;
use schemas::framing::{Framing, split};
use schemas::v1::{Event, Frame, RawFrame};
use stage::registry::Registry;

/// One server for all checks: its start takes most of the time.
#[test]
fn ids_are_registered_once_and_an_outage_later_stops_nothing() {
    let server = testkit::registry::Registry::start().unwrap();
    let registry = Registry::at(&format!("{}/", server.url()));
    let framing = registry.framing::<RawFrame>("audit.raw").unwrap();
    let Framing::Confluent(id) = framing else { panic!("{framing:?}") };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(&server.schema(id).unwrap()), json(RawFrame::SCHEMA), "the id leads to the schema");
    let subjects = server.request("GET", "/subjects", None).unwrap().ok().unwrap().json().unwrap();
    assert_eq!(subjects, serde_json::json!(["audit.raw-audit.v1.RawFrame"]), "subject is topic and record name");

    // the same again, by one that remembers and by one that must ask: the same id and no second version
    assert_eq!(registry.framing::<RawFrame>("audit.raw").unwrap(), framing);
    assert_eq!(Registry::at(&server.url()).framing::<RawFrame>("audit.raw").unwrap(), framing);
    let versions = server.request("GET", "/subjects/audit.raw-audit.v1.RawFrame/versions", None).unwrap();
    assert_eq!(versions.json().unwrap(), serde_json::json!([1]));
    assert_ne!(registry.framing::<Frame>("audit.frames").unwrap(), framing);

    a_refusal_is_told(&server);
    drop(server);
    assert_eq!(registry.framing::<RawFrame>("audit.raw").unwrap(), framing, "what is known is not asked again");
    let error = registry.framing::<Event>("audit.events").unwrap_err();
    assert_eq!(error.kind(), "unreachable");
}

/// What breaks the subject's compatibility is refused, and the error does not advise to start the registry.
fn a_refusal_is_told(server: &testkit::registry::Registry) {
    let other = r#"{"type":"record","name":"Event","namespace":"audit.v1","fields":[{"name":"other","type":"int"}]}"#;
    server.register("compat-audit.v1.Event", other).unwrap();
    server.set_compatibility("BACKWARD").unwrap();
    let error = Registry::at(&server.url()).framing::<Event>("compat").unwrap_err();
    assert_eq!(error.kind(), "refused");
    let text = error.to_string();
    assert!(text.contains("status 409") && text.contains("compatibility setting"), "{text}");
}

#[test]
fn an_outage_at_start_names_the_url_and_the_next_step() {
    let began = Instant::now();
    let error = Registry::at("http://127.0.0.1:1/apis/ccompat/v7").framing::<RawFrame>("audit.raw").unwrap_err();
    let text = error.to_string();
    for part in ["`audit.raw-audit.v1.RawFrame`", "http://127.0.0.1:1/apis/ccompat/v7", "remove [registry]"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(began.elapsed() < Duration::from_secs(12), "the wait has an end");
}

/// Reading goes by the topic: an id nobody knows is no hindrance, a body that is not the record's is.
#[test]
fn a_value_of_an_unknown_id_decodes_if_its_body_is_canonical() {
    let frame = RawFrame { sequence: 7, message_type: "Query".into(), ..RawFrame::default() };
    for framing in
        [Framing::Confluent(u32::MAX), Framing::Confluent(1), Registry::none().framing::<RawFrame>("x").unwrap()]
    {
        let mut value = Vec::new();
        framing.prefix(&mut value);
        frame.encode(&mut value);
        let (read, body) = split(&value).unwrap();
        assert_eq!((read, RawFrame::from_body(body).unwrap()), (framing, frame.clone()));
        value.push(0);
        assert!(RawFrame::from_body(split(&value).unwrap().1).is_err(), "bytes behind the record");
    }
}
