//! The rows of a lake's tables, as an audit needs them. It does *not* judge them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arrow::array::{Array as _, AsArray as _, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ticklake_core::commit::read_claim;
use ticklake_core::lake::claim_key;
use ticklake_core::lake::partition_path;
use ticklake_schemas::Table;

/// A row of the ticks table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TickRow {
    pub(super) symbol: String,
    pub(super) seq: Option<i64>,
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
    /// Whether the file lies in the partition of its time.
    pub(super) is_in_place: bool,
    pub(super) file: PathBuf,
}

/// A row of the quarantine table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RejectRow {
    /// Whether the body is that of a whole message.
    pub(super) is_whole: bool,
    pub(super) reason: String,
    pub(super) body: String,
    pub(super) file: PathBuf,
}

/// All rows of the ticks table.
pub(super) fn ticks(lake: &Path) -> anyhow::Result<Vec<TickRow>> {
    let mut rows = Vec::new();
    read(lake, Table::Ticks, &["symbol", "seq", "ts", "price", "volume"], |file, batch| {
        let (symbols, seqs) = (texts(batch, "symbol")?, integers(batch, "seq")?);
        let (ts, price, volume) = (integers(batch, "ts")?, floats(batch, "price")?, floats(batch, "volume")?);
        for (at, symbol) in symbols.into_iter().enumerate() {
            let ts_us = ts.value(at);
            rows.push(TickRow {
                symbol: symbol.context("a tick has no symbol")?,
                seq: seqs.is_valid(at).then(|| seqs.value(at)),
                ts_us,
                price: price.value(at),
                volume: volume.value(at),
                is_in_place: file.parent() == Some(Path::new(&partition_path(Table::Ticks, ts_us))),
                file: file.to_owned(),
            });
        }
        Ok(())
    })?;
    Ok(rows)
}

/// All rows of the quarantine table.
pub(super) fn rejects(lake: &Path) -> anyhow::Result<Vec<RejectRow>> {
    let mut rows = Vec::new();
    read(lake, Table::Quarantine, &["index", "reason", "body"], |file, batch| {
        let (indexes, reasons, bodies) = (integers(batch, "index")?, texts(batch, "reason")?, texts(batch, "body")?);
        for (at, (reason, body)) in reasons.into_iter().zip(bodies).enumerate() {
            let (reason, body) = (reason.context("no reason")?, body.context("no body")?);
            rows.push(RejectRow { is_whole: indexes.is_null(at), reason, body, file: file.to_owned() });
        }
        Ok(())
    })?;
    Ok(rows)
}

/// How many rows each alert has, by its id.
pub(super) fn alerts(lake: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut rows = BTreeMap::new();
    read(lake, Table::Alerts, &["id"], |_, batch| {
        for id in texts(batch, "id")?.into_iter().flatten() {
            *rows.entry(id).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(rows)
}

/// How many alerts were claimed but are not in `ids`. Adopted notes are claimed too, and name no file.
pub(super) fn unstored<'a>(lake: &Path, ids: impl Iterator<Item = &'a String>) -> anyhow::Result<u64> {
    let of_alert = |claim: String| claim.rsplit_once('-').map(|(alert, _)| alert.to_owned());
    let name = |key: String| key.rsplit_once('/').map(|(_, name)| name.to_owned());
    let stored: BTreeSet<_> = ids.filter_map(|id| of_alert(name(claim_key("", id, 0))?)).collect();
    let mut claimed = BTreeSet::new();
    let folder = lake.join("ledger-alerts");
    if folder.exists() {
        for claim in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let claim = claim?;
            if read_claim(&fs::read_to_string(claim.path())?).ends_with(".parquet") {
                claimed.extend(of_alert(claim.file_name().to_string_lossy().into_owned()));
            }
        }
    }
    Ok(claimed.difference(&stored).count() as u64)
}

/// Hands the rows of a table to `take`, with the name of their file below the lake.
fn read(
    lake: &Path,
    table: Table,
    columns: &[&str],
    mut take: impl FnMut(&Path, &RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for path in files(&lake.join(table.name()))? {
        let file = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let name = path.strip_prefix(lake)?;
        for batch in builder.with_projection(mask).build()? {
            take(name, &batch?).with_context(|| format!("failed to read {}", path.display()))?;
        }
    }
    Ok(())
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

fn cast(batch: &RecordBatch, column: &str, to: &DataType) -> anyhow::Result<arrow::array::ArrayRef> {
    let column = batch.column_by_name(column).with_context(|| format!("there is no column {column}"))?;
    Ok(arrow::compute::cast(column, to)?)
}

fn texts(batch: &RecordBatch, column: &str) -> anyhow::Result<Vec<Option<String>>> {
    let column = cast(batch, column, &DataType::Utf8)?;
    Ok(column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

fn integers(batch: &RecordBatch, column: &str) -> anyhow::Result<Int64Array> {
    Ok(cast(batch, column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn floats(batch: &RecordBatch, column: &str) -> anyhow::Result<Float64Array> {
    Ok(cast(batch, column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}
