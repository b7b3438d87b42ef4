//! The contracts of ticklake: the columns of the lake's three tables, the JSON Schema of a tick and of an alert, and
//! the queue of a symbol.
//!
//! This crate owns names, types and nullability, once. Its tests check that the JSON Schema files beside it, the Arrow
//! schemas below and the Athena DDL agree. It does *not* own where files lie or how they are written.

mod route;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub use route::queue_of;

/// JSON Schema of a canonical tick, as a producer sends it.
pub const TICK_JSON_SCHEMA: &str = include_str!("../tick.schema.json");

/// JSON Schema of an alert, as a subscriber receives it.
pub const ALERT_JSON_SCHEMA: &str = include_str!("../alert.schema.json");

/// Which of several queues a symbol's ticks go to: the function in words, and test vectors that every producer has to
/// reproduce.
pub const SYMBOL_QUEUE_VECTORS: &str = include_str!("../symbol_queue.json");

/// The three tables of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row per tick, partitioned by event date and hour.
    Ticks,
    /// One row per alert, partitioned by event date.
    Alerts,
    /// One row per rejected tick or message body, partitioned by the date its message was sent.
    Quarantine,
}

impl Table {
    /// All tables, in the order of their names in the documentation.
    pub const ALL: [Table; 3] = [Table::Ticks, Table::Alerts, Table::Quarantine];

    /// The table's name: the folder below the lake's prefix, and the Athena table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Ticks => "ticks",
            Table::Alerts => "alerts",
            Table::Quarantine => "quarantine",
        }
    }

    /// The columns stored in the table's files.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        match self {
            Table::Ticks => ticks(),
            Table::Alerts => alerts(),
            Table::Quarantine => quarantine(),
        }
    }

    /// The partition columns, which are in the key and not in the file. `dt` is a string `YYYY-MM-DD`, and `hour` is an
    /// integer from 0 to 23, both in UTC.
    #[must_use]
    pub fn partition_columns(self) -> &'static [&'static str] {
        match self {
            Table::Ticks => &["dt", "hour"],
            Table::Alerts | Table::Quarantine => &["dt"],
        }
    }
}

/// Microseconds since the Unix epoch, UTC: INT64 in Parquet, `timestamp` in Athena.
fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

fn ticks() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("ts", timestamp(), false),
        Field::new("price", DataType::Float64, false),
        Field::new("volume", DataType::Float64, false),
        Field::new("seq", DataType::Int64, true),
        Field::new("venue", DataType::Utf8, true),
        Field::new("conditions", DataType::Utf8, true),
        Field::new("received_at", timestamp(), false),
    ]))
}

fn alerts() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("event", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("state", DataType::Utf8, false),
        Field::new("severity", DataType::Utf8, false),
        Field::new("symbol", DataType::Utf8, false),
        Field::new("direction", DataType::Utf8, false),
        Field::new("ts", timestamp(), false),
        Field::new("detected_at", timestamp(), false),
        Field::new("observed", DataType::Float64, false),
        Field::new("expected", DataType::Float64, false),
        Field::new("scale", DataType::Float64, false),
        Field::new("score", DataType::Float64, false),
        Field::new("threshold", DataType::Float64, false),
        Field::new("window", DataType::Utf8, false),
        Field::new("suppressed", DataType::Int64, false),
    ]))
}

fn quarantine() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("message_id", DataType::Utf8, false),
        // The position of the tick in its message, from 0; null if the whole body was rejected.
        Field::new("index", DataType::Int32, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("body", DataType::Binary, false),
        Field::new("received_at", timestamp(), false),
    ]))
}
