//! Recorded trades as a source: rows of a CSV or Parquet file become ticks, in the order of the file.
//!
//! This file owns the sequence numbers of rows that have none, and the tally of what was read. It does *not* own the
//! file formats or the meaning of columns. [`ticklake_reader`] owns them.

use std::collections::{BTreeMap, HashMap};

use ticklake_reader::Row;
pub use ticklake_reader::{Mapping, MappingError, PRESETS, Preset, ReadError, Recording, TsUnit};

use crate::{
    manifest::Tally,
    payload::{Dialect, PayloadError},
    tick::{SymbolHash, Tick},
};

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Two rows of a symbol have the same sequence number.
    #[error(
        "failed to read row {row}: an earlier row of {symbol:?} has seq {seq}, too; map no column to seq, then the rows of each symbol are numbered"
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

/// Takes ticks. `Ok(false)` asks for no more of them.
pub type TickSink<'a> = &'a mut dyn FnMut(&Tick<'_>) -> Result<bool, PayloadError>;

/// Hands every row of `recording` to `sink`, with times as `dialect` can carry them. Returns a tally of these ticks by
/// symbol.
pub fn replay(
    recording: &Recording,
    dialect: Dialect,
    sink: TickSink<'_>,
) -> Result<BTreeMap<String, Tally>, ReplayError> {
    let mut books = Books { dialect, symbols: HashMap::new(), sink };
    let mut failed = None;
    recording.read(&mut |row| {
        books.take(row).unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(books.symbols.into_iter().map(|(symbol, book)| (symbol, book.tally)).collect())
}

/// What was read so far.
struct Books<'a> {
    dialect: Dialect,
    symbols: HashMap<String, Book>,
    sink: TickSink<'a>,
}

/// What was read of one symbol.
struct Book {
    hash: SymbolHash,
    tally: Tally,
}

impl Books<'_> {
    /// Takes the next row. `false` asks for no more.
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
            return Err(ReplayError::SeqRepeats { row: row.number, symbol: row.symbol.to_owned(), seq: tick.seq });
        }
        Ok((self.sink)(&tick)?)
    }
}

#[cfg(test)]
mod tests;
