//! A small lake on disk: Parquet files with the columns of the schemas crate under the keys of the engine.
//!
//! The fixture keeps the rows beside it, for the naive twins. "Today" is 2026-11-23. The lake also holds an older day,
//! which no query may show.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use athena::answer::Answer;
use athena::lake::Lake;
use athena::location::Location;
use athena::query::Query;
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use tempfile::TempDir;
use ticklake_core::lake::partition_path;
use ticklake_schemas::Table;

pub const TODAY: &str = "2026-11-23";
pub const SECOND_US: i64 = 1_000_000;
pub const MINUTE_US: i64 = 60 * SECOND_US;
pub const HOUR_US: i64 = 60 * MINUTE_US;

/// 2026-11-23T00:00:00Z.
pub const MIDNIGHT_US: i64 = 1_795_392_000_000_000;
const ROW_GROUP_ROWS: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    pub symbol: &'static str,
    pub ts: i64,
    pub price: f64,
    pub volume: f64,
    pub seq: Option<i64>,
    pub venue: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub struct Alert {
    pub id: &'static str,
    pub symbol: &'static str,
    pub ts: i64,
    pub detected_at: i64,
    pub observed: f64,
}

#[derive(Debug, Clone)]
pub struct Reject {
    pub message_id: &'static str,
    pub index: Option<i32>,
    pub reason: &'static str,
    pub detail: &'static str,
    pub received_at: i64,
}

pub struct Fixture {
    pub ticks: Vec<Tick>,
    pub alerts: Vec<Alert>,
    pub rejects: Vec<Reject>,
    folder: TempDir,
}

/// One value of an answer. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Number(f64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Cell::Number(number)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Cell::Number(number as f64)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Cell::Number(number as f64)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl Fixture {
    pub fn new() -> Self {
        let fixture =
            Self { ticks: ticks(), alerts: alerts(), rejects: rejects(), folder: tempfile::tempdir().unwrap() };
        fixture.write(Table::Ticks, &fixture.ticks, |tick| (tick.ts, tick.symbol), tick_columns);
        fixture.write(Table::Alerts, &fixture.alerts, |alert| (alert.ts, alert.symbol), alert_columns);
        fixture.write(Table::Quarantine, &fixture.rejects, |reject| (reject.received_at, ""), reject_columns);
        fixture
    }

    /// The ticks of yesterday and today. The shipped queries ask for these.
    pub fn recent(&self) -> impl Iterator<Item = &Tick> {
        self.ticks.iter().filter(|tick| tick.ts >= MIDNIGHT_US - 24 * HOUR_US)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn lake(&self) -> Lake {
        let lake = Lake::open(&Location::parse(self.folder.path().to_str().unwrap()).unwrap()).unwrap();
        lake.set_today(TODAY).unwrap();
        lake
    }

    /// Writes files as the engine does: sorted by symbol and time, with [`ROW_GROUP_ROWS`] rows in a row group.
    fn write<Row: Clone>(
        &self,
        table: Table,
        rows: &[Row],
        order: impl Fn(&Row) -> (i64, &'static str),
        columns: impl Fn(&[Row]) -> Vec<ArrayRef>,
    ) {
        let mut partitions: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in rows {
            partitions.entry(partition_path(table, order(row).0)).or_default().push(row.clone());
        }
        for (partition, mut rows) in partitions {
            rows.sort_by_key(|row| (order(row).1, order(row).0));
            let folder = self.folder.path().join(partition);
            fs::create_dir_all(&folder).unwrap();
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).build();
            let file = File::create(folder.join("w1-7.parquet")).unwrap();
            let schema = Arc::new(file_schema(table));
            let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
            writer.write(&RecordBatch::try_new(schema, columns(&rows)).unwrap()).unwrap();
            writer.close().unwrap();
        }
    }
}

/// The columns of the schemas crate in the Arrow version of DataFusion, converted by the names of their types.
fn file_schema(table: Table) -> Schema {
    let fields = table.schema();
    let fields = fields.fields().iter().map(|field| {
        let data_type: DataType = field.data_type().to_string().parse().unwrap();
        Field::new(field.name(), data_type, field.is_nullable())
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn ticks() -> Vec<Tick> {
    let mut random = 7_u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let hours = [-13 * 24, -1, 0, 4, 14].map(|hour| MIDNIGHT_US + hour * HOUR_US);
    let mut ticks = Vec::new();
    for (start, symbol) in hours.iter().flat_map(|start| ["AAPL", "FLAT", "MSFT", "ZVZZT"].map(|name| (*start, name))) {
        let (mut ts, mut price) = (start, 100.0);
        for i in 0..200_i64 {
            ts += 1 + below(17_000_000) as i64;
            // FLAT stands still, and ZVZZT falls farther than any other symbol rises.
            price += match symbol {
                "FLAT" => 0.0,
                "ZVZZT" => below(200) as f64 / 100.0 - 1.2,
                _ => below(200) as f64 / 100.0 - 0.97,
            };
            let tick = Tick {
                symbol,
                ts,
                price,
                volume: below(500) as f64,
                // ZVZZT comes from a producer without sequence numbers.
                seq: (symbol != "ZVZZT").then_some(start / HOUR_US * 1_000 + 2 * i),
                venue: [Some("XNAS"), Some("ARCX"), None][below(3) as usize],
            };
            if i % 10 == 9 && symbol != "ZVZZT" {
                // A tick of the same instant that is later by its number, but comes first in the file.
                ticks.push(Tick { price: price + 0.5, seq: tick.seq.map(|seq| seq + 1), ..tick.clone() });
            }
            if i % 50 == 49 {
                ticks.push(tick.clone());
            }
            ticks.push(tick);
        }
    }
    ticks
}

fn alerts() -> Vec<Alert> {
    let alert = |id, symbol, ts| Alert { id, symbol, ts, detected_at: ts + 1_500, observed: 130.25 };
    let morning = MIDNIGHT_US + 4 * HOUR_US;
    let mut alerts = vec![
        alert("old", "AAPL", MIDNIGHT_US - 13 * 24 * HOUR_US + MINUTE_US),
        // The 30 seconds before this alert begin in the hour and the day before. The lake has ticks of that hour, too.
        alert("midnight", "AAPL", MIDNIGHT_US + 2 * SECOND_US),
        alert("morning", "MSFT", morning + 10 * MINUTE_US + 1),
        alert("silent", "NONE", morning),
        alert("over", "MSFT", morning + 10 * MINUTE_US + 1),
    ];
    alerts.push(Alert { detected_at: morning + 20 * MINUTE_US, observed: 0.0, ..alerts[2].clone() });
    alerts
}

fn rejects() -> Vec<Reject> {
    let reject =
        |message_id, index, reason, detail, received_at| Reject { message_id, index, reason, detail, received_at };
    let morning = MIDNIGHT_US + 4 * HOUR_US;
    vec![
        reject("m1", None, "not_json", "expected value at 0", morning),
        reject("m2", Some(0), "bad_price", "price is -1", morning + 1),
        reject("m2", Some(3), "bad_price", "price is 1e999", morning + 2),
        reject("m3", None, "not_json", "body is empty", morning + 3),
        reject("m4", None, "not_json", "expected value at 0", MIDNIGHT_US - 1),
        reject("m0", None, "not_json", "too old to show", MIDNIGHT_US - 48 * HOUR_US),
    ]
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn instants(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn numbers(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn tick_columns(ticks: &[Tick]) -> Vec<ArrayRef> {
    vec![
        text(ticks.iter().map(|tick| tick.symbol)),
        instants(ticks.iter().map(|tick| tick.ts)),
        numbers(ticks.iter().map(|tick| tick.price)),
        numbers(ticks.iter().map(|tick| tick.volume)),
        Arc::new(ticks.iter().map(|tick| tick.seq).collect::<Int64Array>()),
        Arc::new(ticks.iter().map(|tick| tick.venue).collect::<StringArray>()),
        Arc::new(ticks.iter().map(|_| None::<&str>).collect::<StringArray>()),
        instants(ticks.iter().map(|tick| tick.ts + 2_000)),
    ]
}

fn alert_columns(alerts: &[Alert]) -> Vec<ArrayRef> {
    vec![
        text(alerts.iter().map(|alert| alert.id)),
        text(alerts.iter().map(|alert| alert.id)),
        text(alerts.iter().map(|_| "spike")),
        text(alerts.iter().map(|alert| if alert.id == "over" { "close" } else { "open" })),
        text(alerts.iter().map(|_| "warning")),
        text(alerts.iter().map(|alert| alert.symbol)),
        text(alerts.iter().map(|_| "up")),
        instants(alerts.iter().map(|alert| alert.ts)),
        instants(alerts.iter().map(|alert| alert.detected_at)),
        numbers(alerts.iter().map(|alert| alert.observed)),
        numbers(alerts.iter().map(|_| 100.0)),
        numbers(alerts.iter().map(|_| 0.5)),
        numbers(alerts.iter().map(|_| 60.5)),
        numbers(alerts.iter().map(|_| 8.0)),
        text(alerts.iter().map(|_| "50 ticks")),
        Arc::new(Int64Array::from_iter_values(alerts.iter().map(|_| 0))),
    ]
}

fn reject_columns(rejects: &[Reject]) -> Vec<ArrayRef> {
    vec![
        text(rejects.iter().map(|reject| reject.message_id)),
        Arc::new(rejects.iter().map(|reject| reject.index).collect::<Int32Array>()),
        text(rejects.iter().map(|reject| reject.reason)),
        text(rejects.iter().map(|reject| reject.detail)),
        Arc::new(BinaryArray::from_iter_values(rejects.iter().map(|_| b"\xff{"))),
        instants(rejects.iter().map(|reject| reject.received_at)),
    ]
}

/// The rows of the shipped query `name` over `lake`.
pub async fn shipped(lake: &Lake, name: &str) -> Vec<Vec<Cell>> {
    cells(&lake.run(&Query::load(name).unwrap().sql).await.unwrap())
}

pub fn cells(answer: &Answer) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for batch in &answer.batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| cell(column, row)).collect());
        }
    }
    rows
}

fn cell(column: &ArrayRef, row: usize) -> Cell {
    match column.data_type() {
        _ if column.is_null(row) => Cell::Null,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            Cell::Text(array_value_to_string(column, row).unwrap())
        }
        DataType::Timestamp(..) => {
            let instant = cast(&column.slice(row, 1), &DataType::Int64).unwrap();
            cell(&instant, 0)
        }
        _ => {
            let number = cast(&column.slice(row, 1), &DataType::Float64).unwrap();
            Cell::Number(number.as_any().downcast_ref::<Float64Array>().unwrap().value(0))
        }
    }
}
