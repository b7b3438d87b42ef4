//! Arrow columns of alerts and rejects. There are only few of them.
//!
//! This file owns how rows become arrays. [`ticklake_schemas`] owns their names, types and nullability.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use ticklake_schemas::Table;

use crate::alert::Alert;
use crate::decode::Reject;

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
        texts(|alert| &alert.event),
        texts(|alert| alert.kind.as_str()),
        texts(|alert| alert.state.as_str()),
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
        texts(|alert| &alert.window),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|alert| alert.suppressed as i64))),
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
