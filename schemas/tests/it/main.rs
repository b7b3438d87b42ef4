//! Tests that the JSON Schema files, the Arrow schemas and the Athena DDL agree.
//!
//! This file owns the map between their types, [`athena_type`] and [`arrow_type`]. It does *not* test the partition
//! projection of the DDL: that test needs the writer of the keys, so it is in the athena crate.
#![expect(clippy::unwrap_used, reason = "a contract that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use serde_json::Value;
use sqlparser::ast::{ColumnDef, CreateTable, FileFormat, HiveDistributionStyle, Statement};
use sqlparser::dialect::HiveDialect;
use sqlparser::parser::Parser;
use ticklake_schemas::{ALERT_JSON_SCHEMA, TICK_JSON_SCHEMA, Table};

const TICKS_DDL: &str = include_str!("../../../athena/ddl/ticks.sql");
const ALERTS_DDL: &str = include_str!("../../../athena/ddl/alerts.sql");
const QUARANTINE_DDL: &str = include_str!("../../../athena/ddl/quarantine.sql");

/// Columns that are never null in the lake although a producer may or must leave them out. The engine takes the queue's
/// time for a missing `ts`, and sets `received_at`.
const FILLED_BY_ENGINE: [&str; 2] = ["ts", "received_at"];

/// Fields that a subscriber gets and the lake does not hold. They follow from what the lake holds.
const NOT_STORED: [&str; 2] = ["ticks", "query"];

/// The Athena type that reads an Arrow type's Parquet form.
fn athena_type(arrow: &DataType) -> &'static str {
    match arrow {
        DataType::Utf8 => "string",
        DataType::Float64 => "double",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Binary => "binary",
        arrow if *arrow == instant() => "timestamp",
        other => panic!("no Athena type is agreed for {other}"),
    }
}

/// The Arrow type that holds a JSON property, by its `type` (without null) and its `format`.
fn arrow_type(property: &Value) -> DataType {
    let format = property.get("format").and_then(Value::as_str);
    match (json_types(property).as_slice(), format) {
        (["string"], None) => DataType::Utf8,
        (["number"], None) => DataType::Float64,
        (["integer"], Some("int64")) => DataType::Int64,
        (["integer"], Some("unix-microseconds")) | (["string"], Some("date-time")) => instant(),
        other => panic!("no Arrow type is agreed for {other:?}"),
    }
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The property's types without null. [`is_nullable`] tells whether null is one of them.
fn json_types(property: &Value) -> Vec<&str> {
    let types = match &property["type"] {
        Value::Array(types) => types.iter().map(|name| name.as_str().unwrap()).collect(),
        name => vec![name.as_str().unwrap()],
    };
    types.into_iter().filter(|name| *name != "null").collect()
}

fn is_nullable(property: &Value) -> bool {
    property["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "null"))
}

fn properties(schema: &Value) -> BTreeMap<&str, &Value> {
    schema["properties"].as_object().unwrap().iter().map(|(name, property)| (name.as_str(), property)).collect()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

fn json_schemas() -> [(Table, Value); 2] {
    [(Table::Ticks, TICK_JSON_SCHEMA), (Table::Alerts, ALERT_JSON_SCHEMA)]
        .map(|(table, text)| (table, serde_json::from_str(text).unwrap()))
}

fn create_table(table: Table) -> CreateTable {
    let sql = match table {
        Table::Ticks => TICKS_DDL,
        Table::Alerts => ALERTS_DDL,
        Table::Quarantine => QUARANTINE_DDL,
    };
    let mut statements = Parser::parse_sql(&HiveDialect {}, sql).unwrap();
    assert_eq!(statements.len(), 1, "{}: Athena runs one statement at a time", table.name());
    match statements.remove(0) {
        Statement::CreateTable(create) => create,
        other => panic!("{}: not a CREATE TABLE: {other}", table.name()),
    }
}

fn names_and_types(columns: &[ColumnDef]) -> Vec<(String, String)> {
    columns.iter().map(|column| (column.name.value.clone(), column.data_type.to_string().to_lowercase())).collect()
}

/// Whether `value` is of the property's type and among its `enum` values.
fn fits(property: &Value, value: &Value) -> bool {
    let of_type = json_types(property).iter().all(|name| match *name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "array" => value.is_array(),
        other => panic!("unexpected JSON type {other}"),
    });
    let listed = property.get("enum").is_none_or(|allowed| allowed.as_array().unwrap().contains(value));
    of_type && listed
}

#[test]
fn athena_tables_have_the_columns_of_the_files_in_their_order() {
    for table in Table::ALL {
        let lake: Vec<(String, String)> = table
            .schema()
            .fields()
            .iter()
            .map(|field| (field.name().clone(), athena_type(field.data_type()).to_owned()))
            .collect();
        assert_eq!(names_and_types(&create_table(table).columns), lake, "{}", table.name());
    }
}

#[test]
fn athena_tables_are_partitioned_as_the_lake_is() {
    for table in Table::ALL {
        let HiveDistributionStyle::PARTITIONED { columns } = create_table(table).hive_distribution else {
            panic!("{}: not partitioned", table.name());
        };
        let lake: Vec<(String, String)> = table
            .partition_columns()
            .iter()
            .map(|name| ((*name).to_owned(), if *name == "hour" { "int" } else { "string" }.to_owned()))
            .collect();
        assert_eq!(names_and_types(&columns), lake, "{}", table.name());
    }
}

#[test]
fn athena_tables_are_external_parquet_in_their_own_folder() {
    for table in Table::ALL {
        let create = create_table(table);
        assert!(create.external, "{}", table.name());
        assert_eq!(create.name.to_string(), table.name());
        assert_eq!(create.file_format, Some(FileFormat::PARQUET), "{}", table.name());
        assert_eq!(create.location, Some(format!("s3://BUCKET/PREFIX/{}/", table.name())));
    }
}

#[test]
fn json_properties_are_the_columns_with_the_same_types() {
    for (table, json) in json_schemas() {
        let stored = properties(&json).into_iter().filter(|(name, _)| !NOT_STORED.contains(name));
        let json: BTreeMap<&str, DataType> = stored.map(|(name, property)| (name, arrow_type(property))).collect();
        let arrow = table.schema();
        let lake: BTreeMap<&str, DataType> = arrow
            .fields()
            .iter()
            // The producer of a tick cannot know when the engine receives it.
            .filter(|field| table != Table::Ticks || field.name() != "received_at")
            .map(|field| (field.name().as_str(), field.data_type().clone()))
            .collect();
        assert_eq!(json, lake, "{}", table.name());
    }
}

#[test]
fn what_json_requires_is_what_a_column_needs_and_the_engine_does_not_fill() {
    for (table, json) in json_schemas() {
        let filled: &[&str] = if table == Table::Ticks { &FILLED_BY_ENGINE } else { &[] };
        let arrow = table.schema();
        let needed: BTreeSet<&str> = arrow
            .fields()
            .iter()
            .filter(|field| !field.is_nullable() && !filled.contains(&field.name().as_str()))
            .map(|field| field.name().as_str())
            .collect();
        let required: BTreeSet<&str> = required(&json).into_iter().filter(|name| !NOT_STORED.contains(name)).collect();
        assert_eq!(required, needed, "{}", table.name());
        for (name, property) in properties(&json).into_iter().filter(|(name, _)| !NOT_STORED.contains(name)) {
            let column = arrow.field_with_name(name).unwrap();
            assert_eq!(is_nullable(property), column.is_nullable(), "{}.{name}", table.name());
        }
    }
}

#[test]
fn every_json_property_is_described_and_has_examples_of_its_type() {
    for (table, json) in json_schemas() {
        for (name, property) in properties(&json) {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{}.{name}: not a sentence: {description:?}", table.name());
            let examples = property["examples"].as_array().unwrap();
            assert!(!examples.is_empty(), "{}.{name}", table.name());
            assert!(examples.iter().all(|value| fits(property, value)), "{}.{name}: {examples:?}", table.name());
        }
    }
}

#[test]
fn examples_in_the_json_schemas_satisfy_them() {
    for (table, json) in json_schemas() {
        let properties = properties(&json);
        for example in json["examples"].as_array().unwrap() {
            let example = example.as_object().unwrap();
            let missing: Vec<&str> = required(&json).into_iter().filter(|name| !example.contains_key(*name)).collect();
            assert!(missing.is_empty(), "{}: {missing:?}", table.name());
            for (name, value) in example {
                let property = properties.get(name.as_str()).unwrap_or_else(|| panic!("{}: {name}", table.name()));
                assert!(fits(property, value), "{}.{name}: {value}", table.name());
            }
        }
    }
}
