//! Records encoded straight from borrowed facts are byte for byte those of `RawFrame::encode`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ingest_proxy::protocol::postgres::facts::{
    Column, Columns, Content, FactsRef, FrameHead, Observed, Parameters, Relations, encode_message,
};
use proptest::prelude::*;
use schemas::Record as _;
use schemas::v1::{self, Direction, Facts, FrameKind, Protocol, RawFrame, Uuid};

/// Name, type, table, attribute, format.
type AnyColumn = (Vec<u8>, u32, u32, i16, i16);

/// Facts of any values, owned, to be lent.
#[derive(Debug, Clone)]
struct AnyFacts {
    numbers: [i64; 3],
    options: [Option<i64>; 4],
    words: [String; 5],
    columns: Option<Vec<AnyColumn>>,
    parameters: Option<Vec<(String, u32, i16)>>,
    relations: Option<Vec<String>>,
}

prop_compose! {
    fn any_facts()(
        numbers in any::<[i64; 3]>(),
        options in any::<[Option<i64>; 4]>(),
        words in prop::array::uniform5("\\PC{0,12}"),
        columns in prop::option::of(prop::collection::vec(any::<AnyColumn>(), 0..6)),
        parameters in prop::option::of(prop::collection::vec(("\\PC{0,9}", any::<u32>(), any::<i16>()), 0..6)),
        relations in prop::option::of(prop::collection::vec("\\PC{0,9}", 0..6)),
    ) -> AnyFacts {
        AnyFacts { numbers, options, words, columns, parameters, relations }
    }
}

impl AnyFacts {
    fn expected(&self) -> Facts {
        Facts {
            statement_id: self.numbers[0],
            command_kind: self.words[0].clone(),
            columns: self
                .columns
                .iter()
                .flatten()
                .map(|column| v1::Column {
                    name: String::from_utf8_lossy(&column.0).into_owned(),
                    type_oid: i64::from(column.1),
                    table_oid: i64::from(column.2),
                    attribute: i32::from(column.3),
                    format: i32::from(column.4),
                })
                .collect(),
            parameters: self
                .parameters
                .iter()
                .flatten()
                .map(|parameter| v1::ParameterFact {
                    name: parameter.0.clone(),
                    type_oid: i64::from(parameter.1),
                    format: i32::from(parameter.2),
                })
                .collect(),
            relations: self.relations.clone().unwrap_or_default(),
            copy_format: self.words[1].clone(),
            rows: self.options[0],
            bytes_to_target: self.numbers[1],
            bytes_to_client: self.numbers[2],
            duration_us: self.options[1],
            error_code: self.words[2].clone(),
            transaction_status: self.words[3].clone(),
            message_count: self.options[2],
            record_count: self.options[3],
            reason_code: self.words[4].clone(),
        }
    }

    fn lend<T>(&self, with: impl FnOnce(FactsRef<'_>) -> T) -> T {
        let columns = self.columns.as_ref().map(|list| {
            Columns::new(list.iter().map(|(name, type_oid, table_oid, attribute, format)| Column {
                name,
                type_oid: *type_oid,
                table_oid: *table_oid,
                attribute: *attribute,
                format: *format,
            }))
        });
        let parameters = self
            .parameters
            .as_ref()
            .map(|list| Parameters::new(list.len(), |at| (list[at].0.as_str(), list[at].1, list[at].2)));
        let relations = self.relations.as_ref().map(|list| Relations::new(list));
        with(FactsRef {
            statement_id: self.numbers[0],
            command_kind: &self.words[0],
            columns: columns.as_ref(),
            parameters: parameters.as_ref(),
            relations: relations.as_ref(),
            copy_format: &self.words[1],
            rows: self.options[0],
            bytes_to_target: self.numbers[1],
            bytes_to_client: self.numbers[2],
            duration_us: self.options[1],
            error_code: &self.words[2],
            transaction_status: &self.words[3],
            message_count: self.options[2],
            record_count: self.options[3],
            reason_code: &self.words[4],
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn messages_and_commands_encode_as_raw_frames(
        facts in prop::option::of(any_facts()),
        numbers in any::<[i64; 5]>(),
        chunk in any::<i32>(),
        connection in any::<i32>(),
        last in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        content in 0usize..3,
    ) {
        let head = FrameHead {
            event_id: Uuid([3; 16]), session_id: Uuid([4; 16]),
            sequence: numbers[0], observed_at_us: numbers[1], connection,
        };
        let mut expected = RawFrame {
            event_id: head.event_id, session_id: head.session_id, sequence: head.sequence,
            kind: FrameKind::Message, observed_at_us: head.observed_at_us, protocol: Protocol::Postgres,
            direction: Direction::ToClient, connection, message_id: numbers[2], chunk, last,
            message_type: "DataRow".to_owned(), size_bytes: numbers[3], command_id: numbers[4],
            facts: facts.as_ref().map(AnyFacts::expected), payload: payload.clone(),
        };
        let content = [Content::Bytes(&payload), Content::Credential, Content::None][content];
        if facts.is_none() && content == Content::Credential {
            let reason_code = "credential".to_owned();
            expected.facts = Some(Facts { reason_code, ..FactsRef::default().to_owned() });
        }
        let message = |facts: Option<FactsRef<'_>>| {
            let mut out = b"before".to_vec();
            let observed = Observed {
                direction: Direction::ToClient, message_id: numbers[2], chunk, last, message_type: "DataRow",
                size_bytes: numbers[3], command_id: numbers[4], facts, content,
            };
            encode_message(&head, &observed, &payload, &mut out);
            out.split_off(6)
        };
        let encoded = facts.as_ref().map_or_else(|| message(None), |facts| facts.lend(|facts| message(Some(facts))));
        prop_assert_eq!(&encoded, &expected.to_body());
        prop_assert_eq!(RawFrame::from_body(&encoded).unwrap(), expected);
    }
}
