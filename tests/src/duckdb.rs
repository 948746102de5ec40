//! DuckDB as an auditor uses it: SQL over Parquet files, local and on S3.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::python;
use crate::s3::S3;

const SCRIPT: &str = include_str!("../support/duckdb_query.py");

/// Runs one statement on an empty in-memory database and returns its rows as JSON objects.
///
/// Binary columns come as lower-case hex, times as ISO text (time zone UTC), decimals as text.
///
/// # Errors
/// When DuckDB refuses the statement: shows why.
pub fn query(sql: &str) -> Result<Vec<Value>> {
    ask(&json!({"sql": sql, "s3": null}))
}

/// As [`query`], with `s3://bucket/...` read from `store` as its reader identity.
///
/// # Errors
/// As [`query`].
pub fn query_s3(store: &S3, sql: &str) -> Result<Vec<Value>> {
    let reader = store.reader();
    let s3 = json!({"key": reader.access_key, "secret": reader.secret_key, "region": store.region(),
        "endpoint": store.addr().to_string()});
    ask(&json!({"sql": sql, "s3": s3}))
}

fn ask(job: &Value) -> Result<Vec<Value>> {
    let printed = python::run(SCRIPT, &[&job.to_string()])?;
    serde_json::from_str(&printed).with_context(|| format!("rows of DuckDB are no JSON: {printed}"))
}
