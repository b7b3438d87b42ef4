//! The answer of a query, and the time, bytes and files that it took.
//!
//! This file owns the measurement. It does *not* own what the bytes cost on Athena ([`crate::report`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::physical_plan::{FileGroup, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, collect};

/// The rows of an answer and the measure of its scan.
#[derive(Debug)]
pub struct Answer {
    /// The columns of the rows.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Bytes read from the lake's files.
    pub bytes_read: u64,
    /// The number of files that partition pruning left.
    pub files: usize,
    /// The time from the plan to the last row.
    pub elapsed: Duration,
}

impl Answer {
    pub(crate) async fn collect(frame: DataFrame) -> Result<Self> {
        let begun = Instant::now();
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let schema = plan.schema();
        let batches = collect(plan.clone(), context).await?;
        let mut scan = Scan::default();
        scan.add(plan.as_ref());
        Ok(Self { schema, batches, bytes_read: scan.bytes, files: scan.files.len(), elapsed: begun.elapsed() })
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The first value of the first row as text. `None` if there is no row or the value is null.
    pub(crate) fn first_text(&self) -> Option<String> {
        let batch = self.batches.iter().find(|batch| batch.num_rows() > 0)?;
        let column = batch.column(0);
        if column.is_null(0) { None } else { array_value_to_string(column, 0).ok() }
    }
}

/// The bytes and files that the leaves of a plan read.
#[derive(Default)]
struct Scan {
    bytes: u64,
    /// The locations of the files. It is a set, because several readers may share a large file.
    files: BTreeSet<String>,
}

impl Scan {
    fn add(&mut self, plan: &dyn ExecutionPlan) {
        if let Some(bytes) = plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned")) {
            self.bytes += bytes.as_usize() as u64;
        }
        let source = plan.downcast_ref::<DataSourceExec>();
        if let Some((config, _)) = source.and_then(DataSourceExec::downcast_to_file_source::<ParquetSource>) {
            let files = config.file_groups.iter().flat_map(FileGroup::files);
            self.files.extend(files.map(|file| file.object_meta.location.to_string()));
        }
        for child in plan.children() {
            self.add(child.as_ref());
        }
    }
}
