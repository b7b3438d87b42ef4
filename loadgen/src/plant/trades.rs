//! Trades in memory, column by column, and the Parquet file that holds them.
//!
//! Each text is stored once, because a day of trades has few symbols, venues and conditions. This file does *not* own
//! the formats that recordings come in (`replay`).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{
    payload::Dialect,
    replay::{Recording, ReplayError, replay},
    tick::Tick,
};

/// Rows that are turned into Arrow arrays at a time.
const BATCH_ROWS: usize = 65_536;

/// Trades in the order of their file. All columns are of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trades {
    /// The names of the symbols, in the order in which they first appear.
    pub symbols: Vec<String>,
    /// The symbol of each trade, as a position in `symbols`.
    pub symbol: Vec<u32>,
    /// Event time, microseconds since the Unix epoch, UTC.
    pub ts_us: Vec<i64>,
    /// Price of one unit.
    pub price: Vec<f64>,
    /// Units traded.
    pub volume: Vec<f64>,
    /// Where the trade took place.
    pub venue: Vec<Option<Arc<str>>>,
    /// Sale conditions.
    pub conditions: Vec<Option<Arc<str>>>,
}

/// Why trades cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file cannot be created.
    #[error("failed to create {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The rows cannot be encoded or written.
    #[error("failed to write the Parquet rows")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The columns do not make a table.
    #[error("failed to write the Parquet columns")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Trades {
    /// All trades of a recording.
    pub fn read(recording: &Recording) -> Result<Self, ReplayError> {
        Self::read_after(recording, 0)
    }

    /// The trades of a recording without its first `skip_rows` rows. The skipped rows count towards its limit.
    pub fn read_after(recording: &Recording, skip_rows: u64) -> Result<Self, ReplayError> {
        let mut trades = Self::default();
        let mut interned = Interned::default();
        let mut skip = skip_rows;
        replay(recording, Dialect::Canonical, &mut |tick| {
            if skip > 0 {
                skip -= 1;
            } else {
                trades.push(tick, &mut interned);
            }
            Ok(true)
        })?;
        Ok(trades)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts_us.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts_us.is_empty()
    }

    /// The event times of each symbol's trades, ascending.
    #[must_use]
    pub fn times_by_symbol(&self) -> BTreeMap<&str, Vec<i64>> {
        let mut times = vec![Vec::new(); self.symbols.len()];
        for (&symbol, &ts_us) in self.symbol.iter().zip(&self.ts_us) {
            times[symbol as usize].push(ts_us);
        }
        for times in &mut times {
            times.sort_unstable();
        }
        self.symbols.iter().map(String::as_str).zip(times).collect()
    }

    /// Writes a Parquet file with the columns of the preset `ticklake`. Sequence numbers count the rows of each symbol
    /// from 0. An existing file is replaced.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let file = File::create(path).map_err(|source| WriteError::Create { path: path.to_owned(), source })?;
        let schema = Arc::new(schema());
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
        let mut next_seq = vec![0; self.symbols.len()];
        for start in (0..self.len()).step_by(BATCH_ROWS) {
            let rows = start..self.len().min(start + BATCH_ROWS);
            writer.write(&RecordBatch::try_new(schema.clone(), self.columns(rows, &mut next_seq))?)?;
        }
        writer.close()?;
        Ok(())
    }

    /// Adds a trade at the end, without its sequence number.
    fn push(&mut self, tick: &Tick<'_>, interned: &mut Interned) {
        let symbol = interned.symbol(tick.symbol, &mut self.symbols);
        self.symbol.push(symbol);
        self.ts_us.push(tick.ts_us);
        self.price.push(tick.price.value());
        self.volume.push(tick.volume.value());
        self.venue.push(tick.venue.map(|text| interned.text(text)));
        self.conditions.push(tick.conditions.map(|text| interned.text(text)));
    }

    /// The columns of some rows, in the order of [`schema`].
    fn columns(&self, rows: std::ops::Range<usize>, next_seq: &mut [i64]) -> Vec<ArrayRef> {
        let symbols = &self.symbol[rows.clone()];
        let names = symbols.iter().map(|&symbol| self.symbols[symbol as usize].as_str());
        let mut number = |&symbol: &u32| {
            let seq = &mut next_seq[symbol as usize];
            *seq += 1;
            *seq - 1
        };
        let seqs: Vec<i64> = symbols.iter().map(&mut number).collect();
        let texts = |column: &[Option<Arc<str>>]| column.iter().map(Option::as_deref).collect::<StringArray>();
        vec![
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(TimestampMicrosecondArray::from(self.ts_us[rows.clone()].to_vec()).with_timezone("UTC")),
            Arc::new(Float64Array::from(self.price[rows.clone()].to_vec())),
            Arc::new(Float64Array::from(self.volume[rows.clone()].to_vec())),
            Arc::new(Int64Array::from(seqs)),
            Arc::new(texts(&self.venue[rows.clone()])),
            Arc::new(texts(&self.conditions[rows])),
        ]
    }
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))), false),
        Field::new("price", DataType::Float64, false),
        Field::new("volume", DataType::Float64, false),
        Field::new("seq", DataType::Int64, false),
        Field::new("venue", DataType::Utf8, true),
        Field::new("conditions", DataType::Utf8, true),
    ])
}

/// Texts that were seen before.
#[derive(Default)]
struct Interned {
    symbols: HashMap<String, u32>,
    texts: HashMap<String, Arc<str>>,
}

impl Interned {
    /// The position of `name` in `symbols`. A new name is added there.
    fn symbol(&mut self, name: &str, symbols: &mut Vec<String>) -> u32 {
        if let Some(&at) = self.symbols.get(name) {
            return at;
        }
        let at = symbols.len() as u32;
        symbols.push(name.to_owned());
        self.symbols.insert(name.to_owned(), at);
        at
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = Arc::from(text);
        self.texts.insert(text.to_owned(), shared.clone());
        shared
    }
}
