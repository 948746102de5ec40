//! What follows from the schemas besides code: the reference page, and the tables' definitions for query engines.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{kind, put};

/// Columns that every row has besides the record's own: what the leaf needs and no field holds.
const SYSTEM: [(&str, &str, &str); 7] = [
    ("_seq", "bigint", "Dense number of the event in its stream, from 0."),
    ("_offset", "bigint", "Offset in the partition."),
    ("_ts", "bigint", "Bus timestamp, milliseconds since epoch."),
    ("_ts_type", "int", "0 set by the writer, 1 set by the bus."),
    ("_flags", "int", "1 key present, 2 value present, 4 opaque."),
    ("_key", "binary", "Record key."),
    ("_raw", "binary", "Raw value of an opaque record; null otherwise."),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Athena,
    Trino,
}

/// Writes, or with `check` compares, `docs/reference/schemas.md` and `infra/ddl/*.sql`.
pub(super) fn run(check: bool) -> Result<()> {
    let folder = Path::new("schemas/avro/v1");
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut page = String::from(
        "# Schemas\nMade from `schemas/avro/` by `cargo xtask gen`; do not edit. A record on the bus is a schema prefix and this Avro body.\n",
    );
    let mut sql = [String::new(), String::new()];
    for file in files {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(file.path())?)?;
        section(&schema, &mut page)?;
        let table = match schema.get("name").and_then(Value::as_str) {
            Some("Frame") => "frames",
            Some("Event") => "events",
            _ => continue,
        };
        for (engine, out) in [Engine::Athena, Engine::Trino].into_iter().zip(&mut sql) {
            statement(engine, table, &schema, out)?;
        }
    }
    put(Path::new("docs/reference/schemas.md"), &page, check)?;
    let [athena, trino] = sql;
    let head = "-- Made by `cargo xtask gen`; do not edit. Replace BUCKET/PREFIX by the archive's place.\n";
    put(
        Path::new("infra/ddl/athena.sql"),
        &format!("{head}-- Partition projection: no crawler, new hours appear by themselves.\n{athena}"),
        check,
    )?;
    let note = "-- Set hive.timestamp-precision=MICROSECONDS, or times are cut to milliseconds.\n";
    put(Path::new("infra/ddl/trino.sql"), &format!("{head}{note}{trino}"), check)
}

fn section(schema: &Value, page: &mut String) -> Result<()> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    writeln!(
        page,
        "\n## {}\n{}\n\n| field | type | meaning |\n|---|---|---|",
        text(schema, "name"),
        text(schema, "doc")
    )?;
    for field in schema.get("fields").and_then(Value::as_array).into_iter().flatten() {
        let avro = avro_name(field.get("type").context("field type")?);
        writeln!(page, "| `{}` | {avro} | {} |", text(field, "name"), text(field, "doc").replace('|', "\\|"))?;
    }
    Ok(())
}

fn avro_name(schema: &Value) -> String {
    if let Value::Array(branches) = schema {
        return format!("{} or null", branches.get(1).map(avro_name).unwrap_or_default());
    }
    match kind(schema) {
        "array" => format!("array of {}", schema.get("items").map(avro_name).unwrap_or_default()),
        "record" | "enum" | "fixed" => schema.get("name").and_then(Value::as_str).unwrap_or("").to_owned(),
        "long" if schema.get("logicalType").is_some() => "long, microseconds".to_owned(),
        other => other.to_owned(),
    }
}

fn statement(engine: Engine, table: &str, schema: &Value, out: &mut String) -> Result<()> {
    let mut columns = Vec::new();
    for field in schema.get("fields").and_then(Value::as_array).into_iter().flatten() {
        let name = field.get("name").and_then(Value::as_str).context("field name")?;
        columns.push(format!("  {name} {}", column_type(engine, field.get("type").context("field type")?)));
    }
    for (name, hive, _) in SYSTEM {
        let name = if engine == Engine::Athena { format!("`{name}`") } else { name.to_owned() };
        let typed = if engine == Engine::Trino {
            hive.replace("binary", "varbinary").replace("int", "integer").replace("biginteger", "bigint")
        } else {
            hive.to_owned()
        };
        columns.push(format!("  {name} {typed}"));
    }
    match engine {
        Engine::Athena => writeln!(
            out,
            "CREATE EXTERNAL TABLE {table} (\n{}\n) PARTITIONED BY (dt string, hour string) STORED AS PARQUET LOCATION 's3://BUCKET/PREFIX/{table}/'\n\
             TBLPROPERTIES (\n  'projection.enabled'='true', 'projection.dt.type'='date', 'projection.dt.range'='2026-01-01,NOW',\n  \
             'projection.dt.format'='yyyy-MM-dd', 'projection.dt.interval'='1', 'projection.dt.interval.unit'='DAYS',\n  \
             'projection.hour.type'='integer', 'projection.hour.range'='0,23', 'projection.hour.digits'='2',\n  \
             'storage.location.template'='s3://BUCKET/PREFIX/{table}/dt=${{dt}}/hour=${{hour}}');\n",
            columns.join(",\n")
        )?,
        Engine::Trino => writeln!(
            out,
            "CREATE TABLE hive.audit.{table} (\n{},\n  dt varchar,\n  hour varchar\n) WITH (format='PARQUET', external_location='s3://BUCKET/PREFIX/{table}/', partitioned_by=ARRAY['dt','hour']);\n\
             CALL hive.system.sync_partition_metadata('audit', '{table}', 'ADD');\n",
            columns.join(",\n")
        )?,
    }
    Ok(())
}

fn column_type(engine: Engine, schema: &Value) -> String {
    let athena = engine == Engine::Athena;
    if let Value::Array(branches) = schema {
        return branches.get(1).map(|branch| column_type(engine, branch)).unwrap_or_default();
    }
    match kind(schema) {
        "boolean" => "boolean".into(),
        "int" => if athena { "int" } else { "integer" }.into(),
        "long" if schema.get("logicalType").is_some() => if athena { "timestamp" } else { "timestamp(6)" }.into(),
        "long" => "bigint".into(),
        "bytes" => if athena { "binary" } else { "varbinary" }.into(),
        "array" => {
            let items = schema.get("items").map(|items| column_type(engine, items)).unwrap_or_default();
            if athena { format!("array<{items}>") } else { format!("array({items})") }
        }
        "record" => {
            let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten().map(|field| {
                let name = field.get("name").and_then(Value::as_str).unwrap_or("");
                let typed = field.get("type").map(|typed| column_type(engine, typed)).unwrap_or_default();
                if athena { format!("{name}:{typed}") } else { format!("{name} {typed}") }
            });
            let fields = fields.collect::<Vec<_>>();
            if athena { format!("struct<{}>", fields.join(",")) } else { format!("row({})", fields.join(", ")) }
        }
        _ => if athena { "string" } else { "varchar" }.into(),
    }
}
