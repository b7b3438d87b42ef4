//! Recorded trades: the rows of a CSV or Parquet file, in the order of the file.
//!
//! A [`Mapping`] says which columns hold what. This file owns how far a file is read, and the numbers of its rows. It
//! does *not* own the file formats (`csv_file`, `parquet_file`).

mod csv_file;
mod mapping;
mod parquet_file;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use mapping::{Mapping, MappingError, PRESETS, Preset, TsUnit};

use crate::Number;

/// A file of trades.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The file: `.csv`, `.csv.gz` or `.parquet`.
    pub path: PathBuf,
    /// Which columns hold what.
    pub mapping: Mapping,
    /// How many rows to take from the beginning of the file. `None` takes all.
    pub limit: Option<u64>,
}

/// Why a recording cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The name of the file has an unknown ending.
    #[error("failed to read {}: the name must end in .csv, .csv.gz or .parquet", .0.display())]
    Format(PathBuf),
    /// The file cannot be opened or read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not well-formed CSV.
    #[error("failed to read the CSV rows")]
    Csv(#[from] csv::Error),
    /// The file is not well-formed Parquet.
    #[error("failed to read the Parquet rows")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A Parquet column has a type that does not suit the field that the column is mapped to.
    #[error("failed to read the Parquet columns")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The file lacks a mapped column.
    #[error("failed to map the columns: there is no column {column:?}, the file has {}", available.join(", "))]
    Column {
        /// The name in the mapping.
        column: String,
        /// The names in the file.
        available: Vec<String>,
    },
    /// A value is missing or malformed.
    #[error("failed to read row {row}: {column} is {problem}")]
    Value {
        /// The number of the row, from 1. Headings do not count.
        row: u64,
        /// The field that the column is mapped to.
        column: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
}

/// One row of a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// The number of the row, from 1. Headings do not count.
    pub number: u64,
    /// The instrument.
    pub symbol: &'a str,
    /// Event time, microseconds since the Unix epoch, UTC.
    pub ts_us: i64,
    /// Price of one unit.
    pub price: Number<'a>,
    /// Units traded.
    pub volume: Number<'a>,
    /// The sequence number, if one is mapped.
    pub seq: Option<i64>,
    /// Where the trade took place.
    pub venue: Option<&'a str>,
    /// Sale conditions.
    pub conditions: Option<&'a str>,
}

/// Takes a row. Returns `false` if it wants no more rows.
pub type RowSink<'a> = &'a mut dyn FnMut(&Row<'_>) -> bool;

impl Recording {
    /// Hands the rows to `sink`, until it wants no more or `limit` is reached.
    pub fn read(&self, sink: RowSink<'_>) -> Result<(), ReadError> {
        let mut rows = Rows { left: self.limit.unwrap_or(u64::MAX), row: 0, sink };
        if rows.left == 0 {
            return Ok(());
        }
        let (path, mapping) = (&self.path, &self.mapping);
        match Format::of(path) {
            Some(Format::Csv { gzip }) => csv_file::read(path, gzip, mapping, &mut rows),
            Some(Format::Parquet) => parquet_file::read(path, mapping, &mut rows),
            None => Err(ReadError::Format(path.clone())),
        }
    }
}

/// The format of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv { gzip: bool },
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let endings =
            [(".csv", Self::Csv { gzip: false }), (".csv.gz", Self::Csv { gzip: true }), (".parquet", Self::Parquet)];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

/// Takes the rows that the file formats read, up to the limit.
struct Rows<'a> {
    left: u64,
    /// The number of the row that is being read, from 1.
    row: u64,
    sink: RowSink<'a>,
}

impl Rows<'_> {
    /// Takes the next row. Returns `false` if no more rows are wanted.
    fn take(&mut self, row: &Row<'_>) -> bool {
        self.left -= 1;
        (self.sink)(row) && self.left > 0
    }

    fn bad(&self, column: &'static str, problem: impl Into<String>) -> ReadError {
        ReadError::Value { row: self.row, column, problem: problem.into() }
    }

    fn number<'t>(&self, column: &'static str, text: &'t str) -> Result<Number<'t>, ReadError> {
        Number::from_text(text).ok_or_else(|| self.bad(column, format!("{text:?}, not a finite number")))
    }

    fn ts_us(&self, ts: i64, unit: TsUnit) -> Result<i64, ReadError> {
        unit.to_us(ts).ok_or_else(|| self.bad("ts", format!("{ts}, out of range for its unit")))
    }
}
