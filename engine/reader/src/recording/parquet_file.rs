//! Reads the rows of a Parquet file, whatever the physical types of its columns are.
//!
//! Whole numbers, decimals and texts are passed on as text, and floats as floats. So each value reaches the message as
//! it stands in the file.

use std::{fs::File, path::Path};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
    error::ArrowError,
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::{Mapping, ReadError, Row, Rows, TsUnit};
use crate::Number;

/// Rows that are in memory at a time.
const BATCH_ROWS: usize = 8_192;

/// Hands every row of the file to `rows`.
pub(super) fn read(path: &Path, mapping: &Mapping, rows: &mut Rows<'_>) -> Result<(), ReadError> {
    let file = File::open(path).map_err(|source| ReadError::Read { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let wanted = [&mapping.symbol, &mapping.ts, &mapping.price, &mapping.volume];
    let optional = [&mapping.seq, &mapping.venue, &mapping.conditions];
    let names = wanted.into_iter().chain(optional.into_iter().flatten()).map(String::as_str);
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let available: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let columns = Columns::of(&batch?, mapping, &available)?;
        for at in 0..columns.symbol.len() {
            rows.row += 1;
            let row = columns.row(at, rows)?;
            if !rows.take(&row) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The columns of a batch, cast to the few types in which they are used.
struct Columns {
    symbol: StringArray,
    ts: Int64Array,
    ts_unit: TsUnit,
    price: Numbers,
    volume: Numbers,
    seq: Option<Int64Array>,
    venue: Option<StringArray>,
    conditions: Option<StringArray>,
}

impl Columns {
    fn of(batch: &RecordBatch, mapping: &Mapping, available: &[String]) -> Result<Self, ReadError> {
        let find = |column: &String| {
            batch
                .column_by_name(column)
                .ok_or_else(|| ReadError::Column { column: column.clone(), available: available.to_vec() })
        };
        let text = |column: &Option<String>| -> Result<Option<StringArray>, ReadError> {
            column.as_ref().map(|column| Ok(texts(find(column)?)?)).transpose()
        };
        let (ts, ts_unit) = times(find(&mapping.ts)?, mapping.ts_unit)?;
        Ok(Self {
            symbol: texts(find(&mapping.symbol)?)?,
            ts,
            ts_unit,
            price: Numbers::of(find(&mapping.price)?)?,
            volume: Numbers::of(find(&mapping.volume)?)?,
            seq: mapping.seq.as_ref().map(|column| Ok::<_, ReadError>(integers(find(column)?)?)).transpose()?,
            venue: text(&mapping.venue)?,
            conditions: text(&mapping.conditions)?,
        })
    }

    fn row(&self, at: usize, rows: &Rows<'_>) -> Result<Row<'_>, ReadError> {
        let present =
            |array: &dyn Array, column| if array.is_valid(at) { Ok(()) } else { Err(rows.bad(column, "null")) };
        present(&self.symbol, "symbol")?;
        present(&self.ts, "ts")?;
        if let Some(seq) = &self.seq {
            present(seq, "seq")?;
        }
        Ok(Row {
            number: rows.row,
            symbol: self.symbol.value(at),
            ts_us: rows.ts_us(self.ts.value(at), self.ts_unit)?,
            price: self.price.get(at, "price", rows)?,
            volume: self.volume.get(at, "volume", rows)?,
            seq: self.seq.as_ref().map(|seq| seq.value(at)),
            venue: optional(self.venue.as_ref(), at),
            conditions: optional(self.conditions.as_ref(), at),
        })
    }
}

fn optional(texts: Option<&StringArray>, at: usize) -> Option<&str> {
    texts.filter(|texts| texts.is_valid(at)).map(|texts| texts.value(at)).filter(|text| !text.is_empty())
}

fn texts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(column, &DataType::Utf8)?.as_string().clone())
}

fn integers(column: &ArrayRef) -> Result<Int64Array, ArrowError> {
    Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Event times and their unit. A timestamp column has its own unit.
fn times(column: &ArrayRef, unit: TsUnit) -> Result<(Int64Array, TsUnit), ArrowError> {
    let unit = match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => TsUnit::S,
        DataType::Timestamp(TimeUnit::Millisecond, _) => TsUnit::Ms,
        DataType::Timestamp(TimeUnit::Microsecond, _) => TsUnit::Us,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => TsUnit::Ns,
        _ => unit,
    };
    Ok((integers(column)?, unit))
}

/// A column of prices or volumes.
enum Numbers {
    Floats(Float64Array),
    Texts(StringArray),
}

impl Numbers {
    fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Self::Floats(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            _ => Self::Texts(texts(column)?),
        })
    }

    fn get(&self, at: usize, column: &'static str, rows: &Rows<'_>) -> Result<Number<'_>, ReadError> {
        match self {
            Self::Floats(floats) if floats.is_valid(at) && floats.value(at).is_finite() => {
                Ok(Number::Float(floats.value(at)))
            }
            Self::Texts(texts) if texts.is_valid(at) => rows.number(column, texts.value(at)),
            Self::Floats(floats) if floats.is_valid(at) => {
                Err(rows.bad(column, format!("{}, not a finite number", floats.value(at))))
            }
            Self::Floats(_) | Self::Texts(_) => Err(rows.bad(column, "null")),
        }
    }
}
