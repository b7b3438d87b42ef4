//! Finds partitions whose keys pad an integer with zeros, `hour=04`, when a query says `hour = 4`.
//!
//! DataFusion turns an equality on a partition column into a key prefix. It writes the value its own way (`hour=4`) and
//! would find nothing. A list of one value means the same, and DataFusion compares it by value, after listing. This
//! file does *not* own listing or reading: the wrapped table does.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::listing::ListingTable;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// A table with partition columns that are padded in its keys.
#[derive(Debug)]
pub(crate) struct PaddedPartitions {
    table: ListingTable,
    padded: Vec<String>,
}

impl PaddedPartitions {
    pub(crate) fn new(table: ListingTable, padded: Vec<String>) -> Self {
        Self { table, padded }
    }

    /// Rewrites `column = value` in `filter` as `column IN (value)` if the column is padded.
    fn by_value(&self, filter: Expr) -> Result<Expr> {
        let rewritten = filter.transform(|expr| {
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &expr else {
                return Ok(Transformed::no(expr));
            };
            match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), value @ Expr::Literal(..))
                | (value @ Expr::Literal(..), Expr::Column(column))
                    if self.padded.contains(&column.name) =>
                {
                    Ok(Transformed::yes(Expr::Column(column.clone()).in_list(vec![value.clone()], false)))
                }
                _ => Ok(Transformed::no(expr)),
            }
        })?;
        Ok(rewritten.data)
    }
}

#[async_trait]
impl TableProvider for PaddedPartitions {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filters = filters.iter().map(|filter| self.by_value(filter.clone())).collect::<Result<Vec<_>>>()?;
        self.table.scan(state, projection, &filters, limit).await
    }
}
