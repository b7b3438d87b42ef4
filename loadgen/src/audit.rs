//! Whether a lake holds exactly what was sent.
//!
//! Each row of the Parquet files below `LAKE/ticks` is looked up by symbol and sequence number in a bitmap of what was
//! sent: one bit per tick, so that memory does not depend on the size of a row. A checksum per symbol then tells whether the
//! rows also say what was sent. This file owns the two passes over the files; it does *not* own the state of a symbol
//! (`ledger`) or how a row is read (`rows`).

mod ledger;
mod report;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

pub use report::{Duplicate, Problem, Report};

use crate::manifest::Sent;
use ledger::{Ledger, Verdict};

/// How many duplicates and unknown rows a report names; it counts them all.
pub const EXAMPLES_MAX: usize = 20;

/// Why an audit came to no result.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A folder or file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no well-formed Parquet.
    #[error("failed to read the Parquet file {}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: parquet::errors::ParquetError,
    },
    /// A file does not have the columns of the ticks table.
    #[error("failed to audit {}: {problem}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Compares the ticks table of the lake in the folder `lake` with what was `sent`.
pub fn audit(lake: &Path, sent: &Sent) -> Result<Report, AuditError> {
    let files = tick_files(lake)?;
    let mut ledger = Ledger::new(sent);
    let mut report = Report { files: files.len() as u64, ..Report::default() };
    let mut duplicates = BTreeSet::new();
    for (path, bytes) in &files {
        report.bytes += bytes;
        rows::read(path, &mut |row| {
            report.rows += 1;
            match ledger.take(row) {
                Verdict::Expected => {}
                Verdict::Duplicate(seq) => {
                    report.duplicate += 1;
                    if duplicates.len() < EXAMPLES_MAX {
                        duplicates.insert((row.symbol.to_owned(), seq));
                    }
                }
                Verdict::Unknown => {
                    report.unknown += 1;
                    if report.unknown_examples.len() < EXAMPLES_MAX {
                        report.unknown_examples.push((row.symbol.to_owned(), row.seq, path.clone()));
                    }
                }
            }
        })?;
    }
    report.problems = ledger.problems();
    report.lost = report.problems.values().map(|problem| problem.lost).sum();
    report.altered = report.problems.values().filter(|problem| problem.is_altered).count() as u64;
    report.duplicates = find_copies(&files, &duplicates)?;
    Ok(report)
}

/// The files that hold each of the given rows. A second pass, and only where there are duplicates: remembering the file of
/// every row in the first one would cost many times the bitmap.
fn find_copies(files: &[(PathBuf, u64)], wanted: &BTreeSet<(String, i64)>) -> Result<Vec<Duplicate>, AuditError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let symbols: BTreeSet<&str> = wanted.iter().map(|(symbol, _)| symbol.as_str()).collect();
    let mut found: BTreeMap<(String, i64), Vec<PathBuf>> = BTreeMap::new();
    for (path, _) in files {
        rows::read(path, &mut |row| {
            let Some(seq) = row.seq.filter(|_| symbols.contains(row.symbol)) else { return };
            let key = (row.symbol.to_owned(), seq);
            if wanted.contains(&key) {
                found.entry(key).or_default().push(path.clone());
            }
        })?;
    }
    Ok(found.into_iter().map(|((symbol, seq), files)| Duplicate { symbol, seq, files }).collect())
}

/// The Parquet files of the ticks table with their sizes, sorted by name. Names that begin with `_` or `.` are hidden, as
/// they are from Athena.
fn tick_files(lake: &Path) -> Result<Vec<(PathBuf, u64)>, AuditError> {
    let mut files = Vec::new();
    let mut folders = vec![lake.join(TICKS)];
    while let Some(folder) = folders.pop() {
        let failed = |source| AuditError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b"_") || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Links are followed.
            let metadata = fs::metadata(entry.path()).map_err(failed)?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
                files.push((entry.path(), metadata.len()));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The folder of the ticks table.
const TICKS: &str = "ticks";

#[cfg(test)]
mod tests;
