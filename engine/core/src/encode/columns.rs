//! Arrow columns of the three tables.
//!
//! This file owns how rows become arrays. Their names, types and nullability are [`ticklake_schemas`]'; the one
//! difference is that interned columns are handed to the writer as dictionary arrays, which Parquet stores as plain
//! strings.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use ticklake_schemas::Table;

use crate::alert::Alert;
use crate::decode::Reject;
use crate::names::{NameId, Names};
use crate::tick::{Dictionaries, TickBatch};

/// The columns of ticks that are interned.
const INTERNED: [&str; 3] = ["symbol", "venue", "conditions"];

/// The schema of the batches given to the Parquet writer.
pub(super) fn written_schema(table: Table) -> SchemaRef {
    let schema = table.schema();
    if table != Table::Ticks {
        return schema;
    }
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema.fields().iter().map(|field| {
        if INTERNED.contains(&field.name().as_str()) {
            Arc::new(Field::new(field.name(), dictionary.clone(), field.is_nullable()))
        } else {
            field.clone()
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The names that an epoch's ticks use, sorted, as the values of its dictionary columns.
pub(super) struct TickDictionaries {
    symbol: Dictionary,
    venue: Dictionary,
    conditions: Dictionary,
}

impl TickDictionaries {
    pub(super) fn of(ticks: &TickBatch, names: &Dictionaries) -> Self {
        Self {
            symbol: Dictionary::of(&ticks.symbol, &names.symbols),
            venue: Dictionary::of(&ticks.venue, &names.venues),
            conditions: Dictionary::of(&ticks.conditions, &names.conditions),
        }
    }

    /// By [`NameId::index`], the alphabetical rank of every symbol in use.
    pub(super) fn symbol_ranks(&self) -> &[u32] {
        &self.symbol.ranks
    }

    /// The given rows of `ticks`, in the given order.
    pub(super) fn gather(&self, ticks: &TickBatch, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
        let times = |column: &[i64]| {
            TimestampMicrosecondArray::from_iter_values(rows.iter().map(|&row| column[row as usize]))
                .with_timezone("UTC")
        };
        let floats = |column: &[f64]| Float64Array::from_iter_values(rows.iter().map(|&row| column[row as usize]));
        let seq: Int64Array = rows.iter().map(|&row| ticks.seq[row as usize]).collect();
        let columns: Vec<ArrayRef> = vec![
            self.symbol.gather(&ticks.symbol, rows)?,
            Arc::new(times(&ticks.ts_us)),
            Arc::new(floats(&ticks.price)),
            Arc::new(floats(&ticks.volume)),
            Arc::new(seq),
            self.venue.gather(&ticks.venue, rows)?,
            self.conditions.gather(&ticks.conditions, rows)?,
            Arc::new(times(&ticks.received_at_us)),
        ];
        RecordBatch::try_new(written_schema(Table::Ticks), columns)
    }
}

struct Dictionary {
    /// The position in `values` of each name in use, by [`NameId::index`].
    ranks: Vec<u32>,
    /// The names in use, in alphabetical order.
    values: ArrayRef,
}

impl Dictionary {
    fn of(ids: &[NameId], names: &Names) -> Self {
        // One snapshot: decoders may add names meanwhile, but none that these ids refer to.
        let names: Vec<_> = names.numbered().collect();
        let mut used = vec![false; names.len() + 1];
        for id in ids {
            used[id.index()] = true;
        }
        used[NameId::NONE.index()] = false;
        let mut sorted: Vec<_> = names.iter().filter(|(id, _)| used[id.index()]).collect();
        sorted.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
        let mut ranks = vec![0; used.len()];
        for (rank, (id, _)) in sorted.iter().enumerate() {
            ranks[id.index()] = rank as u32;
        }
        let values = StringArray::from_iter_values(sorted.iter().map(|(_, name)| name));
        Self { ranks, values: Arc::new(values) }
    }

    fn gather(&self, ids: &[NameId], rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        let ids = || rows.iter().map(|&row| ids[row as usize]);
        let keys = ids().map(|id| self.ranks[id.index()] as i32).collect::<Vec<_>>().into();
        let present: NullBuffer = ids().map(|id| id != NameId::NONE).collect();
        let nulls = (present.null_count() > 0).then_some(present);
        let keys = Int32Array::try_new(keys, nulls)?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, self.values.clone())?))
    }
}

pub(super) fn alerts(rows: &[&Alert]) -> Result<RecordBatch, ArrowError> {
    let texts = |text: fn(&Alert) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|alert| text(alert))))
    };
    let numbers = |number: fn(&Alert) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|alert| number(alert))))
    };
    let times = |time: fn(&Alert) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|alert| time(alert))).with_timezone("UTC"))
    };
    let columns = vec![
        texts(|alert| &alert.id),
        texts(|alert| alert.kind.as_str()),
        texts(|alert| alert.severity.as_str()),
        texts(|alert| &alert.symbol),
        texts(|alert| alert.direction.as_str()),
        times(|alert| alert.ts_us),
        times(|alert| alert.detected_at_us),
        numbers(|alert| alert.observed),
        numbers(|alert| alert.expected),
        numbers(|alert| alert.scale),
        numbers(|alert| alert.score),
        numbers(|alert| alert.threshold),
    ];
    RecordBatch::try_new(Table::Alerts.schema(), columns)
}

pub(super) fn quarantine(rows: &[&Reject]) -> Result<RecordBatch, ArrowError> {
    let received_at = rows.iter().map(|reject| reject.received_at_us);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|reject| &reject.message_id))),
        Arc::new(rows.iter().map(|reject| reject.index.map(|index| index as i32)).collect::<Int32Array>()),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|reject| reject.reason.as_str()))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|reject| &reject.detail))),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|reject| &reject.body))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(received_at).with_timezone("UTC")),
    ];
    RecordBatch::try_new(Table::Quarantine.schema(), columns)
}
