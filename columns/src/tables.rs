//! The columns of each table, in the order of the schema's fields.
//!
//! A test compares this list with the schema text, so a field added there without a column here cannot pass.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Field;
use schemas::v1;

use crate::error::ColumnsError;
use crate::kind::*;
use crate::nested::*;

/// How a column's bytes come about. Neighbouring columns that hold the same value in every row of a batch are encoded
/// once, by the first of them.
#[derive(Debug, Clone, Copy)]
enum Step {
    Each,
    Same { from: usize, to: usize },
    Done,
}

#[derive(Default)]
struct Plan {
    steps: Vec<Step>,
    constants: Vec<u8>,
}

impl Plan {
    fn add(&mut self, constant: bool, put: impl Fn(&mut Vec<u8>) -> Result<(), Wrong>) {
        let from = self.constants.len();
        // a value that does not encode is left to the row, which names the cell
        if !constant || put(&mut self.constants).is_err() {
            self.constants.truncate(from);
            return self.steps.push(Step::Each);
        }
        let end = self.constants.len();
        let open = self.steps.iter_mut().rev().find(|step| !matches!(step, Step::Done));
        if let Some(Step::Same { to, .. }) = open {
            *to = end;
            return self.steps.push(Step::Done);
        }
        self.steps.push(Step::Same { from, to: end });
    }
}

macro_rules! table {
    ($builders:ident, $arrays:ident, $record:ty { $($field:ident: $kind:ty,)* }) => {
        /// Builders of the typed columns.
        pub(crate) struct $builders { $($field: <$kind as Kind>::Builder,)* }

        impl $builders {
            pub(crate) fn new() -> Self {
                Self { $($field: <$kind as Kind>::builder(),)* }
            }
            pub(crate) fn fields() -> Vec<Field> {
                vec![$(Field::new(stringify!($field), <$kind as Kind>::data_type(), true),)*]
            }
            pub(crate) fn push(&mut self, record: &$record) {
                $(<$kind as Kind>::push(&mut self.$field, &record.$field);)*
            }
            pub(crate) fn null(&mut self) {
                $(<$kind as Kind>::null(&mut self.$field);)*
            }
            pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
                vec![$(<$kind as Kind>::finish(&mut self.$field),)*]
            }
        }

        /// The typed columns of a batch, and what is known of them all.
        pub(crate) struct $arrays { $($field: <$kind as Kind>::Array,)* steps: Vec<Step>, constants: Vec<u8> }

        impl $arrays {
            pub(crate) fn open(batch: &RecordBatch) -> Result<Self, ColumnsError> {
                $(let $field = open::<$kind>(batch, stringify!($field))?;)*
                let mut plan = Plan::default();
                if batch.num_rows() > 1 {
                    $(plan.add(<$kind as Kind>::constant(&$field), |out| <$kind as Kind>::put(&$field, 0, out));)*
                } else {
                    $(plan.add(false, |out| <$kind as Kind>::put(&$field, 0, out));)*
                }
                let Plan { steps, constants } = plan;
                Ok(Self { $($field,)* steps, constants })
            }
            /// Appends the Avro body of a row that has a record: that of [`Self::get`], encoded.
            #[allow(unused_assignments)] // the last column has none after it
            pub(crate) fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ColumnsError> {
                let mut steps = self.steps.iter();
                $(match steps.next() {
                    Some(Step::Same { from, to }) => {
                        out.extend_from_slice(self.constants.get(*from..*to).unwrap_or_default());
                    }
                    Some(Step::Done) => {}
                    _ => <$kind as Kind>::put(&self.$field, row, out)
                        .map_err(|reason| ColumnsError::Cell { column: stringify!($field), row, reason })?,
                })*
                Ok(())
            }
            /// The record of a row that has one.
            pub(crate) fn get(&self, row: usize, record: &mut $record) -> Result<(), ColumnsError> {
                $(<$kind as Kind>::get(&self.$field, row, &mut record.$field)
                    .map_err(|reason| ColumnsError::Cell { column: stringify!($field), row, reason })?;)*
                Ok(())
            }
            /// Succeeds when every typed column is null, as it must be where there is no record.
            pub(crate) fn none(&self, row: usize) -> Result<(), ColumnsError> {
                $(if !<$kind as Kind>::is_null(&self.$field, row) {
                    let reason = "has a value although the row holds no record";
                    return Err(ColumnsError::Cell { column: stringify!($field), row, reason });
                })*
                Ok(())
            }
        }
    };
}

/// The column of that name and kind.
pub(crate) fn open<K: Kind>(batch: &RecordBatch, name: &str) -> Result<K::Array, ColumnsError> {
    let wrong = |reason| ColumnsError::Schema { column: name.to_owned(), reason };
    let column = batch.column_by_name(name).ok_or_else(|| wrong("is missing"))?;
    K::open(column).ok_or_else(|| wrong("has another type"))
}

table!(
    FrameBuilders,
    FrameArrays,
    v1::Frame {
        event_id: Id,
        session_id: Id,
        sequence: Long,
        observed_at_us: Micros,
        protocol: Protocol,
        direction: Direction,
        connection: Int,
        message_id: Long,
        chunk: Int,
        last: Bool,
        message_type: Text,
        size_bytes: Long,
        command_id: Long,
        statement_id: Long,
        attribution: Attribution,
        possible_duplicate: Bool,
        principal_issuer: Text,
        principal_subject: Text,
        target_name: Text,
        payload: Bytes,
        payload_state: PayloadState,
        mask_reason: Text,
        mask_rules: Texts,
        mask_version: Text,
        masked_bytes: Long,
    }
);

table!(EventBuilders, EventArrays, v1::Event {
    event_id: Id,
    session_id: Id,
    sequence: Long,
    observed_at_us: Micros,
    kind: EventKind,
    class_uid: Int,
    activity_id: Int,
    severity_id: Int,
    status_id: Int,
    protocol: Protocol,
    attribution: Attribution,
    possible_duplicate: Bool,
    principal_issuer: Text,
    principal_subject: Text,
    principal_email: Text,
    principal_name: Text,
    principal_groups: Texts,
    auth_method: Text,
    authenticated_at_us: Micros,
    target_name: Text,
    target_environment: Text,
    target_owner: Text,
    target_labels: Records<v1::Label>,
    target_user: Text,
    database: Text,
    client_ip: Text,
    client_port: Int,
    application: Text,
    proxy_instance: Text,
    capture_guarantee: Text,
    command_id: Long,
    command_kind: Text,
    statement: Opt<Text>,
    statement_bytes: Long,
    statement_truncated: Bool,
    parameters: Records<v1::EventParameter>,
    relations: Texts,
    rows: Opt<Long>,
    bytes_to_target: Long,
    bytes_to_client: Long,
    duration_us: Opt<Long>,
    error_code: Opt<Text>,
    error_message: Opt<Text>,
    transaction_status: Text,
    message_count: Opt<Long>,
    record_count: Opt<Long>,
    reason_code: Text,
    reason: Text,
    payload_state: PayloadState,
    mask_reason: Text,
    mask_rules: Texts,
    mask_version: Text,
    masked_bytes: Long,
});
