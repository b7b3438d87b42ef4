//! Whether a lake holds exactly what was sent.
//!
//! Each row of the Parquet files below `LAKE/ticks` is looked up by symbol and sequence number in a bitmap of what was
//! sent: one bit per tick, so that memory does not depend on the size of a row. A checksum per symbol then tells
//! whether the rows also say what was sent. Where malformed ticks were sent, the rows of `LAKE/quarantine` are counted,
//! too. This file owns the two passes over the files; it does *not* own the state of a symbol (`ledger`) or how a row
//! is read ([`ticklake_reader::lake`]).

mod ledger;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

pub use ticklake_reader::lake::rows::Row;

pub use report::{Duplicate, Problem, Report};

use ticklake_reader::lake::{
    LakeError, files_in,
    rows::{self, RowsError},
};

use crate::manifest::Sent;
use ledger::{Ledger, Verdict};

/// How many duplicates and unknown rows a report names; it counts them all.
pub const EXAMPLES_MAX: usize = 20;

/// Compares the ticks table of the lake in the folder `lake` with what was `sent`.
pub fn audit(lake: &Path, sent: &Sent) -> Result<Report, LakeError> {
    let table = lake.join(TICKS);
    fs::read_dir(&table).map_err(|source| LakeError::Read { path: table, source })?;
    let files = files_in(lake, TICKS)?;
    let mut ledger = Ledger::new(sent);
    let mut report = Report { files: files.len() as u64, malformed: sent.malformed, ..Report::default() };
    let mut duplicates = BTreeSet::new();
    for name in &files {
        let path = lake.join(name);
        report.bytes += fs::metadata(&path).map_err(|source| LakeError::Read { path, source })?.len();
        open(lake, name, |file| {
            rows::read(file, &mut |row| match report.count(ledger.take(row)) {
                Verdict::Expected => {}
                Verdict::Duplicate(seq) => {
                    if duplicates.len() < EXAMPLES_MAX {
                        duplicates.insert((row.symbol.to_owned(), seq));
                    }
                }
                Verdict::Unknown => {
                    if report.unknown_examples.len() < EXAMPLES_MAX {
                        report.unknown_examples.push((row.symbol.to_owned(), row.seq, lake.join(name)));
                    }
                }
            })
        })?;
    }
    report.conclude(&ledger);
    report.duplicates = find_copies(lake, &files, &duplicates)?;
    for name in files_in(lake, QUARANTINE)? {
        report.quarantined += open(lake, &name, rows::count)?;
    }
    Ok(report)
}

/// Compares rows that are in no file with what was `sent`.
pub fn audit_rows<'a>(sent: &Sent, rows: impl Iterator<Item = Row<'a>>) -> Report {
    let mut ledger = Ledger::new(sent);
    let mut report = Report::default();
    rows.for_each(|row| {
        report.count(ledger.take(row));
    });
    report.conclude(&ledger);
    report
}

impl Report {
    /// Counts a row.
    fn count(&mut self, verdict: Verdict) -> Verdict {
        self.rows += 1;
        self.duplicate += u64::from(matches!(verdict, Verdict::Duplicate(_)));
        self.unknown += u64::from(verdict == Verdict::Unknown);
        verdict
    }

    /// Takes in what is wrong with each symbol, after the last row.
    fn conclude(&mut self, ledger: &Ledger<'_>) {
        self.problems = ledger.problems();
        self.lost = self.problems.values().map(|problem| problem.lost).sum();
        self.altered = self.problems.values().filter(|problem| problem.is_altered).count() as u64;
    }
}

/// The files that hold each of the given rows. A second pass, and only where there are duplicates: remembering the file
/// of every row in the first one would cost many times the bitmap.
fn find_copies(lake: &Path, files: &[String], wanted: &BTreeSet<(String, i64)>) -> Result<Vec<Duplicate>, LakeError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let symbols: BTreeSet<&str> = wanted.iter().map(|(symbol, _)| symbol.as_str()).collect();
    let mut found: BTreeMap<(String, i64), Vec<PathBuf>> = BTreeMap::new();
    for name in files {
        open(lake, name, |file| {
            rows::read_keys(file, &mut |symbol, seq| {
                if !symbols.contains(symbol) {
                    return;
                }
                let key = (symbol.to_owned(), seq);
                if wanted.contains(&key) {
                    found.entry(key).or_default().push(lake.join(name));
                }
            })
        })?;
    }
    Ok(found.into_iter().map(|((symbol, seq), files)| Duplicate { symbol, seq, files }).collect())
}

/// Opens the file of that name below the lake and has it read.
fn open<T>(lake: &Path, name: &str, read: impl FnOnce(File) -> Result<T, RowsError>) -> Result<T, LakeError> {
    let path = lake.join(name);
    let file = File::open(&path).map_err(|source| LakeError::Read { path: path.clone(), source })?;
    read(file).map_err(|error| error.in_file(&path.display().to_string()))
}

/// The folder of the ticks table.
const TICKS: &str = "ticks";

/// That of the table of what was rejected.
const QUARANTINE: &str = "quarantine";

#[cfg(test)]
mod tests;
