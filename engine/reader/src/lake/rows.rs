//! Reads the rows of one file of the ticks table in batches, and only the columns that are needed.
//!
//! It does *not* own where the file is.

use arrow::{
    array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use parquet::{
    arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
    file::reader::ChunkReader,
};

use super::LakeError;

/// Rows that are in memory at a time.
const BATCH_ROWS: usize = 8_192;

/// The columns that identify a tick, and then the columns with its values.
const COLUMNS: [&str; 5] = ["symbol", "seq", "ts", "price", "volume"];

/// How many of [`COLUMNS`] identify a tick.
const KEYS: usize = 2;

/// Why a file cannot be read.
#[derive(Debug)]
pub enum RowsError {
    /// It is not well-formed Parquet.
    Parquet(ParquetError),
    /// It does not have the columns of the ticks table.
    Schema(String),
}

impl From<ParquetError> for RowsError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl RowsError {
    /// The error, with the name of the file.
    #[must_use]
    pub fn in_file(self, file: &str) -> LakeError {
        let file = file.to_owned();
        match self {
            Self::Parquet(source) => LakeError::Parquet { file, source },
            Self::Schema(problem) => LakeError::Schema { file, problem },
        }
    }
}

/// One row of the ticks table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The instrument.
    pub symbol: &'a str,
    /// Event time, microseconds since the Unix epoch, UTC.
    pub ts_us: i64,
    /// Price of one unit.
    pub price: f64,
    /// Units traded.
    pub volume: f64,
    /// The sequence number.
    pub seq: Option<i64>,
}

/// Hands every row of the file to `take`.
pub fn read(file: impl ChunkReader + 'static, take: &mut dyn FnMut(Row<'_>)) -> Result<(), RowsError> {
    batches(file, &COLUMNS, &mut |batch| {
        let (keys, values) = (Keys::of(batch)?, Values::of(batch)?);
        for at in 0..batch.num_rows() {
            let (symbol, seq) = keys.row(at);
            let (ts_us, price, volume) = (values.ts.value(at), values.price.value(at), values.volume.value(at));
            take(Row { symbol, ts_us, price, volume, seq });
        }
        Ok(())
    })
}

/// Hands the symbol and the sequence number of every row that has one to `take`.
pub fn read_keys(file: impl ChunkReader + 'static, take: &mut dyn FnMut(&str, i64)) -> Result<(), RowsError> {
    batches(file, &COLUMNS[..KEYS], &mut |batch| {
        let keys = Keys::of(batch)?;
        for at in 0..batch.num_rows() {
            if let (symbol, Some(seq)) = keys.row(at) {
                take(symbol, seq);
            }
        }
        Ok(())
    })
}

/// How many rows a file of any table has.
pub fn count(file: impl ChunkReader + 'static) -> Result<u64, RowsError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    Ok(builder.metadata().file_metadata().num_rows().unsigned_abs())
}

fn batches(
    file: impl ChunkReader + 'static,
    columns: &[&str],
    take: &mut dyn FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), RowsError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let batch = batch.map_err(|error| RowsError::Parquet(error.into()))?;
        take(&batch).map_err(RowsError::Schema)?;
    }
    Ok(())
}

/// The columns that identify a row.
struct Keys {
    symbol: StringArray,
    seq: Int64Array,
}

impl Keys {
    /// Casts the symbol, because files may encode it in several ways.
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let symbol = column(batch, "symbol")?;
        let symbol: StringArray = cast(symbol, &DataType::Utf8).map_err(|error| error.to_string())?.as_string().clone();
        without_nulls(&symbol, "symbol")?;
        let seq = typed(batch, "seq", |actual| *actual == DataType::Int64)?.as_primitive::<Int64Type>().clone();
        Ok(Self { symbol, seq })
    }

    fn row(&self, at: usize) -> (&str, Option<i64>) {
        (self.symbol.value(at), self.seq.is_valid(at).then(|| self.seq.value(at)))
    }
}

/// The values of a row. Columns of other types are refused, because they would hold other values.
struct Values {
    ts: TimestampMicrosecondArray,
    price: Float64Array,
    volume: Float64Array,
}

impl Values {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let is_time = |actual: &DataType| matches!(actual, DataType::Timestamp(TimeUnit::Microsecond, Some(_)));
        let float = |name| {
            let column = typed(batch, name, |actual| *actual == DataType::Float64)?;
            without_nulls(column, name).map(|()| column.as_primitive::<Float64Type>().clone())
        };
        let ts = typed(batch, "ts", is_time)?.as_primitive::<TimestampMicrosecondType>().clone();
        without_nulls(&ts, "ts")?;
        Ok(Self { ts, price: float("price")?, volume: float("volume")? })
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("there is no column {name}"))?;
    Ok(column.as_ref())
}

fn typed<'a>(
    batch: &'a RecordBatch,
    name: &str,
    expected: impl Fn(&DataType) -> bool,
) -> Result<&'a dyn Array, String> {
    let column = column(batch, name)?;
    let actual = column.data_type();
    if expected(actual) { Ok(column) } else { Err(format!("column {name} is of type {actual}")) }
}

fn without_nulls(column: &dyn Array, name: &str) -> Result<(), String> {
    if column.null_count() == 0 { Ok(()) } else { Err(format!("column {name} has nulls")) }
}
