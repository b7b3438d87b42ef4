//! What a round leaves in the tables beside the ticks: each reject once, no alert twice, none stored that was not published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arrow::array::AsArray as _;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What was found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tables {
    /// Rejects that were sent and are not in the lake.
    pub(super) rejects_lost: u64,
    /// Alerts in the lake.
    pub(super) alerts: u64,
    /// Alerts in the lake that nobody was told of.
    pub(super) alerts_lost: u64,
    /// Rejects and alerts that are there more than once.
    pub(super) duplicate: u64,
}

/// Compares the lake in the folder `lake` with the bodies that had to be rejected and the ids of the alerts that arrived.
pub(super) fn compare(lake: &Path, rejects: &BTreeSet<String>, published: &BTreeSet<String>) -> anyhow::Result<Tables> {
    let (bodies, ids) = (count(lake, "quarantine", "body")?, count(lake, "alerts", "id")?);
    let twice = bodies.values().chain(ids.values()).filter(|rows| **rows > 1).count();
    Ok(Tables {
        rejects_lost: rejects.iter().filter(|body| !bodies.contains_key(*body)).count() as u64,
        alerts: ids.len() as u64,
        alerts_lost: ids.keys().filter(|id| !published.contains(*id)).count() as u64,
        duplicate: twice as u64,
    })
}

/// How many rows there are of each value of a column.
fn count(lake: &Path, table: &str, column: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut rows = BTreeMap::new();
    for path in files(&lake.join(table))? {
        let file = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
        for batch in builder.with_projection(mask).build()? {
            let batch = batch?;

            let values = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            for value in values.as_string::<i32>().iter().flatten() {
                *rows.entry(value.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(rows)
}

/// The Parquet files of a table that may have none.
fn files(table: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![table.to_owned()]);
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    Ok(files)
}
