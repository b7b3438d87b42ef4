//! The effective configuration as TOML: every key, defaults included, with a remark where a value was set.
//!
//! The output parses back to the same settings, except for the passwords in URLs, which are hidden. This file does
//! *not* own the keys.

use std::borrow::Cow;
use std::fmt::Write;

use toml::{Table, Value};

use super::Settings;
use super::sources::Origins;
use crate::redact;

/// All of `settings`, in the order of the sections. A remark says where a key was set, according to `origins`.
pub fn toml(settings: &Settings, origins: &Origins) -> Result<String, toml::ser::Error> {
    let mut printed = String::new();
    write_table("", &Table::try_from(settings)?, &|path| origins.of(path).map(ToString::to_string), &mut printed);
    Ok(printed)
}

/// The section `name` with these settings.
pub(crate) fn section(name: &str, settings: &serde_json::Map<String, serde_json::Value>) -> String {
    // Text, numbers, flags, and lists and tables of these are what TOML has as well.
    let table = Table::try_from(settings).unwrap_or_default();
    let mut printed = format!("[{name}]\n");
    write_table(name, &table, &|_| None, &mut printed);
    printed
}

/// Writes the table's own keys, each with the origin that `from` gives, then the tables in it. Tables come last because
/// TOML has no way back from a table's header.
pub(super) fn write_table(path: &str, table: &Table, from: &dyn Fn(&str) -> Option<String>, printed: &mut String) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        let remark = from(&below(key)).map(|origin| format!("  # from {origin}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(printed, "{} = {}{remark}", quoted(key), without_passwords(value));
    }
    for (key, value) in table {
        if let Value::Table(inner) = value {
            let path = below(&quoted(key));
            let gap = if printed.is_empty() { "" } else { "\n" };
            let _ = writeln!(printed, "{gap}[{path}]");
            write_table(&path, inner, from, printed);
        }
    }
}

/// The key as TOML wants it: in quotes, unless it is of letters, digits, `-` and `_`.
fn quoted(key: &str) -> Cow<'_, str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(is_bare) { key.into() } else { Value::from(key).to_string().into() }
}

fn without_passwords(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact::urls(text).into_owned()),
        Value::Array(values) => Value::Array(values.iter().map(without_passwords).collect()),
        other => other.clone(),
    }
}
