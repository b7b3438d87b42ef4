//! The rows of one file of the ticks table, in batches, of only the columns that an audit needs.

use std::{fs::File, path::Path};

use arrow::{
    array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::AuditError;

/// Rows that are in memory at a time.
const BATCH_ROWS: usize = 8_192;

/// The columns that are read.
const COLUMNS: [&str; 5] = ["symbol", "ts", "price", "volume", "seq"];

/// One row of the ticks table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) symbol: &'a str,
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) seq: Option<i64>,
}

/// Hands every row of the file to `take`.
pub(super) fn read(path: &Path, take: &mut dyn FnMut(Row<'_>)) -> Result<(), AuditError> {
    let failed = |source| AuditError::Parquet { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| AuditError::Read { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(failed)? {
        let batch = batch.map_err(|error| failed(error.into()))?;
        let columns = Columns::of(&batch).map_err(|problem| AuditError::Schema { path: path.to_owned(), problem })?;
        for at in 0..batch.num_rows() {
            take(columns.row(at));
        }
    }
    Ok(())
}

/// The columns of a batch. Only the symbol may be encoded in several ways; for the rest another type is another value.
struct Columns {
    symbol: StringArray,
    ts: TimestampMicrosecondArray,
    price: Float64Array,
    volume: Float64Array,
    seq: Int64Array,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let find = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("there is no column {name}"));
        let typed = |name: &str, expected: fn(&DataType) -> bool| {
            let column = find(name)?;
            let actual = column.data_type();
            if expected(actual) { Ok(column) } else { Err(format!("column {name} is of type {actual}")) }
        };
        let is_float = |actual: &DataType| *actual == DataType::Float64;
        let is_time = |actual: &DataType| matches!(actual, DataType::Timestamp(TimeUnit::Microsecond, Some(_)));
        let columns = Self {
            symbol: cast(find("symbol")?, &DataType::Utf8).map_err(|error| error.to_string())?.as_string().clone(),
            ts: typed("ts", is_time)?.as_primitive::<TimestampMicrosecondType>().clone(),
            price: typed("price", is_float)?.as_primitive::<Float64Type>().clone(),
            volume: typed("volume", is_float)?.as_primitive::<Float64Type>().clone(),
            seq: typed("seq", |actual| *actual == DataType::Int64)?.as_primitive::<Int64Type>().clone(),
        };
        let nulls = [&columns.symbol as &dyn Array, &columns.ts, &columns.price, &columns.volume];
        let holey = nulls.into_iter().zip(COLUMNS).find(|(array, _)| array.null_count() > 0).map(|(_, name)| name);
        holey.map_or(Ok(columns), |name| Err(format!("column {name} has nulls")))
    }

    fn row(&self, at: usize) -> Row<'_> {
        Row {
            symbol: self.symbol.value(at),
            ts_us: self.ts.value(at),
            price: self.price.value(at),
            volume: self.volume.value(at),
            seq: self.seq.is_valid(at).then(|| self.seq.value(at)),
        }
    }
}
