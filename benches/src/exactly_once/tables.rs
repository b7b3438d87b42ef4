//! What a round leaves in the tables beside the ticks: each reject once, no alert twice, none stored that was not published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arrow::array::AsArray as _;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ticklake_core::commit::{claim_name, read_claim};

/// What was found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tables {
    /// Rejects that were sent and are not in the lake.
    pub(super) rejects_lost: u64,
    /// Alerts in the lake.
    pub(super) alerts: u64,
    /// Alerts in the lake that nobody was told of.
    pub(super) alerts_lost: u64,
    /// Alerts that an epoch has claimed for one of its messages and that are not in the lake.
    pub(super) alerts_unstored: u64,
    /// Rejects that are there more than once.
    pub(super) rejects_duplicate: u64,
    /// Alerts that are there more than once.
    pub(super) alerts_duplicate: u64,
}

/// Compares the lake in the folder `lake` with the bodies that had to be rejected and the ids of the alerts that arrived.
pub(super) fn compare(lake: &Path, rejects: &BTreeSet<String>, published: &BTreeSet<String>) -> anyhow::Result<Tables> {
    let (bodies, ids) = (places(lake, "quarantine", "body")?, places(lake, "alerts", "id")?);
    let duplicate = |rows: &Places| {
        let twice = rows.iter().filter(|(_, files)| files.len() > 1);
        twice.map(|(value, files)| tell(value, files)).count() as u64
    };
    Ok(Tables {
        rejects_lost: rejects.iter().filter(|body| !bodies.contains_key(*body)).count() as u64,
        alerts: ids.len() as u64,
        alerts_lost: ids.keys().filter(|id| !published.contains(*id)).count() as u64,
        alerts_unstored: unstored(lake, ids.keys())?,
        rejects_duplicate: duplicate(&bodies),
        alerts_duplicate: duplicate(&ids),
    })
}

/// How many alerts were claimed that are none of `ids`. What time alone made certain is lost with its worker: such claims say so.
fn unstored<'a>(lake: &Path, ids: impl Iterator<Item = &'a String>) -> anyhow::Result<u64> {
    let of_alert = |claim: String| claim.rsplit_once('-').map(|(alert, _)| alert.to_owned());
    let stored: BTreeSet<_> = ids.filter_map(|id| of_alert(claim_name(id, 0))).collect();
    let mut claimed = BTreeSet::new();
    let folder = lake.join("ledger-alerts");
    if folder.exists() {
        for claim in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let claim = claim?;
            if read_claim(&fs::read_to_string(claim.path())?).1 {
                claimed.extend(of_alert(claim.file_name().to_string_lossy().into_owned()));
            }
        }
    }
    Ok(claimed.difference(&stored).count() as u64)
}

/// The files of each value of a column, one for each of its rows.
type Places = BTreeMap<String, Vec<PathBuf>>;

/// Where a value is that should be in one place, for whoever has to find out why.
fn tell(value: &str, files: &[PathBuf]) {
    use std::io::Write as _;
    // With stderr gone there is nobody to tell; the figures still do.
    let _ = writeln!(std::io::stderr(), "{value} is there {} times: {files:?}", files.len());
}

fn places(lake: &Path, table: &str, column: &str) -> anyhow::Result<Places> {
    let mut places = Places::new();
    for path in files(&lake.join(table))? {
        let file = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
        for batch in builder.with_projection(mask).build()? {
            let batch = batch?;

            let values = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            for value in values.as_string::<i32>().iter().flatten() {
                places.entry(value.to_owned()).or_default().push(path.clone());
            }
        }
    }
    Ok(places)
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
