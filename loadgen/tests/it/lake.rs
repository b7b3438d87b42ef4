//! A lake as a consumer would write it.

use std::{fs, sync::Arc};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use ticklake_schemas::Table;

use crate::queue::Received;

/// Writes `rows` into one file.
pub(crate) fn write(rows: &[Received]) -> TempDir {
    let lake = TempDir::new().unwrap();
    let folder = lake.path().join("ticks/dt=2026-06-01/hour=13");
    fs::create_dir_all(&folder).unwrap();
    let times =
        || Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts_us)).with_timezone("UTC"));
    let nothing = || Arc::new(StringArray::new_null(rows.len()));
    let batch = RecordBatch::try_new(
        Table::Ticks.schema(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.symbol))),
            times(),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.price))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.volume))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.seq))),
            nothing(),
            nothing(),
            times(),
        ],
    );
    let file = fs::File::create(folder.join("w-1.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, Table::Ticks.schema(), None).unwrap();
    writer.write(&batch.unwrap()).unwrap();
    writer.close().unwrap();
    lake
}
