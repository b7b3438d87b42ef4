//! Reads the rows of lakes back from Parquet files, by column name, without the engine's own encoder.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// One row of the ticks table.
#[derive(Debug, Clone, PartialEq)]
pub struct TickRow {
    pub symbol: String,
    pub ts_us: i64,
    pub price: f64,
    pub volume: f64,
    pub seq: Option<i64>,
    pub venue: Option<String>,
    pub conditions: Option<String>,
}

/// One row of the quarantine table.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectRow {
    pub message_id: String,
    pub index: Option<i32>,
    pub reason: String,
    pub body: Vec<u8>,
}

/// The objects of a lake by key.
pub type Objects = BTreeMap<String, Bytes>;

/// All files below `folder`, keyed by their path in it.
pub fn objects_in(folder: &Path) -> Objects {
    let mut objects = Objects::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in std::fs::read_dir(current).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                objects.insert(key, std::fs::read(&path).unwrap().into());
            }
        }
    }
    objects
}

fn batches<'a>(objects: &'a Objects, table: &'a str) -> impl Iterator<Item = RecordBatch> + 'a {
    let prefix = format!("{table}/");
    objects.iter().filter(move |(key, _)| key.starts_with(&prefix)).flat_map(|(_, file)| {
        ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap().map(Result::unwrap)
    })
}

fn optional_text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column = batch[column].as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

/// All ticks, in the order of the keys and of the rows in each file.
pub fn ticks(objects: &Objects) -> Vec<TickRow> {
    batches(objects, "ticks")
        .flat_map(|batch| {
            (0..batch.num_rows())
                .map(|row| {
                    let seq = batch["seq"].as_primitive::<Int64Type>();
                    TickRow {
                        symbol: optional_text(&batch, "symbol", row).unwrap(),
                        ts_us: batch["ts"].as_primitive::<TimestampMicrosecondType>().value(row),
                        price: batch["price"].as_primitive::<Float64Type>().value(row),
                        volume: batch["volume"].as_primitive::<Float64Type>().value(row),
                        seq: seq.is_valid(row).then(|| seq.value(row)),
                        venue: optional_text(&batch, "venue", row),
                        conditions: optional_text(&batch, "conditions", row),
                    }
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// All rejects.
pub fn rejects(objects: &Objects) -> Vec<RejectRow> {
    batches(objects, "quarantine")
        .flat_map(|batch| {
            (0..batch.num_rows())
                .map(|row| {
                    let index = batch["index"].as_primitive::<Int32Type>();
                    RejectRow {
                        message_id: optional_text(&batch, "message_id", row).unwrap(),
                        index: index.is_valid(row).then(|| index.value(row)),
                        reason: optional_text(&batch, "reason", row).unwrap(),
                        body: batch["body"].as_binary::<i32>().value(row).to_vec(),
                    }
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The ids of all alerts that open an event.
pub fn alert_ids(objects: &Objects) -> Vec<String> {
    let ids = |batch: RecordBatch| {
        let text = |column, row| optional_text(&batch, column, row).unwrap();
        let opened = (0..batch.num_rows()).filter(|row| text("state", *row) == "open");
        opened.map(|row| text("id", row)).collect::<Vec<_>>()
    };
    batches(objects, "alerts").flat_map(ids).collect()
}
