//! Recorded trades as a source: rows of a CSV or Parquet file become ticks, in the order of the file.
//!
//! A [`Mapping`] says which columns hold what. This file owns the numbering of rows and the tally of what was read; it does
//! *not* own the file formats (`csv_file`, `parquet_file`).

mod csv_file;
mod mapping;
mod parquet_file;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

pub use mapping::{Mapping, MappingError, PRESETS, Preset, TsUnit};

use crate::{
    manifest::Tally,
    payload::{Dialect, PayloadError},
    tick::{Number, SymbolHash, Tick},
};

/// A file of trades.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The file: `.csv`, `.csv.gz` or `.parquet`.
    pub path: PathBuf,
    /// Which columns hold what.
    pub mapping: Mapping,
    /// How many rows to take from its beginning; `None` takes all.
    pub limit: Option<u64>,
}

/// Why a recording cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The name ends in nothing known.
    #[error("failed to replay {}: the name must end in .csv, .csv.gz or .parquet", .0.display())]
    Format(PathBuf),
    /// The file cannot be opened or read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no well-formed CSV.
    #[error("failed to read the CSV rows")]
    Csv(#[from] csv::Error),
    /// The file is no well-formed Parquet.
    #[error("failed to read the Parquet rows")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A Parquet column has a type that cannot stand for what it is mapped to.
    #[error("failed to read the Parquet columns")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A mapped column is not there.
    #[error("failed to map the columns: there is no column {column:?}, the file has {}", available.join(", "))]
    Column {
        /// The name in the mapping.
        column: String,
        /// The names in the file.
        available: Vec<String>,
    },
    /// A value that is missing or no such thing.
    #[error("failed to read row {row}: {column} is {problem}")]
    Value {
        /// Its number, from 1, headings not counted.
        row: u64,
        /// What it is mapped to.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Sequence numbers tell the ticks of a symbol apart.
    #[error(
        "failed to read row {row}: {symbol:?} had a row with seq {seq} before; map no seq, and the rows of each symbol are numbered"
    )]
    SeqRepeats {
        /// Its number, from 1, headings not counted.
        row: u64,
        /// The symbol.
        symbol: String,
        /// The sequence number.
        seq: i64,
    },
    /// The tick fits into no message.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Takes ticks; `Ok(false)` asks for no more of them.
pub type TickSink<'a> = &'a mut dyn FnMut(&Tick<'_>) -> Result<bool, PayloadError>;

impl Recording {
    /// Hands every row to `sink`, with times as `dialect` can carry them, and says what was handed over by symbol.
    pub fn read(&self, dialect: Dialect, sink: TickSink<'_>) -> Result<BTreeMap<String, Tally>, ReplayError> {
        let mut rows = Rows { dialect, left: self.limit.unwrap_or(u64::MAX), row: 0, symbols: HashMap::new(), sink };
        if rows.left > 0 {
            let (path, mapping) = (&self.path, &self.mapping);
            match Format::of(path) {
                Some(Format::Csv { gzip }) => csv_file::read(path, gzip, mapping, &mut rows)?,
                Some(Format::Parquet) => parquet_file::read(path, mapping, &mut rows)?,
                None => return Err(ReplayError::Format(path.clone())),
            }
        }
        Ok(rows.symbols.into_iter().map(|(symbol, book)| (symbol, book.tally)).collect())
    }
}

/// What a file holds, by its name.
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

/// One row, as a file format reads it.
struct Row<'a> {
    symbol: &'a str,
    ts_us: i64,
    price: Number<'a>,
    volume: Number<'a>,
    seq: Option<i64>,
    venue: Option<&'a str>,
    conditions: Option<&'a str>,
}

/// Where the file formats put their rows.
struct Rows<'a> {
    dialect: Dialect,
    left: u64,
    /// Of the row being read, from 1.
    row: u64,
    symbols: HashMap<String, Book>,
    sink: TickSink<'a>,
}

/// What was read of one symbol.
struct Book {
    hash: SymbolHash,
    tally: Tally,
}

impl Rows<'_> {
    /// Takes the next row; `false` asks for no more.
    fn take(&mut self, row: &Row<'_>) -> Result<bool, ReplayError> {
        if !self.symbols.contains_key(row.symbol) {
            let book = Book { hash: SymbolHash::of(row.symbol), tally: Tally::default() };
            self.symbols.insert(row.symbol.to_owned(), book);
        }
        let Some(book) = self.symbols.get_mut(row.symbol) else { return Ok(false) };
        let tick = Tick {
            symbol: row.symbol,
            ts_us: self.dialect.carried_ts_us(row.ts_us),
            price: row.price,
            volume: row.volume,
            seq: row.seq.unwrap_or(book.tally.seqs.len() as i64),
            venue: row.venue,
            conditions: row.conditions,
        };
        if !book.tally.add(book.hash, &tick) {
            return Err(ReplayError::SeqRepeats { row: self.row, symbol: row.symbol.to_owned(), seq: tick.seq });
        }
        self.left -= 1;
        Ok((self.sink)(&tick)? && self.left > 0)
    }

    fn bad(&self, column: &'static str, problem: impl Into<String>) -> ReplayError {
        ReplayError::Value { row: self.row, column, problem: problem.into() }
    }

    fn number<'t>(&self, column: &'static str, text: &'t str) -> Result<Number<'t>, ReplayError> {
        Number::from_text(text).ok_or_else(|| self.bad(column, format!("{text:?}, not a finite number")))
    }

    fn ts_us(&self, ts: i64, unit: TsUnit) -> Result<i64, ReplayError> {
        unit.to_us(ts).ok_or_else(|| self.bad("ts", format!("{ts}, out of range for its unit")))
    }
}

#[cfg(test)]
mod tests;
