//! Shows an answer as text: the table, and what Athena would bill for it.
//!
//! This file owns Athena's price. It does *not* measure anything ([`crate::answer`]).

use std::fmt::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;

use crate::answer::Answer;

/// US dollars for 10^12 bytes scanned, the list price in most regions.
const DOLLARS_PER_TB: f64 = 5.0;

/// Athena bills at least this many bytes for each query.
const MIN_BYTES: u64 = 10_000_000;

/// What Athena would bill for a scan of `bytes`, in US dollars.
#[must_use]
pub fn athena_dollars(bytes: u64) -> f64 {
    bytes.max(MIN_BYTES) as f64 / 1e12 * DOLLARS_PER_TB
}

/// The first `max_rows` rows of `answer` as a table, and below it the number of all rows and what reading them took.
pub fn render(answer: &Answer, max_rows: usize) -> Result<String, ArrowError> {
    let rows = answer.rows();
    let table = pretty_format_batches_with_schema(answer.schema.clone(), &first_rows(&answer.batches, max_rows))?;
    let mut text = format!("{table}\n{rows} {}", if rows == 1 { "row" } else { "rows" });
    if rows > max_rows {
        // Writing to a String cannot fail.
        let _ = write!(text, ", the first {max_rows} shown (--rows N shows more)");
    }
    let _ = writeln!(
        text,
        " in {:.2} s; read {} from {} {}; on Athena ${:.6} ($5 per TB, at least 10 MB per query)",
        answer.elapsed.as_secs_f64(),
        bytes_text(answer.bytes_read),
        answer.files,
        if answer.files == 1 { "file" } else { "files" },
        athena_dollars(answer.bytes_read),
    );
    Ok(text)
}

fn first_rows(batches: &[RecordBatch], max_rows: usize) -> Vec<RecordBatch> {
    let mut left = max_rows;
    let mut first = Vec::new();
    for batch in batches {
        let rows = batch.num_rows().min(left);
        first.push(batch.slice(0, rows));
        left -= rows;
    }
    first
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
