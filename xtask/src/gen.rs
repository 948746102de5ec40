//! Makes `schemas/src/generated/` from `schemas/avro/`: types that encode into and decode from reused buffers.
//!
//! Only what the contract allows is accepted: records, enums with a default, fixed, arrays, `[null, T]` unions,
//! boolean, int, long, bytes, string. A map, float, other union or a named type with two meanings is an error.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

mod reference;

/// Records whose content must not be printed by `Debug`.
const SECRET: [&str; 3] = ["CommandContent", "SessionContent", "ParameterValue"];

#[derive(Default)]
struct Types {
    named: BTreeMap<String, (Value, String)>,
    order: Vec<String>,
}

/// Generates, or with `check` fails when the committed files differ.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = Path::new("schemas");
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(root.join("avro")).context("read schemas/avro")? {
        versions.push(entry?.file_name().to_string_lossy().into_owned());
    }
    versions.sort();
    let mut modules = String::from("//! Types made from `avro/` by `cargo xtask gen`; never edited by hand.\n\n");
    for version in &versions {
        writeln!(
            modules,
            "#[allow(missing_docs, clippy::all, clippy::pedantic)]\n#[rustfmt::skip]\npub mod {version};"
        )?;
        let text = format(&generate(&root.join("avro").join(version), version)?)?;
        put(&root.join("src/generated").join(format!("{version}.rs")), &text, check)?;
    }
    put(&root.join("src/generated/mod.rs"), &modules, check)?;
    reference::run(check)
}

fn put(path: &Path, text: &str, check: bool) -> Result<()> {
    if check {
        let old = std::fs::read_to_string(path).unwrap_or_default();
        ensure!(old == text, "{} is stale; run `cargo xtask gen`", path.display());
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn format(text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "max_width=120"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start rustfmt")?;
    std::io::Write::write_all(&mut child.stdin.take().context("rustfmt stdin")?, text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt refuses the generated code");
    Ok(String::from_utf8(output.stdout)?)
}

fn generate(folder: &Path, version: &str) -> Result<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut types = Types::default();
    let mut tops = Vec::new();
    for file in files {
        let stem = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file.path())?;
        let schema: Value = serde_json::from_str(&text).with_context(|| format!("parse {stem}.avsc"))?;
        let mut local = Vec::new();
        collect(&schema, &mut types, &mut local).with_context(|| format!("schema {stem}"))?;
        let name = schema.get("name").and_then(Value::as_str).context("top level needs a name")?.to_owned();
        let namespace = schema.get("namespace").and_then(Value::as_str).context("top level needs a namespace")?;
        let mut canonical = String::new();
        pcf(&schema, namespace, &mut canonical)?;
        tops.push((name, stem, namespace.to_owned(), crc64(canonical.as_bytes())));
    }
    let mut out = format!(
        "//! Schema version {version}, made by `cargo xtask gen`.\n\nuse crate::Record;\nuse crate::codec::{{Cursor, DecodeError, put_bytes, put_len, put_long}};\n\n"
    );
    for name in &types.order {
        let (schema, _) = types.named.get(name).context("type vanished")?;
        match kind(schema) {
            "fixed" => fixed(schema, name, &mut out)?,
            "enum" => enumeration(schema, name, &mut out)?,
            _ => record(schema, name, &types, &mut out)?,
        }
    }
    for (name, stem, namespace, fingerprint) in tops {
        writeln!(
            out,
            "impl Record for {name} {{\n const NAME: &'static str = \"{namespace}.{name}\";\n const SCHEMA: &'static str = include_str!(\"../../avro/{version}/{stem}.avsc\");\n const FINGERPRINT: u64 = 0x{fingerprint:016x};\n fn encode(&self, out: &mut Vec<u8>) {{ self.put(out); }}\n fn decode(&mut self, body: &[u8]) -> Result<(), DecodeError> {{ let mut cursor = Cursor::new(body); self.take(&mut cursor)?; cursor.finish() }}\n}}\n"
        )?;
    }
    Ok(out)
}

fn kind(schema: &Value) -> &str {
    schema.as_str().or_else(|| schema.get("type").and_then(Value::as_str)).unwrap_or("")
}

fn doc(schema: &Value) -> String {
    let text = schema.get("doc").and_then(Value::as_str).unwrap_or("");
    format!("/// {}\n", text.replace('\n', " "))
}

fn collect(schema: &Value, types: &mut Types, local: &mut Vec<String>) -> Result<()> {
    if let Value::Array(branches) = schema {
        ensure!(
            branches.len() == 2 && branches.first().and_then(Value::as_str) == Some("null"),
            "union must be [null, T]"
        );
        return branches.iter().try_for_each(|branch| collect(branch, types, local));
    }
    match kind(schema) {
        "record" | "enum" | "fixed" => {
            let name = schema.get("name").and_then(Value::as_str).context("named type without name")?.to_owned();
            ensure!(!local.contains(&name), "{name} is defined twice in one file");
            local.push(name.clone());
            let fields = schema.get("fields").and_then(Value::as_array);
            for field in fields.into_iter().flatten() {
                collect(field.get("type").context("field without type")?, types, local)?;
            }
            if kind(schema) == "enum" {
                ensure!(schema.get("default").is_some(), "enum {name} needs a default symbol");
            }
            let mut shape = String::new();
            pcf(schema, "", &mut shape)?;
            match types.named.get(&name) {
                // a nested type may be written out in one file and be a name in the other: compare what follows from it
                Some((_, known)) => ensure!(expand(known)? == expand(&shape)?, "{name} differs between files"),
                None => {
                    types.named.insert(name.clone(), (schema.clone(), shape));
                    types.order.push(name);
                }
            }
            Ok(())
        }
        "array" => collect(schema.get("items").context("array without items")?, types, local),
        "null" | "boolean" | "int" | "long" | "bytes" | "string" => Ok(()),
        name if types.named.contains_key(name) => Ok(()),
        other => bail!("type {other} is not allowed in the contract"),
    }
}

/// Replaces inner definitions by their names, so that two spellings of one type compare equal.
fn expand(shape: &str) -> Result<String> {
    let value: Value = serde_json::from_str(shape)?;
    fn names(value: &Value, top: bool) -> Value {
        match value {
            Value::Object(map)
                if !top && map.contains_key("name") && matches!(kind(value), "record" | "enum" | "fixed") =>
            {
                names(map.get("name").unwrap_or(&Value::Null), false)
            }
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), names(v, false))).collect(),
            Value::Array(items) => items.iter().map(|item| names(item, false)).collect(),
            Value::String(name) => Value::from(name.rsplit('.').next().unwrap_or(name)),
            other => other.clone(),
        }
    }
    Ok(names(&value, true).to_string())
}

/// Parsing Canonical Form (Avro specification): full names, only the attributes that matter, fixed order.
fn pcf(schema: &Value, namespace: &str, out: &mut String) -> Result<()> {
    match schema {
        Value::String(name) => {
            let primitive = matches!(name.as_str(), "null" | "boolean" | "int" | "long" | "bytes" | "string");
            if primitive || name.contains('.') || namespace.is_empty() {
                write!(out, "\"{name}\"")?
            } else {
                write!(out, "\"{namespace}.{name}\"")?
            }
        }
        Value::Array(branches) => {
            out.push('[');
            for (i, branch) in branches.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                pcf(branch, namespace, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let kind = kind(schema);
            if !matches!(kind, "record" | "enum" | "fixed" | "array") {
                write!(out, "\"{kind}\"")?;
                return Ok(());
            }
            let namespace = map.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
            out.push('{');
            if let Some(name) = map.get("name").and_then(Value::as_str) {
                if namespace.is_empty() {
                    write!(out, "\"name\":\"{name}\",")?
                } else {
                    write!(out, "\"name\":\"{namespace}.{name}\",")?
                }
            }
            write!(out, "\"type\":\"{kind}\"")?;
            if let Some(fields) = map.get("fields").and_then(Value::as_array) {
                out.push_str(",\"fields\":[");
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write!(out, "{{\"name\":{},\"type\":", field.get("name").context("field without name")?)?;
                    pcf(field.get("type").context("field without type")?, namespace, out)?;
                    out.push('}');
                }
                out.push(']');
            }
            if let Some(symbols) = map.get("symbols") {
                write!(out, ",\"symbols\":{symbols}")?;
            }
            if let Some(items) = map.get("items") {
                out.push_str(",\"items\":");
                pcf(items, namespace, out)?;
            }
            if let Some(size) = map.get("size") {
                write!(out, ",\"size\":{size}")?;
            }
            out.push('}');
        }
        other => bail!("unexpected {other}"),
    }
    Ok(())
}

/// CRC-64-AVRO (Avro specification, "Schema Fingerprints").
fn crc64(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    bytes.iter().fold(EMPTY, |crc, byte| {
        let mut low = (crc ^ u64::from(*byte)) & 0xff;
        for _ in 0..8 {
            low = (low >> 1) ^ (EMPTY & (low & 1).wrapping_neg());
        }
        (crc >> 8) ^ low
    })
}

fn fixed(schema: &Value, name: &str, out: &mut String) -> Result<()> {
    let size = schema.get("size").and_then(Value::as_u64).context("fixed without size")?;
    let docs = doc(schema);
    writeln!(
        out,
        "{docs}#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]\npub struct {name}(pub [u8; {size}]);\nimpl Default for {name} {{ fn default() -> Self {{ Self([0; {size}]) }} }}\n"
    )?;
    Ok(())
}

fn enumeration(schema: &Value, name: &str, out: &mut String) -> Result<()> {
    let symbols: Vec<&str> =
        schema.get("symbols").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let default = schema.get("default").and_then(Value::as_str).context("enum without default")?;
    write!(
        out,
        "{}#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]\npub enum {name} {{",
        doc(schema)
    )?;
    for symbol in &symbols {
        if *symbol == default {
            out.push_str("#[default]\n");
        }
        writeln!(out, "/// `{symbol}`.\n{},", camel(symbol))?;
    }
    writeln!(
        out,
        "}}\nimpl {name} {{\n/// Every symbol, in schema order.\npub const ALL: [Self; {}] = [{}];",
        symbols.len(),
        symbols.iter().map(|s| format!("Self::{}", camel(s))).collect::<Vec<_>>().join(", ")
    )?;
    writeln!(
        out,
        "/// Index in the schema.\n#[must_use] pub const fn index(self) -> i32 {{ match self {{ {} }} }}",
        symbols.iter().enumerate().map(|(i, s)| format!("Self::{} => {i}", camel(s))).collect::<Vec<_>>().join(", ")
    )?;
    writeln!(
        out,
        "/// Symbol in the schema.\n#[must_use] pub const fn as_str(self) -> &'static str {{ match self {{ {} }} }}",
        symbols.iter().map(|s| format!("Self::{} => \"{s}\"", camel(s))).collect::<Vec<_>>().join(", ")
    )?;
    writeln!(
        out,
        "/// The value with this symbol.\n#[must_use] pub fn from_symbol(symbol: &str) -> Option<Self> {{ Self::ALL.into_iter().find(|value| value.as_str() == symbol) }}"
    )?;
    writeln!(
        out,
        "fn from_index(index: i32) -> Result<Self, DecodeError> {{ usize::try_from(index).ok().and_then(|index| Self::ALL.get(index)).copied().ok_or(DecodeError::Symbol) }}\n}}\n"
    )?;
    Ok(())
}

fn camel(symbol: &str) -> String {
    symbol
        .split('_')
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map(|first| first.to_string() + &chars.as_str().to_lowercase()).unwrap_or_default()
        })
        .collect()
}

fn rust_type(schema: &Value, types: &Types) -> Result<String> {
    if let Value::Array(branches) = schema {
        return Ok(format!("Option<{}>", rust_type(branches.get(1).context("union branch")?, types)?));
    }
    Ok(match kind(schema) {
        "boolean" => "bool".into(),
        "int" => "i32".into(),
        "long" => "i64".into(),
        "bytes" => "Vec<u8>".into(),
        "string" => "String".into(),
        "array" => format!("Vec<{}>", rust_type(schema.get("items").context("items")?, types)?),
        "record" | "enum" | "fixed" => schema.get("name").and_then(Value::as_str).context("name")?.to_owned(),
        name => name.to_owned(),
    })
}

fn resolve<'a>(schema: &'a Value, types: &'a Types) -> &'a Value {
    match schema {
        Value::String(name) => types.named.get(name).map_or(schema, |(schema, _)| schema),
        _ => schema,
    }
}

/// Least number of bytes an encoded value takes.
fn least(schema: &Value, types: &Types) -> Result<u64> {
    if schema.is_array() {
        return Ok(1);
    }
    let schema = resolve(schema, types);
    Ok(match kind(schema) {
        "fixed" => schema.get("size").and_then(Value::as_u64).context("size")?,
        "record" => {
            let mut sum = 0;
            for field in schema.get("fields").and_then(Value::as_array).into_iter().flatten() {
                sum += least(field.get("type").context("type")?, types)?;
            }
            sum
        }
        _ => 1,
    })
}

fn encode(schema: &Value, place: &str, types: &Types) -> Result<String> {
    if let Value::Array(branches) = schema {
        let inner = branches.get(1).context("union branch")?;
        let by_value = matches!(kind(resolve(inner, types)), "boolean" | "int" | "long" | "fixed" | "enum");
        let inner = encode(inner, if by_value { "*value" } else { "value" }, types)?;
        return Ok(format!("match &{place} {{ None => out.push(0), Some(value) => {{ out.push(2); {inner} }} }}"));
    }
    let schema = resolve(schema, types);
    Ok(match kind(schema) {
        "boolean" => format!("out.push(u8::from({place}));"),
        "int" => format!("put_long(out, i64::from({place}));"),
        "long" => format!("put_long(out, {place});"),
        "bytes" => format!("put_bytes(out, &{place});"),
        "string" => format!("put_bytes(out, {place}.as_bytes());"),
        "fixed" => format!("out.extend_from_slice(&({place}).0);"),
        "enum" => format!("put_long(out, i64::from(({place}).index()));"),
        "array" => {
            let items = schema.get("items").context("items")?;
            let by_value = matches!(kind(resolve(items, types)), "boolean" | "int" | "long" | "fixed" | "enum");
            let inner = encode(items, if by_value { "*item" } else { "item" }, types)?;
            format!(
                "if !{place}.is_empty() {{ put_len(out, {place}.len()); for item in &{place} {{ {inner} }} }} out.push(0);"
            )
        }
        "record" => format!("{place}.put(out);"),
        other => bail!("cannot encode {other}"),
    })
}

fn decode(schema: &Value, place: &str, types: &Types) -> Result<String> {
    if let Value::Array(branches) = schema {
        let inner = branches.get(1).context("union branch")?;
        let by_value = matches!(kind(resolve(inner, types)), "boolean" | "int" | "long" | "fixed" | "enum");
        let code = decode(inner, if by_value { "*value" } else { "value" }, types)?;
        return Ok(format!(
            "if cursor.some()? {{ let value = {place}.get_or_insert_with(Default::default); {code} }} else {{ {place} = None; }}"
        ));
    }
    let schema = resolve(schema, types);
    Ok(match kind(schema) {
        "boolean" => format!("{place} = cursor.boolean()?;"),
        "int" => format!("{place} = cursor.int()?;"),
        "long" => format!("{place} = cursor.long()?;"),
        "bytes" => format!("{{ let bytes = cursor.bytes()?; {place}.clear(); {place}.extend_from_slice(bytes); }}"),
        "string" => format!("{{ let text = cursor.string()?; {place}.clear(); {place}.push_str(text); }}"),
        "fixed" => {
            format!("{place} = {}(cursor.fixed()?);", schema.get("name").and_then(Value::as_str).context("name")?)
        }
        "enum" => format!(
            "{place} = {}::from_index(cursor.int()?)?;",
            schema.get("name").and_then(Value::as_str).context("name")?
        ),
        "array" => {
            let items = schema.get("items").context("items")?;
            let by_value = matches!(kind(resolve(items, types)), "boolean" | "int" | "long" | "fixed" | "enum");
            let inner = decode(items, if by_value { "*item" } else { "item" }, types)?;
            let least = least(items, types)?;
            format!(
                "{{ let count = cursor.array({least})?; {place}.truncate(count); {place}.resize_with(count, Default::default); for item in &mut {place} {{ {inner} }} if count > 0 {{ cursor.array_end()?; }} }}"
            )
        }
        "record" => format!("{place}.take(cursor)?;"),
        other => bail!("cannot decode {other}"),
    })
}

fn record(schema: &Value, name: &str, types: &Types, out: &mut String) -> Result<()> {
    let fields: Vec<&Value> = schema.get("fields").and_then(Value::as_array).into_iter().flatten().collect();
    let debug = if SECRET.contains(&name) { "" } else { "Debug, " };
    writeln!(out, "{}#[derive({debug}Clone, PartialEq, Eq, Default)]\npub struct {name} {{", doc(schema))?;
    let (mut put, mut take) = (String::new(), String::new());
    for field in &fields {
        let field_name = field.get("name").and_then(Value::as_str).context("field name")?;
        let field_type = field.get("type").context("field type")?;
        writeln!(out, "{}pub {field_name}: {},", doc(field), rust_type(field_type, types)?)?;
        put += &encode(field_type, &format!("self.{field_name}"), types)?;
        put.push('\n');
        take += &decode(field_type, &format!("self.{field_name}"), types)?;
        take.push('\n');
    }
    writeln!(out, "}}\n")?;
    if debug.is_empty() {
        writeln!(
            out,
            "impl std::fmt::Debug for {name} {{ fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ f.write_str(\"{name}(hidden)\") }} }}\n"
        )?;
    }
    writeln!(
        out,
        "impl {name} {{\n/// Appends the Avro body.\npub fn put(&self, out: &mut Vec<u8>) {{\n{put}}}\n/// Takes the Avro body off the cursor into `self`.\n/// # Errors\n/// [`DecodeError`].\npub fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {{\n{take}Ok(()) }}\n}}\n"
    )?;
    Ok(())
}
